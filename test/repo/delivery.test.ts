// SPDX-License-Identifier: Apache-2.0
/** Delivery receipts of real stores, and inventories that are not what they should be. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Packr } from "msgpackr/pack";
import { type Digest, digestBytes, sha256 } from "../../src/base/digest.ts";
import { compareReceipt, readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { decodeInventory, encodeInventory, type Inventory } from "../../src/repo/inventory.ts";
import { pull } from "../../src/repo/pull.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";
import { makeTeam, model } from "../support/team-stores.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const idOf = (text: string): Digest => sha256(utf8(text));
const EMPTY: Inventory = { denials: [], refusals: [], heads: [], manifests: [], blobs: [], missing: [] };

test("a receipt names what stands, what was revoked, the blobs that are here, and those that are not", async (t) => {
  const fixture = await makeStoreFixture(t);
  const one = await fixture.trust("acme/one", { "model.safetensors": makeSafetensors(2000, 1) });
  const two = await fixture.trust("acme/two", { "README.md": utf8("two\n") });
  const three = await fixture.add("acme/three", { "README.md": utf8("three\n") });
  await fixture.revoke("acme/two");
  const { receipt, inventory } = await readReceipt(await writeReceipt(fixture.store, idOf("bundle")));
  assert.equal(receipt.value.store, fixture.store.id);
  assert.equal(receipt.value.log.number, (await fixture.store.head()).number);
  assert.equal(receipt.value.answers, idOf("bundle"));
  assert.deepEqual(inventory.manifests, [one.manifest, three.manifest].sort());
  assert.equal(inventory.denials.length, 1);
  assert.equal(inventory.heads.length, 2);
  assert.equal(inventory.blobs.length, 3);
  assert.deepEqual(inventory.missing, []);
  assert.ok(!inventory.manifests.includes(two.manifest));

  const blob = sha256(makeSafetensors(2000, 1));
  rmSync(join(fixture.location.root, "blobs", blob.slice(0, 2), blob.slice(2)));
  const later = await readReceipt(await writeReceipt(fixture.store));
  assert.deepEqual(later.inventory.missing, [{ blob, sizeBytes: makeSafetensors(2000, 1).length }]);
  assert.equal(later.inventory.blobs.length, 2);
});

test("a receipt of another store shows what has not arrived there; one's own says nothing", async (t) => {
  const [here, there] = [await makeStoreFixture(t), await makeStoreFixture(t)];
  await here.trust("acme/one", { "README.md": utf8("one\n") });
  const delivery = await readReceipt(await writeReceipt(there.store));
  assert.deepEqual((await compareReceipt(here.store, delivery)).undelivered, []);
  await here.revoke("acme/one");
  const compared = await compareReceipt(here.store, delivery);
  assert.deepEqual([compared.sameRoot, compared.denials, compared.undelivered.length], [false, 1, 1]);
  const { inventory } = await readReceipt(await writeReceipt(here.store));
  const knows = { ...delivery, inventory: { ...delivery.inventory, denials: inventory.denials } };
  assert.deepEqual((await compareReceipt(here.store, knows)).undelivered, []);
  const own = await readReceipt(await writeReceipt(here.store));
  await assert.rejects(compareReceipt(here.store, own), { code: "USAGE" });
});

test("a store of another root says which denials have come to it, and does not send them on as its own", async (t) => {
  const [ours, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await ours.store("a"), await others.store("b")];
  await a.trust("acme/one@v1", model(1));
  await a.trust("acme/two@v1", model(2));
  await pull(b.store, a.location.root);
  await a.revoke("acme/one@v1");
  await a.reject("acme/two@v1", "bob");
  const compared = async () => compareReceipt(a.store, await readReceipt(await writeReceipt(b.store)));
  const before = await compared();
  assert.deepEqual([before.sameRoot, before.denials, before.undelivered.length], [false, 2, 2]);
  await pull(b.store, a.location.root);
  assert.deepEqual((await compared()).undelivered, []);
  const back = await compareReceipt(b.store, await readReceipt(await writeReceipt(a.store)));
  assert.deepEqual([back.denials, back.undelivered], [0, []]);
});

const ids = fc.uniqueArray(fc.string(), { maxLength: 20 }).map((texts) => texts.map(idOf).sort());

test("property: an inventory is read as it was written, whatever the order it was given in", async () => {
  const missing = fc
    .uniqueArray(fc.record({ blob: fc.string().map(idOf), sizeBytes: fc.maxSafeNat() }, { noNullPrototype: true }), {
      selector: ({ blob }) => blob,
      maxLength: 10,
    })
    .map((rows) => rows.sort((a, b) => (a.blob < b.blob ? -1 : 1)));
  const inventory = fc.record(
    { denials: ids, refusals: ids, heads: ids, manifests: ids, blobs: ids, missing },
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(inventory, async (value) => {
      const bytes = await encodeInventory({ ...value, blobs: value.blobs.toReversed() });
      assert.deepEqual(await decodeInventory(bytes, sha256(bytes)), value);
    }),
    { numRuns: 50 },
  );
});

test("an inventory of nothing but empty lists or maps is refused before they are made", async () => {
  const bytes = new Uint8Array(20_000_000);
  for (const filling of [0x90, 0x80, 0xc0, 0xa0]) {
    bytes.fill(filling).set([0xdd, 0x01, 0x31, 0x2c, 0xfb]); // a list of all that follows
    const before = process.memoryUsage().rss;
    const message = /expected lists of digests and sizes/;
    await assert.rejects(decodeInventory(bytes, sha256(bytes)), { code: "DOCUMENT_INVALID", message });
    // Made, the lists alone take 1.4 GB.
    assert.ok(process.memoryUsage().rss - before < 500_000_000, `0x${filling.toString(16)}`);
  }
});

test("an inventory with as many missing blobs as fit is read", async () => {
  const rows = Array.from({ length: 100 }, (_, at) => ({ blob: idOf(`${at}`), sizeBytes: at % 4 }));
  const missing = rows.sort((a, b) => (a.blob < b.blob ? -1 : 1));
  const bytes = await encodeInventory({ ...EMPTY, missing });
  assert.deepEqual(await decodeInventory(bytes, sha256(bytes)), { ...EMPTY, missing });
});

test("an inventory in any other form is refused: cut, longer, unsorted, with repeats, or no MessagePack at all", async () => {
  const packr = new Packr({ useRecords: false });
  const [low, high] = [idOf("a"), idOf("b")].sort().map((id) => Buffer.from(digestBytes(id)));
  assert.ok(low !== undefined && high !== undefined);
  const none = Buffer.alloc(0);
  const whole = await encodeInventory({ ...EMPTY, blobs: [idOf("a")] });
  const refused: readonly (readonly [string, Uint8Array, string])[] = [
    ["nothing", none, "DOCUMENT_INVALID"],
    ["cut", whole.subarray(0, -1), "DOCUMENT_INVALID"],
    ["longer", Buffer.concat([whole, Buffer.from([0xc0])]), "DOCUMENT_INVALID"],
    ["a map", packr.pack({ version: 1 }), "DOCUMENT_INVALID"],
    ["another version", packr.pack([2, none, none, none, none, none, []]), "UNSUPPORTED"],
    ["a list too few", packr.pack([1, none, none, none, none, []]), "DOCUMENT_INVALID"],
    ["text for digests", packr.pack([1, "", none, none, none, none, []]), "DOCUMENT_INVALID"],
    ["half a digest", packr.pack([1, low.subarray(1), none, none, none, none, []]), "DOCUMENT_INVALID"],
    ["unsorted", packr.pack([1, Buffer.concat([high, low]), none, none, none, none, []]), "DOCUMENT_INVALID"],
    ["a repeat", packr.pack([1, Buffer.concat([low, low]), none, none, none, none, []]), "DOCUMENT_INVALID"],
    ["a size below nothing", packr.pack([1, none, none, none, none, none, [[low, -1]]]), "DOCUMENT_INVALID"],
    ["a size that is none", packr.pack([1, none, none, none, none, none, [[low, "1"]]]), "DOCUMENT_INVALID"],
    ["a missing one without size", packr.pack([1, none, none, none, none, none, [[low]]]), "DOCUMENT_INVALID"],
    ["more in a row", packr.pack([1, none, none, none, none, none, [[low, 1, 2]]]), "DOCUMENT_INVALID"],
    ["a record of msgpackr's own", new Packr().pack([{ a: 1 }, { a: 2 }]), "UNSUPPORTED"],
  ];
  for (const [what, bytes, code] of refused)
    await assert.rejects(decodeInventory(bytes, sha256(bytes)), { code }, what);
  await assert.rejects(decodeInventory(whole, idOf("other")), { code: "OBJECT_MISMATCH" });
});
