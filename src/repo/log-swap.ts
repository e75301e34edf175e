// SPDX-License-Identifier: Apache-2.0
/**
 * Puts a log that was built aside in the place of the one that is there. Layer: repo. Holds invariant 4.
 *
 * Two renames, since no call of Node swaps two folders. A stop between them leaves a store without `log`, which nothing
 * trusts; whoever opens it next makes the second one.
 */
import { passOthers } from "../base/errors.ts";
import type { Files } from "../objects/files.ts";
import { removeTree } from "../objects/sub-folder.ts";

/** The new log is built in a folder of its own, with `log` and `local/tmp` as in a store. */
export const STAGE = "local/adopt";

/** An empty place to build in; what a stopped run left there goes. */
export async function prepareStage(files: Files): Promise<void> {
  if ((await files.stat(STAGE)) !== undefined) await removeTree(files, STAGE);
  for (const folder of [STAGE, `${STAGE}/local`, `${STAGE}/local/tmp`]) await files.makeFolder(folder);
  await files.fsyncFolder("local");
}

/** @param former - where the log that is there goes, below `former/`. @throws CofferError IO_ERROR - that is taken */
export async function swapLog(files: Files, former: string): Promise<void> {
  await files.makeFolder("former");
  await files.fsyncFolder(".");
  await files.rename("log", `former/${former}`);
  await files.fsyncFolder("former");
  await files.fsyncFolder(".");
  await finishAdoption(files);
}

/** The second rename, if it is due: there is no log, and one that is ready. */
export async function finishAdoption(files: Files): Promise<void> {
  if ((await files.stat("log")) !== undefined || (await files.stat(`${STAGE}/log`)) === undefined) return;
  if ((await files.stat("former")) === undefined) return;
  try {
    await files.rename(`${STAGE}/log`, "log");
    await files.fsyncFolder(".");
    await removeTree(files, STAGE);
  } catch (error) {
    // This account may not write here: the store opens as it is, without a log, and says so.
    passOthers(error, "IO_ERROR", "READ_ONLY", "NO_SPACE", "CORRUPT");
  }
}
