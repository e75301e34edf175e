// SPDX-License-Identifier: Apache-2.0
/** The demo passes; and it can fail: when a package that does the work is broken, or a tool is missing, it says so. */
import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeTreeWithout } from "../support/broken-package.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const TOOLS = ["/usr/bin/ssh-keygen", "/usr/bin/sha256sum"];
const skipWithoutTools = TOOLS.every((tool) => existsSync(tool)) ? false : `needs ${TOOLS.join(" and ")}`;

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "coffer-demo-test-"));
  folders.push(folder);
  return folder;
}

/** The environment of a demo whose folders are made, and looked for afterwards, below `temp`. */
function environment(temp: string, more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { INIT_CWD: _, NODE_TEST_CONTEXT: __, ...rest } = process.env;
  return { ...rest, TMPDIR: temp, ...more };
}

type Ended = SpawnSyncReturns<string> & { readonly left: readonly string[] };

function demo(root: string, args: readonly string[] = [], more: Readonly<Record<string, string>> = {}): Ended {
  const temp = newFolder();
  const options = { cwd: root, env: environment(temp, more), encoding: "utf8" } as const;
  const ended = spawnSync(process.execPath, ["scripts/demo.mjs", ...args], options);
  return { ...ended, left: readdirSync(temp) };
}

const ADDRESS = /^(http:\/\/127\.0\.0\.1:\d+)$/mu;

/**
 * Loaded before the demo: it gets the signal once, when it shows where the server listens. Sent from here it would come when
 * this process has its turn, and the demo may be anywhere by then.
 */
const INTERRUPTED = `
const write = process.stdout.write.bind(process.stdout);
let sent = false;
process.stdout.write = (text, ...more) => {
  const written = write(text, ...more);
  if (sent || !${ADDRESS}.test(text)) return written;
  sent = true;
  process.kill(process.pid, "SIGINT");
  return written;
};`;

/** The tree that the demo needs, with the package `broken` replaced by one that throws when it is imported. */
function treeWithout(broken: string): string {
  const folder = newFolder();
  makeTreeWithout(broken, folder);
  return folder;
}

describe("npm run demo", () => {
  test("passes, shows every step, and leaves nothing behind", { skip: skipWithoutTools }, () => {
    const { status, stdout, stderr, left } = demo(ROOT);
    assert.deepEqual([status, stderr, left], [0, "", []], stdout.slice(-3000));
    const steps = [...stdout.matchAll(/^== (\d+)\. /gmu)].map(([, number]) => Number(number));
    assert.deepEqual(steps, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert.match(stdout, /== All of it held/u);
    assert.doesNotMatch(stdout, /not shown/iu);
    for (const code of ["ADMISSION_REFUSED", "APPROVALS_SHORT", "REVOKED", "NOT_ALLOWED", "CORRUPT"]) {
      assert.ok(stdout.includes(`[${code}]`), code);
    }
    assert.match(stdout, /\n410\n/u);
    assert.match(stdout, /\n503\n/u);
  });

  test("does it with a model of one's own, found from where npm was started, and keeps the folder if told", () => {
    const where = newFolder();
    const made = spawnSync(
      process.execPath,
      ["scripts/fixtures/tiny-gguf.mjs", join(where, "own.gguf"), "--seed", "9"],
      {
        cwd: ROOT,
      },
    );
    assert.equal(made.status, 0);
    const { status, stdout, stderr, left } = demo(ROOT, ["--keep", "own.gguf"], { INIT_CWD: where });
    assert.deepEqual([status, stderr, left.length], [0, "", 1], stdout.slice(-3000));
    assert.match(stdout, /own\.gguf'? --name acme\/tiny\n/u);
  });

  test("a file that admission refuses ends it, with the step and the reason", () => {
    const { status, stdout, stderr, left } = demo(ROOT, ["scripts/build.mjs"]);
    assert.deepEqual([status, left], [1, []]);
    assert.match(stderr, /^\ndemo: FAILED at step 4, .*expected exit 0, found 3: coffer add /u);
    assert.match(stdout, /build\.mjs: .* \[ADMISSION_REFUSED\]\n/u);
  });

  test("wrong words: usage, and nothing is run", () => {
    for (const args of [["--what"], ["no-such-file.gguf"], ["a.gguf", "b.gguf"], ["src"]]) {
      const { status, stdout, stderr, left } = demo(ROOT, args);
      assert.deepEqual([status, stdout, left], [2, "", []], args.join(" "));
      assert.match(stderr, /usage: npm run demo/u);
    }
  });

  test("without ssh-keygen and sha256sum it says what was not shown", () => {
    const { status, stdout } = demo(ROOT, [], { PATH: newFolder() });
    assert.equal(status, 0, stdout.slice(-3000));
    const end = stdout.slice(stdout.indexOf("== All that could be shown here held"));
    for (const what of [
      "ssh-keygen -Y sign",
      "ssh-keygen -Y verify over the log",
      "sha256sum over objects and blobs",
    ]) {
      assert.match(end, new RegExp(`Not shown: .*${what}: .* is not installed`, "u"));
    }
  });

  for (const broken of ["tweetnacl", "commander", "fast-glob"]) {
    test(`fails for that reason when ${broken} throws`, () => {
      const { status, stdout, stderr, left } = demo(treeWithout(broken));
      assert.deepEqual([status, left], [1, []], stdout.slice(-3000));
      assert.match(stderr, /^\ndemo: FAILED at step \d+, .*expected exit 0, found 1: coffer /u);
      assert.ok(stdout.includes(`planted: ${broken} is broken`), stdout.slice(-3000));
    });
  }

  test("Ctrl-C while the server runs: 130, no process and no folder left", async () => {
    const temp = newFolder();
    const args = ["--import", `data:text/javascript,${encodeURIComponent(INTERRUPTED)}`, "scripts/demo.mjs"];
    const child = spawn(process.execPath, args, { cwd: ROOT, env: environment(temp) });
    let output = "";
    child.stdout.on("data", (bytes) => {
      output += bytes;
    });
    const [code] = await once(child, "close");
    const address = ADDRESS.exec(output)?.[1];
    assert.ok(address !== undefined, output);
    assert.equal(code, 130);
    assert.doesNotMatch(output, /\$ kill %1/u, "the server ran until then");
    assert.deepEqual(readdirSync(temp), []);
    await assert.rejects(fetch(`${address}/health`), TypeError);
  });
});
