// SPDX-License-Identifier: Apache-2.0
/**
 * What an import moves, in as few entries as their limit allows. Each act runs on the head at hand: names are merged with
 * what stands there, lists only grow. Layer: repo. Holds invariants 4, 5 and 8.
 */
import type { Digest } from "../../base/digest.ts";
import { type CofferError, isCofferError } from "../../base/errors.ts";
import { LIMITS } from "../../base/limits.ts";
import type { Name } from "../../base/names.ts";
import { nameRef, type RefPath } from "../../base/ref-path.ts";
import { makeList } from "../../objects/documents/list.ts";
import type { WriteBatch } from "../../objects/write-batch.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { isLater } from "../denials.ts";
import { readList, readPolicies, readStatement } from "../dossier.ts";
import type { Store } from "../store.ts";
import { type Move, standingMoves, standingWith } from "./chain.ts";

/** One thing to be moved. */
export type Change =
  /** Authorised statements of a name, which lie in the store. */
  | { readonly kind: "statements"; readonly name: Name; readonly ids: readonly Digest[] }
  /** Ids that join a list. */
  | { readonly kind: "union"; readonly ref: RefPath; readonly ids: readonly Digest[] }
  /** A ref that takes a new value, if `when` finds that it should. */
  | {
      readonly kind: "set";
      readonly ref: RefPath;
      readonly to: Digest;
      readonly when: (head: HeadView) => Promise<boolean>;
    };

/** The most refs that the statements of one name can move, those of its denials included. */
const MOVES_OF_NAME = 10;

export interface Applied {
  /** Names whose chain is damaged here: they were left as they are, and stay denied. */
  readonly failed: ReadonlyMap<string, CofferError>;
  /** Lists that are damaged here: nothing joined them, and what asks them stays denied. */
  readonly damaged: ReadonlyMap<RefPath, CofferError>;
  /** Names whose heads are others now. */
  readonly moved: ReadonlySet<string>;
  /** Refs that took a new value by a change of that kind. */
  readonly set: ReadonlySet<RefPath>;
  /** Numbers of the entries that were made. */
  readonly entries: readonly number[];
}

/**
 * Commits the changes in the order given.
 * @param most - moves in one entry. @throws CofferError as `Store.commit`
 */
export async function applyChanges(
  store: Store,
  changes: readonly Change[],
  note: string,
  most: number = LIMITS.movesPerEntry,
): Promise<Applied> {
  const moved = new Set<string>();
  const set = new Set<RefPath>();
  const entries: number[] = [];
  const failed = new Map<string, CofferError>();
  const damaged = new Map<RefPath, CofferError>();
  for (const slice of slicesOf(changes, most)) {
    let now = { moved: new Set<string>(), set: new Set<RefPath>() };
    const entry = await store.commit(async (head) => {
      now = { moved: new Set(), set: new Set() };
      const batch = store.batch();
      const moves = await movesOf(store, head, batch, slice, { ...now, failed, damaged });
      return { moves, batch, note };
    });
    if (entry === undefined) continue;
    entries.push(entry.number);
    for (const name of now.moved) moved.add(name);
    for (const ref of now.set) set.add(ref);
  }
  return { moved, set, entries, failed, damaged };
}

function* slicesOf(changes: readonly Change[], most: number): Generator<readonly Change[]> {
  let slice: Change[] = [];
  let weight = 0;
  for (const change of changes) {
    const more = change.kind === "statements" ? MOVES_OF_NAME : 1;
    if (weight + more > most && slice.length > 0) {
      yield slice;
      [slice, weight] = [[], 0];
    }
    slice.push(change);
    weight += more;
  }
  if (slice.length > 0) yield slice;
}

/** What an act finds out on its way. */
interface Told {
  readonly moved: Set<string>;
  readonly set: Set<RefPath>;
  readonly failed: Map<string, CofferError>;
  readonly damaged: Map<RefPath, CofferError>;
}

async function movesOf(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  changes: readonly Change[],
  told: Told,
): Promise<Move[]> {
  const moves = new Map<RefPath, Move>();
  for (const change of changes) {
    if (change.kind === "statements") {
      for (const move of await nameMoves(store, head, batch, change, told)) moves.set(move.ref, move);
    } else if (change.kind === "union") {
      const move = await unionMove(store, head, batch, change, told);
      if (move !== undefined) moves.set(move.ref, move);
    } else if (await change.when(head)) {
      moves.set(change.ref, { ref: change.ref, to: change.to });
      told.set.add(change.ref);
    }
  }
  return [...moves.values()];
}

async function nameMoves(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  { name, ids }: Extract<Change, { kind: "statements" }>,
  { moved, failed }: Told,
): Promise<Move[]> {
  try {
    const standing = await standingWith(store, head, await readPolicies(store, head), name, ids);
    const denials = await denialMoves(store, head, name, ids);
    if (standing.moved) moved.add(name.text);
    return [...(await standingMoves(head, batch, standing)), ...denials];
  } catch (error) {
    if (!isCofferError(error, "CORRUPT")) throw error;
    failed.set(name.text, error); // all others are not held up by it
    return [];
  }
}

async function unionMove(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  { ref, ids }: Extract<Change, { kind: "union" }>,
  { damaged }: Told,
): Promise<Move | undefined> {
  const held = await head.readRef(ref);
  try {
    const before = new Set(await readList(store, held, "list"));
    if (ids.every((id) => before.has(id))) return undefined;
    const list = makeList([...before, ...ids]);
    batch.addObject(list);
    return { ref, to: list.id };
  } catch (error) {
    if (!isCofferError(error, "CORRUPT")) throw error;
    damaged.set(ref, error); // no other revocation is held up by it
    return undefined;
  }
}

/** refs/revoked and refs/deleted hold the last such statement of the name. */
async function denialMoves(store: Store, head: HeadView, name: Name, ids: readonly Digest[]): Promise<Move[]> {
  const moves: Move[] = [];
  for (const state of ["revoked", "deleted"] as const) {
    const ref = nameRef(state, name);
    const held = await head.readRef(ref);
    let last = held === undefined ? undefined : await readStatement(store, held);
    for (const id of ids) {
      const statement = await readStatement(store, id);
      if (statement.value.state === state && (last === undefined || isLater(statement, last))) last = statement;
    }
    if (last !== undefined && last.id !== held) moves.push({ ref, to: last.id });
  }
  return moves;
}
