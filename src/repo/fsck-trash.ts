// SPDX-License-Identifier: Apache-2.0
/** The part of fsck that looks into local/trash: what is reached and lies there, of a gc that was stopped. Layer: repo. */
import type { Digest } from "../base/digest.ts";
import { counted } from "../base/quantity.ts";
import { COLLECTED_FOLDERS, type CollectedFolder, hasTrash, TRASH_FOLDER, trashPath } from "../objects/trash.ts";
import type { Findings } from "./fsck.ts";
import { placesIn, trashTally } from "./gc.ts";
import { Reach } from "./reach.ts";
import type { Store } from "./store.ts";

type Check = (path: string, id: Digest) => Promise<void>;

/**
 * @param checks - for the bytes of what is reached: readers take it from the trash
 * @throws CofferError CORRUPT - what is reached cannot be known
 */
export async function checkTrash(
  store: Store,
  found: Findings,
  checks: Partial<Readonly<Record<CollectedFolder, Check>>>,
): Promise<void> {
  if (!(await hasTrash(store.files))) return;
  let reach: Reach | undefined;
  let reached = 0;
  for (const folder of COLLECTED_FOLDERS) {
    for await (const places of placesIn(store.files, folder, `${TRASH_FOLDER}/`)) {
      for (const { path, id } of places) {
        if (id === undefined || (await store.files.stat(path)) !== undefined) continue;
        if (reach === undefined) {
          reach = new Reach(store);
          await reach.follow();
        }
        if (!(folder === "blobs" ? reach.hasBlob(id) : reach.hasObject(id))) continue;
        reached += 1;
        await found.attempt(trashPath(path), async () => checks[folder]?.(trashPath(path), id));
      }
    }
  }
  const { files } = await trashTally(store.files);
  if (reached > 0) {
    found.notes.push(
      `${reached} files that are reached lie in ${TRASH_FOLDER}, left by an interrupted gc; run \`coffer gc\``,
    );
  } else if (files > 0)
    found.notes.push(`${counted(files, "file")} in ${TRASH_FOLDER}; gc removes what has lain there for a day`);
}
