// SPDX-License-Identifier: Apache-2.0
/** Where things lie in a store; every path comes from a digest or a parsed name (invariant 9). Layer: objects. */
import type { Digest } from "../base/digest.ts";
import type { Random } from "../base/ports.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Files } from "./files.ts";

export const TEMP_FOLDER = "local/tmp";

export function objectPath(id: Digest): string {
  return `objects/${id.slice(0, 2)}/${id.slice(2)}`;
}

export function blobPath(id: Digest): string {
  return `blobs/${id.slice(0, 2)}/${id.slice(2)}`;
}

export function signaturePath(object: Digest, keyId: KeyId): string {
  return `signatures/${object.slice(0, 2)}/${object.slice(2)}.${keyId}.sig`;
}

/** A fresh name under local/tmp: 128 random bits. */
export function tempPath(random: Random): string {
  return `${TEMP_FOLDER}/${Buffer.from(random(16)).toString("hex")}`;
}

export function parentFolder(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Makes a folder whose parent exists, and makes that durable; nothing if it is there. */
export async function ensureFolder(files: Files, path: string): Promise<void> {
  if ((await files.stat(path)) !== undefined) return;
  if (await files.makeFolder(path)) await files.fsyncFolder(path.includes("/") ? parentFolder(path) : ".");
}
