// SPDX-License-Identifier: Apache-2.0
/**
 * Objects on disk: one file each, named by the SHA-256 of its bytes and checked against that name on every read.
 * Layer: objects. Format: docs/format.md, "The store on disk". Holds invariants 1 and 7. Writing: write-batch.ts.
 */
import { type Digest, sha256, short } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Files } from "./files.ts";
import { objectPath } from "./layout.ts";
import { trashPath } from "./trash.ts";

export interface ObjectReader {
  /**
   * The bytes of an object, checked against its name; undefined if absent.
   * @throws CofferError CORRUPT - other bytes than the name says; IO_ERROR
   */
  read(id: Digest): Promise<Uint8Array | undefined>;
}

/** `files.read` for what only this program wrote: nothing over its limit was ever stored, so that is damage. */
export async function readStored(files: Files, path: string, limitBytes: number): Promise<Uint8Array | undefined> {
  try {
    return await files.read(path, limitBytes);
  } catch (error) {
    passOthers(error, "LIMIT_EXCEEDED");
    throw new CofferError("CORRUPT", error.message, { cause: error });
  }
}

export function openObjects(files: Files): ObjectReader {
  return {
    async read(id) {
      const path = objectPath(id);
      const found = await readStored(files, path, LIMITS.documentBytes);
      const bytes = found ?? (await readStored(files, trashPath(path), LIMITS.documentBytes));
      if (bytes !== undefined && sha256(bytes) !== id) {
        throw new CofferError("CORRUPT", `object ${short(id)}: the bytes are not those of its name`);
      }
      return bytes;
    },
  };
}

/**
 * Reads an object that something already found names, so that its absence is damage, and parses it.
 * A document that is there but does not follow its schema is damage too: only complete documents were ever stored.
 *
 * @throws CofferError CORRUPT; UNSUPPORTED if a newer version wrote it
 */
export async function readObject<T>(
  reader: ObjectReader,
  id: Digest,
  what: string,
  parse: (bytes: Uint8Array) => T,
): Promise<T> {
  const bytes = await reader.read(id);
  if (bytes === undefined) throw new CofferError("CORRUPT", `${what} ${short(id)} is missing`);
  try {
    return parse(bytes);
  } catch (error) {
    if (!(error instanceof CofferError) || error.code === "UNSUPPORTED") throw error;
    throw new CofferError("CORRUPT", `${what} ${short(id)}: ${error.message}`, { cause: error });
  }
}
