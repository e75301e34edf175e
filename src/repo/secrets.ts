// SPDX-License-Identifier: Apache-2.0
/**
 * The store key's private half: a file `store_key` in the secrets folder, never in the store. Layer: repo.
 * It signs log entries and this store's own inspections; it has no power over names.
 *
 * Opening a store finds the key and its mode; what is in the file is read through when it is first needed, since reading
 * takes packages that cost a runtime's `resolve` more than all else that it does.
 */
import { hkdfSync } from "node:crypto";
import { CofferError, isCofferError, systemCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import type { PrivateKey } from "../keys/private-key.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import type { Files } from "../objects/files.ts";

export const KEY_FILE = "store_key";
/** Rights to the key file that make it refused. A group may read it, to write the store together. */
const KEY_REFUSED = 0o037;
/** Rights to its folder that are too many: a group may look for the key there, and nobody else may put one there. */
export const FOLDER_REFUSED = 0o027;

/**
 * @param mode - 0o600, or 0o640 for a group that writes the store together
 * @throws CofferError EXISTS - the folder already holds a store key
 */
export async function writeStoreKey(secrets: Files, key: PrivateKey, random: Random, mode = 0o600): Promise<void> {
  const { encodePrivateKey } = await import("../keys/private-key.ts");
  await writeKeyFile(secrets, new TextEncoder().encode(encodePrivateKey(key, random)), mode);
}

async function writeKeyFile(secrets: Files, bytes: Uint8Array, mode: number): Promise<void> {
  const file = await secrets.create(KEY_FILE, mode);
  if (file === undefined) throw new CofferError("EXISTS", "the secrets folder already holds a store_key");
  try {
    await file.write(bytes);
    await file.fsync();
  } finally {
    await file.close();
  }
  await secrets.fsyncFolder(".");
}

/** What this account may not look at is not its own: it opens the store to read. */
async function orClosed<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isClosed(error)) return undefined;
    throw error;
  }
}

/** True of what the Files port throws where this account may not look. */
export function isClosed(error: unknown): error is CofferError {
  return isCofferError(error, "IO_ERROR") && CLOSED.has(systemCode(error.cause) ?? "");
}
const CLOSED: ReadonlySet<string> = new Set(["EACCES", "EPERM"]);

/** Copies the store key into another secrets folder, as it is. @throws CofferError EXISTS, NO_STORE_KEY */
export async function copyStoreKey(from: Files, to: Files): Promise<void> {
  const bytes = await from.read(KEY_FILE, LIMITS.keyFileBytes);
  if (bytes === undefined) throw new CofferError("NO_STORE_KEY", "the secrets folder holds no store_key");
  await writeKeyFile(to, bytes, 0o600);
}

/** What this account may do for the store. */
interface Opened {
  readonly signer: Signer;
  /** Under it receipts are written (receipts.ts): whoever holds the store key may. */
  readonly receipts: Uint8Array;
}

/** A key file that this account may read. */
export class StoreSecret {
  readonly #bytes: Uint8Array;
  readonly #expected: PublicKey;
  #opened: Promise<Opened> | undefined;

  /** For `findStoreKey` only. */
  constructor(bytes: Uint8Array, expected: PublicKey) {
    this.#bytes = bytes;
    this.#expected = expected;
  }

  /** @throws CofferError KEY_INVALID - no key file, or that of another key */
  open(): Promise<Opened> {
    this.#opened ??= openKey(this.#bytes, this.#expected);
    return this.#opened;
  }
}

async function openKey(bytes: Uint8Array, expected: PublicKey): Promise<Opened> {
  const [{ parsePrivateKey }, { nodeSigner }] = await Promise.all([
    import("../keys/private-key.ts"),
    import("../keys/signer.ts"),
  ]);
  const key = parsePrivateKey(new TextDecoder().decode(bytes));
  if (key.publicKey.keyId !== expected.keyId) {
    throw new CofferError("KEY_INVALID", "store_key is not this store's key: another store's secrets folder?");
  }
  return {
    signer: nodeSigner(key),
    receipts: new Uint8Array(hkdfSync("sha256", key.seed, "", "coffer receipts 1", 32)),
  };
}

/**
 * @returns undefined if this account has no store key: the store is then read-only
 * @throws CofferError KEY_MODE - others may read the file
 */
export async function findStoreKey(secrets: Files, expected: PublicKey): Promise<StoreSecret | undefined> {
  const stat = await orClosed(() => secrets.stat(KEY_FILE));
  if (stat === undefined) return undefined;
  // Who owns it does not matter: it must be the key of this store.
  if ((stat.mode & KEY_REFUSED) !== 0) {
    const found = (stat.mode & 0o777).toString(8).padStart(4, "0");
    throw new CofferError("KEY_MODE", `store_key: expected mode 0600, or 0640 for a group, found ${found}`);
  }
  const bytes = await orClosed(() => secrets.read(KEY_FILE, LIMITS.keyFileBytes));
  return bytes === undefined ? undefined : new StoreSecret(bytes, expected);
}
