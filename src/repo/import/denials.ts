// SPDX-License-Identifier: Apache-2.0
/**
 * The first thing that an import does: revocations, deletions and refusals of the same policy root, in a transaction of their
 * own. They stand even if all else fails. Layer: repo. Holds invariant 8.
 */
import { type Digest, isDigest, parseDigest } from "../../base/digest.ts";
import type { Name } from "../../base/names.ts";
import { type RefPath, type RevokedKind, refusedRef, revokedRef, signersRef } from "../../base/ref-path.ts";
import type { KeyId, PublicKey } from "../../keys/public-key.ts";
import { parseManifest } from "../../objects/documents/manifest.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { NOTHING_REVOKED, type Statement } from "../../objects/documents/statement.ts";
import { signersOf } from "../../objects/signatures.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { whyUnauthorised } from "../../trust/authorised.ts";
import { keysOf } from "../../trust/roles.ts";
import { type Policies, readNamed } from "../dossier.ts";
import { withdrawLfs } from "../git-files.ts";
import { forgetCheckouts } from "../materialise.ts";
import { withReserve } from "../reserve.ts";
import type { Store } from "../store.ts";
import { type Applied, applyChanges, type Change } from "./apply.ts";
import type { Arrivals, GoodSignature } from "./arrivals.ts";
import { unauthorisedText } from "./words.ts";
import { Writer } from "./writer.ts";

/** Ids that join lists, list by list. */
export class Unions {
  readonly #lists = new Map<RefPath, Set<Digest>>();

  add(ref: RefPath, ids: Iterable<Digest>): void {
    const list = this.#lists.get(ref) ?? new Set();
    for (const id of ids) list.add(id);
    if (list.size > 0) this.#lists.set(ref, list);
  }

  changes(): Change[] {
    return [...this.#lists].map(([ref, ids]) => ({ kind: "union", ref, ids: [...ids] }));
  }
}

export function everybodyIn(policies: Policies): PublicKey[] {
  return policies.flatMap(({ value }) => keysOf(value, value.principals.keys()));
}

interface Gathered {
  readonly head: HeadView;
  readonly names: Map<string, { readonly name: Name; readonly ids: Digest[] }>;
  readonly signers: Unions;
  readonly lists: Unions;
  /** What denials that are new here are about. */
  readonly manifests: Set<Digest>;
  readonly blobs: Set<Digest>;
  /** Statements that count. */
  readonly statements: Set<Digest>;
  count: number;
}

export interface AppliedDenials extends Applied {
  /** How many came and count. */
  readonly count: number;
  /** Those of them that are statements; any other statement that denies was refused, wherever it lies. */
  readonly statements: ReadonlySet<Digest>;
}

/** @throws CofferError NO_SPACE, IO_ERROR, REF_MOVED; where the disk is full, the reserve makes room */
export function applyDenials(
  store: Store,
  policies: Policies,
  arrivals: Arrivals,
  note: string,
  most?: number,
): Promise<AppliedDenials> {
  return withReserve(store, () => applyOnce(store, policies, arrivals, note, most));
}

async function applyOnce(
  store: Store,
  policies: Policies,
  arrivals: Arrivals,
  note: string,
  most: number | undefined,
): Promise<AppliedDenials> {
  const writer = new Writer(store);
  const gathered: Gathered = {
    head: await store.head(),
    names: new Map(),
    signers: new Unions(),
    lists: new Unions(),
    manifests: new Set(),
    blobs: new Set(),
    statements: new Set(),
    count: 0,
  };
  await gatherStatements(store, policies, arrivals, writer, gathered);
  await gatherRefusals(store, policies, arrivals, writer, gathered);
  await writer.flush();
  // Who signed goes first: a denial without its signers would be damage.
  const names = [...gathered.names.values()].map((entry): Change => ({ kind: "statements", ...entry }));
  const changes = [...gathered.signers.changes(), ...names, ...gathered.lists.changes()];
  await withdraw(store, gathered);
  const applied = await applyChanges(store, changes, note, most);
  await writer.confirm();
  if (applied.entries.length > 0) await forgetRevoked(store, gathered);
  return { ...applied, count: gathered.count, statements: gathered.statements };
}

async function gatherStatements(
  store: Store,
  policies: Policies,
  arrivals: Arrivals,
  writer: Writer,
  gathered: Gathered,
): Promise<void> {
  const everybody = everybodyIn(policies);
  for (const id of arrivals.idsOf("coffer/statement")) {
    const statement = await arrivals.document("coffer/statement", id);
    if (statement === undefined || statement.value.state === "trusted") continue;
    const { good, signers } = await signaturesOver(store, arrivals, "coffer/statement", statement, everybody);
    const why = whyUnauthorised(policies, { ...statement, signers }, new Set());
    if (why !== undefined) {
      const { name } = statement.value;
      arrivals.refuse({ what: name.text, ...unauthorisedText(statement, why) });
      continue;
    }
    gathered.count += 1;
    gathered.statements.add(id);
    await writer.addSigned(statement, "coffer-statement", good);
    gathered.signers.add(signersRef(id), asIds(signers));
    const { name } = statement.value;
    const entry = gathered.names.get(name.text) ?? { name, ids: [] };
    entry.ids.push(id);
    gathered.names.set(name.text, entry);
    listRevoked(statement, gathered.lists);
    if ((await gathered.head.readRef(signersRef(id))) === undefined) noteFallen(statement, gathered);
  }
}

function listRevoked({ id, value }: Stored<Statement>, lists: Unions): void {
  const { manifests, blobs, statements } = value.revokes ?? NOTHING_REVOKED;
  const targets: readonly (readonly [RevokedKind, readonly Digest[]])[] = [
    ["manifest", manifests],
    ["blob", blobs],
    ["statement", statements],
  ];
  for (const [kind, digests] of targets) for (const digest of digests) lists.add(revokedRef(digest, kind), [id]);
}

function noteFallen({ value }: Stored<Statement>, { manifests, blobs }: Gathered): void {
  const revoked = value.revokes ?? NOTHING_REVOKED;
  for (const manifest of [value.manifest, ...revoked.manifests]) manifests.add(manifest);
  for (const blob of revoked.blobs) blobs.add(blob);
}

/** Before the commit: git-lfs must give nothing that no longer stands. */
async function withdraw(store: Store, { manifests, blobs }: Gathered): Promise<void> {
  await withdrawLfs(store, { manifests, blobs, kept: [] });
}

/** Only people of the policy can refuse; whether they are asked at all is for the verdict. */
async function gatherRefusals(
  store: Store,
  policies: Policies,
  arrivals: Arrivals,
  writer: Writer,
  gathered: Gathered,
): Promise<void> {
  const everybody = everybodyIn(policies);
  for (const id of arrivals.idsOf("coffer/refusal")) {
    const refusal = await arrivals.document("coffer/refusal", id);
    if (refusal === undefined) continue;
    const { good, signers } = await signaturesOver(store, arrivals, "coffer/refusal", refusal, everybody);
    if (signers.size === 0) {
      const text = `refusal ${id.slice(0, 12)} is signed by nobody in the policy`;
      arrivals.refuse({ what: id.slice(0, 12), code: "SIGNATURE_INVALID", text });
      continue;
    }
    gathered.count += 1;
    await writer.addSigned(refusal, "coffer-refusal", good);
    gathered.signers.add(signersRef(id), asIds(signers));
    gathered.lists.add(refusedRef(refusal.value.statement), [id]);
  }
}

const NAMESPACES = {
  "coffer/statement": "coffer-statement",
  "coffer/refusal": "coffer-refusal",
  "coffer/manifest": "coffer-manifest",
} as const;
export type SignedKind = keyof typeof NAMESPACES;

/** Good signatures that came over a document, and whose of people in the policy there are with those that lie here. */
export async function signaturesOver(
  store: Store,
  arrivals: Arrivals,
  kind: SignedKind,
  document: Stored<unknown>,
  everybody: readonly PublicKey[],
): Promise<{ readonly good: readonly GoodSignature[]; readonly signers: ReadonlySet<KeyId> }> {
  const good = await arrivals.signatures(kind, document);
  const here = await signersOf(store.files, document, NAMESPACES[kind], everybody);
  return { good, signers: new Set([...signersIn(good, everybody), ...here]) };
}

/** The keys of people in the policy that signed. */
export function signersIn(good: readonly GoodSignature[], everybody: readonly PublicKey[]): Set<KeyId> {
  const theirs = new Set(everybody.map(({ keyId }) => keyId));
  return new Set(good.map(({ publicKey }) => publicKey.keyId).filter((keyId) => theirs.has(keyId)));
}

export function asIds(keys: Iterable<KeyId>): Digest[] {
  return [...keys].map((key) => parseDigest(key));
}

/** Checkouts in this store of what is revoked now. */
async function forgetRevoked(store: Store, { manifests, blobs }: Gathered): Promise<void> {
  const gone: Digest[] = [];
  for (const name of (await store.files.list("local/checkouts")) ?? []) {
    if (!isDigest(name)) continue;
    if (manifests.has(name) || (await holdsAny(store, name, blobs))) gone.push(name);
  }
  await forgetCheckouts(store, gone);
}

async function holdsAny(store: Store, manifest: Digest, blobs: ReadonlySet<Digest>): Promise<boolean> {
  if (blobs.size === 0) return false;
  const found = await readNamed(store, manifest, parseManifest);
  return found?.value.files.some(({ sha256 }) => blobs.has(sha256)) === true;
}
