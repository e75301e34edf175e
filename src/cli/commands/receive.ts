// SPDX-License-Identifier: Apache-2.0
/** `bundle import`, `pull`, `push`, `clone`: what goes between stores. Layer: cli. */
import { resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, ERRORS, EXIT, worstOf } from "../../base/errors.ts";
import { cloneMedia, parseRoot } from "../../repo/clone.ts";
import type { Delivery } from "../../repo/delivery.ts";
import type { HttpOptions } from "../../repo/exchange.ts";
import { arrivedFrom, type ExchangeOptions, findPeer, type Peer, pullRemote, pushRemote } from "../../repo/exchange.ts";
import type { DamagedBlob, ImportReport } from "../../repo/import.ts";
import { type Imported, importAll } from "../../repo/import-all.ts";
import {
  type Arrived,
  type Fault,
  failedAll,
  failedText,
  messageWith,
  openArrived,
  readAhead,
} from "../../repo/incoming.ts";
import type { Initialised } from "../../repo/init.ts";
import type { Store } from "../../repo/store.ts";
import { type IdentityOptions, type RecipientOptions, sealingFor, unlockFrom } from "../age-files.ts";
import { type Context, locate, open, quoteArgument, showLate, storeFlag } from "../context.ts";
import { counted, sizeText, table } from "../format.ts";
import { clonedJson, importsJson, pulledJson, pushedJson } from "../json-transfer.ts";
import { readSmallFile, refuseSpecial } from "../small-file.ts";
import type { Ui } from "../ui.ts";
import { mediaOf, PIPE, requestOf, sayPassedOver } from "./bundle.ts";

export interface MendOption {
  readonly mend?: boolean;
}

function progressOf({ ui }: Context) {
  return {
    onBytes: (bytes: number) => ui.progress(`${sizeText(bytes)} taken`),
    onLook: (what: string) => ui.progress(`something is damaged: looking through ${what}`),
  };
}

export async function runBundleImport(
  context: Context,
  places: readonly string[],
  options: IdentityOptions & MendOption,
): Promise<number> {
  const store = await open(context);
  const arrived = await openArrived(context.io.ports, mediaOf(context, places, options));
  const mend = options.mend === true;
  const imported = await importAll(store, arrived, { ...progressOf(context), mend }).finally(() =>
    showLate(context, store),
  );
  if (imported.reports.length === 0) sayPassedOver(context, imported.passedOver);
  needOne(imported);
  context.ui.json(importsJson(imported));
  return tellAll(context, imported, storeFlag(context), mend);
}

/** @throws CofferError of what came, if nothing of it could be taken over */
function needOne({ reports, faults, failed, own }: Imported): void {
  if (reports.length > 0) return;
  if (failed.length === 0)
    throw new CofferError("USAGE", `${own.join(", ")}: expected what another store sent, found our own`);
  throw failedAll([...faults, ...failed]);
}

/** One report for each bundle, then what could not be used. @returns the exit status of what went worst */
function tellAll(context: Context, told: Tellable, flag: string, mend = false): number {
  const { reports, faults, failed, own = [] } = told;
  const { ui } = context;
  for (const { what, error } of faults) ui.warn(`left out: ${messageWith(what, error)}`);
  const statuses = reports.map((report) => tell(context, report, flag));
  if (mend && reports.every(({ mended, damaged }) => mended.length + damaged.length === 0))
    ui.say("nothing to mend: what these names need and lies here is whole");
  sayPassedOver(context, told.passedOver);
  for (const what of own) ui.say(`passed over: ${what} is of this store itself`);
  // A stick may go round several receivers, each with bundles that only it can open.
  const isForOthers = ({ error }: Fault): boolean => reports.length > 0 && error.code === "IDENTITY_WRONG";
  for (const { what } of failed.filter(isForOthers))
    ui.warn(`passed over: ${what} is encrypted for somebody else, or damaged where it says for whom`);
  const bad = failed.filter((fault) => !isForOthers(fault));
  for (const fault of bad) {
    ui.warn(`not imported: ${failedText(fault)}`);
    for (const line of fault.error.details) ui.say(`  also: ${line}`);
  }
  if (reports.length > 0 && bad.length > 0)
    ui.say(
      `${reports.length === 1 ? "the other bundle was" : `${reports.length} other bundles were`} imported, as told above`,
    );
  return worstOf([...statuses, ...[...faults, ...bad].map(({ error }) => ERRORS[error.code].exit)]);
}

type Tellable = Pick<Imported, "reports" | "faults" | "failed" | "passedOver"> & Partial<Pick<Imported, "own">>;

function loginOf({ io: { env } }: Context, kind: "GIT" | "HTTP") {
  const [username, password] = [env[`COFFER_${kind}_USER`], env[`COFFER_${kind}_PASSWORD`]];
  return username === undefined || password === undefined ? undefined : { username, password };
}

/** @param address - what is dealt with, a folder or a URL */
function exchangeOptions(context: Context, { cafile }: HttpFlags, address: string): ExchangeOptions {
  const auth = loginOf(context, "GIT");
  return {
    ...progressOf(context),
    ...(auth === undefined ? {} : { auth }),
    http: httpOptions(context, cafile, address),
    locate: (root) => locate(context, root),
  };
}

export interface HttpFlags {
  readonly cafile?: string;
}

/** A file of certificate authorities, as systems have them. */
const AUTHORITIES_BYTES = 4 * 1024 * 1024;

/** Whoever gives authorities takes it that what comes is from somebody whom they know. */
function needHttps(cafile: string | undefined, address: string): void {
  if (cafile !== undefined && !/^(?:git\+)?https:/i.test(address))
    throw new CofferError("USAGE", `--cafile: expected an address with https, found ${address}`);
}

function httpOptions(context: Context, cafile: string | undefined, address: string): HttpOptions {
  const login = loginOf(context, "HTTP");
  const onWait = (text: string): void => void context.ui.say(text);
  const auth = { onWait, ...(login === undefined ? {} : { login }) };
  if (cafile === undefined) return auth;
  needHttps(cafile, address);
  const what = "certificate authorities";
  const bytes = readSmallFile(resolve(context.io.cwd, cafile), AUTHORITIES_BYTES, what);
  const authorities = new TextDecoder().decode(bytes);
  return { ...auth, authorities };
}

function peerOf({ io }: Context, store: Store, remote: string): Promise<Peer> {
  return findPeer(store, remote, resolve(io.cwd, remote));
}

/** @returns the exit status of the import that went worst */
export async function runPull(
  context: Context,
  remote: string,
  flags: HttpFlags & IdentityOptions & MendOption,
): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const peer = await peerOf(context, store, remote);
  const mend = flags.mend === true;
  const how = { ...exchangeOptions(context, flags, peer.url), unlock: unlockFrom(context, flags), mend };
  const pulled = await pullRemote(store, peer, how).finally(() => showLate(context, store));
  ui.json(pulledJson(pulled));
  const exit = tellAll(context, pulled, storeFlag(context), mend);
  const { reports, failed, receipts, receipt, unreceipted } = pulled;
  for (const delivery of receipts)
    ui.say(`${peer.name === undefined ? "there lies" : "took"} ${receiptText(delivery)}`);
  if (reports.length + failed.length + receipts.length === 0) ui.say("nothing of another store is there");
  if (receipt !== undefined) ui.say(`left a receipt for them: ${receipt}`);
  if (unreceipted === undefined) return exit;
  const { code, message } = unreceipted;
  ui.warn(`left no receipt for them: ${message} [${code}]; \`coffer receipt create\` writes one elsewhere`);
  // Many media are write-protected on purpose; anything else should be looked at.
  return code === "READ_ONLY" ? exit : worstOf([exit, ERRORS[code].exit]);
}

function receiptText({ receipt }: Delivery): string {
  const { store, log } = receipt.value;
  return `the receipt of store ${short(store)} at entry ${log.number}`;
}

export interface PushOptions extends RecipientOptions, HttpFlags {
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
  const peer = await peerOf(context, store, remote);
  const done = await pushRemote(store, peer, request, {
    ...exchangeOptions(context, options, peer.url),
    sealing,
  });
  showLate(context, store);
  ui.json(pushedJson(done));
  for (const { file, bytes } of done.volumes) ui.data(`${file}  ${sizeText(bytes)}`);
  if (done.commit !== undefined) ui.data(`commit ${done.commit}`);
  if (done.receipt !== undefined) ui.say(`left out what it has by ${receiptText(done.receipt)}`);
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
  const root = options.root === undefined ? undefined : parseRoot(options.root);
  const arrive = await arrivalOf(context, source, options);
  const target = resolve(io.cwd, folder);
  const flag = ` --store ${quoteArgument(folder)}`;
  let isMade = false;
  const onMade = ({ storeId, policy, secrets }: Initialised): void => {
    isMade = true;
    ui.say(`made the store ${folder}, id ${storeId}, under policy ${policy.value.number}:${policy.id}`);
    ui.say(`store key  ${secrets}/store_key (back it up; without it the store is read-only)`);
  };
  try {
    const how = { ...progressOf(context), onMade };
    const { store, made, imported } = await cloneMedia(locate(context, target), arrive, root, io.ports, how);
    showLate(context, store);
    ui.json(clonedJson(made, target, imported));
    return tellAll(context, imported, flag);
  } catch (error) {
    const again = source === PIPE ? "bundle import" : "pull";
    if (isMade) ui.say(`the store stays, and is filled by: coffer ${again}${flag} ${quoteArgument(source)}`);
    throw error;
  }
}

/** Opens what a store is to be made of, each time anew; a pipe but once. */
async function arrivalOf(context: Context, source: string, options: CloneOptions): Promise<() => Promise<Arrived>> {
  const { io } = context;
  if (source === PIPE) {
    needHttps(options.cafile, "stdin");
    const arrived = readAhead(await openArrived(io.ports, mediaOf(context, [PIPE], options)));
    return async () => arrived;
  }
  const path = { absolute: resolve(io.cwd, source), shown: source };
  refuseSpecial(path.absolute, source, "a bundle, or another store's folder");
  const means = { ...exchangeOptions(context, options, source), unlock: unlockFrom(context, options) };
  return () => arrivedFrom(path, io.ports, means);
}

/** @returns the exit status: what was damaged before what was refused before what diverged before what lacks its bytes */
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
  tellDamage(ui, report);
  ui.next(`coffer list${flag}`);
  if (report.damaged.length > 0) return EXIT.corrupt;
  if (report.refused.some(({ code }) => code === "VOLUME_DAMAGED")) return EXIT.corrupt;
  if (outcomes.has("refused") || report.refused.length > 0) return EXIT.notTrusted;
  if (outcomes.has("diverged")) return EXIT.conflict;
  return outcomes.has("superseded") ? EXIT.incomplete : EXIT.ok;
}

function tellDamage(ui: Ui, { mended, damaged }: ImportReport): void {
  const called = ({ blob, path }: DamagedBlob): string =>
    `blob ${short(blob)}${path === undefined ? "" : ` (${path})`}`;
  if (mended.length > 0) ui.say(`mended ${counted(mended.length, "damaged blob")}: ${mended.map(called).join(", ")}`);
  for (const blob of damaged)
    ui.warn(
      `still damaged: ${called(blob)}, whose bytes did not come; import it with --mend from where they are [CORRUPT]`,
    );
}

function blobsText({ blobs }: ImportReport): string {
  return blobs.count === 0 ? "no new blobs" : `${counted(blobs.count, "new blob")} (${sizeText(blobs.bytes)})`;
}
