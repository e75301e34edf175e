// SPDX-License-Identifier: Apache-2.0
/** The pool of verified chunks: one load for all, a fixed bound, nothing bad kept, nothing overwritten in use. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { ChunkCache } from "../../src/objects/chunk-cache.ts";

const CHUNK = LIMITS.chunkBytes;

/** Fills a chunk with one byte, after some turns of the loop. */
const slowly = (byte: number, turns = 3) => {
  let fills = 0;
  const fill = async (buffer: Uint8Array): Promise<void> => {
    fills += 1;
    for (let count = 0; count < turns; count += 1) {
      buffer.fill(255 - byte); // what stood there before, or half of it
      await turn();
    }
    buffer.fill(byte);
  };
  return { fill, fills: () => fills };
};

const sample = (bytes: Uint8Array): number[] => [bytes[0] ?? -1, bytes.at(-1) ?? -1, bytes.length];

test("two hundred readers of one chunk read it once, and each gets it whole", async () => {
  const cache = new ChunkCache(4 * CHUNK);
  const { fill, fills } = slowly(7);
  const seen = await Promise.all(Array.from({ length: 200 }, () => cache.use("a", CHUNK, fill, sample)));
  for (const each of seen) assert.deepEqual(each, [7, 7, CHUNK]);
  assert.equal(fills(), 1);
  assert.deepEqual(await cache.use("a", CHUNK, fill, sample), [7, 7, CHUNK]);
  assert.equal(fills(), 1, "and later ones find it");
  assert.equal(cache.loads, 1);
});

test("more chunks than fit: never over the bound, never another chunk's bytes", async () => {
  const cache = new ChunkCache(3 * CHUNK);
  let most = 0;
  const ask = async (number: number): Promise<void> => {
    const byte = number % 11;
    for (let time = 0; time < 3; time += 1) {
      const seen = await cache.use(`chunk ${byte}`, CHUNK, slowly(byte).fill, sample);
      most = Math.max(most, cache.heldBytes);
      assert.deepEqual(seen, [byte, byte, CHUNK]);
    }
  };
  await Promise.all(Array.from({ length: 60 }, (_, number) => ask(number)));
  assert.ok(most <= cache.boundBytes, `${most} bytes`);
  assert.ok(cache.heldBytes <= cache.boundBytes);
});

test("what is being copied from is not filled anew, even where only one chunk fits", async () => {
  const cache = new ChunkCache(CHUNK);
  const asked = ["a", "b", "a", "c", "b", "a"].map(async (key) => {
    const byte = key.charCodeAt(0);
    assert.deepEqual(await cache.use(key, CHUNK, slowly(byte, 1).fill, sample), [byte, byte, CHUNK]);
  });
  await Promise.all(asked);
  assert.equal(cache.heldBytes, CHUNK);
});

test("the least recently used goes first", async () => {
  const cache = new ChunkCache(2 * CHUNK);
  const use = (key: string) => cache.use(key, CHUNK, slowly(1, 0).fill, () => undefined);
  for (const key of ["a", "b", "a", "c"]) await use(key);
  assert.deepEqual(
    ["a", "b", "c"].map((key) => cache.has(key)),
    [true, false, true],
  );
});

test("who has nothing yet goes before who is being served; among equals, the first first", async () => {
  const cache = new ChunkCache(2 * CHUNK);
  const order: string[] = [];
  const fill = (key: string) => async (): Promise<void> => {
    order.push(key);
    await turn();
  };
  const use = (key: string, urgent: boolean) => cache.use(key, CHUNK, fill(key), () => undefined, urgent);
  const served = ["a", "b", "c", "d"].map((key) => use(key, false));
  const fresh = ["x", "y"].map((key) => use(key, true));
  await Promise.all([...served, ...fresh]);
  assert.deepEqual(order, ["a", "b", "x", "y", "c", "d"]);
});

test("a failed load is told to all who wait, kept by nobody, and costs no room", async () => {
  const cache = new ChunkCache(CHUNK);
  const fail = async (): Promise<void> => {
    await turn();
    throw new Error("damaged");
  };
  const asked = await Promise.allSettled([1, 2, 3].map(() => cache.use("a", CHUNK, fail, sample)));
  assert.deepEqual(
    asked.map(({ status }) => status),
    ["rejected", "rejected", "rejected"],
  );
  assert.equal(cache.has("a"), false);
  assert.equal(cache.loads, 0);
  for (let time = 0; time < 5; time += 1) await assert.rejects(cache.use("a", CHUNK, fail, sample), /damaged/);
  assert.deepEqual(await cache.use("a", CHUNK, slowly(9).fill, sample), [9, 9, CHUNK]);
  assert.equal(cache.heldBytes, CHUNK);
});

test("an error of whoever copies is his alone", async () => {
  const cache = new ChunkCache(CHUNK);
  const refuse = (): never => {
    throw new Error("no");
  };
  await assert.rejects(cache.use("a", CHUNK, slowly(3).fill, refuse), /no/);
  assert.equal(cache.has("a"), true);
  assert.deepEqual(await cache.use("b", CHUNK, slowly(4).fill, sample), [4, 4, CHUNK], "its room is free");
});

test("small chunks are bounded together, tiny and empty ones by their number too", async () => {
  const cache = new ChunkCache(CHUNK);
  for (let number = 0; number < 5000; number += 1) {
    await cache.use(`${number}`, number % 3, slowly(1, 0).fill, () => undefined);
  }
  assert.ok(cache.heldBytes <= CHUNK);
  assert.equal(cache.has("0"), false);
  assert.equal(cache.has("4999"), true);
  await cache.use("whole", CHUNK, slowly(1, 0).fill, () => undefined);
  assert.equal(cache.heldBytes, CHUNK);
  await cache.use("part", 100, slowly(1, 0).fill, () => undefined);
  assert.ok(cache.heldBytes <= CHUNK);
});

test("a bound under one chunk is a mistake", () => {
  assert.throws(
    () => new ChunkCache(CHUNK - 1),
    (error) => isCofferError(error, "INTERNAL"),
  );
});
