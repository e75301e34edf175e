// SPDX-License-Identifier: Apache-2.0
/**
 * Reading the ref tree: one ref along its path, all refs, the difference of two trees.
 * Layer: refs. Format: docs/format.md, "The ref tree". Holds invariant 4. Not here: change (apply-moves.ts), which
 * root is the newest (log.ts).
 *
 * Every function throws CORRUPT for a node that is missing, malformed or out of place, and UNSUPPORTED for one that a
 * newer version wrote; a ref is absent only if all nodes on its path are there and say so.
 */
import type { Digest } from "../base/digest.ts";
import type { RefPath } from "../base/ref-path.ts";
import type { ObjectReader } from "../objects/object-store.ts";
import { DIGITS } from "./ref-inner.ts";
import { idIn, placeOf, type RefEntry, type RefLeaf } from "./ref-leaf.ts";
import { byRef, type NodeCache, type NodeSource, type RefNode, readNode } from "./ref-node.ts";

/** A ref that came to hold another id: `from` absent, it was made; `to` absent, it was removed. */
export interface Move {
  readonly ref: RefPath;
  readonly from?: Digest;
  readonly to?: Digest;
}

/**
 * Looks up refs in the tree `root`: what a ref holds, undefined if it is not there. Reads only the nodes on its path, and
 * none for a ref that stands in the leaf that was found last, as those of one name do.
 */
export function refReader(
  reader: ObjectReader,
  root: Digest,
  cache?: NodeCache,
): (ref: RefPath) => Promise<Digest | undefined> {
  const source = { reader, cache };
  let last: { readonly leaf: RefLeaf; readonly place: string } | undefined;
  return async (ref) => {
    const place = placeOf(ref);
    if (last !== undefined && place.startsWith(last.place)) return idIn(last.leaf, ref);
    let id = root;
    for (let depth = 0; ; depth += 1) {
      const here = place.slice(0, depth);
      const node = await readNode(source, id, here, "its ends");
      if (node.kind === "leaf") {
        last = { leaf: node, place: here };
        return idIn(node, ref);
      }
      const child = node.children.get(place.charAt(depth));
      if (child === undefined) return undefined;
      id = child;
    }
  };
}

/**
 * All refs of the tree whose path starts with `prefix`, in the order of the tree: the same for the same set, but not
 * sorted by path. Walks the whole tree whatever the prefix.
 */
export async function* listRefs(
  reader: ObjectReader,
  root: Digest,
  prefix = "",
  cache?: NodeCache,
): AsyncGenerator<readonly [RefPath, Digest]> {
  for await (const { ref, id } of entriesOf({ reader, cache }, root, "")) {
    if (ref.startsWith(prefix)) yield [ref, id];
  }
}

/** The moves that turn tree `a` into tree `b`, in the order of the tree; descends only where ids differ. */
export async function* diffTrees(reader: ObjectReader, a: Digest, b: Digest, cache?: NodeCache): AsyncGenerator<Move> {
  yield* diff({ reader, cache }, a, b, "");
}

/** A part of a tree: a node by its id, the refs of it that a leaf higher up holds, or nothing. */
type Part = Digest | readonly RefEntry[] | undefined;

async function* diff(source: NodeSource, a: Part, b: Part, place: string): AsyncGenerator<Move> {
  if (a === b) return;
  const before = await loadPart(source, a, place);
  const after = await loadPart(source, b, place);
  if (before.kind === "leaf" && after.kind === "leaf") {
    yield* diffEntries(before.entries, after.entries);
    return;
  }
  for (const digit of DIGITS) {
    yield* diff(source, childOf(before, digit, place), childOf(after, digit, place), place + digit);
  }
}

async function loadPart(source: NodeSource, part: Part, place: string): Promise<RefNode> {
  if (typeof part === "string") return readNode(source, part, place);
  return { kind: "leaf", entries: part ?? [] };
}

function childOf(node: RefNode, digit: string, place: string): Part {
  if (node.kind === "inner") return node.children.get(digit);
  const below = node.entries.filter((entry) => entry.place.charAt(place.length) === digit);
  return below.length > 0 ? below : undefined;
}

function* diffEntries(before: readonly RefEntry[], after: readonly RefEntry[]): Generator<Move> {
  const moves = new Map<RefPath, Move>();
  for (const { ref, id } of before) moves.set(ref, { ref, from: id });
  for (const { ref, id } of after) {
    const from = moves.get(ref)?.from;
    if (from === id) moves.delete(ref);
    else moves.set(ref, from === undefined ? { ref, to: id } : { ref, from, to: id });
  }
  yield* [...moves.values()].sort(byRef);
}

async function* entriesOf(source: NodeSource, id: Digest, place: string): AsyncGenerator<RefEntry> {
  const node = await readNode(source, id, place);
  if (node.kind === "leaf") {
    yield* node.entries;
    return;
  }
  for (const digit of DIGITS) {
    const child = node.children.get(digit);
    if (child !== undefined) yield* entriesOf(source, child, place + digit);
  }
}
