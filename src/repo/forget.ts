// SPDX-License-Identifier: Apache-2.0
/**
 * `remote forget`: by which key and at which entry another store was known is forgotten, so that the next index under its id
 * is taken as the first was. Layer: repo. One entry of the log, which names the index; the index itself stays.
 *
 * For an id that somebody else came under first. It grants nothing and takes no denial back; what it gives up is that a
 * history which that store showed before can be compared with one that it shows later. Evidence of a fork never goes.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { remoteRef } from "../base/ref-path.ts";
import { fingerprint, type PublicKey } from "../keys/public-key.ts";
import { readIndex } from "./import/remotes.ts";
import type { CommittedEntry, Store } from "./store.ts";

export interface Forgotten {
  /** By which it was known. */
  readonly storeKey: PublicKey;
  readonly log: { readonly number: number; readonly head: Digest };
  readonly entry: CommittedEntry;
}

/**
 * @param of - the id of the other store
 * @throws CofferError REMOTE_NOT_FOUND - nothing is remembered of it; LOG_FORKED - it has shown two histories; as `Store.commit`
 */
export async function forgetStore(store: Store, of: Digest): Promise<Forgotten> {
  await store.needSigner();
  let known: Omit<Forgotten, "entry"> | undefined;
  const entry = await store.commit(async (head) => {
    known = undefined;
    if ((await head.readRef(remoteRef(of, "fork"))) !== undefined) {
      throw new CofferError("LOG_FORKED", `store ${short(of)} has shown two histories: what proves it is kept`);
    }
    const ref = remoteRef(of, "index");
    const index = await readIndex(store, head, of);
    if (index === undefined) {
      throw new CofferError("REMOTE_NOT_FOUND", `nothing is remembered of a store ${short(of)}`);
    }
    const { storeKey, log } = index.value;
    known = { storeKey, log: { number: log.number, head: log.head } };
    const was = `known by ${fingerprint(storeKey)}, entry ${log.number}, index ${short(index.id)}`;
    return { moves: [{ ref }], note: `forgets store ${short(of)}: ${was}` };
  });
  if (entry === undefined || known === undefined) throw new CofferError("INTERNAL", "an index was not forgotten");
  return { ...known, entry };
}
