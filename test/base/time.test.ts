// SPDX-License-Identifier: Apache-2.0
/** Times: the cases of times.json, both ends of the range, and a round trip over every second between them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatTime, parseTime, timeSeconds } from "../../src/base/time.ts";
import { loadVectors } from "../support/vectors.ts";

const FIRST = 1577836800; // 2020-01-01T00:00:00Z
const LAST = 7258118399; // 2199-12-31T23:59:59Z

describe("times: accepted", () => {
  for (const { time, seconds } of loadVectors<{ time: string; seconds: number }>("times", "accepted")) {
    test(time, () => {
      assert.equal(parseTime(time), time);
      assert.equal(timeSeconds(parseTime(time)), seconds);
      assert.equal(formatTime(seconds), time);
    });
  }
});

describe("times: refused", () => {
  for (const time of loadVectors<string>("times", "refused")) {
    test(JSON.stringify(time), () => assert.throws(() => parseTime(time), { code: "TIME_INVALID" }));
  }

  for (const seconds of [
    FIRST - 1,
    LAST + 1,
    0,
    -1,
    1.5,
    FIRST + 0.5,
    1e13,
    8.64e12,
    Number.MAX_SAFE_INTEGER,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ]) {
    test(`${seconds} seconds`, () => assert.throws(() => formatTime(seconds), { code: "TIME_INVALID" }));
  }

  test("the error text is printable ascii and short", () => {
    for (const input of ["\u001b[2J", "\u009b", "\u202e", "9".repeat(1e6)]) {
      assert.throws(() => parseTime(input), { message: /^[\x20-\x7e]{1,200}$/ });
    }
  });
});

test("times: every second of the range prints, reads back, and sorts as text", () => {
  const second = fc.integer({ min: FIRST, max: LAST });
  fc.assert(
    fc.property(second, second, (a, b) => {
      assert.equal(timeSeconds(parseTime(formatTime(a))), a);
      assert.equal(formatTime(a) < formatTime(b), a < b);
    }),
  );
});

test("times: a date is taken exactly when the calendar of the engine has it", () => {
  const pad = (value: number): string => String(value).padStart(2, "0");
  for (let year = 2020; year < 2200; year += 1) {
    for (let month = 0; month <= 13; month += 1) {
      for (let day = 0; day <= 32; day += 1) {
        const text = `${year}-${pad(month)}-${pad(day)}T00:00:00Z`;
        const ms = Date.parse(text);
        const exists = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text.slice(0, 10));
        if (exists) assert.equal(parseTime(text), text);
        else assert.throws(() => parseTime(text), { code: "TIME_INVALID" });
      }
    }
  }
});
