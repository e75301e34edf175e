// SPDX-License-Identifier: Apache-2.0
/**
 * Space and inodes kept back in local/reserve, so that a name can be revoked on a disk that is full. Layer: repo.
 * Made by `init`, given up by an act that must not fail for want of room, made again by the next commit that has room.
 */
import { createCipheriv, hash } from "node:crypto";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import type { Files } from "../objects/files.ts";
import { ensureFolders, namesIn, tempPath } from "../objects/layout.ts";
import { discard, writeTemp } from "../refs/temp-file.ts";
import type { Store } from "./store.ts";

export const RESERVE_FOLDER = "local/reserve";
/** Each piece is a file: a file system can be out of inodes as well. */
const PIECES = 64;
const PIECE_BYTES = 64 * 1024;
/** Pieces that are made side by side. */
const AT_ONCE = 16;

const NAMES: readonly string[] = Array.from({ length: PIECES }, (_, index) => String(index).padStart(2, "0"));

/** Bytes that no file system can compress, nor fold into those of another piece. */
function pieceBytes(name: string): Uint8Array {
  const key = hash("sha256", `coffer reserve ${name}`, "buffer");
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(PIECE_BYTES));
}

/** How many pieces are there, and how many there should be. @throws CofferError IO_ERROR, CORRUPT */
export async function countReserve(files: Files): Promise<{ readonly found: number; readonly expected: number }> {
  return { found: PIECES - (await missingPieces(files)).length, expected: PIECES };
}

/** A piece that has its name is whole: it was written and fsynced before. */
async function missingPieces(files: Files): Promise<readonly string[]> {
  const there = new Set(await files.list(RESERVE_FOLDER));
  return NAMES.filter((name) => !there.has(name));
}

/**
 * Makes the pieces that are missing, durably.
 * @throws CofferError NO_SPACE - no room for all of them; those that were made stay. IO_ERROR, CORRUPT
 */
export async function fillReserve(files: Files, random: Random): Promise<void> {
  const missing = await missingPieces(files);
  if (missing.length === 0) return;
  await ensureFolders(files, [RESERVE_FOLDER]);
  for (let at = 0; at < missing.length; at += AT_ONCE) await makeMost(files, random, missing.slice(at, at + AT_ONCE));
  await files.fsyncFolder(RESERVE_FOLDER);
}

/** Where there is no room for all of them, one by one up to the first that has none. */
async function makeMost(files: Files, random: Random, names: readonly string[]): Promise<void> {
  try {
    await makePieces(files, random, names);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    for (const name of names) await makePieces(files, random, [name]);
  }
}

/** All of them or none. */

async function makePieces(files: Files, random: Random, names: readonly string[]): Promise<void> {
  const pieces = names.map((name) => ({ name, temp: tempPath(files, random) }));
  const made = await Promise.allSettled(
    pieces.map(({ name, temp }) => writeTemp(files, temp, pieceBytes(name), 0o600)),
  );
  try {
    for (const result of made) if (result.status === "rejected") throw result.reason;
    for (const { name, temp } of pieces) await files.rename(temp, `${RESERVE_FOLDER}/${name}`);
  } catch (error) {
    for (const { temp } of pieces) await discard(files, temp);
    throw error;
  }
}

/** @returns false if there was nothing to give up. @throws CofferError IO_ERROR */
async function giveUpReserve(files: Files): Promise<boolean> {
  let freed = false;
  for (const name of await namesIn(files, RESERVE_FOLDER))
    freed = (await files.remove(`${RESERVE_FOLDER}/${name}`)) || freed;
  return freed;
}

/** Also where what is full is a cause further down, as of STATE_UNWRITABLE. */
function isNoSpace(error: unknown): boolean {
  if (!(error instanceof CofferError)) return false;
  return error.code === "NO_SPACE" || isNoSpace(error.cause);
}

/**
 * Runs an act that must not fail for want of room: should it, once more without the reserve, and then without what this
 * machine was to remember of it. The act as a whole is run again, with new files: nothing whose fsync failed is used.
 *
 * @throws as `act`
 */
export async function withReserve<T>(store: Store, act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isNoSpace(error) || store.readOnly || !(await makeRoom(store, error))) throw error;
    }
  }
}

/** @returns false if there is nothing more to give up */
async function makeRoom(store: Store, error: unknown): Promise<boolean> {
  if (await giveUpReserve(store.files)) {
    store.warnings.push("the disk is full: this was done with the space that the store keeps back for it; free some");
    return true;
  }
  return isCofferError(error, "STATE_UNWRITABLE") && store.letMemoryWait();
}

/** After a commit that stands. @returns what is to be told; no room is no news to those whom `withReserve` told */
export async function keepReserve(files: Files, random: Random): Promise<CofferError | undefined> {
  try {
    await fillReserve(files, random);
    return undefined;
  } catch (error) {
    passOthers(error);
    return isNoSpace(error) ? undefined : error;
  }
}
