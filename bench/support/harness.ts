// SPDX-License-Identifier: Apache-2.0
/**
 * What a bench is, and how it measures: everybody in turn in each round, ratios inside a round, medians over rounds.
 * Absolute times drift on shared machines, so gates are on ratios and on counts, never on times.
 */
import { spawnSync } from "node:child_process";

export interface BenchOptions {
  /** Few rounds and small fixtures: for looking, not for the record. */
  readonly quick: boolean;
  /** How often each contender runs, warm-up not counted. */
  readonly rounds: number;
  /** Tells a person what is going on. */
  readonly say: (text: string) => void;
}

export interface Bench {
  readonly title: string;
  /** What is measured, against what, and how to read it: Markdown for docs/performance.md. */
  readonly about: string;
  run(options: BenchOptions): Promise<Result>;
}

interface Gate {
  readonly atMost?: number;
  readonly atLeast?: number;
}
/** How much longer `of` took than `to`. Make it with `ratioOf`. */
export interface Ratio extends Gate {
  readonly of: string;
  readonly to: string;
  readonly ofMs: number;
  readonly toMs: number;
  /** Median of the ratios inside each round; `low` and `high` are their quartiles. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  readonly rounds: number;
}
/** A number that does not depend on the machine: fsyncs, files, bytes. */
export interface Count extends Gate {
  readonly what: string;
  readonly count: number;
}
export interface Result {
  readonly ratios: readonly Ratio[];
  readonly counts?: readonly Count[];
  /** What must be known to read the figures: Markdown, a paragraph each. */
  readonly notes?: readonly string[];
  /** Programs compared with, and their versions. */
  readonly peers?: readonly string[];
}

export function passes(row: Ratio | Count): boolean {
  const value = "ratio" in row ? row.ratio : row.count;
  return value <= (row.atMost ?? Number.POSITIVE_INFINITY) && value >= (row.atLeast ?? Number.NEGATIVE_INFINITY);
}

/**
 * Somebody who does the work once and says how many milliseconds it took; what has to be set up for it is not counted.
 * Who times several things in one go, one of which needs the other, gives each its name.
 */
export type Contender = (round: number) => Promise<number | Readonly<Record<string, number>>>;

/** Milliseconds of `act` by the monotonic clock. */
export async function timed(act: () => unknown): Promise<number> {
  const began = process.hrtime.bigint();
  await act();
  return Number(process.hrtime.bigint() - began) / 1e6;
}

/** Milliseconds that each contender took, by round. */
export type Samples = ReadonlyMap<string, readonly number[]>;

/**
 * Every contender once in each round, in an order that turns, so that nobody always runs behind the same other one.
 * One round before the first is not counted.
 */
export async function interleave(contenders: Readonly<Record<string, Contender>>, rounds: number): Promise<Samples> {
  const entries = Object.entries(contenders);
  const samples = new Map<string, number[]>();
  for (let round = 0; round <= rounds; round += 1) {
    for (let at = 0; at < entries.length; at += 1) {
      const [name, run] = entries[(at + round) % entries.length] ?? [];
      const took = await run?.(round);
      if (round === 0 || name === undefined || took === undefined) continue;
      for (const [what, ms] of Object.entries(typeof took === "number" ? { [name]: took } : took)) {
        samples.set(what, [...(samples.get(what) ?? []), ms]);
      }
    }
  }
  return samples;
}

export function ratioOf(samples: Samples, of: string, to: string, gate: Gate = {}): Ratio {
  const [ofMs, toMs] = [samples.get(of) ?? [], samples.get(to) ?? []];
  const ratios = ofMs.map((ms, round) => ms / (toMs[round] ?? Number.NaN)).sort((a, b) => a - b);
  if (ratios.length === 0 || ratios.some(Number.isNaN)) throw new Error(`no samples of ${of} or ${to}`);
  const at = (share: number): number => ratios[Math.round(share * (ratios.length - 1))] ?? Number.NaN;
  const quartiles = { low: at(0.25), high: at(0.75) };
  return {
    of,
    to,
    ofMs: median(ofMs),
    toMs: median(toMs),
    ratio: at(0.5),
    ...quartiles,
    rounds: ratios.length,
    ...gate,
  };
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN;
}

/** A program to compare with is not installed: a bench without it would look complete and would not be. */
export class MissingPeer extends Error {}

/**
 * The first line of what `command` prints about its version.
 * @param debian - the package that has it
 * @param status - with which it ends; wrk calls it a failure to have told its version
 * @throws MissingPeer - it is not there, or does not run
 */
export function needPeer(command: string, debian: string, args: readonly string[] = ["--version"], status = 0): string {
  const run = spawnSync(command, args, { encoding: "utf8" });
  if (run.error !== undefined || run.status !== status) {
    throw new MissingPeer(`${command} is needed to compare with; install the Debian package ${debian}`);
  }
  const lines = `${run.stdout}${run.stderr}`.trim().split("\n");
  const first = lines[0] ?? command;
  return first.endsWith(":") ? `${first} ${lines[1]?.trim() ?? ""}` : first; // ostree gives its version on a second line
}
