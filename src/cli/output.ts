// SPDX-License-Identifier: Apache-2.0
/**
 * What a process prints. Written at once, without a stream of Node's: making one takes a short command longer than all its
 * reading. Whoever has no room at the moment (a pipe that does not block) gets the rest through the stream. Layer: cli.
 */
import { writeSync } from "node:fs";
import type { Writable } from "node:stream";
import { systemCode } from "../base/errors.ts";

/** Takes some of the bytes. @returns how many */
export type Write = (fd: number, bytes: Uint8Array) => number;

export class Output {
  readonly #fd: number;
  readonly #open: () => Writable;
  readonly #onError: (error: unknown) => void;
  readonly #write: Write;
  #stream: Writable | undefined;

  /**
   * @param open - the stream over `fd`
   * @param onError - told of each write that fails, nothing of which is thrown
   */
  constructor(fd: number, open: () => Writable, onError: (error: unknown) => void, write: Write = writeSync) {
    this.#fd = fd;
    this.#open = open;
    this.#onError = onError;
    this.#write = write;
  }

  print(text: string): void {
    if (this.#stream !== undefined) {
      this.#stream.write(text);
      return;
    }
    let rest: Uint8Array = Buffer.from(text);
    try {
      while (rest.length > 0) rest = rest.subarray(this.#write(this.#fd, rest));
    } catch (error) {
      if (systemCode(error) === "EAGAIN") this.stream().write(rest);
      else this.#onError(error);
    }
  }

  /** For bytes whose writer waits. From here on everything goes this way, so that the order stays. */
  stream(): Writable {
    if (this.#stream === undefined) {
      this.#stream = this.#open();
      this.#stream.on("error", this.#onError);
    }
    return this.#stream;
  }
}
