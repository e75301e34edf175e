// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, parseDigest, sha256 } from "../../src/base/digest.ts";
import { DigestSet } from "../../src/base/digest-set.ts";

const nth = (number: number): Digest => sha256(new TextEncoder().encode(String(number)));

test("holds what was added and nothing else, over many doublings", () => {
  const set = new DigestSet();
  for (let number = 0; number < 20_000; number += 1) assert.equal(set.add(nth(number)), true);
  for (let number = 0; number < 20_000; number += 1) {
    assert.equal(set.add(nth(number)), false);
    assert.equal(set.has(nth(number)), true);
    assert.equal(set.has(nth(number + 20_000)), false);
  }
  assert.equal(set.size, 20_000);
});

test("digests that begin alike, with zeros, and at the end of the table", () => {
  const set = new DigestSet();
  const ids = [
    "0".repeat(64),
    `${"0".repeat(31)}1${"0".repeat(32)}`,
    "f".repeat(64),
    `${"f".repeat(31)}e${"0".repeat(32)}`,
  ];
  for (const id of ids.map((id) => parseDigest(id))) {
    assert.equal(set.has(id), false, id);
    assert.equal(set.add(id), true, id);
    assert.equal(set.add(id), false, id);
  }
  for (const id of ids.map((id) => parseDigest(id))) assert.equal(set.has(id), true, id);
  assert.equal(set.size, ids.length);
});
