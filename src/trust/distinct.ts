// SPDX-License-Identifier: Apache-2.0
/** Sets, whatever the order and repetition in which their members come. Layer: trust. Holds invariant 5. */

/** Each entry once, sorted by `key`; entries with one key are the same entry. */
export function distinct<T>(entries: readonly T[], key: (entry: T) => string): T[] {
  const found = new Map(entries.map((entry) => [key(entry), entry]));
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}
