// SPDX-License-Identifier: Apache-2.0
/**
 * `doctor`, the part about a store: whether this account on this machine can work with it. Writes nothing, so it opens
 * the store in a way of its own and tries no write. Layer: repo. Not here: the machine itself (cli/machine-checks.ts),
 * whether what is stored is right (fsck.ts).
 */
import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { CofferError, type ErrorCode, passOthers, systemCode } from "../base/errors.ts";
import { counted, sizeText } from "../base/quantity.ts";
import { isShared } from "../objects/descriptors.ts";
import type { FilePlace, FileStat, Files } from "../objects/files.ts";
import { IMPORT_PREFIX, TEMP_FOLDER } from "../objects/layout.ts";
import { writerStates } from "../objects/leftovers.ts";
import { areViewsBehind } from "../refs/follow.ts";
import type { Log } from "../refs/log.ts";
import { openLog } from "../refs/log.ts";
import { openMemory, type Seen } from "../refs/memory.ts";
import { stagingTally, trashTally } from "./gc.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { countReserve } from "./reserve.ts";
import { FOLDER_REFUSED, findStoreKey, isClosed, KEY_FILE } from "./secrets.ts";
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
  const barred = await whyBarred(location.root);
  if (barred === "EROFS") {
    const mend = "mount it for writing, or work on a copy; `coffer path NAME --to FOLDER` lays files elsewhere";
    report({ what: "writing", level: "warn", text: "the file system is read-only: nothing can be added here", mend });
  }
  await attempt(report, "store key", () => checkKey(location, ports, { log: open, barred }, report));
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

/** The system's code, if this account cannot write in the folder; asked, not tried. */
async function whyBarred(folder: string): Promise<string | undefined> {
  try {
    await access(folder, constants.W_OK);
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return code;
  }
}

async function checkKey(
  location: StoreLocation,
  ports: Ports,
  { log, barred }: { readonly log: Log; readonly barred: string | undefined },
  report: Report,
): Promise<void> {
  const folder = secretsFolder(location, log.storeId);
  const files = ports.openFolder(folder);
  const root = await ports.openFolder(location.root).stat(".");
  const byGroup = isShared(root?.mode ?? 0);
  const closed = await lookAtSecrets(files, byGroup, report);
  const what = "store key";
  try {
    const secret = await findStoreKey(files, log.storeKey);
    if (secret !== undefined) {
      await secret.open();
      report(heldBy(barred));
      return;
    }
  } catch (error) {
    passOthers(error, "KEY_MODE");
    const mend = `chmod ${byGroup ? "640" : "600"} <secrets folder>/${KEY_FILE}`;
    report({ what, level: "fail", text: error.message, code: error.code, mend });
    return;
  }
  const found = closed ? `in ${folder}, which is closed to this account` : "not here";
  const mend = "if it should write: --secrets or COFFER_SECRETS, where the key lies, and the right to read it there";
  report({ what, level: "warn", text: `${found}: this account can read, not write`, mend });
}

/** @param barred - why the account that holds the key cannot write all the same */
function heldBy(barred: string | undefined): Diagnosis {
  const what = "store key";
  if (barred === undefined) return { what, level: "ok", text: "this account holds it: it can write" };
  if (barred === "EROFS") return { what, level: "ok", text: "this account holds it" };
  const text = `this account holds it, but may not write the store's folder (${barred}): it can read, not write`;
  return { what, level: "warn", text, mend: "write as the account, or as one of the group, that the store belongs to" };
}

/**
 * What is wrong with the folder, by the rule of secrets.ts: whose it is does not matter, and a group may have it. The
 * rule for the key file itself is told by who applies it.
 *
 * @returns true if this account may not look whether there is a key, or may not read it
 */
async function lookAtSecrets(files: Files, byGroup: boolean, report: Report): Promise<boolean> {
  try {
    const stat = await files.stat(".");
    if (stat !== undefined && (stat.mode & FOLDER_REFUSED) !== 0) {
      const expected = "expected that only its owner may write it, and at most a group open it";
      const text = `${expected}, found mode ${modeText(stat)}`;
      report({
        what: "secrets folder",
        level: "warn",
        text,
        mend: `chmod ${byGroup ? "750" : "700"} <secrets folder>`,
      });
    }
    return (await files.stat(KEY_FILE)) !== undefined;
  } catch (error) {
    if (isClosed(error)) return true;
    throw error;
  }
}

function modeText({ mode }: FileStat): string {
  return (mode & 0o777).toString(8).padStart(3, "0");
}

/** Only its owner may look into it. */
function checkPrivate(what: string, stat: FileStat | undefined, ports: Ports, report: Report): void {
  if (stat === undefined) return;
  if ((stat.mode & 0o077) !== 0) {
    const text = `expected that only its owner may open it, found mode ${modeText(stat)}`;
    report({ what, level: "warn", text, mend: `chmod 700 <${what}>` });
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
  const { head, floor } = await readState(folder, ports, report);
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

/** @throws CofferError STATE_UNWRITABLE - this account may not look there, so that it could not open the store either */
async function readState(folder: string, ports: Ports, report: Report): Promise<Seen> {
  const files = ports.openFolder(folder);
  try {
    const stat = (await ports.openFolder(dirname(folder)).stat(".")) && (await files.stat("."));
    checkPrivate("state folder", stat, ports, report);
    return await openMemory(files).readMemory();
  } catch (error) {
    if (!isClosed(error)) throw error;
    const text = `expected to look into the state folder ${folder}, found it closed to this account`;
    throw new CofferError("STATE_UNWRITABLE", text, { cause: error });
  }
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
