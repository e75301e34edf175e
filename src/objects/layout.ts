// SPDX-License-Identifier: Apache-2.0
/** Where things lie in a store; every path comes from a digest or a parsed name (invariant 9). Layer: objects. */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Files, NewFile, Writer } from "./files.ts";

export const TEMP_FOLDER = "local/tmp";

/** Folders under local/tmp in which imports stage blobs begin so; the digest of the index follows. */
export const IMPORT_PREFIX = "import-";

export function objectPath(id: Digest): string {
  return `objects/${id.slice(0, 2)}/${id.slice(2)}`;
}

export function blobPath(id: Digest): string {
  return `blobs/${id.slice(0, 2)}/${id.slice(2)}`;
}

export function signaturePath(object: Digest, keyId: KeyId): string {
  return `signatures/${object.slice(0, 2)}/${object.slice(2)}.${keyId}.sig`;
}

/** A fresh name: whose it is, and 128 random bits. */
export function tempName({ mark }: Writer, random: Random): string {
  const hex = Buffer.from(random(16)).toString("hex");
  return mark === "" ? hex : `${mark}-${hex}`;
}

/** The writer's mark in a temporary name; "" if it has none. */
export function markOf(name: string): string {
  return /^(.+)-[0-9a-f]{32}$/.exec(name)?.[1] ?? "";
}

/** A fresh path under local/tmp. */
export function tempPath(files: Files, random: Random): string {
  return `${TEMP_FOLDER}/${tempName(files.writer, random)}`;
}

/**
 * A new file under a temporary name; the caller closes it.
 * @throws CofferError IO_ERROR - also where 128 random bits were not fresh
 */
export async function createTemp(files: Files, path: string, mode: number, expectedBytes?: number): Promise<NewFile> {
  const file = await files.create(path, mode, expectedBytes);
  if (file === undefined) throw new CofferError("IO_ERROR", "temporary file: expected a fresh name, found it taken");
  return file;
}

/** What lies in a folder; nothing where there is none. @throws CofferError IO_ERROR, CORRUPT - it is no folder */
export async function namesIn(files: Files, folder: string): Promise<readonly string[]> {
  return (await files.list(folder)) ?? [];
}

export function parentFolder(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Folders of a port that this process made sure are on disk. */
const durable = new WeakMap<Files, Set<string>>();

/**
 * Makes sure that folders are there, with their parents, and durably so, before anything is put into them. (`init` makes
 * them all, but a copy of a store may have lost those that were empty.)
 *
 * One that is there and empty may be another writer's who was stopped before its fsync, so its parent is made durable.
 * One that holds something is durable: whoever put the first thing there came through here before.
 */
export async function ensureFolders(files: Files, paths: Iterable<string>): Promise<void> {
  const known = durable.get(files) ?? new Set<string>();
  durable.set(files, known);
  const unknown = [...paths].filter((path) => !known.has(path));
  const doubtful: string[] = [];
  for (const path of unknown) if ((await files.isEmpty(path)) !== false) doubtful.push(path);
  const parents = new Set(doubtful.map((path) => (path.includes("/") ? parentFolder(path) : ".")));
  for (const parent of parents) if ((await files.stat(parent)) === undefined) await ensureFolders(files, [parent]);
  for (const path of doubtful) await files.makeFolder(path);
  await Promise.all([...parents].map((parent) => files.fsyncFolder(parent)));
  for (const path of unknown) known.add(path);
}
