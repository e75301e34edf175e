// SPDX-License-Identifier: Apache-2.0
/** `resolve`: the verdict on a name. Apart from the other commands, since runtimes wait for it. Layer: cli. */
import { EXIT } from "../../base/errors.ts";
import { parseName } from "../../base/names.ts";
import { answer } from "../../repo/resolve.ts";
import type { Verdict } from "../../repo/verdict.ts";
import { pastView, sayAsOf } from "../at.ts";
import { type Context, open, storeFlag } from "../context.ts";
import { resolvedJson } from "../json-reading.ts";

/** What is established and what is not, for people. @param past - the verdict is about an earlier time */
export function sayVerdict({ ui }: Context, verdict: Verdict, past = false): void {
  const is = past ? "was " : "";
  ui.say(`${verdict.name}: ${is}${verdict.trusted ? "trusted" : "not trusted"}`);
  for (const reason of verdict.reasons) ui.say(`  no: ${reason.text} [${reason.code}]`);
  for (const fact of verdict.established) ui.say(`  established: ${fact.text}`);
  for (const fact of verdict.notEstablished) ui.say(`  not established: ${fact.text}`);
  for (const fact of verdict.findings) ui.say(`  note: ${fact.text}`);
  if (verdict.validUntil !== undefined) ui.say(`  this answer can change by time alone at ${verdict.validUntil}`);
}

interface ResolveOptions {
  readonly at?: string;
}

/** @returns the exit status: 0, or that of an answer about the past */
export async function runResolve(context: Context, text: string, options: ResolveOptions): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const view = await pastView(store, options.at);
  const { verdict, manifest, refusal } = await answer(store, parseName(text), view);
  sayAsOf(context, view);
  ui.json(resolvedJson(verdict, manifest, view));
  if (manifest === undefined) throw refusal;
  const exit = view === undefined ? EXIT.ok : EXIT.past;
  if (ui.inJson) return exit;
  // The form that `sha256sum --check` reads.
  for (const file of manifest.value.files) ui.data(`${file.sha256}  ${file.path}`);
  sayVerdict(context, verdict, view !== undefined);
  const models = manifest.value.files.filter((file) => file.format === "gguf");
  const onePath = models.length === 1 || manifest.value.files.length === 1;
  const use = `${onePath ? "path" : "checkout"}${storeFlag(context)} ${verdict.name}${onePath ? "" : " FOLDER"}`;
  ui.next(`coffer ${view === undefined ? use : `resolve${storeFlag(context)} ${verdict.name}`}`);
  return exit;
}
