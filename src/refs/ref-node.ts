// SPDX-License-Identifier: Apache-2.0
/**
 * Nodes of the ref tree: the `coffer/refs` documents, and reading one that stands at a known place.
 * Layer: refs. Format: docs/format.md, "The ref tree". Holds invariant 4. Not here: walking (ref-tree.ts), change
 * (apply-moves.ts).
 *
 * A place is a prefix of the 64 hex digits of SHA-256(group of the ref): the digits walked from the root. All refs of one
 * name are one group, so an act on a name rewrites one path. Split by place, a group stays together: at the last digit
 * there is one group only, which has a ref of each family at most and so always fits a leaf.
 */
import { type CanonicalValue, encodeCanonical } from "../base/canonical-json.ts";
import { type Digest, sha256, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { RefPath } from "../base/ref-path.ts";
import {
  digest,
  documentOf,
  optional,
  readDocument,
  record,
  refPath,
  refuseAt,
  type Schema,
  type Stored,
  sortedBy,
} from "../objects/documents/schema.ts";
import { type ObjectReader, readObject } from "../objects/object-store.ts";
import { DIGITS, type RefInner, readPlainInner } from "./ref-inner.ts";
import { endsOf, type RefEntry, type RefLeaf, readPlainLeaf, refEntry } from "./ref-leaf.ts";

export type RefNode = RefLeaf | RefInner;

const entry: Schema<RefEntry> = (value, at) => {
  if (!isPair(value)) return refuseAt(at, "a pair of ref and id");
  const ref = refPath(value[0], `${at}[0]`);
  return refEntry(ref, digest(value[1], `${at}[1]`));
};

function isPair(value: CanonicalValue): value is readonly [CanonicalValue, CanonicalValue] {
  return Array.isArray(value) && value.length === 2;
}

const childrenSchema = record(Object.fromEntries(DIGITS.map((digit) => [digit, optional(digest)])));
const shape = documentOf("coffer/refs", {
  entries: optional(sortedBy(entry, (one) => one.ref, LIMITS.leafRefs)),
  children: optional(childrenSchema),
});

const schema: Schema<RefNode> = (value, at) => {
  const { entries, children } = shape(value, at);
  if (entries !== undefined && children === undefined) return { kind: "leaf", entries };
  if (children === undefined || entries !== undefined) return refuseAt(at, "either entries or children");
  const found = new Map<string, Digest>();
  for (const [digit, id] of Object.entries(children)) if (id !== undefined) found.set(digit, id);
  return found.size > 0 ? { kind: "inner", children: found } : refuseAt(`${at}.children`, "at least one child");
};

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseRefNode(bytes: Uint8Array): RefNode {
  return readPlainLeaf(bytes) ?? readPlainInner(bytes) ?? parseAnyNode(bytes);
}

/** What `parseRefNode` must always agree with. @throws as `parseRefNode` */
export function parseAnyNode(bytes: Uint8Array): RefNode {
  return readDocument(schema, bytes, "ref tree node").value;
}

/** The one encoding of a node; a leaf's entries may come in any order. */
export function makeRefNode(node: RefNode): Stored<RefNode> {
  const body =
    node.kind === "leaf"
      ? { entries: [...node.entries].sort(byRef).map(({ ref, id }) => [ref, id]) }
      : { children: Object.fromEntries(node.children) };
  const bytes = encodeCanonical({ type: "coffer/refs", version: 1, ...body });
  // Read back, so that nothing is written that would not be read.
  return { id: sha256(bytes), bytes, value: parseRefNode(bytes) };
}

/** By the bytes of the path; ref paths are ASCII. */
export function byRef(a: { readonly ref: RefPath }, b: { readonly ref: RefPath }): number {
  return a.ref < b.ref ? -1 : a.ref > b.ref ? 1 : 0;
}

/** The tree of a store without refs: the empty leaf. */
export const EMPTY_TREE: Stored<RefNode> = makeRefNode({ kind: "leaf", entries: [] });

/** Parsed nodes by id, the least recently used dropped first. Nodes never change, so no entry is ever stale. */
export class NodeCache {
  private readonly capacity: number;
  private readonly nodes = new Map<Digest, RefNode>();

  /** @param capacity - nodes kept; a full leaf takes about 8 KB, 20 KB once somebody asked for all its entries */
  constructor(capacity = 1024) {
    this.capacity = capacity;
  }

  get(id: Digest): RefNode | undefined {
    const node = this.nodes.get(id);
    if (node === undefined) return undefined;
    this.nodes.delete(id);
    this.nodes.set(id, node);
    return node;
  }

  set(id: Digest, node: RefNode): void {
    this.nodes.set(id, node);
    if (this.nodes.size <= this.capacity) return;
    const oldest = this.nodes.keys().next();
    if (!oldest.done) this.nodes.delete(oldest.value);
  }
}

/** Where nodes come from. */
export interface NodeSource {
  readonly reader: ObjectReader;
  readonly cache?: NodeCache | undefined;
}

/** Which refs of a leaf are compared with the place where it stands. */
export type Checked = "every ref" | "its ends";

/**
 * The node `id`, which its parent names at `place`.
 *
 * @param checked - "its ends" for who looks for one ref: the answer is what the leaf at that ref's place says of it, and a
 *   leaf that was written to another place is noticed all the same. Walks and changes check every ref
 * @throws CofferError CORRUPT - missing, malformed, or holding a ref that belongs elsewhere: never "no such ref"
 */
export async function readNode(
  source: NodeSource,
  id: Digest,
  place: string,
  checked: Checked = "every ref",
): Promise<RefNode> {
  return inPlace(heldNode(source, id) ?? (await loadNode(source, id)), id, place, checked);
}

/** `node`, if it can stand at `place`. @throws CofferError CORRUPT */
function inPlace(node: RefNode, id: Digest, place: string, checked: Checked): RefNode {
  if (node.kind === "inner") {
    if (place.length >= id.length) throw misplaced(id, place, "a leaf at the last digit, found an inner node");
    return node;
  }
  const looked = checked === "every ref" ? node.entries : endsOf(node);
  if (looked.length === 0 && place !== "") throw misplaced(id, place, "refs, found an empty leaf");
  const stray = looked.find((one) => !one.place.startsWith(place));
  if (stray !== undefined) throw misplaced(id, place, `refs of this place, found ${stray.ref}`);
  return node;
}

function misplaced(id: Digest, place: string, fault: string): CofferError {
  return new CofferError("CORRUPT", `ref tree node ${short(id)} at "${place}": expected ${fault}`);
}

function heldNode({ cache }: NodeSource, id: Digest): RefNode | undefined {
  // The id alone says what these bytes are: an empty tree needs no file.
  return id === EMPTY_TREE.id ? EMPTY_TREE.value : cache?.get(id);
}

async function loadNode({ reader, cache }: NodeSource, id: Digest): Promise<RefNode> {
  const node = await readObject(reader, id, "ref tree node", parseRefNode);
  cache?.set(id, node);
  return node;
}
