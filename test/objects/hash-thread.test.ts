// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { isCofferError } from "../../src/base/errors.ts";
import { isLarge, type StreamHash, streamHash } from "../../src/objects/hash-thread.ts";

const LARGE = 64 * 1024 * 1024;

/** As on a machine of two cores: on one there is no other thread. */
function onTwoCores(t: TestContext): void {
  const { mock } = t.mock.method(os, "availableParallelism", () => 2);
  syncBuiltinESMExports();
  t.after(() => {
    mock.restore();
    syncBuiltinESMExports();
  });
}

function bytesOf(length: number, seed: number, shared: boolean): Uint8Array {
  const bytes = shared ? new Uint8Array(new SharedArrayBuffer(length)) : new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + seed) % 251;
  return bytes;
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const inPieces = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));

/** What no thread can hash: it ends there. */
function poison(hash: StreamHash): Promise<void> {
  return hash.update({ buffer: new SharedArrayBuffer(1) } as unknown as Uint8Array);
}

const isEnded = (error: unknown): boolean => isCofferError(error, "IO_ERROR") && /thread/.test(error.message);

test("only what is large goes to the other thread, and nothing on a machine of one core", (t) => {
  onTwoCores(t);
  assert.deepEqual([0, 1, LARGE - 1].map(isLarge), [false, false, false]);
  assert.deepEqual([LARGE, Number.POSITIVE_INFINITY].map(isLarge), [true, true]);
  os.availableParallelism = () => 1;
  syncBuiltinESMExports();
  assert.deepEqual([LARGE, Number.POSITIVE_INFINITY].map(isLarge), [false, false]);
});

for (const sizeBytes of [0, LARGE]) {
  const where = sizeBytes === 0 ? "here" : "on the other thread";
  for (const shared of [true, false]) {
    test(`digests ${where} are right at any length, of ${shared ? "shared" : "other"} memory`, async (t) => {
      onTwoCores(t);
      for (const length of [0, 1, 63, 64, 65, 4095, 1_000_003]) {
        const bytes = bytesOf(length, length, shared);
        const hash = streamHash(sizeBytes);
        for (const piece of inPieces(bytes, 99_991)) await hash.update(piece);
        assert.equal(await hash.digest(), digestOf(bytes), `${length}`);
      }
    });
  }

  test(`pieces that overlap ${where} count in the order they came, and hashes do not mix`, async (t) => {
    onTwoCores(t);
    const wholes = [1, 2, 3].map((seed) => bytesOf(500_000, seed, true));
    const hashes = wholes.map(() => streamHash(sizeBytes));
    const asked: Promise<unknown>[] = [];
    for (let at = 0; at < 50; at += 1) {
      for (const [which, whole] of wholes.entries()) {
        const piece = whole.subarray(at * 10_000, (at + 1) * 10_000);
        asked.push(hashes[which]?.update(piece) ?? Promise.reject(new Error("no hash")));
      }
    }
    const digests = await Promise.all(hashes.map((hash) => hash.digest()));
    await Promise.all(asked);
    assert.deepEqual(digests, wholes.map(digestOf));
  });

  test(`bytes may be overwritten ${where} once they are taken, not before`, async (t) => {
    onTwoCores(t);
    const buffer = new Uint8Array(new SharedArrayBuffer(1_000_000));
    const [hash, expected] = [streamHash(sizeBytes), createHash("sha256")];
    for (let round = 0; round < 40; round += 1) {
      buffer.fill(round);
      expected.update(buffer);
      await hash.update(buffer);
    }
    assert.equal(await hash.digest(), expected.digest("hex"));
  });
}

test("a thread that ends is told to all who wait, and the next hash gets another", async (t) => {
  onTwoCores(t);
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const [first, other] = [streamHash(LARGE), streamHash(LARGE)];
    await other.update(bytesOf(10, 1, true));
    const asked = [poison(first), first.digest(), other.update(bytesOf(10, 2, true)), other.digest()];
    void other.update(bytesOf(10, 3, true)); // nobody looks
    for (const one of asked) await assert.rejects(one, isEnded);
    // What it knew of a hash is lost: going on with it must not give the digest of the rest.
    await assert.rejects(other.update(bytesOf(10, 4, true)), isEnded);
    await assert.rejects(other.digest(), isEnded);
    const fresh = streamHash(LARGE);
    await fresh.update(bytesOf(10, 5, true));
    assert.equal(await fresh.digest(), digestOf(bytesOf(10, 5, false)));
    await new Promise((settle) => setImmediate(settle));
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});

test("a process waits for its hash, and for nothing afterwards", () => {
  const source = fileURLToPath(new URL("../../src/objects/hash-thread.ts", import.meta.url));
  const script = `
    process.getBuiltinModule("node:os").availableParallelism = () => 2;
    const { streamHash } = await import(${JSON.stringify(source)});
    const hash = streamHash(${LARGE});
    void hash.update(new Uint8Array(new SharedArrayBuffer(20_000_000)));
    console.log(await hash.digest());`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 600_000 });
  assert.equal(run.stdout.trim(), digestOf(new Uint8Array(20_000_000)), run.stderr);
  assert.equal(run.status, 0);
});
