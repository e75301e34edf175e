// SPDX-License-Identifier: Apache-2.0
/**
 * Single calls of node:fs that need a word more: those on open descriptors, as promises, most of them on the thread pool, the
 * mode of a new folder, and what is in one. Layer: objects. Not here: what errors mean.
 */
import { chmodSync, fdatasync, fsync, opendirSync, read, readSync, statSync, write, writeSync } from "node:fs";
import { dirname } from "node:path";

const SHARED = 0o2020; // setgid, and the group may write

/** True of the mode of a folder that a group shares, as `init --shared` makes that of a store. */
export function isShared(mode: number): boolean {
  return (mode & SHARED) === SHARED;
}

/**
 * Where a group shares a folder (setgid, writable by the group), a new folder in it is shared alike, whatever the umask:
 * else the account that makes it would keep the others out. As git does with core.sharedRepository.
 */
export function shareLikeParent(folder: string): void {
  const { mode } = statSync(dirname(folder));
  if (isShared(mode)) chmodSync(folder, mode & 0o7777);
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

/** The names in a folder; undefined if there are over `most`, of which no more are held than that. */
export function namesUpTo(folder: string, most: number): string[] | undefined {
  const names: string[] = [];
  const open = opendirSync(folder, { bufferSize: 1024 });
  try {
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
      if (names.length === most) return undefined;
      names.push(entry.name);
    }
    return names;
  } finally {
    open.closeSync();
  }
}

/** Sorts by UTF-8 bytes, in place. JavaScript's own order is the same below U+D800, and quicker. */
export function sortByBytes(names: string[]): string[] {
  if (!names.some((name) => /[\ud800-\uffff]/.test(name))) return names.sort();
  return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** Up to this size a call takes a fraction of what the way to the thread pool and back does. */
const SMALL_BYTES = 64 * 1024;
/** Reads for so long without a turn of the event loop: others wait for one, and a disk may be slow. */
const TURN_MS = 2;
let turnedMs = Number.NEGATIVE_INFINITY;

export async function readAt(fd: number, into: Uint8Array, position: number): Promise<number> {
  if (into.length <= SMALL_BYTES && performance.now() - turnedMs < TURN_MS) {
    return readSync(fd, into, 0, into.length, position);
  }
  return new Promise((settle, fail) => {
    read(fd, into, 0, into.length, position, (error, count) => {
      turnedMs = performance.now();
      if (error) fail(error);
      else settle(count);
    });
  });
}

export async function writeAt(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  if (bytes.length <= SMALL_BYTES) return writeSync(fd, bytes, 0, bytes.length, position);
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
