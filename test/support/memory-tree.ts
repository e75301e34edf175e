// SPDX-License-Identifier: Apache-2.0
/**
 * What the in-memory file system is made of: inodes, and the journal of changes to folders that a power loss may undo.
 * Layer: test support. Not here: the port itself, faults, counting (memory-files.ts).
 */
import type { FileStat } from "../../src/objects/files.ts";

interface Inode {
  readonly inode: bigint;
  links: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

/** Content only ever grows at the end, so its durable part is a prefix: the first `syncedBytes`. */
export interface FileNode extends Inode {
  readonly kind: "file";
  mode: number;
  bytes: Uint8Array;
  syncedBytes: number;
}

export interface FolderNode extends Inode {
  readonly kind: "folder";
  readonly entries: Map<string, Node>;
}

export type Node = FileNode | FolderNode;

/** One name set or (undefined) removed, not yet durable. */
export interface Edit {
  readonly folder: FolderNode;
  readonly name: string;
  readonly node: Node | undefined;
  /** Edits that are durable whenever this one is. */
  readonly needs: Edit[];
}

export function statOf(node: Node): FileStat {
  return {
    kind: node.kind,
    sizeBytes: node.kind === "file" ? node.bytes.length : 0,
    mode: node.kind === "file" ? node.mode : 0o755,
    links: node.links,
    owner: 0,
    device: 1n,
    inode: node.inode,
    mtimeNs: node.mtimeNs,
    ctimeNs: node.ctimeNs,
  };
}

/** An Error such as node:fs throws for `code`. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made by MemoryFiles`), { code });
}

/**
 * Which entries of each folder would survive, and the edits that might. The rules are POSIX at its least kind, with one
 * exception that every journaling file system grants: a rename never loses both names. So a removal by rename is never
 * durable before the addition, and the move of a folder is one step.
 */
export class Journal {
  readonly #durable = new Map<FolderNode, Map<string, Node>>();
  readonly #pending = new Set<Edit>();

  /** The durable entries of `folder`. */
  entries(folder: FolderNode): Map<string, Node> {
    const found = this.#durable.get(folder);
    if (found !== undefined) return found;
    const fresh = new Map<string, Node>();
    this.#durable.set(folder, fresh);
    return fresh;
  }

  get pending(): readonly Edit[] {
    return [...this.#pending];
  }

  /** Changes `folder` now, durable later. */
  edit(folder: FolderNode, name: string, node: Node | undefined, needs: Edit[] = []): Edit {
    const edit: Edit = { folder, name, node, needs };
    setEntry(folder.entries, name, node);
    this.#pending.add(edit);
    return edit;
  }

  /** Makes one edit durable, after all it rests on. */
  settle(edit: Edit): void {
    if (!this.#pending.has(edit)) return;
    const earlier: Edit[] = [];
    for (const other of this.#pending) {
      if (other === edit) break;
      if (other.folder === edit.folder && other.name === edit.name) earlier.push(other);
    }
    this.#pending.delete(edit);
    for (const other of [...earlier, ...edit.needs]) this.settle(other);
    setEntry(this.entries(edit.folder), edit.name, edit.node);
  }

  /** The edits of `folder` itself; the removal of a folder needs them, for it was empty only after them. */
  pendingIn(folder: FolderNode): Edit[] {
    return this.pending.filter((edit) => edit.folder === folder);
  }

  settleFolder(folder: FolderNode): void {
    for (const edit of this.pendingIn(folder)) this.settle(edit);
  }

  /** The same state, to be settled apart from this one. */
  copy(): Journal {
    const twin = new Journal();
    for (const [folder, entries] of this.#durable) twin.#durable.set(folder, new Map(entries));
    for (const edit of this.#pending) twin.#pending.add(edit);
    return twin;
  }
}

function setEntry(entries: Map<string, Node>, name: string, node: Node | undefined): void {
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
}

/**
 * The tree that `journal` calls durable, built anew with hard links kept.
 *
 * @param content - what is left of a file's bytes; asked once for each inode
 */
export function survivors(root: FolderNode, journal: Journal, content: (file: FileNode) => Uint8Array): FolderNode {
  const seen = new Map<Node, Node>();
  const build = (folder: FolderNode): FolderNode => {
    const copy: FolderNode = { ...folder, links: 2, entries: new Map() };
    seen.set(folder, copy);
    for (const [name, node] of journal.entries(folder)) {
      const known = seen.get(node);
      if (node.kind === "folder") {
        if (known !== undefined) continue; // a folder has one name
        copy.entries.set(name, build(node));
        copy.links++;
      } else {
        const file = known?.kind === "file" ? known : copyFile(node, content(node));
        seen.set(node, file);
        file.links++;
        copy.entries.set(name, file);
      }
    }
    return copy;
  };
  return build(root);
}

function copyFile(file: FileNode, bytes: Uint8Array): FileNode {
  // Shared: whoever goes on writing on the old disk writes behind these bytes.
  return { ...file, links: 0, bytes, syncedBytes: bytes.length };
}

/** Marks all of a tree as durable in `journal`. */
export function adopt(folder: FolderNode, journal: Journal): void {
  for (const [name, node] of folder.entries) {
    journal.entries(folder).set(name, node);
    if (node.kind === "folder") adopt(node, journal);
  }
}

/** Reproducible numbers in [0, 1) (mulberry32); for choosing what a crash keeps, nothing else. */
export function seededChance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * What an unlucky power loss leaves of a file: all, the durable part, a part of the rest, or the full length with
 * zeros where blocks never reached the disk.
 */
export function tornContent(file: FileNode, chance: () => number): Uint8Array {
  const { bytes, syncedBytes } = file;
  if (syncedBytes === bytes.length) return bytes;
  const pick = chance();
  if (pick < 0.25) return bytes;
  if (pick < 0.5) return bytes.subarray(0, syncedBytes);
  const cut = syncedBytes + Math.floor(chance() * (bytes.length - syncedBytes));
  if (pick < 0.75) return bytes.subarray(0, cut);
  return bytes.slice().fill(0, cut);
}
