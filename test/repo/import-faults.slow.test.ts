// SPDX-License-Identifier: Apache-2.0
/**
 * An import whose disk or stick fails once with EIO, at calls that are drawn by a seed that is printed (with
 * COFFER_TEST_ALL, at every call): it says so or needed nothing of it, and done again it ends in the refs and the files of
 * an undisturbed one. New here, taken up again, by receipt, from another store's folder, and two bundles at once: these
 * with ENOSPC too, and what the one revokes comes in where the other cannot be read.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef, type RefPath } from "../../src/base/ref-path.ts";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { importFrom } from "../../src/repo/import.ts";
import { importAll } from "../../src/repo/import-all.ts";
import { oldestFirst } from "../../src/repo/incoming.ts";
import { promote } from "../../src/repo/promote.ts";
import { pull } from "../../src/repo/pull.ts";
import { revoke } from "../../src/repo/revoke.ts";
import type { Store } from "../../src/repo/store.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openBundles, openVolumes } from "../../src/sync/volumes.ts";
import { type MadeBundle, volumesOf } from "../support/bundles.ts";
import { MEDIA, makeMachine, newLocation, openOn, SOURCE, STORE } from "../support/machine.ts";
import type { MemoryFiles, TracedCall } from "../support/memory-files.ts";
import { makeSender } from "../support/sent.ts";
import { stepsOf } from "../support/steps.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { seededRandom } from "../support/transcripts.ts";
import { ALL_TRIALS, FAULTS } from "../support/trials.ts";

const SEED = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
/** Of all kinds of calls, if not all calls are to fail. */
const MOST = 12;
const CHUNK = 8 * 1024 * 1024;

const machine = await makeMachine();
after(() => machine.end());
const copy = (disk: MemoryFiles): MemoryFiles => disk.crash("none-lost");

/** One way to take over, on a disk that has what it needs. */
interface Way {
  readonly name: string;
  readonly disk: MemoryFiles;
  /** The receiver's folder on it. */
  readonly receiver: string;
  readonly open: (disk: MemoryFiles, seed: string) => Promise<Store>;
  readonly run: (store: Store, disk: MemoryFiles) => Promise<unknown>;
  /** "EIO" when left out. */
  readonly codes?: readonly ("EIO" | "ENOSPC")[];
  /** A bundle that revokes something, beside another one: the name of its volume and of what it revokes. */
  readonly denials?: { readonly volume: string; readonly ref: RefPath };
}

async function trust(disk: MemoryFiles, store: Store, name: string, bytes: Uint8Array): Promise<void> {
  const parsed = parseName(name);
  disk.plant(`${SOURCE}/model.safetensors`, bytes);
  const files = ["notes.txt", "model.safetensors"].map((file) => ({
    ...{ path: parseManifestPath(file), folder: `${machine.root}/${SOURCE}`, file },
  }));
  await add(store, { name: parsed, keep: false, files });
  const { alice, bob } = machine.people;
  const { statement } = await propose(store, { name: parsed, signer: alice, replace: false });
  for (const who of [alice, bob]) await approve(store, parsed, statement.id, who);
  await promote(store, [parsed]);
}

const NAMES = ["acme/large", "acme/gone", "acme/sent@v1"];

/** The last of two chunks is another in each edition. */
function large(edition: number): Uint8Array {
  const bytes = makeSafetensors(CHUNK + 1000);
  return bytes.fill(edition, CHUNK + 10, CHUNK + 500);
}

async function receiptOf(store: Store) {
  const { receipt, inventory } = await readReceipt(await writeReceipt(store));
  return { store: receipt.value.store, receipt: receipt.id, blobs: new Set(inventory.blobs) };
}

/** The volumes on a stick; `which` of them, all when left out. */
function onStick(disk: MemoryFiles, { bundle, volumes }: MadeBundle, which?: readonly number[]): MemoryFiles {
  const next = copy(disk);
  for (const [at, bytes] of volumes.entries()) {
    const path = `${MEDIA}/${volumeFileName(bundle.index.id, at + 1, volumes.length)}`;
    if (which === undefined || which.includes(at + 1)) next.plant(path, bytes);
  }
  return next;
}

const fromStick = async (store: Store, disk: MemoryFiles) =>
  importFrom(store, await openVolumes([{ files: subFolder(disk, MEDIA), path: ".", what: "the stick" }]));

/** Every bundle that is there, as `bundle import` does it; then what could not be used is thrown. */
async function allFromStick(store: Store, disk: MemoryFiles): Promise<void> {
  const opened = await openBundles([{ files: subFolder(disk, MEDIA), path: ".", what: "the stick" }]);
  const { failed, faults } = await importAll(store, oldestFirst(opened));
  for (const { error } of [...faults, ...failed]) throw error;
}

const openReceiver = (disk: MemoryFiles, seed: string): Promise<Store> => openOn(machine, disk, seed);

async function makeWays(): Promise<readonly Way[]> {
  const disk = copy(machine.disk);
  const { store: sender } = await makeSender(machine, disk);
  await trust(disk, sender, "acme/large", large(1));
  await trust(disk, sender, "acme/gone", makeSafetensors(200, 3));
  await revoke(sender, { name: parseName("acme/gone"), also: [], reason: "a test" }, machine.people.carol);
  const first = await volumesOf(sender, NAMES, CHUNK + 24 * 1024);
  assert.equal(first.volumes.length, 2);
  const takes = { receiver: STORE, open: openReceiver };
  const empty = copy(machine.disk);

  const half = onStick(empty, first, [first.volumes.length]);
  await assert.rejects(fromStick(await openReceiver(half, "half"), half), (error) =>
    isCofferError(error, "BUNDLE_INCOMPLETE"),
  );

  const based = onStick(empty, first);
  const store = await openReceiver(based, "based");
  await fromStick(store, based);
  await trust(disk, sender, "acme/large", large(2));
  const more = await volumesOf(sender, NAMES, undefined, { receiver: await receiptOf(store) });
  const cleared = copy(based);
  for (const path of cleared.snapshot("as they are").keys())
    if (path.startsWith(`${MEDIA}/`)) await cleared.remove(path);

  // Beside volumes of the early one, the news of what was revoked since.
  await revoke(sender, { name: parseName("acme/large"), also: [], reason: "a test" }, machine.people.carol);
  const late = await volumesOf(sender, [], undefined, { blobs: false });
  const volume = `${MEDIA}/${volumeFileName(late.bundle.index.id, 1, 1)}`;
  const denials = { volume, ref: nameRef("revoked", parseName("acme/large")) };
  const two = onStick(onStick(empty, first), late);

  return [
    { ...takes, name: "two bundles", disk: two, run: allFromStick, codes: ["EIO", "ENOSPC"], denials },
    { ...takes, name: "new", disk: onStick(empty, first), run: fromStick },
    { ...takes, name: "taken up again", disk: onStick(half, first), run: fromStick },
    { ...takes, name: "by receipt", disk: onStick(cleared, more), run: fromStick },
    { ...takes, name: "a pull", disk, run: (to) => pull(to, newLocation(machine).root) },
  ];
}

interface Found {
  readonly refs: ReadonlyMap<string, string>;
  /** Blobs, signatures and objects, but for nodes of the ref tree and the lists in them, which entries in between have too. */
  readonly content: readonly string[];
  readonly left: readonly string[];
}

const NODE = /"type":"coffer\/(refs|list)","version":1\}\n$/;

async function look({ open, receiver }: Way, disk: MemoryFiles): Promise<Found> {
  const refs = new Map<string, string>();
  for await (const [ref, id] of (await (await open(copy(disk), "look")).head()).listRefs()) refs.set(ref, id);
  const [content, left]: [string[], string[]] = [[], []];
  for (const [path, bytes] of disk.snapshot("as they are")) {
    const inner = path.startsWith(`${receiver}/`) ? path.slice(receiver.length + 1) : "";
    if (inner.startsWith("local/tmp/")) left.push(inner);
    if (!/^(objects|signatures|blobs)\//.test(inner)) continue;
    if (inner.startsWith("objects/") && NODE.test(Buffer.from(bytes).toString("latin1"))) continue;
    content.push(`${inner} ${bytes.length}`);
  }
  return { refs, content: content.sort(), left };
}

/** Calls to fail at that can fail so, of different steps or kinds of reading in different places. */
function callsOf(trace: readonly TracedCall[], seed: string, code: string): readonly number[] {
  const meets = FAULTS.find((fault) => fault.code === code)?.meets ?? assert.fail(code);
  if (ALL_TRIALS) return trace.flatMap(({ call }, index) => (meets(call) ? [index + 1] : []));
  const steps = stepsOf(trace);
  const groups = new Map<string, number[]>();
  for (const [index, { call, path }] of trace.entries()) {
    if (!meets(call)) continue;
    const place = path
      .split("/")
      .slice(0, 3)
      .join("/")
      .replace(/[0-9a-f-]{20,}/g, "");
    const group = steps[index] ?? `${call} ${place.replace(/\/[0-9a-f]{2}$/, "")}`;
    groups.set(group, [...(groups.get(group) ?? []), index + 1]);
  }
  const random = seededRandom(seed);
  const draw = <T>(items: T[]): T[] => items.splice(Buffer.from(random(4)).readUInt32LE() % items.length, 1);
  const left = [...groups.values()];
  const chosen: number[] = [];
  while (chosen.length < MOST && left.length > 0) for (const calls of draw(left)) chosen.push(...draw(calls));
  return chosen;
}

/** A volume that cannot be read is damaged, and so the bundle lacks one. */
const STICK = ["VOLUME_DAMAGED", "BUNDLE_INCOMPLETE"] as const;

async function tryCall(way: Way, expected: Found, at: number, { path }: TracedCall, code: string): Promise<boolean> {
  const disk = copy(way.disk);
  const what = `${way.name}, ${code} at call ${at} (${path}), seed ${SEED}`;
  // What cannot be looked at and may be a volume, or a folder of untarred ones, is told as one.
  const ofVolume = path.endsWith(".tar") ? path.startsWith(`${MEDIA}/`) : path.startsWith(`${MEDIA}/bundle`);
  let failed = false;
  try {
    const store = await way.open(disk, "run");
    disk.fault = { at: disk.calls + at, kind: "fail", code };
    await way.run(store, disk);
  } catch (error) {
    failed = true;
    const told = isCofferError(error, ...(ofVolume ? STICK : ([code === "EIO" ? "IO_ERROR" : "NO_SPACE"] as const)));
    if (!told && !isCofferError(error, "STATE_UNWRITABLE")) throw Object.assign(new Error(what), { cause: error });
  }
  const { denials } = way;
  if (denials !== undefined && ofVolume && path !== denials.volume)
    assert.equal((await look(way, disk)).refs.get(denials.ref), expected.refs.get(denials.ref), what);
  const next = copy(disk);
  await way.run(await way.open(next, "next"), next);
  assert.deepEqual(await look(way, next), expected, what);
  return failed;
}

for (const way of await makeWays()) {
  for (const code of way.codes ?? ["EIO"]) {
    test(`an import fails with ${code} at any call, and done again ends where it would have: ${way.name}`, async (t) => {
      const disk = copy(way.disk);
      const store = await way.open(disk, "run");
      const opened = disk.calls;
      await way.run(store, disk);
      const expected = await look(way, disk);
      assert.deepEqual(expected.left, []);
      const trace = disk.trace.slice(opened);
      const calls = callsOf(trace, `${SEED} ${way.name} ${code}`, code);
      let failed = 0;
      for (const at of calls) if (await tryCall(way, expected, at, trace[at - 1] as TracedCall, code)) failed += 1;
      t.diagnostic(
        `COFFER_TEST_SEED=${SEED}: ${calls.length} of ${trace.length} calls failed, ${failed} imports with them`,
      );
    });
  }
}
