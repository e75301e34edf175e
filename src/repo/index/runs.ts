// SPDX-License-Identifier: Apache-2.0
/**
 * Which runs of the local index make a whole: a chain from the first log entry on, each part verified, the end of it on
 * this log. Layer: repo. Not here: writing runs (upkeep.ts), what is newer than they are (names.ts).
 */

import { CofferError, passOthers } from "../../base/errors.ts";
import { namesIn } from "../../objects/layout.ts";
import type { HeadView } from "../../refs/head-view.ts";
import type { Store } from "../store.ts";
import type { Entries } from "./entries.ts";
import type { PageCodec } from "./pages.ts";
import {
  INDEX_FOLDER,
  openPart,
  type Part,
  type PartName,
  parsePartName,
  partPath,
  type RunFacts,
} from "./run-file.ts";

/** Times that the folder is looked at again because a file of it went away between listing and opening. */
const TRIES = 8;

/** Whatever a disk answers to a call on a file of the index. */
export const DISK_FAULTS = ["IO_ERROR", "NO_SPACE", "READ_ONLY"] as const;
/** What makes a file of the index unusable. It can be done without, so a fault of the disk is no more than that. */
export const UNUSABLE = ["CORRUPT", ...DISK_FAULTS] as const;

export interface Run extends RunFacts {
  readonly parts: readonly Part[];
  readonly keys: number;
}

/** An index that can be read: must be closed. */
export interface RunChain {
  /** From the oldest to the newest; empty if there is no usable index. */
  readonly runs: readonly Run[];
  /** What lies in the folder and cannot be used here, with why. */
  readonly faults: ReadonlyMap<string, string>;
}

export async function listParts(store: Store): Promise<PartName[]> {
  const names = await namesIn(store.files, INDEX_FOLDER);
  return names.map(parsePartName).filter((name) => name !== undefined);
}

/** They were only read: a close that fails loses nothing. */
export async function closeRuns(runs: readonly Run[]): Promise<void> {
  await Promise.allSettled(runs.flatMap(({ parts }) => parts.map(({ file }) => file.close())));
}

/** Entries of a run from the key `from` on, over its parts. @throws CofferError CORRUPT */
export async function* runEntries({ parts }: Run, from = ""): Entries {
  for (const { footer, tree } of parts) {
    if (footer.until !== undefined && footer.until < from) continue;
    yield* tree.entries(from);
  }
}

/**
 * The chain that reaches furthest without going past `head`.
 * What is wrong with a file of the index is told in `faults`.
 */
export async function openChain(store: Store, codec: PageCodec, head: HeadView): Promise<RunChain> {
  const faults = new Map<string, string>();
  try {
    for (let attempt = 1; attempt <= TRIES; attempt += 1) {
      const found = await tryChain(store, codec, head, faults);
      if (found !== undefined) return { runs: found, faults };
    }
  } catch (error) {
    passOthers(error, ...UNUSABLE);
    return { runs: [], faults: faults.set(INDEX_FOLDER, error.message) };
  }
  return { runs: [], faults: faults.set(INDEX_FOLDER, "its files kept going away while they were opened") };
}

/** undefined: look again. A run that is at fault is left out of the next choice. */
async function tryChain(
  store: Store,
  codec: PageCodec,
  head: HeadView,
  faults: Map<string, string>,
): Promise<Run[] | undefined> {
  const opened = new Map<string, Run>();
  const groups = completeRuns(await listParts(store)).filter(({ to }) => to <= head.number);
  try {
    for (;;) {
      const usable = groups.filter(({ parts }) => !parts.some((part) => faults.has(partPath(part))));
      const chosen = choose(usable);
      const chain: Run[] = [];
      for (const group of chosen) {
        const run = opened.get(spanOf(group)) ?? (await openRun(store, codec, group, faults));
        if (run === "gone") return undefined;
        if (run === "at fault") break;
        opened.set(spanOf(group), run);
        chain.push(run);
      }
      if (chain.length === chosen.length && (await standsOn(store, head, chain, faults))) {
        for (const run of chain) opened.delete(spanOf(run));
        return chain;
      }
    }
  } finally {
    await closeRuns([...opened.values()]);
  }
}

interface Group {
  readonly from: number;
  readonly to: number;
  readonly parts: readonly PartName[];
}

function spanOf({ from, to }: { readonly from: number; readonly to: number }): string {
  return `${from}-${to}`;
}

/** Runs of which all parts are there. */
export function completeRuns(names: readonly PartName[]): Group[] {
  const groups = new Map<string, PartName[]>();
  for (const name of names) groups.set(spanOf(name), [...(groups.get(spanOf(name)) ?? []), name]);
  return [...groups.values()].flatMap((parts) => {
    parts.sort((a, b) => a.part - b.part);
    const [first] = parts;
    const whole = parts.every(({ part, last }, at) => part === at && last === (at === parts.length - 1));
    return first !== undefined && whole && first.from < first.to ? [{ from: first.from, to: first.to, parts }] : [];
  });
}

/** From 0 as far as it goes; of those that go as far, the one with the fewest runs. */
function choose(groups: readonly Group[]): Group[] {
  const best = new Map<number, Group[]>([[0, []]]);
  let furthest: Group[] = [];
  for (const group of groups.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    const before = best.get(group.from);
    if (before === undefined) continue;
    const chain = [...before, group];
    if (chain.length < (best.get(group.to)?.length ?? Number.POSITIVE_INFINITY)) best.set(group.to, chain);
    if (group.to >= (furthest.at(-1)?.to ?? 0)) furthest = best.get(group.to) ?? chain;
  }
  return furthest;
}

async function openRun(
  store: Store,
  codec: PageCodec,
  group: Group,
  faults: Map<string, string>,
): Promise<Run | "gone" | "at fault"> {
  const parts: Part[] = [];
  let path = INDEX_FOLDER;
  let kept = false;
  try {
    for (const name of group.parts) {
      path = partPath(name);
      const part = await openPart(store.files, codec, name, store);
      if (part === undefined) return "gone";
      const before = parts.at(-1);
      parts.push(part);
      expectNext(before, part);
    }
    const [first] = parts;
    /* c8 ignore next: for the types alone; only a fault of this program leads here */
    if (first === undefined) throw new CofferError("INTERNAL", "a run without parts");
    const { from, to, base, head } = first.footer;
    const keys = parts.reduce((sum, { footer }) => sum + footer.keys, 0);
    kept = true;
    return { from, to, head, ...(base === undefined ? {} : { base }), parts, keys };
  } catch (error) {
    passOthers(error, ...UNUSABLE);
    faults.set(path, error.message);
    return "at fault";
  } finally {
    if (!kept) await Promise.allSettled(parts.map(({ file }) => file.close()));
  }
}

/** Between two parts no key may be left out. */
function expectNext(before: Part | undefined, { footer }: Part): void {
  const one = before?.footer;
  const follows = footer.after === one?.until;
  if (follows && (one === undefined || (one.head === footer.head && one.base === footer.base))) return;
  throw new CofferError("CORRUPT", "expected to go on where the part before ended, found another beginning");
}

/** Each run must begin at the entry at which the one before ended, and the last must end on this log. */
async function standsOn(
  store: Store,
  head: HeadView,
  chain: readonly Run[],
  faults: Map<string, string>,
): Promise<boolean> {
  let before: Run | undefined;
  for (const run of chain) {
    if (run.base !== before?.head) {
      blame(run, "it follows another log than the run before it", faults);
      return false;
    }
    before = run;
  }
  if (before === undefined) return true;
  const id = before.to === head.number ? head.id : (await store.log.readEntry(before.to))?.id;
  if (id === before.head) return true;
  blame(before, "it was made on another log: was an older copy of the store put back?", faults);
  return false;
}

function blame(run: Run, why: string, faults: Map<string, string>): void {
  for (const { name } of run.parts) faults.set(partPath(name), why);
}
