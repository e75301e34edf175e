// SPDX-License-Identifier: Apache-2.0
/**
 * Stores that have shown two histories: what is kept as evidence of it, and what of it was ever adopted. Layer: repo.
 * Reads only; nothing takes a fork back. Format: docs/format.md, "Refs".
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { parseRefPath, remoteRef } from "../base/ref-path.ts";
import type { PublicKey } from "../keys/public-key.ts";
import { signaturePath } from "../objects/layout.ts";
import { readObject } from "../objects/object-store.ts";
import { signersOf } from "../objects/signatures.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type LogPoint, parseBundleIndex } from "../sync/bundle-index.ts";
import { readList } from "./dossier.ts";
import type { Store } from "./store.ts";

/** One of the histories: an index that came, as it is kept. */
export interface SeenHistory {
  /** The index's; `signatures/` has the signature over it, if it is signed. */
  readonly index: Digest;
  readonly storeKey: PublicKey;
  readonly number: number;
  readonly head: Digest;
  /** Where the store key's signature lies, so that it can be shown to others. None of what was read from a store's folder. */
  readonly signature?: string;
  /** The newest that was taken over from that store. */
  readonly adopted: boolean;
}

/** A number that is shown with more than one entry. */
export interface Clash {
  readonly number: number;
  readonly entries: readonly { readonly head: Digest; readonly indexes: readonly Digest[] }[];
}

export interface Fork {
  readonly store: Digest;
  /** By number, then by id of the index. */
  readonly histories: readonly SeenHistory[];
  /** Largest number first. */
  readonly clashes: readonly Clash[];
}

const LEAST_CHARS = 12;

/**
 * @param which - a store id, or 12 or more characters of it; all stores when left out
 * @throws CofferError REMOTE_NOT_FOUND - nothing was ever taken over from such a store; DIGEST_INVALID, DIGEST_AMBIGUOUS; CORRUPT
 */
export async function listForks(store: Store, which?: string): Promise<readonly Fork[]> {
  if (which !== undefined && !new RegExp(`^[0-9a-f]{${LEAST_CHARS},64}$`).test(which)) {
    const expected = `a store id, or ${LEAST_CHARS} or more characters of it`;
    throw new CofferError("DIGEST_INVALID", `expected ${expected}, found ${quote(which, 80)}`);
  }
  const head = await store.head();
  const heardOf = new Set<Digest>();
  const forked: Digest[] = [];
  for await (const [ref] of head.listRefs("refs/remotes/")) {
    const parsed = parseRefPath(ref);
    if (parsed.family !== "remotes" || (which !== undefined && !parsed.store.startsWith(which))) continue;
    heardOf.add(parsed.store);
    if (parsed.kind === "fork") forked.push(parsed.store);
  }
  if (which !== undefined && heardOf.size === 0)
    throw new CofferError("REMOTE_NOT_FOUND", `nothing was ever taken over from a store ${quote(which, 80)}`);
  if (which !== undefined && heardOf.size > 1) {
    const found = [...heardOf].sort().map(short).join(", ");
    throw new CofferError("DIGEST_AMBIGUOUS", `several stores begin with ${quote(which, 80)}: ${found}`);
  }
  const forks: Fork[] = [];
  for (const id of forked.sort()) forks.push(await readFork(store, head, id));
  return forks;
}

async function readFork(store: Store, head: HeadView, of: Digest): Promise<Fork> {
  const adopted = await head.readRef(remoteRef(of, "index"));
  const histories: SeenHistory[] = [];
  const points = new Map<number, Map<Digest, Digest[]>>();
  for (const id of await readList(store, await head.readRef(remoteRef(of, "fork")), "fork of another store")) {
    const index = await readObject(store.objects, id, "index of another store", parseBundleIndex);
    const { log, storeKey } = index.value;
    const isSigned = (await signersOf(store.files, index, "coffer-bundle", [storeKey])).size > 0;
    const proof = isSigned ? { signature: signaturePath(id, storeKey.keyId) } : {};
    histories.push({ index: id, storeKey, number: log.number, head: log.head, adopted: id === adopted, ...proof });
    for (const point of [log, ...log.earlier]) note(points, point, id);
  }
  const clashes = [...points]
    .filter(([, heads]) => heads.size > 1)
    .sort(([a], [b]) => b - a)
    .map(([number, heads]) => ({
      number,
      entries: [...heads].sort(byFirst).map(([id, by]) => ({ head: id, indexes: by })),
    }));
  return {
    store: of,
    histories: histories.sort((a, b) => a.number - b.number || (a.index < b.index ? -1 : 1)),
    clashes,
  };
}

const byFirst = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

function note(points: Map<number, Map<Digest, Digest[]>>, { number, head }: LogPoint, index: Digest): void {
  const heads = points.get(number) ?? new Map<Digest, Digest[]>();
  points.set(number, heads);
  heads.set(head, [...(heads.get(head) ?? []), index]);
}
