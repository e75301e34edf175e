// SPDX-License-Identifier: Apache-2.0
/**
 * The Files port in memory: the twin of src/objects/real-files.ts that can fail at any call and lose its power.
 * Layer: test support. test/support/files-contract.ts holds the two to one behaviour.
 *
 * Power loss: a file's bytes are durable from its fsync on, an entry of a folder from the fsyncFolder of that folder
 * on (so a new folder needs the fsyncFolder of its parent). `crash` gives the disk that the next process would find.
 */
import { createHash } from "node:crypto";
import { CofferError, systemCode } from "../../src/base/errors.ts";
import { sortByBytes } from "../../src/objects/descriptors.ts";
import { fileError, notRegular, overLimit, overMany } from "../../src/objects/file-errors.ts";
import type { FileStat, Files, NewFile, OpenFile, Writer } from "../../src/objects/files.ts";
import { checkFilePath } from "../../src/objects/real-files.ts";
import { type HandleCall, type HandleDisk, newMemoryFile, openMemoryFile } from "./memory-handles.ts";
import {
  adopt,
  type FileNode,
  type FolderNode,
  Journal,
  type Node,
  seededChance,
  statOf,
  survivors,
  systemError,
  tornContent,
} from "./memory-tree.ts";

/** Every call that is counted; those on handles start with "file.". */
export type FilesCall = Exclude<keyof Files, "writer"> | HandleCall;

interface Task<T, U> {
  readonly call: FilesCall;
  readonly path: string;
  readonly other?: string;
  readonly act: () => T;
  /** Done in place of `act` when a fault hits. */
  readonly half?: () => void;
  /** The system codes that are results. */
  readonly results?: Readonly<Record<string, U>>;
}

/** `other`: the second path of `rename` (where to) and `link` (where from). */
export interface TracedCall {
  readonly call: FilesCall;
  readonly path: string;
  readonly other?: string;
}

/** The power went: thrown by the call that a "stop" fault names and by all later ones. Not a CofferError. */
export class PowerLoss extends Error {
  override readonly name = "PowerLoss";
}

/**
 * What happens to call number `at` (the first is 1).
 * fail: nothing is done (of a write, half) and the system reports `code`.
 * fail-after: all is done, and `code` is reported all the same, as NFS does when an answer gets lost.
 * stop: PowerLoss (of a write, half is done).
 * A code that the port turns into a result (EEXIST at link, ENOENT at read) does so here too.
 */
export type Fault =
  | {
      readonly at: number;
      readonly kind: "fail" | "fail-after";
      readonly code: string;
      /** All later calls as well. */
      readonly lasting?: true;
      /** Calls that this cannot happen to are done. */
      readonly only?: (call: FilesCall) => boolean;
    }
  | { readonly at: number; readonly kind: "stop" };

export type CrashMode = "all-lost" | "none-lost" | "random";

/** Every disk is used by one process: that of another disk came before it, and runs no more. */
let processes = 0;

function nextProcess(): Writer {
  processes += 1;
  const mark = `memory-${processes}`;
  const stateOf = (other: string) => (other === mark ? "living" : other.startsWith("memory-") ? "gone" : "unknown");
  return { mark, stateOf };
}

/** Crashed disks share the bytes of the files that nobody wrote to since. */
const contentHashes = new WeakMap<Uint8Array, string>();

function contentHash(bytes: Uint8Array): string {
  const known = contentHashes.get(bytes);
  if (known !== undefined) return known;
  const hash = createHash("sha256").update(bytes).digest("hex");
  contentHashes.set(bytes, hash);
  return hash;
}

const START_NS = 1_800_000_000_000_000_000n;

function hits(fault: Fault | undefined, number: number, call: FilesCall): boolean {
  if (fault === undefined || number < fault.at) return false;
  if (fault.kind === "stop") return number === fault.at;
  return (number === fault.at || fault.lasting === true) && fault.only?.(call) !== false;
}

export class MemoryFiles implements Files {
  readonly writer = nextProcess();
  fault: Fault | undefined;
  /** Calls so far, failed ones included. */
  calls = 0;
  readonly trace: TracedCall[] = [];
  /** Times that each call was made; read with `count`. */
  readonly counts = new Map<FilesCall, number>();
  bytesRead = 0;
  bytesWritten = 0;
  /** The clock of the disk; each change to an inode takes one nanosecond. Set it ahead to let files age. */
  nowNs = START_NS;
  /** Run before each call (after counting, before faults): the place for a rival to step in. */
  before: ((call: FilesCall, path: string) => void | Promise<void>) | undefined;

  readonly #root: FolderNode;
  readonly #journal = new Journal();
  #inodes = 1n;
  #stopped = false;

  constructor() {
    this.#root = { kind: "folder", entries: new Map(), ...this.#newInode(), links: 2 };
  }

  /** How often `call` was made. */
  count(call: FilesCall): number {
    return this.counts.get(call) ?? 0;
  }

  /**
   * The disk after a power loss now (`none-lost`: after a kill of the process only); this one stays as it is, so one
   * state can be crashed many times.
   *
   * @param mode - all-lost: exactly what was made durable, unsynced bytes cut off, unsynced removals and renames undone.
   *   random: each edit of a folder independently kept or lost, each unsynced file kept, cut or torn, by `seed`
   */
  crash(mode: CrashMode, seed = 0): MemoryFiles {
    const chance = seededChance(seed);
    const journal = this.#journal.copy();
    for (const edit of journal.pending) {
      if (mode === "none-lost" || (mode === "random" && chance() < 0.5)) journal.settle(edit);
    }
    const left = survivors(this.#root, journal, (file) => {
      if (mode === "none-lost") return file.bytes;
      return mode === "random" ? tornContent(file, chance) : file.bytes.subarray(0, file.syncedBytes);
    });
    const next = new MemoryFiles();
    for (const [name, node] of left.entries) next.#root.entries.set(name, node);
    next.#root.links = left.links;
    adopt(next.#root, next.#journal);
    next.#inodes = this.#inodes;
    next.nowNs = this.nowNs;
    return next;
  }

  /** Puts a file in place as if it had always been there, folders included: durable, not counted, no fault. */
  plant(path: string, bytes: Uint8Array, mode = 0o444): void {
    checkFilePath(path);
    const parts = path.split("/");
    const name = parts.pop() ?? "";
    let folder = this.#root;
    for (const part of parts) folder = this.#plantFolder(folder, part);
    const file = this.#newFile(mode);
    file.bytes = bytes.slice();
    file.syncedBytes = bytes.length;
    this.#unlinked(folder.entries.get(name));
    file.links = 1;
    this.#journal.settle(this.#journal.edit(folder, name, file));
  }

  /** The same for disks that hold the same files with the same bytes; folders, modes and times do not count. */
  fingerprint(): string {
    const hash = createHash("sha256");
    const walk = (folder: FolderNode, prefix: string): void => {
      for (const name of [...folder.entries.keys()].sort()) {
        const node = folder.entries.get(name);
        if (node?.kind === "file") hash.update(`${prefix}${name}\n${contentHash(node.bytes)}\n`);
        else if (node !== undefined) walk(node, `${prefix}${name}/`);
      }
    };
    walk(this.#root, "");
    return hash.digest("hex");
  }

  /**
   * All files and what they hold now, sorted by path; not counted.
   * @param how - "as they are": not copied, so the same array says the same bytes as long as nobody writes on
   */
  snapshot(how: "copied" | "as they are" = "copied"): ReadonlyMap<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    const walk = (folder: FolderNode, prefix: string): void => {
      for (const name of sortByBytes([...folder.entries.keys()])) {
        const node = folder.entries.get(name);
        if (node?.kind === "file") found.set(prefix + name, how === "copied" ? node.bytes.slice() : node.bytes);
        else if (node !== undefined) walk(node, `${prefix}${name}/`);
      }
    };
    walk(this.#root, "");
    return found;
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    const act = (): Uint8Array => {
      const file = this.#regular(path);
      if (file.bytes.length > limitBytes) throw overLimit(path, file.bytes.length, limitBytes);
      this.bytesRead += file.bytes.length;
      return file.bytes.slice();
    };
    return this.#run({ call: "read", path, act, results: { ENOENT: undefined } });
  }

  async open(path: string): Promise<OpenFile | undefined> {
    const act = () => openMemoryFile(this.#regular(path), this.#disk(path));
    return this.#run({ call: "open", path, act, results: { ENOENT: undefined } });
  }

  async create(path: string, mode: number): Promise<NewFile | undefined> {
    const act = (): NewFile => {
      const file = this.#newFile(mode);
      this.#add(path, file);
      return newMemoryFile(file, this.#disk(path));
    };
    return this.#run({ call: "create", path, act, results: { EEXIST: undefined } });
  }

  async link(from: string, to: string): Promise<boolean> {
    const act = (): boolean => {
      const node = this.#at(from);
      const { folder, name } = this.#slot(to);
      if (node.kind === "folder") throw systemError(folder.entries.has(name) ? "EEXIST" : "EPERM");
      this.#add(to, node);
      return true;
    };
    checkFilePath(from);
    return this.#run({ call: "link", path: to, other: from, act, results: { EEXIST: false } });
  }

  async rename(from: string, to: string): Promise<void> {
    checkFilePath(to);
    await this.#run({ call: "rename", path: from, other: to, act: () => this.#rename(from, to) });
  }

  async remove(path: string): Promise<boolean> {
    const act = (): boolean => {
      const { folder, name } = this.#slot(path);
      if (this.#at(path).kind === "folder") throw systemError("EISDIR");
      this.#unlinked(folder.entries.get(name));
      this.#journal.edit(folder, name, undefined);
      this.#changed(folder);
      return true;
    };
    return this.#run({ call: "remove", path, act, results: { ENOENT: false } });
  }

  async touch(path: string): Promise<boolean> {
    const act = (): boolean => {
      const node = this.#at(path);
      node.mtimeNs = this.#tick();
      node.ctimeNs = node.mtimeNs;
      return true;
    };
    return this.#run({ call: "touch", path, act, results: { ENOENT: false } });
  }

  async makeFolder(path: string): Promise<boolean> {
    const act = (): boolean => {
      const { folder, name } = this.#slot(path);
      const there = folder.entries.get(name);
      if (there?.kind === "file") throw new CofferError("CORRUPT", `${path} is not a folder`);
      if (there !== undefined) return false;
      this.#journal.edit(folder, name, { kind: "folder", entries: new Map(), ...this.#newInode(), links: 2 });
      folder.links++;
      this.#changed(folder);
      return true;
    };
    return this.#run({ call: "makeFolder", path, act, results: { EEXIST: false } });
  }

  async removeFolder(path: string): Promise<boolean> {
    const act = (): boolean => {
      const { folder, name } = this.#slot(path);
      const gone = this.#folder(path);
      if (gone.entries.size > 0) throw systemError("ENOTEMPTY");
      this.#journal.edit(folder, name, undefined, this.#journal.pendingIn(gone));
      folder.links--;
      this.#changed(folder);
      return true;
    };
    return this.#run({ call: "removeFolder", path, act, results: { ENOENT: false } });
  }

  async fsyncFolder(path: string): Promise<void> {
    await this.#run({ call: "fsyncFolder", path, act: () => this.#journal.settleFolder(this.#folder(path)) });
  }

  async list(path: string, most = Number.POSITIVE_INFINITY): Promise<readonly string[] | undefined> {
    const act = (): string[] => {
      const node = this.#at(path);
      if (node.kind === "file") throw new CofferError("CORRUPT", `${path} is not a folder`);
      if (node.entries.size > most) throw overMany(path, most);
      return sortByBytes([...node.entries.keys()]);
    };
    return this.#run({ call: "list", path, act, results: { ENOENT: undefined } });
  }

  async isEmpty(path: string): Promise<boolean | undefined> {
    const act = (): boolean => {
      const node = this.#at(path);
      if (node.kind === "file") throw new CofferError("CORRUPT", `${path} is not a folder`);
      return node.entries.size === 0;
    };
    return this.#run({ call: "isEmpty", path, act, results: { ENOENT: undefined } });
  }

  async stat(path: string): Promise<FileStat | undefined> {
    return this.#run({ call: "stat", path, act: () => statOf(this.#at(path)), results: { ENOENT: undefined } });
  }

  /** One counted call: the fault if its number is up, else the act. */
  async #run<T, U = never>(task: Task<T, U>): Promise<T | U> {
    const { call, path, results = {} } = task;
    checkFilePath(path, call === "list" || call === "isEmpty" || call === "stat" || call === "fsyncFolder");
    this.calls++;
    const number = this.calls;
    this.counts.set(call, this.count(call) + 1);
    this.trace.push({ call, path, ...(task.other === undefined ? {} : { other: task.other }) });
    if (this.before !== undefined) await this.before(call, path);
    if (this.#stopped) throw new PowerLoss(`the power is gone at call ${number}, ${call} ${path}`);
    const fault = hits(this.fault, number, call) ? this.fault : undefined;
    try {
      if (fault === undefined) return task.act();
      if (fault.kind === "fail-after") task.act();
      else task.half?.();
      if (fault.kind !== "stop") throw systemError(fault.code);
    } catch (error) {
      const code = systemCode(error) ?? "";
      if (Object.hasOwn(results, code)) return results[code] as U;
      throw fileError(error, call, path);
    }
    this.#stopped = true;
    throw new PowerLoss(`the power went at call ${number}, ${call} ${path}`);
  }

  /** What the handles of `path` see of this disk. */
  #disk(path: string): HandleDisk {
    return {
      path,
      run: (call, act, half) => this.#run({ call, path, act, ...(half && { half }) }),
      tick: () => this.#tick(),
      moved: (kind, sizeBytes) => {
        if (kind === "read") this.bytesRead += sizeBytes;
        else this.bytesWritten += sizeBytes;
      },
    };
  }

  #newInode() {
    this.#inodes++;
    const nowNs = this.#tick();
    return { inode: this.#inodes, mtimeNs: nowNs, ctimeNs: nowNs };
  }

  #newFile(mode: number): FileNode {
    return { kind: "file", mode, bytes: new Uint8Array(0), syncedBytes: 0, ...this.#newInode(), links: 0 };
  }

  #tick(): bigint {
    this.nowNs++;
    return this.nowNs;
  }

  #changed(folder: FolderNode): void {
    folder.mtimeNs = this.#tick();
    folder.ctimeNs = folder.mtimeNs;
  }

  /** What lies at `path`; ENOENT or ENOTDIR as the system would say. */
  #at(path: string): Node {
    let node: Node = this.#root;
    for (const part of path === "." ? [] : path.split("/")) {
      if (node.kind !== "folder") throw systemError("ENOTDIR");
      const next: Node | undefined = node.entries.get(part);
      if (next === undefined) throw systemError("ENOENT");
      node = next;
    }
    return node;
  }

  #folder(path: string): FolderNode {
    const node = this.#at(path);
    if (node.kind !== "folder") throw systemError("ENOTDIR");
    return node;
  }

  #regular(path: string): FileNode {
    const node = this.#at(path);
    if (node.kind !== "file") throw notRegular(path);
    return node;
  }

  /** The folder that holds `path`, and the last name. */
  #slot(path: string): { folder: FolderNode; name: string } {
    const cut = path.lastIndexOf("/");
    return { folder: this.#folder(cut < 0 ? "." : path.slice(0, cut)), name: path.slice(cut + 1) };
  }

  #add(path: string, file: FileNode): void {
    const { folder, name } = this.#slot(path);
    if (folder.entries.has(name)) throw systemError("EEXIST");
    this.#journal.edit(folder, name, file);
    file.links++;
    file.ctimeNs = this.#tick();
    this.#changed(folder);
  }

  /** A name of `node` went away, if there was one. */
  #unlinked(node: Node | undefined): void {
    if (node === undefined) return;
    node.links--;
    node.ctimeNs = this.#tick();
  }

  #rename(from: string, to: string): void {
    const source = this.#slot(from);
    const target = this.#slot(to);
    const node = this.#at(from);
    const there = target.folder.entries.get(target.name);
    if (to.startsWith(`${from}/`)) throw systemError("EINVAL");
    if (from.startsWith(`${to}/`)) throw systemError("ENOTEMPTY");
    if (there === node) return; // rename(2): two names of one file both stay
    if (node.kind === "folder") {
      if (there?.kind === "file") throw systemError("ENOTDIR");
      if (there !== undefined && there.entries.size > 0) throw systemError("ENOTEMPTY");
      source.folder.links--;
      if (there === undefined) target.folder.links++;
    } else {
      if (there?.kind === "folder") throw systemError("EISDIR");
      this.#unlinked(there);
    }
    const emptied = there?.kind === "folder" ? this.#journal.pendingIn(there) : [];
    const added = this.#journal.edit(target.folder, target.name, node, emptied);
    const removed = this.#journal.edit(source.folder, source.name, undefined, [added]);
    if (node.kind === "folder") added.needs.push(removed);
    node.ctimeNs = this.#tick();
    this.#changed(source.folder);
    this.#changed(target.folder);
  }

  #plantFolder(parent: FolderNode, name: string): FolderNode {
    const there = parent.entries.get(name);
    if (there?.kind === "folder") return there;
    const folder: FolderNode = { kind: "folder", entries: new Map(), ...this.#newInode(), links: 2 };
    this.#unlinked(there);
    parent.links++;
    this.#journal.settle(this.#journal.edit(parent, name, folder));
    return folder;
  }
}
