// SPDX-License-Identifier: Apache-2.0
/**
 * Small whole files for the log and the views: written under a temporary name, then linked or renamed by the caller.
 * Layer: refs. Holds invariant 1. Not here: many files at once (objects/write-batch.ts).
 */

import type { Files } from "../objects/files.ts";
import { createTemp } from "../objects/layout.ts";

/**
 * Creates `temp` with `bytes`. What fails half-way leaves no file behind.
 *
 * @param durable - "not durable" for what can be made again: no fsync
 * @throws CofferError NO_SPACE, IO_ERROR
 */
export async function writeTemp(
  files: Files,
  temp: string,
  bytes: Uint8Array,
  mode: number,
  durable: "durable" | "not durable" = "durable",
): Promise<void> {
  const file = await createTemp(files, temp, mode);
  try {
    await file.write(bytes);
    if (durable === "durable") await file.fsync();
    await file.close();
  } catch (error) {
    await Promise.allSettled([file.close()]);
    await discard(files, temp);
    throw error;
  }
}

/** Removes a temporary name. Should that fail, the next writer sweeps the file: what became of the act matters more. */
export async function discard(files: Files, temp: string): Promise<void> {
  await Promise.allSettled([files.remove(temp)]);
}

/** True if `path` is a file of exactly these bytes. */
export async function isSameFile(files: Files, path: string, bytes: Uint8Array): Promise<boolean> {
  const stat = await files.stat(path);
  if (stat?.kind !== "file" || stat.sizeBytes !== bytes.length) return false;
  const found = await files.read(path, bytes.length);
  return found !== undefined && Buffer.compare(found, bytes) === 0;
}

/** True if both names are of one file: what was linked, and no other file of the same bytes. */
export async function isOneFile(files: Files, a: string, b: string): Promise<boolean> {
  const [one, other] = [await files.stat(a), await files.stat(b)];
  return one !== undefined && one.device === other?.device && one.inode === other.inode;
}
