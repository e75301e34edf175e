// SPDX-License-Identifier: Apache-2.0
/**
 * The Files port over node:fs, rooted in one folder. Layer: objects. Holds invariant 7 (only ENOENT means absent).
 * Not here: what a path means, how a durable write is put together, retries, the NFS rule for link(2).
 * Metadata calls and whole-file reads are synchronous inside: for small files that is 5 to 20 times faster than the
 * thread pool. Open files: real-handles.ts.
 */
import {
  type BigIntStats,
  closeSync,
  fchmodSync,
  constants as flags,
  fstatSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { resolve } from "node:path";
import { CofferError, systemCode } from "../base/errors.ts";
import { fsyncOf, isEmptyFolder, namesUpTo, shareLikeParent, sortByBytes } from "./descriptors.ts";
import { type DirectWrites, isWrittenDirectly, OWNER_WRITES, openDirect } from "./direct-writes.ts";
import { attempt, fileError, notRegular, overLimit, overMany } from "./file-errors.ts";
import type { FileStat, Files, NewFile, OpenFile, Writer } from "./files.ts";
import { NodeNewFile, NodeOpenFile, toFileStat } from "./real-handles.ts";
import { thisProcess } from "./this-process.ts";

/** O_NONBLOCK: opening a fifo that lies where a file should be must not wait for a writer. */
const READ_FLAGS = flags.O_RDONLY | flags.O_NOFOLLOW | flags.O_NONBLOCK;
const CREATE_FLAGS = flags.O_RDWR | flags.O_CREAT | flags.O_EXCL | flags.O_NOFOLLOW;
const FOLDER_FLAGS = flags.O_RDONLY | flags.O_DIRECTORY | flags.O_NOFOLLOW;

/** Files on a real file system. */
export interface RealFiles extends Files {
  /** The folder that all paths start from, absolute. */
  readonly root: string;
  /** The absolute path for one of the port's paths; for callers that must hand a path to the system. */
  absolute(path: string): string;
}

/**
 * The port on the folder `rootPath`, which may itself be reached over symbolic links. Nothing is touched until the
 * first call, and a later change of the working directory has no effect.
 */
export function openRealFiles(rootPath: string): RealFiles {
  return new NodeFiles(resolve(rootPath));
}

/**
 * Refuses a path that the port's callers must never build.
 *
 * @param folder - true for calls on folders, which may name the root as "."
 * @throws CofferError INTERNAL - empty, absolute, a part that is empty, "." or "..", or a NUL
 */
export function checkFilePath(path: string, folder = false): void {
  if (folder && path === ".") return;
  if (/(?:^|\/)\.{0,2}(?:\/|$)|\0/.test(path))
    throw new CofferError("INTERNAL", `expected a plain relative path, found ${JSON.stringify(path)}`);
}

class NodeFiles implements RealFiles {
  readonly root: string;
  readonly #prefix: string;

  constructor(root: string) {
    this.root = root;
    this.#prefix = root.endsWith("/") ? root : `${root}/`;
  }

  get writer(): Writer {
    return thisProcess();
  }

  absolute(path: string): string {
    return this.#at(path, true);
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    const opened = openRegular(this.#at(path), path);
    if (opened === undefined) return undefined;
    const { fd, sizeBytes } = opened;
    return closingAfter(fd, "read", path, () => readWhole(fd, path, sizeBytes, limitBytes));
  }

  async open(path: string): Promise<OpenFile | undefined> {
    const opened = openRegular(this.#at(path), path);
    return opened && new NodeOpenFile(opened.fd, path);
  }

  async create(path: string, mode: number, expectedBytes = 0): Promise<NewFile | undefined> {
    const absolute = this.#at(path);
    const isDirect = isWrittenDirectly(expectedBytes);
    const first = isDirect ? mode | OWNER_WRITES : mode;
    const fd = unless("EEXIST", undefined, "create", path, () => openSync(absolute, CREATE_FLAGS, first));
    if (fd === undefined) return undefined;
    let direct: DirectWrites | undefined;
    try {
      if (isDirect) direct = openDirect(fd);
      fchmodSync(fd, mode); // the umask may have taken bits away at open
    } catch (error) {
      await direct?.close();
      closeSync(fd);
      attempt("remove", path, () => unlinkSync(absolute));
      throw fileError(error, "set the mode of", path);
    }
    return new NodeNewFile(fd, path, direct);
  }

  async link(from: string, to: string): Promise<boolean> {
    return unless("EEXIST", false, "link", to, () => done(linkSync(this.#at(from), this.#at(to))));
  }

  async rename(from: string, to: string): Promise<void> {
    attempt("rename", from, () => renameSync(this.#at(from), this.#at(to)));
  }

  async remove(path: string): Promise<boolean> {
    return unless("ENOENT", false, "remove", path, () => done(unlinkSync(this.#at(path))));
  }

  async touch(path: string): Promise<boolean> {
    const now = new Date();
    return unless("ENOENT", false, "touch", path, () => done(lutimesSync(this.#at(path), now, now)));
  }

  async makeFolder(path: string): Promise<boolean> {
    const absolute = this.#at(path);
    if (unless("EEXIST", false, "make", path, () => done(mkdirSync(absolute)))) {
      attempt("set the mode of", path, () => shareLikeParent(absolute));
      return true;
    }
    this.#isFolder(path);
    return false;
  }

  async removeFolder(path: string): Promise<boolean> {
    return unless("ENOENT", false, "remove", path, () => done(rmdirSync(this.#at(path))));
  }

  async fsyncFolder(path: string): Promise<void> {
    const fd = attempt("fsync", path, () => openSync(this.#at(path, true), FOLDER_FLAGS));
    try {
      await fsyncOf(fd);
    } catch (error) {
      throw fileError(error, "fsync", path);
    } finally {
      closeSync(fd);
    }
  }

  async list(path: string, most?: number): Promise<readonly string[] | undefined> {
    // readdir(2) would follow a link out of the store, and gc would then work on whatever lies there.
    if (!this.#isFolder(path)) return undefined;
    const absolute = this.#at(path, true);
    const names = unless("ENOENT", undefined, "list", path, () => {
      const found = most === undefined ? readdirSync(absolute) : namesUpTo(absolute, most);
      if (found === undefined) throw overMany(path, Number(most));
      return found;
    });
    return names && sortByBytes(names);
  }

  async isEmpty(path: string): Promise<boolean | undefined> {
    if (!this.#isFolder(path)) return undefined;
    return unless("ENOENT", undefined, "list", path, () => isEmptyFolder(this.#at(path, true)));
  }

  async stat(path: string): Promise<FileStat | undefined> {
    const stat = this.#lstat(path);
    return stat && toFileStat(stat);
  }

  #at(path: string, folder = false): string {
    checkFilePath(path, folder);
    return this.#prefix + path;
  }

  #lstat(path: string): BigIntStats | undefined {
    const absolute = this.#at(path, true);
    return attempt("stat", path, () => lstatSync(absolute, { bigint: true, throwIfNoEntry: false }));
  }

  /** False if absent; CORRUPT if something else than a folder is there. */
  #isFolder(path: string): boolean {
    const stat = this.#lstat(path);
    if (stat !== undefined && !stat.isDirectory()) throw new CofferError("CORRUPT", `${path} is not a folder`);
    return stat !== undefined;
  }
}

/** Opens for reading what is a regular file itself, not through a link; undefined if absent. */
function openRegular(absolute: string, path: string): { readonly fd: number; readonly sizeBytes: number } | undefined {
  const fd = unless("ENOENT", undefined, "open", path, () => openSync(absolute, READ_FLAGS));
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (stat.isFile()) return { fd, sizeBytes: Number(stat.size) };
  } catch (error) {
    closeSync(fd);
    throw fileError(error, "stat", path);
  }
  closeSync(fd);
  throw notRegular(path);
}

function readWhole(fd: number, path: string, sizeBytes: number, limitBytes: number): Uint8Array {
  if (sizeBytes > limitBytes) throw overLimit(path, sizeBytes, limitBytes);
  // One byte more than there should be: so one call both reads a small file and finds its end.
  const bytes = new Uint8Array(sizeBytes + 1);
  let filled = 0;
  while (filled <= sizeBytes) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, filled);
    filled += count;
    if (count === 0 || filled === sizeBytes) break;
  }
  if (filled !== sizeBytes) throw new CofferError("IO_ERROR", `${path} changed while it was being read`);
  return bytes.subarray(0, sizeBytes);
}

/** As `attempt`, but the one system code `expected` is a result. */
function unless<T, U>(expected: string, result: U, doing: string, path: string, call: () => T): T | U {
  try {
    return call();
  } catch (error) {
    if (systemCode(error) === expected) return result;
    throw fileError(error, doing, path);
  }
}

function done(_result: unknown): true {
  return true;
}

function closingAfter<T>(fd: number, doing: string, path: string, call: () => T): T {
  try {
    return attempt(doing, path, call);
  } finally {
    closeSync(fd);
  }
}
