// SPDX-License-Identifier: Apache-2.0
/**
 * Where a name's heads stand once more statements are known: a function of the set, whatever came first.
 * Layer: repo. Format: docs/format.md, "Refs". Holds invariant 5. Whether a statement is authorised at all was decided before.
 */
import type { Digest } from "../../base/digest.ts";
import type { Name } from "../../base/names.ts";
import { nameRef, type RefPath } from "../../base/ref-path.ts";
import { makeList } from "../../objects/documents/list.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { parseStatement, type Statement } from "../../objects/documents/statement.ts";
import type { WriteBatch } from "../../objects/write-batch.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { setAsideReason } from "../../trust/heads.ts";
import { type Policies, readHeadIds, readList, readNamed, readStatement } from "../dossier.ts";
import type { Store } from "../store.ts";

export interface Move {
  readonly ref: RefPath;
  readonly to?: Digest;
}

/** A name's statements as they stand after a merge. */
export interface Standing {
  readonly name: Name;
  readonly heads: readonly Stored<Statement>[];
  /** Set aside until what they follow is here; sorted. */
  readonly waiting: readonly Digest[];
  /** True if the heads are others than before. */
  readonly moved: boolean;
}

/** Reads statements once each; `undefined` where none of that id is in the store. */
export class Statements {
  readonly #store: Store;
  readonly #read = new Map<Digest, Stored<Statement> | undefined>();

  constructor(store: Store) {
    this.#store = store;
  }

  async get(id: Digest): Promise<Stored<Statement> | undefined> {
    if (this.#read.has(id)) return this.#read.get(id);
    const found = await readNamed(this.#store, id, parseStatement);
    this.#read.set(id, found);
    return found;
  }
}

/**
 * The heads of `name` with `more` authorised statements, which lie in the store by now.
 * What waits is judged again with them: what it waited for may have come.
 */
export async function standingWith(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
  more: readonly Digest[],
): Promise<Standing> {
  const statements = new Statements(store);
  const before = await readHeadIds(store, head, name);
  const waited = await readList(store, await head.readRef(nameRef("waiting", name)), "list of waiting");
  const fresh = await present(statements, [...more, ...waited]);
  const known = await ancestors(statements, before, fresh);
  const open = fresh.filter(({ id }) => !known.has(id) && !before.includes(id));
  const aside = await setAside(statements, policies, open);
  const judged = open.filter(({ id }) => !aside.has(id));
  // A head that is lost is damage; it never makes room for another.
  const standing = await Promise.all(before.map((id) => readStatement(store, id)));
  const candidates = [...standing, ...judged];
  const below = await ancestors(
    statements,
    candidates.map(({ id }) => id),
    candidates,
  );
  const heads = candidates.filter(({ id }) => !below.has(id)).sort((a, b) => (a.id < b.id ? -1 : 1));
  const moved = heads.length !== before.length || heads.some(({ id }) => !before.includes(id));
  return { name, heads, waiting: [...aside].sort(), moved };
}

async function present(statements: Statements, ids: readonly Digest[]): Promise<Stored<Statement>[]> {
  const found = await Promise.all([...new Set(ids)].map((id) => statements.get(id)));
  return found.filter((statement) => statement !== undefined);
}

/** All that `from` descend from, as far back as one of `among` could lie: sequences grow along the chain. */
async function ancestors(
  statements: Statements,
  from: readonly Digest[],
  among: readonly Stored<Statement>[],
): Promise<ReadonlySet<Digest>> {
  const lowest = Math.min(...among.map(({ value }) => value.sequence));
  const found = new Set<Digest>();
  const open = [...from];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const statement = await statements.get(id);
    if (statement === undefined || statement.value.sequence <= lowest) continue;
    for (const parent of statement.value.previous) {
      if (found.has(parent)) continue;
      found.add(parent);
      open.push(parent);
    }
  }
  return found;
}

async function setAside(
  statements: Statements,
  policies: Policies,
  open: readonly Stored<Statement>[],
): Promise<ReadonlySet<Digest>> {
  const aside = new Set<Digest>();
  const numberOf = (id: Digest): number | undefined => policies.find((policy) => policy.id === id)?.value.number;
  for (const { id, value } of [...open].sort((a, b) => a.value.sequence - b.value.sequence)) {
    const previous = await Promise.all(value.previous.map(async (parent) => (await statements.get(parent))?.value));
    if (setAsideReason({ id, value, previous }, numberOf, aside) !== undefined) aside.add(id);
  }
  return aside;
}

/** The refs of a name that say so, and what was proposed for the heads that stood before goes: nobody can promote it. */
export async function standingMoves(
  head: HeadView,
  batch: WriteBatch,
  { name, heads, waiting, moved }: Standing,
): Promise<Move[]> {
  const list = async (family: "chain" | "waiting", ids: readonly Digest[]): Promise<Move> => {
    const made = makeList(ids);
    if (ids.length > 0) batch.addObject(made);
    return { ref: nameRef(family, name), ...(ids.length > 0 ? { to: made.id } : {}) };
  };
  const moves = [await list("waiting", waiting)];
  if (!moved) return moves;
  const [only, ...others] = heads;
  const single = only !== undefined && others.length === 0 && only.value.state === "trusted";
  moves.push({ ref: nameRef("trusted", name), ...(single ? { to: only.id } : {}) });
  moves.push(await list("chain", single ? [] : heads.map(({ id }) => id)));
  for (const family of ["proposed", "revoking", "deleting"] as const) moves.push({ ref: nameRef(family, name) });
  const quarantined = await head.readRef(nameRef("quarantined", name));
  if (heads.some(({ value }) => value.manifest === quarantined)) moves.push({ ref: nameRef("quarantined", name) });
  return moves;
}
