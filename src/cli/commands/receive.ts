// SPDX-License-Identifier: Apache-2.0
/** `bundle import`, `pull`, `clone`: taking over what other stores send. Layer: cli. */
import { resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, EXIT } from "../../base/errors.ts";
import { clone, parseRoot } from "../../repo/clone.ts";
import { type ImportReport, importFrom } from "../../repo/import.ts";
import { openAny, openBundle } from "../../repo/incoming.ts";
import { pull } from "../../repo/pull.ts";
import { type Context, locate, open, quoteArgument, showLate, storeFlag } from "../context.ts";
import { counted, sizeText, table } from "../format.ts";
import { clonedJson, importedJson } from "../json-transfer.ts";
import { mediaOf } from "./bundle.ts";

function progressOf({ ui }: Context) {
  return { onBytes: (bytes: number) => ui.progress(`${sizeText(bytes)} taken`) };
}

export async function runBundleImport(context: Context, places: readonly string[]): Promise<number> {
  const store = await open(context);
  const incoming = await openBundle(context.io.ports, mediaOf(context, places));
  for (const fault of incoming.faults) context.ui.warn(`left out: ${fault}`);
  const report = await importFrom(store, incoming.source, progressOf(context));
  showLate(context, store);
  context.ui.json(importedJson(report, incoming.faults));
  return tell(context, report, storeFlag(context));
}

export async function runPull(context: Context, folder: string): Promise<number> {
  const store = await open(context);
  const report = await pull(store, resolve(context.io.cwd, folder), progressOf(context));
  showLate(context, store);
  context.ui.json(importedJson(report, []));
  return tell(context, report, storeFlag(context));
}

export interface CloneOptions {
  readonly root?: string;
}

export async function runClone(
  context: Context,
  source: string,
  folder: string,
  options: CloneOptions,
): Promise<number> {
  const { io, ui } = context;
  if (source === "-") throw new CofferError("USAGE", "clone: expected a path, since it is read twice, found a pipe");
  const root = options.root === undefined ? undefined : parseRoot(options.root);
  const path = { absolute: resolve(io.cwd, source), shown: source };
  const again = async () => (await openAny(path, io.ports)).source;
  const { faults } = await openAny(path, io.ports);
  for (const fault of faults) ui.warn(`left out: ${fault}`);
  const target = resolve(io.cwd, folder);
  const { store, made, report } = await clone(locate(context, target), again, root, io.ports, progressOf(context));
  showLate(context, store);
  ui.json(clonedJson(made, target, report, faults));
  ui.say(`made the store ${folder}, id ${made.storeId}, under policy ${made.policy.value.number}:${made.policy.id}`);
  ui.say(`store key  ${made.secrets}/store_key (back it up; without it the store is read-only)`);
  return tell(context, report, ` --store ${quoteArgument(folder)}`);
}

/** @returns the exit status: what was refused before what diverged before what lacks its bytes */
function tell({ ui }: Context, report: ImportReport, flag: string): number {
  for (const { name, outcome } of report.names) ui.data(`${outcome} ${name}`);
  const told = report.names.filter(({ text }) => text !== undefined);
  for (const { name, code, text } of told) ui.warn(`${name}: ${text} [${code}]`);
  for (const { what, code, text } of report.refused) ui.warn(`not stored: ${what}: ${text} [${code}]`);
  for (const note of report.notes) ui.warn(note);
  const outcomes = new Map<string, number>();
  for (const { outcome } of report.names) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const from = `store ${short(report.store)} at entry ${report.log.number}`;
  ui.say(
    `from ${from}: ${counted(report.names.length, "name")}, ${counted(report.denials, "denial")}, ${blobsText(report)}`,
  );
  for (const line of table([...outcomes].map(([outcome, count]) => [`  ${outcome}`, String(count)]))) ui.say(line);
  if (!report.sameRoot)
    ui.say("its policy root is another: its models wait in quarantine, and what it trusts counts for nothing here");
  ui.say(
    report.entries.length === 0
      ? "nothing moved"
      : `log ${report.entries.map((number) => `entry ${number}`).join(", ")}`,
  );
  ui.next(`coffer list${flag}`);
  if (outcomes.has("refused") || report.refused.length > 0) return EXIT.notTrusted;
  if (outcomes.has("diverged")) return EXIT.conflict;
  return outcomes.has("superseded") ? EXIT.incomplete : EXIT.ok;
}

function blobsText({ blobs }: ImportReport): string {
  return blobs.count === 0 ? "no new blobs" : `${counted(blobs.count, "new blob")} (${sizeText(blobs.bytes)})`;
}
