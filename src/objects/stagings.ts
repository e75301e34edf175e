// SPDX-License-Identifier: Apache-2.0
/**
 * What imports keep under local/tmp until they are done: whose it is, and whether it may go. Layer: objects. Not here: how
 * an import goes on with it (repo/import/staging.ts), the sweep that every writer does (leftovers.ts).
 *
 * Whoever takes a file over renames it to a name of its own, so removing one by the name of somebody who has ended never
 * takes it from somebody at work.
 */
import type { Files, WriterState } from "./files.ts";
import { IMPORT_PREFIX, markOf, namesIn, TEMP_FOLDER } from "./layout.ts";
import { LEFT_AFTER_S, writerStates } from "./leftovers.ts";

export interface StagedFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** "nobody": an import that failed left it to whoever comes next. */
  readonly whose: WriterState | "nobody";
}

/** What is kept of one bundle, or of what one store sends. */
export interface StagedFolder {
  readonly path: string;
  /** When something was written there for the last time, in seconds since 1970. */
  readonly lastS: number;
  readonly files: readonly StagedFile[];
}

/** @throws CofferError IO_ERROR, CORRUPT */
export async function* stagedFolders(files: Files): AsyncGenerator<StagedFolder> {
  const stateOf = writerStates(files);
  const whose = (name: string): StagedFile["whose"] => {
    const [writer = ""] = name.split(".");
    // Where processes have no marks, a name without one may be that of a process at work.
    return markOf(writer) === "" && files.writer.mark !== "" ? "nobody" : stateOf(writer);
  };
  for (const name of await namesIn(files, TEMP_FOLDER)) {
    const path = `${TEMP_FOLDER}/${name}`;
    const folder = name.startsWith(IMPORT_PREFIX) ? await files.stat(path) : undefined;
    if (folder?.kind !== "folder") continue;
    let newestNs = folder.mtimeNs;
    const found: StagedFile[] = [];
    for (const inner of await namesIn(files, path)) {
      const stat = await files.stat(`${path}/${inner}`);
      if (stat?.kind !== "file") continue;
      if (stat.mtimeNs > newestNs) newestNs = stat.mtimeNs;
      found.push({ path: `${path}/${inner}`, sizeBytes: stat.sizeBytes, whose: whose(inner) });
    }
    yield { path, lastS: Number(newestNs / 1_000_000_000n), files: found };
  }
}

/** Never what a writer at work has; of writers that cannot be asked after only what has not changed for a day. */
export function mayGo(
  folder: StagedFolder,
  { whose }: Pick<StagedFile, "whose">,
  nowS: number,
  olderThanS: number,
): boolean {
  if (whose === "living") return false;
  return folder.lastS <= nowS - (whose === "unknown" ? Math.max(olderThanS, LEFT_AFTER_S) : olderThanS);
}
