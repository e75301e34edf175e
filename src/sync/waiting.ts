// SPDX-License-Identifier: Apache-2.0
/** How long a server may put off one pull, all its answers together. Layer: sync. Which answers put off: http-source.ts. */

const HALF_AN_HOUR_MS = 1_800_000;

export class Waiting {
  #leftMs: number;

  constructor(leftMs: number = HALF_AN_HOUR_MS) {
    this.#leftMs = leftMs;
  }

  /** Takes what has passed. @returns false if `moreMs` are not left after that */
  take(passedMs: number, moreMs: number): boolean {
    this.#leftMs -= passedMs;
    return moreMs <= this.#leftMs;
  }
}
