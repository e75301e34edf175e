// SPDX-License-Identifier: Apache-2.0
/**
 * All keys of the local index as the ref tree has them, sorted, in bounded memory: what a first build writes, and what
 * fsck compares with. Layer: repo.
 */

import type { NewFile } from "../../objects/files.ts";
import { createTemp, tempPath } from "../../objects/layout.ts";
import type { HeadView } from "../../refs/head-view.ts";
import type { Store } from "../store.ts";
import { type Entries, fromArray, merged } from "./entries.ts";
import { type Entry, keysOfRef } from "./keys.ts";
import { PageTree, PageTreeWriter } from "./page-tree.ts";
import type { PageCodec } from "./pages.ts";

/** Keys that are sorted in memory at one time: some 30 MB. */
const SORTED_KEYS = 256 * 1024;

/** @throws CofferError CORRUPT - the ref tree is damaged; NO_SPACE, IO_ERROR - for a file beside the store's own */
export async function* treeKeys(store: Store, codec: PageCodec, head: HeadView, sortedKeys = SORTED_KEYS): Entries {
  const spilled: { readonly file: NewFile; readonly tree: PageTree }[] = [];
  try {
    let keys: string[] = [];
    for await (const [ref, id] of head.listRefs()) {
      keys.push(...(await keysOfRef(store, ref, id)));
      if (keys.length < sortedKeys) continue;
      spilled.push(await spill(store, codec, sortedOnce(keys)));
      keys = [];
    }
    yield* merged([fromArray(sortedOnce(keys)), ...spilled.map(({ tree }) => tree.entries())]);
  } finally {
    for (const { file } of spilled) await file.close();
  }
}

function sortedOnce(keys: string[]): Entry[] {
  return [...new Set(keys)].sort().map((key) => ({ key, present: true }));
}

/** Into a file that has no name any more when this returns: nothing is left behind, whatever happens. */
async function spill(store: Store, codec: PageCodec, entries: readonly Entry[]) {
  const temp = tempPath(store.files, store.ports.random);
  const file = await createTemp(store.files, temp, 0o600);
  try {
    await store.files.remove(temp);
    const writer = new PageTreeWriter(file, codec);
    for (const entry of entries) {
      const wait = writer.add(entry);
      if (wait !== undefined) await wait;
    }
    return { file, tree: new PageTree(file, codec, await writer.finish()) };
  } catch (error) {
    await file.close();
    throw error;
  }
}
