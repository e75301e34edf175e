// SPDX-License-Identifier: Apache-2.0
/** Making bundles: which names a pattern means, what a receipt leaves out, and volumes as files: whole or not there. */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { parseName, parsePattern } from "../../src/base/names.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { type BundleRequest, makeBundle } from "../../src/repo/bundle.ts";
import { volumeNumbers, writeVolumes } from "../../src/repo/bundle-files.ts";
import { readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { openStore } from "../../src/repo/store.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { emptyFolder, everything, placeOf, volumesOf } from "../support/bundles.ts";
import { codeOf } from "../support/codes.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const MIB = 1024 * 1024;
const files = (seed: number, bytes = 300) => ({ "model.safetensors": makeSafetensors(bytes, seed) });

async function world(t: TestContext): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@prod", files(1));
  await fixture.trust("acme/two@prod", files(2));
  await fixture.revoke("acme/two@prod");
  await fixture.trust("acme/one@test", files(3));
  await fixture.add("acme/new@prod", files(4));
  await fixture.propose("acme/new@prod");
  return fixture;
}

const REQUEST: BundleRequest = { names: [], patterns: [], candidates: false, blobs: true };

async function namesOf({ store }: StoreFixture, patterns: readonly string[], more: Partial<BundleRequest> = {}) {
  const { index } = await makeBundle(store, { ...REQUEST, patterns: patterns.map(parsePattern), ...more });
  return [...index.value.names, ...index.value.candidates].map(({ name }) => name);
}

const receiptOf = async (fixture: StoreFixture) => {
  const { receipt, inventory } = await readReceipt(await writeReceipt(fixture.store));
  return { store: receipt.value.store, receipt: receipt.id, blobs: new Set<Digest>(inventory.blobs) };
};

describe("names of a bundle", () => {
  test("a pattern means names with a chain, and those with a candidate where candidates are asked for", async (t) => {
    const fixture = await world(t);
    assert.deepEqual(await namesOf(fixture, ["acme/*@prod"]), ["acme/one@prod", "acme/two@prod"]);
    assert.deepEqual(await namesOf(fixture, ["*/*@*", "acme/one@*"]), [
      "acme/one@prod",
      "acme/one@test",
      "acme/two@prod",
    ]);
    const both = await namesOf(fixture, ["acme/n*@prod"], { candidates: true, blobs: false });
    assert.deepEqual(both, ["acme/new@prod", "acme/new@prod"]);
  });

  test("a pattern that means nothing is told, and so is a name", async (t) => {
    const fixture = await world(t);
    assert.equal(await codeOf(() => namesOf(fixture, ["acme/n*@prod"])), "NAME_NOT_FOUND");
    assert.equal(await codeOf(() => namesOf(fixture, [], { names: [parseName("acme/none")] })), "NAME_NOT_FOUND");
  });
});

describe("bundles for a receiver", () => {
  test("what the receipt names stays here; all documents and denials travel", async (t) => {
    const [sender, receiver] = [await world(t), await makeStoreFixture(t)];
    await receiver.trust("acme/same", files(1));
    const patterns = [parsePattern("acme/*@*")];
    const all = (await makeBundle(sender.store, { ...REQUEST, patterns })).index.value;
    const made = (await makeBundle(sender.store, { ...REQUEST, patterns, receiver: await receiptOf(receiver) })).index
      .value;
    assert.deepEqual([made.blobs, made.for?.store], ["missing", receiver.store.id]);
    const kept = (items: typeof all.items) => items.filter(({ kind }) => kind !== "blob");
    assert.deepEqual(kept(made.items), kept(all.items));
    assert.equal(all.items.length - made.items.length, 1);
    assert.deepEqual(made.revocations, all.revocations);
    const none = await makeBundle(sender.store, {
      ...REQUEST,
      patterns,
      blobs: false,
      receiver: await receiptOf(receiver),
    });
    assert.equal(none.index.value.blobs, "none");
    const own = receiptOf(sender);
    assert.equal(await codeOf(async () => makeBundle(sender.store, { ...REQUEST, receiver: await own })), "USAGE");
  });

  test("denials alone do not grow with what is not denied", async (t) => {
    const fixture = await world(t);
    const size = async () => (await volumesOf(fixture.store, [], undefined, { blobs: false })).volumes[0]?.length ?? 0;
    const before = await size();
    for (let seed = 20; seed < 26; seed += 1) await fixture.trust(`acme/more-${seed}`, files(seed));
    // Larger numbers in the index, at most: whole blocks.
    assert.ok((await size()) - before <= 512, `${before} bytes, then ${await size()}`);
    assert.ok(before < 20_000, `${before} bytes`);
  });
});

describe("volumes as files", () => {
  const write = async (fixture: StoreFixture, folder: string, more: { name?: string; only?: number } = {}) => {
    const request = { ...REQUEST, names: [parseName("acme/large")], volumeBytes: 17 * MIB };
    const bundle = await makeBundle(fixture.store, request);
    const target = { files: openRealFiles(folder), ...(more.name === undefined ? {} : { name: more.name }) };
    return writeVolumes(fixture.store, bundle, volumeNumbers(bundle, more.only), target, fixture.ports);
  };
  const large = async (t: TestContext): Promise<StoreFixture> => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/large", files(5, 20 * MIB));
    return fixture;
  };

  test("each is whole under its name, and what was told is what lies there", async (t) => {
    const fixture = await large(t);
    const folder = emptyFolder(fixture.folder, "stick");
    const written = await write(fixture, folder);
    assert.deepEqual(
      written.map(({ file }) => file),
      readdirSync(folder),
    );
    assert.deepEqual(
      written.map(({ bytes }) => bytes),
      readdirSync(folder).map((file) => readFileSync(join(folder, file)).length),
    );
    const source = await openVolumes([placeOf(folder)]);
    assert.equal((await everything(source)).size, source.index.value.items.length);
  });

  test("one alone is the same file; a damaged one is replaced", async (t) => {
    const fixture = await large(t);
    const folder = emptyFolder(fixture.folder, "stick");
    const [, second] = await write(fixture, folder);
    const file = join(folder, second?.file ?? "");
    const bytes = readFileSync(file);
    writeFileSync(file, "damaged");
    const again = await write(fixture, folder, { only: 2 });
    assert.deepEqual(again, [second]);
    assert.deepEqual(readFileSync(file), bytes);
    assert.equal(await codeOf(() => write(fixture, folder, { only: 3 })), "USAGE");
    assert.equal(await codeOf(() => write(fixture, folder, { only: 0 })), "USAGE");
  });

  test("a file that is named by hand is never written over", async (t) => {
    const fixture = await large(t);
    const folder = emptyFolder(fixture.folder, "stick");
    await write(fixture, folder, { name: "second.tar", only: 2 });
    assert.equal(await codeOf(() => write(fixture, folder, { name: "second.tar", only: 2 })), "EXISTS");
    assert.deepEqual(readdirSync(folder), ["second.tar"]);
  });

  test("damage in the store leaves no volume behind", async (t) => {
    const fixture = await large(t);
    const { bundle } = await volumesOf(fixture.store, ["acme/large"]);
    const blob = bundle.index.value.items.at(-1);
    assert.ok(blob?.kind === "blob");
    const path = join(fixture.location.root, `blobs/${blob.blob.slice(0, 2)}/${blob.blob.slice(2)}`);
    const bytes = readFileSync(path);
    bytes[15 * MIB] = (bytes[15 * MIB] ?? 0) ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    const folder = emptyFolder(fixture.folder, "stick");
    assert.equal(await codeOf(() => write(fixture, folder)), "CORRUPT");
    assert.ok(readdirSync(folder).length <= 1, "at most the volume before the damage");
    for (const file of readdirSync(folder)) assert.match(file, /-0001-of-/);
  });

  test("an account without the store key makes none", async (t) => {
    const fixture = await world(t);
    const location = { ...fixture.location, secrets: emptyFolder(fixture.folder, "none") };
    const store = await openStore(location, fixture.ports);
    assert.equal(await codeOf(() => makeBundle(store, REQUEST)), "NO_STORE_KEY");
  });
});
