// SPDX-License-Identifier: Apache-2.0
/**
 * `pull` and `push`: one exchange with a remote, whatever it is. What comes goes through the one importer, what goes is a bundle;
 * receipts travel beside it. Nothing is ever deleted over there. Layer: repo. Format: docs/format.md, "Remotes".
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import type { GitHost } from "../git/git-remote.ts";
import type { Files } from "../objects/files.ts";
import type { Sealing, Unlock } from "../sync/age-header.ts";
import { type HttpOptions, httpSource } from "../sync/http-source.ts";
import { namesOn } from "../sync/places.ts";
import { Waiting } from "../sync/waiting.ts";
import { type BundleRequest, makeBundle, receiverOf } from "./bundle.ts";
import { volumeNumbers, type WrittenVolume, writeVolumes } from "./bundle-files.ts";
import type { NamedPath } from "./bundle-media.ts";
import { type Delivery, writeReceipt } from "./delivery.ts";
import { everyName, type FetchedMetadata, fetchMetadata, pushMetadata } from "./git-transfer.ts";
import { isOwn } from "./import/remotes.ts";
import { type ImportOptions, type ImportReport, importFrom } from "./import.ts";
import { type Imported, importAll } from "./import-all.ts";
import {
  type Arrived,
  alone,
  type Fault,
  findVolumes,
  type Incoming,
  isStoreIn,
  openAny,
  openFolderSource,
  withStore,
} from "./incoming.ts";
import { isFolderAt } from "./outside-file.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { pull, receiverFor } from "./pull.ts";
import { leaveReceipt, takeReceipts } from "./receipt-files.ts";
import { keepReceipt, kindOf, lastReceipt, listRemotes, noSuchRemote, noteRemote, type Peer } from "./remotes.ts";
import { openStore, type Store } from "./store.ts";

export type { HttpOptions, Peer };

export interface ExchangeOptions extends ImportOptions {
  /** For git hosts. */
  readonly auth?: GitHost["auth"];
  /** For servers; what it says of certificate authorities holds for git hosts, too. */
  readonly http?: HttpOptions;
  /** Opens what is encrypted on a stick. */
  readonly unlock?: Unlock | undefined;
  /** Encrypts what goes onto a stick. */
  readonly sealing?: Sealing | undefined;
  /** Where the secrets and the memory of another store on this machine lie. */
  readonly locate: (root: string) => StoreLocation;
}

export interface Pulled extends Pick<Imported, "reports" | "faults" | "failed" | "passedOver"> {
  /** Receipts of other stores that lay on the stick, none if there are too many (then `failed` says so); kept if the place has a name here. */
  readonly receipts: readonly Delivery[];
  /** The receipt that was left on the stick. */
  readonly receipt?: string;
  /** Why none could be left there. */
  readonly unreceipted?: CofferError;
}

/** The remote of that name, or the place that an address leads to. @throws CofferError REMOTE_NOT_FOUND, USAGE */
export async function findPeer(store: Store, nameOrAddress: string, absolute: string): Promise<Peer> {
  const remotes = await listRemotes(store);
  const named = remotes.find(({ name }) => name === nameOrAddress);
  if (named !== undefined) return named;
  const url = /^[a-z+]+:/i.test(nameOrAddress) ? nameOrAddress : absolute;
  if (kindOf(url) !== "folder" || (await isFolderAt(store.ports, url))) return { url };
  throw noSuchRemote(remotes, nameOrAddress, "no remote is called so, and no folder is there");
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
      return pullFolder(store, remote, options);
  }
}

type HostOptions = Pick<ExchangeOptions, "auth" | "http">;

/** @throws CofferError REMOTE_FAILED - the host has nothing of a store, among others; as `fetchMetadata` */
async function fetchGit(remote: Peer, options: HostOptions): Promise<FetchedMetadata> {
  const found = await fetchMetadata(hostOf(remote, options));
  if (found === undefined) throw new CofferError("REMOTE_FAILED", `${shownOf(remote)}: nobody has pushed to it yet`);
  return found;
}

/** What lies at a place, or comes from there, for a store to be made of. @throws CofferError as `openAny`; of a git host as `pullRemote` */
export async function arrivedFrom(
  path: NamedPath,
  ports: Ports,
  options: HostOptions & Pick<ExchangeOptions, "unlock">,
): Promise<Arrived> {
  if (!/^git\+/i.test(path.shown)) return openAny(path, ports, options);
  kindOf(path.shown); // refuses what is no address
  const { source } = await fetchGit({ url: path.shown }, options);
  return alone(path, source);
}

async function pullGit(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const { source, commit } = await fetchGit(remote, options);
  // What this store pushed itself comes back from there, too.
  const own = await isOwn(store, source);
  const reports = own ? [] : [await importFrom(store, source, options)];
  await note(store, { ...remote, commit, ...(own ? {} : { store: source.index.value.store }) });
  return { reports, faults: [], failed: [], passedOver: [], receipts: [] };
}

function hostOf({ url }: Peer, { auth, http: { authorities } = {} }: HostOptions): GitHost {
  const known = authorities === undefined ? {} : { authorities };
  return { url: url.slice("git+".length), ...known, ...(auth === undefined ? {} : { auth }) };
}

async function pullStore(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const report = await pull(store, remote.url, options);
  await note(store, { ...remote, store: report.store });
  return { reports: [report], faults: [], failed: [], passedOver: [], receipts: [] };
}

/** How often a pull begins anew by itself because the server's store was written meanwhile. */
const TRIES = 3;

async function pullServer(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const http = { waiting: new Waiting(), ...options.http };
  for (let left = TRIES - 1; ; left -= 1) {
    const source = await httpSource(remote.url, http);
    try {
      const report = await importFrom(store, source, options);
      await note(store, { ...remote, store: report.store });
      return { reports: [report], faults: [], failed: [], passedOver: [], receipts: [] };
    } catch (error) {
      if (!isCofferError(error, "REMOTE_CHANGED") || left === 0) throw error;
    }
  }
}

/**
 * Bundles of other stores, as `importAll` orders them; then this store's receipt is left beside them. Another store in that
 * folder is one source among them, and the only one where nothing else lies there: then nothing is left in its folder.
 */
async function pullFolder(store: Store, remote: Peer, options: ExchangeOptions): Promise<Pulled> {
  const { ports } = store;
  const files = ports.openFolder(remote.url);
  const names = await stickNames(remote, files);
  const path = { absolute: remote.url, shown: shownOf(remote) };
  // Looked at before anything is kept: too many volumes end the act.
  const volumes = await findVolumes(ports, path, options.unlock);
  const { receipts, failed } = await tryReceipts(store, remote, files, names);
  const hasStore = await isStoreIn(files);
  if (isCofferError(volumes)) {
    if (failed !== undefined && !hasStore) throw failed.error;
    if (failed === undefined && !hasStore && receipts.length === 0) throw nothingOn(remote, volumes);
    store.warnings.push(...volumes.details);
    if (failed === undefined && receipts.length === 0) return pullStore(store, remote, options);
  }
  const found = isCofferError(volumes) ? NOTHING : volumes;
  const all = hasStore ? await withStore(found, path, ports, receiverFor(store, options)) : found;
  const { taken, own: _own, ...imported } = await importAll(store, all, options);
  const told = failed === undefined ? imported : { ...imported, failed: [...imported.failed, failed] };
  const newest = newestOf(taken);
  if (newest !== undefined) await note(store, { ...remote, store: newest.source.index.value.store });
  const answered = newestOf(taken.filter((one) => found.bundles.includes(one)));
  if (answered === undefined) return { ...told, receipts };
  return { ...told, receipts, ...(await tryReceipt(store, remote.url, answered.source.index.id)) };
}

const NOTHING: Arrived = { bundles: [], unread: [], passedOver: [] };

function nothingOn(remote: Peer, cause: CofferError): CofferError {
  const text = `${shownOf(remote)}: expected volumes of another store's bundle, found none`;
  return new CofferError("FILE_NOT_FOUND", text, { cause, details: cause.details });
}

/** The one with the highest log number. */
function newestOf(bundles: readonly Incoming[]): Incoming | undefined {
  const numberOf = ({ source }: Incoming): number => source.index.value.log.number;
  return bundles.toSorted((one, other) => numberOf(other) - numberOf(one))[0];
}

/** Too many of them keep no revocation out that lies beside them. */
async function tryReceipts(
  store: Store,
  remote: Peer,
  files: Files,
  names: readonly string[],
): Promise<{ readonly receipts: readonly Delivery[]; readonly failed?: Fault }> {
  try {
    return { receipts: await takeReceipts(store, remote, files, names) };
  } catch (error) {
    passOthers(error, "LIMIT_EXCEEDED");
    return { receipts: [], failed: { what: `receipts on ${shownOf(remote)}`, error } };
  }
}

/** What was imported stays, and is told, where the medium takes no receipt: many are write-protected on purpose. */
async function tryReceipt(
  store: Store,
  folder: string,
  answers: Digest,
): Promise<Pick<Pulled, "receipt" | "unreceipted">> {
  try {
    return { receipt: await leaveReceipt(store, folder, answers) };
  } catch (error) {
    passOthers(error);
    return { unreceipted: error };
  }
}

/** What lies on a stick. @throws CofferError FILE_NOT_FOUND - it is not there; LIMIT_EXCEEDED */
async function stickNames(remote: Peer, files: Files): Promise<readonly string[]> {
  const names = await namesOn(files, ".", shownOf(remote));
  if (names !== undefined) return names;
  throw new CofferError("FILE_NOT_FOUND", `${shownOf(remote)}: expected a folder at ${remote.url}, found none`);
}

export interface Pushed {
  /** On a stick. */
  readonly volumes: readonly WrittenVolume[];
  /** In another store of this machine. */
  readonly report?: ImportReport;
  /** What the stick's volumes leave out is what that store said here that it has. */
  readonly receipt?: Delivery;
  /** On a git host. */
  readonly commit?: string;
  /** False if it held all that already. */
  readonly moved: boolean;
}

/** @throws CofferError USAGE - a server, which only reads; as `makeBundle`, `writeVolumes`, `importFrom`, `pushMetadata` */
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
        "USAGE",
        "push: expected a folder, a store or a git host; a server is read-only: have it pull, or push to its folder",
      );
    case "folder":
      return (await isStoreIn(store.ports.openFolder(remote.url)))
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
  // An older copy would be written as a second history of this store.
  if (other.id === store.id)
    throw new CofferError("USAGE", `${shownOf(remote)}: expected another store, found this one, or a copy of it`);
  await needOtherKey(other, shownOf(remote));
  const report = await importFrom(other, await openFolderSource(store.root, store.ports, other), options);
  store.warnings.push(...other.warnings);
  await note(store, { ...remote, store: other.id });
  if (remote.name !== undefined) await keepReceipt(store, { name: remote.name }, await writeReceipt(other));
  return { volumes: [], report, moved: report.entries.length > 0 };
}

/** Both stores have a key of their own, so that the error has to say whose. @throws CofferError NO_STORE_KEY */
async function needOtherKey(other: Store, shown: string): Promise<void> {
  try {
    await other.needSigner();
  } catch (error) {
    passOthers(error, "NO_STORE_KEY");
    const text = `${shown}: expected the key of the store there, ${short(other.id)}, to be readable by this account`;
    throw new CofferError("NO_STORE_KEY", `${text}: pull as an account that may write that store`, { cause: error });
  }
}

async function pushStick(
  store: Store,
  remote: Peer,
  request: BundleRequest,
  { sealing }: ExchangeOptions,
): Promise<Pushed> {
  const files = store.ports.openFolder(remote.url);
  const receipt = await receiptFor(store, remote, files);
  const all = request.names.length + request.patterns.length === 0;
  const chosen = all ? { ...request, patterns: await everyName(store) } : request;
  const bundle = await makeBundle(store, receipt === undefined ? chosen : { ...chosen, receiver: receiverOf(receipt) });
  const { random } = store.ports;
  const volumes = await writeVolumes(store, bundle, volumeNumbers(bundle), { files }, { random, sealing });
  return { volumes, moved: true, ...(receipt === undefined ? {} : { receipt }) };
}

/** What is known of the one store that a stick goes to; undefined where nothing is, or where it goes to several. */
async function receiptFor(store: Store, remote: Peer, files: Files): Promise<Delivery | undefined> {
  const [only, ...others] = await takeReceipts(store, remote, files, await stickNames(remote, files));
  if (remote.name === undefined) return others.length === 0 ? only : undefined;
  try {
    return await lastReceipt(store, remote.name);
  } catch (error) {
    passOthers(error, "CORRUPT"); // then all goes, as to a store of which nothing is known
    store.warnings.push(error.message);
    return undefined;
  }
}
