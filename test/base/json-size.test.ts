// SPDX-License-Identifier: Apache-2.0
/** Hostile JSON is refused by its bytes, before a parser makes a hundred times as much of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import { checkJsonSize } from "../../src/base/json-size.ts";
import { LIMITS } from "../../src/base/limits.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Longer than what is let through unseen. */
const PADDING = `"${"x".repeat(70_000)}"`;

function verdict(text: string, most: number): string {
  try {
    checkJsonSize(utf8(text), "index", most);
    return "ok";
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

describe("json by its bytes", () => {
  test("values of all kinds are counted, and one too many is refused", () => {
    for (const [text, values] of [
      [`[1,true,"a",${PADDING}]`, 5],
      [`{"a":{"b":[1,2]},"z":${PADDING}}`, 6],
      [`[[1],[2],${PADDING}]`, 6],
    ] as const) {
      assert.equal(verdict(text, values), "ok");
      assert.equal(
        verdict(text, values - 1),
        `LIMIT_EXCEEDED: index: expected at most ${values - 1} values, found more`,
      );
    }
  });

  test("what stands in strings counts for nothing, escaped quotes included", () => {
    const text = String.raw`["[[[{{{,,,:::\"[,\\","\\\"[,",${PADDING}]`;
    assert.equal(verdict(text, 4), "ok");
    assert.match(verdict(text, 3), /^LIMIT_EXCEEDED/);
  });

  test("a string that does not end hides nothing that a parser would read", () => {
    assert.equal(verdict(`["${"[".repeat(70_000)}`, 2), "ok");
    assert.match(verdict(`[1,2,3,"${"[".repeat(70_000)}`, 4), /^LIMIT_EXCEEDED/);
  });

  test("depth: the limit passes, one more does not", () => {
    const nested = (depth: number): string => `${"[".repeat(depth)}${PADDING}${"]".repeat(depth)}`;
    assert.equal(verdict(nested(LIMITS.jsonDepth), 1e6), "ok");
    assert.equal(
      verdict(nested(LIMITS.jsonDepth + 1), 1e6),
      `JSON_INVALID: index: nested deeper than ${LIMITS.jsonDepth}`,
    );
  });

  test("members have a limit of their own", () => {
    const members = (count: number): string => `{${'"a":1,'.repeat(count - 1)}"a":1}`;
    assert.equal(verdict(members(LIMITS.jsonMembers), 1e9), "ok");
    assert.equal(
      verdict(members(LIMITS.jsonMembers + 1), 1e9),
      `LIMIT_EXCEEDED: index: expected at most ${LIMITS.jsonMembers} members, found more`,
    );
  });

  test("property: never fewer than a parser finds", () => {
    const count = (value: unknown): number =>
      typeof value === "object" && value !== null
        ? Object.values(value).reduce((sum: number, member) => sum + count(member), 1)
        : 1;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify([value, "x".repeat(70_000)]);
        assert.match(verdict(text, count(JSON.parse(text)) - 1), /^LIMIT_EXCEEDED/);
      }),
      { numRuns: 200 },
    );
  });
});
