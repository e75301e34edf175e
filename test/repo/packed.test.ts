// SPDX-License-Identifier: Apache-2.0
/** What is unpacked from MessagePack and was made by nobody of us: inventories, pages and receipts that are refused by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Packr } from "msgpackr/pack";
import { digestBytes, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { SmallFiles } from "../../src/repo/import/small-files.ts";
import { PageTree, PageTreeWriter } from "../../src/repo/index/page-tree.ts";
import { loadPageCodec } from "../../src/repo/index/pages.ts";
import { decodeInventory, encodeInventory, type Inventory } from "../../src/repo/inventory.ts";
import { MemoryFiles } from "../support/memory-files.ts";

const pack = (value: unknown): Uint8Array => new Packr({ useRecords: false }).pack(value);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const ids = ["a", "b", "c"].map((text) => sha256(bytesOf(text))).sort();
const joined = (some: readonly (typeof ids)[number][]): Uint8Array => Buffer.concat(some.map((id) => digestBytes(id)));

test("an inventory is one encoding of what it says, or refused", async () => {
  const none = new Uint8Array();
  const [first, second] = ids;
  assert.ok(first !== undefined && second !== undefined);
  const lists: Inventory = { denials: ids, refusals: [], heads: [first], manifests: ids, blobs: [], missing: [] };
  const whole = {
    ...lists,
    missing: [
      { blob: second, sizeBytes: 5 },
      { blob: first, sizeBytes: 7 },
    ],
  };
  const bytes = await encodeInventory(whole);
  const read = await decodeInventory(bytes, sha256(bytes));
  assert.deepEqual(read, { ...whole, missing: whole.missing.toReversed() });
  const row = [digestBytes(first), 7];
  const cases: readonly [unknown, RegExp][] = [
    ["text", /expected a list/],
    [[2, none, none, none, none, none, []], /expected version 1/],
    [[1, none, none], /expected 7 members/],
    [[1, "text", none, none, none, none, []], /denials: digests/],
    [[1, none, new Uint8Array(31), none, none, none, []], /refusals: digests/],
    [[1, none, none, joined([second, first]), none, none, []], /heads: sorted digests, each once/],
    [[1, none, none, none, joined([first, first]), none, []], /manifests: sorted digests, each once/],
    [[1, none, none, none, none, none, {}], /missing: a list/],
    [[1, none, none, none, none, none, ["text"]], /missing: digests/],
    [[1, none, none, none, none, none, [[joined([first, second]), 7]]], /missing: a digest and a size each/],
    [[1, none, none, none, none, none, [[digestBytes(first), -1]]], /missing: a digest and a size each/],
    [[1, none, none, none, none, none, [row, [digestBytes(first), 7]].toReversed().concat([[...row, 1]])], /encoding/],
  ];
  for (const [value, text] of cases) {
    const packed = pack(value);
    await assert.rejects(
      decodeInventory(packed, sha256(packed)),
      (error) => isCofferError(error, "DOCUMENT_INVALID", "UNSUPPORTED") && text.test(error.message),
      String(text),
    );
  }
  const noise = Uint8Array.of(0xc1, 0xc1);
  await assert.rejects(decodeInventory(noise, sha256(noise)), (error) => isCofferError(error, "DOCUMENT_INVALID"));
  await assert.rejects(decodeInventory(bytes, sha256(noise)), (error) => isCofferError(error, "OBJECT_MISMATCH"));
});

test("a page of the index is entries or pages, or refused", async () => {
  const codec = await loadPageCodec();
  const refOf = (bytes: Uint8Array) => ({ offset: 0, sizeBytes: bytes.length, sha256: sha256(bytes) });
  const entries = [
    { key: "n/acme/a", present: true },
    { key: "n/acme/b", present: false },
  ];
  const leaf = codec.encode({ kind: "leaf", entries });
  assert.deepEqual(codec.decode(leaf, refOf(leaf)), { kind: "leaf", entries });
  const cases: readonly unknown[] = [
    "text",
    [],
    [2],
    [0, "n", "n/acme/a"],
    [0, 0],
    [1, "n/acme/a", 0, "5", new Uint8Array(32)],
    [1, "n/acme/a", 0, 5, "text"],
  ];
  const isCorrupt = (error: unknown): boolean => isCofferError(error, "CORRUPT");
  for (const value of cases) {
    const bytes = pack(value);
    assert.throws(() => codec.decode(bytes, refOf(bytes)), isCorrupt, JSON.stringify(value));
  }
  assert.throws(() => codec.decode(leaf, { ...refOf(leaf), sizeBytes: leaf.length + 1 }), isCorrupt);
  assert.throws(() => codec.decode(leaf, { ...refOf(leaf), sha256: sha256(bytesOf("other")) }), isCorrupt);
});

test("a tree of pages gives the entries from any key on, and refuses a page that is not the one named", async () => {
  const codec = await loadPageCodec();
  const files = new MemoryFiles();
  const made = await files.create("tree", 0o444);
  assert.ok(made !== undefined);
  const writer = new PageTreeWriter(made, codec);
  const entries = Array.from({ length: 9000 }, (_, at) => {
    return { key: `n/${"long".repeat(12)}/${String(at).padStart(6, "0")}`, present: at % 3 !== 0 };
  });
  for (const entry of entries) await writer.add(entry);
  const root = await writer.finish();
  const tree = new PageTree(made, codec, root);
  for (const from of [0, 1, 4500, 8999]) {
    const found = [];
    for await (const some of tree.entries(entries[from]?.key)) found.push(...some);
    assert.deepEqual(found, entries.slice(from));
  }
  for await (const some of tree.entries("o")) assert.deepEqual(some, []);
  const isCorrupt = (error: unknown): boolean => isCofferError(error, "CORRUPT");
  for (const wrong of [
    { ...root, sizeBytes: 70_000 },
    { ...root, offset: root.offset - 1 },
  ])
    await assert.rejects(async () => new PageTree(made, codec, wrong).entries().next(), isCorrupt);
  const none = await files.create("none", 0o444);
  assert.ok(none !== undefined);
  const empty = await new PageTreeWriter(none, codec).finish();
  for await (const some of new PageTree(none, codec, empty).entries()) assert.deepEqual(some, []);
});

test("small files lie in memory as far as they fit, then in one file, and are read from where they are", async () => {
  const files = new MemoryFiles();
  let made = 0;
  const small = new SmallFiles(async () => {
    made += 1;
    const file = await files.create("small", 0o444);
    assert.ok(file !== undefined);
    return file;
  }, 10);
  const texts = ["eight ch", "over the limit", "x", "and one more"];
  const places = [];
  for (const text of texts) places.push(await small.put(bytesOf(text)));
  for (const [at, place] of places.entries()) assert.equal(Buffer.from(await small.read(place)).toString(), texts[at]);
  assert.equal(made, 1);
  const last = places.at(-1);
  assert.ok(last !== undefined);
  await assert.rejects(small.read({ ...last, sizeBytes: last.sizeBytes + 1 }), (error) =>
    isCofferError(error, "IO_ERROR"),
  );
  await small.close();
});
