// SPDX-License-Identifier: Apache-2.0
/** What revoking and deleting a name have in common: a statement that waits for signers, and the moves once they have signed. Layer: repo. */
import { type Digest, parseDigest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { nameRef, type RefPath, signersRef } from "../base/ref-path.ts";
import type { KeyId } from "../keys/public-key.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Statement } from "../objects/documents/statement.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Member } from "../trust/evaluate.ts";
import { readStatement } from "./dossier.ts";
import { headMoves } from "./promote.ts";
import type { Store } from "./store.ts";

/**
 * The statement under `ref` that others have signed, if it still follows what stands.
 *
 * @param reason - undefined: whatever it says is agreed to
 * @param others - true if more than the reason of the request would be another statement's
 * @throws CofferError CANDIDATE_EXISTS - what is asked for is another statement
 */
export async function waitingDenial(
  store: Store,
  head: HeadView,
  ref: RefPath,
  heads: readonly Member[],
  reason: string | undefined,
  others: boolean,
): Promise<Stored<Statement> | undefined> {
  const id = await head.readRef(ref);
  if (id === undefined) return undefined;
  const statement = await readStatement(store, id);
  const { value } = statement;
  const now = heads.map((entry) => entry.id).sort();
  if (value.previous.length !== now.length || now.some((entry, at) => entry !== value.previous[at])) return undefined;
  if (!others && (reason ?? value.reason) === value.reason) return statement;
  const what = value.state === "revoked" ? "revocation" : "deletion";
  const leave = value.state === "revoked" ? "--reason and --also" : "--reason";
  const how = `sign it by leaving out ${leave}, or give --replace`;
  throw new CofferError("CANDIDATE_EXISTS", `${what} ${short(id)} of ${value.name.text} waits; ${how}`);
}

/**
 * The moves of a name that is denied from now on: its head, its signers on record, and what waited under it goes.
 * @param gone - manifests that leave quarantine with it
 */
export async function denyingMoves(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  statement: Stored<Statement>,
  signers: Iterable<KeyId>,
  gone: ReadonlySet<Digest>,
): Promise<{ ref: RefPath; to?: Digest }[]> {
  const { name, state } = statement.value;
  const onRecord = makeList([...signers].map((key) => parseDigest(key)));
  batch.addObject(onRecord);
  const moves: { ref: RefPath; to?: Digest }[] = [
    { ref: signersRef(statement.id), to: onRecord.id },
    ...(await lastMoves(store, head, statement)),
    ...(await headMoves(store, head, batch, name, { id: statement.id, state })),
  ];
  for (const family of ["proposed", "revoking", "deleting"] as const) {
    const ref = nameRef(family, name);
    if ((await head.readRef(ref)) !== undefined) moves.push({ ref });
  }
  for (const family of state === "deleted" ? (["quarantined", "acquired"] as const) : (["quarantined"] as const)) {
    const ref = nameRef(family, name);
    const held = await head.readRef(ref);
    if (held !== undefined && gone.has(held)) moves.push({ ref });
  }
  return moves;
}

/** refs/revoked and refs/deleted hold the last such statement of the name, whichever came first. */
async function lastMoves(store: Store, head: HeadView, statement: Stored<Statement>) {
  const ref = nameRef(statement.value.state, statement.value.name);
  const held = await head.readRef(ref);
  const isLast = held === undefined || isLater(statement, await readStatement(store, held));
  return isLast ? [{ ref, to: statement.id }] : [];
}

export function isLater(a: Stored<Statement>, b: Stored<Statement>): boolean {
  return a.value.sequence === b.value.sequence ? a.id > b.id : a.value.sequence > b.value.sequence;
}
