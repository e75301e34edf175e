// SPDX-License-Identifier: Apache-2.0
/** Calls of node:fs outside a store, whose faults become coded errors, and folders with their parents. Layer: repo. */
import { lstat, mkdir, stat } from "node:fs/promises";
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
 * where a file system answers ENOENT to mkdir itself, as /proc does.) Wrap it in `system`.
 *
 * @param mode - of each folder that is made, less the umask
 * @throws the system's error, as node:fs does: ENOENT, ENOTDIR, EACCES …; EEXIST if something else lies there
 */
export async function makeFolders(path: string, mode = 0o777): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !(await isThere(at)); at = dirname(at)) {
    missing.push(at);
    if (dirname(at) === at) break;
  }
  if (missing.length === 0) missing.push(resolve(path)); // there, but perhaps no folder
  for (const folder of missing.reverse()) await makeFolder(folder, mode);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** A folder that is there, or that somebody else made meanwhile, is fine, also behind a link. */
async function makeFolder(folder: string, mode: number): Promise<void> {
  try {
    await mkdir(folder, { mode });
    if ((mode & 0o077) !== 0) shareLikeParent(folder); // not what is to stay this account's alone
  } catch (error) {
    const there = await stat(folder).catch(() => undefined); // what mkdir said matters more
    if (there?.isDirectory() !== true) throw error;
  }
}
