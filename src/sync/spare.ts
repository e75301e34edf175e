// SPDX-License-Identifier: Apache-2.0
/**
 * Which chunks of new blobs the receiver has already, inside older blobs that its receipt names: these stay here.
 * Layer: sync. Reads chunk lists only. Who fills the gaps: repo/import/gaps.ts.
 */
import { type Digest, digestFromBytes } from "../base/digest.ts";
import type { BlobClaim } from "../objects/blob-store.ts";
import type { ObjectReader } from "../objects/object-store.ts";

const ID_BYTES = 32;

/** Numbers of chunks, by blob. */
export type Spare = ReadonlyMap<Digest, ReadonlySet<number>>;

/** The chunk hashes in the bytes of a chunk list, first chunk first. */
export function* chunkHashes(list: Uint8Array): Generator<Digest> {
  for (let at = 0; at + ID_BYTES <= list.length; at += ID_BYTES)
    yield digestFromBytes(list.subarray(at, at + ID_BYTES));
}

/**
 * @param wanted - blobs that travel; those without a chunk list travel whole
 * @param bases - chunk lists of blobs that the receiver has; one that is not here is passed over
 */
export async function findSpare(
  objects: ObjectReader,
  wanted: Iterable<BlobClaim>,
  bases: ReadonlySet<Digest>,
): Promise<Spare> {
  const lists: (readonly [Digest, readonly Digest[]])[] = [];
  for (const { sha256, chunks } of wanted) {
    const list = chunks === undefined ? undefined : await objects.read(chunks);
    if (list !== undefined) lists.push([sha256, [...chunkHashes(list)]]);
  }
  const asked = new Set(lists.flatMap(([, hashes]) => hashes));
  const held = new Set<Digest>();
  for (const id of asked.size === 0 ? [] : bases) {
    for (const hash of chunkHashes((await objects.read(id)) ?? new Uint8Array())) if (asked.has(hash)) held.add(hash);
  }
  const spare = new Map<Digest, ReadonlySet<number>>();
  for (const [blob, hashes] of lists) {
    const numbers = hashes.flatMap((hash, number) => (held.has(hash) ? [number] : []));
    if (numbers.length > 0) spare.set(blob, new Set(numbers));
  }
  return spare;
}
