// SPDX-License-Identifier: Apache-2.0
/**
 * Folders that are built beside their place and renamed there whole: stores, checkouts. Their names tell whose they are, so
 * that the next one who builds there removes what a stopped process left. Layer: repo. Files: objects/leftovers.ts.
 */
import { lstat, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemCode } from "../base/errors.ts";
import type { Files } from "../objects/files.ts";
import { tempName } from "../objects/layout.ts";
import { writerStates } from "../objects/leftovers.ts";
import type { Ports } from "./ports.ts";
import { system } from "./system.ts";

/** Of a name so much is kept in the temporary one, which may have 255 bytes. */
const NAME_CHARS = 30;
const LEFT_AFTER_MS = 24 * 3600 * 1000;

function prefixFor(place: string): string {
  return `.${[...basename(place)].slice(0, NAME_CHARS).join("")}.`;
}

/** Where to build what is to stand at `place`. @param files - a port of this process */
export function buildingPlace(place: string, files: Files, ports: Ports): string {
  return join(dirname(place), `${prefixFor(place)}${tempName(files.writer, ports.random)}`);
}

/**
 * Removes what was being built for `place` by processes that ended, and by those that nobody can ask after a day.
 * @throws CofferError IO_ERROR
 */
export async function sweepBeside(place: string, files: Files): Promise<void> {
  const [parent, prefix] = [dirname(place), prefixFor(place)];
  const stateOf = writerStates(files);
  for (const name of await namesIn(parent)) {
    if (!name.startsWith(prefix) || !/^(.+-)?[0-9a-f]{32}$/.test(name.slice(prefix.length))) continue;
    const path = join(parent, name);
    const state = stateOf(name.slice(prefix.length));
    if (state !== "gone" && (state === "living" || !(await isOld(path)))) continue;
    await system("remove what a stopped process left", () => rm(path, { recursive: true, force: true }));
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // What cannot be listed is left as it is: the act says itself what is wrong with the folder.
    if (systemCode(error) === undefined) throw error;
    return [];
  }
}

async function isOld(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).mtimeMs + LEFT_AFTER_MS < Date.now();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}
