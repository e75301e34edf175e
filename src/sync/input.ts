// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes from a medium, front to back: a file, in which one can go ahead, or a pipe, in which one cannot.
 * Layer: sync. Holds one buffer. Not here: what the bytes mean (volume-reader.ts).
 */
import { createHash, type Hash } from "node:crypto";
import { type Digest, digestFromBytes } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { OpenFile } from "../objects/files.ts";

const BUFFER_BYTES = 1024 * 1024;

/** The next bytes that the medium has, valid until the next call; undefined at its end. */
type ReadMore = () => Promise<Uint8Array | undefined>;

export class Input {
  readonly #what: string;
  readonly #readMore: ReadMore;
  readonly #goAhead: ((bytes: number) => void) | undefined;
  readonly #hash: Hash | undefined;
  #rest: Uint8Array = new Uint8Array();
  #position = 0;

  /**
   * @param what - how error texts call the medium
   * @param goAhead - passes over bytes that were not read; left out where the medium cannot
   * @param hash - every byte is hashed, those that nobody wants as well
   */
  constructor(what: string, readMore: ReadMore, goAhead?: (bytes: number) => void, hash?: "hash") {
    this.#what = what;
    this.#readMore = readMore;
    this.#goAhead = goAhead;
    this.#hash = hash === undefined ? undefined : createHash("sha256");
  }

  /** Up to `length` bytes, one piece after the other, each valid until the next step. @throws CofferError VOLUME_DAMAGED */
  async *pieces(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      if (this.#rest.length === 0 && !(await this.#fill())) this.#endsEarly(left);
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      this.#position += piece.length;
      left -= piece.length;
      this.#hash?.update(piece);
      yield piece;
    }
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
    if (this.#goAhead === undefined || this.#hash !== undefined || length <= this.#rest.length) {
      for await (const piece of this.pieces(length)) if (piece.length > length) return;
      return;
    }
    this.#goAhead(length - this.#rest.length);
    this.#rest = new Uint8Array();
    this.#position += length;
  }

  async atEnd(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#fill());
  }

  /** Of all bytes so far; undefined if they are not hashed. */
  hashSoFar(): Digest | undefined {
    return this.#hash && digestFromBytes(this.#hash.copy().digest());
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const bytes = await this.#readMore();
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

/** @param hash - every byte is hashed; else what nobody wants is not read */
export function fileInput(file: OpenFile, what: string, from = 0, hash?: "hash"): Input {
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let position = from;
  const readMore: ReadMore = async () => {
    const length = await file.read(buffer, position);
    position += length;
    return length === 0 ? undefined : buffer.subarray(0, length);
  };
  const goAhead = (bytes: number): void => {
    position += bytes;
  };
  return new Input(what, readMore, goAhead, hash);
}

export function streamInput(source: AsyncIterable<Uint8Array>, what: string, hash?: "hash"): Input {
  const iterator = source[Symbol.asyncIterator]();
  return new Input(
    what,
    async () => ((await iterator.next()).value as Uint8Array | undefined) ?? undefined,
    undefined,
    hash,
  );
}
