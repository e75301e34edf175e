// SPDX-License-Identifier: Apache-2.0
/**
 * Buffers for bytes on their way through, one chunk long each, in memory that the hashing thread sees too. Layer: objects.
 * They are used again: the collector does not count shared memory, and touching new memory costs more than hashing it.
 */
import { LIMITS } from "../base/limits.ts";

export const BUFFER_BYTES = LIMITS.chunkBytes;

/** So many are kept for the next one who asks. */
const KEPT = 8;
const spare: Uint8Array[] = [];

/** The contents are whatever the last user left. */
export function takeBuffer(): Uint8Array {
  return spare.pop() ?? new Uint8Array(new SharedArrayBuffer(BUFFER_BYTES));
}

/** Nothing may read into it any more. */
export function giveBuffer(buffer: Uint8Array): void {
  if (spare.length < KEPT) spare.push(buffer);
}
