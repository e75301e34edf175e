// SPDX-License-Identifier: Apache-2.0
/** Which earlier log entries an index names. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { earlierNumbers } from "../../src/sync/log-points.ts";

test("an index names its number with the low bits cleared one after another", () => {
  const cases: [number, number[]][] = [
    [1, []],
    [2, []],
    [3, [2]],
    [12, [8]],
    [13, [12, 8]],
    [64, []],
    [1000, [992, 960, 896, 768, 512]],
    [999_999_999_999, earlierNumbers(999_999_999_999) as number[]],
  ];
  for (const [number, expected] of cases) assert.deepEqual(earlierNumbers(number), expected, String(number));
  assert.ok(earlierNumbers(999_999_999_999).length <= 40);
});

test("what a receipt saw is named as well, once, and only if it lies before", () => {
  assert.deepEqual(earlierNumbers(13, [9]), [12, 9, 8]);
  assert.deepEqual(earlierNumbers(13, [8, 12]), [12, 8]);
  assert.deepEqual(earlierNumbers(13, [13, 14, 0]), [12, 8]);
});

test("of any two numbers that lie within one power of two, one point is shared", () => {
  for (let a = 1; a < 200; a += 1) {
    for (let b = a; b < 200; b += 1) {
      const points = new Set([a, ...earlierNumbers(a)]);
      const shared = [b, ...earlierNumbers(b)].some((number) => points.has(number));
      const samePower = Math.floor(Math.log2(a)) === Math.floor(Math.log2(b));
      assert.ok(shared || !samePower, `${a} and ${b}`);
    }
  }
});
