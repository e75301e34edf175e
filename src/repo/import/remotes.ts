// SPDX-License-Identifier: Apache-2.0
/**
 * What is remembered of another store: the newest index that it sent, and whether it has ever shown two histories.
 * Layer: repo. Format: docs/format.md, "Refs". It grants and denies nothing by itself.
 */
import { type Digest, short } from "../../base/digest.ts";
import { CofferError, passOthers } from "../../base/errors.ts";
import { LIMITS } from "../../base/limits.ts";
import { remoteRef } from "../../base/ref-path.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { readObject } from "../../objects/object-store.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { type BundleIndex, makeBundleIndex, parseBundleIndex } from "../../sync/bundle-index.ts";
import type { Source } from "../../sync/source.ts";
import type { Store } from "../store.ts";
import type { Change } from "./apply.ts";
import type { Writer } from "./writer.ts";

/**
 * The form in which an index is remembered: as it was signed; without a signature, or where it is longer than an object
 * may be, only what it says of its store and log.
 */
function remembered({ index, signature }: Source): Stored<BundleIndex> {
  if (signature !== undefined && index.bytes.length <= LIMITS.documentBytes) return index;
  const { store, storeKey, log, root } = index.value;
  return makeBundleIndex({
    ...{ store, storeKey, log, root, segmentBytes: index.value.segmentBytes, blobs: "none" },
    ...{ policies: index.value.policies.slice(0, 1), names: [], candidates: [], revocations: [], refusals: [] },
    ...{
      evidence: [],
      items: index.value.items.filter((item) => item.kind === "object" && item.id === index.value.policies[0]),
    },
    volumes: [1],
  });
}

/** Puts the index where `indexChange` names it. */
export async function keepIndex(writer: Writer, source: Source): Promise<Digest> {
  const kept = remembered(source);
  const signatures = source.signature !== undefined && kept.id === source.index.id ? [source.signature] : [];
  await writer.addSigned(kept, "coffer-bundle", signatures);
  return kept.id;
}

/** The newest index that another store sent; undefined if none has come. */
export async function readIndex(store: Store, head: HeadView, of: Digest): Promise<Stored<BundleIndex> | undefined> {
  const id = await head.readRef(remoteRef(of, "index"));
  return id === undefined ? undefined : readObject(store.objects, id, "index of another store", parseBundleIndex);
}

/** The newest index that was seen of a store. */
export function indexChange(store: Store, { value }: Stored<BundleIndex>, kept: Digest): Change {
  return {
    ...{ kind: "set", ref: remoteRef(value.store, "index"), to: kept },
    when: async (head) => {
      const before = await readIndex(store, head, value.store);
      return before === undefined || before.value.log.number < value.log.number;
    },
  };
}

type Log = BundleIndex["log"];

/** A number that two indexes of one store give different entries for; undefined if nothing says that the log was forked. */
export function forkedAt(a: Log, b: Log): number | undefined {
  const known = new Map([a, ...a.earlier].map(({ number, head }) => [number, head]));
  const clash = [b, ...b.earlier].find(({ number, head }) => known.has(number) && known.get(number) !== head);
  return clash?.number;
}

/**
 * Whether an index is of this very store as it stands, or as it was: then it brings nothing. One that the log here does not
 * hold is news, for this store was restored from an older copy, or somebody else has its key.
 */
export async function isOwn(store: Store, { index: { value } }: Source): Promise<boolean> {
  if (value.store !== store.id || value.storeKey.keyId !== store.storeKey.keyId) return false;
  try {
    return await store.log.holds(value.log);
  } catch (error) {
    passOthers(error, "CORRUPT"); // not shown to be ours: what it denies counts, and its import tells the damage
    return false;
  }
}

export interface Fork {
  readonly error: CofferError;
  /** Keeps both indexes as evidence. */
  readonly changes: readonly Change[];
}

/** Whether a store has shown two histories, with this index or before; this store itself by any that `isOwn` says no of. */
export async function findFork(
  store: Store,
  head: HeadView,
  source: Source,
  writer: Writer,
): Promise<Fork | undefined> {
  const { value } = source.index;
  const ref = remoteRef(value.store, "fork");
  const before = await readIndex(store, head, value.store);
  const key = value.store === store.id ? store.storeKey : before?.value.storeKey;
  if (key !== undefined && key.keyId !== value.storeKey.keyId) {
    // A store has one key for its whole life; whoever signs with another is not that store, and forks nothing.
    const text = `index: expected the key of store ${short(value.store)} that signed before, found another one`;
    throw new CofferError("SIGNATURE_INVALID", text);
  }
  if (value.store === store.id) return ownFork(store, source, writer);
  const at = before === undefined ? undefined : forkedAt(before.value.log, value.log);
  if (before !== undefined && at !== undefined) {
    const text = `store ${short(value.store)} has shown two entries ${at}: nothing that it trusts is adopted`;
    // Whoever says so without a signature of that store proves nothing against it, and gets nothing adopted either.
    if (source.unproven) return { error: new CofferError("LOG_FORKED", text), changes: [] };
    const ids = [before.id, await keepIndex(writer, source)];
    return { error: new CofferError("LOG_FORKED", text), changes: [{ kind: "union", ref, ids }] };
  }
  if ((await head.readRef(ref)) === undefined) return undefined;
  const text = `store ${short(value.store)} has shown two histories before: nothing that it trusts is adopted`;
  return { error: new CofferError("LOG_FORKED", text), changes: [] };
}

/** What is kept of it is what `adopt-restore` tells as lost. @throws CofferError CORRUPT - the log here is damaged where they are compared */
async function ownFork(store: Store, source: Source, writer: Writer): Promise<Fork> {
  const { number, head } = source.index.value.log;
  const found = (await store.log.readEntry(number)) === undefined ? "none" : "another";
  const text = `expected this store's own log to have entry ${number}, ${short(head)}, found ${found}`;
  const why = source.unproven
    ? "whoever sent it did not sign that"
    : "it was restored from an older copy, or somebody else has its key";
  const error = new CofferError(
    "LOG_BEHIND_MEMORY",
    `${text}: ${why}; nothing that is trusted there is adopted before \`coffer log adopt-restore\``,
  );
  if (source.unproven) return { error, changes: [] };
  return { error, changes: [indexChange(store, source.index, await keepIndex(writer, source))] };
}
