// SPDX-License-Identifier: Apache-2.0
/** Shared blobs over real files: pieces of verified chunks, and that a changed byte never gets through. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import type { BlobClaim } from "../../src/objects/blob-store.ts";
import { ChunkCache } from "../../src/objects/chunk-cache.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { PIECE_BYTES, type SharedBlob, SharedBlobs } from "../../src/objects/shared-blob.ts";

const CHUNK = LIMITS.chunkBytes;

function bytesOf(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1021) bytes[at] = (at / 1021 + seed) % 251;
  return bytes;
}

interface Kept {
  readonly claim: BlobClaim;
  readonly chunkList: Uint8Array | undefined;
  readonly path: string;
  readonly bytes: Uint8Array;
}

function scene(t: TestContext, chunks = 8) {
  const root = mkdtempSync(join(tmpdir(), "coffer-shared-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const cache = new ChunkCache(chunks * CHUNK);
  const blobs = new SharedBlobs(openRealFiles(root), cache);
  const keep = (bytes: Uint8Array): Kept => {
    const digest = sha256(bytes);
    const path = join(root, blobPath(digest));
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, bytes, { mode: 0o644 });
    if (bytes.length <= CHUNK)
      return { claim: { sha256: digest, size: bytes.length }, chunkList: undefined, path, bytes };
    const hashes: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += CHUNK) {
      hashes.push(
        createHash("sha256")
          .update(bytes.subarray(at, at + CHUNK))
          .digest(),
      );
    }
    const chunkList = new Uint8Array(Buffer.concat(hashes));
    const claim = { sha256: digest, size: bytes.length, chunks: sha256(chunkList) };
    return { claim, chunkList, path, bytes };
  };
  const open = async (kept: Kept): Promise<SharedBlob> => {
    const blob = await blobs.open(kept.claim, kept.chunkList);
    return blob ?? assert.fail("the blob is there");
  };
  return { root, cache, blobs, keep, open };
}

async function readAll(blob: SharedBlob, start = 0, end = blob.sizeBytes): Promise<Buffer> {
  const into = new Uint8Array(PIECE_BYTES);
  const parts: Buffer[] = [];
  for (let at = start; at < end; ) {
    const length = await blob.read(at, into);
    assert.ok(length > 0);
    parts.push(Buffer.from(into.subarray(0, length)));
    at += length;
  }
  return Buffer.concat(parts).subarray(0, end - start);
}

async function readOnce(blob: SharedBlob, start = 0, end = blob.sizeBytes): Promise<Buffer> {
  try {
    return await readAll(blob, start, end);
  } finally {
    await blob.close();
  }
}

/** Changes one byte through a descriptor of its own and puts the times back as they were, as far as anybody can. */
function flip(path: string, at: number): void {
  const { atime, mtime } = statSync(path);
  const changed = (): bigint => statSync(path, { bigint: true }).ctimeNs;
  const before = changed();
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8() ^ 1);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  // Some kernels stamp all changes within several milliseconds alike.
  do utimesSync(path, atime, mtime);
  while (changed() === before);
}

const corrupt = (error: unknown): boolean => isCofferError(error, "CORRUPT");

suite("shared blob: reading", () => {
  for (const size of [0, 1, PIECE_BYTES, PIECE_BYTES + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17]) {
    test(`${size} bytes come back, whole and from the middle`, async (t) => {
      const { keep, open } = scene(t);
      const kept = keep(bytesOf(size));
      assert.deepEqual(await readOnce(await open(kept)), Buffer.from(kept.bytes));
      for (const [start, end] of [
        [Math.floor(size / 3), size],
        [Math.max(0, size - 3), size],
        [Math.min(size, CHUNK - 2), Math.min(size, CHUNK + 2)],
      ] as const) {
        const part = await readOnce(await open(kept), start, end);
        assert.deepEqual(part, Buffer.from(kept.bytes.subarray(start, end)), `${start} to ${end}`);
      }
      assert.equal(await (await open(kept)).read(0, new Uint8Array(PIECE_BYTES)), Math.min(size, PIECE_BYTES));
    });
  }

  test("each chunk is hashed once for many readers at once", async (t) => {
    const { keep, open, cache } = scene(t);
    const kept = keep(bytesOf(2 * CHUNK + 17));
    const readers = await Promise.all(Array.from({ length: 20 }, () => open(kept)));
    for (const found of await Promise.all(readers.map((reader) => readOnce(reader)))) {
      assert.equal(sha256(found), kept.claim.sha256);
    }
    assert.equal(cache.loads, 3);
  });

  test("readers in more places than fit: bounded memory, and a chunk is not hashed again for each piece", async (t) => {
    const { keep, open, cache } = scene(t, 2);
    const many = Array.from({ length: 6 }, (_, seed) => keep(bytesOf(CHUNK + 100, seed)));
    const found = await Promise.all(many.map(async (kept) => sha256(await readOnce(await open(kept)))));
    assert.deepEqual(
      found,
      many.map(({ claim }) => claim.sha256),
    );
    assert.ok(cache.loads <= 6 * 4, `${cache.loads} loads for 12 chunks of 33 pieces`);
    assert.ok(cache.heldBytes <= cache.boundBytes);
  });

  test("absent is undefined; a wrong chunk list is damage", async (t) => {
    const { keep, blobs } = scene(t);
    assert.equal(await blobs.open({ sha256: sha256(bytesOf(3)), size: 3 }, undefined), undefined);
    const { claim, chunkList } = keep(bytesOf(CHUNK + 1));
    await assert.rejects(blobs.open(claim, undefined), corrupt);
    await assert.rejects(blobs.open(claim, chunkList?.subarray(32)), corrupt);
  });
});

suite("shared blob: damage", () => {
  for (const size of [1000, CHUNK, CHUNK + 1, 2 * CHUNK + 17]) {
    test(`${size} bytes: a flip at any place before reading is told, and mended it reads again`, async (t) => {
      const { keep, open, cache } = scene(t);
      const kept = keep(bytesOf(size));
      for (const at of new Set([0, size >> 1, CHUNK - 1, CHUNK, size - 1].filter((place) => place < size))) {
        flip(kept.path, at);
        await assert.rejects(readOnce(await open(kept)), corrupt, `byte ${at}`);
        await assert.rejects(readOnce(await open(kept), at, at + 1), corrupt, `only byte ${at}`);
        flip(kept.path, at);
        assert.equal(sha256(await readOnce(await open(kept))), kept.claim.sha256);
      }
      assert.ok(cache.heldBytes <= cache.boundBytes);
    });
  }

  test("a flip after the bytes were verified: told to the next reader, though they are in memory", async (t) => {
    const { keep, open, cache } = scene(t);
    const kept = keep(bytesOf(CHUNK + 17));
    await readOnce(await open(kept));
    for (const at of [5, CHUNK + 3]) {
      flip(kept.path, at);
      await assert.rejects(readOnce(await open(kept)), corrupt);
      flip(kept.path, at);
      await readOnce(await open(kept));
    }
    const { loads } = cache;
    await readOnce(await open(kept));
    assert.equal(cache.loads, loads, "nothing changed since: nothing is hashed");
  });

  test("a flip within the chunk that a reader is in: the good bytes to its end, then the next chunk is looked at", async (t) => {
    const { keep, open } = scene(t);
    const kept = keep(bytesOf(2 * CHUNK));
    const blob = await open(kept);
    const into = new Uint8Array(PIECE_BYTES);
    await blob.read(0, into);
    flip(kept.path, PIECE_BYTES + 5);
    flip(kept.path, CHUNK + 5);
    assert.deepEqual(await readAll(blob, PIECE_BYTES, CHUNK), Buffer.from(kept.bytes.subarray(PIECE_BYTES, CHUNK)));
    await assert.rejects(blob.read(CHUNK, into), corrupt);
    flip(kept.path, CHUNK + 5);
    assert.equal(await blob.read(CHUNK, into), PIECE_BYTES, "mended meanwhile");
    await blob.close();
  });

  test("a flip while readers crowd each other out: no wrong piece", async (t) => {
    const { keep, open, cache } = scene(t, 1);
    const kept = [1, 2, 3].map((seed) => keep(bytesOf(CHUNK, seed)));
    const readers = await Promise.all(kept.map(open));
    const into = new Uint8Array(PIECE_BYTES);
    for (let turn = 0; turn < 2; turn += 1) {
      for (const reader of readers) await reader.read(turn * PIECE_BYTES, into);
    }
    const { loads } = cache;
    for (const { path } of kept) flip(path, 2 * PIECE_BYTES + 9);
    let refused = 0;
    for (const [number, reader] of readers.entries()) {
      const good = Buffer.from(kept[number]?.bytes.subarray(2 * PIECE_BYTES, 3 * PIECE_BYTES) ?? []);
      try {
        const length = await reader.read(2 * PIECE_BYTES, into);
        assert.deepEqual(Buffer.from(into.subarray(0, length)), good);
      } catch (error) {
        assert.ok(corrupt(error));
        refused += 1;
      }
    }
    assert.ok(refused >= 2, "those whose chunk was gone from memory");
    assert.ok(cache.loads <= loads + 1);
    await Promise.all(readers.map((reader) => reader.close()));
  });

  test("a file that grew, shrank or was replaced", async (t) => {
    const { keep, open } = scene(t);
    const kept = keep(bytesOf(CHUNK + 17));
    const early = await open(kept);
    await readAll(early, 0, 100);
    truncateSync(kept.path, CHUNK + 16);
    await assert.rejects(readOnce(await open(kept)), corrupt);
    await assert.rejects(early.read(CHUNK, new Uint8Array(PIECE_BYTES)), corrupt);
    await early.close();
    writeFileSync(kept.path, Buffer.concat([kept.bytes, Buffer.from("x")]));
    await assert.rejects(readOnce(await open(kept)), corrupt);
    writeFileSync(`${kept.path}.new`, kept.bytes);
    chmodSync(`${kept.path}.new`, 0o444);
    renameSync(`${kept.path}.new`, kept.path);
    assert.equal(sha256(await readOnce(await open(kept))), kept.claim.sha256);
  });
});
