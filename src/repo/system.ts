// SPDX-License-Identifier: Apache-2.0
/** Calls of node:fs outside a store, whose faults become coded errors, and folders with their parents. Layer: repo. */
import { lstatSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CofferError, type ErrorCode, systemCode } from "../base/errors.ts";
import { shareLikeParent } from "../objects/descriptors.ts";

const KINDS: Readonly<Record<string, ErrorCode>> = { ENOSPC: "NO_SPACE", EDQUOT: "NO_SPACE", EROFS: "READ_ONLY" };

/**
 * @param doing - what was attempted, for the message: "make the folder"
 * @throws CofferError NO_SPACE (ENOSPC, EDQUOT), READ_ONLY (EROFS) or IO_ERROR with the system's error as cause; anything else as it is
 */
export async function system<T>(doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    throw new CofferError(KINDS[code] ?? "IO_ERROR", `cannot ${doing} (${code})`, { cause: error });
  }
}

/**
 * Makes a folder and the parents that are missing, each tried once. (The recursive mkdir of node:fs never returns
 * where a file system answers ENOENT to mkdir itself, as /proc does.) Wrap it in `system`. Synchronous: every start of a
 * command comes through here, and node:fs/promises alone would cost it a twentieth.
 *
 * @param mode - of each folder that is made, less the umask
 * @throws the system's error, as node:fs does: ENOENT, ENOTDIR, EACCES …; EEXIST if something else lies there
 */
export async function makeFolders(path: string, mode = 0o777): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); lstatSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at)) {
    missing.push(at);
    if (dirname(at) === at) break;
  }
  if (missing.length === 0) missing.push(resolve(path)); // there, but perhaps no folder
  for (const folder of missing.reverse()) makeFolder(folder, mode);
}

/** A folder that is there, or that somebody else made meanwhile, is fine, also behind a link. */
function makeFolder(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
    if ((mode & 0o077) !== 0) shareLikeParent(folder); // not what is to stay this account's alone
  } catch (error) {
    if (!isFolder(folder)) throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false; // what mkdir said matters more
  }
}
