// SPDX-License-Identifier: Apache-2.0
/** What can be read once, read a little and then whole (src/sync/read-ahead.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { aheadOf } from "../../src/sync/read-ahead.ts";
import type { Item, Parcel, Source } from "../../src/sync/source.ts";

const MIB = 1024 * 1024;

function itemOf(bytes: Uint8Array): Item {
  return { kind: "object", id: sha256(bytes), sizeBytes: bytes.length };
}

/** Gives each item once, and notes which. */
function pipeOf(contents: readonly Uint8Array[]) {
  const given: number[] = [];
  let reads = 0;
  const source: Pick<Source, "parcels" | "missing"> = {
    missing: [],
    async *parcels() {
      reads += 1;
      assert.equal(reads, 1, "a pipe is read once");
      for (const [at, bytes] of contents.entries()) {
        given.push(at);
        yield {
          item: itemOf(bytes),
          async *read() {
            const half = bytes.length >> 1;
            yield await Promise.resolve(bytes.subarray(0, half));
            yield bytes.subarray(half);
          },
        };
      }
    },
  };
  return { source: aheadOf(source as Source), given };
}

async function contentOf(parcels: AsyncIterable<Parcel>, most = Number.POSITIVE_INFINITY): Promise<string[]> {
  const found: string[] = [];
  for await (const parcel of parcels) {
    const pieces: Uint8Array[] = [];
    for await (const piece of parcel.read()) pieces.push(piece);
    found.push(Buffer.concat(pieces).toString());
    if (found.length === most) break;
  }
  return found;
}

const texts = ["one", "two", "three", "four"];
const contents = texts.map((text) => Buffer.from(text));
const all = (): boolean => true;
const but = (text: string) => (item: Item) => item.kind !== "object" || item.id !== sha256(Buffer.from(text));

test("the second reading has all, from what the first one took on", async () => {
  const { source, given } = pipeOf(contents);
  assert.deepEqual(await contentOf(source.parcels(but("one")), 1), ["two"]);
  assert.deepEqual(given, [0, 1]);
  assert.deepEqual(await contentOf(source.parcels(all)), texts);
  assert.throws(() => source.parcels(all), { code: "INTERNAL" });
});

test("what is not wanted is left out of either reading", async () => {
  const { source } = pipeOf(contents);
  assert.deepEqual(await contentOf(source.parcels(but("two")), 2), ["one", "three"]);
  assert.deepEqual(await contentOf(source.parcels((item) => but("one")(item) && but("four")(item))), ["two", "three"]);
});

test("a first reading to the end, or of nothing", async () => {
  for (const most of [0, 9]) {
    const { source } = pipeOf(most === 0 ? [] : contents);
    assert.deepEqual(await contentOf(source.parcels(all), most), most === 0 ? [] : texts);
    assert.deepEqual(await contentOf(source.parcels(all)), most === 0 ? [] : texts);
  }
});

test("no more than 16 MiB are kept", async () => {
  const large = [Buffer.from("a"), Buffer.alloc(16 * MIB), Buffer.from("policy")];
  const { source, given } = pipeOf(large);
  await assert.rejects(contentOf(source.parcels(but("a")), 9), { code: "BUNDLE_INVALID" });
  assert.deepEqual(given, [0, 1]);
});
