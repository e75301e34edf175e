// SPDX-License-Identifier: Apache-2.0
/**
 * A model of 4 GiB goes in and comes out again, into a bundle too, within 200 MB of resident memory, and its source is read once.
 * A check of memory, not of time.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import type { Files, OpenFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { add } from "../../src/repo/add.ts";
import { openStore } from "../../src/repo/store.ts";
import { type Ended, printed, runCli, startCli } from "../support/cli-process.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const GIB = 1024 ** 3;
const SIZE_BYTES = 4 * GIB;
const PEAK_BYTES = 200 * 1000 * 1000;
/** The store's copy, a checkout of it, and room for whatever else the machine does. */
const NEEDED_BYTES = 12 * GIB;
const NOISE_BYTES = 1024 * 1024;
const WATCH_MS = 20;

function whyNot(): string | undefined {
  const free = statfsSync(tmpdir());
  const freeBytes = free.bavail * free.bsize;
  if (freeBytes < NEEDED_BYTES) {
    return `needs ${NEEDED_BYTES / GIB} GiB free in the temporary folder; it has ${(freeBytes / GIB).toFixed(1)}`;
  }
  return existsSync("/proc/self/status") ? undefined : "peak memory is read from /proc, which this system has not";
}

/** A safetensors file of one U8 tensor: header, holes, and some blocks of noise, so that it costs little disk. */
function writeBigModel(path: string, sizeBytes: number): void {
  const describe = (data: number): string =>
    JSON.stringify({ weight: { dtype: "U8", shape: [data], data_offsets: [0, data] } });
  // The number of data bytes is as long as the size is, so the header's length does not depend on it.
  const headerBytes = Math.ceil(describe(sizeBytes).length / 8) * 8;
  const header = describe(sizeBytes - 8 - headerBytes).padEnd(headerBytes, " ");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes));
  const fd = openSync(path, "wx");
  try {
    ftruncateSync(fd, sizeBytes);
    writeSync(fd, Buffer.concat([length, Buffer.from(header)]), 0, 8 + headerBytes, 0);
    for (let number = 1; number < 8; number += 1) {
      const noise = makeSafetensors(NOISE_BYTES, number);
      writeSync(fd, noise, 0, noise.length, Math.floor((sizeBytes / 8) * number) - number * 77_777);
    }
  } finally {
    closeSync(fd);
  }
}

class Scene {
  readonly folder: string;
  readonly #home: string;
  readonly store: string;

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), "coffer-big-"));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    this.#home = join(this.folder, "home");
    this.store = join(this.folder, "my.coffer");
    mkdirSync(this.#home);
  }

  start(args: readonly string[]) {
    return startCli([...args, "--store", this.store], { home: this.#home, watchEveryMs: WATCH_MS });
  }

  async must(args: readonly string[]): Promise<Ended> {
    const ended = await this.start(args).ended;
    assert.equal(ended.status, 0, `coffer ${args[0]}: ${ended.stderr}`);
    return ended;
  }

  async init(): Promise<void> {
    const where = { home: this.#home };
    for (const args of [
      ["key", "new", "alice", "--no-passphrase"],
      ["init", this.store, "--me", "alice"],
    ]) {
      const { status, stderr } = await runCli(args, where);
      assert.equal(status, 0, stderr);
    }
  }
}

function expectSmall(t: TestContext, what: string, { peakKib, ms }: Ended): void {
  assert.ok(peakKib !== undefined, `${what}: no peak was seen`);
  t.diagnostic(`${what}: peak ${(peakKib / 1024).toFixed(0)} MiB resident, ${(ms / 1000).toFixed(1)} s`);
  assert.ok(peakKib * 1024 < PEAK_BYTES, `${what}: expected under ${PEAK_BYTES} bytes, found ${peakKib * 1024}`);
}

function download(url: string): Promise<{ status: number | undefined; sizeBytes: number; sha256: string }> {
  return new Promise((settle, fail) => {
    const request = get(url, (response) => {
      const hash = createHash("sha256");
      let sizeBytes = 0;
      response.on("data", (piece: Buffer) => {
        hash.update(piece);
        sizeBytes += piece.length;
      });
      response.on("error", fail);
      response.on("end", () => settle({ status: response.statusCode, sizeBytes, sha256: hash.digest("hex") }));
    });
    request.on("error", fail);
  });
}

test("4 GiB go in and out within 200 MB of memory", { skip: whyNot() ?? false, timeout: 1_500_000 }, async (t) => {
  const scene = new Scene(t);
  await scene.init();
  const model = join(scene.folder, "big.safetensors");
  writeBigModel(model, SIZE_BYTES);
  const name = "acme/big@main";

  let sha256 = "";
  await t.test("add", async (sub) => {
    expectSmall(sub, "add", await scene.must(["add", model, "--name", name]));
    const expected = await scene.must(["show", name, "--json"]);
    const [file] = JSON.parse(expected.stdout).manifest.files;
    assert.equal(file.size, SIZE_BYTES);
    assert.equal(file.format, "safetensors");
    sha256 = file.sha256;
    await scene.must(["promote", name, "--as", "alice"]);
  });

  await t.test("serve", async (sub) => {
    const server = scene.start(["serve", "--port", "0"]);
    sub.after(() => server.child.kill("SIGKILL"));
    const [, origin] = await printed(server, "stdout", /^(http:\S+)\n/);
    const got = await download(`${origin}/v1/blobs/sha256/${sha256}`);
    assert.deepEqual(got, { status: 200, sizeBytes: SIZE_BYTES, sha256 });
    server.child.kill("SIGTERM");
    const ended = await server.ended;
    expectSmall(sub, "serve", ended);
    assert.equal(ended.status, 0, ended.stderr);
  });

  await t.test("checkout", async (sub) => {
    const folder = join(scene.folder, "out");
    expectSmall(sub, "checkout", await scene.must(["checkout", name, folder]));
    rmSync(folder, { recursive: true });
  });

  await t.test("bundle create, bundle verify", async (sub) => {
    const folder = join(scene.folder, "stick");
    const size = ["--volume-size", "fat32"];
    expectSmall(sub, "bundle create", await scene.must(["bundle", "create", name, "--out", folder, ...size]));
    expectSmall(sub, "bundle verify", await scene.must(["bundle", "verify", folder]));
    rmSync(folder, { recursive: true });
  });

  await t.test("fsck", async (sub) => expectSmall(sub, "fsck", await scene.must(["fsck"])));
});

/** The port with every byte that is read from an open file counted. */
function counting(files: Files, count: (bytes: number) => void): Files {
  const { open } = { open: files.open.bind(files) };
  const counted = async (path: string): Promise<OpenFile | undefined> => {
    const file = await open(path);
    if (file === undefined) return undefined;
    return {
      async read(buffer, position) {
        const length = await file.read(buffer, position);
        count(length);
        return length;
      },
      stat: () => file.stat(),
      place: () => file.place(),
      setMode: (mode) => file.setMode(mode),
      fsync: () => file.fsync(),
      close: () => file.close(),
    };
  };
  return new Proxy(files, {
    get(target, member) {
      if (member === "open") return counted;
      if (member === "read") return () => assert.fail("a source is read through an open file only");
      const value: unknown = Reflect.get(target, member);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("the source is read once, from front to back", async (t) => {
  const fixture = await makeStoreFixture(t);
  const sources = join(fixture.folder, "sources");
  mkdirSync(sources);
  writeBigModel(join(sources, "model.safetensors"), 64 * 1024 * 1024);
  const gguf = makeTinyGguf({ seed: 3 });
  const fd = openSync(join(sources, "tiny.gguf"), "wx");
  writeSync(fd, gguf);
  closeSync(fd);

  for (const [file, sizeBytes] of [
    ["model.safetensors", 64 * 1024 * 1024],
    ["tiny.gguf", gguf.length],
  ] as const) {
    let bytesRead = 0;
    const openFolder = (path: string): Files => {
      const files = openRealFiles(path);
      return path === sources ? counting(files, (bytes) => (bytesRead += bytes)) : files;
    };
    const store = await openStore(fixture.location, { ...fixture.ports, openFolder });
    const files = [{ path: parseManifestPath(file), folder: sources, file }];
    const added = await add(store, { name: parseName(`acme/${file.slice(0, 4)}`), files, keep: false });
    assert.equal(bytesRead, sizeBytes, file);
    const expected = createHash("sha256")
      .update(readFileSync(join(sources, file)))
      .digest("hex");
    assert.equal(added.files[0]?.sha256, expected);
  }
});
