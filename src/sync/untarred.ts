// SPDX-License-Identifier: Apache-2.0
/**
 * Items that lie side by side in folders, as volumes do that were untarred. Layer: sync. Not here: which folders (volumes.ts).
 */
import { createHash } from "node:crypto";
import { CofferError, passOthers } from "../base/errors.ts";
import type { OpenFile } from "../objects/files.ts";
import { fileInput } from "./input.ts";
import { fromMedium, mediumFile } from "./medium.ts";
import { isThere, type Place } from "./places.ts";
import { type Item, itemPath, type Parcel } from "./source.ts";

/** The item as it lies in one of the folders; of several copies the first that is whole, or the first if none is. */
export async function* folderParcel(folders: readonly Place[], item: Item): AsyncGenerator<Parcel> {
  const holding = await foldersWith(folders, itemPath(item));
  let [chosen] = holding;
  if (holding.length > 1)
    for (const folder of holding)
      if (await isWhole(folder, item)) {
        chosen = folder;
        break;
      }
  const file = chosen === undefined ? undefined : await openItem(chosen, item);
  if (file === undefined) return;
  try {
    yield { item, read: () => wholeFile(file, item) };
  } finally {
    await file.close();
  }
}

/** Paths of items that lie in none of the folders. */
export async function lostItems(folders: readonly Place[], items: readonly Item[]): Promise<readonly string[]> {
  const lost: string[] = [];
  for (const item of items) {
    const path = itemPath(item);
    if ((await foldersWith(folders, path, 1)).length === 0) lost.push(path);
  }
  return lost;
}

async function foldersWith(folders: readonly Place[], path: string, most = folders.length): Promise<readonly Place[]> {
  const holding: Place[] = [];
  for (const folder of folders) {
    if (holding.length === most) break;
    if (await isThere(folder.files, `${folder.path}${path}`)) holding.push(folder);
  }
  return holding;
}

/** True of what has the right size, and the right hash where its name is one. */
async function isWhole(folder: Place, item: Item): Promise<boolean> {
  const digest =
    item.kind === "object" ? item.id : item.kind === "blob" && item.part === undefined ? item.blob : undefined;
  try {
    const file = await openItem(folder, item);
    if (file === undefined) return false;
    try {
      const hash = createHash("sha256");
      for await (const piece of wholeFile(file, item)) hash.update(piece);
      return digest === undefined || hash.digest("hex") === digest;
    } finally {
      await file.close();
    }
  } catch (error) {
    passOthers(error, "VOLUME_DAMAGED");
    return false;
  }
}

async function openItem({ files, path }: Place, item: Item): Promise<OpenFile | undefined> {
  const what = itemPath(item);
  const file = await fromMedium(what, () => files.open(`${path}${what}`));
  return file === undefined ? undefined : mediumFile(file, what);
}

async function* wholeFile(file: OpenFile, item: Item): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = await file.stat();
  if (sizeBytes !== item.sizeBytes) {
    const text = `${itemPath(item)}: expected ${item.sizeBytes} bytes, found ${sizeBytes}`;
    throw new CofferError("VOLUME_DAMAGED", text);
  }
  yield* fileInput(file, itemPath(item)).pieces(item.sizeBytes);
}
