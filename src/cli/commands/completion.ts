// SPDX-License-Identifier: Apache-2.0
/** `completion` and what its scripts call. Layer: cli. */
import type { Command } from "commander";
import { CofferError, isCofferError } from "../../base/errors.ts";
import { quote } from "../../base/quote.ts";
import { namesWith } from "../../repo/list.ts";
import { listRemotes } from "../../repo/remotes.ts";
import { candidateText, complete, type KnownOf, SHELLS } from "../complete.ts";
import { completionScript } from "../completion.ts";
import { type Context, open } from "../context.ts";
import { pagesOf } from "../pages.ts";

export function runCompletion({ ui }: Context, text: string): void {
  const shell = SHELLS.find((known) => known === text);
  if (shell === undefined) throw new CofferError("USAGE", `expected ${SHELLS.join(", ")}, found ${quote(text)}`);
  const script = completionScript(shell);
  ui.json({ shell, script });
  ui.raw(script);
}

export async function runComplete(context: Context, root: Command, words: readonly string[]): Promise<void> {
  const found = await complete(pagesOf(root), words, (...asked) => known(context, ...asked));
  context.ui.raw(candidateText(found));
}

/** More than anybody reads at a TAB. */
const MOST_NAMES = 200;

/** Options that lead to a store, as they were typed on the line that is being completed. */
async function known(context: Context, ...[kind, globals, prefix]: Parameters<KnownOf>): Promise<string[]> {
  const store = globals.get("--store");
  const options = { ...context.options, ...(store === undefined ? {} : { store }) };
  try {
    const from = await open({ ...context, options });
    if (kind === "names") return (await namesWith(from, prefix, MOST_NAMES)).map((name) => name.text);
    return (await listRemotes(from)).map(({ name }) => name).filter((name) => name.startsWith(prefix));
  } catch (error) {
    // At a TAB nobody wants to read of a store that is missing or damaged: the command itself will tell.
    if (isCofferError(error)) return [];
    throw error;
  }
}
