// SPDX-License-Identifier: Apache-2.0
/**
 * `add --move`: the source itself becomes the blob, so that a large file is read once and copied never. Layer: repo.
 * Not here: inspection, publishing, the commit (add.ts).
 *
 * A file that is taken in lies under local/incoming until its model is committed, beside a note that says where it came
 * from; nothing sweeps that folder. So wherever the act is stopped, the bytes are in their old place, or there, and once
 * they have a blob's name they are in both.
 */
import { realpath } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { CofferError, isCofferError, passOthers, systemCode } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import type { StagedBlob } from "../objects/blob-store.ts";
import { hashFile } from "../objects/chunk-hasher.ts";
import type { FileStat, Files } from "../objects/files.ts";
import { ensureFolders, tempPath } from "../objects/layout.ts";
import { writeTemp } from "../refs/temp-file.ts";
import type { SourceFile } from "./sources.ts";
import type { Store } from "./store.ts";

export const INCOMING_FOLDER = "local/incoming";
const SEALED = 0o444;

/** A file that was taken from its place, and can be put back. */
export interface MovedFile {
  readonly source: SourceFile;
  /** In the store; the note is beside it, with `.from` after its name. */
  readonly incoming: string;
  readonly mode: number;
}

/** Paths of the whole machine, for the two steps between a source and the store. */
function machineFiles(store: Store): Files {
  return store.ports.openFolder("/");
}

function sourcePath({ folder, file }: SourceFile): string {
  return join(folder, file).slice(1);
}

function usage({ path }: SourceFile, expected: string): CofferError {
  return new CofferError("USAGE", `--move: ${printable(path, 200)}: expected ${expected}; leave out --move to copy it`);
}

/**
 * Takes one file: rename, then hash. The staged blob is a second name of it under local/tmp.
 *
 * @param moved - gets the file as soon as it has left its place, whatever comes after
 * @throws CofferError USAGE - it cannot be moved: see the text; SOURCE_CHANGED - it was written or replaced meanwhile;
 *   FILE_NOT_FOUND, NO_SPACE, IO_ERROR
 */
export async function moveIn(
  store: Store,
  source: SourceFile,
  moved: MovedFile[],
  onBytes: (bytes: number) => void,
): Promise<StagedBlob> {
  const before = await needMovable(store, source);
  const incoming = `${INCOMING_FOLDER}/${basename(tempPath(store.files, store.ports.random))}`;
  await ensureFolders(store.files, [INCOMING_FOLDER]);
  const origin = new TextEncoder().encode(`${join(source.folder, source.file)}\n`);
  await writeTemp(store.files, noteOf(incoming), origin, 0o600);
  try {
    await machineFiles(store).rename(sourcePath(source), join(store.root, incoming).slice(1));
  } catch (error) {
    await store.files.remove(noteOf(incoming));
    if (isCofferError(error) && systemCode(error.cause) === "EXDEV") {
      throw usage(source, "a file on the store's file system, found one on another");
    }
    throw error;
  }
  moved.push({ source, incoming, mode: before.mode });
  await store.files.fsyncFolder(INCOMING_FOLDER);
  return takeOver(store, source, incoming, before, onBytes);
}

function noteOf(incoming: string): string {
  return `${incoming}.from`;
}

/** A file of this account with one name, outside the store. */
async function needMovable(store: Store, source: SourceFile): Promise<FileStat> {
  if (basename(source.path) !== source.file) throw usage(source, "a file of its own, found one of a download cache");
  const stat = await machineFiles(store).stat(sourcePath(source));
  if (stat === undefined) throw new CofferError("FILE_NOT_FOUND", `${source.path}: no such file`);
  if (stat.kind !== "file") throw usage(source, "a regular file");
  if (stat.links !== 1) throw usage(source, `a file with one name, found ${stat.links} hard links`);
  const account = store.ports.machine?.account();
  if (account !== undefined && stat.owner !== account) throw usage(source, "a file of this account, found another's");
  const [inner, outer] = [await realFolder(source.folder), await realFolder(store.root)];
  if (inner === outer || inner.startsWith(outer + sep)) throw usage(source, "a file outside the store");
  return stat;
}

/** With links resolved; what is not there is told by what uses it. */
async function realFolder(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return path;
  }
}

/** Nobody can open it for writing any more; whoever has it open already is caught if they write before the hash ends. */
async function takeOver(
  store: Store,
  source: SourceFile,
  incoming: string,
  before: FileStat,
  onBytes: (bytes: number) => void,
): Promise<StagedBlob> {
  const changed = new CofferError("SOURCE_CHANGED", `${source.path}: the file changed while it was moved`);
  const file = await store.files.open(incoming);
  if (file === undefined) throw changed;
  try {
    const opened = await file.stat();
    if (opened.inode !== before.inode || opened.device !== before.device) throw changed;
    await file.setMode(SEALED);
    await file.fsync();
    const start = await file.stat();
    const hashed = await hashFile(file, onBytes);
    const end = await file.stat();
    const still = end.sizeBytes === start.sizeBytes && end.mtimeNs === start.mtimeNs && end.ctimeNs === start.ctimeNs;
    if (!still || end.links !== 1 || hashed.sizeBytes !== end.sizeBytes) throw changed;
    const temp = tempPath(store.files, store.ports.random);
    if (!(await store.files.link(incoming, temp))) throw new CofferError("IO_ERROR", "temporary name taken");
    return { temp, ...hashed };
  } finally {
    await file.close();
  }
}

/**
 * Puts files back where they were, with the rights that they had.
 * @returns a line for each that could not be put back, saying where it lies
 */
export async function giveBack(store: Store, moved: readonly MovedFile[]): Promise<readonly string[]> {
  const left: string[] = [];
  for (const one of moved) {
    try {
      if (await putInPlace(store, one)) continue;
      left.push(`${one.source.path} lies in ${one.incoming}: something else has its place now`);
    } catch (error) {
      passOthers(error);
      left.push(`${one.source.path} lies in ${one.incoming}: ${error.message}`);
    }
  }
  return left;
}

async function putInPlace(store: Store, { source, incoming, mode }: MovedFile): Promise<boolean> {
  const machine = machineFiles(store);
  const from = join(store.root, incoming).slice(1);
  const stat = await store.files.stat(incoming);
  if (stat?.kind === "file") {
    const file = await store.files.open(incoming);
    await file?.setMode(mode);
    await file?.close();
    // Never over what somebody has put there meanwhile.
    if (!(await machine.link(from, sourcePath(source)))) return false;
    await machine.fsyncFolder(dirname(sourcePath(source)));
    await store.files.remove(incoming);
  } else {
    // Put into the file's place between the look at it and the rename.
    if ((await machine.stat(sourcePath(source))) !== undefined) return false;
    await machine.rename(from, sourcePath(source));
  }
  await store.files.remove(noteOf(incoming));
  return true;
}

/** After the commit: the blobs are the files now. */
export async function forgetMoved(store: Store, moved: readonly MovedFile[]): Promise<void> {
  for (const { incoming } of moved) {
    await store.files.remove(incoming);
    await store.files.remove(noteOf(incoming));
  }
}
