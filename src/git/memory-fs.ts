// SPDX-License-Identifier: Apache-2.0
/**
 * A file system in memory, in the form that isomorphic-git asks for: what comes from a git host never touches a disk
 * before it was checked, and nothing of it can lead anywhere. Layer: git. Bounded; no links, no modes, no locks.
 */
import type { PromiseFsClient } from "isomorphic-git";
import { CofferError } from "../base/errors.ts";

class FsError extends Error {
  readonly code: string;

  constructor(code: string, path: string) {
    super(`${code}: ${path}`);
    this.code = code;
  }
}

/** What isomorphic-git looks at. */
class MemoryStat {
  readonly type: "file" | "dir";
  readonly size: number;
  readonly mode: number;
  readonly mtimeMs = 0;
  readonly ctimeMs = 0;
  readonly dev = 0;
  readonly ino = 0;
  readonly uid = 0;
  readonly gid = 0;

  constructor(type: "file" | "dir", size: number) {
    this.type = type;
    this.size = size;
    this.mode = type === "file" ? 0o100644 : 0o40000;
  }

  isFile(): boolean {
    return this.type === "file";
  }

  isDirectory(): boolean {
    return this.type === "dir";
  }

  isSymbolicLink(): boolean {
    return false;
  }
}

function encodingOf(options: unknown): string | undefined {
  if (typeof options === "string") return options;
  if (typeof options !== "object" || options === null || !("encoding" in options)) return undefined;
  return typeof options.encoding === "string" ? options.encoding : undefined;
}

/** Paths are absolute; what is empty below is a folder, made by `mkdir` alone. */
export class MemoryFs {
  private readonly files = new Map<string, Uint8Array>();
  private readonly folders = new Set<string>(["/"]);
  private readonly limitBytes: number;
  private held = 0;
  /** An own member that can be listed: isomorphic-git looks for one to know that promises are meant. */
  readonly promises: PromiseFsClient["promises"];

  /** @param limitBytes - of all files together */
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
    this.promises = {
      readFile: async (path: string, options?: unknown) => this.readFile(path, encodingOf(options)),
      writeFile: async (path: string, data: Uint8Array | string) => this.writeFile(path, data),
      unlink: async (path: string) => this.unlink(path),
      readdir: async (path: string) => this.readdir(path),
      mkdir: async (path: string) => this.mkdir(path),
      rmdir: async (path: string) => void this.folders.delete(normal(path)),
      stat: async (path: string) => this.stat(path),
      lstat: async (path: string) => this.stat(path),
      readlink: async (path: string) => Promise.reject(new FsError("EINVAL", path)),
      symlink: async (path: string) => Promise.reject(new FsError("EPERM", path)),
    };
  }

  private readFile(path: string, encoding: string | undefined): Uint8Array | string {
    const bytes = this.files.get(normal(path));
    if (bytes === undefined) throw new FsError(this.folders.has(normal(path)) ? "EISDIR" : "ENOENT", path);
    return encoding === undefined ? Buffer.from(bytes) : Buffer.from(bytes).toString("utf8");
  }

  /** @throws CofferError LIMIT_EXCEEDED */
  writeFile(path: string, data: Uint8Array | string): void {
    const key = normal(path);
    if (!this.folders.has(parent(key))) throw new FsError("ENOENT", path);
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    this.held += bytes.length - (this.files.get(key)?.length ?? 0);
    if (this.held > this.limitBytes) {
      throw new CofferError("LIMIT_EXCEEDED", `git: expected at most ${this.limitBytes} bytes of metadata, found more`);
    }
    this.files.set(key, bytes);
  }

  private unlink(path: string): void {
    const bytes = this.files.get(normal(path));
    if (bytes === undefined) throw new FsError("ENOENT", path);
    this.held -= bytes.length;
    this.files.delete(normal(path));
  }

  private readdir(path: string): string[] {
    const key = normal(path);
    if (!this.folders.has(key)) throw new FsError(this.files.has(key) ? "ENOTDIR" : "ENOENT", path);
    const names = [...this.files.keys(), ...this.folders].filter((one) => one !== "/" && parent(one) === key);
    return names.map((one) => one.slice(one.lastIndexOf("/") + 1)).sort();
  }

  mkdir(path: string): void {
    const key = normal(path);
    if (this.files.has(key) || this.folders.has(key)) throw new FsError("EEXIST", path);
    if (!this.folders.has(parent(key))) throw new FsError("ENOENT", path);
    this.folders.add(key);
  }

  private stat(path: string): MemoryStat {
    const key = normal(path);
    const bytes = this.files.get(key);
    if (bytes !== undefined) return new MemoryStat("file", bytes.length);
    if (this.folders.has(key)) return new MemoryStat("dir", 0);
    throw new FsError("ENOENT", path);
  }
}

/** Without empty and `.` parts; nothing leads above the root, since there is nothing above it. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function parent(key: string): string {
  return key.slice(0, key.lastIndexOf("/")) || "/";
}
