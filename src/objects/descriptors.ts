// SPDX-License-Identifier: Apache-2.0
/**
 * Single calls of node:fs that need a word more: those on open descriptors that go to the thread pool, as promises, the
 * mode of a new folder, and what is in one. Layer: objects. Not here: what errors mean.
 */
import { chmodSync, fdatasync, fsync, opendirSync, read, statSync, write } from "node:fs";
import { dirname } from "node:path";

const SHARED = 0o2020; // setgid, and the group may write

/**
 * Where a group shares a folder (setgid, writable by the group), a new folder in it is shared alike, whatever the umask:
 * else the account that makes it would keep the others out. As git does with core.sharedRepository.
 */
export function shareLikeParent(folder: string): void {
  const { mode } = statSync(dirname(folder));
  if ((mode & SHARED) === SHARED) chmodSync(folder, mode & 0o7777);
}

/** Reads one block of the folder, however large it is. */
export function isEmptyFolder(folder: string): boolean {
  const open = opendirSync(folder, { bufferSize: 1 });
  try {
    return open.readSync() === null;
  } finally {
    open.closeSync();
  }
}

/** Sorts by UTF-8 bytes, in place. JavaScript's own order is the same below U+D800, and quicker. */
export function sortByBytes(names: string[]): string[] {
  if (!names.some((name) => /[\ud800-\uffff]/.test(name))) return names.sort();
  return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

export function readAt(fd: number, into: Uint8Array, position: number): Promise<number> {
  return new Promise((settle, fail) => {
    read(fd, into, 0, into.length, position, (error, count) => (error ? fail(error) : settle(count)));
  });
}

export function writeAt(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((settle, fail) => {
    write(fd, bytes, 0, bytes.length, position, (error, count) => (error ? fail(error) : settle(count)));
  });
}

export function fsyncOf(fd: number): Promise<undefined> {
  return new Promise((settle, fail) => {
    fsync(fd, (error) => (error ? fail(error) : settle(undefined)));
  });
}

/** The content alone, and what it takes to find it again. */
export function datasyncOf(fd: number): Promise<undefined> {
  return new Promise((settle, fail) => {
    fdatasync(fd, (error) => (error ? fail(error) : settle(undefined)));
  });
}
