// SPDX-License-Identifier: Apache-2.0
/** Chunks that a receiver has stay with the sender, and are filled in from its older blobs. Invariants 1 and 6. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { readManifest } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { checkVolumes } from "../../src/sync/check.ts";
import { type Item, itemPath, type Source } from "../../src/sync/source.ts";
import { openVolumes, type Volumes } from "../../src/sync/volumes.ts";
import { everything, folderOf, placeOf, volumesOf } from "../support/bundles.ts";
import { memorySource } from "../support/memory-source.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { type Member, makeTeam } from "../support/team-stores.ts";

const NAME = "acme/large@main";
const CHUNK = LIMITS.chunkBytes;
/** Seven chunks, the last one short. */
const DATA_BYTES = 6 * CHUNK + 1000;

const large = (dataBytes = DATA_BYTES): Uint8Array => makeSafetensors(dataBytes, 5);

/** The same bytes but for `length` of them from each place on. */
function changed(bytes: Uint8Array, places: readonly number[], length = 100): Uint8Array {
  const other = bytes.slice();
  for (const place of places) for (let at = place; at < place + length; at += 1) other[at] = (bytes[at] ?? 0) ^ 0xff;
  return other;
}

async function receiptOf({ store }: Member) {
  const { receipt, inventory } = await readReceipt(await writeReceipt(store));
  return { store: receipt.value.store, receipt: receipt.id, blobs: new Set<Digest>(inventory.blobs) };
}

interface Pair {
  readonly folder: string;
  readonly sender: Member;
  readonly receiver: Member;
}

/** A receiver that has what the sender had first. */
async function pair(t: TestContext, first: Uint8Array = large()): Promise<Pair> {
  const team = makeTeam(t);
  const [sender, receiver] = [await team.store("sender"), await team.store("receiver")];
  await sender.trust(NAME, { "m.safetensors": first });
  await importFrom(receiver.store, await openFolderSource(sender.location.root, team.ports));
  return { folder: team.folder, sender, receiver };
}

async function bundleFor({ folder, sender, receiver }: Pair, volumeBytes?: number): Promise<Volumes> {
  const made = await volumesOf(sender.store, [NAME], volumeBytes, { receiver: await receiptOf(receiver) });
  return openVolumes([placeOf(folderOf(folder, made))]);
}

const blobsOf = ({ index }: Source): (Item & { readonly kind: "blob" })[] =>
  index.value.items.filter((item) => item.kind === "blob");

const partsOf = (source: Source): (number | undefined)[] => blobsOf(source).map(({ part }) => part);

/** It is trusted there, with these bytes, and nothing is left over. */
async function has({ receiver }: Pair, bytes: Uint8Array): Promise<void> {
  const { verdict } = await resolve(receiver.store, parseName(NAME));
  assert.equal(verdict.trusted, true);
  const manifest = await readManifest(receiver.store, verdict.manifest as Digest);
  const [file] = manifest.value.files;
  const found = readFileSync(join(receiver.location.root, blobPath(file?.sha256 as Digest)));
  assert.ok(Buffer.compare(found, bytes) === 0, "the bytes that were sent");
  assert.deepEqual(readdirSync(join(receiver.location.root, "local/tmp")), []);
  assert.deepEqual((await fsck(receiver.store)).problems, []);
}

const CHANGES: readonly [string, () => Uint8Array, readonly number[]][] = [
  ["in the middle", () => changed(large(), [3 * CHUNK + 5]), [3]],
  ["over the edge of two chunks", () => changed(large(), [4 * CHUNK - 50]), [3, 4]],
  ["at the end", () => changed(large(), [6 * CHUNK + 500]), [6]],
  ["longer, which its header says too", () => large(DATA_BYTES + 2 * CHUNK), [0, 6, 7, 8]],
  ["shorter, which its header says too", () => large(DATA_BYTES - 3 * CHUNK), [0, 3]],
  ["at several places", () => changed(large(), [9 * 1024 * 1024, 5 * CHUNK]), [1, 5]],
];

test("of a file that changed only the chunks travel that no earlier version has", async (t) => {
  const stores = await pair(t);
  for (const [what, make, expected] of CHANGES) {
    const next = make();
    await stores.sender.trust(NAME, { "m.safetensors": next });
    const source = await bundleFor(stores);
    assert.deepEqual(partsOf(source), expected, what);
    const { faults, missing, blobs, blobsInPart } = await checkVolumes(source);
    assert.deepEqual([faults, missing, blobs, blobsInPart], [[], [], 0, 1], what);
    const [told] = (await importFrom(stores.receiver.store, source)).names;
    assert.equal(told?.outcome, "adopted", what);
    await has(stores, next);
  }
});

test("k ranges travel in no more than 2k chunks beyond them, and one percent", async (t) => {
  const stores = await pair(t);
  const places = [1, 3, 5].map((chunk) => chunk * CHUNK - 500);
  await stores.sender.trust(NAME, { "m.safetensors": changed(large(), places, 1000) });
  const made = await volumesOf(stores.sender.store, [NAME], undefined, { receiver: await receiptOf(stores.receiver) });
  const bytes = made.volumes.reduce((sum, volume) => sum + volume.length, 0);
  assert.ok(bytes <= (places.length * 1000 + 2 * places.length * CHUNK) * 1.01, `${bytes} bytes`);
});

test("all chunks lie there already: nothing of the file travels", async (t) => {
  // Two chunks of the first version and its first one once more; text, so that no header says how long it is.
  const text = new Uint8Array(
    Buffer.from(
      Buffer.from(large(3 * CHUNK))
        .toString("hex")
        .slice(0, 3 * CHUNK),
    ),
  );
  const team = makeTeam(t);
  const stores = { folder: team.folder, sender: await team.store("sender"), receiver: await team.store("receiver") };
  await stores.sender.trust(NAME, { "README.md": text });
  await importFrom(stores.receiver.store, await openFolderSource(stores.sender.location.root, team.ports));
  const twice = new Uint8Array(Buffer.concat([text.subarray(0, 2 * CHUNK), text.subarray(0, CHUNK)]));
  await stores.sender.trust(NAME, { "README.md": twice });
  const source = await bundleFor(stores);
  assert.deepEqual(blobsOf(source), []);
  await importFrom(stores.receiver.store, source);
  await has(stores, twice);
});

test("a damaged part is found without a store, by the chunk list", async (t) => {
  const stores = await pair(t);
  await stores.sender.trust(NAME, { "m.safetensors": changed(large(), [3 * CHUNK]) });
  const made = await volumesOf(stores.sender.store, [NAME], undefined, { receiver: await receiptOf(stores.receiver) });
  const folder = folderOf(stores.folder, made);
  const [file = ""] = readdirSync(folder);
  const bytes = readFileSync(join(folder, file));
  const at = bytes.length - CHUNK / 2;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(join(folder, file), bytes);
  const { faults, wanted } = await checkVolumes(await openVolumes([placeOf(folder)]));
  assert.deepEqual([faults.map(({ error }) => (error as { code?: string }).code), wanted], [["VOLUME_DAMAGED"], [1]]);
  assert.match(String(faults[0]?.error), /part-00003: the bytes are not those of its name/);
});

test("the base is not there any more: the blob is named, nothing moves, and what came is kept", async (t) => {
  const stores = await pair(t);
  const { receiver, sender } = stores;
  const before = (await resolve(receiver.store, parseName(NAME))).verdict;
  const receipt = await receiptOf(receiver);
  await sender.trust(NAME, { "m.safetensors": changed(large(), [3 * CHUNK]) });
  const made = await volumesOf(sender.store, [NAME], undefined, { receiver: receipt });
  const source = await openVolumes([placeOf(folderOf(stores.folder, made))]);
  const base = (await readManifest(receiver.store, before.manifest as Digest)).value.files[0]?.sha256 as Digest;
  const bytes = await receiver.store.files.read(blobPath(base), 100 * CHUNK);
  await receiver.store.files.remove(blobPath(base));
  const head = (await receiver.store.head()).number;
  await assert.rejects(importFrom(receiver.store, source), (error) => {
    const [blob] = blobsOf(source);
    return (
      isCofferError(error, "BUNDLE_INCOMPLETE") &&
      error.message.includes(String(blob?.blob).slice(0, 12)) &&
      error.message.includes("m.safetensors")
    );
  });
  assert.equal((await receiver.store.head()).number, head);
  assert.equal(readdirSync(join(receiver.location.root, "local/tmp")).length, 1);
  writeFileSync(join(receiver.location.root, blobPath(base)), bytes ?? "");
  await importFrom(receiver.store, source);
  await has(stores, changed(large(), [3 * CHUNK]));
});

test("a base that is damaged here is never copied", async (t) => {
  const stores = await pair(t);
  const { receiver, sender } = stores;
  await sender.trust(NAME, { "m.safetensors": changed(large(), [3 * CHUNK]) });
  const source = await bundleFor(stores);
  const before = (await resolve(receiver.store, parseName(NAME))).verdict;
  const base = (await readManifest(receiver.store, before.manifest as Digest)).value.files[0]?.sha256 as Digest;
  await receiver.store.files.remove(blobPath(base));
  writeFileSync(join(receiver.location.root, blobPath(base)), changed(large(), [5 * CHUNK]));
  await assert.rejects(importFrom(receiver.store, source), (error) => isCofferError(error, "CORRUPT"));
  assert.equal((await resolve(receiver.store, parseName(NAME))).verdict.manifest, before.manifest);
});

test("interrupted at any part, it goes on where it was, and the store is the same", async (t) => {
  const stores = await pair(t);
  const next = changed(large(), [CHUNK, 3 * CHUNK, 5 * CHUNK]);
  await stores.sender.trust(NAME, { "m.safetensors": next });
  const source = await bundleFor(stores);
  const read: string[] = [];
  const upTo = (most: number): Source => ({
    ...source,
    async *parcels(wants) {
      for await (const parcel of source.parcels(wants)) {
        const { item } = parcel;
        if (item.kind === "blob" && read.length >= most && wants(item)) throw new Error("the cable was pulled");
        yield {
          item,
          read() {
            if (item.kind === "blob") read.push(itemPath(item));
            return parcel.read();
          },
        };
      }
    },
  });
  await assert.rejects(importFrom(stores.receiver.store, upTo(1)), /cable/);
  await assert.rejects(importFrom(stores.receiver.store, upTo(2)), /cable/);
  await importFrom(stores.receiver.store, upTo(9));
  assert.equal(read.length, 3, "no part twice");
  await has(stores, next);
});

test("volumes one after the other, the documents last", async (t) => {
  const stores = await pair(t);
  const next = changed(large(), [CHUNK, 3 * CHUNK, 6 * CHUNK + 5]);
  await stores.sender.trust(NAME, { "m.safetensors": next });
  const source = await bundleFor(stores);
  const files = await everything(source);
  const blobs = blobsOf(source).map(itemPath);
  const only = (keep: (path: string) => boolean): Source =>
    memorySource(source.index, new Map([...files].filter(([path]) => keep(path))));
  for (const blob of blobs) {
    const part = only((path) => path === blob);
    await assert.rejects(importFrom(stores.receiver.store, part), (error) => isCofferError(error, "BUNDLE_INCOMPLETE"));
  }
  await importFrom(
    stores.receiver.store,
    only((path) => !blobs.slice(0, -1).includes(path)),
  );
  await has(stores, next);
});

test("volumes of a size: the parts are chunks all the same", async (t) => {
  const stores = await pair(t);
  const next = changed(large(), [CHUNK, 3 * CHUNK]);
  await stores.sender.trust(NAME, { "m.safetensors": next });
  const source = await bundleFor(stores, 16 * 1024 * 1024);
  assert.deepEqual([partsOf(source), source.index.value.volumes.length], [[1, 3], 2]);
  await importFrom(stores.receiver.store, source);
  await has(stores, next);
});
