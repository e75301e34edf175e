// SPDX-License-Identifier: Apache-2.0
/**
 * Which names a server looks at: the trusted ones in pages, the holders of a blob. Layer: repo. It decides nothing, and
 * writes nothing: an index that others keep is read, else the tree is walked.
 */
import type { Digest } from "../base/digest.ts";
import type { Name } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import type { HeadView } from "../refs/head-view.ts";
import { readManifest, readStatement } from "./dossier.ts";
import { type Names, openNames } from "./names.ts";
import type { Store } from "./store.ts";

/** Keys ahead of the local index at which it is looked for anew: a writer has added to it by then. */
const MOST_AHEAD = 5000;

export class ServingNames {
  private readonly store: Store;
  private names: Names | undefined;
  private following: Promise<unknown> = Promise.resolve();

  constructor(store: Store) {
    this.store = store;
  }

  /** Names with a trusted ref after `after`, sorted. */
  trusted(head: HeadView, after: Name | undefined, limit: number): Promise<Name[]> {
    const from = after === undefined ? {} : { after: after.text };
    return this.with(head, (names) => names.list("t", { limit, ...from }));
  }

  /** @throws CofferError CORRUPT - none is found, and some name could not be read: it may be the one */
  async holders(head: HeadView, blob: Digest): Promise<readonly Name[]> {
    const found = await this.with(head, (names) => names.holders(blob));
    if (found.length > 0) return found;
    const doubtful = await this.with(head, (names) => names.unreadable());
    for (const name of doubtful) {
      const id = await head.readRef(nameRef("trusted", name));
      if (id !== undefined) await readManifest(this.store, (await readStatement(this.store, id)).value.manifest);
    }
    return doubtful; // all could be read by now
  }

  /** Closes the files of the local index, after what runs. */
  async close(): Promise<void> {
    const done = this.following.then(async () => {
      await this.names?.close();
      this.names = undefined;
    });
    this.following = Promise.allSettled([done]);
    await done;
  }

  /** One at a time: the names follow one head after the other. */
  private with<T>(head: HeadView, use: (names: Names) => Promise<T>): Promise<T> {
    const done = this.following.then(async () => use(await this.at(head)));
    this.following = Promise.allSettled([done]);
    return done;
  }

  private async at(head: HeadView): Promise<Names> {
    const names = this.names;
    if (names !== undefined && (!names.indexed || names.aheadKeys < MOST_AHEAD)) {
      await names.follow(head);
      return names;
    }
    this.names = undefined;
    await names?.close();
    this.names = await openNames(this.store, head, { mayWrite: false });
    return this.names;
  }
}
