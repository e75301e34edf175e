// SPDX-License-Identifier: Apache-2.0
/**
 * `promote`: evaluates candidates on the head that the transaction commits to, and moves refs/trusted. One transaction
 * for all names given: all move or none. Layer: repo. Holds invariants 4 and 5.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { nameRef, type RefPath } from "../base/ref-path.ts";
import { signSshsig } from "../keys/sshsig.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { planSignature } from "../objects/signatures.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import { headsOf } from "../trust/heads.ts";
import type { Verdict } from "../trust/verdict.ts";
import { draft, needApprover, needRule, type ProposeRequest, readCandidate } from "./candidates.ts";
import { Dossier, type Policies, readHeadIds, readPolicies, readStatement } from "./dossier.ts";
import { openNames } from "./names.ts";
import { judgeCandidate } from "./resolve.ts";
import type { Store } from "./store.ts";

interface Move {
  readonly ref: RefPath;
  readonly to?: Digest;
}

export interface Promoted {
  readonly name: Name;
  readonly statement: Digest;
  readonly manifest: Digest;
  readonly verdict: Verdict;
  /** Number of the log entry that made it so. */
  readonly entry: number;
}

/**
 * @throws CofferError NOT_PROPOSED, CANDIDATE_VOID, or the first reason of a verdict (APPROVALS_SHORT, REVOKED …);
 *   nothing is moved then
 */
export async function promote(store: Store, names: readonly Name[]): Promise<Promoted[]> {
  let done: Omit<Promoted, "entry">[] = [];
  const entry = await store.commit(async (head) => {
    done = [];
    const policies = await readPolicies(store, head);
    const batch = store.batch();
    const moves: Move[] = [];
    for (const name of new Map(names.map((entry) => [entry.text, entry])).values()) {
      const ready = await needReady(store, head, policies, name);
      done.push(ready);
      moves.push(...(await movesFor(store, head, batch, ready)));
    }
    return { moves, batch, note: `promote ${names.map((name) => name.text).join(" ")}`.slice(0, 4096) };
  });
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (entry === undefined) throw new CofferError("INTERNAL", "a promotion that moves nothing");
  return done.map((promoted) => ({ ...promoted, entry: entry.number }));
}

async function needReady(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
): Promise<Omit<Promoted, "entry">> {
  needRule(policies, name);
  const candidate = await readCandidate(store, head, policies, name);
  if (candidate === undefined) throw new CofferError("NOT_PROPOSED", `no promotion of ${name.text} is proposed`);
  const { verdict, statement, manifest } = candidate;
  if (candidate.void) throw new CofferError("CANDIDATE_VOID", `${name.text} moved after it was proposed`);
  refuseUnready(name, verdict);
  return { name, statement: statement.id, manifest: manifest.id, verdict };
}

function refuseUnready(name: Name, verdict: Verdict): void {
  const [reason, ...others] = verdict.reasons;
  if (reason === undefined) return;
  const details = others.map((other) => `${other.text} [${other.code}]`);
  throw new CofferError(reason.code, `${name.text} cannot be promoted: ${reason.text}`, { details });
}

async function movesFor(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  { name, statement, manifest }: Omit<Promoted, "entry">,
): Promise<Move[]> {
  const quarantined = nameRef("quarantined", name);
  const moves: Move[] = [
    { ref: nameRef("proposed", name) },
    ...(await headMoves(store, head, batch, name, { id: statement, state: "trusted" })),
  ];
  if ((await head.readRef(quarantined)) === manifest) moves.push({ ref: quarantined });
  return moves;
}

/** Where the name's heads stand once `statement`, which names all of today's, is among them. */
export async function headMoves(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  name: Name,
  statement: { readonly id: Digest; readonly state: Statement["state"] },
): Promise<Move[]> {
  // Their signatures were checked when what is to stand was judged.
  const heads = await Promise.all((await readHeadIds(store, head, name)).map((id) => readStatement(store, id)));
  const standing = headsOf([
    ...heads.map(({ id, value }) => ({ id, previous: value.previous })),
    { id: statement.id, previous: heads.map((entry) => entry.id) },
  ]);
  const [trusted, chain] = [nameRef("trusted", name), nameRef("chain", name)];
  if (statement.state === "trusted" && standing.length === 1) {
    return [{ ref: trusted, to: statement.id }, { ref: chain }];
  }
  const list = makeList(standing);
  batch.addObject(list);
  return [{ ref: trusted }, { ref: chain, to: list.id }];
}

/**
 * What one person does alone where the rule asks for one approval: proposes, approves and promotes, in one transaction.
 * @throws CofferError as `propose`, `approve` and `promote`; nothing is stored then
 */
export async function promoteAlone(store: Store, request: ProposeRequest): Promise<Promoted[]> {
  const { name } = request;
  let ready: Omit<Promoted, "entry"> | undefined;
  const entry = await store.commit(async (head) => {
    const policies = await readPolicies(store, head);
    const batch = store.batch();
    ready = await readyAlone(store, head, policies, batch, request);
    return { moves: await movesFor(store, head, batch, ready), batch, note: `promote ${name.text}` };
  });
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (entry === undefined || ready === undefined) throw new CofferError("INTERNAL", "a promotion that moves nothing");
  return [{ ...ready, entry: entry.number }];
}

/** The candidate with both signatures, judged as it will stand; all of it in `batch`. */
async function readyAlone(
  store: Store,
  head: HeadView,
  policies: Policies,
  batch: WriteBatch,
  request: ProposeRequest,
): Promise<Omit<Promoted, "entry">> {
  const { name, signer } = request;
  const { manifest, statement } = await draft(store, head, policies, batch, request);
  needApprover(policies, name, signer.publicKey);
  const armored = await signSshsig(signer, "coffer-statement", statement.bytes);
  await planSignature(store.files, batch, statement, "coffer-statement", { publicKey: signer.publicKey, armored });
  const dossier = new Dossier(store, head, policies, name);
  dossier.takeStatement(statement);
  for (const { id } of [manifest, statement]) dossier.takeSignature(id, signer.publicKey);
  const member = await dossier.member(statement.id);
  const verdict = await judgeCandidate(store, head, policies, name, member, dossier);
  refuseUnready(name, verdict);
  return { name, statement: statement.id, manifest: manifest.id, verdict };
}

/** True if the rule of `name` asks for one approval, so that one person can promote. @throws CofferError NO_RULE */
export async function onePersonSuffices(store: Store, name: Name): Promise<boolean> {
  const rule = needRule(await readPolicies(store, await store.head()), name);
  return rule.approvers?.threshold === 1 && rule.approvers.notPublisher !== true;
}

/** Every open candidate, with why it is not ready where it is not. */
export async function openCandidates(store: Store): Promise<{ ready: Name[]; waiting: Map<Name, CofferError> }> {
  const ready: Name[] = [];
  const waiting = new Map<Name, CofferError>();
  const head = await store.head();
  const policies = await readPolicies(store, head);
  for (const name of await proposedNames(store, head)) {
    try {
      await needReady(store, head, policies, name);
      ready.push(name);
    } catch (error) {
      passOthers(error);
      waiting.set(name, error);
    }
  }
  return { ready, waiting };
}

async function proposedNames(store: Store, head: HeadView): Promise<Name[]> {
  const names = await openNames(store, head, { mayWrite: true });
  try {
    return await names.list("p", { limit: Number.POSITIVE_INFINITY });
  } finally {
    await names.close();
  }
}
