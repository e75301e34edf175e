// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import {
  type BlobClaim,
  discardBlobs,
  openBlob,
  publishBlobs,
  type StagedBlob,
  stageBlob,
} from "../../src/objects/blob-store.ts";
import { hashFile } from "../../src/objects/chunk-hasher.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { readPieces } from "../../src/objects/pieces.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { seededRandom } from "../support/transcripts.ts";

const CHUNK = LIMITS.chunkBytes;

async function disk(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const folder of ["local", "local/tmp"]) await files.makeFolder(folder);
  for (const folder of [".", "local"]) await files.fsyncFolder(folder);
  return files;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes in which no two chunks are alike. */
function bytesOf(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 4096) bytes[at] = (at / 4096) % 251;
  return bytes;
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function store(files: MemoryFiles, bytes: Uint8Array): Promise<StagedBlob> {
  const staged = await stageBlob(files, seededRandom("blob"), inPieces(bytes, 1_000_003));
  await publishBlobs(files, [staged]);
  return staged;
}

function claimOf(staged: StagedBlob): BlobClaim {
  const { sha256, sizeBytes, chunks } = staged;
  return { sha256, size: sizeBytes, ...(chunks === undefined ? {} : { chunks: chunks.id }) };
}

async function readAll(files: MemoryFiles, staged: StagedBlob, start = 0, end = staged.sizeBytes): Promise<Uint8Array> {
  const reader = await openBlob(files, claimOf(staged), staged.chunks?.bytes);
  assert.ok(reader !== undefined);
  try {
    const parts: Uint8Array[] = [];
    for await (const piece of reader.stream(start, end)) parts.push(Uint8Array.from(piece));
    return Buffer.concat(parts);
  } finally {
    await reader.close();
  }
}

for (const length of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17]) {
  test(`a blob of ${length} bytes gets its digest and chunk list in one pass, and reads back`, async () => {
    const files = await disk();
    const bytes = bytesOf(length);
    const staged = await store(files, bytes);
    assert.equal(staged.sha256, sha256(bytes));
    assert.equal(staged.sizeBytes, length);
    assert.equal(staged.chunks !== undefined, length > CHUNK);
    if (staged.chunks !== undefined) {
      const expected = Array.from({ length: Math.ceil(length / CHUNK) }, (_, index) =>
        sha256(bytes.subarray(index * CHUNK, (index + 1) * CHUNK)),
      );
      assert.equal(Buffer.from(staged.chunks.bytes).toString("hex"), expected.join(""));
      assert.equal(staged.chunks.id, sha256(staged.chunks.bytes));
    }
    assert.equal(sha256(await readAll(files, staged)), staged.sha256);
    const file = await files.open(blobPath(staged.sha256));
    assert.ok(file !== undefined);
    const { temp: _, ...facts } = staged;
    assert.deepEqual(await hashFile(file), facts);
    await file.close();
    assert.deepEqual(await files.list("local/tmp"), []);
  });
}

test("ranges give exactly their bytes, across chunk borders", async () => {
  const files = await disk();
  const bytes = bytesOf(2 * CHUNK + 100);
  const staged = await store(files, bytes);
  for (const [start, end] of [
    [0, 1],
    [CHUNK - 1, CHUNK + 1],
    [CHUNK, CHUNK + 1],
    [5, 2 * CHUNK + 99],
    [2 * CHUNK + 99, 2 * CHUNK + 100],
  ] as const) {
    assert.deepEqual(Buffer.from(await readAll(files, staged, start, end)), Buffer.from(bytes.subarray(start, end)));
  }
});

test("a flipped byte is found before any byte of its chunk is handed out", async () => {
  const files = await disk();
  const bytes = bytesOf(2 * CHUNK + 100);
  const staged = await store(files, bytes);
  const bad = bytes.slice();
  bad[CHUNK + 5] = (bad[CHUNK + 5] ?? 0) ^ 1;
  files.plant(blobPath(staged.sha256), bad);
  const reader = await openBlob(files, claimOf(staged), staged.chunks?.bytes);
  assert.ok(reader !== undefined);
  let seen = 0;
  await assert.rejects(
    async () => {
      for await (const piece of reader.stream(0, bytes.length)) seen += piece.length;
    },
    (error) => isCofferError(error, "CORRUPT"),
  );
  await reader.close();
  assert.equal(seen, CHUNK);
  assert.equal((await readAll(files, staged, 0, CHUNK)).length, CHUNK);
  await assert.rejects(readAll(files, staged, CHUNK + 100, CHUNK + 101), (error) => isCofferError(error, "CORRUPT"));
});

test("an altered empty blob is found too", async () => {
  const files = await disk();
  const staged = await store(files, new Uint8Array(0));
  const other = { ...staged, sha256: (await store(files, bytesOf(1))).sha256 };
  files.plant(blobPath(other.sha256), new Uint8Array(0));
  await assert.rejects(readAll(files, other), (error) => isCofferError(error, "CORRUPT"));
});

test("a file of another size, and a chunk list of another length, are refused at opening", async () => {
  const files = await disk();
  const staged = await store(files, bytesOf(CHUNK + 1));
  const claim = claimOf(staged);
  await assert.rejects(openBlob(files, { ...claim, size: CHUNK + 2 }, staged.chunks?.bytes), (error) =>
    isCofferError(error, "CORRUPT"),
  );
  for (const list of [undefined, new Uint8Array(32), new Uint8Array(96)]) {
    await assert.rejects(openBlob(files, claim, list), (error) => isCofferError(error, "CORRUPT"));
  }
  assert.equal(
    await openBlob(files, { ...claim, sha256: sha256(new Uint8Array([9])) as BlobClaim["sha256"] }, undefined),
    undefined,
  );
});

test("storing a blob again mends a damaged one", async () => {
  const files = await disk();
  const bytes = bytesOf(1000);
  const staged = await store(files, bytes);
  files.plant(blobPath(staged.sha256), bytesOf(999));
  await publishBlobs(files, [await stageBlob(files, seededRandom("again"), inPieces(bytes, 10))]);
  assert.equal(sha256(await readAll(files, staged)), staged.sha256);
});

test("a source that fails leaves nothing behind", async () => {
  const files = await disk();
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield bytesOf(10);
    throw new Error("the stick was pulled");
  }
  await assert.rejects(stageBlob(files, seededRandom("f"), failing()), /stick was pulled/);
  assert.deepEqual(await files.list("local/tmp"), []);
});

for (const code of ["ENOSPC", "EIO"]) {
  test(`${code} at any call of staging leaves nothing with a name, and no temporary file where removing works`, async () => {
    const bytes = bytesOf(3_000_000);
    const trial = await disk();
    const from = trial.calls;
    await stageBlob(trial, seededRandom("x"), inPieces(bytes, 1_000_000));
    const calls = trial.calls - from;
    for (let at = 1; at <= calls; at += 1) {
      const files = await disk();
      files.fault = { at: files.calls + at, kind: "fail", code };
      await assert.rejects(stageBlob(files, seededRandom("x"), inPieces(bytes, 1_000_000)), (error) =>
        isCofferError(error, "NO_SPACE", "IO_ERROR"),
      );
      assert.deepEqual(await files.list("local/tmp"), [], `call ${at}`);
      assert.equal(await files.list("blobs"), undefined);
    }
  });
}

test("discarded blobs are gone, once or twice", async () => {
  const files = await disk();
  const staged = await stageBlob(files, seededRandom("d"), inPieces(bytesOf(5), 5));
  await discardBlobs(files, [staged, staged]);
  assert.deepEqual(await files.list("local/tmp"), []);
});

test("a read ahead that fails while the copy fails too is not left behind as an error of its own", async () => {
  const files = await disk();
  files.plant("source", new Uint8Array(3 * 1024 * 1024));
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const source = await files.open("source");
    assert.ok(source !== undefined);
    let reads = 0;
    const failing = {
      read: (buffer: Uint8Array, position: number) => {
        reads += 1;
        return reads > 1 ? Promise.reject(new Error("read ahead")) : source.read(buffer, position);
      },
      setMode: (mode: number) => source.setMode(mode),
      stat: () => source.stat(),
      place: () => source.place(),
      fsync: () => source.fsync(),
      close: () => source.close(),
    };
    files.before = (call) => {
      if (call === "file.write") throw new Error("the copy");
    };
    await assert.rejects(stageBlob(files, seededRandom("ahead"), readPieces(failing, 0)), /the copy/);
    await new Promise((settle) => setImmediate(settle));
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});

const LARGE = 9 * CHUNK + 17;

test("a blob that is hashed on two threads gets the same digests, reads back, and its damage is found", async () => {
  const files = await disk();
  const bytes = bytesOf(LARGE);
  const staged = await stageBlob(files, seededRandom("large"), inPieces(bytes, 3_000_017), LARGE);
  await publishBlobs(files, [staged]);
  assert.equal(staged.sha256, sha256(bytes));
  const expected = Array.from({ length: 10 }, (_, at) => sha256(bytes.subarray(at * CHUNK, (at + 1) * CHUNK)));
  assert.equal(Buffer.from(staged.chunks?.bytes ?? []).toString("hex"), expected.join(""));
  const file = await files.open(blobPath(staged.sha256));
  assert.ok(file !== undefined);
  const { temp: _, ...facts } = staged;
  assert.deepEqual(await hashFile(file), facts);
  await file.close();
  assert.equal(sha256(await readAll(files, staged)), staged.sha256);
  bytes[7 * CHUNK] = 255;
  files.plant(blobPath(staged.sha256), bytes);
  const reader = await openBlob(files, claimOf(staged), staged.chunks?.bytes);
  let seen = 0;
  await assert.rejects(
    async () => {
      for await (const piece of reader?.stream(0, LARGE) ?? []) seen += piece.length;
    },
    (error) => isCofferError(error, "CORRUPT") && error.message.includes(`bytes ${7 * CHUNK} to ${8 * CHUNK}`),
  );
  assert.equal(seen, 7 * CHUNK);
  await reader?.close();
});

test("reading ahead stays two chunks ahead, ends with the range, and with a reader who stops", async () => {
  const files = await disk();
  const staged = await store(files, bytesOf(6 * CHUNK + 1));
  const reader = await openBlob(files, claimOf(staged), staged.chunks?.bytes);
  assert.ok(reader !== undefined);
  const before = files.bytesRead;
  for await (const piece of reader.stream(0, staged.sizeBytes)) {
    assert.equal(piece.length, CHUNK);
    await new Promise((settle) => setImmediate(settle));
    assert.ok(files.bytesRead - before <= 3 * CHUNK, "no more than three chunks are held");
    break;
  }
  const between = files.bytesRead;
  for await (const piece of reader.stream(CHUNK + 5, 2 * CHUNK + 7)) assert.ok(piece.length > 0);
  assert.equal(files.bytesRead - between, 2 * CHUNK);
  await reader.close();
});

test("EIO at any read of a blob is told in its turn, and no other error is left behind", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    for (const at of [1, 2, 3, 4]) {
      const files = await disk();
      const staged = await store(files, bytesOf(3 * CHUNK + 1));
      const reader = await openBlob(files, claimOf(staged), staged.chunks?.bytes);
      files.fault = { at: files.calls + at, kind: "fail", code: "EIO", lasting: true };
      let seen = 0;
      await assert.rejects(
        async () => {
          for await (const piece of reader?.stream(0, staged.sizeBytes) ?? []) seen += piece.length;
        },
        (error) => isCofferError(error, "IO_ERROR"),
      );
      assert.equal(seen, (at - 1) * CHUNK);
    }
    await new Promise((settle) => setImmediate(settle));
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});
