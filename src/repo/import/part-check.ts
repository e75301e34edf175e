// SPDX-License-Identifier: Apache-2.0
/** Checks what lies here of a blob against its chunk list. Layer: repo. Opens nothing. */
import { createHash, type Hash } from "node:crypto";
import { type Digest, digestFromBytes } from "../../base/digest.ts";
import { LIMITS } from "../../base/limits.ts";

/** Compares bytes with a chunk list as they come, from a place that is a multiple of the chunk size. */
export class PartCheck {
  readonly #blob: Digest;
  readonly #chunks: Uint8Array | undefined;
  #index: number;
  #hash: Hash = createHash("sha256");
  #inChunk = 0;
  #good = 0;
  #failed = false;

  constructor(blob: Digest, start: number, chunks: Uint8Array | undefined) {
    this.#blob = blob;
    this.#chunks = chunks;
    this.#index = start / LIMITS.chunkBytes;
  }

  /** @returns false once a chunk is wrong */
  update(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length && !this.#failed; ) {
      const length = Math.min(bytes.length - at, LIMITS.chunkBytes - this.#inChunk);
      this.#hash.update(bytes.subarray(at, at + length));
      this.#inChunk += length;
      at += length;
      if (this.#inChunk === LIMITS.chunkBytes) this.#endChunk();
    }
    return !this.#failed;
  }

  #endChunk(): void {
    const found = digestFromBytes(this.#hash.digest());
    this.#hash = createHash("sha256");
    if (found === this.#expected()) this.#good += this.#inChunk;
    else this.#failed = true;
    this.#index += 1;
    this.#inChunk = 0;
  }

  #expected(): Digest | undefined {
    if (this.#chunks === undefined) return this.#blob; // of at most one chunk
    const bytes = this.#chunks.subarray(this.#index * 32, this.#index * 32 + 32);
    return bytes.length === 32 ? digestFromBytes(bytes) : undefined;
  }

  /** Bytes that are right. @param last - what came ends where the blob does, so that its last chunk may be short */
  end(last: boolean): number {
    if (last && !this.#failed && (this.#inChunk > 0 || this.#good === 0)) this.#endChunk();
    return this.#good;
  }
}
