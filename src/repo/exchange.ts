// SPDX-License-Identifier: Apache-2.0
/**
 * `pull` and `push`: one exchange with a remote, whatever it is. What comes goes through the one importer, what goes is a bundle;
 * receipts travel beside it. Nothing is ever deleted over there. Layer: repo. Format: docs/format.md, "Remotes".
 */
import { join } from "node:path";
import { short } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { GitHost } from "../git/git-remote.ts";
import type { Files } from "../objects/files.ts";
import type { Sealing, Unlock } from "../sync/age-header.ts";
import { type HttpOptions, httpSource } from "../sync/http-source.ts";
import { VOLUME_FILE } from "../sync/volume-note.ts";
import { type BundleRequest, makeBundle, receiverOf } from "./bundle.ts";
import { volumeNumbers, type WrittenVolume, writeVolumes } from "./bundle-files.ts";
import { type Delivery, needKnownKey, readReceipt, writeReceipt } from "./delivery.ts";
import { everyName, fetchMetadata, pushMetadata } from "./git-transfer.ts";
import { type ImportOptions, type ImportReport, importFrom } from "./import.ts";
import { type Incoming, messageWith, openBundle, openFolderSource } from "./incoming.ts";
import { writeOutside } from "./outside-file.ts";
import type { StoreLocation } from "./ports.ts";
import { pull } from "./pull.ts";
import { keepReceipt, kindOf, listRemotes, needRemote, noteRemote, type Remote } from "./remotes.ts";
import { openStore, type Store } from "./store.ts";
import { STORE_FILE } from "./store-file.ts";

export type { HttpOptions };

export interface ExchangeOptions extends ImportOptions {
  /** For git hosts. */
  readonly auth?: GitHost["auth"];
  /** For servers. */
  readonly http?: HttpOptions;
  /** Opens what is encrypted on a stick. */
  readonly unlock?: Unlock | undefined;
  /** Encrypts what goes onto a stick. */
  readonly sealing?: Sealing | undefined;
  /** Where the secrets and the memory of another store on this machine lie. */
  readonly locate: (root: string) => StoreLocation;
}

/** A bundle that was not imported, and why; what it denies was taken where that came. */
export interface Failed {
  readonly what: string;
  readonly error: CofferError;
}

export interface Pulled {
  /** One for each bundle that was there. */
  readonly reports: readonly ImportReport[];
  /** Volumes that could not be used, in words. */
  readonly faults: readonly string[];
  /** Bundles that were not imported. */
  readonly failed: readonly Failed[];
  /** The receipt that was left on the stick. */
  readonly receipt?: string;
}

/** A remote, or a place that has no name here; of that nothing is noted. */
export type Peer = Omit<Remote, "name"> & Partial<Pick<Remote, "name">>;

/** The remote of that name, or the place that an address leads to. @throws CofferError REMOTE_NOT_FOUND, USAGE */
export async function findPeer(store: Store, nameOrAddress: string, absolute: string): Promise<Peer> {
  const named = (await listRemotes(store)).find(({ name }) => name === nameOrAddress);
  if (named !== undefined) return named;
  const url = /^[a-z+]+:/i.test(nameOrAddress) ? nameOrAddress : absolute;
  if (kindOf(url) !== "folder" || (await store.ports.openFolder(url).list(".")) !== undefined) return { url };
  return needRemote(store, nameOrAddress);
}

const shownOf = ({ name, url }: Peer): string => name ?? url;

async function note(store: Store, peer: Peer): Promise<void> {
  const { name } = peer;
  if (name !== undefined) await noteRemote(store, { ...peer, name });
}

/** @throws CofferError as `importFrom`; REMOTE_FAILED, FILE_NOT_FOUND, STORE_NOT_FOUND */
export async function pullRemote(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  switch (kindOf(remote.url)) {
    case "git":
      return pullGit(store, remote, options);
    case "http":
      return pullServer(store, remote, options);
    case "folder":
      return (await isStore(store, remote.url))
        ? pullFolder(store, remote, options)
        : pullStick(store, remote, options);
  }
}

async function isStore({ ports }: Store, path: string): Promise<boolean> {
  return (await ports.openFolder(path).stat(STORE_FILE))?.kind === "file";
}

async function pullGit(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const found = await fetchMetadata(hostOf(remote, options));
  if (found === undefined) throw new CofferError("REMOTE_FAILED", `${shownOf(remote)}: nobody has pushed to it yet`);
  const { source, commit } = found;
  // What this store pushed itself comes back from there, too.
  const isOwn = source.index.value.store === store.id;
  const reports = isOwn ? [] : [await importFrom(store, source, options)];
  await note(store, { ...remote, commit, ...(isOwn ? {} : { store: source.index.value.store }) });
  return { reports, faults: [], failed: [] };
}

function hostOf({ url }: Peer, { auth }: ExchangeOptions): GitHost {
  return { url: url.slice("git+".length), ...(auth === undefined ? {} : { auth }) };
}

async function pullFolder(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const report = await pull(store, remote.url, options);
  await note(store, { ...remote, store: report.store });
  return { reports: [report], faults: [], failed: [] };
}

/** How often a pull begins anew by itself because the server's store was written meanwhile. */
const TRIES = 3;

async function pullServer(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  for (let left = TRIES - 1; ; left -= 1) {
    const source = await httpSource(remote.url, options.http);
    try {
      const report = await importFrom(store, source, options);
      await note(store, { ...remote, store: report.store });
      return { reports: [report], faults: [], failed: [] };
    } catch (error) {
      if (!isCofferError(error, "REMOTE_CHANGED") || left === 0) throw error;
    }
  }
}

/**
 * Bundles of other stores, the oldest first; then this store's receipt is left beside them. One that is no good keeps no
 * other out: the next one may bring a revocation.
 */
async function pullStick(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const files = store.ports.openFolder(remote.url);
  await takeReceipts(store, remote, files);
  const { bundles, failed } = await openAll(store, remote, files, options.unlock);
  if (bundles.length + failed.length === 0) {
    const text = `${shownOf(remote)}: expected volumes of another store's bundle, found none`;
    throw new CofferError("FILE_NOT_FOUND", text);
  }
  const reports: ImportReport[] = [];
  const faults: string[] = [];
  let last: Found | undefined;
  for (const bundle of bundles) {
    faults.push(...bundle.incoming.faults);
    try {
      reports.push(await importFrom(store, bundle.incoming.source, options));
      last = bundle;
    } catch (error) {
      passOthers(error);
      if (isOurs(error)) throw error;
      failed.push({ what: bundle.what, error });
    }
  }
  if (last === undefined) return { reports, faults, failed };
  const { index } = last.incoming.source;
  await note(store, { ...remote, store: index.value.store });
  return { reports, faults, failed, receipt: await leaveReceipt(store, remote, index.id) };
}

/** What no other bundle would fare better with. */
function isOurs(error: CofferError): boolean {
  return isCofferError(error, "NO_SPACE", "READ_ONLY", "IO_ERROR", "NO_STORE_KEY", "REF_MOVED", "STATE_UNWRITABLE");
}

/** A bundle on a stick. */
interface Found {
  /** The first of its volumes. */
  readonly what: string;
  readonly incoming: Incoming;
}

async function openAll(
  store: Store,
  remote: Peer,
  files: Files,
  unlock: Unlock | undefined,
): Promise<{ readonly bundles: readonly Found[]; readonly failed: Failed[] }> {
  const bundles: Found[] = [];
  const failed: Failed[] = [];
  for (const paths of await bundlesOn(remote, files)) {
    const [what = ""] = paths;
    try {
      const named = paths.map((path) => ({ absolute: join(remote.url, path), shown: path }));
      const incoming = await openBundle(store.ports, { kind: "paths", paths: named, unlock });
      if (incoming.source.index.value.store !== store.id) bundles.push({ what, incoming });
    } catch (error) {
      passOthers(error);
      if (isOurs(error)) throw error;
      failed.push({ what, error });
    }
  }
  const number = ({ incoming }: Found): number => incoming.source.index.value.log.number;
  return { bundles: bundles.sort((one, other) => number(one) - number(other)), failed };
}

/** What lies on a stick. @throws CofferError FILE_NOT_FOUND - it is not there */
async function namesOn(remote: Peer, files: Files): Promise<readonly string[]> {
  const names = await files.list(".");
  if (names !== undefined) return names;
  throw new CofferError("FILE_NOT_FOUND", `${shownOf(remote)}: expected a folder at ${remote.url}, found none`);
}

/** Volumes by the bundle that their names say. */
async function bundlesOn(remote: Peer, files: Files): Promise<readonly (readonly string[])[]> {
  const groups = new Map<string, string[]>();
  for (const name of (await namesOn(remote, files)).filter((one) => VOLUME_FILE.test(one))) {
    const bundle = name.slice(0, 12);
    groups.set(bundle, [...(groups.get(bundle) ?? []), name]);
  }
  return [...groups.values()];
}

const RECEIPT_FILE = /^[0-9a-f]{12}\.coffer-receipt$/;

async function leaveReceipt(store: Store, remote: Peer, answers: Delivery["receipt"]["id"]): Promise<string> {
  const name = `${short(store.id)}.coffer-receipt`;
  await writeOutside(store.ports, join(remote.url, name), await writeReceipt(store, answers), true);
  return name;
}

/**
 * Keeps what other stores left on a stick; a damaged one is passed over with a warning.
 * @returns the receipt of the one store that left one; undefined if none did, or several
 */
async function takeReceipts(store: Store, remote: Peer, files: Files): Promise<Delivery | undefined> {
  const found: Delivery[] = [];
  for (const name of await namesOn(remote, files)) {
    if (!RECEIPT_FILE.test(name)) continue;
    try {
      const bytes = await files.read(name, LIMITS.inventoryBytes + LIMITS.documentBytes);
      if (bytes === undefined) continue;
      const delivery = await readReceipt(bytes);
      if (delivery.receipt.value.store === store.id) continue;
      await needKnownKey(store, delivery);
      found.push(remote.name === undefined ? delivery : await keepReceipt(store, { name: remote.name }, bytes));
    } catch (error) {
      passOthers(error);
      store.warnings.push(messageWith(name, error));
    }
  }
  const [only, ...others] = found;
  return others.length === 0 ? only : undefined;
}

export interface Pushed {
  /** On a stick. */
  readonly volumes: readonly WrittenVolume[];
  /** In another store of this machine. */
  readonly report?: ImportReport;
  /** On a git host. */
  readonly commit?: string;
  /** False if it held all that already. */
  readonly moved: boolean;
}

/** @throws CofferError UNSUPPORTED - a server, which only reads; as `makeBundle`, `writeVolumes`, `importFrom`, `pushMetadata` */
export async function pushRemote(
  store: Store,
  remote: Peer,
  request: BundleRequest,
  options: ExchangeOptions,
): Promise<Pushed> {
  switch (kindOf(remote.url)) {
    case "git": {
      refuseChoice(request, options);
      const { commit, moved } = await pushMetadata(store, hostOf(remote, options), remote.commit);
      await note(store, { ...remote, commit });
      return { volumes: [], commit, moved };
    }
    case "http":
      throw new CofferError(
        "UNSUPPORTED",
        "push: expected a folder, a store or a git host; a server is read-only: have it pull, or push to its folder",
      );
    case "folder":
      return (await isStore(store, remote.url))
        ? pushFolder(store, remote, request, options)
        : pushStick(store, remote, request, options);
  }
}

/** A git host has all of the metadata, always. */
function refuseChoice({ names, patterns, volumeBytes }: BundleRequest, { sealing }: ExchangeOptions): void {
  if (sealing !== undefined) throw new CofferError("USAGE", "push: only what goes onto a stick can be encrypted");
  if (names.length + patterns.length === 0 && volumeBytes === undefined) return;
  throw new CofferError(
    "USAGE",
    "push: all names go to a git host and to another store; choose names for a stick only",
  );
}

/** What is there is another store on this machine: it takes over what it may, by its own policy. */
async function pushFolder(
  store: Store,
  remote: Peer,
  request: BundleRequest,
  options: ExchangeOptions,
): Promise<Pushed> {
  refuseChoice(request, options);
  const other = await openStore(options.locate(remote.url), store.ports);
  const report = await importFrom(other, await openFolderSource(store.root, store.ports, other), options);
  store.warnings.push(...other.warnings);
  await note(store, { ...remote, store: other.id });
  if (remote.name !== undefined) await keepReceipt(store, { name: remote.name }, await writeReceipt(other));
  return { volumes: [], report, moved: report.entries.length > 0 };
}

async function pushStick(
  store: Store,
  remote: Peer,
  request: BundleRequest,
  { sealing }: ExchangeOptions,
): Promise<Pushed> {
  const files = store.ports.openFolder(remote.url);
  const receipt = await takeReceipts(store, remote, files);
  const all = request.names.length + request.patterns.length === 0;
  const chosen = all ? { ...request, patterns: await everyName(store) } : request;
  const bundle = await makeBundle(store, receipt === undefined ? chosen : { ...chosen, receiver: receiverOf(receipt) });
  const { random } = store.ports;
  const volumes = await writeVolumes(store, bundle, volumeNumbers(bundle), { files }, { random, sealing });
  return { volumes, moved: true };
}
