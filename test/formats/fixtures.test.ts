// SPDX-License-Identifier: Apache-2.0
/** The generators of scripts/fixtures: deterministic, different by seed, admitted or refused as they should be. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { makeTinyHfFiles, writeTinyHfFolder } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import { inspect } from "../../src/formats/inspect.ts";
import { memoryReader } from "./memory-reader.ts";

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`../../scripts/fixtures/${name}`, import.meta.url));

async function inTemp(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "coffer-fixtures-"));
  try {
    await body(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

test("fixtures: the tiny gguf is admitted, and only its header is read", async () => {
  const bytes = makeTinyGguf({ layers: 4, embedding: 256, feedForward: 1024 });
  const reader = memoryReader(bytes);
  const { ok, format, findings } = await inspect("tiny.gguf", reader);
  assert.deepEqual({ ok, format }, { ok: true, format: "gguf" }, JSON.stringify(findings));
  assert.ok(bytes.length > 10 * 2 ** 20);
  assert.ok(reader.bytesRead() < 1.2 * 2 ** 20, `${reader.bytesRead()} bytes read`);
});

test("fixtures: the same seed gives the same bytes, another seed others", () => {
  assert.deepEqual(makeTinyGguf({ seed: 7 }), makeTinyGguf({ seed: 7 }));
  assert.notDeepEqual(makeTinyGguf({ seed: 7 }), makeTinyGguf({ seed: 8 }));
  assert.deepEqual(makeTinyHfFiles({ seed: 7 }), makeTinyHfFiles({ seed: 7 }));
  assert.notDeepEqual(makeTinyHfFiles({ seed: 7 }), makeTinyHfFiles({ seed: 8 }));
});

test("fixtures: every file of the folder is admitted", async () => {
  await inTemp(async (dir) => {
    const names = writeTinyHfFolder(dir, { seed: 3 });
    assert.deepEqual((await readdir(dir)).sort(), names);
    for (const name of names) {
      const inspection = await inspect(name, memoryReader(new Uint8Array(await readFile(join(dir, name)))));
      assert.ok(inspection.ok, `${name}: ${JSON.stringify(inspection.findings)}`);
    }
  });
});

test("fixtures: the pickle is refused under any name", async () => {
  for (const name of ["model.bin", "model.gguf", "model.safetensors", "model", "README.md"]) {
    const inspection = await inspect(name, memoryReader(makePickle()));
    assert.deepEqual([inspection.ok, inspection.format], [false, "pickle"], name);
  }
});

test("fixtures: each runs from the command line", async () => {
  await inTemp(async (dir) => {
    await run(process.execPath, [script("tiny-gguf.mjs"), "--seed", "5", join(dir, "m.gguf")]);
    assert.deepEqual(new Uint8Array(await readFile(join(dir, "m.gguf"))), makeTinyGguf({ seed: 5 }));
    await run(process.execPath, [script("tiny-pickle.mjs"), join(dir, "m.bin")]);
    assert.deepEqual(new Uint8Array(await readFile(join(dir, "m.bin"))), makePickle());
    const { stdout } = await run(process.execPath, [script("tiny-hf-folder.mjs"), join(dir, "hf")]);
    assert.equal(stdout.split("\n").length, 10);
    await assert.rejects(run(process.execPath, [script("tiny-gguf.mjs")]), { code: 2 });
  });
});
