// SPDX-License-Identifier: Apache-2.0
/**
 * Other stores that this one trades with, by the names that people here gave them, and the newest receipt of each.
 * Layer: repo. Kept under local/: it is this machine's, never travels, and decides nothing about trust.
 * Format: docs/format.md, "Remotes".
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Label, parseLabel } from "../base/names.ts";
import { quote } from "../base/quote.ts";
import type { GitId } from "../git/git-object.ts";
import { fingerprint } from "../keys/public-key.ts";
import {
  digest,
  documentOf,
  label,
  makeDocument,
  optional,
  parsed,
  readDocument,
  record,
  required,
  sortedBy,
} from "../objects/documents/schema.ts";
import { ensureFolders, parentFolder, tempPath } from "../objects/layout.ts";
import { readStored } from "../objects/object-store.ts";
import { discard, writeTemp } from "../refs/temp-file.ts";
import { type Delivery, isNewer, needKnownKey, readReceipt } from "./delivery.ts";
import type { Store } from "./store.ts";

/** How a remote is reached. */
export type RemoteKind = "folder" | "http" | "git";

export interface Remote {
  readonly name: Label;
  /** An absolute path (of another store, or of a stick), `http(s)://…` of a `coffer serve`, or `git+http(s)://…`. */
  readonly url: string;
  /** The store that was found there; from the first exchange on. */
  readonly store?: Digest;
  /** Of a git host: the commit that was last pushed to or fetched from it. */
  readonly commit?: GitId;
}

/** A remote, or a place that has no name here; of that nothing is noted. */
export type Peer = Omit<Remote, "name"> & Partial<Pick<Remote, "name">>;

const FILE = "local/remotes/remotes.json";
const RECEIPTS = "local/remotes";
const MOST = 1000;
const FILE_BYTES = 4 * 1024 * 1024;

const commitId = parsed((input): GitId => {
  if (/^[0-9a-f]{40}$/.test(input)) return input as GitId;
  throw new CofferError("DOCUMENT_INVALID", "commit: expected 40 lower-case hex characters");
}, "a commit");

const url = parsed((input) => {
  kindOf(input);
  return input;
}, "the address of a remote");

const schema = documentOf("coffer/remotes", {
  remotes: required(
    sortedBy(
      record({ name: required(label), url: required(url), store: optional(digest), commit: optional(commitId) }),
      (remote) => remote.name,
      MOST,
    ),
  ),
});

/** @throws CofferError USAGE - neither an absolute path nor an address of a kind that is known; or with a password in it */
export function kindOf(address: string): RemoteKind {
  if (address.startsWith("/")) return "folder";
  const git = address.startsWith("git+");
  const plain = git ? address.slice(4) : address;
  const found = URL.canParse(plain) ? new URL(plain) : undefined;
  if (found === undefined || !["http:", "https:"].includes(found.protocol)) {
    const expected = "a folder, http://…, https://…, git+http://… or git+https://…";
    throw new CofferError("USAGE", `remote: expected ${expected}, found ${quote(address, 200)}`);
  }
  const kind = git ? "GIT" : "HTTP";
  if (found.username !== "" || found.password !== "") {
    const text = "remote: expected an address without a user";
    throw new CofferError("USAGE", `${text}: set COFFER_${kind}_USER and COFFER_${kind}_PASSWORD`);
  }
  if (!git && /[?#]/.test(plain)) {
    throw new CofferError("USAGE", `remote: expected an address without ? and #, found ${quote(address, 200)}`);
  }
  return git ? "git" : "http";
}

/** All remotes, sorted by name. @throws CofferError CORRUPT */
export async function listRemotes(store: Store): Promise<readonly Remote[]> {
  const bytes = await readStored(store.files, FILE, FILE_BYTES);
  if (bytes === undefined) return [];
  try {
    return readDocument(schema, bytes, "remotes.json").value.remotes;
  } catch (error) {
    if (!(error instanceof CofferError) || error.code === "UNSUPPORTED") throw error;
    throw new CofferError("CORRUPT", `${FILE}: ${error.message}; remove it and add the remotes again`, {
      cause: error,
    });
  }
}

/** @throws CofferError REMOTE_NOT_FOUND */
export async function needRemote(store: Store, name: string): Promise<Remote> {
  const remotes = await listRemotes(store);
  const found = remotes.find((remote) => remote.name === name);
  if (found !== undefined) return found;
  throw noSuchRemote(remotes, name, "no remote is called so");
}

/** @param why - what was looked for */
export function noSuchRemote(remotes: readonly Remote[], name: string, why: string): CofferError {
  const known = remotes.length === 0 ? "none" : remotes.map((remote) => remote.name).join(", ");
  return new CofferError("REMOTE_NOT_FOUND", `${quote(name, 80)}: ${why}; remotes that there are: ${known}`);
}

/** @param address - see `Remote.url`. @throws CofferError EXISTS, USAGE, NAME_INVALID, LIMIT_EXCEEDED, NO_STORE_KEY */
export async function addRemote(store: Store, name: string, address: string): Promise<Remote> {
  const remote = { name: parseLabel(name, "remote"), url: address };
  kindOf(address);
  const remotes = await listRemotes(store);
  if (remotes.some((other) => other.name === remote.name)) {
    throw new CofferError("EXISTS", `a remote is called ${remote.name} already: remove it first`);
  }
  await save(store, [...remotes, remote]);
  return remote;
}

/** With its receipt. @throws CofferError REMOTE_NOT_FOUND, NO_STORE_KEY */
export async function removeRemote(store: Store, name: string): Promise<void> {
  const { name: found } = await needRemote(store, name);
  await save(
    store,
    (await listRemotes(store)).filter((remote) => remote.name !== found),
  );
  await store.files.remove(receiptPath(found));
}

/** What an exchange has shown. */
export async function noteRemote(store: Store, remote: Remote): Promise<void> {
  const others = (await listRemotes(store)).filter(({ name }) => name !== remote.name);
  await save(store, [...others, remote]);
}

async function save(store: Store, remotes: readonly Remote[]): Promise<void> {
  await store.needSigner(); // who may not write the store keeps no remotes in it
  const sorted = [...remotes].sort((a, b) => (a.name < b.name ? -1 : 1)).map((remote) => ({ ...remote }));
  const { bytes } = makeDocument(schema, { type: "coffer/remotes", version: 1, remotes: sorted }, "remotes.json");
  await put(store, FILE, bytes);
}

const receiptPath = (name: Label): string => `${RECEIPTS}/${name}.receipt`;

/**
 * Keeps a receipt that came from a remote, unless a newer one is here.
 * @returns the newest
 * @throws CofferError USAGE - it is this store's own, or of another store than the one before; SIGNATURE_INVALID - it is by another key; as `readReceipt`
 */
export async function keepReceipt(store: Store, { name }: Pick<Remote, "name">, file: Uint8Array): Promise<Delivery> {
  const delivery = await readReceipt(file);
  if (delivery.receipt.value.store === store.id)
    throw new CofferError("USAGE", `${name}: expected another store's receipt, found this store's own`);
  const before = await lastReceipt(store, name);
  await needKnownKey(store, delivery, before);
  if (before !== undefined && before.receipt.value.store !== delivery.receipt.value.store) {
    const text = `${name}: expected a receipt of store ${short(before.receipt.value.store)}, as before`;
    const found = `found one of ${short(delivery.receipt.value.store)}: give each store a remote of its own`;
    throw new CofferError("USAGE", `${text}, ${found}`);
  }
  if (before !== undefined && isNewer(before, delivery)) return before;
  await put(store, receiptPath(name), file);
  if (before === undefined) await tellFirst(store, name, delivery);
  return delivery;
}

/** Whoever comes first is taken for the receiver from then on, so that somebody has to look; not where that store was found there. */
async function tellFirst(store: Store, name: Label, { receipt: { value } }: Delivery): Promise<void> {
  const found = (await listRemotes(store)).find((remote) => remote.name === name)?.store;
  if (found === value.store) return;
  const text = `${name}: first receipt from store ${value.store}, key ${fingerprint(value.storeKey)}`;
  const other = found === undefined ? "" : ` (what was found there before is store ${short(found)})`;
  store.warnings.push(
    `${text}${other}: compare both with the people who keep it; if it is another store, \`coffer remote remove ${name}\` forgets it`,
  );
}

/** The newest receipt of a remote; undefined if none has come. @throws CofferError CORRUPT */
export async function lastReceipt(store: Store, name: Label): Promise<Delivery | undefined> {
  const file = await readStored(store.files, receiptPath(name), LIMITS.inventoryBytes + FILE_BYTES);
  if (file === undefined) return undefined;
  try {
    return await readReceipt(file);
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
    throw new CofferError("CORRUPT", `${receiptPath(name)}: ${error.message}; remove it`, { cause: error });
  }
}

async function put({ files, ports: { random } }: Store, path: string, bytes: Uint8Array): Promise<void> {
  const temp = tempPath(files, random);
  await writeTemp(files, temp, bytes, 0o644);
  try {
    await ensureFolders(files, [parentFolder(path)]);
    await files.rename(temp, path);
  } catch (error) {
    await discard(files, temp);
    throw error;
  }
  await files.fsyncFolder(parentFolder(path));
}
