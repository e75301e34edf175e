// SPDX-License-Identifier: Apache-2.0
/**
 * Folders that are built beside their place and renamed there whole: stores, checkouts. Their names tell whose they are, so
 * that the next one who builds there removes what a stopped process left. Layer: repo. Files: objects/leftovers.ts.
 */
import { basename, dirname, join } from "node:path";
import { passOthers } from "../base/errors.ts";
import type { Files } from "../objects/files.ts";
import { namesIn, tempName } from "../objects/layout.ts";
import { writerStates } from "../objects/leftovers.ts";
import { removeTree } from "../objects/sub-folder.ts";
import type { Ports } from "./ports.ts";

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
 * What cannot be listed or removed stays: whether the act can do its own work there, it finds out by doing it.
 *
 * @param beside - a port on the folder that holds `place`
 */
export async function sweepBeside(place: string, beside: Files): Promise<void> {
  const prefix = prefixFor(place);
  const stateOf = writerStates(beside);
  await tolerant(async () => {
    for (const name of await namesIn(beside, ".")) {
      if (!name.startsWith(prefix) || !/^(.+-)?[0-9a-f]{32}$/.test(name.slice(prefix.length))) continue;
      const state = stateOf(name.slice(prefix.length));
      if (state === "gone" || (state === "unknown" && (await isOld(beside, name))))
        await tolerant(() => removeTree(beside, name));
    }
  });
}

async function tolerant(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    passOthers(error, "IO_ERROR", "READ_ONLY", "NO_SPACE", "CORRUPT");
  }
}

async function isOld(beside: Files, name: string): Promise<boolean> {
  const stat = await beside.stat(name);
  return stat !== undefined && Number(stat.mtimeNs / 1_000_000n) + LEFT_AFTER_MS < Date.now();
}
