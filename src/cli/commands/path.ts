// SPDX-License-Identifier: Apache-2.0
/** `path` and `checkout`: verified files for a runtime. Layer: cli. */
import { resolve as resolvePath } from "node:path";
import { parseName } from "../../base/names.ts";
import { checkout, pathOf } from "../../repo/materialise.ts";
import { type Context, open } from "../context.ts";
import { counted } from "../format.ts";
import { checkedOutJson, pathJson } from "../json-reading.ts";

export async function runPath(
  context: Context,
  text: string,
  file: string | undefined,
  options: { readonly to?: string },
): Promise<void> {
  const { io, ui } = context;
  const store = await open(context);
  const to = options.to === undefined ? undefined : resolvePath(io.cwd, options.to);
  const found = await pathOf(store, parseName(text), file, to);
  if (found.mended) ui.warn("what lay there was damaged or altered; it was laid again from the store");
  if (found.unkept !== undefined) {
    ui.warn(`no receipt was kept, so the next call reads all again: ${found.unkept.message}`);
  }
  ui.json(pathJson(found));
  ui.raw(`${found.path}\n`);
}

export async function runCheckout(context: Context, text: string, folder: string): Promise<void> {
  const { io, ui } = context;
  const store = await open(context);
  const done = await checkout(store, parseName(text), resolvePath(io.cwd, folder));
  ui.json(checkedOutJson(done));
  ui.raw(`${done.folder}\n`);
  ui.say(`${done.verdict.name}: ${counted(done.manifest.value.files.length, "file")}, each verified as it was written`);
}
