// SPDX-License-Identifier: Apache-2.0
/**
 * A store's metadata on a branch of a git host: the items of a bundle without blobs, each under its path in a volume, beside
 * the signed index. Pushed and fetched through isomorphic-git. Layer: repo. Format: docs/format.md, "The git projection".
 * What is fetched goes through the one importer like everything else; git's own ids are labels.
 */
import { CofferError } from "../base/errors.ts";
import { type NamePattern, parsePattern } from "../base/names.ts";
import { timeSeconds } from "../base/time.ts";
import type { GitId } from "../git/git-object.ts";
import { type BranchFiles, fetchBranch, type GitHost, type PushedBranch, pushBranch } from "../git/git-remote.ts";
import { METADATA_BRANCH } from "../git/projection.ts";
import { type Item, itemPath, type Parcel, type Source } from "../sync/source.ts";
import { INDEX_PATH, indexSignaturePath } from "../sync/volume-note.ts";
import { checkIndex, readIndex } from "../sync/volume-reader.ts";
import { type Bundle, smallItemBytes } from "../sync/volume-writer.ts";
import { makeBundle } from "./bundle.ts";
import type { Store } from "./store.ts";

export type { GitHost } from "../git/git-remote.ts";

/** What a git host holds of a store. */
export interface FetchedMetadata {
  readonly commit: GitId;
  readonly source: Source;
}

/**
 * What another store pushed to a git host; undefined if nobody has.
 * @throws CofferError REMOTE_FAILED, BUNDLE_INVALID, SIGNATURE_INVALID, LIMIT_EXCEEDED
 */
export async function fetchMetadata(host: GitHost): Promise<FetchedMetadata | undefined> {
  const branch = await fetchBranch(host, METADATA_BRANCH);
  return branch === undefined ? undefined : { commit: branch.commit, source: await sourceOf(branch) };
}

const WHAT = `branch ${METADATA_BRANCH}`;

async function sourceOf(branch: BranchFiles): Promise<Source> {
  const index = readIndex(await branch.read(INDEX_PATH));
  const path = indexSignaturePath(index.value.storeKey.keyId);
  const signed = checkIndex(index, { path, armored: await branch.read(path) }, WHAT);
  const items = index.value.items;
  const expected = new Set([INDEX_PATH, path, ...items.map(itemPath)]);
  for (const found of branch.sizes.keys()) {
    if (!expected.has(found))
      throw new CofferError("BUNDLE_INVALID", `${WHAT}: holds a file that its index does not name`);
  }
  async function* parcels(wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    for (const item of items) {
      const size = branch.sizes.get(itemPath(item));
      if (size !== item.sizeBytes) {
        const found = size === undefined ? "none" : `one of ${size}`;
        const text = `${WHAT}: ${itemPath(item)}: expected a file of ${item.sizeBytes} bytes, found ${found}`;
        throw new CofferError("BUNDLE_INVALID", text);
      }
      if (wants(item)) yield { item, read: () => once(branch.read(itemPath(item))) };
    }
  }
  return { ...signed, missing: [], parcels };
}

async function* once(bytes: Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield await bytes;
}

/**
 * Puts all that this store knows of its names, but no blob, on a git host.
 *
 * @param after - the commit that was last seen there, by a push or a fetch; undefined: the host must not have the branch
 * @throws CofferError REMOTE_MOVED - somebody else pushed since; REMOTE_FAILED, NO_STORE_KEY, CORRUPT
 */
export async function pushMetadata(store: Store, host: GitHost, after: GitId | undefined): Promise<PushedBranch> {
  const patterns = await everyName(store);
  const bundle = await makeBundle(store, { names: [], patterns, candidates: true, blobs: false });
  const { log } = bundle.index.value;
  const { facts } = await store.entryAt(log.number);
  const message = `coffer ${store.id}\n\nlog entry ${log.number} ${log.head}`;
  const commit = { seconds: timeSeconds(facts.time), message };
  return pushBranch(host, METADATA_BRANCH, after, await filesOf(store, bundle), commit);
}

/** A pattern for all names, or none where there is no name that travels. */
export async function everyName(store: Store): Promise<readonly NamePattern[]> {
  const head = await store.head();
  for await (const [ref] of head.listRefs()) {
    if (/^refs\/(?:trusted|chain|proposed)\//.test(ref)) return [parsePattern("*/*@*")];
  }
  return [];
}

async function filesOf(store: Store, { index, signature }: Bundle): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>([
    [INDEX_PATH, index.bytes],
    [indexSignaturePath(index.value.storeKey.keyId), new TextEncoder().encode(signature)],
  ]);
  for (const item of index.value.items) {
    if (item.kind === "blob") throw new CofferError("INTERNAL", "a blob in a bundle without blobs");
    files.set(itemPath(item), await smallItemBytes(store, item));
  }
  return files;
}
