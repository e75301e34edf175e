// SPDX-License-Identifier: Apache-2.0
/** Volumes that come one after the other, one of them damaged: what is kept of them, and what has to come again (src/repo/import.ts). */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { sha256, short } from "../../src/base/digest.ts";
import { type CofferError, isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { incompleteImport } from "../../src/repo/import/incomplete.ts";
import { importFrom } from "../../src/repo/import.ts";
import { importAll } from "../../src/repo/import-all.ts";
import { openArrived } from "../../src/repo/incoming.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { itemsOfVolume } from "../../src/sync/cut.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const NAME = "acme/large@main";
const CHUNK = LIMITS.chunkBytes;

interface World {
  readonly team: Team;
  readonly receiver: Member;
  readonly made: MadeBundle;
  /** The same, with a byte of the last part in volume 3 flipped. */
  readonly damaged: MadeBundle;
}

/** Four volumes: documents and parts 0 and 1, parts 2 and 3, parts 4 and 5, the last part. */
async function makeWorld(t: TestContext): Promise<World> {
  const team = makeTeam(t);
  const [sender, receiver] = [await team.store("sender"), await team.store("receiver")];
  await sender.trust(NAME, model(5, 6 * CHUNK + 1024 * 1024));
  const made = await volumesOf(sender.store, [NAME], 2 * CHUNK + 65536);
  const { value } = made.bundle.index;
  const parts = value.volumes.map((_, at) =>
    itemsOfVolume(value, at + 1).flatMap((item) => (item.kind === "blob" ? [item.part] : [])),
  );
  assert.deepEqual(parts, [[0, 1], [2, 3], [4, 5], [6]]);
  const volumes = made.volumes.map((bytes, at) => (at === 2 ? flipped(bytes, bytes.length - 65536) : bytes));
  return { team, receiver, made, damaged: { ...made, volumes } };
}

function flipped(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes);
  other[at] = (other[at] ?? 0) ^ 1;
  return other;
}

async function importOf({ team, receiver }: World, made: MadeBundle, which: readonly number[]) {
  return importFrom(receiver.store, await openVolumes([placeOf(folderOf(team.folder, made, [...which]))]));
}

const incomplete =
  (pattern: RegExp) =>
  (error: unknown): boolean =>
    isCofferError(error, "BUNDLE_INCOMPLETE") && pattern.test(error.message);

async function isAdopted({ receiver }: World): Promise<void> {
  assert.equal((await resolve(receiver.store, parseName(NAME))).verdict.trusted, true);
  assert.deepEqual(readdirSync(join(receiver.location.root, "local/tmp")), []);
}

/** `bytes`, with the note of a volume that was written like that, in place of `before`. */
function noted(before: Buffer, bytes: Buffer): Buffer {
  const note = bytes.lastIndexOf("bundle/volume.json");
  const other = Buffer.from(bytes);
  const at = other.indexOf(sha256(before.subarray(0, note)), note);
  assert.ok(at > note);
  other.write(sha256(other.subarray(0, note)), at);
  return other;
}

/** As `bundle import` of one folder for each. @returns what is wrong */
async function faultIn({ team, receiver }: World, folders: readonly string[]): Promise<CofferError> {
  const paths = folders.map((absolute, at) => ({ absolute, shown: `stick-${at + 1}` }));
  const { failed, reports } = await importAll(receiver.store, await openArrived(team.ports, { kind: "paths", paths }));
  assert.deepEqual([reports.length, failed.length], [0, 1]);
  return failed[0]?.error ?? assert.fail();
}

test("a volume that is damaged in a blob is named by the import that finds it, with how it is cut again", async (t) => {
  const world = await makeWorld(t);
  const { team, made, damaged } = world;
  const { index } = made.bundle;
  const file = volumeFileName(index.id, 3, 4);
  const bundle = `where bundle ${short(index.id)} was made, with any good volume of it: `;
  const expected = [
    `volume 3 is damaged: ${file}: expected the bytes that its note was made for, found others (rule volume-hash) [VOLUME_DAMAGED]`,
    `${bundle}coffer bundle create --again VOLUME --only-volume 3 --out FOLDER`,
    "then give all volumes together: blobs that came in part were not kept",
  ];
  const sticks = [folderOf(team.folder, made, [1, 2]), folderOf(team.folder, damaged, [3, 4])];
  const error = await faultIn(world, sticks);
  assert.deepEqual([error.code, error.details], ["OBJECT_MISMATCH", expected]);
  const twice = { ...damaged, volumes: damaged.volumes.map((bytes) => flipped(bytes, bytes.length - 65536)) };
  const volumes = [...made.volumes.slice(0, 1), ...twice.volumes.slice(1, 2), ...damaged.volumes.slice(2)];
  const { details } = await faultIn(world, [folderOf(team.folder, { ...made, volumes })]);
  assert.deepEqual(details.map((line) => line.slice(0, 19)).slice(0, 2), [
    "volume 2 is damaged",
    "volume 3 is damaged",
  ]);
  assert.match(details[2] ?? "", /--only-volume 2 --out FOLDER; and the same for 1 other volume: 3$/);
});

test("where no volume at hand is damaged the import says so", async (t) => {
  const world = await makeWorld(t);
  const { team, made, damaged } = world;
  await assert.rejects(importOf(world, damaged, [1, 3]), incomplete(/missing/));
  const kept = await faultIn(world, [folderOf(team.folder, made, [2, 4])]);
  const here = "no volume that is here is damaged: each is as it was written";
  const before = "one that came before was, or the bytes were wrong where they were made; give all volumes together";
  assert.deepEqual([kept.code, kept.details], ["OBJECT_MISMATCH", [`${here}; ${before}`]]);
  const volumes = made.volumes.map((bytes, at) => (at === 2 ? noted(bytes, damaged.volumes[2] as Buffer) : bytes));
  const wrong = await faultIn(world, [folderOf(team.folder, { ...made, volumes })]);
  const there = "so the bytes were wrong where they were made; ask there";
  assert.deepEqual([wrong.code, wrong.details], ["OBJECT_MISMATCH", [`${here}, ${there}`]]);
});

test("a damaged volume came before the documents: once it was cut again nothing else has to be", async (t) => {
  const world = await makeWorld(t);
  const rejects = async (made: MadeBundle, which: readonly number[], missing: string, give: string): Promise<void> => {
    const kept = `the blobs that came are kept for the next import of it: give ${give}, the others need not come again`;
    const text = `expected all of the bundle, ${missing} missing; ${kept}`;
    await assert.rejects(importOf(world, made, which), { code: "BUNDLE_INCOMPLETE", message: text });
  };
  const others = "volume 1 of 4, volume 2 of 4, volume 4 of 4";
  await rejects(world.damaged, [3], others, "volumes 1, 2 and 4 together");
  await rejects(world.made, [1, 2, 4], "volume 3 of 4", "volumes 1 and 3 together");
  await rejects(world.made, [3], "volume 1 of 4", "volume 1");
  const report = await importOf(world, world.made, [1]);
  assert.deepEqual(
    report.names.map(({ outcome }) => outcome),
    ["adopted"],
  );
  await isAdopted(world);
});

test("of another root nothing is taken without its policy, and all volumes are asked for", async (t) => {
  const { team, made } = await makeWorld(t);
  const stranger = await makeTeam(t).store("stranger");
  const text = "expected all of the bundle, volume 1 of 4, volume 2 of 4 missing; give all of its volumes together";
  const source = await openVolumes([placeOf(folderOf(team.folder, made, [3, 4]))]);
  await assert.rejects(importFrom(stranger.store, source), { code: "BUNDLE_INCOMPLETE", message: text });
});

test("volumes in a row are named by the first and the last of them", async (t) => {
  const { bundle } = (await makeWorld(t)).made;
  const blobs = bundle.index.value.items.filter(({ kind }) => kind === "blob");
  const told = (count: number, isLacking: (number: number) => boolean): string => {
    const items = Array.from({ length: count }, (_, at) => ({ ...blobs[0], part: at })) as typeof blobs;
    const value = { ...bundle.index.value, items, volumes: items.map(() => 1) };
    const missingVolumes = items.map((_, at) => at + 1);
    const source = { index: { ...bundle.index, value }, missing: ["all"], missingVolumes, parcels: assert.fail };
    return incompleteImport(source, ({ part = 0 }) => isLacking(part + 1)).message.replace(/^.* missing; /, "");
  };
  const asked = (numbers: string): string =>
    `the blobs that came are kept for the next import of it: give ${numbers}, the others need not come again`;
  assert.equal(
    told(9, (number) => number > 2 && number !== 7),
    asked("volumes 3 to 6, 8 and 9 together"),
  );
  assert.equal(
    told(9, (number) => number === 9),
    asked("volume 9"),
  );
  assert.equal(
    told(30, (number) => number % 2 === 1),
    "give all of its volumes together",
  );
  assert.equal(
    told(3, () => true),
    "give all of its volumes together",
  );
  assert.equal(
    told(3, () => false),
    "the blobs that came are kept for the next import of it",
  );
});
