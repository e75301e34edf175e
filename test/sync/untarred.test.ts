// SPDX-License-Identifier: Apache-2.0
/** Volumes that were untarred, some of them twice (src/sync/untarred.ts): a copy that is whole stands in for one that is not. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Item, itemPath } from "../../src/sync/source.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openBundles } from "../../src/sync/volumes.ts";
import { collect, emptyFolder, everything, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

interface World {
  readonly made: MadeBundle;
  /** All volumes, as files. */
  readonly tars: string;
  /** Two folders into which all of them were untarred. */
  readonly sides: readonly [string, string];
}

async function world(t: TestContext): Promise<World> {
  const fixture = await makeStoreFixture(t);
  for (const at of [1, 2, 3]) await fixture.trust(`acme/m${at}`, { "w.safetensors": makeSafetensors(100_000, at) });
  await fixture.revoke("acme/m3", "leaks");
  const made = await volumesOf(fixture.store, ["acme/m1", "acme/m2"], 140_000);
  const tars = folderOf(fixture.folder, made);
  const untarred = (name: string): string => {
    const side = emptyFolder(fixture.folder, name);
    for (const at of made.volumes.keys()) {
      const file = join(tars, volumeFileName(made.bundle.index.id, at + 1, made.volumes.length));
      execFileSync("tar", ["-xf", file, "-C", side]);
    }
    return side;
  };
  return { made, tars, sides: [untarred("one"), untarred("two")] };
}

const allOf = ({ made }: World): readonly Item[] => made.bundle.index.value.items;

/** One bundle of the folders, all of it; the codes of what was wrong. */
async function readOf(folders: readonly string[]) {
  const { bundles, unread } = await openBundles(folders.map((folder) => placeOf(folder)));
  const [only] = bundles;
  assert.ok(only !== undefined && bundles.length === 1 && unread.length === 0);
  const read = await everything(only);
  return { read, missing: only.missing, faults: only.faults.map(({ error }) => error.code) };
}

/** The same length, other bytes. */
function spoil(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

test("of two folders the one whose copy is whole is read, for each item by itself, whichever is named first", async (t) => {
  const scene = await world(t);
  const [one, two] = scene.sides;
  const { read: expected } = await readOf([one]);
  let turn = 0;
  for (const item of allOf(scene)) {
    turn += 1;
    const path = join(turn % 2 === 0 ? one : two, itemPath(item));
    // A signature is told from a damaged one by its key alone, so only its length counts here.
    if (item.kind === "signature") truncateSync(path, item.sizeBytes - 1);
    else spoil(path);
  }
  for (const folders of [
    [one, two],
    [two, one],
  ])
    assert.deepEqual(await readOf(folders), { read: expected, missing: [], faults: [] });
});

test("a damaged volume is read as far as it is good, though its items lie untarred beside it", async (t) => {
  const scene = await world(t);
  const [side] = scene.sides;
  const { made, tars } = scene;
  const first = join(tars, volumeFileName(made.bundle.index.id, 1, made.volumes.length));
  truncateSync(first, readFileSync(first).length - 1024);
  // Nobody can tell by its bytes whether a signature there is the one that was sent.
  for (const item of allOf(scene)) if (item.kind === "signature") spoil(join(side, itemPath(item)));
  const { bundles } = await openBundles([placeOf(tars), placeOf(side)]);
  const damage: string[] = [];
  const signatures: string[] = [];
  const isSmall = (item: Item): boolean => item.kind !== "blob";
  for await (const { item, read } of bundles[0]?.parcels(isSmall, ({ code }) => void damage.push(code)) ?? []) {
    const bytes = (await collect(read())).toString("latin1");
    if (item.kind === "signature" && bytes.endsWith("-----END SSH SIGNATURE-----\n")) signatures.push(itemPath(item));
  }
  const sent = allOf(scene).filter(({ kind }) => kind === "signature");
  assert.deepEqual([damage, signatures], [["VOLUME_DAMAGED"], sent.map(itemPath)]);
});

test("a folder that is called like a volume is told as one", async (t) => {
  const { made, tars } = await world(t);
  const name = volumeFileName(made.bundle.index.id, 1, made.volumes.length);
  rmSync(join(tars, name));
  mkdirSync(join(tars, name));
  const { bundles } = await openBundles([placeOf(tars)]);
  assert.deepEqual(
    bundles.flatMap(({ faults }) => faults.map(({ error }) => [error.code, error.message])),
    [["VOLUME_DAMAGED", `${name}: expected a volume, found a folder`]],
  );
});
