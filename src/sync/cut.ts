// SPDX-License-Identifier: Apache-2.0
/**
 * From a plan to an index: large blobs become parts, items are dealt to volumes in their order, none over its size.
 * Layer: sync. Pure: the same plan and size give the same bytes. Format: docs/format.md, "Volumes".
 */
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { armorSshsig } from "../keys/sshsig.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { type BundleIndex, makeBundleIndex } from "./bundle-index.ts";
import { type Item, itemPath, MOST_PARTS } from "./source.ts";
import type { Spare } from "./spare.ts";
import { END_BYTES, memberBytes } from "./tar.ts";
import { NOTE_BYTES } from "./volume-note.ts";

export type Uncut = Omit<BundleIndex, "segmentBytes" | "volumes">;

/** So many parts of blobs fit a volume at least, so that little of it stays empty. */
const PARTS_IN_VOLUME = 16;

/**
 * @param volumeBytes - what a volume has at most; one volume of any size when left out
 * @param spare - chunks that stay here; parts are small where there are any, so that little travels beside what changed
 * @throws CofferError LIMIT_EXCEEDED - the index and the largest item do not fit one volume together, or there are too many
 */
export function cutBundle(uncut: Uncut, volumeBytes?: number, spare: Spare = new Map()): Stored<BundleIndex> {
  const most = segmentBytesFor(volumeBytes);
  const segmentBytes = spare.size === 0 ? most : Math.min(most, smallestSegment(uncut.items));
  const isSpare = (item: Item): boolean => item.kind === "blob" && staysHere(item, segmentBytes, spare.get(item.blob));
  const items = uncut.items.flatMap((item) => partsOf(item, segmentBytes)).filter((item) => !isSpare(item));
  const made = (volumes: readonly number[]): Stored<BundleIndex> =>
    makeBundleIndex({ ...uncut, items, segmentBytes, volumes });
  let index = made([items.length]);
  if (volumeBytes === undefined) return index;
  // The index lies in every volume and says how many there are: it grows until it fits what it says.
  for (let indexBytes = index.bytes.length; ; indexBytes = index.bytes.length) {
    const volumes = deal(items, volumeBytes, overheadBytes(uncut, indexBytes));
    index = made(volumes);
    if (index.bytes.length <= indexBytes) return index;
  }
}

/** A sixteenth of a volume, in whole chunks, at most 1 GiB. */
function segmentBytesFor(volumeBytes: number | undefined): number {
  if (volumeBytes === undefined) return LIMITS.segmentBytes;
  const chunks = Math.floor(volumeBytes / PARTS_IN_VOLUME / LIMITS.chunkBytes);
  return Math.min(LIMITS.segmentBytes, Math.max(1, chunks) * LIMITS.chunkBytes);
}

/** One chunk, or as many as it takes to keep the numbers of parts and items within their limits. */
function smallestSegment(items: readonly Item[]): number {
  const sizes = items.map((item) => (item.kind === "blob" ? item.sizeBytes : 0));
  const all = sizes.reduce((sum, size) => sum + size, 0);
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const least = Math.max(largest / MOST_PARTS, all / (LIMITS.bundleItems / 2));
  return Math.max(1, Math.ceil(least / LIMITS.chunkBytes)) * LIMITS.chunkBytes;
}

/** True if all chunks of a part are spare. */
function staysHere(
  { part = 0, sizeBytes }: Item & { readonly kind: "blob" },
  segmentBytes: number,
  spare: ReadonlySet<number> | undefined,
): boolean {
  if (spare === undefined) return false;
  const first = (part * segmentBytes) / LIMITS.chunkBytes;
  const count = Math.ceil(sizeBytes / LIMITS.chunkBytes);
  return Array.from({ length: count }, (_, at) => first + at).every((chunk) => spare.has(chunk));
}

/** A blob that is over the size, in parts. @throws CofferError LIMIT_EXCEEDED */
export function partsOf(item: Item, segmentBytes: number): readonly Item[] {
  if (item.kind !== "blob" || item.sizeBytes <= segmentBytes) return [item];
  const count = Math.ceil(item.sizeBytes / segmentBytes);
  if (count > MOST_PARTS) {
    throw new CofferError("LIMIT_EXCEEDED", `${itemPath(item)}: expected at most ${MOST_PARTS} parts, found ${count}`);
  }
  return Array.from({ length: count }, (_, part) => ({
    ...item,
    part,
    sizeBytes: Math.min(segmentBytes, item.sizeBytes - part * segmentBytes),
  }));
}

/** What every volume has beside its items. */
export function overheadBytes({ storeKey }: Pick<BundleIndex, "storeKey">, indexBytes: number): number {
  // All signatures of a kind have one length.
  const armored = armorSshsig({ publicKey: storeKey, namespace: "coffer-bundle", signature: new Uint8Array(64) });
  return memberBytes(indexBytes) + memberBytes(armored.length) + memberBytes(NOTE_BYTES) + END_BYTES;
}

/** How many items each volume takes, filled one after the other. */
function deal(items: readonly Item[], volumeBytes: number, overhead: number): readonly number[] {
  const volumes: number[] = [];
  let count = 0;
  let bytes = overhead;
  for (const item of items) {
    const needed = memberBytes(item.sizeBytes);
    if (overhead + needed > volumeBytes) {
      throw new CofferError(
        "LIMIT_EXCEEDED",
        `volume size: expected at least ${overhead + needed} bytes for this bundle`,
      );
    }
    if (bytes + needed > volumeBytes) {
      volumes.push(count);
      [count, bytes] = [0, overhead];
    }
    count += 1;
    bytes += needed;
  }
  volumes.push(count);
  if (volumes.length <= LIMITS.bundleVolumes) return volumes;
  throw new CofferError("LIMIT_EXCEEDED", `expected at most ${LIMITS.bundleVolumes} volumes, found ${volumes.length}`);
}

/** The items of volume `number`. @throws CofferError USAGE - there is no such volume */
export function itemsOfVolume({ items, volumes }: BundleIndex, number: number): readonly Item[] {
  const count = volumes[number - 1];
  if (count === undefined) throw new CofferError("USAGE", `volume ${number}: expected one from 1 to ${volumes.length}`);
  const first = volumes.slice(0, number - 1).reduce((sum, one) => sum + one, 0);
  return items.slice(first, first + count);
}
