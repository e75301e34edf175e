// SPDX-License-Identifier: Apache-2.0
/** `log fork show`: stores that have shown two histories, and the evidence of it. Layer: cli. */
import { short } from "../../base/digest.ts";
import { ERRORS, EXIT } from "../../base/errors.ts";
import { fingerprint } from "../../keys/public-key.ts";
import { type Fork, listForks, type SeenHistory } from "../../repo/forks.ts";
import { type Context, open } from "../context.ts";

/** @returns 7, the status of LOG_FORKED, if any store has */
export async function runForkShow(context: Context, which: string | undefined): Promise<number> {
  const { ui } = context;
  const forks = await listForks(await open(context), which?.toLowerCase());
  const exit = forks.length === 0 ? EXIT.ok : ERRORS.LOG_FORKED.exit;
  ui.json({ forks: forks.map(forkJson), exit });
  for (const fork of forks) for (const line of linesOf(fork)) ui.data(line);
  if (forks.length === 0) ui.say("no store that this one took over from has shown two histories");
  for (const { store } of forks) {
    ui.say(`store ${short(store)}: its revocations and refusals are taken as before, nothing that it trusts`);
    ui.say("  show both indexes, with the signatures over them, to whoever keeps it: its key may be in other hands");
    ui.say("  if it was put back from a backup, `coffer log adopt-restore` gives it the new store id that it needs");
  }
  return exit;
}

function linesOf({ store, histories, clashes }: Fork): string[] {
  return [
    `store ${store}`,
    ...clashes.flatMap(({ number, entries }) => [
      `  entry ${number} was shown as`,
      ...entries.map(({ head, indexes }) => `    ${head}  by ${indexes.map(short).join(", ")}`),
    ]),
    ...histories.flatMap(historyLines),
  ];
}

function historyLines(history: SeenHistory): string[] {
  const { index, storeKey, number, head, signature, adopted } = history;
  const proof =
    signature !== undefined
      ? `signed: ${signature}`
      : "not signed: it was read from the store's folder, so it proves nothing to others";
  return [
    `  index ${index}${adopted ? "  (adopted)" : "  (not adopted)"}`,
    `    entry ${number}  ${head}`,
    `    key ${fingerprint(storeKey)}`,
    `    ${proof}`,
  ];
}

function forkJson({ store, histories, clashes }: Fork) {
  const shown = histories.map(({ index, storeKey, number, head, signature, adopted }) => ({
    ...{ index, storeKey: storeKey.text, keyId: storeKey.keyId, log: { number, head }, adopted },
    ...(signature === undefined ? {} : { signature }),
  }));
  return { store, histories: shown, clashes };
}
