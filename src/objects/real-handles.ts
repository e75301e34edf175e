// SPDX-License-Identifier: Apache-2.0
/**
 * Open files of the real Files port. Layer: objects. Fsyncs, and reads and writes that are not small, go to the thread pool, so
 * that several run side by side. Not here: how a file is opened, and by which path (real-files.ts).
 */
import { type BigIntStats, closeSync, fchmodSync, fstatSync } from "node:fs";
import { CofferError } from "../base/errors.ts";
import { datasyncOf, fsyncOf, readAt, writeAt } from "./descriptors.ts";
import type { DirectWrites } from "./direct-writes.ts";
import { attempt, checkPosition, fileError } from "./file-errors.ts";
import type { FilePlace, FileStat, NewFile, OpenFile } from "./files.ts";
import { placeOf } from "./mounts.ts";

export class NodeOpenFile implements OpenFile {
  protected readonly fd: number;
  protected readonly path: string;
  #closed = false;
  #running = new Set<Promise<unknown>>();

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    checkPosition(this.path, position);
    let filled = 0;
    while (filled < buffer.length) {
      const count = await this.run("read", () => readAt(this.fd, buffer.subarray(filled), position + filled));
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  async stat(): Promise<FileStat> {
    this.checkOpen();
    return attempt("stat", this.path, () => toFileStat(fstatSync(this.fd, { bigint: true })));
  }

  async place(): Promise<FilePlace | undefined> {
    this.checkOpen();
    return attempt("find the mount of", this.path, () => placeOf(this.fd));
  }

  async fsync(): Promise<void> {
    await this.run("fsync", () => fsyncOf(this.fd));
  }

  async setMode(mode: number): Promise<void> {
    this.checkOpen();
    attempt("set the mode of", this.path, () => fchmodSync(this.fd, mode));
  }

  /** Waits for what still runs: the system may give the number of a closed file to the next one at once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    attempt("close", this.path, () => closeSync(this.fd));
  }

  protected checkOpen(): void {
    if (this.#closed) throw new CofferError("INTERNAL", `${this.path} was used after it was closed`);
  }

  /** Runs one call on the thread pool and holds `close` back until it has ended. */
  protected async run<T>(doing: string, call: () => Promise<T>): Promise<T> {
    this.checkOpen();
    const running = call();
    this.#running.add(running);
    try {
      return await running;
    } catch (error) {
      throw fileError(error, doing, this.path);
    } finally {
      this.#running.delete(running);
    }
  }
}

/**
 * So much is written before it is sent to the disk: else the system keeps gigabytes for the one fsync at the end, during
 * which nothing else gets done.
 */
const BEHIND_BYTES = 128 * 1024 * 1024;

export class NodeNewFile extends NodeOpenFile implements NewFile {
  readonly #direct: DirectWrites | undefined;
  #sizeBytes = 0;
  #sentBytes = 0;
  #sending: Promise<void> | undefined;
  #failure: unknown;
  #closing = false;

  /** @param direct - on the same file, which is then written by it alone */
  constructor(fd: number, path: string, direct?: DirectWrites) {
    super(fd, path);
    this.#direct = direct;
  }

  async write(bytes: Uint8Array): Promise<void> {
    // A buffer that is given back may be another file's by then.
    if (this.#closing) throw new CofferError("INTERNAL", `${this.path} was written to after it was closed`);
    const start = this.#sizeBytes;
    this.#sizeBytes += bytes.length; // taken before the first await: writes may overlap
    const direct = this.#direct;
    if (direct === undefined) await this.#writeAt(bytes, start);
    else await this.#final("write", () => direct.write(bytes));
    if (this.#sending === undefined && this.#sizeBytes - this.#sentBytes >= BEHIND_BYTES) this.#sending = this.#send();
  }

  async #writeAt(bytes: Uint8Array, start: number): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const rest = bytes.subarray(written);
      written += await this.#final("write", () => writeAt(this.fd, rest, start + written));
    }
  }

  /** Durability of what was written so far begins behind the writer's back; a failure is told by the next call. */
  async #send(): Promise<void> {
    this.#sentBytes = this.#sizeBytes;
    await this.#final("fsync", () => datasyncOf(this.fd)).catch(() => undefined);
    this.#sending = undefined;
  }

  /** Nothing of what was written is in our own buffers then. */
  async #flush(): Promise<void> {
    const direct = this.#direct;
    if (direct !== undefined) await this.#final("write", () => direct.flush());
  }

  override async read(buffer: Uint8Array, position: number): Promise<number> {
    await this.#flush();
    return super.read(buffer, position);
  }

  override async stat(): Promise<FileStat> {
    await this.#flush();
    return super.stat();
  }

  override async close(): Promise<void> {
    if (this.#direct === undefined) return super.close();
    if (this.#closing) return;
    this.#closing = true;
    try {
      if (this.#failure === undefined) await this.#flush();
    } finally {
      await this.#direct.close();
      await super.close();
    }
  }

  override async fsync(): Promise<void> {
    await this.#sending; // the system tells a failure once, and may tell it there
    await this.#flush();
    await this.#final("fsync", () => fsyncOf(this.fd));
  }

  /** After one failure nothing succeeds: Linux drops the pages of a failed fsync, and the next fsync reports success. */
  async #final<T>(doing: string, call: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await this.run(doing, call);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }
}

export function toFileStat(stat: BigIntStats): FileStat {
  return {
    kind: stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other",
    sizeBytes: Number(stat.size),
    mode: Number(stat.mode & 0o7777n),
    links: Number(stat.nlink),
    owner: Number(stat.uid),
    device: stat.dev,
    inode: stat.ino,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
  };
}
