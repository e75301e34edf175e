// SPDX-License-Identifier: Apache-2.0
/**
 * Delivery receipts as files outside the store, as on a stick: written there for others, and taken from there.
 * Layer: repo. What a receipt says: delivery.ts. What is kept of a remote's: remotes.ts.
 */
import { basename, dirname, join } from "node:path";
import { type Digest, short } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Files } from "../objects/files.ts";
import { type Delivery, isNewer, needKnownKey, readReceipt, writeReceipt } from "./delivery.ts";
import { messageWith } from "./incoming.ts";
import { isFolderAt, writeOutside } from "./outside-file.ts";
import { keepReceipt, type Peer } from "./remotes.ts";
import type { Store } from "./store.ts";

/** Besides the inventory: the document and its signature. */
export const RECEIPT_BYTES = LIMITS.inventoryBytes + 128 * 1024;

/** What is looked at on a stick: the names that receipts get here, and those that people give them. */
const RECEIPT_FILE = /\.(?:coffer-)?receipt$/;

const ownName = (store: Store): string => `${short(store.id)}.coffer-receipt`;

/** A receipt that was written, and where. */
export interface WrittenReceipt {
  /** Absolute. */
  readonly path: string;
  readonly delivery: Delivery;
}

/**
 * @param path - absolute; of a folder, where it gets the name by which `push` and `pull` know it, or of the file
 * @throws CofferError EXISTS - something else than an older receipt of this store is there; NO_STORE_KEY
 */
export async function createReceipt(store: Store, path: string): Promise<WrittenReceipt> {
  const { ports } = store;
  const file = (await isFolderAt(ports, path)) ? join(path, ownName(store)) : path;
  const bytes = await writeReceipt(store);
  const delivery = await readReceipt(bytes);
  await refuseOthers(store, file, delivery);
  await writeOutside(ports, file, bytes);
  return { path: file, delivery };
}

/** @throws CofferError EXISTS - something lies there that would be lost */
async function refuseOthers(store: Store, path: string, by: Delivery): Promise<void> {
  const [files, name] = [store.ports.openFolder(dirname(path)), basename(path)];
  const found = await files.stat(name);
  if (found === undefined || (found.kind === "file" && (await isOutdated(store, files, name, by)))) return;
  throw new CofferError("EXISTS", `${name}: expected no file yet, or an older receipt of this store`);
}

/** Whether a file is this store's own receipt, and no newer one: nothing is lost with it. */
async function isOutdated(store: Store, files: Files, name: string, by: Delivery): Promise<boolean> {
  try {
    const bytes = await files.read(name, RECEIPT_BYTES);
    if (bytes === undefined) return false;
    const before = await readReceipt(bytes);
    const { store: of, storeKey } = before.receipt.value;
    return of === store.id && storeKey.keyId === store.storeKey.keyId && !isNewer(before, by);
  } catch (error) {
    passOthers(error); // what cannot be read as a receipt is not ours to replace
    return false;
  }
}

/** Beside what was imported, in place of the one before. @returns its name. @throws CofferError as `createReceipt`; READ_ONLY, NO_SPACE */
export async function leaveReceipt(store: Store, folder: string, answers: Digest): Promise<string> {
  const name = ownName(store);
  const bytes = await writeReceipt(store, answers);
  await refuseOthers(store, join(folder, name), await readReceipt(bytes));
  await writeOutside(store.ports, join(folder, name), bytes);
  return name;
}

/**
 * Keeps what other stores left on a stick; a damaged one is passed over with a warning.
 * @param names - of what lies there
 * @returns the newest of each store
 * @throws CofferError LIMIT_EXCEEDED - there are too many, so none was looked at
 */
export async function takeReceipts(
  store: Store,
  { name: remote }: Peer,
  files: Files,
  names: readonly string[],
): Promise<readonly Delivery[]> {
  const newest = new Map<Digest, Delivery>();
  for (const name of await fewReceipts(files, names)) {
    try {
      const bytes = await files.read(name, RECEIPT_BYTES);
      if (bytes === undefined) continue;
      const found = await readReceipt(bytes);
      const of = found.receipt.value.store;
      if (of === store.id) continue;
      const before = newest.get(of);
      await needKnownKey(store, found, before);
      const taken = remote === undefined ? found : await keepReceipt(store, { name: remote }, bytes);
      if (before === undefined || isNewer(taken, before)) newest.set(of, taken);
    } catch (error) {
      passOthers(error);
      store.warnings.push(messageWith(name, error));
    }
  }
  return [...newest.values()];
}

/** Those of `names` that are receipts. @throws CofferError LIMIT_EXCEEDED */
async function fewReceipts(files: Files, names: readonly string[]): Promise<readonly string[]> {
  const { mediumReceipts, mediumReceiptBytes } = LIMITS;
  const found = names.filter((name) => RECEIPT_FILE.test(name));
  let bytes = 0;
  if (found.length <= mediumReceipts) for (const name of found) bytes += (await sizeOf(files, name)) ?? 0;
  if (found.length <= mediumReceipts && bytes <= mediumReceiptBytes) return found;
  const expected = `expected at most ${mediumReceipts} receipts of ${mediumReceiptBytes} bytes together`;
  const counted = `found ${found.length}${bytes === 0 ? "" : ` of ${bytes}`}`;
  throw new CofferError("LIMIT_EXCEEDED", `${expected}, ${counted}: remove those that nobody needs`);
}

/** Of what may be read; what is wrong with the others is told when they are. */
async function sizeOf(files: Files, name: string): Promise<number | undefined> {
  const stat = await files.stat(name);
  return stat?.kind === "file" && stat.sizeBytes <= RECEIPT_BYTES ? stat.sizeBytes : undefined;
}
