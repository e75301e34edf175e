// SPDX-License-Identifier: Apache-2.0
/**
 * `doctor`, the part about a store: whether this account on this machine can work with it. Writes nothing, so it opens
 * the store in a way of its own and tries no write. Layer: repo. Not here: the machine itself (cli/machine-checks.ts),
 * whether what is stored is right (fsck.ts).
 */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { CofferError, type ErrorCode, passOthers } from "../base/errors.ts";
import { counted, sizeText } from "../base/quantity.ts";
import type { FilePlace, FileStat, Files } from "../objects/files.ts";
import { IMPORT_PREFIX, TEMP_FOLDER } from "../objects/layout.ts";
import { writerStates } from "../objects/leftovers.ts";
import { areViewsBehind } from "../refs/follow.ts";
import type { Log } from "../refs/log.ts";
import { openLog } from "../refs/log.ts";
import { openMemory } from "../refs/memory.ts";
import { stagingTally, trashTally } from "./gc.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { countReserve } from "./reserve.ts";
import { findStoreKey } from "./secrets.ts";
import { secretsFolder, stateFolder } from "./store.ts";
import { readStoreFile, STORE_FILE } from "./store-file.ts";
import { system } from "./system.ts";

export interface Diagnosis {
  /** What was looked at. */
  readonly what: string;
  readonly level: "ok" | "warn" | "fail";
  /** In words: what was expected, if it is not so, and what was found. */
  readonly text: string;
  /** The command, or the deed, that mends it. */
  readonly mend?: string;
  /** Of a failure: gives the exit status. */
  readonly code?: ErrorCode;
}

export type Report = (diagnosis: Diagnosis) => void;

const GB = 1e9;
const LEAST_FREE_BYTES = GB;
const LEAST_FREE_INODES = 10_000;
/** File systems on which entries may be lost or link(2) fails. */
const UNFIT = /^(?:vfat|msdos|exfat|fat|ntfs)/;
const REMOTE = /^(?:nfs|cifs|smb|9p|afs|ceph|glusterfs|lustre|fuse)/;

/** Runs a check; a CofferError is what it found. */
async function attempt(report: Report, what: string, check: () => Promise<void>): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    passOthers(error);
    report({ what, level: "fail", text: error.message, code: error.code });
    return false;
  }
}

/** Looks at the store at `location`, which is there. Reports as it goes; throws nothing that a store can cause. */
export async function examineStore(location: StoreLocation, ports: Ports, report: Report): Promise<void> {
  const files = ports.openFolder(location.root);
  await attempt(report, "file system", () => checkFileSystem(files, report));
  await attempt(report, "free space", () => checkSpace(location.root, report));
  let log: Log | undefined;
  await attempt(report, "store", async () => {
    log = await openLog(files, await readStoreFile(files));
    const { number } = (await log.findHead()).facts;
    report({ what: "store", level: "ok", text: `opens, log entry ${number}` });
    if (await areViewsBehind(log, number)) {
      const text = `expected the files under refs/ to be of log entry ${number}, found that a stopped act left them behind`;
      report({ what: "views", level: "warn", text, mend: "coffer fsck; any act that commits mends them too" });
    }
  });
  if (log === undefined) return;
  const open = log;
  await attempt(report, "store key", () => checkKey(location, ports, open, report));
  await attempt(report, "memory", () => checkMemory(location, ports, open, report));
  await attempt(report, "local", () => checkLocal(files, ports.clock(), report));
}

async function checkFileSystem(files: Files, report: Report): Promise<void> {
  const what = "file system";
  const file = await files.open(STORE_FILE);
  if (file === undefined) throw new CofferError("STORE_NOT_FOUND", `expected ${STORE_FILE} in the folder, found none`);
  let place: FilePlace | undefined;
  try {
    place = await file.place();
  } finally {
    await file.close();
  }
  if (place === undefined)
    report({ what, level: "warn", text: "expected to learn its type, but this system does not say" });
  else if (UNFIT.test(place.fileSystem)) {
    const text = `expected one with hard links, found ${place.fileSystem}`;
    report({ what, level: "fail", text, code: "FILE_SYSTEM_UNFIT" });
  } else if (REMOTE.test(place.fileSystem)) {
    const text = `expected a local disk, found ${place.fileSystem}: slow, and a hanging share hangs every command`;
    report({ what, level: "warn", text, mend: "move the store to a local disk" });
  } else {
    const fixed = place.medium === "fixed" ? "fixed disk" : `medium ${place.medium}`;
    report({ what, level: "ok", text: `${place.fileSystem}, ${fixed}` });
  }
  if ((await files.stat(STORE_FILE.toUpperCase())) !== undefined) {
    report({
      what: "letter case",
      level: "ok",
      text: "capitals and small letters are one here; no name depends on them",
    });
  }
}

async function checkSpace(root: string, report: Report): Promise<void> {
  const found = await system("ask for free space", () => statfs(root));
  const freeBytes = found.bavail * found.bsize;
  const few = found.files > 0 && found.ffree < LEAST_FREE_INODES;
  const text = `${(freeBytes / GB).toFixed(1)} GB and ${found.files > 0 ? found.ffree : "any number of"} inodes free`;
  if (freeBytes >= LEAST_FREE_BYTES && !few) {
    report({ what: "free space", level: "ok", text });
    return;
  }
  const expected = `expected ${LEAST_FREE_BYTES / GB} GB and ${LEAST_FREE_INODES} inodes or more, found ${text}`;
  const level = freeBytes === 0 || (few && found.ffree === 0) ? "fail" : "warn";
  const mend = "coffer gc --older-than 0, coffer du; or free space elsewhere on that disk";
  report({
    what: "free space",
    level,
    text: expected,
    mend,
    ...(level === "fail" ? { code: "NO_SPACE" as const } : {}),
  });
}

async function checkKey(location: StoreLocation, ports: Ports, log: Log, report: Report): Promise<void> {
  const folder = secretsFolder(location, log.storeId);
  const files = ports.openFolder(folder);
  checkPrivate("secrets folder", await files.stat("."), ports, report);
  checkPrivate("store key file", await files.stat("store_key"), ports, report);
  const secret = await findStoreKey(files, log.storeKey);
  if (secret !== undefined) {
    await secret.open();
    report({ what: "store key", level: "ok", text: "this account holds it: it can write" });
    return;
  }
  const text = "not here: this account can read, not write";
  report({
    what: "store key",
    level: "warn",
    text,
    mend: "if it should write: --secrets or COFFER_SECRETS, where the key lies",
  });
}

/** Only its owner may look into it. */
function checkPrivate(what: string, stat: FileStat | undefined, ports: Ports, report: Report): void {
  if (stat === undefined) return;
  const open = stat.mode & 0o077;
  if (open !== 0) {
    const text = `expected that only its owner may open it, found mode ${(stat.mode & 0o777).toString(8)}`;
    report({ what, level: "warn", text, mend: `chmod ${stat.kind === "folder" ? "700" : "600"} <${what}>` });
  }
  const account = ports.machine?.account();
  if (account !== undefined && stat.owner !== account && account !== 0) {
    const text = `expected that it is this account's (${account}), found that it is ${stat.owner}'s`;
    report({ what, level: "warn", text, mend: "run coffer as that account" });
  }
}

async function checkMemory(location: StoreLocation, ports: Ports, log: Log, report: Report): Promise<void> {
  if (!location.memory) {
    report({ what: "memory", level: "warn", text: "left out by --no-memory" });
    return;
  }
  const folder = stateFolder(location, log.storeId);
  const files = ports.openFolder(folder);
  const stat = (await ports.openFolder(dirname(folder)).stat(".")) && (await files.stat("."));
  checkPrivate("state folder", stat, ports, report);
  const { head, floor } = await openMemory(files).readMemory();
  const now = await log.findHead();
  if (head === undefined) {
    const text = "none yet: an older copy of this store would not be noticed here";
    report({ what: "memory", level: "warn", text, mend: "coffer resolve <name>, where the store is known good" });
  } else {
    await log.extendsFrom(head, now);
    const ahead = now.facts.number - head.number;
    const text = ahead === 0 ? `of log entry ${head.number}` : `of log entry ${head.number}; the log has ${ahead} more`;
    report({ what: "memory", level: "ok", text });
  }
  checkClock(ports.clock(), floor, report);
}

function checkClock(nowS: number, floorS: number | undefined, report: Report): void {
  const shown = (seconds: number): string => new Date(seconds * 1000).toISOString();
  if (floorS === undefined || nowS >= floorS) {
    report({ what: "clock", level: "ok", text: shown(nowS) });
    return;
  }
  const text = `expected ${shown(floorS)} or later, as people have signed at that time, found ${shown(nowS)}`;
  report({ what: "clock", level: "fail", text, mend: "set this machine's clock", code: "NOT_YET_VALID" });
}

async function checkLocal(files: Files, nowS: number, report: Report): Promise<void> {
  const stateOf = writerStates(files);
  const names = await files.list(TEMP_FOLDER);
  const left = (names ?? []).filter((name) => !name.startsWith(IMPORT_PREFIX) && stateOf(name) !== "living").length;
  if (names === undefined)
    report({ what: TEMP_FOLDER, level: "warn", text: "expected this folder, found none", mend: "coffer fsck" });
  else if (left > 0) {
    const text = `${left} files whose writers have ended, or are elsewhere`;
    report({ what: TEMP_FOLDER, level: "ok", text: `${text}; the next act that writes removes what is left` });
  } else report({ what: TEMP_FOLDER, level: "ok", text: "no leftovers" });
  const staging = await stagingTally(files, nowS);
  if (staging.files > 0) {
    const text = `${counted(staging.files, "file")}, ${sizeText(staging.bytes)}, of imports that were stopped`;
    const so = "the same import goes on with it, `coffer gc --older-than 0` removes it";
    report({ what: "staging", level: "ok", text: `${text}; ${so}` });
  }
  const { found, expected } = await countReserve(files);
  const reserve = `${found} of ${expected} pieces`;
  if (found === expected) report({ what: "reserve", level: "ok", text: reserve });
  else {
    const text = `expected ${expected} pieces of space set aside for a revocation, found ${reserve}`;
    report({ what: "reserve", level: "warn", text, mend: "free space; the next commit that has room sets it aside" });
  }
  const trash = await trashTally(files);
  report({
    what: "trash",
    level: "ok",
    text: `${counted(trash.files, "file")}, ${sizeText(trash.bytes)}; gc removes what has lain there for a day`,
  });
}
