// SPDX-License-Identifier: Apache-2.0
/**
 * Git's objects, written and read as git does: blobs, trees and commits, each with the SHA-1 that git knows it by.
 * Layer: git. Format: gitformat-pack(5), git-mktree(1), git-commit-tree(1). Nothing here is trusted: SHA-1 is git's
 * label for what a projection holds, and what it is to be compared with is in the store.
 */
import { createHash } from "node:crypto";

/** 40 lower-case hex: the SHA-1 of an object's header and content. */
export type GitId = string & { readonly __brand: "GitId" };

export interface GitObject {
  readonly id: GitId;
  readonly kind: "blob" | "tree" | "commit";
  /** Without the header. */
  readonly content: Uint8Array;
}

export function gitObject(kind: GitObject["kind"], content: Uint8Array): GitObject {
  const hash = createHash("sha1").update(`${kind} ${content.length}\0`).update(content);
  return { id: hash.digest("hex") as GitId, kind, content };
}

export function gitBlob(content: Uint8Array | string): GitObject {
  return gitObject("blob", typeof content === "string" ? new TextEncoder().encode(content) : content);
}

export interface TreeEntry {
  /** One part of a path; the caller has made sure that git may check it out anywhere. */
  readonly name: string;
  readonly kind: "file" | "folder";
  readonly id: GitId;
}

/** @param entries - in any order, each name once */
export function gitTree(entries: readonly TreeEntry[]): GitObject {
  const sorted = entries.map((entry) => ({ entry, key: sortKey(entry) })).sort((a, b) => Buffer.compare(a.key, b.key));
  const parts = sorted.flatMap(({ entry: { name, kind, id } }) => [
    Buffer.from(`${kind === "folder" ? "40000" : "100644"} ${name}\0`),
    Buffer.from(id, "hex"),
  ]);
  return gitObject("tree", Buffer.concat(parts));
}

/** An entry as somebody else wrote it: neither its name nor what it is was checked. */
export interface FoundEntry {
  readonly name: string;
  /** As git writes it: `100644` is a file, `40000` a folder. */
  readonly mode: string;
  readonly id: GitId;
}

/** The entries of a tree, in its order, one at a time; undefined, and no more, where something else stands. */
export function* entriesOf(tree: Uint8Array): Generator<FoundEntry | undefined, void, undefined> {
  const bytes = Buffer.from(tree.buffer, tree.byteOffset, tree.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    const [, mode, name] = /^([0-7]{5,6}) ([^/]+)$/s.exec(bytes.toString("utf8", at, end < 0 ? at : end)) ?? [];
    at = end + 21;
    const isEntry = mode !== undefined && name !== undefined && at <= bytes.length;
    yield isEntry ? { name, mode, id: bytes.toString("hex", end + 1, at) as GitId } : undefined;
    if (!isEntry) return;
  }
}

/** The tree of a commit; undefined where it is not one. */
export function treeOfCommit(commit: Uint8Array): GitId | undefined {
  const first = Buffer.from(commit.buffer, commit.byteOffset, commit.byteLength).toString("latin1", 0, 46);
  return /^tree ([0-9a-f]{40})\n$/.exec(first)?.[1] as GitId | undefined;
}

/** Git sorts a folder as if its name ended in a slash. */
function sortKey({ name, kind }: TreeEntry): Buffer {
  return Buffer.from(kind === "folder" ? `${name}/` : name);
}

export interface CommitInput {
  readonly tree: GitId;
  readonly parents: readonly GitId[];
  /** Seconds since 1970, of author and committer. */
  readonly seconds: number;
  /** Ends without a newline; holds no NUL. */
  readonly message: string;
}

/** Nobody wrote it, and no mail goes there: who signed is in the statement. */
const IDENTITY = "coffer <coffer@invalid>";

export function gitCommit({ tree, parents, seconds, message }: CommitInput): GitObject {
  const who = `${IDENTITY} ${seconds} +0000`;
  const lines = [`tree ${tree}`, ...parents.map((parent) => `parent ${parent}`), `author ${who}`, `committer ${who}`];
  return gitObject("commit", new TextEncoder().encode(`${lines.join("\n")}\n\n${message}\n`));
}

/**
 * The objects of a tree of files, its root last.
 * @param files - content by path with slashes; no path is the folder of another
 */
export function treeOf(files: ReadonlyMap<string, GitObject>): { readonly root: GitId; readonly objects: GitObject[] } {
  const objects: GitObject[] = [...files.values()];
  const root = folderOf(
    [...files].map(([path, { id }]) => ({ parts: path.split("/"), id })),
    objects,
  );
  return { root, objects };
}

interface Leaf {
  readonly parts: readonly string[];
  readonly id: GitId;
}

function folderOf(leaves: readonly Leaf[], objects: GitObject[]): GitId {
  const entries: TreeEntry[] = [];
  const folders = new Map<string, Leaf[]>();
  for (const { parts, id } of leaves) {
    const [name = "", ...rest] = parts;
    const inside = folders.get(name);
    if (rest.length === 0) entries.push({ name, kind: "file", id });
    else if (inside !== undefined) inside.push({ parts: rest, id });
    else folders.set(name, [{ parts: rest, id }]);
  }
  for (const [name, inside] of folders) entries.push({ name, kind: "folder", id: folderOf(inside, objects) });
  const tree = gitTree(entries);
  objects.push(tree);
  return tree.id;
}
