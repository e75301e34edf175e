// SPDX-License-Identifier: Apache-2.0
/** Which earlier log entries an index names, so that two of one store can be compared. Layer: sync. Pure. */

/**
 * The log entries before `number` that an index names: `number` with its low bits cleared one after another, and the
 * ones in `also` (what a receipt says was seen). Largest first, each once.
 */
export function earlierNumbers(number: number, also: readonly number[] = []): readonly number[] {
  const found = new Set(also.filter((one) => one >= 1 && one < number));
  for (let step = 2; step <= number; step *= 2) {
    const cleared = number - (number % step);
    if (cleared < number) found.add(cleared);
  }
  return [...found].sort((a, b) => b - a);
}
