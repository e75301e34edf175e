// SPDX-License-Identifier: Apache-2.0
/**
 * A blob as one of many clients reads it: verified bytes, copied piece by piece into the reader's own buffer, out of
 * chunks that all readers share. Layer: objects. Format: docs/format.md, "Blobs". Holds invariant 6.
 *
 * A chunk in memory stands for one state of one file: once the file's inode, size or times differ, it is read and
 * hashed again. Where readers stand in more chunks than memory holds, a chunk is hashed twice as it is read, as a whole
 * and in pieces; its readers go on from the disk by the pieces' digests, and nobody hashes 8 MiB to send 256 KiB.
 */
import { createHash } from "node:crypto";
import { short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type BlobClaim, checkChunkList, chunkDigestAt } from "./blob-store.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import type { Files, OpenFile } from "./files.ts";
import { blobPath } from "./layout.ts";

/** What a reader gets at a time at most; a chunk is a whole number of them. */
export const PIECE_BYTES = 256 * 1024;
/** Read and hashed at a time: the thread is free for others in between. */
const STEP_BYTES = 512 * 1024;

/** True if this open file is known to hold exactly the blob, at this moment and at all times since that was found. */
export type Vouch = (file: OpenFile) => Promise<boolean>;

export interface SharedBlob {
  readonly sizeBytes: number;
  /**
   * Fills `into` with the verified bytes from `position` on, to the end of that piece of the blob at most.
   *
   * @param into - at least PIECE_BYTES long; what lies behind the returned number of bytes is not verified
   * @throws CofferError CORRUPT - the bytes are not those of the blob; IO_ERROR
   */
  read(position: number, into: Uint8Array): Promise<number>;
  /** No `read` may be running. */
  close(): Promise<void>;
}

/** Where readers stand in one chunk. */
interface Place {
  readers: number;
  /** SHA-256 of each piece, 32 bytes each, taken from verified bytes. */
  pieces: Uint8Array | undefined;
}

/** The blobs of one store behind one cache. */
export class SharedBlobs {
  readonly cache: ChunkCache;
  private readonly files: Files;
  private readonly places = new Map<string, Place>();

  constructor(files: Files, cache: ChunkCache) {
    this.files = files;
    this.cache = cache;
  }

  /**
   * Opens a blob once, without following links; must be closed.
   *
   * @param chunkList - the bytes of the chunk list that the manifest names, already checked against its id
   * @param vouch - asked after each piece that is read; while it says yes, nothing is hashed
   * @returns undefined if the blob is absent
   * @throws CofferError CORRUPT - the chunk list's length is not the manifest's
   */
  async open(claim: BlobClaim, chunkList: Uint8Array | undefined, vouch?: Vouch): Promise<SharedBlob | undefined> {
    checkChunkList(claim, chunkList);
    const file = await this.files.open(blobPath(claim.sha256));
    return file && new Reader(this, file, claim, chunkList, vouch);
  }

  /** More chunks are being sent than memory holds. */
  get crowded(): boolean {
    return this.places.size * LIMITS.chunkBytes > this.cache.boundBytes;
  }

  enter(key: string): Place {
    const place = this.places.get(key) ?? { readers: 0, pieces: undefined };
    place.readers += 1;
    this.places.set(key, place);
    return place;
  }

  leave(key: string, place: Place): void {
    place.readers -= 1;
    if (place.readers === 0) this.places.delete(key);
  }
}

/** The chunk that a reader is in. */
interface Stand {
  readonly index: number;
  readonly key: string;
  readonly lengthBytes: number;
  readonly place: Place;
}

class Reader implements SharedBlob {
  readonly sizeBytes: number;
  private readonly blobs: SharedBlobs;
  private readonly file: OpenFile;
  private readonly claim: BlobClaim;
  private readonly chunkList: Uint8Array | undefined;
  private readonly vouch: Vouch | undefined;
  private stand: Stand | undefined;
  private hasRead = false;

  constructor(
    blobs: SharedBlobs,
    file: OpenFile,
    claim: BlobClaim,
    chunkList: Uint8Array | undefined,
    vouch: Vouch | undefined,
  ) {
    this.blobs = blobs;
    this.file = file;
    this.claim = claim;
    this.chunkList = chunkList;
    this.vouch = vouch;
    this.sizeBytes = claim.size;
  }

  async read(position: number, into: Uint8Array): Promise<number> {
    return (await this.readVouched(position, into)) ?? this.readHashed(position, into);
  }

  /** Straight from the disk; undefined if nobody vouches for what was read. */
  private async readVouched(position: number, into: Uint8Array): Promise<number | undefined> {
    if (this.vouch === undefined) return undefined;
    const end = Math.min(position - (position % PIECE_BYTES) + PIECE_BYTES, this.sizeBytes);
    const read = await this.file.read(into.subarray(0, end - position), position);
    // Asked after reading: a write that came before or meanwhile is seen, one that comes later was not read.
    return read === end - position && (await this.vouch(this.file)) ? read : undefined;
  }

  private async readHashed(position: number, into: Uint8Array): Promise<number> {
    const index = Math.floor(position / LIMITS.chunkBytes);
    const stand = this.stand?.index === index ? this.stand : await this.move(index);
    const offset = position - index * LIMITS.chunkBytes;
    const end = Math.min(offset - (offset % PIECE_BYTES) + PIECE_BYTES, stand.lengthBytes);
    const { key, place, lengthBytes } = stand;
    if (place.pieces !== undefined && offset % PIECE_BYTES === 0 && !this.blobs.cache.has(key)) {
      return this.readPiece(stand, place.pieces, offset, into.subarray(0, end - offset));
    }
    const fill = (buffer: Uint8Array): Promise<void> => this.fill(stand, buffer);
    const copy = (bytes: Uint8Array): void => into.set(bytes.subarray(offset, end));
    await this.blobs.cache.use(key, lengthBytes, fill, copy, !this.hasRead);
    this.hasRead = true;
    return end - offset;
  }

  async close(): Promise<void> {
    this.leave();
    await this.file.close();
  }

  private leave(): void {
    if (this.stand !== undefined) this.blobs.leave(this.stand.key, this.stand.place);
    this.stand = undefined;
  }

  private async move(index: number): Promise<Stand> {
    const key = `${this.claim.sha256} ${index} ${await this.identity()}`;
    this.leave();
    const lengthBytes = Math.min(LIMITS.chunkBytes, this.sizeBytes - index * LIMITS.chunkBytes);
    this.stand = { index, key, lengthBytes, place: this.blobs.enter(key) };
    return this.stand;
  }

  /** What the system says of the file; any write through it changes this. */
  private async identity(): Promise<string> {
    const { sizeBytes, device, inode, mtimeNs, ctimeNs } = await this.file.stat();
    if (sizeBytes === this.sizeBytes) return `${device} ${inode} ${mtimeNs} ${ctimeNs}`;
    const { sha256 } = this.claim;
    throw new CofferError("CORRUPT", `blob ${short(sha256)}: expected ${this.sizeBytes} bytes, found ${sizeBytes}`);
  }

  /** One piece from the disk, by its own digest. */
  private async readPiece(stand: Stand, pieces: Uint8Array, offset: number, into: Uint8Array): Promise<number> {
    const read = await this.file.read(into, stand.index * LIMITS.chunkBytes + offset);
    const at = (offset / PIECE_BYTES) * 32;
    const found = createHash("sha256").update(into).digest();
    if (read !== into.length || found.compare(pieces, at, at + 32) !== 0) throw this.damaged(stand);
    return read;
  }

  /** Hashes one step while the next is being read; nothing is written to `buffer` once it has settled. */
  private async fill(stand: Stand, buffer: Uint8Array): Promise<void> {
    const whole = createHash("sha256");
    const pieces: Buffer[] | undefined = this.blobs.crowded ? [] : undefined;
    let ahead = this.readStep(stand, buffer, 0);
    for (let at = 0; at < buffer.length; at += STEP_BYTES) {
      const step = await ahead;
      ahead = this.readStep(stand, buffer, at + STEP_BYTES);
      for (let start = 0; start < step.length; start += PIECE_BYTES) {
        const piece = step.subarray(start, start + PIECE_BYTES);
        whole.update(piece);
        pieces?.push(createHash("sha256").update(piece).digest());
      }
    }
    if (whole.digest("hex") !== chunkDigestAt(this.claim, this.chunkList, stand.index)) throw this.damaged(stand);
    if (pieces !== undefined) stand.place.pieces = Buffer.concat(pieces);
  }

  private async readStep(stand: Stand, buffer: Uint8Array, at: number): Promise<Uint8Array> {
    const step = buffer.subarray(at, at + STEP_BYTES);
    const read = step.length === 0 ? 0 : await this.file.read(step, stand.index * LIMITS.chunkBytes + at);
    if (read !== step.length) throw this.damaged(stand);
    return step;
  }

  private damaged({ index, lengthBytes }: Stand): CofferError {
    const from = index * LIMITS.chunkBytes;
    const text = `blob ${short(this.claim.sha256)}: bytes ${from} to ${from + lengthBytes} are damaged`;
    return new CofferError("CORRUPT", text);
  }
}
