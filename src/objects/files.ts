// SPDX-License-Identifier: Apache-2.0
/**
 * The one small port under all of the store's disk access. `real-files.ts` implements it over node:fs;
 * test/support/memory-files.ts is a twin that can fail any call and lose what was not fsynced.
 * Layer: objects. Holds invariant 7.
 *
 * Paths are POSIX, relative to the root that the port was opened on, made only from digests and parsed names
 * (invariant 9); "." is the root itself, for `list`, `stat` and `fsyncFolder`. Every call rejects with CofferError:
 * NO_SPACE (ENOSPC, EDQUOT), READ_ONLY (EROFS), CORRUPT (a link, folder or other thing where a file or folder of ours should be) or
 * IO_ERROR (all else) with the system error as `cause`, except where a result says otherwise. Only ENOENT means absent.
 */

/** What `stat` tells; times in nanoseconds. `kind` is that of the entry itself: links are not followed. */
export interface FileStat {
  readonly kind: "file" | "folder" | "other";
  readonly sizeBytes: number;
  /** Permission bits only, such as 0o444. */
  readonly mode: number;
  readonly links: number;
  /** Number of the account that owns it. */
  readonly owner: number;
  readonly device: bigint;
  readonly inode: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** Where an open file lies, as the system tells it for the very descriptor. */
export interface FilePlace {
  /** Number of the mount; the system may use it again after an unmount. */
  readonly mount: number;
  /** As in mountinfo: "ext4", "nfs4", "fuse.sshfs" … */
  readonly fileSystem: string;
  /** What the blocks lie on: "fixed" is a disk that stays in the machine; "unknown" is anything that is not a disk. */
  readonly medium: "fixed" | "removable" | "loop" | "unknown";
}

/** An open regular file; must be closed. `close` waits for calls still running, and a second one does nothing. */
export interface OpenFile {
  /** Fills `buffer` from `position` as far as the file goes; returns the bytes read, 0 at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  stat(): Promise<FileStat>;
  /** undefined where the system does not tell: all but Linux. */
  place(): Promise<FilePlace | undefined>;
  /** Makes the content durable. A failed fsync is final: the caller must give the file up, never retry. */
  fsync(): Promise<void>;
  /** Sets the permission bits; descriptors that are open keep what they may. */
  setMode(mode: number): Promise<void>;
  close(): Promise<void>;
}

/** A new file being written front to back; must be closed. */
export interface NewFile extends OpenFile {
  /** Appends; `bytes` must not change until it settles. Calls may overlap and keep the order they were made in. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Whether a process still runs, as far as can be told from here. */
export type WriterState = "living" | "gone" | "unknown";

/** Who writes through a port. The mark is part of each temporary name, so that others can tell whose file it is. */
export interface Writer {
  /** Of this process: lower-case letters, digits and `-`; "" where the system does not tell processes apart. */
  readonly mark: string;
  /** "gone" only if no process of that mark can be writing any more, wherever it ran. */
  stateOf(mark: string): WriterState;
}

export interface Files {
  readonly writer: Writer;
  /** The whole of a regular file, not following a link; undefined if absent. LIMIT_EXCEEDED if over `limitBytes`. */
  read(path: string, limitBytes: number): Promise<Uint8Array | undefined>;
  /** Opens a regular file for reading, not following a link; undefined if absent. */
  open(path: string): Promise<OpenFile | undefined>;
  /**
   * Creates a file that must not exist (`wx`); undefined if it exists. `mode` such as 0o444.
   * @param expectedBytes - how much will come, as far as is known: much may go to the disk without staying in memory
   */
  create(path: string, mode: number, expectedBytes?: number): Promise<NewFile | undefined>;
  /** link(2): a second name for the same file; false if `to` exists. */
  link(from: string, to: string): Promise<boolean>;
  /** rename(2): replaces `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; false if absent. */
  remove(path: string): Promise<boolean>;
  /** Sets a file's modification time to now; false if absent. Grants no durability. */
  touch(path: string): Promise<boolean>;
  /** Makes one folder; false if it exists. Parents must exist. */
  makeFolder(path: string): Promise<boolean>;
  /** Removes an empty folder; false if absent. */
  removeFolder(path: string): Promise<boolean>;
  /** Makes a folder's entries durable. */
  fsyncFolder(path: string): Promise<void>;
  /** Names in a folder, sorted by bytes; undefined if absent. LIMIT_EXCEEDED if there are over `most`, found by reading little more. */
  list(path: string, most?: number): Promise<readonly string[] | undefined>;
  /** True if a folder holds nothing, at the same cost however much it holds; undefined if absent. */
  isEmpty(path: string): Promise<boolean | undefined>;
  /** undefined if absent. */
  stat(path: string): Promise<FileStat | undefined>;
}
