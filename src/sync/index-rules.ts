// SPDX-License-Identifier: Apache-2.0
/**
 * What must hold between the members of a bundle's index: one small function for each rule.
 * Layer: sync. Format: docs/format.md, "Bundles". Not here: the form of each member (bundle-index.ts).
 */
import type { Digest } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import type { BundleIndex, BundleName } from "./bundle-index.ts";
import { earlierNumbers } from "./log-points.ts";
import type { Rule } from "./rule.ts";
import { type Item, itemPath } from "./source.ts";

type IndexRule = Rule<BundleIndex>;

const hasPolicy: IndexRule = ({ policies }) =>
  policies.length > 0 && new Set(policies).size === policies.length
    ? undefined
    : "expected a chain of policies, each version once";

const earlierIsWhole: IndexRule = ({ log }) => {
  const found = log.earlier.map(({ number }) => number);
  const expected = earlierNumbers(log.number, found);
  const isSame = found.length === expected.length && found.every((number, at) => number === expected[at]);
  return isSame ? undefined : `expected the earlier entries that entry ${log.number} asks for, largest first`;
};

const stateFitsHeads: IndexRule = ({ names }) => {
  const wrong = names.find((entry) => !isFitting(entry));
  return wrong && `${wrong.name}: expected heads and a manifest that fit the state ${wrong.state}`;
};

function isFitting({ heads, manifest, state }: BundleName): boolean {
  if (state === "quarantined") return heads.length === 0 && manifest !== undefined;
  return heads.length > 0 && (state !== "trusted" || manifest !== undefined);
}

/** What is said to come must be there, so that nobody believes in a revocation that was left out. */
const listedIsCarried: IndexRule = (index) => {
  const objects = new Set<Digest>();
  for (const item of index.items) if (item.kind === "object") objects.add(item.id);
  const listed = [
    index.policies,
    index.revocations,
    index.refusals,
    index.evidence,
    index.candidates.map(({ statement }) => statement),
    index.names.flatMap(({ heads, manifest }) => (manifest === undefined ? heads : [...heads, manifest])),
  ];
  for (const ids of listed) {
    const lost = ids.find((id) => !objects.has(id));
    if (lost !== undefined) return `expected object ${lost} among the items, since it is listed`;
  }
  return undefined;
};

/** Signatures and later parts have their places beside what they belong to, by rules of their own. */
const itemsOnce: IndexRule = ({ items }) => {
  const seen = { object: new Set<Digest>(), blob: new Set<Digest>() };
  for (const item of items) {
    if (item.kind === "signature" || (item.kind === "blob" && (item.part ?? 0) > 0)) continue;
    const [ids, id] = item.kind === "object" ? [seen.object, item.id] : [seen.blob, item.blob];
    if (ids.has(id)) return `expected each item once, found ${itemPath(item)} twice`;
    ids.add(id);
  }
  return undefined;
};

const smallBeforeLarge: IndexRule = ({ items }) => {
  const firstBlob = items.findIndex(({ kind }) => kind === "blob");
  const late = firstBlob < 0 ? undefined : items.slice(firstBlob).find(({ kind }) => kind !== "blob");
  return late && `expected blobs last, found ${itemPath(late)} after one`;
};

const signatureFollows: IndexRule = ({ items }) => {
  const astray = items.find((item, at) => item.kind === "signature" && !isFollowing(item, items[at - 1]));
  return astray && `expected ${itemPath(astray)} after its object, signatures sorted by key id`;
};

function isFollowing(item: Item & { kind: "signature" }, before: Item | undefined): boolean {
  if (before?.kind === "object") return before.id === item.object;
  return before?.kind === "signature" && before.object === item.object && before.keyId < item.keyId;
}

const sizesInBounds: IndexRule = ({ items }) => {
  let total = 0;
  for (const item of items) {
    total += item.sizeBytes;
    if (item.kind === "object" && item.sizeBytes > LIMITS.documentBytes) return tooLarge(item, LIMITS.documentBytes);
    if (item.kind === "signature" && item.sizeBytes > LIMITS.signatureBytes)
      return tooLarge(item, LIMITS.signatureBytes);
    if (!Number.isSafeInteger(total)) return "expected sizes whose sum is below 2^53";
  }
  return undefined;
};

const tooLarge = (item: Item, most: number): string =>
  `${itemPath(item)}: expected at most ${most} bytes, found ${item.sizeBytes}`;

const segmentOfChunks: IndexRule = ({ segmentBytes }) =>
  segmentBytes % LIMITS.chunkBytes === 0 ? undefined : "expected segmentBytes to be a multiple of the chunk size";

/** So that parts end where chunks do, and `cat blobs/ab/<hex>.part-*` gives the blob, where none was left out. */
const partsInOrder: IndexRule = ({ items, segmentBytes, blobs }) => {
  const begun = new Set<Digest>();
  const astray = items.find((item, at) => {
    if (item.kind !== "blob") return false;
    const [before, after] = [items[at - 1], items[at + 1]];
    if (blobs !== "missing") return !isPartInOrder(item, before, after, segmentBytes);
    const isFirst = !begun.has(item.blob);
    begun.add(item.blob);
    return !isPartAfterGap(item, before, after, segmentBytes, isFirst);
  });
  const first = blobs === "missing" ? "parts in order" : "parts from 0 on";
  return astray && `${itemPath(astray)}: expected ${first} of ${segmentBytes} bytes, the last not longer`;
};

type BlobItem = Item & { readonly kind: "blob" };

/** Where chunks that the receiver has were left out: each part later than the one before, with any distance. */
function isPartAfterGap(
  item: BlobItem,
  before: Item | undefined,
  after: Item | undefined,
  segment: number,
  isFirst: boolean,
): boolean {
  if (item.part === undefined) return isFirst && item.sizeBytes <= segment;
  const isSame = (other: Item | undefined): other is BlobItem => other?.kind === "blob" && other.blob === item.blob;
  const follows = isSame(before) && before.part !== undefined && before.part < item.part;
  const mayBeShort = !isSame(after) && item.part > 0;
  const fits = mayBeShort ? item.sizeBytes > 0 && item.sizeBytes <= segment : item.sizeBytes === segment;
  return (isFirst || follows) && fits;
}

function isPartInOrder(item: BlobItem, before: Item | undefined, after: Item | undefined, segment: number): boolean {
  if (item.part === undefined) return item.sizeBytes <= segment;
  const isSame = (other: Item | undefined): other is BlobItem => other?.kind === "blob" && other.blob === item.blob;
  const begins = item.part === 0 ? !isSame(before) : isSame(before) && before.part === item.part - 1;
  const isLast = !isSame(after);
  const fits = isLast ? item.part > 0 && item.sizeBytes > 0 && item.sizeBytes <= segment : item.sizeBytes === segment;
  return begins && fits;
}

const volumesHoldAll: IndexRule = ({ items, volumes }) =>
  volumes.reduce((sum, count) => sum + count, 0) === items.length
    ? undefined
    : `expected volumes that hold ${items.length} items together`;

const blobsAsSaid: IndexRule = ({ items, blobs, for: receiver }) => {
  if (blobs === "none" && items.some(({ kind }) => kind === "blob")) return "expected no blobs, as it says";
  if (blobs === "missing" && receiver === undefined) return "expected a receipt, since blobs were left out by one";
  return undefined;
};

export const INDEX_RULES = {
  "has-policy": hasPolicy,
  "earlier-is-whole": earlierIsWhole,
  "state-fits-heads": stateFitsHeads,
  "listed-is-carried": listedIsCarried,
  "items-once": itemsOnce,
  "small-before-large": smallBeforeLarge,
  "signature-follows": signatureFollows,
  "sizes-in-bounds": sizesInBounds,
  "segment-of-chunks": segmentOfChunks,
  "parts-in-order": partsInOrder,
  "volumes-hold-all": volumesHoldAll,
  "blobs-as-said": blobsAsSaid,
};
