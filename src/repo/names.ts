// SPDX-License-Identifier: Apache-2.0
/**
 * Names in order, and names by the bytes that they hold, without walking the ref tree: through the local index, with what
 * the log has added since laid over it. Layer: repo. Format: docs/format.md, "The local index".
 *
 * It says where to look and decides nothing: whoever asks reads each name anew through the ref tree. A name that it left
 * out would be missed, so an index that is not proven whole is not used; the tree is walked instead.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type Entries, EntryStream, fromArray, merged, presentOnly, sortedEntries } from "./index/entries.ts";
import {
  changesOf,
  type Depth,
  type Entry,
  holderPrefix,
  keyAfter,
  keysOfRef,
  type NameList,
  nameOfHolder,
  nameOfList,
} from "./index/keys.ts";
import { loadPageCodec, type PageCodec } from "./index/pages.ts";
import { INDEX_FOLDER } from "./index/run-file.ts";
import { closeRuns, DISK_FAULTS, openChain, type Run, type RunChain, runEntries, UNUSABLE } from "./index/runs.ts";
import { treeKeys } from "./index/tree-keys.ts";
import { addRun, buildIndex, dropIndex, tidyRuns } from "./index/upkeep.ts";
import type { Store } from "./store.ts";

/** Log entries, and changed keys, that may lie ahead of the index before an account that writes adds a run. */
const MOST_AHEAD = { entries: 64, keys: 2000 };
/** Below this many log entries the tree is small, or will soon be indexed by a commit. */
const SMALL_LOG = 64;
/** Further behind than this, walking the tree is as quick as reading the log. */
const MOST_REPLAYED = 4096;
/** Changes kept apart from what was walked. */
const MOST_OVERLAY = 10_000;

export interface NamesRequest {
  /** The first characters of the names' text; all names when left out. */
  readonly prefix?: string;
  /** Only names after this one. */
  readonly after?: string;
  readonly limit: number;
}

export class Names {
  readonly #store: Store;
  readonly #codec: PageCodec;
  readonly #mayWrite: boolean;
  /** What could not be used and what was done instead; for people. */
  readonly notes = new Set<string>();
  #runs: readonly Run[] = [];
  /** In place of runs: what a walk over the tree has found. */
  #walked: readonly Entry[] = [];
  #depth: Depth | "not walked" = "not walked";
  #overlay = new Map<string, boolean>();
  #sorted: readonly Entry[] | undefined;
  #head: { readonly number: number; readonly id: Digest; readonly view?: HeadView } | undefined;

  /** For `openNames` only. */
  constructor(store: Store, codec: PageCodec, mayWrite: boolean) {
    this.#store = store;
    this.#codec = codec;
    this.#mayWrite = mayWrite;
  }

  /** Keys that are looked at beside the index. */
  get aheadKeys(): number {
    return this.#overlay.size;
  }

  /** True if there is an index that is used. */
  get indexed(): boolean {
    return this.#runs.length > 0;
  }

  /** Names of a list, sorted, each once. @throws CofferError CORRUPT - the ref tree is damaged */
  list(list: NameList, { prefix = "", after, limit }: NamesRequest): Promise<Name[]> {
    const start = list + prefix;
    const from = after === undefined || keyAfter(list, after) < start ? start : keyAfter(list, after);
    return this.#look("names", from, start, limit, nameOfList);
  }

  /** Names whose trusted manifest is, or holds, `digest`; sorted. @throws CofferError CORRUPT - the ref tree is damaged */
  holders(digest: Digest): Promise<Name[]> {
    const prefix = holderPrefix(digest);
    return this.#look("all", prefix, prefix, Number.POSITIVE_INFINITY, nameOfHolder);
  }

  /** Trusted names of which nobody could read what they hold: they may hold anything. */
  unreadable(): Promise<Name[]> {
    return this.#look("all", "x", "x", Number.POSITIVE_INFINITY, nameOfList);
  }

  async #look(depth: Depth, from: string, prefix: string, limit: number, read: (key: string) => Name): Promise<Name[]> {
    if (!this.indexed) await this.#walk(depth);
    try {
      return await this.#collect(from, prefix, limit, read);
    } catch (error) {
      if (!this.indexed || !isCofferError(error, ...UNUSABLE)) throw error;
      await this.#giveUp(error.message);
      await this.#walk(depth);
      return this.#collect(from, prefix, limit, read);
    }
  }

  async #collect(from: string, prefix: string, limit: number, read: (key: string) => Name): Promise<Name[]> {
    const found = new Map<string, Name>();
    for await (const batch of this.#entries(from)) {
      for (const { key, present } of batch) {
        if (!key.startsWith(prefix)) return [...found.values()];
        if (!present) continue;
        const name = read(key);
        if (found.size >= limit && !found.has(name.text)) return [...found.values()];
        found.set(name.text, name);
      }
    }
    return [...found.values()];
  }

  #entries(from: string): Entries {
    this.#sorted ??= sortedEntries(this.#overlay);
    const runs = this.#runs.toReversed().map((run) => runEntries(run, from));
    return merged([fromArray(this.#sorted, from), fromArray(this.#walked, from), ...runs]);
  }

  /**
   * Goes on to `head`. A request that began on a head before may still ask: it then misses what fell since.
   * @throws CofferError CORRUPT - the log is damaged; LOG_BEHIND_MEMORY - `head` is in it no more
   */
  async follow(head: HeadView): Promise<void> {
    const before = this.#head;
    if (before === undefined || head.number <= before.number) {
      this.#head ??= { number: head.number, id: head.id, view: head };
      return;
    }
    if (this.indexed || this.#depth !== "not walked") await this.#replay(before, head);
    this.#head = { number: head.number, id: head.id, view: head };
  }

  /** From the newest entry down, for each names the one before by its id: what is found first for a key is what holds. */
  async #replay(before: { readonly number: number; readonly id: Digest }, head: HeadView): Promise<void> {
    const depth = this.#depth === "names" ? "names" : "all";
    const { log } = this.#store;
    const newest = new Map<string, boolean>();
    for await (const { facts } of log.entriesBack(await log.readKnown({ number: head.number, head: head.id }))) {
      for (const move of facts.moves.toReversed()) {
        for (const { key, present } of (await changesOf(this.#store, move, depth)).toReversed()) {
          if (!newest.has(key)) newest.set(key, present);
        }
      }
      if (facts.number > before.number + 1) continue;
      if (facts.previous === before.id) break;
      throw new CofferError("CORRUPT", `log entry ${facts.number}: follows another`);
    }
    for (const [key, present] of newest) this.#overlay.set(key, present);
    this.#sorted = undefined;
    if (!this.indexed && this.#overlay.size > MOST_OVERLAY) await this.#walk(depth, true);
  }

  /** In place of the index: all keys in memory. */
  async #walk(depth: Depth, again = false): Promise<void> {
    if (!again && (this.#depth === "all" || this.#depth === depth)) return;
    const head = this.#head?.view;
    /* c8 ignore next: for the types alone; only a fault of this program leads here */
    if (head === undefined) throw new CofferError("INTERNAL", "names were asked for before a head was given");
    const keys = new Set<string>();
    for await (const [ref, id] of head.listRefs()) {
      for (const key of await keysOfRef(this.#store, ref, id, depth)) keys.add(key);
    }
    this.#walked = [...keys].sort().map((key) => ({ key, present: true }));
    this.#depth = depth;
    this.#overlay = new Map();
    this.#sorted = undefined;
  }

  /** The index has failed while it was read; an account that writes takes it away, so that the next one builds it. */
  async #giveUp(why: string): Promise<void> {
    await this.close();
    this.#overlay = new Map();
    this.#sorted = undefined;
    this.notes.add(`the local index could not be read (${why}); the tree of refs was walked instead`);
    if (this.#mayWrite) await keepGoing(this, () => dropIndex(this.#store));
  }

  /**
   * How the keys differ from those of the tree, if they do. A holder that nobody could take back is no difference.
   * @param wanted - all keys of the tree, sorted
   */
  async differences(wanted: Entries): Promise<string[]> {
    let missing = 0;
    let tooMany = 0;
    let broken: string | undefined;
    const keys = orUntil(presentOnly(this.#entries("")), (why) => {
      broken = why;
    });
    const [here, there] = [await EntryStream.open(keys), await EntryStream.open(wanted)];
    for (let [one, other] = [here.current, there.current]; one ?? other; [one, other] = [here.current, there.current]) {
      const isMissing = one === undefined || (other !== undefined && other.key < one.key);
      const isExtra = other === undefined || (one !== undefined && one.key < other.key);
      if (isMissing) missing += 1;
      if (isExtra && one?.key.startsWith("h") === false) tooMany += 1;
      if (!isMissing) await here.advance();
      if (!isExtra) await there.advance();
    }
    if (broken !== undefined) return [`${INDEX_FOLDER}: ${broken}`];
    const counted = [missing > 0 && `lacks ${missing} keys`, tooMany > 0 && `has ${tooMany} keys too many`];
    return counted.filter((text) => text !== false).map((text) => `${INDEX_FOLDER}: ${text}`);
  }

  /** For `openNames` only: reads on from where a chain of runs ends. */
  async start(chain: RunChain, head: HeadView): Promise<void> {
    this.#runs = chain.runs;
    for (const [path, why] of chain.faults) this.notes.add(`${path} is not used: ${why}`);
    const last = chain.runs.at(-1);
    if (last !== undefined) this.#head = { number: last.to, id: last.head };
    await this.follow(head);
    this.#head = { number: head.number, id: head.id, view: head };
  }

  /** Adds a run with what lies ahead, and does one step of tidying. */
  async flush(head: HeadView): Promise<void> {
    const { number } = head;
    const last = this.#runs.at(-1);
    if (last === undefined || last.to >= number) return;
    await addRun(this.#store, this.#codec, last, head, sortedEntries(this.#overlay));
    const chain = await openChain(this.#store, this.#codec, head);
    await this.close();
    this.#overlay = new Map();
    this.#sorted = undefined;
    await this.start(chain, head);
    await tidyRuns(this.#store, this.#codec, this.#runs);
  }

  /** How many log entries lie ahead of the index. */
  aheadEntries(): number {
    const last = this.#runs.at(-1);
    return last === undefined ? 0 : (this.#head?.number ?? 0) - last.to;
  }

  /** Closes the files of the index. */
  async close(): Promise<void> {
    const runs = this.#runs;
    this.#runs = [];
    await closeRuns(runs);
  }
}

/** Ends where the index cannot be read on, and tells why. */
async function* orUntil(source: Entries, tell: (why: string) => void): Entries {
  try {
    yield* source;
  } catch (error) {
    passOthers(error, ...UNUSABLE);
    tell(error.message);
  }
}

/**
 * Names as of `head`; must be closed. An account that may write builds the index where there is none that can be used,
 * and adds to it where it has fallen behind; what keeps it from that is told in `notes`, and the tree is walked.
 *
 * @throws CofferError CORRUPT - the log or the ref tree is damaged
 */
export async function openNames(store: Store, head: HeadView, options: { readonly mayWrite: boolean }): Promise<Names> {
  const codec = await loadPageCodec();
  const mayWrite = options.mayWrite && !store.readOnly;
  const names = new Names(store, codec, mayWrite);
  let chain = await openChain(store, codec, head);
  if (isFarBehind(chain, head)) {
    await closeRuns(chain.runs);
    chain = { runs: [], faults: chain.faults };
    if (mayWrite) await keepGoing(names, () => buildIndex(store, codec, head));
    if (mayWrite) chain = { runs: (await openChain(store, codec, head)).runs, faults: chain.faults };
  }
  await names.start(chain, head);
  const ahead = names.aheadEntries() > MOST_AHEAD.entries || names.aheadKeys > MOST_AHEAD.keys;
  if (mayWrite && names.indexed && ahead) await keepGoing(names, () => names.flush(head));
  return names;
}

function isFarBehind({ runs }: RunChain, head: HeadView): boolean {
  const last = runs.at(-1);
  return last === undefined ? head.number > SMALL_LOG : head.number - last.to > MOST_REPLAYED;
}

/** Whoever only asks gets an answer although the index could not be written. */
async function keepGoing(names: Names, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    passOthers(error, ...DISK_FAULTS);
    names.notes.add(`the local index could not be written: ${error.message}`);
  }
}

/**
 * Compares the index with the ref tree, key by key. An account that writes builds a new one where they differ.
 * @returns what is wrong with it, for people; nothing where there is no index, which is no fault
 * @throws CofferError CORRUPT - the log or the ref tree is damaged; NO_SPACE, IO_ERROR
 */
export async function checkIndex(store: Store, head: HeadView): Promise<{ faults: string[]; rebuilt: boolean }> {
  const codec = await loadPageCodec();
  const names = new Names(store, codec, false);
  const faults: string[] = [];
  try {
    const chain = await openChain(store, codec, head);
    for (const [path, why] of chain.faults) faults.push(`${path}: ${why}`);
    await names.start(chain, head);
    if (names.indexed) faults.push(...(await names.differences(treeKeys(store, codec, head))));
  } finally {
    await names.close();
  }
  if (faults.length === 0 || store.readOnly) return { faults, rebuilt: false };
  await buildIndex(store, codec, head);
  return { faults, rebuilt: true };
}

/** Up to this many log entries a commit begins an index; in a larger store the first account that asks for names does. */
const LARGEST_BEGUN = 1024;

/** After a commit: adds a run, or begins an index while the store is small. @throws CofferError NO_SPACE, IO_ERROR, CORRUPT */
export async function tendIndex(store: Store, head: HeadView): Promise<void> {
  const codec = await loadPageCodec();
  const chain = await openChain(store, codec, head);
  const last = chain.runs.at(-1);
  if (last === undefined || head.number - last.to > MOST_REPLAYED) {
    await closeRuns(chain.runs);
    if (last === undefined && head.number <= LARGEST_BEGUN) await buildIndex(store, codec, head);
    return;
  }
  const names = new Names(store, codec, true);
  try {
    await names.start(chain, head);
    await names.flush(head);
  } finally {
    await names.close();
  }
}
