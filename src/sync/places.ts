// SPDX-License-Identifier: Apache-2.0
/**
 * Where volumes are looked for: files and folders that people named, and what lies in the folders. Layer: sync.
 * Not here: what the volumes hold (volumes.ts).
 */
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Files } from "../objects/files.ts";
import type { Unlock } from "./age-header.ts";
import { fromMedium, mediumFile } from "./medium.ts";
import { beginsSealed } from "./sealed.ts";
import { BEGINNING_BYTES, beginsVolume, INDEX_PATH, VOLUME_FILE } from "./volume-note.ts";

/** A file or a folder that somebody named. */
export interface Place {
  readonly files: Files;
  /** Within `files`; "." for the folder itself. */
  readonly path: string;
  /** How people call it. */
  readonly what: string;
  /** Opens volumes that are encrypted. */
  readonly unlock?: Unlock;
  /** An encrypted file that nobody called a volume, by its path or its name: it may be anything. */
  readonly isGuess?: true;
}

/** A file that cannot be used, with the reason. */
export interface Fault {
  readonly what: string;
  readonly error: CofferError;
}

/** What folders hold. */
interface Found {
  readonly volumes: readonly Place[];
  /** Files with other names than volumes have, of which nobody can tell what they are. */
  readonly unreadable: readonly Fault[];
}

/** The folder in a volume that holds its index. */
export const UNTARRED = "bundle";

/** What to do where media hold more than is looked at together. */
const FEWER = "take one folder at a time, or name the volumes of one bundle";

/** @param found - how many there are, as far as they were counted */
export function overTogether(what: string, most: number, of: string, found: number | string): CofferError {
  return new CofferError("LIMIT_EXCEEDED", `${what}: expected at most ${most} ${of}, found ${found}: ${FEWER}`);
}

/**
 * The names in a folder of a medium; undefined if it is not there.
 * @throws CofferError LIMIT_EXCEEDED - so many that somebody may have put them there to be in the way
 */
export async function namesOn(files: Files, path: string, what: string): Promise<readonly string[] | undefined> {
  try {
    return await files.list(path, LIMITS.mediumNames);
  } catch (error) {
    passOthers(error, "LIMIT_EXCEEDED");
    throw overTogether(what, LIMITS.mediumNames, "names in one folder", "more");
  }
}

/** How much is looked at together. */
export type Bounds = { readonly [name in "mediaVolumes" | "mediaBundles" | "mediaIndexBytes"]: number };

/** Folders become the volumes in them. @throws CofferError FILE_NOT_FOUND, IO_ERROR, LIMIT_EXCEEDED */
export async function volumesAt(places: readonly Place[], { mediaVolumes }: Bounds): Promise<Found> {
  const found: Place[] = [];
  const unreadable: Fault[] = [];
  for (const place of places) {
    const stat = await place.files.stat(place.path);
    if (stat === undefined) throw new CofferError("FILE_NOT_FOUND", `${place.what}: no such file or folder`);
    if (stat.kind === "folder") {
      const { volumes, unreadable: more } = await volumesIn(place);
      for (const one of volumes) found.push(one);
      for (const one of more) unreadable.push(one);
    } else found.push(place);
    if (found.length > mediaVolumes) throw overTogether(place.what, mediaVolumes, "volumes together", found.length);
  }
  return { volumes: found, unreadable };
}

/** @param unreadable - what lies there and may be a volume */
export function noVolumes(what: string, unreadable: readonly Fault[]): CofferError {
  const details = unreadable.slice(0, MOST_TOLD).map(({ error }) => error.message);
  return new CofferError("FILE_NOT_FOUND", `${what}: expected volumes of a bundle in this folder, found none`, {
    details,
  });
}
const MOST_TOLD = 8;

async function volumesIn(place: Place): Promise<Found> {
  const within = (name: string): string => (place.path === "." ? name : `${place.path}/${name}`);
  const volumes: Place[] = [];
  const unreadable: Fault[] = [];
  for (const name of (await namesOn(place.files, place.path, place.what)) ?? []) {
    const volume = { ...place, path: within(name), what: name };
    const begins = VOLUME_FILE.test(name) ? "volume" : await howItBegins(volume);
    if (begins === "volume") volumes.push(volume);
    else if (begins === "age") volumes.push({ ...volume, isGuess: true });
    else if (begins !== undefined) unreadable.push({ what: name, error: begins });
  }
  const isUntarred = await isThere(place.files, within(INDEX_PATH));
  if (isUntarred) volumes.push({ ...place, path: within(UNTARRED) });
  if (volumes.length === 0) throw noVolumes(place.what, unreadable);
  return { volumes, unreadable };
}

/**
 * A volume that somebody gave another name may hold a revocation.
 * @returns undefined if it is something else; why it cannot be read, if nobody can tell
 */
async function howItBegins({ files, path, what }: Place): Promise<"volume" | "age" | CofferError | undefined> {
  if (what.startsWith(".")) return undefined;
  try {
    if ((await fromMedium(what, () => files.stat(path)))?.kind !== "file") return undefined;
    const opened = await fromMedium(what, () => files.open(path));
    if (opened === undefined) return undefined;
    const file = mediumFile(opened, what);
    try {
      const bytes = new Uint8Array(BEGINNING_BYTES);
      const beginning = bytes.subarray(0, await file.read(bytes, 0));
      return beginsVolume(beginning) ? "volume" : beginsSealed(beginning) ? "age" : undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    passOthers(error, "VOLUME_DAMAGED");
    // A link, or a pipe that took its place.
    return isCofferError(error.cause, "CORRUPT") ? undefined : error;
  }
}

/** What is there and cannot be looked at counts: whoever reads it will tell. @throws CofferError IO_ERROR - for lack of something here */
export async function isThere(files: Files, path: string): Promise<boolean> {
  try {
    return (await fromMedium(path, () => files.stat(path))) !== undefined;
  } catch (error) {
    passOthers(error, "VOLUME_DAMAGED");
    return true;
  }
}
