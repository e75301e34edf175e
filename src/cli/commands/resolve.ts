// SPDX-License-Identifier: Apache-2.0
/** `resolve`: the verdict on a name. Apart from the other commands, since runtimes wait for it. Layer: cli. */
import { parseName } from "../../base/names.ts";
import { answer } from "../../repo/resolve.ts";
import type { Verdict } from "../../repo/verdict.ts";
import { type Context, open, storeFlag } from "../context.ts";
import { SCHEMA_VERSION, verdictJson } from "../format.ts";

/** What is established and what is not, for people. */
export function sayVerdict({ ui }: Context, verdict: Verdict): void {
  ui.say(`${verdict.name}: ${verdict.trusted ? "trusted" : "not trusted"}`);
  for (const reason of verdict.reasons) ui.say(`  no: ${reason.text} [${reason.code}]`);
  for (const fact of verdict.established) ui.say(`  established: ${fact.text}`);
  for (const fact of verdict.notEstablished) ui.say(`  not established: ${fact.text}`);
  for (const fact of verdict.findings) ui.say(`  note: ${fact.text}`);
  if (verdict.validUntil !== undefined) ui.say(`  this answer can change by time alone at ${verdict.validUntil}`);
}

export async function runResolve(context: Context, text: string, options: { readonly json?: boolean }): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const { verdict, manifest, refusal } = await answer(store, parseName(text));
  if (options.json === true) {
    const found = manifest === undefined ? {} : { manifest: { id: manifest.id, files: manifest.value.files } };
    ui.json({ schemaVersion: SCHEMA_VERSION, verdict: verdictJson(verdict), ...found });
  }
  if (manifest === undefined) throw refusal;
  if (options.json === true) return;
  // The form that `sha256sum --check` reads.
  for (const file of manifest.value.files) ui.data(`${file.sha256}  ${file.path}`);
  sayVerdict(context, verdict);
  const models = manifest.value.files.filter((file) => file.format === "gguf");
  const onePath = models.length === 1 || manifest.value.files.length === 1;
  ui.next(`coffer ${onePath ? "path" : "checkout"}${storeFlag(context)} ${verdict.name}${onePath ? "" : " FOLDER"}`);
}
