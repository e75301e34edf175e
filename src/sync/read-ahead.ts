// SPDX-License-Identifier: Apache-2.0
/**
 * A source that can be read once, as a pipe, made fit for a look at its first items before all of it is read. Layer: sync.
 */
import { CofferError } from "../base/errors.ts";
import type { Item, Parcel, Source } from "./source.ts";

/** Policies come first, and each of them is a document. */
const MOST_KEPT_BYTES = 16 * 1024 * 1024;

interface Kept {
  readonly item: Item;
  readonly bytes: Uint8Array;
}

/**
 * `source`, to be read twice: what the first reading takes is kept in memory, and the second begins with that and goes on
 * where the first one ended. Their parcels come in turn, never side by side.
 *
 * @returns a source whose first reading throws CofferError BUNDLE_INVALID once over 16 MiB are kept
 */
export function aheadOf(source: Source): Source {
  const kept: Kept[] = [];
  const rest = source.parcels(() => true)[Symbol.asyncIterator]();
  let [readings, keptBytes] = [0, 0];

  async function* ahead(wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      const { item } = next.value;
      keptBytes += item.sizeBytes;
      if (keptBytes > MOST_KEPT_BYTES) {
        throw new CofferError("BUNDLE_INVALID", "expected the policy before all else, found other items");
      }
      const pieces: Uint8Array[] = [];
      for await (const piece of next.value.read()) pieces.push(Uint8Array.from(piece));
      const one = { item, bytes: Buffer.concat(pieces) };
      kept.push(one);
      if (wants(item)) yield parcelOf(one);
    }
  }

  async function* whole(wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    for (const one of kept) if (wants(one.item)) yield parcelOf(one);
    kept.length = 0;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      if (wants(next.value.item)) yield next.value;
    }
  }

  const parcels = (wants: (item: Item) => boolean): AsyncIterable<Parcel> => {
    readings += 1;
    if (readings > 2) throw new CofferError("INTERNAL", "a pipe is read twice at most");
    return readings === 1 ? ahead(wants) : whole(wants);
  };
  return { ...source, parcels };
}

function parcelOf({ item, bytes }: Kept): Parcel {
  return {
    item,
    async *read() {
      yield await Promise.resolve(bytes);
    },
  };
}
