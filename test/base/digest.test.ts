// SPDX-License-Identifier: Apache-2.0
/** Digests: the FIPS 180-4 examples, the one spelling, raw bytes and back. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { digestBytes, digestFromBytes, isDigest, parseDigest, sha256, short } from "../../src/base/digest.ts";

const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

describe("digests", () => {
  test("FIPS 180-4 examples", () => {
    const of = (text: string): string => sha256(new TextEncoder().encode(text));
    assert.equal(of(""), EMPTY);
    assert.equal(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(
      of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    );
  });

  test("one spelling is accepted", () => {
    assert.equal(parseDigest(EMPTY), EMPTY);
    assert.equal(short(EMPTY), "e3b0c44298fc");
  });

  for (const text of [
    "",
    EMPTY.toUpperCase(),
    EMPTY.slice(1),
    `${EMPTY}0`,
    `${EMPTY}\n`,
    ` ${EMPTY}`,
    `sha256:${EMPTY}`,
    `${EMPTY.slice(1)}g`,
    `${EMPTY.slice(1)}é`,
    "../../etc/passwd",
  ]) {
    test(`refused: ${JSON.stringify(text)}`, () => {
      assert.equal(isDigest(text), false);
      assert.throws(() => parseDigest(text, "blob"), { code: "DIGEST_INVALID", message: /^blob: expected 64/ });
    });
  }

  test("raw bytes and back, also from the middle of a buffer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(9), (raw, offset) => {
        const around = new Uint8Array(64);
        around.set(raw, offset);
        const digest = digestFromBytes(around.subarray(offset, offset + 32));
        assert.ok(isDigest(digest));
        assert.deepEqual(digestBytes(digest), raw);
      }),
    );
  });

  for (const length of [0, 20, 31, 33, 64]) {
    test(`refused: ${length} raw bytes`, () => {
      assert.throws(() => digestFromBytes(new Uint8Array(length)), { code: "DIGEST_INVALID" });
    });
  }
});
