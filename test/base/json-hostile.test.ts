// SPDX-License-Identifier: Apache-2.0
/** Hostile JSON as large as it may come is refused before anything is made of it, and the largest that is allowed passes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeCanonical, parseCanonical } from "../../src/base/canonical-json.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseManifest } from "../../src/objects/documents/manifest.ts";
import { parseBundleIndex } from "../../src/sync/bundle-index.ts";
import { digestFor } from "../support/trust-fixtures.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

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
