// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of a command that goes on, for a reader that may have stopped reading. They never wait: what finds no room is kept
 * up to a limit, then left out and counted. A write that waits would stop every request and the watch over downloads.
 * Layer: cli.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { systemCode } from "../base/errors.ts";
import type { Write } from "./output.ts";

const MOST_BYTES = 64 * 1024;
/** How often a full pipe is tried again. */
const AGAIN_MS = 100;

export interface BacklogOptions {
  /** Takes some bytes, or throws EAGAIN at once. */
  readonly write: (bytes: Uint8Array) => number;
  /** What stands where so many lines are left out. */
  readonly leftOut: (lines: number) => string;
  /** Told of each write that fails for another reason than want of room; what was kept is gone then. */
  readonly onError: (error: unknown) => void;
  readonly mostBytes?: number;
}

export class Backlog {
  readonly #options: BacklogOptions;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #leftOut = 0;
  #again: NodeJS.Timeout | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  print(line: string): void {
    const bytes = Buffer.from(line);
    const { mostBytes = MOST_BYTES } = this.#options;
    // Once one is left out so are all until there is room for the word on them: it then stands in the right place.
    if (this.#leftOut > 0 || (this.#keptBytes > 0 && this.#keptBytes + bytes.length > mostBytes)) {
      this.#leftOut += 1;
      return;
    }
    this.#keep(bytes);
    if (this.#again === undefined) this.#pass();
  }

  /** Gives what is kept so long to be taken, counted from the last that was, and in all; the rest is lost. */
  async end({ pauseMs, allMs }: { readonly pauseMs: number; readonly allMs: number }): Promise<void> {
    clearTimeout(this.#again);
    this.#pass();
    const beganMs = performance.now();
    for (let movedMs = beganMs, before = this.#keptBytes; this.#keptBytes > 0; before = this.#keptBytes) {
      await sleep(10);
      this.#pass();
      const nowMs = performance.now();
      if (this.#keptBytes !== before) movedMs = nowMs;
      if (nowMs - movedMs >= pauseMs || nowMs - beganMs >= allMs) break;
    }
    clearTimeout(this.#again);
  }

  #keep(bytes: Uint8Array): void {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  #pass(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    try {
      this.#writeKept();
      if (this.#leftOut === 0) return;
      this.#keep(Buffer.from(this.#options.leftOut(this.#leftOut)));
      this.#leftOut = 0;
      this.#writeKept();
    } catch (error) {
      if (systemCode(error) === "EAGAIN") {
        // Does not keep a process: `end` says how long one waits.
        this.#again = setTimeout(() => this.#pass(), AGAIN_MS).unref();
        return;
      }
      this.#kept = [];
      this.#keptBytes = 0;
      this.#leftOut = 0;
      this.#options.onError(error);
    }
  }

  /** @throws Error EAGAIN - there is no room; what is left is kept */
  #writeKept(): void {
    for (let bytes = this.#kept[0]; bytes !== undefined; bytes = this.#kept[0]) {
      const taken = this.#options.write(bytes);
      this.#keptBytes -= taken;
      if (taken < bytes.length) this.#kept[0] = bytes.subarray(taken);
      else this.#kept.shift();
    }
  }
}

/** For whoever writes to a stream of Node's. */
export function streamInto(backlog: Backlog): Writable {
  return new Writable({
    write(chunk, _encoding, taken) {
      backlog.print(String(chunk));
      taken();
    },
  });
}

/**
 * @param touch - makes Node's stream over `fd`, which sets a pipe or a socket to never wait
 * @returns how to write to what `fd` is, without ever waiting; undefined for files, which take what they are given
 */
export function writeNeverWaiting(
  fd: number,
  touch: () => void,
  write: Write = writeSync,
): BacklogOptions["write"] | undefined {
  const kind = fstatSync(fd);
  if (!kind.isFIFO() && !kind.isSocket() && !kind.isCharacterDevice()) return undefined;
  const own = openAgain(fd);
  if (own !== undefined) return (bytes) => write(own, bytes);
  if (kind.isCharacterDevice()) return undefined;
  touch();
  return (bytes) => write(fd, bytes);
}

/** Opened anew it is ours alone: whoever shares the old one, as a shell does, may wait on it. Sockets cannot be. */
function openAgain(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined; // no /proc, a socket, or a terminal of another account
  }
}
