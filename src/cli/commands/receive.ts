// SPDX-License-Identifier: Apache-2.0
/** `bundle import`, `pull`, `push`, `clone`: what goes between stores. Layer: cli. */
import { resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, ERRORS, EXIT } from "../../base/errors.ts";
import { clone, parseRoot } from "../../repo/clone.ts";
import type { HttpOptions } from "../../repo/exchange.ts";
import { type ExchangeOptions, findPeer, type Peer, pullRemote, pushRemote } from "../../repo/exchange.ts";
import { type ImportReport, importFrom } from "../../repo/import.ts";
import { messageWith, openAny, openBundle } from "../../repo/incoming.ts";
import type { Store } from "../../repo/store.ts";
import { type IdentityOptions, type RecipientOptions, sealingFor, unlockFrom } from "../age-files.ts";
import { type Context, locate, open, quoteArgument, showLate, storeFlag } from "../context.ts";
import { counted, sizeText, table } from "../format.ts";
import { clonedJson, importedJson, pulledJson, pushedJson } from "../json-transfer.ts";
import { readSmallFile } from "../small-file.ts";
import { mediaOf, requestOf } from "./bundle.ts";

function progressOf({ ui }: Context) {
  return { onBytes: (bytes: number) => ui.progress(`${sizeText(bytes)} taken`) };
}

export async function runBundleImport(
  context: Context,
  places: readonly string[],
  options: IdentityOptions,
): Promise<number> {
  const store = await open(context);
  const incoming = await openBundle(context.io.ports, mediaOf(context, places, options));
  for (const fault of incoming.faults) context.ui.warn(`left out: ${fault}`);
  const report = await importFrom(store, incoming.source, progressOf(context)).finally(() => showLate(context, store));
  context.ui.json(importedJson(report, incoming.faults));
  return tell(context, report, storeFlag(context));
}

function loginOf({ io: { env } }: Context, kind: "GIT" | "HTTP") {
  const [username, password] = [env[`COFFER_${kind}_USER`], env[`COFFER_${kind}_PASSWORD`]];
  return username === undefined || password === undefined ? undefined : { username, password };
}

function exchangeOptions(context: Context, { cafile }: HttpFlags = {}): ExchangeOptions {
  const auth = loginOf(context, "GIT");
  return {
    ...progressOf(context),
    ...(auth === undefined ? {} : { auth }),
    http: httpOptions(context, cafile),
    locate: (root) => locate(context, root),
  };
}

export interface HttpFlags {
  readonly cafile?: string;
}

/** A file of certificate authorities, as systems have them. */
const AUTHORITIES_BYTES = 4 * 1024 * 1024;

function httpOptions(context: Context, cafile: string | undefined): HttpOptions {
  const login = loginOf(context, "HTTP");
  const auth = login === undefined ? {} : { login };
  if (cafile === undefined) return auth;
  const what = "certificate authorities";
  const bytes = readSmallFile(resolve(context.io.cwd, cafile), AUTHORITIES_BYTES, what);
  const authorities = new TextDecoder().decode(bytes);
  return { ...auth, authorities };
}

function peerOf({ io }: Context, store: Store, remote: string): Promise<Peer> {
  return findPeer(store, remote, resolve(io.cwd, remote));
}

/** @returns the exit status of the import that went worst */
export async function runPull(context: Context, remote: string, flags: HttpFlags & IdentityOptions): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const peer = await peerOf(context, store, remote);
  const how = { ...exchangeOptions(context, flags), unlock: unlockFrom(context, flags) };
  const pulled = await pullRemote(store, peer, how).finally(() => showLate(context, store));
  const { reports, faults, failed, receipt } = pulled;
  for (const fault of faults) ui.warn(`left out: ${fault}`);
  ui.json(pulledJson(pulled));
  let exit: number = EXIT.ok;
  for (const report of reports) exit = Math.max(exit, tell(context, report, storeFlag(context)));
  for (const { what, error } of failed) {
    ui.warn(`not imported: ${messageWith(what, error)} [${error.code}]`);
    exit = Math.max(exit, ERRORS[error.code].exit);
  }
  if (reports.length + failed.length === 0) ui.say("nothing of another store is there");
  if (receipt !== undefined) ui.say(`left a receipt for them: ${receipt}`);
  return exit;
}

export interface PushOptions extends RecipientOptions {
  /** commander's form of --no-blobs. */
  readonly blobs: boolean;
  readonly candidates?: boolean;
  readonly volumeSize?: string;
}

export async function runPush(
  context: Context,
  remote: string,
  words: readonly string[],
  options: PushOptions,
): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const sealing = await sealingFor(context, options);
  const request = requestOf(words, options, sealing);
  const done = await pushRemote(store, await peerOf(context, store, remote), request, {
    ...exchangeOptions(context),
    sealing,
  });
  showLate(context, store);
  ui.json(pushedJson(done));
  for (const { file, bytes } of done.volumes) ui.data(`${file}  ${sizeText(bytes)}`);
  if (done.commit !== undefined) ui.data(`commit ${done.commit}`);
  if (!done.moved) ui.say("nothing to push: it is all there");
  return done.report === undefined ? EXIT.ok : tell(context, done.report, storeFlag(context));
}

export interface CloneOptions extends HttpFlags, IdentityOptions {
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
  const means = { http: httpOptions(context, options.cafile), unlock: unlockFrom(context, options) };
  const again = async () => (await openAny(path, io.ports, means)).source;
  const { faults } = await openAny(path, io.ports, means);
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
