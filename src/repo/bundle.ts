// SPDX-License-Identifier: Apache-2.0
/**
 * `bundle create`: what is chosen, signed by the store key, in volumes of a given size. Layer: repo. Commits nothing.
 * What travels is planned in sync/plan.ts, cut in sync/cut.ts; this gathers it, signs the index and writes the files.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name, NamePattern } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import { signSshsig } from "../keys/sshsig.ts";
import type { BlobClaim } from "../objects/blob-store.ts";
import { parseManifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import { readObject } from "../objects/object-store.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type BundleIndex, type LogPoint, rootText } from "../sync/bundle-index.ts";
import { cutBundle } from "../sync/cut.ts";
import { earlierNumbers } from "../sync/log-points.ts";
import { type PlanRequest, planBundle } from "../sync/plan.ts";
import type { Bundle } from "../sync/volume-writer.ts";
import type { Delivery } from "./delivery.ts";
import { openNames } from "./names.ts";
import type { Store } from "./store.ts";

export interface BundleRequest {
  readonly names: readonly Name[];
  /** All names that match and have a chain; with `candidates` those with a candidate too. */
  readonly patterns: readonly NamePattern[];
  readonly candidates: boolean;
  readonly blobs: boolean;
  /** The store that it is made for, by its receipt: blobs that it has stay here, and chunks of newer ones in them. */
  readonly receiver?: { readonly store: Digest; readonly receipt: Digest; readonly blobs: ReadonlySet<Digest> };
  /** What a volume has at most; one volume of any size when left out. */
  readonly volumeBytes?: number;
}

/** The store that a receipt speaks for. */
export function receiverOf({ receipt, inventory }: Delivery): NonNullable<BundleRequest["receiver"]> {
  return { store: receipt.value.store, receipt: receipt.id, blobs: new Set(inventory.blobs) };
}

/**
 * Plans, cuts and signs; writes nothing. The same head and request give the same bytes.
 * @throws CofferError NO_STORE_KEY, NAME_NOT_FOUND, CORRUPT, OBJECT_NOT_FOUND, LIMIT_EXCEEDED
 */
export async function makeBundle(store: Store, request: BundleRequest): Promise<Bundle> {
  const signer = await store.needSigner();
  await store.sweep();
  const head = await store.head();
  const { candidates, receiver } = request;
  if (receiver?.store === store.id) {
    throw new CofferError("USAGE", "--for: expected another store's receipt, found this store's own");
  }
  const names = [...request.names, ...(await namesFor(store, head, request))];
  const { claims, spare, ...plan } = await planBundle(store, head, { names, candidates, blobs: blobsFor(request) });
  const blobs = !request.blobs ? "none" : receiver === undefined ? "all" : "missing";
  const made = receiver === undefined ? {} : { for: { store: receiver.store, receipt: receiver.receipt } };
  const log = { number: head.number, head: head.id, earlier: await logPoints(store, earlierNumbers(head.number)) };
  const index = cutBundle(
    { ...plan, store: store.id, storeKey: store.storeKey, log, blobs, ...made },
    request.volumeBytes,
    spare,
  );
  return { index, signature: await signSshsig(signer, "coffer-bundle", index.bytes), claims };
}

function blobsFor({ blobs, receiver }: BundleRequest): PlanRequest["blobs"] {
  if (!blobs) return "none";
  return receiver === undefined ? "all" : { has: (blob) => receiver.blobs.has(blob) };
}

async function logPoints(store: Store, numbers: readonly number[]): Promise<LogPoint[]> {
  const points: LogPoint[] = [];
  for (const number of numbers) points.push({ number, head: (await store.entryAt(number)).id });
  return points;
}

/** @throws CofferError NAME_NOT_FOUND - a pattern matches nothing that could travel */
async function namesFor(store: Store, head: HeadView, { patterns, candidates }: BundleRequest): Promise<Name[]> {
  const found: Name[] = [];
  if (patterns.length === 0) return found;
  const names = await openNames(store, head, { mayWrite: false });
  try {
    for (const pattern of patterns) {
      const all = await names.list("n", { prefix: pattern.prefix, limit: Number.POSITIVE_INFINITY });
      const fitting: Name[] = [];
      for (const name of all) if (pattern.matches(name) && (await travels(head, name, candidates))) fitting.push(name);
      if (fitting.length === 0)
        throw new CofferError("NAME_NOT_FOUND", `${pattern.text}: matches no name that travels`);
      found.push(...fitting);
    }
    return found;
  } finally {
    await names.close();
  }
}

/** What only waits in quarantine travels when it is named, not with a pattern. */
async function travels(head: HeadView, name: Name, candidates: boolean): Promise<boolean> {
  const families = candidates ? (["trusted", "chain", "proposed"] as const) : (["trusted", "chain"] as const);
  for (const family of families) if ((await head.readRef(nameRef(family, name))) !== undefined) return true;
  return false;
}

/**
 * A bundle that this store made before, from its index: so that one volume of it can be cut again, whatever has happened
 * since. @throws CofferError USAGE - another store's index; CORRUPT - what it needs is not here any more
 */
export async function sameBundle(store: Store, index: Stored<BundleIndex>, signature: string): Promise<Bundle> {
  if (index.value.store !== store.id || index.value.storeKey.keyId !== store.storeKey.keyId) {
    throw new CofferError("USAGE", "expected the index of a bundle of this store, found another store's");
  }
  return { index, signature, claims: await claimsOf(store, index.value) };
}

/** How the blobs of an index are read: as the manifests of its names say. */
async function claimsOf({ objects }: Store, { names }: BundleIndex): Promise<ReadonlyMap<Digest, BlobClaim>> {
  const claims = new Map<Digest, BlobClaim>();
  for (const { heads, manifest } of names) {
    const manifests = new Set(manifest === undefined ? [] : [manifest]);
    for (const id of heads) manifests.add((await readObject(objects, id, "statement", parseStatement)).value.manifest);
    for (const id of manifests) {
      const { files } = (await readObject(objects, id, "manifest", parseManifest)).value;
      for (const { sha256, size, chunks } of files)
        claims.set(sha256, { sha256, size, ...(chunks === undefined ? {} : { chunks }) });
    }
  }
  return claims;
}

export { type Bundle, rootText };
