// SPDX-License-Identifier: Apache-2.0
/**
 * The downloads that run now: how many may, the memory that each has, and the watch that cuts them. Layer: server.
 *
 * A client that takes nothing would never come to the next chunk, where a download asks whether it may go on. So one
 * watch asks for all of them, again and again, and ends those whose bytes no trusted name holds any more.
 */
import type { ServerResponse } from "node:http";
import type { Digest } from "../base/digest.ts";
import { PIECE_BYTES, type Serving } from "../repo/serving.ts";

/** How long a download may go on after a commit, or a moment, that ends its trust. */
const WATCH_MS = 250;
/** Buffers kept for the next downloads. */
const SPARE = 64;
/** Pieces that go out in one turn of the event loop: other requests are answered in between. */
const PIECES_PER_TURN = 8;

export class Download {
  readonly blob: Digest;
  readonly response: ServerResponse;
  /** All that a download holds of its bytes; `write` must be done with it before it is filled again. */
  readonly buffer: Uint8Array;
  /** True once the watch has ended it: what follows from that is no news. */
  cut = false;

  constructor(blob: Digest, response: ServerResponse, buffer: Uint8Array) {
    this.blob = blob;
    this.response = response;
    this.buffer = buffer;
  }
}

export class Downloads {
  private readonly serving: Serving;
  private readonly most: number;
  private readonly onFault: (error: unknown) => void;
  private readonly running = new Set<Download>();
  private readonly spare: Uint8Array[] = [];
  private readonly line: (() => void)[] = [];
  private watch: NodeJS.Timeout | undefined;

  constructor(serving: Serving, most: number, onFault: (error: unknown) => void) {
    this.serving = serving;
    this.most = most;
    this.onFault = onFault;
  }

  get count(): number {
    return this.running.size;
  }

  /** Must be ended. @returns undefined if as many run as may */
  begin(blob: Digest, response: ServerResponse): Download | undefined {
    if (this.running.size >= this.most) return undefined;
    const download = new Download(blob, response, this.spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES));
    this.running.add(download);
    if (this.running.size === 1) this.schedule();
    return download;
  }

  end(download: Download): void {
    this.running.delete(download);
    if (this.running.size === 0) clearTimeout(this.watch);
    // Of a connection that broke off the system may still be reading the buffer.
    if (!download.response.destroyed && this.spare.length < SPARE) this.spare.push(download.buffer);
  }

  /** Resolves when it is the caller's turn to send a piece: in the order of asking, a few in each turn of the loop. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.line.push(resolve);
      if (this.line.length === 1) setImmediate(() => this.letOn());
    });
  }

  private letOn(): void {
    for (const go of this.line.splice(0, PIECES_PER_TURN)) go();
    if (this.line.length > 0) setImmediate(() => this.letOn());
  }

  private schedule(): void {
    this.watch = setTimeout(() => {
      void this.look().then(() => {
        if (this.running.size > 0) this.schedule();
      });
    }, WATCH_MS);
  }

  private async look(): Promise<void> {
    try {
      const head = await this.serving.head();
      for (const blob of new Set([...this.running].map((download) => download.blob))) {
        const may = async (): Promise<boolean> => (await this.serving.trustedFile(head, blob)) !== undefined;
        if (!(await this.unlessFault(may))) this.cut((download) => download.blob === blob);
      }
    } catch (error) {
      this.onFault(error);
      this.cut(() => true);
    }
  }

  /** False as well if it cannot be told: damage is no reason to go on. */
  private async unlessFault(may: () => Promise<boolean>): Promise<boolean> {
    try {
      return await may();
    } catch (error) {
      this.onFault(error);
      return false;
    }
  }

  private cut(which: (download: Download) => boolean): void {
    for (const download of this.running) {
      if (!which(download)) continue;
      download.cut = true;
      download.response.destroy();
    }
  }
}
