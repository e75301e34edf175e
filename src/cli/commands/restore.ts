// SPDX-License-Identifier: Apache-2.0
/** `log adopt-restore`: going on after a restore from an older backup. Layer: cli. */

import { CofferError } from "../../base/errors.ts";
import { adoptRestore } from "../../repo/adopt-restore.ts";
import { type Context, findStore, locate, storeFlag } from "../context.ts";
import { adoptedJson } from "../json-setup.ts";

export interface AdoptRestoreOptions {
  readonly head?: string;
  readonly acceptLostRevocations?: boolean;
}

export async function runAdoptRestore(context: Context, options: AdoptRestoreOptions): Promise<void> {
  const { io, ui } = context;
  if (!context.options.memory) {
    throw new CofferError(
      "USAGE",
      "adopt-restore compares the store with this machine's memory: leave out --no-memory",
    );
  }
  const location = locate(context, findStore(context));
  const confirmation = {
    acceptLostRevocations: options.acceptLostRevocations === true,
    ...(options.head === undefined ? {} : { head: options.head.toLowerCase() }),
  };
  const done = await adoptRestore(location, confirmation, io.ports);
  ui.json(adoptedJson(done));
  ui.data(done.newStoreId);
  ui.say(`the store goes on from entry ${done.restored.number} in a new log, under a new store id`);
  ui.say(`the log that was there is kept in ${done.former}`);
  for (const { name, state, issuedAt } of done.loose) ui.warn(`${name} was ${state} at ${issuedAt}: revoke it again`);
  ui.warn("other machines remember the old store id: tell them the new one");
  ui.next(`coffer fsck${storeFlag(context)}`);
}
