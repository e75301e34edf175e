// SPDX-License-Identifier: Apache-2.0
/**
 * Temporary files that a stopped process left under local/tmp: removed by the next writer, as soon as it is certain that
 * nobody writes them any more. Layer: objects. Not here: who is whose (this-process.ts), checkouts and new stores (repo).
 *
 * A file that is swept while its writer lives after all (a machine that was cloned while it ran, say) costs that writer
 * the act, which fails where the file was to get its name. It never costs the store anything.
 */
import type { Random } from "../base/ports.ts";
import type { FileStat, Files, WriterState } from "./files.ts";
import { createTemp, IMPORT_PREFIX, markOf, namesIn, TEMP_FOLDER, tempPath } from "./layout.ts";
import { removeTree } from "./sub-folder.ts";

/** Older than that, a file of somebody who cannot be asked after is taken to be left. */
export const LEFT_AFTER_S = 24 * 3600;
const LEFT_AFTER_NS = BigInt(LEFT_AFTER_S) * 1_000_000_000n;
/** An interrupted import is given this long to be taken up again, counted from the last file that it began. */
const STAGED_FOR_NS = 7n * LEFT_AFTER_NS;

/** Remembers each answer for one sweep. */
export function writerStates({ writer }: Files): (name: string) => WriterState {
  const states = new Map<string, WriterState>();
  return (name) => {
    const mark = markOf(name);
    const state = states.get(mark) ?? writer.stateOf(mark);
    states.set(mark, state);
    return state;
  };
}

/**
 * @returns how many files were removed
 * @throws CofferError NO_SPACE, IO_ERROR, CORRUPT - what was removed by then is gone
 */
export async function sweepLeftovers(files: Files, random: Random): Promise<number> {
  const stateOf = writerStates(files);
  const doubtful: string[] = [];
  let removed = 0;
  for (const name of await namesIn(files, TEMP_FOLDER)) {
    const path = `${TEMP_FOLDER}/${name}`;
    const state = stateOf(name);
    if (state === "unknown") doubtful.push(path);
    if (state === "gone" && (await files.remove(path))) removed += 1;
  }
  if (doubtful.length === 0) return removed;
  const nowNs = await diskTime(files, random);
  for (const path of doubtful) {
    const stat = await files.stat(path);
    if (stat === undefined) continue;
    if (stat.kind === "folder" && path.startsWith(`${TEMP_FOLDER}/${IMPORT_PREFIX}`)) {
      removed += await sweepStaging(files, path, stat, nowNs, stateOf);
      continue;
    }
    if (!isLeft(stat, nowNs)) continue;
    if (await files.remove(path)) removed += 1;
  }
  return removed;
}

/** What an import left that nobody has taken up again; a fresh one, or one at work whatever its clock said, is kept whole. */
async function sweepStaging(
  files: Files,
  folder: string,
  stat: FileStat,
  nowNs: bigint,
  stateOf: (name: string) => WriterState,
): Promise<number> {
  const names = await namesIn(files, folder);
  if (names.some((name) => stateOf(name.split(".")[0] ?? "") === "living")) return 0;
  let newestNs = stat.mtimeNs;
  for (const name of names) {
    const { mtimeNs } = (await files.stat(`${folder}/${name}`)) ?? { mtimeNs: nowNs };
    if (mtimeNs > newestNs) newestNs = mtimeNs;
  }
  if (newestNs + STAGED_FOR_NS >= nowNs) return 0;
  await removeTree(files, folder);
  return names.length;
}

function isLeft({ kind, mtimeNs }: FileStat, nowNs: bigint): boolean {
  return kind === "file" && mtimeNs + LEFT_AFTER_NS < nowNs;
}

/** Now by the clock that dates the files: on a network share that is the server's, not this machine's. */
async function diskTime(files: Files, random: Random): Promise<bigint> {
  const path = tempPath(files, random);
  const file = await createTemp(files, path, 0o444);
  try {
    return (await file.stat()).mtimeNs;
  } finally {
    await Promise.allSettled([file.close()]); // the time is known, or the first failure is the one to tell
    await files.remove(path);
  }
}
