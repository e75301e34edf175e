// SPDX-License-Identifier: Apache-2.0
/**
 * The SSH wire encoding: u32 and length-prefixed strings (RFC 4251 section 5), read within bounds.
 * Layer: keys. Not here: what the fields mean (public-key.ts, private-key.ts, sshsig.ts).
 */
import { CofferError, type ErrorCode } from "../base/errors.ts";

const PRINTABLE = /^[\x20-\x7e]*$/;
const SHOWN_CHARS = 48;

/** `text` cut to what fits in an error line. */
export function shown(text: string): string {
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}...` : text;
}

/** True when both hold the same bytes. */
export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

/** The parts one after another, in fresh memory. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** `value` (0 to 2^32-1) as four bytes, most significant first. */
export function wireU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** `content` (text as UTF-8) behind its length as u32. */
export function wireString(content: Uint8Array | string): Uint8Array {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return concatBytes(wireU32(bytes.length), bytes);
}

/**
 * Reads fields one after another; never past the end, never allocating by a length that was read.
 * Every refusal is a CofferError with the code given when made. Results are views of the input.
 */
export class SshReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  readonly #code: ErrorCode;
  #offset = 0;

  /** `what` names the whole in error texts; `code` is the code of every refusal. */
  constructor(bytes: Uint8Array, what: string, code: ErrorCode) {
    this.#bytes = bytes;
    this.#what = what;
    this.#code = code;
  }

  /** The error for `field` of what is being read. */
  refusal(field: string, problem: string): CofferError {
    return new CofferError(this.#code, `${this.#what}: ${field}: ${problem}`);
  }

  /** The next `length` bytes. */
  fixed(length: number, field: string): Uint8Array {
    const left = this.#bytes.length - this.#offset;
    if (length > left) throw this.refusal(field, `cut short: expected ${length} more bytes, found ${left}`);
    const bytes = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return bytes;
  }

  /** Four bytes, most significant first. */
  u32(field: string): number {
    const bytes = this.fixed(4, field);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
  }

  /** A length-prefixed string of any bytes. */
  string(field: string): Uint8Array {
    return this.fixed(this.u32(field), field);
  }

  /** A length-prefixed string of exactly `length` bytes. */
  stringOf(length: number, field: string): Uint8Array {
    const bytes = this.string(field);
    if (bytes.length !== length) throw this.refusal(field, `expected ${length} bytes, found ${bytes.length}`);
    return bytes;
  }

  /** A length-prefixed string of printable ASCII: the names of ciphers, key types and namespaces. */
  text(field: string): string {
    const text = Buffer.from(this.string(field)).toString("latin1");
    if (!PRINTABLE.test(text)) throw this.refusal(field, "expected printable ASCII, found other bytes");
    return text;
  }

  /** A length-prefixed string that must be `expected`. */
  expectText(expected: string, field: string): void {
    const found = this.text(field);
    if (found !== expected) throw this.refusal(field, `expected "${expected}", found "${shown(found)}"`);
  }

  /** The bytes of `magic` as they stand, without a length. */
  expectMagic(magic: string): void {
    const expected = new TextEncoder().encode(magic);
    if (!sameBytes(this.fixed(expected.length, "magic"), expected)) {
      throw this.refusal("magic", `expected ${JSON.stringify(magic)}, found other bytes`);
    }
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.fixed(this.#bytes.length - this.#offset, "rest");
  }

  /** Refuses anything that is left. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) throw this.refusal("end", `expected nothing more, found ${left} trailing bytes`);
  }
}
