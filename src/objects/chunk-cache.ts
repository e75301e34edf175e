// SPDX-License-Identifier: Apache-2.0
/**
 * Verified chunks in memory, one pool for all downloads: a fixed number of bytes, each chunk read and hashed once
 * however many want it. Layer: objects. Holds invariant 6. Not here: where a chunk lies and what it must hash to
 * (shared-blob.ts).
 *
 * Nobody is handed a buffer of the pool: bytes are copied out, in one synchronous step, while the chunk is held. So a
 * slow client pins nothing here, and no buffer is filled anew while somebody still reads in it.
 */
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";

/** Chunks that are read and hashed at the same time, so that reading overlaps hashing; the others wait in line. */
const LOADS = 2;
/** An entry counts at least this much, so that many tiny blobs are bounded as well. */
const LEAST_WEIGHT = 4096;

/**
 * Fills the buffer with a chunk's bytes. Nothing may write to the buffer once it has settled.
 * @throws if they are not what they must be: then nothing is kept
 */
export type Fill = (buffer: Uint8Array) => Promise<void>;

interface Entry {
  readonly key: string;
  readonly lengthBytes: number;
  readonly loaded: Promise<Uint8Array>;
  /** There once the bytes were verified. */
  bytes: Uint8Array | undefined;
  /** Who waits for the chunk or is about to copy from it: it must stay. */
  users: number;
}

interface Load {
  readonly entry: Entry;
  readonly urgent: boolean;
  readonly run: (buffer: Uint8Array) => void;
}

export class ChunkCache {
  readonly boundBytes: number;
  /** The least recently used first. */
  private readonly entries = new Map<string, Entry>();
  private readonly line: Load[] = [];
  /** Buffers of one whole chunk, for the next one: giving 8 MiB back to the system and touching it anew costs more. */
  private readonly spare: Uint8Array[] = [];
  private entryBytes = 0;
  private running = 0;
  private loadedCount = 0;

  /** @param boundBytes - for all of it: chunks, those being read, spare buffers; at least one chunk */
  constructor(boundBytes: number) {
    if (boundBytes < LIMITS.chunkBytes) throw new CofferError("INTERNAL", "a chunk cache must hold one chunk");
    this.boundBytes = boundBytes;
  }

  /** Memory that it holds now. */
  get heldBytes(): number {
    return this.entryBytes + this.spare.length * LIMITS.chunkBytes;
  }

  /** Chunks that were read and verified so far. */
  get loads(): number {
    return this.loadedCount;
  }

  /** True if `use` would find the chunk, read or being read. */
  has(key: string): boolean {
    return this.entries.has(key);
  }

  /**
   * Calls `act` with the verified bytes of a chunk, which `act` must not keep. One `fill` runs for all who ask
   * meanwhile; they share its failure, and the next to ask tries again.
   *
   * @param key - says all that the bytes depend on
   * @param urgent - for a client that has nothing yet: goes before those that are being served
   */
  async use<T>(
    key: string,
    lengthBytes: number,
    fill: Fill,
    act: (bytes: Uint8Array) => T,
    urgent = false,
  ): Promise<T> {
    const entry = this.entries.get(key) ?? this.start(key, lengthBytes, fill, urgent);
    entry.users += 1;
    this.entries.delete(key);
    this.entries.set(key, entry);
    try {
      return act(await entry.loaded);
    } finally {
      entry.users -= 1;
      if (this.line.length > 0) this.next();
    }
  }

  private start(key: string, lengthBytes: number, fill: Fill, urgent: boolean): Entry {
    const { promise, settle, fail } = deferred<Uint8Array>();
    const entry: Entry = { key, lengthBytes, loaded: promise, bytes: undefined, users: 0 };
    const run = (buffer: Uint8Array): void => void this.load(entry, buffer, fill).then(settle, fail);
    this.entries.set(key, entry);
    const place = urgent ? this.line.findIndex((load) => !load.urgent) : -1;
    this.line.splice(place < 0 ? this.line.length : place, 0, { entry, run, urgent });
    this.next();
    return entry;
  }

  /** Begins as many loads as may run, the oldest first. */
  private next(): void {
    for (let load = this.line[0]; load !== undefined && this.running < LOADS; load = this.line[0]) {
      const buffer = this.take(load.entry.lengthBytes);
      if (buffer === undefined) return; // all that is here is in use at this moment: whoever is done calls again
      this.line.shift();
      this.running += 1;
      this.entryBytes += weightOf(load.entry);
      load.run(buffer);
    }
  }

  private async load(entry: Entry, buffer: Uint8Array, fill: Fill): Promise<Uint8Array> {
    try {
      await fill(buffer);
      entry.bytes = buffer;
      this.loadedCount += 1;
      return buffer;
    } catch (error) {
      this.forget(entry, buffer);
      throw error;
    } finally {
      this.running -= 1;
      this.next();
    }
  }

  /** A buffer within the bound, at the cost of what was not used for longest; undefined if all is in use. */
  private take(lengthBytes: number): Uint8Array | undefined {
    const whole = lengthBytes === LIMITS.chunkBytes;
    for (;;) {
      const spare = whole ? this.spare.pop() : undefined;
      if (spare !== undefined) return spare;
      if (this.heldBytes + weightOf({ lengthBytes }) <= this.boundBytes) return Buffer.allocUnsafeSlow(lengthBytes);
      if (this.spare.pop() === undefined && !this.evict()) return undefined;
    }
  }

  private evict(): boolean {
    for (const entry of this.entries.values()) {
      if (entry.bytes === undefined || entry.users > 0) continue;
      this.forget(entry, entry.bytes);
      return true;
    }
    return false;
  }

  private forget(entry: Entry, buffer: Uint8Array): void {
    this.entries.delete(entry.key);
    this.entryBytes -= weightOf(entry);
    if (buffer.length === LIMITS.chunkBytes) this.spare.push(buffer);
  }
}

function weightOf({ lengthBytes }: { readonly lengthBytes: number }): number {
  return Math.max(lengthBytes, LEAST_WEIGHT);
}

function deferred<T>(): { promise: Promise<T>; settle: (value: T) => void; fail: (error: unknown) => void } {
  let settle: (value: T) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  return { promise, settle, fail };
}
