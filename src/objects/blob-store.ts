// SPDX-License-Identifier: Apache-2.0
/**
 * Blobs: artifact bytes, named by their SHA-256. Written in one pass over the source; read chunk by chunk, each chunk
 * hashed before any of it is handed out. Layer: objects. Format: docs/format.md, "Blobs". Holds invariants 1 and 6.
 */
import { createHash, type Hash } from "node:crypto";
import { type Digest, digestFromBytes, sha256, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import type { Files, NewFile, OpenFile } from "./files.ts";
import { blobPath, createTemp, ensureFolders, parentFolder, tempPath } from "./layout.ts";
import { openKept, putBack } from "./trash.ts";

/** The SHA-256 of each 8 MiB piece, 32 raw bytes each: an object of its own. */
export interface ChunkList {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

/** A file under local/tmp whose bytes were hashed on the way in; has no name in the store yet. */
export interface StagedBlob {
  readonly temp: string;
  readonly sha256: Digest;
  readonly sizeBytes: number;
  /** Exactly when `sizeBytes` is over one chunk. */
  readonly chunks?: ChunkList;
}

/** What a manifest says of a blob. */
export interface BlobClaim {
  readonly sha256: Digest;
  readonly size: number;
  readonly chunks?: Digest;
}

const READ_BYTES = 1024 * 1024;

/**
 * The whole of an open file, front to back, reading the next piece while the caller works on this one.
 * The yielded bytes are valid until the next step only: two buffers of 1 MiB take turns.
 */
export async function* readPieces(file: OpenFile): AsyncGenerator<Uint8Array> {
  const buffers: [Uint8Array, Uint8Array] = [Buffer.allocUnsafeSlow(READ_BYTES), Buffer.allocUnsafeSlow(READ_BYTES)];
  let position = 0;
  let ahead = readAhead(file, buffers[0], 0);
  try {
    for (let turn: 0 | 1 = 0; ; turn = turn === 0 ? 1 : 0) {
      const length = await ahead;
      if (length === 0) return;
      position += length;
      ahead = readAhead(file, buffers[turn === 0 ? 1 : 0], position);
      yield buffers[turn].subarray(0, length);
    }
  } finally {
    // However it ends, also where the caller wants no more: the read must end before its file is closed, and should it
    // fail, then what ended the work is the one to tell.
    await ahead.catch(() => 0);
  }
}

/** It may fail while the caller is busy with the piece before: that is told when its turn comes, or not at all. */
function readAhead(file: OpenFile, buffer: Uint8Array, position: number): Promise<number> {
  const reading = file.read(buffer, position);
  reading.catch(() => 0);
  return reading;
}

/** Hashes the whole and each 8 MiB piece in the same pass. */
export class ChunkHasher {
  private readonly whole: Hash = createHash("sha256");
  private piece: Hash = createHash("sha256");
  private inPiece = 0;
  private readonly pieces: Buffer[] = [];
  sizeBytes = 0;

  update(bytes: Uint8Array): void {
    this.whole.update(bytes);
    this.sizeBytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, LIMITS.chunkBytes - this.inPiece);
      this.piece.update(bytes.subarray(at, at + length));
      this.inPiece += length;
      at += length;
      if (this.inPiece === LIMITS.chunkBytes) this.endPiece();
    }
  }

  private endPiece(): void {
    this.pieces.push(this.piece.digest());
    this.piece = createHash("sha256");
    this.inPiece = 0;
  }

  digest(): { sha256: Digest; chunks?: ChunkList } {
    if (this.inPiece > 0) this.endPiece();
    const whole = digestFromBytes(this.whole.digest());
    if (this.sizeBytes <= LIMITS.chunkBytes) return { sha256: whole };
    const bytes = new Uint8Array(Buffer.concat(this.pieces));
    return { sha256: whole, chunks: { id: sha256(bytes), bytes } };
  }
}

/** Recomputes digest and chunk list of a stored or any other open file, without writing. */
export async function hashFile(
  file: OpenFile,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<Omit<StagedBlob, "temp">> {
  const hasher = new ChunkHasher();
  for await (const piece of readPieces(file)) {
    hasher.update(piece);
    onBytes(piece.length);
  }
  return { ...hasher.digest(), sizeBytes: hasher.sizeBytes };
}

/**
 * Writes `source` to a temporary file in one pass, holding two 1 MiB buffers whatever the total size.
 * Not durable and without a name until `publishBlobs`.
 *
 * @param source - raw bytes in any chunking; read to the end
 * @throws CofferError NO_SPACE, IO_ERROR - the temporary file is removed
 */
export async function stageBlob(files: Files, random: Random, source: AsyncIterable<Uint8Array>): Promise<StagedBlob> {
  const temp = tempPath(files, random);
  const file = await createTemp(files, temp, 0o444);
  try {
    const hasher = new ChunkHasher();
    for await (const piece of source) {
      const written = file.write(piece);
      hasher.update(piece);
      await written;
    }
    await file.fsync();
    await file.close();
    return { temp, ...hasher.digest(), sizeBytes: hasher.sizeBytes };
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
   * The yielded bytes are valid until the next step only: one buffer of at most 8 MiB is used again.
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

async function* streamChunks(
  file: OpenFile,
  claim: BlobClaim,
  chunkList: Uint8Array | undefined,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(claim.size, LIMITS.chunkBytes));
  let index = Math.floor(start / LIMITS.chunkBytes);
  // An empty blob still has its digest checked: its one chunk is empty.
  do {
    const from = index * LIMITS.chunkBytes;
    const length = Math.min(LIMITS.chunkBytes, claim.size - from);
    const read = await file.read(buffer.subarray(0, length), from);
    const chunk = buffer.subarray(0, read);
    if (read !== length || sha256(chunk) !== chunkDigestAt(claim, chunkList, index)) {
      throw new CofferError("CORRUPT", `blob ${short(claim.sha256)}: bytes ${from} to ${from + length} are damaged`);
    }
    const piece = chunk.subarray(Math.max(0, start - from), Math.min(length, end - from));
    if (piece.length > 0) yield piece;
    index += 1;
  } while (index * LIMITS.chunkBytes < end);
}
