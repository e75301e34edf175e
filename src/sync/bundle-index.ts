// SPDX-License-Identifier: Apache-2.0
/**
 * The index of a bundle: what it brings, in which volume, from which state of which store. Signed by the store key, which
 * has no power over names: a claim for planning, and for the officer who approves a transfer.
 * Layer: sync. Format: docs/format.md, "Bundles". Not here: what must hold between its members (index-rules.ts).
 */
import { createHash } from "node:crypto";
import { type CanonicalObject, type CanonicalValue, encodeInPieces } from "../base/canonical-json.ts";
import { type Digest, digestFromBytes } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type NameText, parseName } from "../base/names.ts";
import type { PublicKey } from "../keys/public-key.ts";
import {
  arrayOf,
  digest,
  documentOf,
  integer,
  makeDocument,
  oneOf,
  optional,
  parsed,
  publicKey,
  readDocument,
  record,
  refuseAt,
  required,
  type Schema,
  type Stored,
  setOf,
  sortedBy,
} from "../objects/documents/schema.ts";
import { INDEX_RULES } from "./index-rules.ts";
import { fromBundle, ofBundle } from "./malformed.ts";
import { enforce } from "./rule.ts";
import { type Item, itemPath, parseItem } from "./source.ts";

/** An entry of the sender's log. */
export interface LogPoint {
  readonly number: number;
  readonly head: Digest;
}

/** What a name stands for at the sender: as in a verdict, or a manifest that waits in quarantine. */
export type BundleState = "trusted" | "revoked" | "deleted" | "several" | "quarantined";

export interface BundleName {
  readonly name: NameText;
  /** Statements: the heads of its chain, which travels whole. None for a quarantined one. */
  readonly heads: readonly Digest[];
  /** The one that its heads name, or that waits in quarantine; absent where they name several. */
  readonly manifest?: Digest;
  readonly state: BundleState;
}

export interface BundleIndex {
  readonly store: Digest;
  readonly storeKey: PublicKey;
  /** `earlier`: see log-points.ts; two indexes of one store can be compared wherever they share a number. */
  readonly log: LogPoint & { readonly earlier: readonly LogPoint[] };
  /** Root of the policy chain. */
  readonly root: Digest;
  /** The chain, from version 1 on. */
  readonly policies: readonly Digest[];
  readonly names: readonly BundleName[];
  readonly candidates: readonly { readonly name: NameText; readonly statement: Digest }[];
  /** All statements of the store that revoke or delete. */
  readonly revocations: readonly Digest[];
  /** All refusals of the store. */
  readonly refusals: readonly Digest[];
  readonly evidence: readonly Digest[];
  /** In travelling order. */
  readonly items: readonly Item[];
  /** A blob over this size travels in parts of this size. */
  readonly segmentBytes: number;
  /** How many items lie in volume 1, 2, 3 … */
  readonly volumes: readonly number[];
  readonly blobs: "all" | "none" | "missing";
  /** The store that it was made for, and the receipt by which blobs were left out. */
  readonly for?: { readonly store: Digest; readonly receipt: Digest };
}

const MOST_IDS = 1_000_000;
const MOST_HEADS = 10_000;
/** Log entries have at most twelve digits, so a number has at most 40 bits to clear; and one for the receipt. */
const MOST_EARLIER = 41;

const nameText: Schema<NameText> = (value, at) => {
  const { text } = parsed(parseName, "a name")(value, at);
  return text === value ? text : refuseAt(at, "a whole name in lower case");
};
const logNumber = integer(1, 999_999_999_999);

/** Up to millions of them: nothing is put together for an error text that is not needed. */
const items: Schema<readonly Item[]> = (value, at) => {
  const pairs = arrayOf((member) => member, LIMITS.bundleItems)(value, at);
  return pairs.map((pair, index) => {
    const [path, bytes, ...rest] = Array.isArray(pair) ? (pair as readonly CanonicalValue[]) : [];
    if (typeof path !== "string" || typeof bytes !== "number" || rest.length > 0) {
      return refuseAt(`${at}[${index}]`, "[path, size]");
    }
    return parseItem(path, bytes);
  });
};

const shape = documentOf("coffer/bundle", {
  store: required(digest),
  storeKey: required(publicKey),
  log: required(
    record({
      number: required(logNumber),
      head: required(digest),
      earlier: required(arrayOf(record({ number: required(logNumber), head: required(digest) }), MOST_EARLIER)),
    }),
  ),
  root: required(digest),
  policies: required(arrayOf(digest, 10_000)),
  names: required(
    sortedBy(
      record({
        name: required(nameText),
        heads: required(setOf(digest, MOST_HEADS)),
        manifest: optional(digest),
        state: required(oneOf("trusted", "revoked", "deleted", "several", "quarantined")),
      }),
      (entry) => entry.name,
      MOST_IDS,
    ),
  ),
  candidates: required(
    sortedBy(record({ name: required(nameText), statement: required(digest) }), (entry) => entry.name, MOST_IDS),
  ),
  revocations: required(setOf(digest, MOST_IDS)),
  refusals: required(setOf(digest, MOST_IDS)),
  evidence: required(setOf(digest, MOST_IDS)),
  items: required(items),
  segmentBytes: required(integer(1, LIMITS.segmentBytes)),
  volumes: required(arrayOf(integer(1), LIMITS.bundleVolumes)),
  blobs: required(oneOf("all", "none", "missing")),
  for: optional(record({ store: required(digest), receipt: required(digest) })),
});

const schema: Schema<BundleIndex> = (value, at) => {
  const index = shape(value, at);
  enforce(INDEX_RULES, index, at);
  return index;
};

const WHAT = "bundle index";

/** @throws CofferError BUNDLE_INVALID - naming the member, the limit or the rule; UNSUPPORTED */
export function parseBundleIndex(bytes: Uint8Array): Stored<BundleIndex> {
  return fromBundle(() => readDocument(schema, bytes, WHAT, LIMITS.bundleIndexBytes, LIMITS.bundleIndexValues));
}

/** Writes the one encoding. Names, candidates and sets must be sorted. @throws CofferError LIMIT_EXCEEDED; as `parseBundleIndex` */
export function makeBundleIndex(index: BundleIndex): Stored<BundleIndex> {
  const { names, candidates, items } = index;
  const value: CanonicalObject = {
    ...plainMembers(index),
    log: logValue(index),
    names: names.map((entry) => ({ ...entry })),
    candidates: candidates.map((entry) => ({ ...entry })),
    items: items.map(itemValue),
  };
  try {
    return makeDocument(schema, value, WHAT, LIMITS.bundleIndexBytes, LIMITS.bundleIndexValues);
  } catch (error) {
    throw isCofferError(error, "LIMIT_EXCEEDED") ? error : ofBundle(error); // too much to send is nobody's damage
  }
}

/** The members that are the same however the index is written. */
function plainMembers(index: BundleIndex) {
  const { names: _names, candidates: _candidates, items: _items, log: _log, ...plain } = index;
  const receiver = index.for && { ...index.for };
  return { ...plain, type: "coffer/bundle", version: 1, storeKey: index.storeKey.text, for: receiver } as const;
}

const itemValue = (item: Item): CanonicalValue => [itemPath(item), item.sizeBytes];

function logValue({ log }: BundleIndex): CanonicalObject {
  const earlier = log.earlier.map(({ number, head }) => ({ number, head }));
  return { number: log.number, head: log.head, earlier };
}

/**
 * As `makeBundleIndex`, byte for byte, in small steps. Its members were parsed or made one by one, so it is not read back;
 * the rules between them are held against it all the same.
 *
 * @param breathe - called between two steps
 * @throws CofferError BUNDLE_INVALID, LIMIT_EXCEEDED
 */
export async function makeLargeBundleIndex(
  index: BundleIndex,
  breathe: () => Promise<void> | undefined,
): Promise<Stored<BundleIndex>> {
  const { names, candidates, items, evidence, revocations, refusals } = index;
  const pieces: Uint8Array[] = [];
  const hash = createHash("sha256");
  let length = 0;
  const written = encodeInPieces({
    ...plainMembers(index),
    log: logValue(index),
    names: () => mapped(names, (entry) => ({ ...entry })),
    candidates: () => mapped(candidates, (entry) => ({ ...entry })),
    items: () => mapped(items, itemValue),
    ...{ evidence: () => evidence, revocations: () => revocations, refusals: () => refusals },
  });
  for (const piece of written) {
    await breathe();
    pieces.push(piece);
    hash.update(piece);
    length += piece.length;
    if (length > LIMITS.bundleIndexBytes) {
      const expected = `expected at most ${LIMITS.bundleIndexBytes} bytes`;
      throw new CofferError("LIMIT_EXCEEDED", `${WHAT}: ${expected}, found more`);
    }
  }
  for (const [name, rule] of Object.entries(INDEX_RULES)) {
    await breathe();
    enforce({ [name]: rule }, index, WHAT);
  }
  return { id: digestFromBytes(hash.digest()), bytes: Buffer.concat(pieces), value: index };
}

function* mapped<T>(values: readonly T[], map: (value: T) => CanonicalValue): Generator<CanonicalValue> {
  for (const value of values) yield map(value);
}

/** The policy root of who sends, as `init` prints it and `clone --root` takes it: its first version, which is numbered 1. */
export function rootText(policies: BundleIndex["policies"]): string {
  return `1:${policies[0] ?? ""}`;
}
