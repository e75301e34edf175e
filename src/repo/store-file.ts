// SPDX-License-Identifier: Apache-2.0
/** coffer.json: format version, capabilities, store public key. Layer: repo. Format: docs/format.md, "The store on disk". */
import { CofferError } from "../base/errors.ts";
import { type PublicKey, parsePublicKey } from "../keys/public-key.ts";
import {
  arrayOf,
  documentOf,
  label,
  makeDocument,
  parsed,
  readDocument,
  required,
} from "../objects/documents/schema.ts";
import type { Files } from "../objects/files.ts";
import { readStored } from "../objects/object-store.ts";

export const STORE_FILE = "coffer.json";
const LIMIT_BYTES = 64 * 1024;

const schema = documentOf("coffer/store", {
  capabilities: required(arrayOf(label, 100)),
  storeKey: required(parsed(parsePublicKey, "an OpenSSH public key")),
});

export function encodeStoreFile(storeKey: PublicKey): Uint8Array {
  const value = { type: "coffer/store", version: 1, capabilities: [], storeKey: storeKey.text };
  return makeDocument(schema, value, STORE_FILE).bytes;
}

/** @throws CofferError STORE_NOT_FOUND, CORRUPT, UNSUPPORTED (a capability or version that is not known) */
export async function readStoreFile(files: Files): Promise<PublicKey> {
  const bytes = await readStored(files, STORE_FILE, LIMIT_BYTES);
  if (bytes === undefined) throw new CofferError("STORE_NOT_FOUND", `expected ${STORE_FILE} in the folder, found none`);
  let value: ReturnType<typeof schema>;
  try {
    value = readDocument(schema, bytes, STORE_FILE).value;
  } catch (error) {
    if (!(error instanceof CofferError) || error.code === "UNSUPPORTED") throw error;
    throw new CofferError("CORRUPT", error.message, { cause: error });
  }
  const [unknown] = value.capabilities;
  if (unknown !== undefined) throw new CofferError("UNSUPPORTED", `the store uses the capability ${unknown}`);
  return value.storeKey;
}
