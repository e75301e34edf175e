// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI taking over what another store sends, on a real disk that is full to the last block or inode, or that fills
 * up half-way: it says so and shows nothing new but what is revoked, and with room again the same command ends in the
 * store of an undisturbed run. What is revoked arrives on a full disk too, as long as the reserve is there. With
 * COFFER_TEST_ALL on more disks.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { IMPORT_PREFIX } from "../../src/objects/layout.ts";
import { MAY_NOT_MOUNT, SmallDisk } from "../support/small-disk.ts";
import { type Held, heldBy, makeTravel, type Stage, type Travel } from "../support/travel-scene.ts";
import { ALL_TRIALS } from "../support/trials.ts";

const PIECES = 64;
const MIB = 1024 ** 2;

let travel: Travel;
const endings: (() => unknown)[] = [];
before(async () => {
  travel = await makeTravel({ after: (act) => endings.push(act) });
});
after(() => {
  for (const end of endings) end();
});

interface Scene {
  readonly disk: SmallDisk;
  readonly stage: Stage;
}

/** The receiver on a disk of its own, with keys and memory. */
function sceneOn(t: TestContext, from: Stage, make: (folder: string) => SmallDisk | undefined): Scene | undefined {
  const folder = mkdtempSync(join(tmpdir(), "coffer-full-import-"));
  const disk = make(folder);
  t.after(() => rmSync(folder, { recursive: true, force: true })); // once it is no longer mounted
  return disk && { disk, stage: from.copyTo(join(disk.root, "receiver")) };
}

async function refused({ stage }: Scene, args: readonly string[]): Promise<void> {
  const { status, stderr } = await stage.start(args).ended;
  assert.equal(status, 10, stderr);
  assert.match(stderr, /\[NO_SPACE\]/);
  const others = stage.leftovers().filter((name) => !name.startsWith(IMPORT_PREFIX));
  assert.deepEqual(others, [], "only what came of blobs is kept for the next try");
}

const GRANTING = /^refs\/(policy|trusted|quarantined|proposed)/;
const DENYING = /^refs\/revoked\//;
const having = ({ refs }: Held, pattern: RegExp): unknown => [...refs].filter(([ref]) => pattern.test(ref));

function pieces({ store }: Stage): number {
  return readdirSync(join(store, "local", "reserve")).length;
}

/** The same command with room again: as if nothing had been. */
async function resume({ disk, stage }: Scene, args: readonly string[], undisturbed: Held): Promise<void> {
  disk.empty();
  await stage.must(args);
  const { entries: _, ...held } = await heldBy(stage);
  const { entries: __, ...expected } = undisturbed;
  assert.deepEqual(held, expected);
  assert.deepEqual([stage.leftovers(), await stage.problems()], [[], []]);
}

const inMemory = (t: TestContext) => (folder: string) => SmallDisk.inMemory(t, folder, "size=64m,nr_inodes=2400");
const onLoop = (t: TestContext) => (folder: string) => SmallDisk.onLoop(t, folder, 64 * MIB);

const FULL = [
  ["tmpfs, full to the last block", inMemory, (disk: SmallDisk) => disk.fill()],
  ["tmpfs, full within the blobs", inMemory, (disk: SmallDisk) => disk.fill(9 * MIB)],
  ["tmpfs, without a free inode", inMemory, (disk: SmallDisk) => disk.fillInodes()],
  ["ext4, full to the last block", onLoop, (disk: SmallDisk) => disk.fill()],
  ["ext4, full within the blobs", onLoop, (disk: SmallDisk) => disk.fill(9 * MIB)],
] as const;

for (const [how, make, fill] of ALL_TRIALS ? FULL : [FULL[0], FULL[1], FULL[3]]) {
  test(`an import (${how}) grants nothing; with room again, all of it`, async (t) => {
    const scene = sceneOn(t, travel.fresh, make(t));
    if (scene === undefined) return t.skip(MAY_NOT_MOUNT);
    const { disk, stage } = scene;
    const began = await heldBy(stage);
    fill(disk);
    await refused(scene, ["bundle", "import", travel.base]);
    const denied = await heldBy(stage);
    assert.deepEqual(having(denied, GRANTING), having(began, GRANTING));
    assert.equal(denied.entries, began.entries + 1, "an entry with what is revoked");
    assert.deepEqual(await stage.problems(), []);
    const left = pieces(stage);
    disk.fill();
    await refused(scene, ["bundle", "import", travel.base]);
    const again = await heldBy(stage);
    for (const pattern of [GRANTING, DENYING]) assert.deepEqual(having(again, pattern), having(denied, pattern));
    t.diagnostic(`${left} and ${pieces(stage)} of ${PIECES} pieces of the reserve were left`);
    await resume(scene, ["bundle", "import", travel.base], await heldBy(travel.based));
    assert.equal(pieces(stage), PIECES);
  });
}

for (const [how, make, fill] of ALL_TRIALS ? [FULL[1], FULL[3], FULL[4]] : [FULL[1]]) {
  test(`what is revoked arrives behind a bundle that has no room (${how})`, async (t) => {
    const scene = sceneOn(t, travel.fresh, make(t));
    if (scene === undefined) return t.skip(MAY_NOT_MOUNT);
    const { disk, stage } = scene;
    fill(disk);
    const { status, stderr } = await stage.start(["bundle", "import", travel.base, travel.denials]).ended;
    assert.equal(status, 10, stderr);
    // The other one may have no room either, but for what it denies.
    assert.match(stderr, /(?:warning: not imported|coffer: error): .*\[NO_SPACE\]/);
    const { refs } = await heldBy(stage);
    for (const gone of ["small1", "small2", "small4", "small5"])
      assert.ok(refs.has(`refs/revoked/acme/${gone}/main`), gone);
    assert.deepEqual(having(await heldBy(stage), /^refs\/trusted/), []);
    disk.empty();
    assert.deepEqual(await stage.problems(), []);
    await stage.must(["bundle", "import", travel.base, travel.denials]);
    assert.deepEqual(stage.leftovers(), []);
  });
}

for (const [how, make, fill] of ALL_TRIALS ? [FULL[0], FULL[2], FULL[3]] : [FULL[0], FULL[2]]) {
  test(`what is revoked arrives (${how})`, async (t) => {
    const folder = mkdtempSync(join(travel.folder, "bad-news-"));
    const volumes = join(folder, "volumes");
    mkdirSync(volumes);
    await travel.late.must(["bundle", "create", "--revocations", "--out", volumes]);
    const undisturbed = travel.based.copyTo(join(folder, "undisturbed"));
    const scene = sceneOn(t, travel.based, make(t));
    if (scene === undefined) return t.skip(MAY_NOT_MOUNT);
    const { disk, stage } = scene;
    await stage.must(["resolve", "acme/small1"]);
    fill(disk);
    const { status, stderr } = await stage.start(["bundle", "import", volumes]).ended;
    assert.match(stderr, /warning: the disk is full: this was done with the space that the store keeps back/);
    // What else a bundle brings, such as its index, may have no room; that what is revoked counts is told then.
    if (status !== 0)
      assert.match(
        stderr,
        /warning: what bundle [0-9a-f]{12} of store [0-9a-f]{12} denies counts all the same: log entry 4\n.*\[NO_SPACE\]/s,
      );
    for (const gone of ["acme/small1", "acme/small2"]) {
      const denied = await stage.start(["resolve", gone, "--no-memory"]).ended;
      assert.equal(denied.status, 3, denied.stderr);
      assert.match(denied.stderr, /\[REVOKED\]/);
    }
    assert.deepEqual(await stage.problems(), []);
    t.diagnostic(`exit ${status}, ${pieces(stage)} of ${PIECES} pieces of the reserve were left`);
    await undisturbed.must(["bundle", "import", volumes]);
    await resume(scene, ["bundle", "import", volumes], await heldBy(undisturbed));
  });
}
