// SPDX-License-Identifier: Apache-2.0
/**
 * Changing the ref tree: a set of moves applied to one root gives another root and the nodes that are new.
 * Layer: refs. Format: docs/format.md, "The ref tree". Holds invariant 4. Functional: writes nothing.
 *
 * The tree stays canonical: a subtree of at most LIMITS.leafRefs refs is one leaf, so the root is a function of the set
 * of refs, whatever moves led to it.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { RefPath } from "../base/ref-path.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { ObjectReader } from "../objects/object-store.ts";
import { DIGITS, type RefInner } from "./ref-inner.ts";
import { placeOf, type RefEntry } from "./ref-leaf.ts";
import { byRef, makeRefNode, type NodeCache, type NodeSource, type RefNode, readNode } from "./ref-node.ts";
import type { Move } from "./ref-tree.ts";

/** The tree after some moves; `nodes` are those that the old tree lacked, to be written before the root is used. */
export interface ChangedTree {
  readonly root: Digest;
  readonly nodes: readonly Stored<RefNode>[];
}

/** What a ref is to hold, whatever it holds now; `to` absent: nothing. */
export type Target = Omit<Move, "from">;

/**
 * Applies `moves`, in any order, each ref at most once.
 *
 * @throws CofferError REF_MOVED - a ref does not hold what `from` says
 * @throws CofferError CORRUPT - a node of the old tree is missing, malformed or out of place
 * @throws CofferError INTERNAL - a ref twice, or a move that changes nothing
 */
export async function applyMoves(
  reader: ObjectReader,
  root: Digest,
  moves: readonly Move[],
  cache?: NodeCache,
): Promise<ChangedTree> {
  for (const { ref, from, to } of moves) {
    if (from === to) throw new CofferError("INTERNAL", `expected a change of ${ref}, found none`);
  }
  const { root: changed, nodes } = await changeTree({ reader, cache }, root, moves, true);
  return { root: changed, nodes };
}

/**
 * Sets refs to what `targets` say, in any order, each ref at most once, in one walk over the tree.
 *
 * @returns the new tree, and the moves that it took, sorted by ref; targets that hold already are not among them
 * @throws CofferError CORRUPT, INTERNAL - as applyMoves
 */
export function applyTargets(
  reader: ObjectReader,
  root: Digest,
  targets: readonly Target[],
  cache?: NodeCache,
): Promise<ChangedTree & { readonly moves: readonly Move[] }> {
  return changeTree({ reader, cache }, root, targets, false);
}

async function changeTree(
  source: NodeSource,
  root: Digest,
  wanted: readonly Move[],
  checked: boolean,
): Promise<ChangedTree & { readonly moves: readonly Move[] }> {
  if (wanted.length === 0) return { root, nodes: [], moves: [] };
  const placed = place(wanted);
  const edit: Edit = { source, checked, moves: [], fresh: new Map() };
  const before = await readNode(source, root, "");
  const after = await changeNode(edit, before, "", placed);
  const changed = after === before ? root : keep(edit, after);
  return { root: changed, nodes: [...edit.fresh.values()], moves: edit.moves.sort(byRef) };
}

interface Placed extends Move {
  readonly place: Digest;
}

function place(moves: readonly Move[]): readonly Placed[] {
  const seen = new Set<RefPath>();
  return moves.map((move) => {
    if (seen.has(move.ref))
      throw new CofferError("INTERNAL", `expected each ref once in the moves, found ${move.ref} twice`);
    seen.add(move.ref);
    return { ...move, place: placeOf(move.ref) };
  });
}

interface Edit {
  readonly source: NodeSource;
  /** Whether `from` says what must be there. */
  readonly checked: boolean;
  /** What was moved so far. */
  readonly moves: Move[];
  readonly fresh: Map<Digest, Stored<RefNode>>;
}

/** Encodes a node that is certain to stand in the new tree. */
function keep(edit: Edit, node: RefNode): Digest {
  const stored = makeRefNode(node);
  edit.fresh.set(stored.id, stored);
  return stored.id;
}

/** The node after `moves`, all of which belong below it; the same object if they change nothing. */
async function changeNode(edit: Edit, node: RefNode, place: string, moves: readonly Placed[]): Promise<RefNode> {
  if (node.kind === "leaf") {
    const entries = changeEntries(edit, node.entries, moves);
    return entries === node.entries ? node : grow(edit, entries, place);
  }
  const changed = new Map<string, RefNode>();
  for (const [digit, below] of byDigit(moves, place.length)) {
    const child = await childNode(edit, node, digit, place);
    const after = await changeNode(edit, child, place + digit, below);
    if (after !== child) changed.set(digit, after);
  }
  if (changed.size === 0) return node;
  if (moves.some((move) => move.to === undefined)) {
    const few = await gather(edit, node, changed, place);
    if (few !== undefined) return { kind: "leaf", entries: few };
  }
  const children = new Map(node.children);
  for (const [digit, child] of changed) {
    if (child.kind === "leaf" && child.entries.length === 0) children.delete(digit);
    else children.set(digit, keep(edit, child));
  }
  return { kind: "inner", children };
}

async function childNode(edit: Edit, node: RefInner, digit: string, place: string): Promise<RefNode> {
  const id = node.children.get(digit);
  return id === undefined ? { kind: "leaf", entries: [] } : readNode(edit.source, id, place + digit);
}

function changeEntries(edit: Edit, entries: readonly RefEntry[], moves: readonly Placed[]): readonly RefEntry[] {
  const refs = new Map(entries.map((entry) => [entry.ref, entry]));
  let changed = false;
  for (const { ref, from, to, place } of moves) {
    const found = refs.get(ref)?.id;
    if (edit.checked && found !== from) {
      throw new CofferError("REF_MOVED", `${ref}: expected ${shown(from)}, found ${shown(found)}`);
    }
    if (found === to) continue;
    if (to === undefined) refs.delete(ref);
    else refs.set(ref, { ref, id: to, place });
    edit.moves.push({ ref, ...(found && { from: found }), ...(to && { to }) });
    changed = true;
  }
  return changed ? [...refs.values()] : entries;
}

function shown(id: Digest | undefined): string {
  return id === undefined ? "none" : short(id);
}

/** The canonical subtree over `entries`: one leaf, or split by the next digit as often as it takes. */
function grow(edit: Edit, entries: readonly RefEntry[], place: string): RefNode {
  if (entries.length <= LIMITS.leafRefs) return { kind: "leaf", entries: [...entries].sort(byRef) };
  const children = new Map<string, Digest>();
  for (const [digit, below] of byDigit(entries, place.length)) {
    children.set(digit, keep(edit, grow(edit, below, place + digit)));
  }
  return { kind: "inner", children };
}

function byDigit<T extends { readonly place: Digest }>(items: readonly T[], depth: number): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const digit = item.place.charAt(depth);
    const group = groups.get(digit);
    if (group === undefined) groups.set(digit, [item]);
    else group.push(item);
  }
  return groups;
}

/**
 * All refs below an inner node if they now fit one leaf, else undefined. An inner child holds more than a leaf can, so
 * the first one ends the search; so do changed children and as many others as it takes to count past the limit.
 */
async function gather(
  edit: Edit,
  node: RefInner,
  changed: ReadonlyMap<string, RefNode>,
  place: string,
): Promise<readonly RefEntry[] | undefined> {
  const entries: RefEntry[] = [];
  const untouched = DIGITS.filter((digit) => node.children.has(digit) && !changed.has(digit));
  for (const child of changed.values()) {
    if (child.kind === "inner") return undefined;
    entries.push(...child.entries);
  }
  for (const digit of untouched) {
    if (entries.length > LIMITS.leafRefs) return undefined;
    const child = await childNode(edit, node, digit, place);
    if (child.kind === "inner") return undefined;
    entries.push(...child.entries);
  }
  return entries.length > LIMITS.leafRefs ? undefined : entries.sort(byRef);
}
