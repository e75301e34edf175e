// SPDX-License-Identifier: Apache-2.0
/** The payload of an age file: what was sealed comes back, and nothing else does: changed, moved, cut short or added to. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  CHUNK_BYTES,
  clearSize,
  mostClear,
  openChunks,
  SEALED_CHUNK_BYTES,
  sealChunks,
  sealedSize,
} from "../../src/sync/age-stream.ts";
import { piped as cut, sealByHand } from "../support/age.ts";
import { collect } from "../support/bundles.ts";

const KEY = randomBytes(32);
const SIZES = [
  0,
  1,
  CHUNK_BYTES - 1,
  CHUNK_BYTES,
  CHUNK_BYTES + 1,
  2 * CHUNK_BYTES,
  17 * CHUNK_BYTES,
  40 * CHUNK_BYTES + 7,
];

const seal = (bytes: Uint8Array, pieceBytes = 1_000_000) => collect(sealChunks(cut(bytes, pieceBytes), KEY));
const open = (sealed: Uint8Array, key: Uint8Array = KEY, pieceBytes = 100_000) =>
  collect(openChunks(cut(sealed, pieceBytes), key, (number) => new RangeError(`chunk ${number}`)));
const refused = (sealed: Uint8Array, chunk: number, key = KEY) =>
  assert.rejects(open(sealed, key), { name: "RangeError", message: `chunk ${chunk}` });

describe("what was sealed comes back", () => {
  test("at every border, in pieces of any size", async () => {
    for (const size of SIZES) {
      const clear = randomBytes(size);
      for (const pieceBytes of [1_000_003, CHUNK_BYTES, 8191]) {
        const sealed = await seal(clear, pieceBytes);
        assert.equal(sealed.length, sealedSize(size));
        assert.deepEqual(await open(sealed, KEY, pieceBytes), clear, `${size} bytes in pieces of ${pieceBytes}`);
      }
    }
  });

  test("sizes: each one of clear bytes has one of sealed bytes, and the most that fits fits", () => {
    const bytes = fc.integer({ min: 0, max: 20 * CHUNK_BYTES });
    fc.assert(fc.property(bytes, (clear) => clearSize(sealedSize(clear)) === clear));
    fc.assert(
      fc.property(fc.integer({ min: 17, max: 20 * CHUNK_BYTES }), (room) => {
        const most = mostClear(room);
        return sealedSize(most) <= room && sealedSize(most + 1) > room;
      }),
    );
    for (const none of [0, 15, SEALED_CHUNK_BYTES + 1, SEALED_CHUNK_BYTES + 16])
      assert.equal(clearSize(none), undefined);
    assert.equal(clearSize(SEALED_CHUNK_BYTES + 17), CHUNK_BYTES + 1);
    assert.equal(mostClear(SEALED_CHUNK_BYTES + 16), CHUNK_BYTES);
    assert.ok(mostClear(15) < 0);
  });
});

describe("anything else is refused", () => {
  test("a payload that ends at any border of a chunk, or within one", async () => {
    const sealed = await seal(randomBytes(4 * CHUNK_BYTES + 5));
    for (const chunk of [1, 2, 3, 4]) await refused(sealed.subarray(0, chunk * SEALED_CHUNK_BYTES), chunk - 1);
    for (const bytes of [1, 15, 16, 17, 1000]) await refused(sealed.subarray(0, 2 * SEALED_CHUNK_BYTES + bytes), 2);
    await refused(sealed.subarray(0, -1), 4);
    await refused(new Uint8Array(), 0);
  });

  test("one bit that is changed, in any chunk and in its seal", async () => {
    const sealed = await seal(randomBytes(3 * CHUNK_BYTES));
    for (const chunk of [0, 1, 2]) {
      for (const at of [0, CHUNK_BYTES - 1, CHUNK_BYTES, SEALED_CHUNK_BYTES - 1]) {
        const changed = Uint8Array.from(sealed);
        const place = chunk * SEALED_CHUNK_BYTES + at;
        changed[place] = (changed[place] ?? 0) ^ 1;
        await refused(changed, chunk);
      }
    }
  });

  test("chunks that change places, come twice, or are left out", async () => {
    const sealed = await seal(randomBytes(3 * CHUNK_BYTES));
    const [a, b, c] = [0, 1, 2].map((n) => sealed.subarray(n * SEALED_CHUNK_BYTES, (n + 1) * SEALED_CHUNK_BYTES));
    assert.ok(a && b && c);
    await refused(Buffer.concat([b, a, c]), 0);
    await refused(Buffer.concat([a, a, c]), 1);
    await refused(Buffer.concat([a, c]), 1);
    await refused(Buffer.concat([a, b, c, c]), 2);
  });

  test("bytes after the end, also a last chunk without content", async () => {
    for (const size of [0, 5, CHUNK_BYTES]) {
      const sealed = await seal(randomBytes(size));
      await refused(Buffer.concat([sealed, new Uint8Array(1)]), 0);
      await refused(Buffer.concat([sealed, await seal(randomBytes(9))]), 0);
    }
    // Only who has the key could make this one, and the format has one form for each content.
    const empty = [sealByHand(KEY, 0, false, randomBytes(CHUNK_BYTES)), sealByHand(KEY, 1, true, new Uint8Array())];
    await refused(Buffer.concat(empty), 1);
    const full = [sealByHand(KEY, 0, false, randomBytes(CHUNK_BYTES)), sealByHand(KEY, 1, true, Buffer.of(1))];
    assert.equal((await open(Buffer.concat(full))).length, CHUNK_BYTES + 1);
  });

  test("another key", async () => refused(await seal(randomBytes(10)), 0, randomBytes(32)));
});

test("an endless payload is read chunk by chunk: its reader may stop", async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield randomBytes(1000);
  }
  let seen = 0;
  for await (const piece of openChunks(sealChunks(endless(), KEY), KEY, () => new Error("refused"))) {
    seen += piece.length;
    if (seen > 10 * CHUNK_BYTES) break;
  }
  assert.ok(seen > 10 * CHUNK_BYTES);
});
