// SPDX-License-Identifier: Apache-2.0
/**
 * `gc`: what nothing reaches goes to local/trash, and from there a day later. No lock: writers and readers go on.
 * Layer: repo. docs/architecture.md, "What gc takes"; docs/decisions/0024-gc-without-a-lock.md says why this is enough.
 *
 * The order is what holds it together: follow the log, put back, remove what has had its day, move what is old and not
 * reached, then follow the log again and put back once more. A crash anywhere leaves at worst something reached in the
 * trash, where readers look too, and from where the next gc puts it back before it removes anything.
 */
import { type Digest, isDigest } from "../base/digest.ts";
import type { FileStat, Files } from "../objects/files.ts";
import { ensureFolders, namesIn } from "../objects/layout.ts";
import { mayGo, stagedFolders } from "../objects/stagings.ts";
import {
  COLLECTED_FOLDERS,
  type CollectedFolder,
  hasTrash,
  moveToTrash,
  putBack,
  TRASH_FOLDER,
  trashPath,
} from "../objects/trash.ts";
import { Reach } from "./reach.ts";
import type { Store } from "./store.ts";

/** Seconds that something stays in the trash: longer than any act takes from its first write to its commit. */
export const TRASH_S = 24 * 3600;

export interface GcRequest {
  /** What was written or used again less than this ago stays where it is. */
  readonly olderThanS: number;
  /** Only look. */
  readonly dryRun: boolean;
  /** Told before each step, for progress. */
  readonly onStep?: (step: string) => void;
}

export interface Tally {
  files: number;
  bytes: number;
}

export interface GcReport {
  /** Gone, or to go, to the trash. */
  readonly moved: Readonly<Record<CollectedFolder, Tally>>;
  /** Not reached, but too young; it may be part of an act that is not done. */
  readonly young: Tally;
  /** Removed, or to be removed, after a day in the trash. */
  readonly removed: Tally;
  /** In the trash, waiting for its day to end; without what this run moved. */
  readonly waiting: Tally;
  /** Removed, or to be removed, of imports that were stopped: the same import again gets it anew. */
  readonly staging: Tally;
  /** Kept of imports that are at work, or were stopped too short a time ago. */
  readonly stagingKept: Tally;
  /** Put back, since something reaches it after all. */
  readonly restored: number;
  /** Not reached, but another account's, which alone can give it a new time. */
  readonly foreign: number;
  /** Names in these folders, or in the trash, that are none of ours: left alone. */
  readonly strange: number;
}

type Report = { -readonly [K in keyof GcReport]: GcReport[K] };

interface Run {
  readonly store: Store;
  readonly request: GcRequest;
  readonly reach: Reach;
  readonly nowS: number;
  readonly report: Report;
}

/**
 * @throws CofferError NO_STORE_KEY - but not for a dry run; CORRUPT, UNSUPPORTED - the store is damaged, or newer: what is
 *   reached is not known, so nothing was moved; NO_SPACE, IO_ERROR
 */
export async function gc(store: Store, request: GcRequest): Promise<GcReport> {
  if (!request.dryRun) {
    await store.needSigner();
    await store.sweep();
    await store.mendViews();
  }
  const run: Run = { store, request, reach: new Reach(store), nowS: store.ports.clock(), report: emptyReport() };
  const step = (name: string): void => request.onStep?.(name);
  // First, and without writing anything: the disk may be full of just that.
  step("imports");
  await dropStaging(run);
  step("log");
  await run.reach.follow();
  step("trash");
  if (!request.dryRun) await restore(run);
  await emptyTrash(run);
  for (const folder of COLLECTED_FOLDERS) {
    step(folder);
    await collect(run, folder);
  }
  step("log");
  await run.reach.follow();
  if (!request.dryRun) await restore(run);
  return run.report;
}

function emptyReport(): Report {
  const tally = (): Tally => ({ files: 0, bytes: 0 });
  return {
    moved: { objects: tally(), signatures: tally(), blobs: tally() },
    young: tally(),
    removed: tally(),
    waiting: tally(),
    staging: tally(),
    stagingKept: tally(),
    restored: 0,
    foreign: 0,
    strange: 0,
  };
}

function count(tally: Tally, stat: Pick<FileStat, "sizeBytes">): void {
  tally.files += 1;
  tally.bytes += stat.sizeBytes;
}

async function dropStaging({ store: { files }, request, nowS, report }: Run): Promise<void> {
  for await (const folder of stagedFolders(files)) {
    for (const file of folder.files) {
      if (!mayGo(folder, file, nowS, request.olderThanS)) count(report.stagingKept, file);
      else if (request.dryRun || (await files.remove(file.path))) count(report.staging, file);
    }
    if (!request.dryRun && (await files.isEmpty(folder.path)) === true) await files.removeFolder(folder.path);
  }
}

/** What stopped imports hold that `gc --older-than 0` would remove, for those who only look. */
export async function stagingTally(files: Files, nowS: number): Promise<Tally> {
  const tally: Tally = { files: 0, bytes: 0 };
  for await (const folder of stagedFolders(files)) {
    for (const file of folder.files) if (mayGo(folder, file, nowS, 0)) count(tally, file);
  }
  return tally;
}

/** True if what a file belongs to is reached: a signature goes and stays with its object. */
function isReached({ reach }: Run, folder: CollectedFolder, id: Digest): boolean {
  return folder === "blobs" ? reach.hasBlob(id) : reach.hasObject(id);
}

function isOlder({ nowS }: Run, stat: FileStat, ageS: number): boolean {
  return Number(stat.mtimeNs / 1_000_000_000n) <= nowS - ageS;
}

const SIGNATURE = /^([0-9a-f]{62})\.[0-9a-f]{64}\.sig$/;

/** The object or blob that a name in a fanned-out folder belongs to; undefined if it is none of ours. */
export function ownerOf(folder: CollectedFolder, first: string, rest: string): Digest | undefined {
  const id = `${first}${folder === "signatures" ? (SIGNATURE.exec(rest)?.[1] ?? "") : rest}`;
  return first.length === 2 && isDigest(id) ? id : undefined;
}

interface Place {
  readonly path: string;
  readonly id: Digest | undefined;
}

/** Every name two levels below `root`/`folder`, one folder at a time. */
export async function* placesIn(files: Files, folder: CollectedFolder, root = ""): AsyncGenerator<readonly Place[]> {
  for (const first of await namesIn(files, `${root}${folder}`)) {
    if ((await files.stat(`${root}${folder}/${first}`))?.kind !== "folder") {
      yield [{ path: `${folder}/${first}`, id: undefined }];
      continue;
    }
    const names = await namesIn(files, `${root}${folder}/${first}`);
    yield names.map((rest) => ({ path: `${folder}/${first}/${rest}`, id: ownerOf(folder, first, rest) }));
  }
}

const TRASH_ROOT = `${TRASH_FOLDER}/`;

/** Puts back whatever in the trash is reached: of a gc that was stopped, or since the log was followed. */
async function restore(run: Run): Promise<void> {
  const { files } = run.store;
  for (const folder of COLLECTED_FOLDERS) {
    for await (const places of placesIn(files, folder, TRASH_ROOT)) {
      for (const { path, id } of places) {
        if (id === undefined || !isReached(run, folder, id)) continue;
        if ((await putBack(files, path)) === "restored") run.report.restored += 1;
      }
    }
  }
}

/** Removes what has lain in the trash for its day. What is reached is in its place by now: this is a second name of it. */
async function emptyTrash(run: Run): Promise<void> {
  const { files } = run.store;
  for (const folder of COLLECTED_FOLDERS) {
    for await (const places of placesIn(files, folder, TRASH_ROOT)) {
      for (const { path, id } of places) await removeIfDue(run, folder, path, id);
    }
  }
}

async function removeIfDue(run: Run, folder: CollectedFolder, path: string, id: Digest | undefined): Promise<void> {
  const { store, request, report } = run;
  const stat = await store.files.stat(trashPath(path));
  if (stat === undefined) return;
  if (id === undefined || stat.kind !== "file") {
    report.strange += 1;
    return;
  }
  if (!isOlder(run, stat, TRASH_S)) return count(report.waiting, stat);
  if (isReached(run, folder, id) && (await store.files.stat(path)) === undefined) return;
  if (!request.dryRun && !(await store.files.remove(trashPath(path)))) return;
  if (stat.links === 1) count(report.removed, stat);
}

async function collect(run: Run, folder: CollectedFolder): Promise<void> {
  const { files } = run.store;
  for await (const places of placesIn(files, folder)) {
    const touched = new Set<string>();
    for (const { path, id } of places) {
      if (id === undefined) run.report.strange += 1;
      else if (!isReached(run, folder, id)) await collectOne(run, folder, path, touched);
    }
    for (const parent of touched) await files.fsyncFolder(parent);
  }
}

/** @param touched - folders whose entries this changed */
async function collectOne(run: Run, folder: CollectedFolder, path: string, touched: Set<string>): Promise<void> {
  const { store, request, report } = run;
  const stat = await store.files.stat(path);
  if (stat === undefined) return;
  if (stat.kind !== "file") {
    report.strange += 1;
    return;
  }
  if (!isOlder(run, stat, request.olderThanS)) return count(report.young, stat);
  if (request.dryRun) return count(report.moved[folder], stat);
  const parent = path.slice(0, path.lastIndexOf("/"));
  await ensureFolders(store.files, [trashPath(parent)]);
  switch (await moveToTrash(store.files, path)) {
    case "moved":
      count(report.moved[folder], stat);
      touched.add(trashPath(parent)).add(parent);
      return;
    case "foreign":
      report.foreign += 1;
      return;
    case "linked":
      return count(report.young, stat);
    case "gone":
      return;
  }
}

/** How much lies in the trash, for those who only look. */
export async function trashTally(files: Files): Promise<Tally> {
  const tally: Tally = { files: 0, bytes: 0 };
  if (!(await hasTrash(files))) return tally;
  for (const folder of COLLECTED_FOLDERS) {
    for await (const places of placesIn(files, folder, TRASH_ROOT)) {
      for (const { path } of places) {
        const stat = await files.stat(trashPath(path));
        if (stat?.kind === "file" && stat.links === 1) count(tally, stat);
      }
    }
  }
  return tally;
}
