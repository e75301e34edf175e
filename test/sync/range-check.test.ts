// SPDX-License-Identifier: Apache-2.0
/** Parts of a blob that are checked before the whole of it is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCanonical } from "../../src/base/canonical-json.ts";
import { sha256 } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseLabel, parseManifestPath } from "../../src/base/names.ts";
import { makeManifest } from "../../src/objects/documents/manifest.ts";
import { RangeCheck } from "../../src/sync/range-check.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a part is checked against the chunk list that its manifest names, and against nothing that is no good", () => {
  const chunk = new Uint8Array(LIMITS.chunkBytes).fill(7);
  const rest = bytesOf("rest");
  const hashes = new Uint8Array(Buffer.concat([chunk, rest].map((bytes) => Buffer.from(sha256(bytes), "hex"))));
  const list = sha256(hashes);
  const blob = sha256(bytesOf("stands for both"));
  const size = chunk.length + rest.length;
  const path = parseManifestPath("a.gguf");
  const manifest = makeManifest({
    files: [{ path, size, sha256: blob, format: parseLabel("gguf", "format"), chunks: list }],
  });
  const check = new RangeCheck(LIMITS.chunkBytes, new Set([blob]));
  const part = (number: number) => ({ kind: "blob", blob, part: number, sizeBytes: 1 }) as const;
  assert.equal(check.begin(part(0)), undefined, "nothing is known");
  const empty = encodeCanonical({ type: "coffer/manifest", version: 1 });
  check.learn(sha256(empty), empty);
  check.learn(manifest.id, manifest.bytes);
  assert.equal(check.begin(part(0)), undefined, "its list did not come");
  check.learn(list, hashes);
  assert.equal(check.begin({ kind: "blob", blob, sizeBytes: 1 }), undefined, "a whole blob has its name");
  const verdict = (number: number, ...pieces: Uint8Array[]): boolean | undefined => {
    const range = check.begin(part(number));
    for (const piece of pieces) range?.update(piece);
    return range?.isGood();
  };
  assert.equal(verdict(0, chunk.subarray(0, 5), chunk.subarray(5)), true);
  assert.equal(verdict(1, rest), true);
  assert.equal(verdict(0, chunk.subarray(1)), false);
  assert.equal(verdict(1, chunk), false);
  assert.equal(verdict(2, rest), false, "beyond the end of the list");
});
