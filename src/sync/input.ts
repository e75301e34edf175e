// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes from a medium, front to back: a file, in which one can go ahead, or a pipe, in which one cannot.
 * Layer: sync. Holds one small buffer, and two large ones while something large is read. Not here: what the bytes mean
 * (volume-reader.ts).
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { OpenFile } from "../objects/files.ts";
import { type StreamHash, streamHash } from "../objects/hash-thread.ts";
import { readRange } from "../objects/pieces.ts";
import { BUFFER_BYTES } from "../objects/shared-buffers.ts";

const SMALL_BUFFER_BYTES = 1024 * 1024;

/** Where bytes come from. */
interface Medium {
  /** Some of the bytes from `position` on, valid until the next call; undefined at the end. */
  readMore(position: number): Promise<Uint8Array | undefined>;
  /** All bytes from `position` on, up to `length`, each piece valid until the next step; left out where one cannot go ahead. */
  readonly readLarge?: (position: number, length: number) => AsyncIterable<Uint8Array>;
}

export class Input {
  readonly #what: string;
  readonly #medium: Medium;
  #hash: StreamHash | undefined;
  #rest: Uint8Array = new Uint8Array();
  #position: number;

  /**
   * @param what - how error texts call the medium
   * @param from - position of its first byte
   * @param hash - every byte is hashed, those that nobody wants as well
   */
  constructor(what: string, medium: Medium, from = 0, hash?: StreamHash) {
    this.#what = what;
    this.#medium = medium;
    this.#position = from;
    this.#hash = hash;
  }

  /** Up to `length` bytes, one piece after the other, each valid until the next step. @throws CofferError VOLUME_DAMAGED */
  async *pieces(length: number): AsyncGenerator<Uint8Array> {
    const { readLarge } = this.#medium;
    let left = length;
    while (left > 0) {
      if (readLarge !== undefined && this.#rest.length === 0 && left >= SMALL_BUFFER_BYTES) break;
      if (this.#rest.length === 0 && !(await this.#fill())) this.#endsEarly(left);
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      this.#position += piece.length;
      left -= piece.length;
      const hashed = this.#hash?.update(piece);
      yield piece;
      await hashed;
    }
    if (left === 0 || readLarge === undefined) return;
    for await (const piece of readLarge(this.#position, left)) {
      this.#position += piece.length;
      left -= piece.length;
      const hashed = this.#hash?.update(piece);
      yield piece;
      await hashed;
    }
    if (left > 0) this.#endsEarly(left);
  }

  /** Exactly `length` bytes, which the caller has found to be few enough. @throws CofferError VOLUME_DAMAGED */
  async take(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let at = 0;
    for await (const piece of this.pieces(length)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** Passes over bytes; where there are fewer, the next read tells. @throws CofferError VOLUME_DAMAGED */
  async skip(length: number): Promise<void> {
    if (this.#medium.readLarge === undefined || this.#hash !== undefined || length <= this.#rest.length) {
      for await (const piece of this.pieces(length)) if (piece.length > length) return;
      return;
    }
    this.#rest = new Uint8Array();
    this.#position += length;
  }

  async atEnd(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#fill());
  }

  /** Of all bytes so far, asked for once: what comes later is not hashed; undefined if nothing is. */
  async hashSoFar(): Promise<Digest | undefined> {
    const hash = this.#hash;
    this.#hash = undefined;
    return hash?.digest();
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const bytes = await this.#medium.readMore(this.#position);
      if (bytes === undefined) return false;
      this.#rest = bytes;
      if (bytes.length > 0) return true;
    }
  }

  #endsEarly(left: number): never {
    const text = `${this.#what}: expected ${left} bytes more after ${this.#position}, found the end`;
    throw new CofferError("VOLUME_DAMAGED", text);
  }
}

/** @param hashBytes - every byte is hashed, about so many; else what nobody wants is not read */
export function fileInput(file: OpenFile, what: string, from = 0, hashBytes?: number): Input {
  const buffer = Buffer.allocUnsafeSlow(SMALL_BUFFER_BYTES);
  const medium: Medium = {
    async readMore(position) {
      const length = await file.read(buffer, position);
      return length === 0 ? undefined : buffer.subarray(0, length);
    },
    readLarge: (position, length) => readRange(file, position, position + length, BUFFER_BYTES),
  };
  return new Input(what, medium, from, hashBytes === undefined ? undefined : streamHash(hashBytes));
}

/** @param hash - every byte is hashed */
export function streamInput(source: AsyncIterable<Uint8Array>, what: string, hash?: "hash"): Input {
  const iterator = source[Symbol.asyncIterator]();
  const medium: Medium = {
    readMore: async () => ((await iterator.next()).value as Uint8Array | undefined) ?? undefined,
  };
  return new Input(what, medium, 0, hash === undefined ? undefined : streamHash(0));
}
