// SPDX-License-Identifier: Apache-2.0
/** How long an answer that was worked out may be given again: until the clock, or the clock floor, reaches its turn. Layer: repo. */
import type { Store } from "./store.ts";

/** What a store took for the time, in seconds. */
export interface Clock {
  /** Local time. */
  readonly nowS: number;
  /** The later of local time and clock floor. */
  readonly laterS: number;
}

/** An answer's time. */
export interface Span {
  /** Before it was worked out; what rose meanwhile may have changed it. */
  readonly from: Clock;
  /** The first time at which it may change. */
  readonly untilS: number;
}

export function clockOf(store: Pick<Store, "ports" | "memoryFacts">): Clock {
  const nowS = store.ports.clock();
  return { nowS, laterS: Math.max(nowS, store.memoryFacts().floorS ?? nowS) };
}

/**
 * Starts are held against local time, ends against the later of it and the floor (src/trust/validity.ts). Where the floor is
 * ahead already, and has not risen, it has passed no end: only the start is waited for.
 */
export function isInTime({ from, untilS }: Span, { nowS, laterS }: Clock): boolean {
  return from.nowS <= nowS && nowS < untilS && (laterS < untilS || laterS <= from.laterS);
}
