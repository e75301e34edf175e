// SPDX-License-Identifier: Apache-2.0
/**
 * Writing the local index: a first build from the ref tree, small runs of what is new, and merges that keep their number
 * low. Layer: repo. Format: docs/format.md, "The local index".
 *
 * Locking: none. A part is linked to its name, which one writer can do; the others drop theirs. Crash: leaves a file in
 * local/tmp, or parts of a merge that the next writer goes on with.
 */

import { passOthers } from "../../base/errors.ts";
import { namesIn } from "../../objects/layout.ts";
import type { HeadView } from "../../refs/head-view.ts";
import type { Store } from "../store.ts";
import { type Entries, EntryStream, fromArray, merged, presentOnly } from "./entries.ts";
import type { Entry } from "./keys.ts";
import type { PageCodec } from "./pages.ts";
import { INDEX_FOLDER, openPart, type PartName, partPath, type RunFacts, writePart } from "./run-file.ts";
import { completeRuns, listParts, type Run, runEntries, UNUSABLE } from "./runs.ts";
import { treeKeys } from "./tree-keys.ts";

/** How much is done at a time; smaller in tests. */
export interface Sizes {
  /** Keys in one part of a run. */
  readonly partKeys?: number;
  /** Keys that are sorted in memory. */
  readonly sortedKeys?: number;
}

/** Fewer runs than this are left as they are. */
const LEAST_MERGED = 4;

/** Builds the whole index from the ref tree of `head`. */
export async function buildIndex(store: Store, codec: PageCodec, head: HeadView, sizes: Sizes = {}): Promise<void> {
  await dropIndex(store);
  const source = await EntryStream.open(treeKeys(store, codec, head, sizes.sortedKeys));
  await writeParts(store, codec, { from: 0, to: head.number, head: head.id }, { part: 0 }, source, sizes);
}

/** Removes every file of the index: it is made again from the log and the tree. */
export async function dropIndex(store: Store): Promise<void> {
  for (const name of await namesIn(store.files, INDEX_FOLDER)) await store.files.remove(`${INDEX_FOLDER}/${name}`);
}

/** Writes what the entries after the last run changed as a run of its own. @param changes - sorted by key */
export async function addRun(
  store: Store,
  codec: PageCodec,
  last: Run | undefined,
  head: HeadView,
  changes: readonly Entry[],
): Promise<void> {
  const base = last === undefined ? {} : { base: last.head };
  const run = { from: last?.to ?? 0, to: head.number, head: head.id, ...base };
  const source = await EntryStream.open(fromArray(changes));
  await writeParts(store, codec, run, { part: 0 }, source);
}

/** @param most - parts to write now; the others are left to the next writers */
async function writeParts(
  store: Store,
  codec: PageCodec,
  run: RunFacts,
  start: { readonly part: number; readonly after?: string },
  source: EntryStream,
  { partKeys, most = Number.POSITIVE_INFINITY }: Sizes & { readonly most?: number } = {},
): Promise<void> {
  let position: { readonly part: number; readonly after?: string } | undefined = start;
  for (let count = 0; position !== undefined && count < most; count += 1) {
    const written: Awaited<ReturnType<typeof writePart>> = await writePart(
      store,
      codec,
      run,
      position,
      source,
      partKeys,
    );
    if (written === undefined || written.last || written.until === undefined) return;
    position = { part: written.part + 1, after: written.until };
  }
}

/**
 * One step of tidying: removes what a merged run has replaced, or writes one part of a merge. So no act pays for more
 * than one part, however large the index is.
 */
export async function tidyRuns(store: Store, codec: PageCodec, runs: readonly Run[], sizes: Sizes = {}): Promise<void> {
  const parts = await listParts(store);
  const replaced = parts.filter((part) => isReplaced(part, parts));
  for (const part of replaced) await store.files.remove(partPath(part));
  const left = parts.filter((part) => !replaced.includes(part));
  const begun = begunMerge(left, runs);
  const inputs = begun ?? mergeDue(runs);
  if (inputs !== undefined) await mergeStep(store, codec, inputs, left, sizes);
}

/** True if a complete run covers more than this file's run does, and all of it. */
function isReplaced(part: PartName, parts: readonly PartName[]): boolean {
  return completeRuns(parts).some(
    ({ from, to }) => from <= part.from && to >= part.to && to - from > part.to - part.from,
  );
}

/**
 * The longest end of the chain in which what is newer is as much as the oldest of it. So a key is written anew only
 * when as much has come, and a chain of n keys has some log2(n) runs.
 */
export function mergeDue<T extends { readonly keys: number }>(runs: readonly T[]): readonly T[] | undefined {
  for (let at = 0; at + LEAST_MERGED <= runs.length; at += 1) {
    const [oldest, ...newer] = runs.slice(at);
    if (oldest !== undefined && newer.reduce((sum, { keys }) => sum + keys, 0) >= oldest.keys) return runs.slice(at);
  }
  return undefined;
}

/** Runs that some parts of a merge are there for. */
function begunMerge(parts: readonly PartName[], runs: readonly Run[]): readonly Run[] | undefined {
  const complete = completeRuns(parts);
  for (const { from, to } of parts) {
    if (complete.some((run) => run.from === from && run.to === to)) continue;
    const inputs = runs.filter((run) => run.from >= from && run.to <= to);
    if (inputs.length > 1 && inputs[0]?.from === from && inputs.at(-1)?.to === to) return inputs;
  }
  return undefined;
}

async function mergeStep(
  store: Store,
  codec: PageCodec,
  inputs: readonly Run[],
  parts: readonly PartName[],
  sizes: Sizes,
): Promise<void> {
  const [oldest, newest] = [inputs[0], inputs.at(-1)];
  if (oldest === undefined || newest === undefined) return;
  const run = { from: oldest.from, to: newest.to, head: newest.head, ...(oldest.base && { base: oldest.base }) };
  const start = await positionOf(store, codec, run, parts);
  if (start === undefined) return;
  const sources = inputs.toReversed().map((input) => runEntries(input, start.after));
  const all = merged(sources);
  const wanted = run.from === 0 ? presentOnly(all) : all;
  const source = await EntryStream.open(start.after === undefined ? wanted : afterKey(wanted, start.after));
  await writeParts(store, codec, run, start, source, { ...sizes, most: 1 });
}

async function* afterKey(source: Entries, after: string): Entries {
  for await (const batch of source) yield batch.filter(({ key }) => key > after);
}

/** Where a begun merge goes on; undefined after removing a part that cannot be used. */
async function positionOf(
  store: Store,
  codec: PageCodec,
  { from, to, head }: RunFacts,
  parts: readonly PartName[],
): Promise<{ readonly part: number; readonly after?: string } | undefined> {
  const begun = parts.filter((part) => part.from === from && part.to === to).sort((a, b) => a.part - b.part);
  const name = begun.at(-1);
  if (name === undefined) return { part: 0 };
  const whole = begun.every(({ part, last }, at) => part === at && !last);
  const part = whole ? await openPartOr(store, codec, name) : undefined;
  if (part !== undefined) await part.file.close();
  const until = part?.footer.head === head ? part.footer.until : undefined;
  if (until !== undefined) return { part: name.part + 1, after: until };
  for (const one of begun) await store.files.remove(partPath(one));
  return undefined;
}

async function openPartOr(store: Store, codec: PageCodec, name: PartName) {
  try {
    return await openPart(store.files, codec, name, store);
  } catch (error) {
    passOthers(error, ...UNUSABLE);
    return undefined; // the caller takes the merge back
  }
}
