// SPDX-License-Identifier: Apache-2.0
/**
 * Small files that a person names: keys, passphrases, policies, signatures. Never more than the limit is read, and
 * nothing that could block or never end: a fifo, a terminal, a device. Links are followed. Layer: cli.
 */
import { closeSync, constants as flags, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { basename } from "node:path";
import { CofferError, isCofferError, systemCode } from "../base/errors.ts";

export interface SmallFile {
  readonly bytes: Uint8Array;
  /** Permission bits of the file that was read. */
  readonly mode: number;
}

/**
 * The whole of a regular file.
 *
 * @param limitBytes - the most that it may hold
 * @param what - what it should be, for messages: "a key", "a policy"
 * @throws CofferError FILE_NOT_FOUND; USAGE - no regular file; LIMIT_EXCEEDED; IO_ERROR
 */
export function readSmallFile(path: string, limitBytes: number, what: string): Uint8Array {
  return openSmallFile(path, limitBytes, what).bytes;
}

/** As `readSmallFile`, with the mode, taken from the same descriptor as the bytes. */
export function openSmallFile(path: string, limitBytes: number, what: string): SmallFile {
  const name = basename(path);
  try {
    // Looked at before it is opened: opening alone already does something to some devices.
    checkRegular(statSync(path), name, what);
    const file = openSync(path, flags.O_RDONLY | flags.O_NONBLOCK | flags.O_NOCTTY);
    try {
      const stat = fstatSync(file);
      checkRegular(stat, name, what); // another file may have taken its place
      return { bytes: readAtMost(file, limitBytes, `${name}: too large for ${what}`), mode: stat.mode & 0o7777 };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (isCofferError(error)) throw error;
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new CofferError("FILE_NOT_FOUND", `${name}: expected ${what}, found no such file`, { cause: error });
    throw new CofferError("IO_ERROR", `${name}: cannot read it (${code})`, { cause: error });
  }
}

function checkRegular(stat: Stats, name: string, what: string): void {
  if (stat.isFile()) return;
  const found = stat.isDirectory() ? "a folder" : "a pipe, a device or a socket";
  throw new CofferError("USAGE", `${name}: expected ${what} in a regular file, found ${found}`);
}

/**
 * For what is large and read elsewhere: a file or a folder, or nothing yet.
 * @throws CofferError USAGE - something that is read as a pipe, or has no end
 */
export function refuseSpecial(path: string, shown: string, what: string): void {
  let stat: Stats | undefined;
  try {
    stat = statSync(path, { throwIfNoEntry: false });
  } catch {
    return; // whoever reads it says better what is wrong with the path
  }
  if (stat === undefined || stat.isFile() || stat.isDirectory()) return;
  throw new CofferError("USAGE", `${shown}: expected ${what}, found a pipe, a device or a socket`);
}

/** The size that stat tells is not relied on: files of /proc have none, and a file may grow. */
function readAtMost(file: number, limitBytes: number, tooLarge: string): Uint8Array {
  const bytes = new Uint8Array(limitBytes + 1);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(file, bytes, filled, bytes.length - filled, null);
    if (count === 0) return bytes.subarray(0, filled);
    filled += count;
  }
  throw new CofferError("LIMIT_EXCEEDED", tooLarge);
}
