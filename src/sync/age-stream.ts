// SPDX-License-Identifier: Apache-2.0
/**
 * The payload of an age file: chunks of 64 KiB, each sealed by ChaCha20-Poly1305 under its number and whether it is the last.
 * So any chunk can be opened alone, and a changed, moved, missing or added one is noticed. Layer: sync.
 * Format: https://c2sp.org/age, "Payload". Not here: whose key it is (age-header.ts), files and pipes (sealed.ts).
 */
import { createCipheriv, createDecipheriv } from "node:crypto";

/** Bytes of the payload's nonce, which stands between header and chunks. */
export const NONCE_BYTES = 16;
/** What a chunk holds; only the last one may hold less, and it holds something unless it is the only one. */
export const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;

const CIPHER = "chacha20-poly1305";
const OPTIONS = { authTagLength: TAG_BYTES };
/** So many sealed chunks are handed on together. */
const CHUNKS_TOGETHER = 16;

/** The chunks of `clearBytes`, sealed. */
export function sealedSize(clearBytes: number): number {
  return clearBytes + TAG_BYTES * Math.max(1, Math.ceil(clearBytes / CHUNK_BYTES));
}

/** What `sealedBytes` of chunks hold; undefined if no payload has that size. */
export function clearSize(sealedBytes: number): number | undefined {
  const chunks = Math.max(1, Math.ceil(sealedBytes / SEALED_CHUNK_BYTES));
  const clear = sealedBytes - TAG_BYTES * chunks;
  return clear >= 0 && sealedSize(clear) === sealedBytes ? clear : undefined;
}

/** The most that can be sealed into `sealedBytes`; negative if nothing can. */
export function mostClear(sealedBytes: number): number {
  const rest = sealedBytes % SEALED_CHUNK_BYTES;
  const whole = Math.floor(sealedBytes / SEALED_CHUNK_BYTES) * CHUNK_BYTES;
  return whole === 0 ? rest - TAG_BYTES : whole + Math.max(0, rest - TAG_BYTES);
}

function nonceOf(number: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 3);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function sealChunk(key: Uint8Array, number: number, isLast: boolean, clear: Uint8Array, into: Uint8Array): number {
  const cipher = createCipheriv(CIPHER, key, nonceOf(number, isLast), OPTIONS);
  into.set(cipher.update(clear));
  cipher.final();
  into.set(cipher.getAuthTag(), clear.length);
  return clear.length + TAG_BYTES;
}

/** @returns undefined if it is not what was sealed as chunk `number` under this key */
export function openChunk(
  key: Uint8Array,
  number: number,
  isLast: boolean,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  const decipher = createDecipheriv(CIPHER, key, nonceOf(number, isLast), OPTIONS);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const clear = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined; // all that OpenSSL has to say here is that the tag is another
  }
  return clear;
}

/** Collects bytes and hands them on in pieces of one size, the last of which may be smaller, with word of which is the last. */
class Slices {
  readonly #buffer: Uint8Array;
  #filled = 0;

  constructor(bytes: number) {
    this.#buffer = new Uint8Array(bytes);
  }

  /** A full buffer is handed on only when more comes: the last one is known at the end only. */
  *take(piece: Uint8Array): Generator<Uint8Array> {
    let rest = piece;
    while (rest.length > 0) {
      if (this.#filled === this.#buffer.length) {
        this.#filled = 0;
        yield this.#buffer;
      }
      while (this.#filled === 0 && rest.length > this.#buffer.length) {
        yield rest.subarray(0, this.#buffer.length);
        rest = rest.subarray(this.#buffer.length);
      }
      const some = rest.subarray(0, this.#buffer.length - this.#filled);
      this.#buffer.set(some, this.#filled);
      this.#filled += some.length;
      rest = rest.subarray(some.length);
    }
  }

  last(): Uint8Array {
    return this.#buffer.subarray(0, this.#filled);
  }
}

/** The chunks of a payload. @yields bytes that are valid until the next step only */
export async function* sealChunks(pieces: AsyncIterable<Uint8Array>, key: Uint8Array): AsyncGenerator<Uint8Array> {
  const slices = new Slices(CHUNK_BYTES);
  const out = new Uint8Array(CHUNKS_TOGETHER * SEALED_CHUNK_BYTES);
  let number = 0;
  let filled = 0;
  for await (const piece of pieces) {
    for (const slice of slices.take(piece)) {
      filled += sealChunk(key, number, false, slice, out.subarray(filled));
      number += 1;
      if (filled < out.length) continue;
      yield out;
      filled = 0;
    }
  }
  filled += sealChunk(key, number, true, slices.last(), out.subarray(filled));
  yield out.subarray(0, filled);
}

/** What is wrong with a chunk, in words. */
export type Refuse = (number: number, isLast: boolean, sealed: Uint8Array) => Error;

/** The clear bytes of a payload that comes front to back. @throws what `refuse` makes of a chunk that is no good */
export async function* openChunks(
  pieces: AsyncIterable<Uint8Array>,
  key: Uint8Array,
  refuse: Refuse,
): AsyncGenerator<Uint8Array> {
  const slices = new Slices(SEALED_CHUNK_BYTES);
  let number = 0;
  const opened = (sealed: Uint8Array, isLast: boolean): Uint8Array => {
    const clear = openChunk(key, number, isLast, sealed);
    if (clear === undefined || (clear.length === 0 && number > 0)) throw refuse(number, isLast, sealed);
    number += 1;
    return clear;
  };
  for await (const piece of pieces) for (const sealed of slices.take(piece)) yield opened(sealed, false);
  yield opened(slices.last(), true);
}
