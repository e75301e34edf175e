// SPDX-License-Identifier: Apache-2.0
/** Hostile JSON is refused by its bytes, before a parser makes a hundred times as much of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeCanonical, parseCanonical } from "../../src/base/canonical-json.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { checkJsonSize } from "../../src/base/json-size.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseManifest } from "../../src/objects/documents/manifest.ts";
import { parseBundleIndex } from "../../src/sync/bundle-index.ts";
import { digestFor } from "../support/trust-fixtures.ts";

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

describe("hostile documents", () => {
  const many = LIMITS.bundleIndexValues;
  const hostile: Readonly<Record<string, string>> = {
    "empty objects": `[${"{},".repeat(many)}1]\n`,
    "empty lists": `[${"[],".repeat(many)}1]\n`,
    numbers: `[${"1,".repeat(many)}1]\n`,
    "short strings": `[${'"ab",'.repeat(many)}1]\n`,
    members: `{${'"a":1,'.repeat(many)}"a":1}\n`,
    nests: `${"[".repeat(many)}${"]".repeat(many)}\n`,
  };
  for (const [name, text] of Object.entries(hostile)) {
    test(`${name} are refused before anything is made of them`, () => {
      const code = name === "nests" ? "JSON_INVALID" : "LIMIT_EXCEEDED";
      const data = utf8(text);
      const before = process.memoryUsage().rss;
      assert.throws(() => parseCanonical(data), { code });
      assert.throws(() => parseBundleIndex(data), { code: "BUNDLE_INVALID" });
      assert.ok(process.memoryUsage().rss - before < 100e6, "what was made of it");
    });
  }

  test("a manifest of as many files as are allowed passes, with every member that a file has", () => {
    const sha256 = digestFor("file");
    const files = Array.from({ length: LIMITS.manifestFiles }, (_, at) => ({
      path: `part-${String(at).padStart(6, "0")}.json`,
      size: at,
      sha256,
      format: "json",
      chunks: sha256,
    }));
    const document = encodeCanonical({ type: "coffer/manifest", version: 1, files });
    assert.equal((parseCanonical(document) as { files: unknown[] }).files.length, LIMITS.manifestFiles);
    assert.throws(
      () => parseManifest(document),
      (error) => isCofferError(error) && error.code !== "LIMIT_EXCEEDED",
    );
  });

  test("a log entry of as many moves as are allowed passes", () => {
    const id = digestFor("id");
    const moves = Array.from({ length: LIMITS.movesPerEntry }, (_, at) => ({ ref: `refs/${at}`, from: id, to: id }));
    assert.doesNotThrow(() => parseCanonical(encodeCanonical({ moves }), "log entry", LIMITS.logEntryBytes));
  });
});
