// SPDX-License-Identifier: Apache-2.0
/** `pull`: takes over what another store in a folder of this machine holds, by the one way in. Layer: repo. */

import { type ImportOptions, type ImportReport, importFrom } from "./import.ts";
import { openFolderSource } from "./incoming.ts";
import type { Store } from "./store.ts";

/** Whom a folder asks what need not come: nobody, where what lies here is to be mended. */
export function receiverFor(store: Store, { mend }: ImportOptions): Store | undefined {
  return mend === true ? undefined : store;
}

/** @throws CofferError as `openFolderSource` and `importFrom` */
export async function pull(store: Store, root: string, options: ImportOptions = {}): Promise<ImportReport> {
  return importFrom(store, await openFolderSource(root, store.ports, receiverFor(store, options)), options);
}
