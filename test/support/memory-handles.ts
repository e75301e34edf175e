// SPDX-License-Identifier: Apache-2.0
/** The open files of MemoryFiles. Layer: test support. They outlive the names of their file, as the real ones do. */
import { CofferError } from "../../src/base/errors.ts";
import { checkPosition } from "../../src/objects/file-errors.ts";
import type { NewFile, OpenFile } from "../../src/objects/files.ts";
import { type FileNode, statOf } from "./memory-tree.ts";

export type HandleCall = "file.read" | "file.stat" | "file.close" | "file.write" | "file.fsync" | "file.setMode";

export interface HandleDisk {
  readonly path: string;
  /** Makes one counted call; `half` is done in place of `act` when a fault hits. */
  run<T>(call: HandleCall, act: () => T, half?: () => void): Promise<T>;
  /** The next time stamp. */
  tick(): bigint;
  /** Counts bytes read or written. */
  moved(kind: "read" | "write", sizeBytes: number): void;
}

export function openMemoryFile(file: FileNode, disk: HandleDisk): OpenFile {
  return new MemoryOpenFile(file, disk);
}

export function newMemoryFile(file: FileNode, disk: HandleDisk): NewFile {
  return new MemoryNewFile(file, disk);
}

class MemoryOpenFile implements OpenFile {
  protected readonly file: FileNode;
  protected readonly disk: HandleDisk;
  #closed = false;

  constructor(file: FileNode, disk: HandleDisk) {
    this.file = file;
    this.disk = disk;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    checkPosition(this.disk.path, position);
    this.checkOpen();
    return this.disk.run("file.read", () => {
      const part = this.file.bytes.subarray(position, position + buffer.length);
      buffer.set(part);
      this.disk.moved("read", part.length);
      return part.length;
    });
  }

  async stat() {
    this.checkOpen();
    return this.disk.run("file.stat", () => statOf(this.file));
  }

  /** Memory is on no mount: no receipt is made of it. */
  async place(): Promise<undefined> {
    this.checkOpen();
  }

  async fsync(): Promise<void> {
    this.checkOpen();
    await this.disk.run("file.fsync", () => {
      this.file.syncedBytes = this.file.bytes.length;
    });
  }

  async setMode(mode: number): Promise<void> {
    this.checkOpen();
    await this.disk.run("file.setMode", () => {
      this.file.mode = mode;
      this.file.ctimeNs = this.disk.tick();
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true; // also when the call then fails: the number of the handle is gone all the same
    await this.disk.run("file.close", () => undefined);
  }

  protected checkOpen(): void {
    if (this.#closed) throw new CofferError("INTERNAL", `${this.disk.path} was used after it was closed`);
  }
}

class MemoryNewFile extends MemoryOpenFile implements NewFile {
  #failure: unknown;

  async write(bytes: Uint8Array): Promise<void> {
    const half = bytes.subarray(0, bytes.length >> 1);
    await this.#final(
      "file.write",
      () => this.#append(bytes),
      () => this.#append(half),
    );
  }

  override async fsync(): Promise<void> {
    await this.#final("file.fsync", () => {
      this.file.syncedBytes = this.file.bytes.length;
    });
  }

  /** As in the real port: after one failed write or fsync all later ones fail. */
  async #final(call: HandleCall, act: () => void, half?: () => void): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.checkOpen();
    try {
      await this.disk.run(call, act, half);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #append(part: Uint8Array): void {
    const { file, disk } = this;
    const used = file.bytes.length;
    const sizeBytes = used + part.length;
    let room = file.bytes.buffer;
    if (sizeBytes > room.byteLength) {
      const wider = new Uint8Array(Math.max(sizeBytes, 2 * used));
      wider.set(file.bytes);
      room = wider.buffer;
    }
    file.bytes = new Uint8Array(room, 0, sizeBytes);
    file.bytes.set(part, used);
    file.mtimeNs = disk.tick();
    file.ctimeNs = file.mtimeNs;
    disk.moved("write", part.length);
  }
}
