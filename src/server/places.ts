// SPDX-License-Identifier: Apache-2.0
/**
 * A few places for long answers. Who finds none free waits in line, and is served in the order of coming; while somebody
 * waits, the slowest client gives its place up if it is slower than everybody may expect. So nobody holds a place for longer
 * than its answer takes at that rate, however often the same ones come again. Layer: server. Not here: downloads.
 */
import type { ServerResponse } from "node:http";
import type { Pace } from "./pace.ts";

/** While nobody waits, the least rate of Pace is enough. */
const FAIR_BYTES_PER_S = 256 * 1024;
const LOOK_MS = 500;

/** Whom a place may be taken from. */
export type Holder = Pick<Pace, "bytesPerS" | "isEnded" | "end">;

export class Places {
  private readonly most: number;
  private readonly patienceMs: number;
  private taken = 0;
  private readonly held = new Set<Holder>();
  /** What to call with whether there is a place now; who came first is first. */
  private readonly line = new Set<(isPlaced: boolean) => void>();
  private watch: NodeJS.Timeout | undefined;

  /** @param patienceMs - how long somebody waits in line */
  constructor(most: number, patienceMs: number) {
    this.most = most;
    this.patienceMs = patienceMs;
  }

  /** @returns false if `send` was not called: no place came free in time, or the client is gone */
  async use(response: ServerResponse, holder: Holder, send: () => Promise<void>): Promise<boolean> {
    if (!(await this.come(response))) return false;
    this.held.add(holder);
    try {
      await send();
    } finally {
      this.held.delete(holder);
      this.leave();
    }
    return true;
  }

  private come(response: ServerResponse): Promise<boolean> {
    if (response.destroyed) return Promise.resolve(false);
    if (this.taken < this.most) {
      this.taken += 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const called = (isPlaced: boolean): void => {
        clearTimeout(timer);
        response.off("close", gone);
        this.line.delete(called);
        resolve(isPlaced);
      };
      const gone = (): void => called(false);
      const timer = setTimeout(called, this.patienceMs, false);
      response.once("close", gone);
      this.line.add(called);
      this.watch ??= setInterval(() => this.look(), LOOK_MS).unref();
    });
  }

  private leave(): void {
    const [first] = this.line;
    if (first === undefined) this.taken -= 1;
    else first(true);
  }

  /** Ends the slowest, one after the other. */
  private look(): void {
    if (this.line.size === 0) {
      clearInterval(this.watch);
      this.watch = undefined;
      return;
    }
    let slowest: Holder | undefined;
    for (const holder of this.held) {
      if (holder.isEnded) return; // its place comes free
      if (holder.bytesPerS < (slowest?.bytesPerS ?? FAIR_BYTES_PER_S)) slowest = holder;
    }
    slowest?.end();
  }
}
