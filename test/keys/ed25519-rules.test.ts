// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { hasCanonicalS, keyWeakness, L, littleEndian, P, SMALL_ORDER_KEYS } from "../../src/keys/ed25519-rules.ts";

type Point = readonly [x: bigint, y: bigint];

const mod = (value: bigint): bigint => ((value % P) + P) % P;

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; b = mod(b * b), e >>= 1n) if (e & 1n) result = mod(result * b);
  return result;
}

const D = mod(-121665n * power(121666n, P - 2n));

/** RFC 8032 section 5.1.4, affine: slow and plain, to check the table against the mathematics. */
function add([x1, y1]: Point, [x2, y2]: Point): Point {
  const product = mod(D * x1 * x2 * y1 * y2);
  const x = mod((x1 * y2 + x2 * y1) * power(1n + product, P - 2n));
  return [x, mod((y1 * y2 + x1 * x2) * power(1n - product, P - 2n))];
}

/** RFC 8032 section 5.1.3 without its refusals: an x for this y, if there is one (its sign does not matter here). */
function pointOf(raw: Uint8Array): Point | undefined {
  const y = mod(littleEndian(raw) & ((1n << 255n) - 1n));
  const square = mod((y * y - 1n) * power(D * y * y + 1n, P - 2n));
  const root = power(square, (P + 3n) / 8n);
  for (const x of [root, mod(root * power(2n, (P - 1n) / 4n))]) if (mod(x * x) === square) return [x, y];
  return undefined;
}

function littleEndianBytes(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse());
}

test("ed25519-rules: there are 14 encodings, and eight times each is the neutral point", () => {
  assert.equal(SMALL_ORDER_KEYS.size, 14);
  for (const hex of SMALL_ORDER_KEYS) {
    const point = pointOf(Buffer.from(hex, "hex"));
    assert.ok(point !== undefined, `${hex} is on the curve`);
    let eight: Point = point;
    for (let doubling = 0; doubling < 3; doubling += 1) eight = add(eight, eight);
    assert.deepEqual(eight, [0n, 1n], hex);
    assert.match(keyWeakness(Buffer.from(hex, "hex")) ?? "", /small-order/);
  }
});

test("ed25519-rules: the table is complete: the points of order 1, 2, 4, 8 have five values of y, two of them twice", () => {
  const canonical = new Set([...SMALL_ORDER_KEYS].map((hex) => pointOf(Buffer.from(hex, "hex"))?.[1]));
  assert.equal(canonical.size, 5);
  const unreduced = [...canonical].filter((y) => y !== undefined && y + P < 1n << 255n);
  assert.equal((canonical.size + unreduced.length) * 2, SMALL_ORDER_KEYS.size);
});

test("ed25519-rules: why they must go: node:crypto takes a forgery for any message under such a key", () => {
  const identity = Buffer.from(`01${"00".repeat(31)}`, "hex");
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), identity]);
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  assert.ok(verify(null, Buffer.from("anything"), key, Buffer.concat([identity, Buffer.alloc(32)])));
});

test("ed25519-rules: y from p to 2^255-1 is refused with either sign, p-2 is not", () => {
  for (let y = P; y < 1n << 255n; y += 1n) {
    assert.ok(keyWeakness(littleEndianBytes(y)) !== undefined);
    assert.ok(keyWeakness(littleEndianBytes(y + (1n << 255n))) !== undefined);
  }
  assert.match(keyWeakness(littleEndianBytes(P + 2n)) ?? "", /not below/);
  assert.equal(keyWeakness(littleEndianBytes(P - 2n)), undefined);
  assert.equal(keyWeakness(littleEndianBytes(P - 2n + (1n << 255n))), undefined);
});

test("ed25519-rules: S is canonical up to L - 1", () => {
  const withS = (s: bigint) => Buffer.concat([Buffer.alloc(32, 255), littleEndianBytes(s)]);
  for (const s of [0n, 1n, L - 1n]) assert.ok(hasCanonicalS(withS(s)));
  for (const s of [L, L + 1n, 2n * L, 15n * L, (1n << 256n) - 1n]) assert.ok(!hasCanonicalS(withS(s)));
});
