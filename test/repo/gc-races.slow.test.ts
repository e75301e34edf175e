// SPDX-License-Identifier: Apache-2.0
/**
 * gc and writers step by step, at age 0, the worst there is: a writer that comes to need what gc takes, at every call of
 * either; and gc stopped at every call that changes something, with what was not fsynced lost.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { blobPath, objectPath } from "../../src/objects/layout.ts";
import { trashPath } from "../../src/objects/trash.ts";
import { add } from "../../src/repo/add.ts";
import { readManifest } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc } from "../../src/repo/gc.ts";
import type { Store } from "../../src/repo/store.ts";
import { type FilesCall, PowerLoss } from "../support/memory-files.ts";
import { crashed, type Disks, makeWorld, NOW_S, openOn, type World } from "../support/memory-store.ts";

const WRITING: ReadonlySet<FilesCall> = new Set(["makeFolder", "touch", "rename", "link", "remove", "fsyncFolder"]);
const NAME = parseName("acme/tiny@v1");
const encoder = new TextEncoder();
const now = { olderThanS: 0, dryRun: false };

/** A list that nothing names, and that an act may come to write again. */
const unnamed = makeList([]);

async function writeUnnamed(store: Store): Promise<void> {
  const batch = store.batch();
  batch.addObject(unnamed);
  await batch.flush();
}

/** Commits a ref to that list, which is there already. */
async function nameIt(store: Store): Promise<void> {
  await store.commit(async () => {
    const batch = store.batch();
    batch.addObject(unnamed);
    return { moves: [{ ref: nameRef("waiting", NAME), to: unnamed.id }], batch };
  });
}

function addNotes(store: Store): Promise<unknown> {
  const files = [{ path: parseManifestPath("notes.txt"), folder: "/source", file: "notes.txt" }];
  return add(store, { name: NAME, keep: false, files });
}

function copy(disks: Disks): Disks {
  return {
    store: disks.store.crash("none-lost"),
    state: disks.state.crash("none-lost"),
    source: disks.source.crash("none-lost"),
  };
}

/** A store on which the files that are written from now on are old. */
async function prepare(): Promise<World> {
  const world = await makeWorld();
  world.disks.source.plant("notes.txt", encoder.encode("hello\n"));
  world.disks.store.nowNs = BigInt(NOW_S - 30 * 24 * 3600) * 1_000_000_000n;
  return world;
}

/** Runs `act` with `rival` stepping in before its call number `at`; false when it made fewer calls. */
async function interrupted(
  disks: Disks,
  at: number,
  act: () => Promise<unknown>,
  rival: () => Promise<unknown>,
): Promise<boolean> {
  const target = disks.store.calls + at;
  let stepped = false;
  disks.store.before = async () => {
    if (stepped || disks.store.calls < target) return;
    stepped = true;
    disks.store.before = undefined;
    await rival();
  };
  await act();
  disks.store.before = undefined;
  return stepped;
}

/** Calls of `act` that matter: those around each change, counted from its start. */
async function callsOf(world: World, act: (store: Store) => Promise<unknown>, matters: RegExp): Promise<number[]> {
  const disks = copy(world.disks);
  const store = await openOn(world, disks, "calls");
  const from = disks.store.trace.length;
  await act(store);
  const calls = disks.store.trace.slice(from);
  return calls.flatMap(({ call, path }, at) => (WRITING.has(call) || matters.test(path) ? [at + 1] : []));
}

async function expectWhole(world: World, disks: Disks, where: string, objects: readonly Digest[]): Promise<void> {
  const store = await openOn(world, disks, "look");
  for (const id of objects) {
    assert.notEqual(await store.objects.read(id), undefined, where);
    assert.notEqual(await store.files.stat(objectPath(id)), undefined, `${where}: not in its place`);
  }
  assert.deepEqual((await fsck(store)).problems, [], where);
}

test("a writer that names what gc takes, stepping in before each call of gc", async () => {
  const world = await prepare();
  await writeUnnamed(await openOn(world, world.disks, "litter"));
  const calls = await callsOf(world, (store) => gc(store, now), /log|refs|trash/);
  assert.ok(calls.length > 10);
  let taken = 0;
  for (const at of calls) {
    const disks = copy(world.disks);
    const [collector, writer] = [await openOn(world, disks, "gc"), await openOn(world, disks, "writer")];
    const act = async (): Promise<void> => {
      taken += (await gc(collector, now)).moved.objects.files;
    };
    assert.ok(await interrupted(disks, at, act, () => nameIt(writer)));
    await expectWhole(world, disks, `before call ${at} of gc`, [unnamed.id]);
  }
  assert.ok(taken > 0, "expected gc to take it at least once");
});

test("gc, stepping in before each call of a writer that names what it takes", async () => {
  const world = await prepare();
  await writeUnnamed(await openOn(world, world.disks, "litter"));
  let taken = 0;
  for (let at = 1; ; at += 1) {
    const disks = copy(world.disks);
    const [collector, writer] = [await openOn(world, disks, "gc"), await openOn(world, disks, "writer")];
    const rival = async (): Promise<void> => {
      taken += (await gc(collector, now)).moved.objects.files;
    };
    if (!(await interrupted(disks, at, () => nameIt(writer), rival))) break;
    assert.deepEqual(writer.warnings, []);
    await expectWhole(world, disks, `before call ${at} of the writer`, [unnamed.id]);
  }
  assert.ok(taken > 10, `taken ${taken} times`);
});

test("gc, stepping in before each call of an add: the blob and all documents are there in the end", async () => {
  const world = await prepare();
  let taken = 0;
  for (let at = 1; ; at += 1) {
    const disks = copy(world.disks);
    const [collector, writer] = [await openOn(world, disks, "gc"), await openOn(world, disks, "writer")];
    const rival = async (): Promise<void> => {
      taken += (await gc(collector, now)).moved.blobs.files;
    };
    if (!(await interrupted(disks, at, () => addNotes(writer), rival))) break;
    const where = `before call ${at} of the writer`;
    await expectWhole(world, disks, where, []);
    const store = await openOn(world, disks, "look");
    const manifest = (await (await store.head()).readRef(nameRef("quarantined", NAME))) ?? assert.fail(where);
    const [file] = (await readManifest(store, manifest)).value.files;
    assert.notEqual(await store.files.stat(blobPath(file?.sha256 ?? assert.fail())), undefined, where);
  }
  assert.ok(taken > 1, `taken ${taken} times`);
});

test("gc stopped at each call that changes something leaves all readable, and the next one ends well", async () => {
  const world = await prepare();
  const { store: disk } = world.disks;
  const store = await openOn(world, world.disks, "prepare");
  await addNotes(store);
  await writeUnnamed(store);
  // Of a gc that was killed: reached, and in the trash.
  const manifest = (await (await store.head()).readRef(nameRef("quarantined", NAME))) ?? assert.fail();
  const [file] = (await readManifest(store, manifest)).value.files;
  const lost = [objectPath(manifest), blobPath(file?.sha256 ?? assert.fail())];
  for (const path of lost) {
    disk.plant(trashPath(path), (await disk.read(path, 1 << 20)) ?? assert.fail());
    await disk.remove(path);
    await disk.fsyncFolder(path.slice(0, path.lastIndexOf("/")));
  }
  const due = objectPath(sha256(encoder.encode("due")));
  disk.plant(trashPath(due), encoder.encode("due"));
  const calls = await callsOf(world, (one) => gc(one, now), /^never$/);
  assert.ok(calls.length > 8, `${calls.length} calls`);
  for (const mode of ["all-lost", "random"] as const) {
    for (const at of calls) {
      const where = `stopped at call ${at}, ${mode}`;
      const running = copy(world.disks);
      const collector = await openOn(world, running, "gc");
      running.store.fault = { at: running.store.calls + at, kind: "stop" };
      await assert.rejects(gc(collector, now), PowerLoss, where);
      const left = crashed(running, mode, at);
      const again = await openOn(world, left, "again");
      assert.deepEqual((await fsck(again)).problems, [], where);
      assert.notEqual(await again.objects.read(manifest), undefined, where);
      await gc(again, now);
      for (const path of lost) assert.notEqual(await left.store.stat(path), undefined, `${where}: ${path}`);
      assert.equal(await left.store.stat(trashPath(due)), undefined, where);
      assert.equal(await left.store.stat(objectPath(unnamed.id)), undefined, where);
    }
  }
});
