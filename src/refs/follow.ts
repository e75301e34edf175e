// SPDX-License-Identifier: Apache-2.0
/**
 * The hint and the views after the log: the hint is written when the views of its entry are there, so that views which a
 * stopped process did not write are noticed by the next one. Layer: refs. Not here: how a view is written (views.ts).
 */
import type { Random } from "../base/ports.ts";
import type { RefPath } from "../base/ref-path.ts";
import type { HeadView } from "./head-view.ts";
import type { Log } from "./log.ts";
import type { LogEntry } from "./log-entry.ts";
import { checkViews, repairViews, updateViews } from "./views.ts";

/** So many entries behind, all views are looked at instead. */
const MOST_ENTRIES = 64;

export interface Following {
  readonly random: Random;
  readonly readHead: () => Promise<HeadView>;
}

/**
 * Writes the views that entries after the hint moved, `entry` the last of them, then the hint.
 * @throws CofferError CORRUPT - something else lies in the way; NO_SPACE, IO_ERROR; the hint stays behind then
 */
export async function followWithViews(log: Log, entry: LogEntry, { random, readHead }: Following): Promise<void> {
  const { number } = entry.facts;
  const target = { files: log.files, random };
  const behind = await refsBehind(log, entry);
  if (behind === undefined) {
    const head = await readHead();
    await repairViews(target, await checkViews(log.files, head.listRefs()), readHead);
  } else await updateViews(target, [...behind], readHead);
  if (((await log.readHint()) ?? 0) < number) await log.writeHint(number, random);
}

/** True if the views may not be those of `number`, the newest entry. */
export async function areViewsBehind(log: Log, number: number): Promise<boolean> {
  return ((await log.readHint()) ?? 0) < number;
}

/** What was moved after the hint; undefined if that is not known. */
async function refsBehind(log: Log, entry: LogEntry): Promise<Set<RefPath> | undefined> {
  const { number, moves } = entry.facts;
  const hint = await log.readHint();
  if (number > 1 && (hint === undefined || number - hint > MOST_ENTRIES)) return undefined;
  const refs = new Set(moves.map(({ ref }) => ref));
  for (let before = number - 1; before > (hint ?? 0); before -= 1) {
    for (const { ref } of (await log.readPast(before))?.facts.moves ?? []) refs.add(ref);
  }
  return refs;
}
