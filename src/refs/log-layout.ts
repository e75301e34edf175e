// SPDX-License-Identifier: Apache-2.0
/**
 * Where log entries lie, and which number is the highest.
 * Layer: refs. Format: docs/format.md, "The log". Holds invariants 7 and 9. Not here: what an entry says (log-entry.ts).
 */
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Files } from "../objects/files.ts";
import { LAST_NUMBER } from "./log-entry.ts";

const PER_FOLDER = LIMITS.entriesPerFolder;
const FOLDER = /^(?:[0-9]{6}|[1-9][0-9]{6,8})$/;
const ENTRY = /^[0-9]{12}$/;

function folderPath(index: number): string {
  return `log/${String(index).padStart(6, "0")}`;
}

/** The folder of an entry: its number div LIMITS.entriesPerFolder, in six digits. */
export function entryFolder(number: number): string {
  return folderPath(Math.floor(number / PER_FOLDER));
}

/** @throws CofferError LIMIT_EXCEEDED - over twelve digits */
export function entryPath(number: number): string {
  if (!Number.isSafeInteger(number) || number < 1 || number > LAST_NUMBER) {
    throw new CofferError("LIMIT_EXCEEDED", `log: expected an entry from 1 to ${LAST_NUMBER}, found ${number}`);
  }
  return `${entryFolder(number)}/${String(number).padStart(12, "0")}`;
}

/** True if something lies at the entry's place, whatever it is. */
export async function entryExists(files: Files, number: number): Promise<boolean> {
  return (await files.stat(entryPath(number))) !== undefined;
}

/**
 * The highest number that has an entry, 0 without any. Looks at the folders' names and into the newest one.
 * @throws CofferError CORRUPT - a folder, or an entry of the newest folder, is missing below it
 */
export async function highestEntry(files: Files): Promise<number> {
  const folders = numbers(await files.list("log"), FOLDER);
  for (const folder of folders.toReversed()) {
    const entries = numbers(await files.list(folderPath(folder)), ENTRY);
    const highest = entries.at(-1);
    if (highest === undefined) continue; // made for an entry that never came
    await expectAll(files, folders, folder);
    await expectEntries(files, entries, folder);
    return highest;
  }
  return 0;
}

function numbers(names: readonly string[] | undefined, pattern: RegExp): number[] {
  return (names ?? [])
    .filter((name) => pattern.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

async function expectAll(files: Files, folders: readonly number[], newest: number): Promise<void> {
  const present = new Set(folders);
  for (let folder = 0; folder < newest; folder += 1) {
    if (present.has(folder) || (await files.stat(folderPath(folder))) !== undefined) continue;
    throw new CofferError(
      "CORRUPT",
      `log: expected folder ${folderPath(folder)} below ${folderPath(newest)}, found none`,
    );
  }
}

/** All from the folder's first number to its highest, and the last of the folder before. */
async function expectEntries(files: Files, entries: readonly number[], folder: number): Promise<void> {
  const present = new Set(entries);
  const lowest = folder * PER_FOLDER;
  const highest = entries.at(-1) ?? lowest;
  if ((entries[0] ?? lowest) < lowest || highest >= lowest + PER_FOLDER) {
    throw new CofferError("CORRUPT", `log: expected entries from ${lowest} in ${folderPath(folder)}, found others`);
  }
  for (let number = Math.max(1, lowest - 1); number < highest; number += 1) {
    // A listing may miss a name that came while it was made, and show a later one: ask again before crying wolf.
    if (present.has(number) || (await entryExists(files, number))) continue;
    throw new CofferError("CORRUPT", `log entry ${number} is missing below entry ${highest}`);
  }
}
