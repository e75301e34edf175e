// SPDX-License-Identifier: Apache-2.0
/**
 * Delivery receipts: what this store holds, told to whoever sends to it; and what another store's receipt says of ours.
 * Layer: repo. Format: docs/format.md, "Delivery receipts". Not to be confused with receipts.ts, which speaks of files.
 */

import { type Digest, isDigest, sha256, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { parseRefPath } from "../base/ref-path.ts";
import { formatTime } from "../base/time.ts";
import { fingerprint } from "../keys/public-key.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { namesIn } from "../objects/layout.ts";
import type { HeadView } from "../refs/head-view.ts";
import { makeReceiptFile, parseReceiptFile, type Receipt } from "../sync/receipt.ts";
import { readList, readManifest, readPolicies, readStatement } from "./dossier.ts";
import { readIndex } from "./import/remotes.ts";
import { type KeptDenials, keptDenials } from "./import/upstream.ts";
import { decodeInventory, encodeInventory, type Inventory, type MissingBlob } from "./inventory.ts";
import type { Store } from "./store.ts";

export type { Inventory } from "./inventory.ts";

/** What a receipt file says. */
export interface Delivery {
  readonly receipt: Stored<Receipt>;
  readonly inventory: Inventory;
}

/**
 * The receipt file of a store as it stands.
 * @param answers - the index of the bundle that was imported just now
 * @throws CofferError NO_STORE_KEY, CORRUPT
 */
export async function writeReceipt(store: Store, answers?: Digest): Promise<Uint8Array> {
  const signer = await store.needSigner();
  const head = await store.head();
  const inventory = await encodeInventory(withKept(await takeInventory(store, head), await keptDenials(store, head)));
  const policy = (await readPolicies(store, head)).at(-1)?.id;
  if (policy === undefined) throw new CofferError("CORRUPT", "the store has no policy");
  const body = {
    ...{ store: store.id, pin: store.pin, policy, log: { number: head.number, head: head.id } },
    issuedAt: formatTime(store.ports.clock()),
    inventory: { sha256: sha256(inventory), sizeBytes: inventory.length },
    ...(answers === undefined ? {} : { answers }),
  };
  return makeReceiptFile(body, inventory, signer);
}

/** @throws CofferError as `parseReceiptFile` and `decodeInventory` */
export async function readReceipt(file: Uint8Array): Promise<Delivery> {
  const { receipt, inventory } = parseReceiptFile(file);
  return { receipt, inventory: await decodeInventory(inventory, receipt.value.inventory.sha256) };
}

/** Of two receipts of one store: whether `one` was made after `other`. Clocks count only where the log has not moved. */
export function isNewer({ receipt: { value: one } }: Delivery, { receipt: { value: other } }: Delivery): boolean {
  if (one.log.number !== other.log.number) return one.log.number > other.log.number;
  return one.issuedAt > other.issuedAt;
}

/** What other roots deny binds nobody here, and those who sent it want to know that it came. */
function withKept(own: Inventory, kept: KeptDenials): Inventory {
  const union = (one: readonly Digest[], other: readonly Digest[]): Digest[] => [...new Set([...one, ...other])].sort();
  return { ...own, denials: union(own.denials, kept.denials), refusals: union(own.refusals, kept.refusals) };
}

/** Everything at a head that another store may want to know of, and the blobs that lie here whole. */
async function takeInventory(store: Store, head: HeadView): Promise<Inventory> {
  const denials = new Set<Digest>();
  const refusals = new Set<Digest>();
  const heads = new Set<Digest>();
  const manifests = new Set<Digest>();
  const needed = new Set<Digest>();
  const stand = async (id: Digest): Promise<void> => {
    const { value } = await readStatement(store, id);
    heads.add(id);
    if (value.state === "trusted") {
      manifests.add(value.manifest);
      needed.add(value.manifest);
    } else denials.add(id);
  };
  for await (const [ref, id] of head.listRefs()) {
    const { family } = parseRefPath(ref);
    if (family === "trusted") await stand(id);
    else if (family === "chain") for (const one of await readList(store, id, "chain")) await stand(one);
    else if (family === "revoked" || family === "deleted") denials.add(id);
    else if (family === "revoked-bytes") for (const one of await readList(store, id, "revocations")) denials.add(one);
    else if (family === "refused") for (const one of await readList(store, id, "refusals")) refusals.add(one);
    else if (family === "quarantined") manifests.add(id);
  }
  const blobs = await blobsHere(store);
  const missing = new Map<Digest, MissingBlob>();
  for (const id of needed) {
    for (const { sha256: blob, size } of (await readManifest(store, id)).value.files)
      if (!blobs.has(blob)) missing.set(blob, { blob, sizeBytes: size });
  }
  const sorted = (ids: ReadonlySet<Digest>): Digest[] => [...ids].sort();
  return {
    ...{ denials: sorted(denials), refusals: sorted(refusals), heads: sorted(heads), manifests: sorted(manifests) },
    ...{ blobs: sorted(blobs), missing: [...missing.values()] },
  };
}

/** By their names: a blob has one only once it is whole and durable. */
async function blobsHere({ files }: Store): Promise<ReadonlySet<Digest>> {
  const blobs = new Set<Digest>();
  for (const folder of await namesIn(files, "blobs")) {
    for (const rest of await namesIn(files, `blobs/${folder}`)) {
      const id = `${folder}${rest}`;
      if (isDigest(id)) blobs.add(id);
    }
  }
  return blobs;
}

/**
 * A receipt names its store and its key itself, so the key must be the one by which that store was known before, if it was.
 * @throws CofferError SIGNATURE_INVALID - it is another one
 */
export async function needKnownKey(store: Store, { receipt }: Delivery, before?: Delivery): Promise<void> {
  const { store: of, storeKey } = receipt.value;
  const index = await readIndex(store, await store.head(), of);
  const known = [index?.value.storeKey, before?.receipt.value.store === of ? before.receipt.value.storeKey : undefined];
  for (const key of known) {
    if (key === undefined || key.keyId === storeKey.keyId) continue;
    const text = `receipt of store ${short(of)}: expected the key ${fingerprint(key)}, as before`;
    throw new CofferError("SIGNATURE_INVALID", `${text}, found ${fingerprint(storeKey)}`);
  }
}

/** What a receipt says of this store's denials. */
export interface Delivered {
  /** True if that store has the same policy root, so that denials count there. */
  readonly sameRoot: boolean;
  /** Statements that revoke or delete, and refusals, that are here. */
  readonly denials: number;
  /** Of these, what is not known to be there; sorted. */
  readonly undelivered: readonly Digest[];
  /** Blobs of what it trusts that it lacks. */
  readonly missing: readonly MissingBlob[];
}

/** Compares another store's receipt with what stands here. @throws CofferError USAGE - it is this store's own; SIGNATURE_INVALID - by another key than before; CORRUPT */
export async function compareReceipt(store: Store, { receipt, inventory }: Delivery): Promise<Delivered> {
  if (receipt.value.store === store.id)
    throw new CofferError("USAGE", "expected another store's receipt, found this store's own");
  await needKnownKey(store, { receipt, inventory });
  const ours = await takeInventory(store, await store.head());
  const theirs = new Set([...inventory.denials, ...inventory.refusals]);
  const denials = [...ours.denials, ...ours.refusals];
  return {
    sameRoot: receipt.value.pin === store.pin,
    denials: denials.length,
    undelivered: denials.filter((id) => !theirs.has(id)).sort(),
    missing: inventory.missing,
  };
}
