// SPDX-License-Identifier: Apache-2.0
/** Volumes that come one after the other, one of them damaged: what is kept of them, and what has to come again (src/repo/import.ts). */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { importFrom } from "../../src/repo/import.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { itemsOfVolume } from "../../src/sync/cut.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { type Member, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/large@main";
const CHUNK = LIMITS.chunkBytes;

interface World {
  readonly folder: string;
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
  return { folder: team.folder, receiver, made, damaged: { ...made, volumes } };
}

function flipped(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes);
  other[at] = (other[at] ?? 0) ^ 1;
  return other;
}

async function importOf({ folder, receiver }: World, made: MadeBundle, which: readonly number[]) {
  return importFrom(receiver.store, await openVolumes([placeOf(folderOf(folder, made, [...which]))]));
}

const incomplete =
  (pattern: RegExp) =>
  (error: unknown): boolean =>
    isCofferError(error, "BUNDLE_INCOMPLETE") && pattern.test(error.message);

async function isAdopted({ receiver }: World): Promise<void> {
  assert.equal((await resolve(receiver.store, parseName(NAME))).verdict.trusted, true);
  assert.deepEqual(readdirSync(join(receiver.location.root, "local/tmp")), []);
}

test("a damaged volume came before the documents: once it was cut again nothing else has to be", async (t) => {
  const world = await makeWorld(t);
  await assert.rejects(importOf(world, world.damaged, [3]), incomplete(/missing/));
  await assert.rejects(importOf(world, world.made, [1, 2, 4]), incomplete(/volume 3 of 4 missing/));
  await assert.rejects(importOf(world, world.made, [3]), incomplete(/volume 1 of 4.* missing/));
  const report = await importOf(world, world.made, [1]);
  assert.deepEqual(
    report.names.map(({ outcome }) => outcome),
    ["adopted"],
  );
  await isAdopted(world);
});
