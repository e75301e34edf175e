// SPDX-License-Identifier: Apache-2.0
/** The digest of a blob and its chunk list, both in one pass over its bytes. Layer: objects. Format: docs/format.md, "Blobs". */
import { createHash, type Hash } from "node:crypto";
import { type Digest, sha256 } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { OpenFile } from "./files.ts";
import { type StreamHash, streamHash } from "./hash-thread.ts";
import { readPieces } from "./pieces.ts";

/** The SHA-256 of each 8 MiB piece, 32 raw bytes each: an object of its own. */
export interface ChunkList {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

/** What the bytes of a blob turned out to be. */
export interface HashedBlob {
  readonly sha256: Digest;
  readonly sizeBytes: number;
  /** Exactly when `sizeBytes` is over one chunk. */
  readonly chunks?: ChunkList;
}

/**
 * Of large blobs the whole is hashed on another thread than the chunks. Of others the first chunk costs nothing: its digest
 * is what that of the whole is at its end.
 */
export class ChunkHasher {
  private readonly whole: StreamHash;
  /** Of the chunk at hand; undefined where that is the first, and `whole` tells it. */
  private piece: Hash | undefined;
  private inPiece = 0;
  private readonly pieces: Uint8Array[] = [];
  sizeBytes = 0;

  /** @param sizeBytes - how much will come, as far as is known */
  constructor(sizeBytes: number) {
    this.whole = streamHash(sizeBytes);
    if (this.whole.soFar === undefined) this.piece = createHash("sha256");
  }

  /** `bytes` must not change until it settles. @throws CofferError IO_ERROR - the other thread ended */
  update(bytes: Uint8Array): Promise<void> {
    const room = LIMITS.chunkBytes - this.inPiece;
    if (this.piece === undefined && bytes.length > room) {
      void this.update(bytes.subarray(0, room)); // hashed here, so at once
      return this.update(bytes.subarray(room));
    }
    const hashed = this.whole.update(bytes);
    this.sizeBytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, LIMITS.chunkBytes - this.inPiece);
      this.piece?.update(bytes.subarray(at, at + length));
      this.inPiece += length;
      at += length;
      if (this.inPiece === LIMITS.chunkBytes) this.endPiece();
    }
    return hashed;
  }

  private endPiece(): void {
    this.pieces.push(this.piece?.digest() ?? this.firstDigest());
    this.piece = createHash("sha256");
    this.inPiece = 0;
  }

  private firstDigest(): Uint8Array {
    const digest = this.whole.soFar?.();
    if (digest === undefined) throw new CofferError("INTERNAL", "a chunk that nobody hashed");
    return digest;
  }

  /** @throws CofferError IO_ERROR */
  async digest(): Promise<HashedBlob> {
    const hashed = { sha256: await this.whole.digest(), sizeBytes: this.sizeBytes };
    if (this.sizeBytes <= LIMITS.chunkBytes) return hashed;
    if (this.inPiece > 0) this.endPiece();
    const bytes = new Uint8Array(Buffer.concat(this.pieces));
    return { ...hashed, chunks: { id: sha256(bytes), bytes } };
  }
}

/** Recomputes digest and chunk list of a stored or any other open file, without writing. */
export async function hashFile(
  file: OpenFile,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<HashedBlob> {
  const { sizeBytes } = await file.stat();
  const hasher = new ChunkHasher(sizeBytes);
  for await (const piece of readPieces(file, sizeBytes)) {
    await hasher.update(piece);
    onBytes(piece.length);
  }
  return hasher.digest();
}
