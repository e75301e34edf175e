// SPDX-License-Identifier: Apache-2.0
/** Calls on open descriptors that go to the thread pool, as promises. Layer: objects. Not here: what errors mean. */
import { fsync, read, write } from "node:fs";

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
