// SPDX-License-Identifier: Apache-2.0
/**
 * Single calls of node:fs that need a word more: those on open descriptors that go to the thread pool, as promises, and
 * the mode of a new folder. Layer: objects. Not here: what errors mean.
 */
import { chmodSync, fsync, read, statSync, write } from "node:fs";
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
