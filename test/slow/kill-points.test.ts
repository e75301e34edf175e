// SPDX-License-Identifier: Apache-2.0
/**
 * Every act of test/support/acts.ts, stopped and failed at each of its steps, at a call and in a way drawn by a seed that is
 * printed; with COFFER_TEST_ALL, at each of its calls of the Files port in every way. However it ends: the disk
 * holds the state before or the state after, fsck finds no damage, the next writer leaves no temporary file behind, the
 * same act then succeeds or says that it was done; and what an act reported as done survives a power loss (invariants
 * 1 and 4). The steps that a run passes are those of docs/crash.md (test/house/acts.test.ts).
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { ACTS, type RegisteredAct } from "../support/acts.ts";
import { litter, type Machine, makeMachine } from "../support/machine.ts";
import { type Fault, type MemoryFiles, PowerLoss, type TracedCall } from "../support/memory-files.ts";
import { stepsOf } from "../support/steps.ts";
import { seededRandom } from "../support/transcripts.ts";
import { ALL_TRIALS, allTrials, type DiskFault, sampleTrials, type Trial } from "../support/trials.ts";

const SEED = process.env["COFFER_TEST_SEED"] ?? String(Date.now());

interface Scene {
  readonly machine: Machine;
  readonly act: RegisteredAct;
  /** The disk that the act is run on. */
  readonly start: MemoryFiles;
  readonly before: string;
  readonly after: string;
  /** Disks that were looked at: many calls leave the same one. */
  readonly seen: Map<string, string>;
  runs: number;
}

const copy = (disk: MemoryFiles): MemoryFiles => disk.crash("none-lost");

/** Looks at what is left, checks it, does the act again. @returns the state that was found */
async function examine(scene: Scene, left: MemoryFiles, where: string): Promise<string> {
  const digest = left.fingerprint();
  const known = scene.seen.get(digest);
  if (known !== undefined) return known;
  const { machine, act, before, after } = scene;
  const found = await act.look(machine, copy(left));
  assert.ok(found === before || found === after, `${where}: neither before nor after: ${found}`);
  assert.deepEqual(await act.check(machine, copy(left)), [], where);
  const next = copy(left);
  const done = act.seen !== false && found === after;
  let wrote = true;
  await act.run(machine, next, "next").catch((error: unknown) => {
    wrote = false;
    if (!done || act.again === undefined || !isCofferError(error, act.again))
      throw Object.assign(new Error(where), { cause: error });
  });
  assert.equal(await act.look(machine, copy(next)), after, `${where}: the same act again`);
  assert.deepEqual(await act.check(machine, copy(next)), [], `${where}: the same act again`);
  // Who only looks, and repairs views, sweeps nothing.
  if (wrote && act.command !== "fsck")
    assert.deepEqual(leftovers(next, act), [], `${where}: the next writer leaves no temporary file`);
  scene.seen.set(digest, found);
  return found;
}

/** Makes a new store. */
const isMaking = ({ command }: RegisteredAct): boolean => command === "init" || command === "clone";

/** Temporary files of those who are gone, where the act writes. One that nobody knows stays for a day. */
function leftovers(disk: MemoryFiles, act: RegisteredAct): readonly string[] {
  // Who makes a new store does not sweep the others, and who only looks or repairs sweeps none.
  const store = isMaking(act) ? /(^|\/)\.new\.memory-/ : /^store\/local\/tmp\/memory-/;
  const places = act.command === "bundle create" ? [store, /^media\/\.coffer-part-memory-/] : [store];
  return [...disk.snapshot().keys()].filter((path) => places.some((place) => place.test(path)));
}

/** Runs the act with a fault; what it threw, undefined if it succeeded. */
async function runWith(scene: Scene, fault: Fault | undefined): Promise<{ disk: MemoryFiles; error: unknown }> {
  const disk = copy(scene.start);
  disk.fault = fault;
  scene.runs += 1;
  try {
    await scene.act.run(scene.machine, disk, "run");
    return { disk, error: undefined };
  } catch (error) {
    return { disk, error };
  }
}

async function runTrial(scene: Scene, { at, fault, lasting = false, left }: Trial): Promise<void> {
  const what = fault === undefined ? `stopped at call ${at}` : `${fault.code} ${lasting ? "from" : "at"} call ${at}`;
  const where = `${scene.act.name}, ${what}`;
  const { disk, error } = await runWith(scene, faultOf({ at, fault, lasting }));
  if (fault === undefined) assert.ok(error instanceof PowerLoss, `${where}: ${error}`);
  else if (error !== undefined) assert.ok(isCofferError(error, ...fault.told), `${where}: ${error}`);
  if (fault?.code === "EIO") refuseSecondFsync(disk, at, where);
  for (const mode of left) {
    const found = await examine(scene, disk.crash(mode, at), `${where}, ${mode}`);
    if (error === undefined) assert.equal(found, scene.after, `${where}, ${mode}: done, but not there`);
  }
}

function faultOf({ at, fault, lasting }: { at: number; fault: DiskFault | undefined; lasting: boolean }): Fault {
  if (fault === undefined) return { at, kind: "stop" };
  return { at, kind: "fail", code: fault.code, only: fault.meets, ...(lasting ? { lasting } : {}) };
}

/** A file or folder whose fsync failed is never fsynced again by the same process, which ends without a commit after it. */
function refuseSecondFsync(disk: MemoryFiles, at: number, where: string): void {
  const failed = disk.trace[at - 1];
  if (failed?.call !== "file.fsync") return;
  const later = disk.trace.slice(at);
  assert.ok(!later.some(({ call, path }) => call === "file.fsync" && path === failed.path), `${where}: fsynced again`);
  assert.ok(
    !later.some(
      ({ call, path, other }) =>
        (call === "rename" && path === failed.path) || (call === "link" && other === failed.path),
    ),
    `${where}: named`,
  );
}

/** The disk that an act starts on: all acts before it were done. */
async function diskFor(machine: Machine, act: RegisteredAct): Promise<MemoryFiles> {
  const disk = copy(machine.disk);
  for (const earlier of ACTS.slice(0, ACTS.indexOf(act))) {
    if (earlier.leads !== false) await earlier.run(machine, disk, "lead");
  }
  const start = copy(disk);
  await act.prepare?.(machine, start);
  await litter(start);
  return start;
}

/**
 * The 768 empty folders of a new store and the 64 equal pieces of its reserve: stopped at each call, failed at every 64th.
 */
function isMoreOfTheSame(act: RegisteredAct, step: string | undefined, at: number): boolean {
  return isMaking(act) && (step === "make folders" || step === "fill the reserve") && at > 20 && at % 64 !== 0;
}

/** @returns the trials of one act, which leave out none of its steps */
function trialsOf(act: RegisteredAct, trace: readonly TracedCall[]): readonly Trial[] {
  const steps = stepsOf(trace);
  if (!ALL_TRIALS) return sampleTrials(trace, steps, seededRandom(`${SEED} ${act.name}`));
  return allTrials(trace).filter(({ at, fault }) => fault === undefined || !isMoreOfTheSame(act, steps[at - 1], at));
}

/** Every step was stopped, and failed. */
function checkSteps(trace: readonly TracedCall[], trials: readonly Trial[]): void {
  const steps = stepsOf(trace);
  const those = (chosen: readonly Trial[]): ReadonlySet<string | undefined> =>
    new Set(chosen.map(({ at }) => steps[at - 1]));
  assert.deepEqual(those(trials.filter(({ fault }) => fault === undefined)), new Set(steps));
  assert.deepEqual(those(trials.filter(({ fault }) => fault !== undefined)), new Set(steps));
}

const machine = await makeMachine();
after(() => machine.end());

for (const act of ACTS) {
  const how = ALL_TRIALS ? "at every call" : "at every step";
  test(`${act.name}, stopped or failed ${how}, ends before or after, and can be done again`, async (t) => {
    if (!ALL_TRIALS) t.diagnostic(`COFFER_TEST_SEED=${SEED}`);
    const start = await diskFor(machine, act);
    const whole = copy(start);
    await act.run(machine, whole, "run");
    const [before, after] = [await act.look(machine, copy(start)), await act.look(machine, copy(whole))];
    if (act.seen !== false) assert.notEqual(after, before);
    const scene: Scene = { machine, act, start, before, after, seen: new Map(), runs: 0 };
    const trials = trialsOf(act, whole.trace);
    assert.ok(whole.calls > 10, `${whole.calls} calls`);
    checkSteps(whole.trace, trials);
    for (const trial of trials) await runTrial(scene, trial);
    t.diagnostic(`${whole.calls} calls, ${scene.runs} runs, ${scene.seen.size} different disks looked at`);
  });
}
