// SPDX-License-Identifier: Apache-2.0
/** A writer that is quicker than the one under test. */
import type { Store } from "../../src/repo/store.ts";

/** The next commit through `store` that is to move something decides so, and then `rival` comes first. */
export function overtake({ store }: { readonly store: Store }, rival: () => Promise<unknown>): void {
  const commit = store.commit.bind(store);
  let done = false;
  store.commit = (act) =>
    commit(async (head) => {
      const draft = await act(head);
      if (!done && draft !== undefined && draft.moves.length > 0) {
        done = true;
        await rival();
      }
      return draft;
    });
}
