// SPDX-License-Identifier: Apache-2.0
/**
 * local/trash: where gc puts what nothing reaches, under the path that it had, for a day. Readers look there too, so
 * what came to be reached at that very moment is never missing. Layer: objects. Not here: what is reached (repo/gc.ts).
 *
 * A file that is put back keeps its name in the trash until its day is over: a reader that looks at the place first and
 * then into the trash can at no time find neither. Files in the trash are checked against their names like any other.
 */
import { isCofferError, systemCode } from "../base/errors.ts";
import type { FileStat, Files, OpenFile } from "./files.ts";
import { ensureFolders, parentFolder } from "./layout.ts";

export const TRASH_FOLDER = "local/trash";
/** The folders whose files gc may move. */
export const COLLECTED_FOLDERS = ["objects", "signatures", "blobs"] as const;
export type CollectedFolder = (typeof COLLECTED_FOLDERS)[number];

/** Where the file of `path` lies once gc has moved it. */
export function trashPath(path: string): string {
  return `${TRASH_FOLDER}/${path}`;
}

/** `files.read`, in its place or in the trash. */
export async function readKept(files: Files, path: string, limitBytes: number): Promise<Uint8Array | undefined> {
  return (await files.read(path, limitBytes)) ?? files.read(trashPath(path), limitBytes);
}

/** `files.open`, in its place or in the trash. */
export async function openKept(files: Files, path: string): Promise<OpenFile | undefined> {
  return (await files.open(path)) ?? files.open(trashPath(path));
}

/** `files.stat`, in its place or in the trash. */
export async function statKept(files: Files, path: string): Promise<FileStat | undefined> {
  return (await files.stat(path)) ?? files.stat(trashPath(path));
}

/** False as long as no gc has ever moved anything here: then nothing can have gone away. */
export async function hasTrash(files: Files): Promise<boolean> {
  return (await files.stat(TRASH_FOLDER)) !== undefined;
}

/**
 * Moves a file to the trash; its time becomes now, which is when its day begins. The folder of the trash is there.
 *
 * @returns "linked": it was put back within a day, and its second name in the trash still stands. "foreign": another
 *   account's. "gone": somebody else took it away
 */
export async function moveToTrash(files: Files, path: string): Promise<"moved" | "linked" | "foreign" | "gone"> {
  const [stat, there] = [await files.stat(path), await files.stat(trashPath(path))];
  if (stat === undefined) return "gone";
  // rename(2) does nothing to two names of one file.
  if (there !== undefined && there.inode === stat.inode && there.device === stat.device) return "linked";
  try {
    // Before the move: a file that is in the trash with an old time would be removed without its day.
    if (!(await files.touch(path))) return "gone";
  } catch (error) {
    if (isCofferError(error) && systemCode(error.cause) === "EPERM") return "foreign";
    throw error;
  }
  try {
    await files.rename(path, trashPath(path));
    return "moved";
  } catch (error) {
    if (isAbsence(error)) return "gone";
    throw error;
  }
}

/**
 * Puts a file back from the trash, durably, if its place is empty. Whatever lies there is not touched.
 * @returns "gone": it is in neither place
 */
export async function putBack(files: Files, path: string): Promise<"there" | "restored" | "gone"> {
  if ((await files.stat(path)) !== undefined) return "there";
  await ensureFolders(files, [parentFolder(path)]);
  try {
    if (!(await linkOrRename(files, path))) return "there";
  } catch (error) {
    if (!isAbsence(error)) throw error;
    return (await files.stat(path)) === undefined ? "gone" : "there";
  }
  await files.fsyncFolder(parentFolder(path));
  return "restored";
}

/** Linux lets nobody link another account's read-only file, but rename it. */
async function linkOrRename(files: Files, path: string): Promise<boolean> {
  try {
    return await files.link(trashPath(path), path);
  } catch (error) {
    if (!isCofferError(error) || systemCode(error.cause) !== "EPERM") throw error;
    await files.rename(trashPath(path), path);
    return true;
  }
}

function isAbsence(error: unknown): boolean {
  return isCofferError(error) && systemCode(error.cause) === "ENOENT";
}
