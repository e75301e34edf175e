// SPDX-License-Identifier: Apache-2.0
/**
 * How an act is stopped and failed: every way there is, or a sample by a seed that leaves out no step. Layer: test support.
 * Not here: running them (test/slow/kill-points.test.ts), what the steps are (steps.ts).
 */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../src/base/errors.ts";
import type { CrashMode, FilesCall, TracedCall } from "./memory-files.ts";

/** Every trial there is, as `npm run kill-points` has it; else a sample, another one each time. */
export const ALL_TRIALS: boolean = process.env["COFFER_TEST_ALL"] !== undefined;

/** So many kills at random moments do not all fall on one side of what an act does; fewer may, and that says nothing. */
const MANY_KILLS = 40;

/**
 * Where kills at random moments fell. Many that never left the state before, or never came later, were badly timed.
 * @throws AssertionError on them
 */
export function expectSpread(kills: number, before: number, later: number): void {
  assert.ok(kills < MANY_KILLS || (before > 0 && later > 0), `${kills} kills: ${before} before, ${later} later`);
}

/** What a disk may answer, and which errors of ours may come of it. */
export interface DiskFault {
  readonly code: string;
  /** The calls that it can happen to. */
  readonly meets: (call: FilesCall) => boolean;
  readonly told: readonly ErrorCode[];
}

const READING: ReadonlySet<FilesCall> = new Set([
  "read",
  "open",
  "stat",
  "list",
  "file.read",
  "file.stat",
  "file.close",
]);
const OPENING: ReadonlySet<FilesCall> = new Set(["read", "open", "create", "list", "fsyncFolder"]);
/** Removing makes room. */
const FREEING: ReadonlySet<FilesCall> = new Set(["remove", "removeFolder", "fsyncFolder"]);
/** What a disk that turned read-only does not refuse. */
const HARMLESS: ReadonlySet<FilesCall> = new Set([...READING, "fsyncFolder", "file.fsync"]);

export const FAULTS: readonly DiskFault[] = [
  {
    code: "ENOSPC",
    meets: (call) => !READING.has(call) && !FREEING.has(call),
    told: ["NO_SPACE", "STATE_UNWRITABLE"],
  },
  { code: "EIO", meets: () => true, told: ["IO_ERROR", "STATE_UNWRITABLE", "EXISTS", "FILE_SYSTEM_UNFIT"] },
  { code: "EMFILE", meets: (call) => OPENING.has(call), told: ["IO_ERROR", "STATE_UNWRITABLE", "EXISTS"] },
  { code: "EROFS", meets: (call) => !HARMLESS.has(call), told: ["READ_ONLY", "STATE_UNWRITABLE"] },
];

/** One run of the act: what happens at which call, and what is then looked at. */
export interface Trial {
  /** The call, from 1. */
  readonly at: number;
  /** undefined: the power goes. */
  readonly fault?: DiskFault;
  /** From that call on, not once. */
  readonly lasting?: boolean;
  /** What is taken to be left of all that was not fsynced. */
  readonly left: readonly CrashMode[];
}

const STOPPED: readonly CrashMode[] = ["all-lost", "none-lost", "random"];
const FAILED: readonly CrashMode[] = ["all-lost", "none-lost"];

/** Every call stopped, and failed in every way that it can fail in. */
export function allTrials(trace: readonly TracedCall[]): readonly Trial[] {
  return trace.flatMap(({ call }, index) => {
    const at = index + 1;
    const failures = FAULTS.filter(({ meets }) => meets(call)).flatMap((fault) =>
      [false, true].map((lasting) => ({ at, fault, lasting, left: FAILED })),
    );
    return [{ at, left: STOPPED }, ...failures];
  });
}

/**
 * For each step, and for each kind of call that only reads, one stop and two failures by different codes where there are
 * two, each with one outcome on disk.
 */
export function sampleTrials(
  trace: readonly TracedCall[],
  steps: readonly (string | undefined)[],
  random: (length: number) => Uint8Array,
): readonly Trial[] {
  const draw = <T>(items: readonly T[]): T => {
    const item = items[Buffer.from(random(4)).readUInt32LE() % items.length];
    if (item === undefined) throw new Error("nothing to draw from");
    return item;
  };
  const one = (trials: readonly Trial[]): Trial => {
    const trial = draw(trials);
    return { ...trial, left: [draw(trial.left)] };
  };
  const groups = new Map<string, Trial[]>();
  for (const trial of allTrials(trace)) {
    const group = steps[trial.at - 1] ?? String(trace[trial.at - 1]?.call);
    groups.set(group, [...(groups.get(group) ?? []), trial]);
  }
  return [...groups.values()].flatMap((trials) => {
    const first = one(trials.filter(({ fault }) => fault !== undefined));
    const others = trials.filter(({ fault }) => fault !== undefined && fault.code !== first.fault?.code);
    const stop = one(trials.filter(({ fault }) => fault === undefined));
    return others.length === 0 ? [stop, first] : [stop, first, one(others)];
  });
}
