// SPDX-License-Identifier: Apache-2.0
/** What the small parts of reading and cutting bundles say of input that is at the edge of what there is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCanonical } from "../../src/base/canonical-json.ts";
import { digestFromBytes, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseLabel, parseManifestPath } from "../../src/base/names.ts";
import { makeManifest } from "../../src/objects/documents/manifest.ts";
import { itemsOfVolume } from "../../src/sync/cut.ts";
import { typeOf } from "../../src/sync/document-type.ts";
import { RangeCheck } from "../../src/sync/range-check.ts";
import { encodeTarHeader } from "../../src/sync/tar.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { MemoryFiles } from "../support/memory-files.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

test("the type of a document is read from documents alone", () => {
  assert.equal(typeOf(encodeCanonical({ type: "coffer/list", version: 1 })), "coffer/list");
  for (const value of [{}, { version: 1 }, { type: 1 }, ["coffer/list"]])
    assert.equal(typeOf(encodeCanonical(value)), undefined, JSON.stringify(value));
  for (const text of ["", "{", '{"type": "coffer/list"}', "gguf"]) assert.equal(typeOf(bytesOf(text)), undefined, text);
});

test("no volumes at all, and a path where nothing lies, are named", async () => {
  await assert.rejects(openVolumes([]), (error) => isCofferError(error, "USAGE"));
  const nowhere = { files: new MemoryFiles(), path: "nowhere.tar", what: "stick/nowhere.tar" };
  await assert.rejects(
    openVolumes([nowhere]),
    (error) => isCofferError(error, "FILE_NOT_FOUND") && error.message.startsWith("stick/nowhere.tar"),
  );
});

test("a volume that a bundle does not have cannot be asked for", () => {
  const bundle = { items: [], volumes: [] } as unknown as Parameters<typeof itemsOfVolume>[0];
  for (const number of [-1, 0, 1, 1.5]) {
    assert.throws(
      () => itemsOfVolume(bundle, number),
      (error) => isCofferError(error, "USAGE"),
    );
  }
});

test("a path or a size that no header holds is our own mistake", () => {
  const wrong = [
    { path: "a".repeat(101), sizeBytes: 1 },
    { path: `${"a".repeat(156)}/b`, sizeBytes: 1 },
    { path: "a", sizeBytes: 8 ** 11 },
  ];
  for (const member of wrong) {
    assert.throws(
      () => encodeTarHeader(member),
      (error) => isCofferError(error, "INTERNAL"),
    );
  }
});

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
  assert.equal(digestFromBytes(hashes.subarray(0, 32)), sha256(chunk));
});
