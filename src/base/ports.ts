// SPDX-License-Identifier: Apache-2.0
/** What the pure parts are handed instead of reaching for it: time and randomness. Layer: base. */

/** Seconds since 1970-01-01T00:00:00Z, whole. */
export type Clock = () => number;

/** `length` unpredictable bytes. */
export type Random = (length: number) => Uint8Array;
