// SPDX-License-Identifier: Apache-2.0
/** Checking a bundle without a store: what is good is counted, what is missing, damaged or foreign is named. Invariants 2, 6. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { signaturePath } from "../../src/objects/layout.ts";
import { checkPipe, checkVolumes } from "../../src/sync/check.ts";
import { lookInto } from "../../src/sync/look.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { itemPath } from "../../src/sync/source.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { openBundles, openVolumes } from "../../src/sync/volumes.ts";
import { collect, emptyFolder, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const NAMES = ["acme/one", "acme/two"];

async function world(t: TestContext, bytes = 40 * KIB): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  for (const [at, name] of NAMES.entries()) {
    await fixture.trust(name, { "model.safetensors": makeSafetensors(bytes + at, at + 1) });
  }
  await fixture.trust("acme/gone", { "model.safetensors": makeSafetensors(100, 7) });
  await fixture.revoke("acme/gone", "leaks");
  return fixture;
}

const check = async (...folders: readonly string[]) =>
  checkVolumes(await openVolumes(folders.map((one) => placeOf(one))));

function fileOf(folder: string, { bundle, volumes }: MadeBundle, number: number): string {
  return join(folder, volumeFileName(bundle.index.id, number, volumes.length));
}

function turnBit(file: string, place: number): void {
  const bytes = readFileSync(file);
  const at = place < 0 ? bytes.length + place : place;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

describe("checking a bundle", () => {
  test("counts what is good: objects, signatures by key, whole blobs, every byte", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const { items } = made.bundle.index.value;
    const count = (kind: string) => items.filter((item) => item.kind === kind).length;
    const checked = await check(folderOf(fixture.folder, made));
    assert.deepEqual([checked.faults, checked.missing, checked.wanted, checked.blobsInPart], [[], [], [], 0]);
    assert.deepEqual(
      [checked.objects, checked.signatures, checked.blobs],
      [count("object"), count("signature"), count("blob")],
    );
    assert.equal(
      checked.bytes,
      items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    );
    const { alice, bob, carol } = fixture.signers;
    // alice: two manifests and two statements; bob: two statements; carol: a revocation; the store: evidence.
    const expected = new Map([
      [alice.publicKey.keyId, 4],
      [bob.publicKey.keyId, 2],
      [carol.publicKey.keyId, 1],
      [fixture.store.storeKey.keyId, 2],
    ]);
    assert.deepEqual(checked.signers, expected);
    async function* piped() {
      for (const volume of made.volumes) yield volume;
    }
    assert.deepEqual(await checkPipe(await openPipe(piped(), "stdin")), checked);
  });

  test("names a missing volume, and the numbers to bring", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const folder = folderOf(fixture.folder, made);
    rmSync(fileOf(folder, made, 2));
    const checked = await check(folder);
    assert.deepEqual([checked.missing, checked.wanted], [[`volume 2 of ${made.volumes.length}`], [2]]);
    assert.deepEqual(checked.faults, []);
  });

  test("names a damaged volume wherever the damage lies; a copy of it is taken instead", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const length = made.volumes[0]?.length ?? 0;
    for (const place of [300, 5000, Math.floor(length / 2), length - 3000, -1100]) {
      const folder = folderOf(fixture.folder, made);
      turnBit(fileOf(folder, made, 1), place);
      const checked = await check(folder);
      assert.deepEqual([checked.wanted, checked.faults.length], [[1], 1], `byte ${place}`);
      const mended = await check(folder, folderOf(fixture.folder, made, [1]));
      assert.deepEqual([mended.wanted, mended.faults.length, mended.blobsInPart], [[], 1, 0], `byte ${place}`);
      assert.equal(mended.blobs, 2);
    }
  });

  test("each of several bundles is checked by itself; neither is damage to the other", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES);
    const other = await volumesOf(fixture.store, ["acme/one"]);
    const places = [made, other].map((one) => placeOf(folderOf(fixture.folder, one)));
    const { bundles, unread } = await openBundles(places);
    const checked = await Promise.all(bundles.map((one) => checkVolumes(one)));
    assert.deepEqual(
      [unread, checked.map(({ faults, wanted, blobs }) => [faults, wanted, blobs])],
      [
        [],
        [
          [[], [], 2],
          [[], [], 1],
        ],
      ],
    );
  });

  test("a blob in parts is checked as a whole, over volumes; one that lacks a part is not called good", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/large", { "model.safetensors": makeSafetensors(20 * MIB, 7) });
    const made = await volumesOf(fixture.store, ["acme/large"], 9 * MIB);
    assert.equal(made.volumes.length, 3);
    const folder = folderOf(fixture.folder, made);
    assert.deepEqual([(await check(folder)).blobs, (await check(folder)).blobsInPart], [1, 0]);
    const whole = readFileSync(fileOf(folder, made, 2));
    rmSync(fileOf(folder, made, 2));
    const checked = await check(folder);
    assert.deepEqual([checked.blobs, checked.blobsInPart, checked.wanted], [0, 1, [2]]);
    // A damaged copy first, then the good one: the hash of the blob goes on from where it was.
    const damaged = emptyFolder(fixture.folder, "damaged");
    const copy = join(damaged, volumeFileName(made.bundle.index.id, 2, 3));
    writeFileSync(copy, whole);
    turnBit(copy, 4 * MIB);
    writeFileSync(fileOf(folder, made, 2), whole);
    const mended = await check(damaged, folder);
    assert.deepEqual([mended.blobs, mended.faults.length, mended.wanted], [1, 1, []]);
  });

  test("a signature that does not verify is a fault although every hash is right", async (t) => {
    const fixture = await world(t);
    const { bundle } = await volumesOf(fixture.store, NAMES);
    const { items } = bundle.index.value;
    const [one, other] = items.filter((item) => item.kind === "signature" && item.sizeBytes === 310);
    assert.ok(one?.kind === "signature" && other?.kind === "signature");
    const pathOf = ({ object, keyId }: typeof one) => join(fixture.location.root, signaturePath(object, keyId));
    const bytes = readFileSync(pathOf(other));
    rmSync(pathOf(one));
    writeFileSync(pathOf(one), bytes);
    const folder = emptyFolder(fixture.folder, "forged");
    writeFileSync(
      join(folder, volumeFileName(bundle.index.id, 1, 1)),
      await collect(writeVolume(fixture.store, bundle, 1)),
    );
    const { faults } = await check(folder);
    assert.deepEqual(
      faults.map(({ error }) => error.code),
      ["SIGNATURE_INVALID"],
    );
  });

  test("what lies side by side is checked item by item", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const side = emptyFolder(fixture.folder, "side");
    for (const [at] of made.volumes.entries()) {
      const file = fileOf(folderOf(fixture.folder, made), made, at + 1);
      execFileSync("tar", ["-xf", file, "-C", side, "--overwrite"], { stdio: "pipe" });
    }
    const good = await check(side);
    assert.deepEqual([good.faults, good.missing, good.blobs], [[], [], 2]);
    const [blob] = made.bundle.index.value.items.filter(({ kind }) => kind === "blob");
    assert.ok(blob !== undefined);
    rmSync(join(side, itemPath(blob)));
    assert.deepEqual((await check(side)).missing, [itemPath(blob)]);
    writeFileSync(join(side, itemPath(blob)), Buffer.alloc(blob.sizeBytes));
    assert.deepEqual(
      (await check(side)).faults.map(({ what, error }) => [what, error.code]),
      [[itemPath(blob), "VOLUME_DAMAGED"]],
    );
  });
});

describe("looking into a bundle", () => {
  test("tells names, files, who signed, and every denial; the same without the volumes that hold blobs", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, ["acme/one"], 50 * KIB);
    const all = await lookInto(await openVolumes([placeOf(folderOf(fixture.folder, made))]));
    const { alice, bob } = fixture.signers;
    assert.deepEqual(
      all.names.map(({ name, state, files, signers }) => [name, state, files?.length, signers]),
      [["acme/one@main", "trusted", 1, [alice.publicKey.keyId, bob.publicKey.keyId].sort()]],
    );
    assert.equal(all.people.get(alice.publicKey.keyId), "alice");
    assert.deepEqual(
      all.revocations.map(({ name, state, reason }) => [name, state, reason]),
      [["acme/gone@main", "revoked", "leaks"]],
    );
    assert.ok(made.volumes.length >= 2);
    const first = await lookInto(await openVolumes([placeOf(folderOf(fixture.folder, made, [1]))]));
    assert.deepEqual(first, all);
    const last = await lookInto(await openVolumes([placeOf(folderOf(fixture.folder, made, [made.volumes.length]))]));
    assert.deepEqual([last.names[0]?.name, last.names[0]?.files], ["acme/one@main", undefined]);
  });

  test("candidates travel in a few kilobytes", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.add("acme/new", { "model.safetensors": makeSafetensors(MIB, 3) });
    await fixture.propose("acme/new");
    const made = await volumesOf(fixture.store, ["acme/new"], undefined, { candidates: true, blobs: false });
    assert.ok((made.volumes[0]?.length ?? 0) < 16 * KIB, `${made.volumes[0]?.length} bytes`);
    const looked = await lookInto(await openVolumes([placeOf(folderOf(fixture.folder, made))]));
    assert.deepEqual(
      looked.candidates.map(({ name, files, signers }) => [name, files?.length, signers]),
      [["acme/new@main", 1, []]],
    );
  });
});
