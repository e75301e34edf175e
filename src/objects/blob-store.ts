// SPDX-License-Identifier: Apache-2.0
/**
 * Blobs: artifact bytes, named by their SHA-256. Written in one pass over the source; read chunk by chunk, each chunk
 * hashed before any of it is handed out. Layer: objects. Format: docs/format.md, "Blobs". Holds invariants 1 and 6.
 */
import { type Digest, digestFromBytes, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import { ChunkHasher, type HashedBlob } from "./chunk-hasher.ts";
import type { Files, NewFile, OpenFile } from "./files.ts";
import { streamHash } from "./hash-thread.ts";
import { blobPath, createTemp, ensureFolders, parentFolder, tempPath } from "./layout.ts";
import { giveBuffer, takeBuffer } from "./shared-buffers.ts";
import { openKept, putBack } from "./trash.ts";

/** A file under local/tmp whose bytes were hashed on the way in; has no name in the store yet. */
export interface StagedBlob extends HashedBlob {
  readonly temp: string;
}

/** What a manifest says of a blob. */
export interface BlobClaim {
  readonly sha256: Digest;
  readonly size: number;
  readonly chunks?: Digest;
}

/**
 * Writes `source` to a temporary file in one pass, holding one piece of it whatever the total size.
 * Durable, and without a name until `publishBlobs`.
 *
 * @param source - raw bytes in any chunking; read to the end
 * @param sizeBytes - how much will come, as far as is known
 * @throws CofferError NO_SPACE, IO_ERROR - the temporary file is removed
 */
export async function stageBlob(
  files: Files,
  random: Random,
  source: AsyncIterable<Uint8Array>,
  sizeBytes = 0,
): Promise<StagedBlob> {
  const temp = tempPath(files, random);
  const file = await createTemp(files, temp, 0o444, sizeBytes);
  try {
    const hasher = new ChunkHasher(sizeBytes);
    for await (const piece of source) await Promise.all([file.write(piece), hasher.update(piece)]);
    const hashed = await hasher.digest();
    await file.fsync();
    await file.close();
    return { temp, ...hashed };
  } catch (error) {
    await discardNewFile(files, file, temp);
    throw error;
  }
}

async function discardNewFile(files: Files, file: NewFile, temp: string): Promise<void> {
  await Promise.allSettled([file.close()]); // the failure that led here is the one that is told
  await Promise.allSettled([files.remove(temp)]);
}

/** Removes staged files that will not be published. */
export async function discardBlobs(files: Files, staged: Iterable<StagedBlob>): Promise<void> {
  for (const { temp } of staged) await files.remove(temp);
}

/**
 * Gives fsynced staged files their names. A blob that is there already is replaced by the bytes hashed just now,
 * which mends it should it have been damaged. Their time becomes now, however long the reading took: gc looks at it.
 */
export async function publishBlobs(files: Files, staged: Iterable<StagedBlob>): Promise<void> {
  const blobs = [...staged];
  const folders = new Set(blobs.map((blob) => parentFolder(blobPath(blob.sha256))));
  await ensureFolders(files, folders);
  for (const blob of blobs) {
    await files.touch(blob.temp);
    await files.rename(blob.temp, blobPath(blob.sha256));
  }
  await Promise.all([...folders].map((folder) => files.fsyncFolder(folder)));
}

/**
 * After the commit that names them: a gc that started before it may have taken published blobs for garbage.
 * @throws CofferError CORRUPT - one is in neither place
 */
export async function confirmBlobs(files: Files, blobs: Iterable<Digest>): Promise<void> {
  for (const id of blobs) {
    if ((await putBack(files, blobPath(id))) !== "gone") continue;
    throw new CofferError("CORRUPT", `blob ${short(id)} went away while it was added; add it again`);
  }
}

/** A blob opened for verified reading; must be closed. */
export interface BlobReader {
  readonly sizeBytes: number;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive), each chunk hashed before any of it is yielded.
   * The yielded bytes are valid until the next step only: at most three buffers of 8 MiB are used again.
   * @throws CofferError CORRUPT - a chunk is not what the chunk list says; nothing of it was yielded
   */
  stream(start: number, end: number): AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a blob once, without following links.
 *
 * @param chunkList - the bytes of the chunk list that the manifest names, already checked against its id
 * @returns undefined if the blob is absent
 * @throws CofferError CORRUPT - the file's size, or the chunk list's length, is not the manifest's
 */
export async function openBlob(
  files: Files,
  claim: BlobClaim,
  chunkList: Uint8Array | undefined,
): Promise<BlobReader | undefined> {
  const file = await openKept(files, blobPath(claim.sha256));
  if (file === undefined) return undefined;
  try {
    const { sizeBytes } = await file.stat();
    if (sizeBytes !== claim.size) {
      throw new CofferError("CORRUPT", `blob ${short(claim.sha256)}: expected ${claim.size} bytes, found ${sizeBytes}`);
    }
    checkChunkList(claim, chunkList);
    return {
      sizeBytes,
      stream: (start, end) => streamChunks(file, claim, chunkList, start, end),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** @throws CofferError CORRUPT - the chunk list has not the length that a blob of this size asks for */
export function checkChunkList(claim: BlobClaim, chunkList: Uint8Array | undefined): void {
  const count = Math.ceil(claim.size / LIMITS.chunkBytes);
  if (claim.size > LIMITS.chunkBytes && chunkList?.length !== count * 32) {
    throw new CofferError("CORRUPT", `chunk list of blob ${short(claim.sha256)}: expected ${count} digests`);
  }
}

/** What chunk `index` must hash to. @param chunkList - as `checkChunkList` took it */
export function chunkDigestAt(claim: BlobClaim, chunkList: Uint8Array | undefined, index: number): Digest {
  if (claim.size <= LIMITS.chunkBytes || chunkList === undefined) return claim.sha256;
  return digestFromBytes(chunkList.subarray(index * 32, index * 32 + 32));
}

/** The one after the next is being read, and the next one hashed, while the caller works on what it got. */
async function* streamChunks(
  file: OpenFile,
  claim: BlobClaim,
  chunkList: Uint8Array | undefined,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const first = Math.floor(start / LIMITS.chunkBytes);
  // An empty blob still has its digest checked: its one chunk is empty.
  const last = Math.max(first, Math.ceil(end / LIMITS.chunkBytes) - 1);
  const buffers = new Set<Uint8Array>();
  const read = (index: number): Promise<Chunk> | undefined => {
    if (index > last) return undefined;
    const buffer = takeBuffer();
    buffers.add(buffer);
    return quiet(readChunk(file, claim, index, buffer));
  };
  const check = (reading: Promise<Chunk> | undefined): Promise<Chunk> | undefined =>
    reading && quiet(checkChunk(reading, claim, chunkList, end - start));
  let checked = check(read(first));
  let reading = read(first + 1);
  try {
    for (let chunk = await checked; chunk !== undefined; chunk = await checked) {
      checked = check(reading);
      reading = read(chunk.index + 2);
      const from = chunk.index * LIMITS.chunkBytes;
      const piece = chunk.bytes.subarray(Math.max(0, start - from), Math.min(chunk.bytes.length, end - from));
      if (piece.length > 0) yield piece;
      buffers.delete(chunk.buffer);
      giveBuffer(chunk.buffer);
    }
  } finally {
    await Promise.allSettled([reading, checked]); // nothing may read into a buffer that somebody else gets
    buffers.forEach(giveBuffer);
  }
}

interface Chunk {
  readonly index: number;
  readonly buffer: Uint8Array;
  readonly bytes: Uint8Array;
}

async function readChunk(file: OpenFile, claim: BlobClaim, index: number, buffer: Uint8Array): Promise<Chunk> {
  const from = index * LIMITS.chunkBytes;
  const length = Math.min(LIMITS.chunkBytes, claim.size - from);
  const read = await file.read(buffer.subarray(0, length), from);
  if (read !== length) throw damaged(claim, from, length);
  return { index, buffer, bytes: buffer.subarray(0, length) };
}

/** @param allBytes - how much is read in all: of much, the hash is taken on another thread */
async function checkChunk(
  reading: Promise<Chunk>,
  claim: BlobClaim,
  chunkList: Uint8Array | undefined,
  allBytes: number,
): Promise<Chunk> {
  const chunk = await reading;
  const hash = streamHash(allBytes);
  const [, found] = await Promise.all([hash.update(chunk.bytes), hash.digest()]);
  const expected = chunkDigestAt(claim, chunkList, chunk.index);
  if (found !== expected) throw damaged(claim, chunk.index * LIMITS.chunkBytes, chunk.bytes.length);
  return chunk;
}

function damaged({ sha256 }: BlobClaim, from: number, length: number): CofferError {
  return new CofferError("CORRUPT", `blob ${short(sha256)}: bytes ${from} to ${from + length} are damaged`);
}

/** It may fail while the caller is busy with what came before: that is told when its turn comes, or not at all. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
