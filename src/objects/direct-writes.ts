// SPDX-License-Identifier: Apache-2.0
/**
 * Writes of large new files past the page cache (O_DIRECT, open(2)): the system neither copies gigabytes into memory nor
 * drops what is read often to make room, and a slow disk or stick sets the pace from the start. Layer: objects.
 * Not here: durability, which is still fsync's (real-handles.ts).
 *
 * The system asks for addresses, offsets and lengths in whole blocks. So bytes are gathered in two buffers, of which one
 * is written while the other fills; what is left at the end, less than a buffer, is written the usual way. A file system
 * that knows no such writes says so at the open or at the first write: then all is written the usual way.
 */
import { closeSync, constants, openSync } from "node:fs";
import { systemCode } from "../base/errors.ts";
import { writeAt } from "./descriptors.ts";

/** From this size on. */
const LARGE_BYTES = 64 * 1024 * 1024;
/** A multiple of every disk's block. */
const BUFFER_BYTES = 4 * 1024 * 1024;
const PAGE_BYTES = 64 * 1024; // of WebAssembly

/** Node's types leave it out. Its memory begins at a page of the system, which no other memory here is certain to do. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

type Pair = readonly [Uint8Array, Uint8Array];
const spare: Pair[] = [];

function takePair(): Pair {
  const kept = spare.pop();
  if (kept !== undefined) return kept;
  const { buffer } = new WebAssembly.Memory({ initial: (2 * BUFFER_BYTES) / PAGE_BYTES });
  return [new Uint8Array(buffer, 0, BUFFER_BYTES), new Uint8Array(buffer, BUFFER_BYTES, BUFFER_BYTES)];
}

/** What `openDirect` needs beside the bits that the new file is to have. */
export const OWNER_WRITES = 0o200;

/** True if so many bytes are written past the cache, where the system knows how. */
export function isWrittenDirectly(expectedBytes: number): boolean {
  return expectedBytes >= LARGE_BYTES && process.platform === "linux";
}

/**
 * @param fd - of a new file that its owner may write
 * @returns undefined where such writes, or the memory for them, cannot be had: the usual way is as good
 */
export function openDirect(fd: number): DirectWrites | undefined {
  let direct: number | undefined;
  try {
    if (typeof WebAssembly === "undefined") return undefined; // node --jitless
    direct = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_DIRECT);
    return new DirectWrites(fd, direct);
  } catch (error) {
    if (direct !== undefined) closeSync(direct);
    if (systemCode(error) !== undefined || error instanceof RangeError) return undefined;
    throw error;
  }
}

export class DirectWrites {
  readonly #fd: number;
  readonly #direct: number;
  #refused = false;
  readonly #pair: Pair;
  #turn: 0 | 1 = 0;
  /** What stands in the buffer whose turn it is, and where it belongs. */
  #filled = 0;
  #position = 0;
  readonly #writing: [Promise<void> | undefined, Promise<void> | undefined] = [undefined, undefined];
  #last: Promise<void> | undefined;

  /**
   * @param fd - of the file; `direct` - of the same, for whole blocks
   * @throws RangeError - there is no memory for the buffers
   */
  constructor(fd: number, direct: number) {
    this.#fd = fd;
    this.#direct = direct;
    this.#pair = takePair();
  }

  /** Appends: settles when `bytes` may change. A failure may be told by a later call. Calls keep the order they were made in. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(() => this.#gather(bytes));
  }

  /** Hands all that came so far to the system. @throws the system's error */
  flush(): Promise<void> {
    return this.#inTurn(async () => {
      await Promise.all(this.#writing);
      await writeAll(this.#fd, this.#pair[this.#turn].subarray(0, this.#filled), this.#position);
    });
  }

  /** Waits for what still runs; to be called once, last. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#last]);
    await Promise.allSettled(this.#writing);
    spare.push(this.#pair);
    closeSync(this.#direct);
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#last === undefined ? step() : this.#last.then(step);
    this.#last = done;
    // Without rivals the next call begins at once, and not a turn later.
    const ended = (): void => {
      if (this.#last === done) this.#last = undefined;
    };
    done.then(ended, () => undefined); // a failure stays, so that every later call fails too
    return done;
  }

  async #gather(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(BUFFER_BYTES - this.#filled, bytes.length - at);
      this.#pair[this.#turn].set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === BUFFER_BYTES) await this.#send();
    }
  }

  /** Begins to write a full buffer, and waits until the other one is free. */
  async #send(): Promise<void> {
    const writing = this.#writeBuffer(this.#pair[this.#turn], this.#position);
    writing.catch(() => undefined); // told by who waits for this buffer, or by the flush
    this.#writing[this.#turn] = writing;
    this.#position += BUFFER_BYTES;
    this.#filled = 0;
    this.#turn = this.#turn === 0 ? 1 : 0;
    await this.#writing[this.#turn];
  }

  async #writeBuffer(bytes: Uint8Array, position: number): Promise<void> {
    let written = 0;
    while (!this.#refused && written < bytes.length) {
      try {
        written += await writeAt(this.#direct, bytes.subarray(written), position + written);
      } catch (error) {
        if (systemCode(error) !== "EINVAL") throw error;
        this.#refused = true; // blocks of another size, or none; also what is left of a write that was cut short
      }
    }
    await writeAll(this.#fd, bytes.subarray(written), position + written);
  }
}

async function writeAll(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += await writeAt(fd, bytes.subarray(at), position + at);
}
