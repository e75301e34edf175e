// SPDX-License-Identifier: Apache-2.0
/**
 * The objects in a pack that a stranger made, deltas applied. What an entry says of its size is bounded before a byte of it is
 * unpacked, and nothing is unpacked beyond what it said: a small pack cannot become large. Layer: git.
 * Format: gitformat-pack(5), pack version 2. Not here: the checksum at its end (fetch-pack.ts), packs of ours (pack.ts).
 */
import { inflateSync } from "node:zlib";
import { CofferError, systemCode } from "../base/errors.ts";
import { type GitId, type GitObject, gitObject } from "./git-object.ts";

/** A pack of version 2, whole, and how many objects it says that it holds. */
export interface ReceivedPack {
  readonly pack: Uint8Array;
  readonly objects: number;
}

export interface PackLimits {
  readonly objects: number;
  /** Of one object, and of the instructions by which one is made of another. */
  readonly objectBytes: number;
  /** Of all that together. */
  readonly bytes: number;
}

const HEADER_BYTES = 12;
const SUM_BYTES = 20;
const KINDS: Readonly<Record<number, GitObject["kind"]>> = { 1: "commit", 2: "tree", 3: "blob" };
const OFFSET_DELTA = 6;
const ID_DELTA = 7;
/** The most that is unpacked at a time. */
const PIECE_BYTES = 64 * 1024;
const CUT = "expected whole objects, found one that is cut";

/** @throws CofferError REMOTE_FAILED - without an address, for the caller to add */
export function readPack(received: ReceivedPack, limits: PackLimits): ReadonlyMap<GitId, GitObject> {
  return new PackReader(received, limits).read();
}

/** How to make an object of another one. */
interface Delta {
  /** Where its entry begins. */
  readonly begin: number;
  /** At the first instruction. */
  readonly instructions: Cursor;
  readonly baseBytes: number;
  readonly resultBytes: number;
}

class PackReader {
  private readonly count: number;
  private readonly limits: PackLimits;
  private readonly cursor: Cursor;
  private readonly found = new Map<GitId, GitObject>();
  private readonly byBegin = new Map<number, GitObject>();
  /** By where the entry of their base begins, or by its id: it may come after them. */
  private readonly waiting = new Map<number | GitId, Delta[]>();
  private bytes = 0;

  constructor({ pack, objects }: ReceivedPack, limits: PackLimits) {
    this.count = objects;
    this.limits = limits;
    const bytes = Buffer.from(pack.buffer, pack.byteOffset, pack.byteLength - SUM_BYTES);
    this.cursor = new Cursor(bytes, HEADER_BYTES);
  }

  read(): ReadonlyMap<GitId, GitObject> {
    const { count, limits, cursor } = this;
    if (count > limits.objects) throw refused(`expected at most ${limits.objects} objects, found ${count} announced`);
    for (let at = 0; at < count; at += 1) this.readEntry();
    if (!cursor.isAtEnd) throw refused(`expected ${count} objects, found more behind them`);
    if (this.waiting.size > 0) throw refused("expected every object that others are made of, found one missing");
    return this.found;
  }

  private readEntry(): void {
    const { cursor } = this;
    const begin = cursor.at;
    const first = cursor.byte();
    const size = (first & 15) + (first < 128 ? 0 : cursor.number(16));
    const type = (first >> 4) & 7;
    const kind = KINDS[type];
    if (kind !== undefined) this.settle(begin, gitObject(kind, this.unpack(size)));
    else if (type === OFFSET_DELTA) this.readDelta(begin, begin - cursor.distance(begin), size);
    else if (type === ID_DELTA) this.readDelta(begin, cursor.take(20).toString("hex") as GitId, size);
    else throw refused(`expected a commit, a folder, a file or a change of one, found kind ${type}`);
  }

  private readDelta(begin: number, base: number | GitId, size: number): void {
    const instructions = new Cursor(this.unpack(size), 0);
    const delta = { begin, instructions, baseBytes: instructions.number(1), resultBytes: instructions.number(1) };
    this.spend(delta.resultBytes);
    const there = typeof base === "number" ? this.byBegin.get(base) : this.found.get(base);
    if (there !== undefined) this.settle(begin, changed(there, delta));
    else {
      const others = this.waiting.get(base);
      if (others === undefined) this.waiting.set(base, [delta]);
      else others.push(delta);
    }
  }

  /** Takes in an object, and all that waited for it. */
  private settle(begin: number, object: GitObject): void {
    const settled = [{ begin, object }];
    for (let one = settled.pop(); one !== undefined; one = settled.pop()) {
      this.found.set(one.object.id, one.object);
      this.byBegin.set(one.begin, one.object);
      for (const key of [one.begin, one.object.id]) {
        const base = one.object;
        for (const delta of this.waiting.get(key) ?? [])
          settled.push({ begin: delta.begin, object: changed(base, delta) });
        this.waiting.delete(key);
      }
    }
  }

  /** The next bytes, which say that they are so many. */
  private unpack(size: number): Buffer {
    this.spend(size);
    const { content, packedBytes } = inflate(this.cursor.rest, size);
    this.cursor.take(packedBytes);
    return content;
  }

  private spend(size: number): void {
    const { objectBytes, bytes } = this.limits;
    if (size > objectBytes) throw refused(`expected objects of at most ${objectBytes} bytes, found one of ${size}`);
    this.bytes += size;
    if (this.bytes > bytes) throw refused(`expected at most ${bytes} bytes once unpacked, found more`);
  }
}

function inflate(packed: Buffer, size: number): { readonly content: Buffer; readonly packedBytes: number } {
  const chunkSize = Math.min(Math.max(size + 1, 64), PIECE_BYTES);
  try {
    const options = { info: true, maxOutputLength: Math.max(size, 1), chunkSize };
    // With `info`, the result is another than what its type says (https://nodejs.org/docs/latest-v20.x/api/zlib.html#class-options).
    const result = inflateSync(packed, options) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    if (result.buffer.length === size) return { content: result.buffer, packedBytes: result.engine.bytesWritten };
  } catch (error) {
    if (systemCode(error) !== "ERR_BUFFER_TOO_LARGE") {
      throw refused(`expected an object of ${size} bytes, found what cannot be unpacked`, error);
    }
    throw refused(`expected an object of ${size} bytes, found more`, error);
  }
  throw refused(`expected an object of ${size} bytes, found another size`);
}

/** @throws CofferError REMOTE_FAILED - it is for another base, or makes another size than it said */
function changed(base: GitObject, { instructions, baseBytes, resultBytes }: Delta): GitObject {
  const source = Buffer.from(base.content.buffer, base.content.byteOffset, base.content.byteLength);
  const refuse = (): never => {
    throw refused(`expected changes that make ${resultBytes} bytes of ${baseBytes}, found others`);
  };
  if (source.length !== baseBytes) refuse();
  const result = Buffer.allocUnsafe(resultBytes);
  let filled = 0;
  while (!instructions.isAtEnd) {
    const code = instructions.byte();
    // Bytes of their own, or a part of the base; which bytes of its place and of its length follow is in the code.
    const isOwn = code < 128;
    const start = isOwn ? 0 : instructions.sparse(code, 4);
    const length = isOwn ? code : instructions.sparse(code >> 4, 3) || 0x10000;
    if (length === 0 || filled + length > resultBytes) refuse();
    if (isOwn) for (let at = 0; at < length; at += 1) result[filled + at] = instructions.byte();
    else if (start + length > source.length) refuse();
    // A call for each of a billion short copies takes minutes, and a small pack can ask for so many.
    else if (length < 64) for (let at = 0; at < length; at += 1) result[filled + at] = source[start + at] ?? 0;
    else source.copy(result, filled, start, start + length);
    filled += length;
  }
  if (filled !== resultBytes) refuse();
  return gitObject(base.kind, result);
}

/** Reads on from a place in bytes, never past their end. */
class Cursor {
  private readonly bytes: Buffer;
  private place: number;

  constructor(bytes: Buffer, place: number) {
    this.bytes = bytes;
    this.place = place;
  }

  get at(): number {
    return this.place;
  }

  get isAtEnd(): boolean {
    return this.place === this.bytes.length;
  }

  get rest(): Buffer {
    return this.bytes.subarray(this.place);
  }

  take(count: number): Buffer {
    if (count > this.bytes.length - this.place) throw refused(CUT);
    this.place += count;
    return this.bytes.subarray(this.place - count, this.place);
  }

  byte(): number {
    const byte = this.bytes[this.place];
    if (byte === undefined) throw refused(CUT);
    this.place += 1;
    return byte;
  }

  /** 7 bits in a byte, small end first. @param unit - what its first bit counts */
  number(unit: number): number {
    let value = 0;
    for (let scale = unit; scale < Number.MAX_SAFE_INTEGER; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw refused("expected a size, found a number without an end");
  }

  /** How far back a base is: 7 bits in a byte, large end first, with no two ways to write a number. */
  distance(most: number): number {
    let byte = this.byte();
    let value = byte & 127;
    while (byte >= 128 && value <= most) {
      byte = this.byte();
      value = (value + 1) * 128 + (byte & 127);
    }
    return value;
  }

  /** A number, small end first, of whose bytes only those are there that have a bit set. */
  sparse(bits: number, most: number): number {
    let value = 0;
    for (let at = 0; at < most; at += 1) if ((bits & (1 << at)) !== 0) value += this.byte() * 256 ** at;
    return value;
  }
}

function refused(what: string, cause?: unknown): CofferError {
  const options = cause === undefined ? undefined : { cause };
  return new CofferError("REMOTE_FAILED", `its pack: ${what}`, options);
}
