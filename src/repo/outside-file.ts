// SPDX-License-Identifier: Apache-2.0
/**
 * Files outside the store, as on a stick: whole and durable, or not there. What a stopped run left is removed by the next one.
 * Layer: repo. The folder need not know links.
 */
import { basename, dirname } from "node:path";
import { passOthers } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import type { Files } from "../objects/files.ts";
import { tempName } from "../objects/layout.ts";
import { writerStates } from "../objects/leftovers.ts";
import { discard, writeTemp } from "../refs/temp-file.ts";
import { namesOn } from "../sync/places.ts";
import type { Ports } from "./ports.ts";

const PART_BEGIN = ".coffer-part-";

/** A name for a file that is being written beside its place. */
export function partName({ writer }: Files, random: Random): string {
  return `${PART_BEGIN}${tempName(writer, random)}`;
}

/** Removes such files of processes that ended. Others may be at work in the same folder. */
export async function sweepParts(files: Files): Promise<void> {
  const stateOf = writerStates(files);
  for (const name of (await namesOn(files, ".", "the folder to write to")) ?? []) {
    if (!name.startsWith(PART_BEGIN)) continue;
    if (stateOf(name.slice(PART_BEGIN.length)) === "gone") await files.remove(name);
  }
}

/** Whether a folder is at an absolute path, or what leads to one; false for anything else and for nothing. */
export async function isFolderAt({ openFolder }: Pick<Ports, "openFolder">, path: string): Promise<boolean> {
  try {
    return (await openFolder(path).isEmpty(".")) !== undefined; // reads one entry, however many there are
  } catch (error) {
    passOthers(error, "CORRUPT"); // in a store that is what something else in a folder's place means
    return false;
  }
}

/**
 * Takes the place of what is there.
 * @param path - absolute
 * @throws CofferError NO_SPACE, READ_ONLY, IO_ERROR
 */
export async function writeOutside(
  { openFolder, random }: Pick<Ports, "openFolder" | "random">,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const [files, name] = [openFolder(dirname(path)), basename(path)];
  await sweepParts(files);
  const temp = partName(files, random);
  await writeTemp(files, temp, bytes, 0o644);
  try {
    await files.rename(temp, name);
  } catch (error) {
    await discard(files, temp);
    throw error;
  }
  await files.fsyncFolder(".");
}
