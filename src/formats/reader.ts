// SPDX-License-Identifier: Apache-2.0
/**
 * How inspections read: a port for bytes at a position, and a forward cursor over it with one bounded window.
 * Layer: formats (imports base only). Not here: files; whoever calls brings the reader.
 */
import { Malformed } from "./findings.ts";

/**
 * Bytes of one file. `read` gives exactly `length` bytes or throws; callers stay within `sizeBytes`.
 * What it throws passes through every inspection unchanged.
 */
export interface ByteReader {
  readonly sizeBytes: number;
  read(position: number, length: number): Promise<Uint8Array>;
}

/** Bounds of the work that one file may cause; all in bytes. */
export interface InspectLimits {
  /** Key-value and tensor sections of a GGUF file, or a whole SentencePiece model. */
  readonly headerBytes: number;
  /** JSON header of a safetensors file; the reference reader has the same cap. */
  readonly safetensorsHeaderBytes: number;
  /** A JSON companion, which is parsed in memory. */
  readonly jsonBytes: number;
  /** Objects and arrays in one JSON text: a parsed one costs over a hundred bytes, so text size alone bounds no memory. */
  readonly jsonContainers: number;
  /** One read of what is streamed. */
  readonly windowBytes: number;
}

export const INSPECT_LIMITS: InspectLimits = {
  headerBytes: 256 * 1024 * 1024,
  safetensorsHeaderBytes: 100_000_000,
  jsonBytes: 64 * 1024 * 1024,
  jsonContainers: 2_000_000,
  windowBytes: 1024 * 1024,
};

/**
 * Reads forward from the start of a file, each byte at most once, never past `end` or the file.
 * Await `fill(n)`, then take up to `n` bytes without waiting: large arrays cost no promise per element.
 */
export class Cursor {
  private readonly reader: ByteReader;
  private readonly end: number;
  private readonly windowBytes: number;
  private window: Uint8Array = new Uint8Array(0);
  private view = new DataView(new ArrayBuffer(0));
  /** File position of `window[0]`. */
  private base = 0;
  private at = 0;

  constructor(reader: ByteReader, limits: InspectLimits) {
    this.reader = reader;
    this.end = Math.min(reader.sizeBytes, limits.headerBytes);
    this.windowBytes = limits.windowBytes;
  }

  get position(): number {
    return this.base + this.at;
  }

  /** Bytes up to the end of the file or of what may be read as header, whichever comes first. */
  private get remaining(): number {
    return this.end - this.position;
  }

  /** Bytes up to the end of the file: what a length in it may claim. */
  get fileRemaining(): number {
    return this.reader.sizeBytes - this.position;
  }

  /** Bytes that can be taken without `fill`. */
  get buffered(): number {
    return this.window.length - this.at;
  }

  /** @throws Malformed truncated, or header-too-large - fewer than `length` bytes are left */
  async fill(length: number): Promise<void> {
    if (this.buffered >= length) return;
    this.demand(length);
    const rest = this.window.subarray(this.at);
    const wanted = Math.min(Math.max(length, this.windowBytes), this.remaining);
    const fresh = await this.reader.read(this.position + rest.length, wanted - rest.length);
    const window = new Uint8Array(wanted);
    window.set(rest);
    window.set(fresh, rest.length);
    this.base = this.position;
    this.at = 0;
    this.window = window;
    this.view = new DataView(window.buffer);
  }

  /** Moves on without reading. @throws Malformed as `fill` */
  skip(length: number): void {
    this.demand(length);
    if (length <= this.buffered) {
      this.at += length;
      return;
    }
    this.base = this.position + length;
    this.at = 0;
    this.window = new Uint8Array(0);
  }

  /** The next `length` bytes; copy them to keep them. Fill first. */
  take(length: number): Uint8Array {
    const bytes = this.window.subarray(this.at, this.at + length);
    this.at += length;
    return bytes;
  }

  u8(): number {
    return this.view.getUint8(this.step(1));
  }

  u32(): number {
    return this.view.getUint32(this.step(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.step(8), true);
  }

  f32(): number {
    return this.view.getFloat32(this.step(4), true);
  }

  private step(length: number): number {
    const at = this.at;
    this.at += length;
    return at;
  }

  private demand(length: number): void {
    if (length <= this.remaining) return;
    if (this.end < this.reader.sizeBytes) {
      throw new Malformed("header-too-large", `expected a header of at most ${this.end} bytes, found a longer one`);
    }
    throw new Malformed(
      "truncated",
      `expected ${length} more bytes at byte ${this.position}, found ${this.remaining} before the end of the file`,
    );
  }
}

/** True when the bytes from `from` up to `to` are all zero. Reads them in windows of `windowBytes`. */
export async function isZero(reader: ByteReader, from: number, to: number, windowBytes: number): Promise<boolean> {
  for (let at = from; at < to; at += windowBytes) {
    const bytes = await reader.read(at, Math.min(windowBytes, to - at));
    if (bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}

/** How many objects and arrays a JSON text can hold at most: its opening braces and brackets, those in strings included. */
export function countContainers(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte === 0x7b || byte === 0x5b) count += 1;
  return count;
}
