// SPDX-License-Identifier: Apache-2.0
/** Sorted entries as they flow between runs of the local index: batches in, one merged flow out. Layer: repo. */
import type { Entry } from "./keys.ts";

/** Sorted by key, each key once; a batch may be empty. */
export type Entries = AsyncIterable<readonly Entry[]>;

const BATCH = 512;
/** The first batch of a merged flow, each one after it twice as large: who looks for one key takes few. */
const FIRST_MERGED = 8;

/** One entry at a time, without a promise for each. */
export class EntryStream {
  readonly #source: AsyncIterator<readonly Entry[]>;
  #batch: readonly Entry[] = [];
  #at = 0;

  private constructor(source: Entries) {
    this.#source = source[Symbol.asyncIterator]();
  }

  static async open(source: Entries): Promise<EntryStream> {
    const stream = new EntryStream(source);
    await stream.#fill();
    return stream;
  }

  /** undefined at the end. */
  get current(): Entry | undefined {
    return this.#batch[this.#at];
  }

  /** Goes on by one; the promise, if there is one, must be awaited before `current` is read. */
  advance(): Promise<void> | undefined {
    this.#at += 1;
    return this.#at < this.#batch.length ? undefined : this.#fill();
  }

  async #fill(): Promise<void> {
    this.#at = 0;
    do {
      const next = await this.#source.next();
      this.#batch = next.done === true ? [] : next.value;
      if (next.done === true) return;
    } while (this.#batch.length === 0);
  }
}

/** All keys of `sources` in order; of a key that several hold, the entry of the first source, the newest. */
export async function* merged(sources: readonly Entries[]): AsyncGenerator<readonly Entry[]> {
  const streams = await Promise.all(sources.map((source) => EntryStream.open(source)));
  let batch: Entry[] = [];
  let full = FIRST_MERGED;
  for (;;) {
    let least: Entry | undefined;
    for (const { current } of streams) {
      if (current !== undefined && (least === undefined || current.key < least.key)) least = current;
    }
    if (least === undefined) break;
    batch.push(least);
    const { key } = least;
    for (const stream of streams) {
      if (stream.current?.key !== key) continue;
      const wait = stream.advance();
      if (wait !== undefined) await wait;
    }
    if (batch.length < full) continue;
    yield batch;
    batch = [];
    full = Math.min(2 * full, BATCH);
  }
  yield batch;
}

/** Only what is there: for the oldest run, below which nothing has to be hidden. */
export async function* presentOnly(source: Entries): AsyncGenerator<readonly Entry[]> {
  for await (const batch of source) yield batch.filter(({ present }) => present);
}

/** @param sorted - by key */
export async function* fromArray(sorted: readonly Entry[], from = ""): AsyncGenerator<readonly Entry[]> {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.key ?? "") < from) low = middle + 1;
    else high = middle;
  }
  for (let at = low; at < sorted.length; at += BATCH) yield sorted.slice(at, at + BATCH);
}

/** By key, and of equal keys the last that was given. */
export function sortedEntries(entries: ReadonlyMap<string, boolean>): Entry[] {
  return [...entries.keys()].sort().map((key) => ({ key, present: entries.get(key) === true }));
}
