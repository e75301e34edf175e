// SPDX-License-Identifier: Apache-2.0
/**
 * Candidates: statements under refs/proposed that collect approvals. They grant nothing. Layer: repo.
 * `propose` makes one with a publisher's signature; `approve` adds one signature file and commits nothing.
 */
import type { Digest } from "../base/digest.ts";
import { short } from "../base/digest.ts";
import { CofferError, type ErrorCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Label, Name } from "../base/names.ts";
import { evidenceRef, nameRef } from "../base/ref-path.ts";
import { formatTime, type Time } from "../base/time.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { importSshsig, signSshsig } from "../keys/sshsig.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Policy, Rule } from "../objects/documents/policy.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { makeStatement, type Statement } from "../objects/documents/statement.ts";
import { planSignature, type SignedBytes } from "../objects/signatures.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Member } from "../trust/evaluate.ts";
import type { SignedEvidence } from "../trust/evidence.ts";
import { type Withdrawn, withdrawnFrom } from "../trust/refusals.ts";
import { ruleFor } from "../trust/roles.ts";
import type { Reason, Verdict } from "../trust/verdict.ts";
import {
  Dossier,
  newestPolicy,
  type Policies,
  readList,
  readManifest,
  readPolicies,
  readStatement,
} from "./dossier.ts";
import { judge, judgeCandidate, refusal } from "./resolve.ts";
import type { Store } from "./store.ts";

/** The rule of a name under the newest policy. @throws CofferError NO_RULE */
export function needRule(policies: Policies, name: Name): Rule {
  const policy = newestPolicy(policies);
  const rule = ruleFor(policy, name);
  if (rule === undefined) throw new CofferError("NO_RULE", `no rule of policy ${policy.number} covers ${name.text}`);
  return rule;
}

/** Who of `role` owns `key`. @throws CofferError NOT_ALLOWED - nobody of them */
export function needOwner(policy: Policy, role: readonly Label[], key: PublicKey, what: string): Label {
  const owner = role.find((who) => policy.principals.get(who)?.some((own) => own.keyId === key.keyId) === true);
  if (owner !== undefined) return owner;
  const known = [...policy.principals].find(([, keys]) => keys.some((own) => own.keyId === key.keyId))?.[0];
  const who = known === undefined ? "this key is nobody's in the policy" : `${known} is not one`;
  throw new CofferError("NOT_ALLOWED", `${what}: expected one of ${role.join(", ") || "(nobody)"}; ${who}`);
}

/** The heads of a name's chain. */
export function readHeads(store: Store, head: HeadView, policies: Policies, name: Name): Promise<readonly Member[]> {
  return new Dossier(store, head, policies, name).chain();
}

/** What binds a new statement of `name` to what stands now. */
export function afterHeads(policies: Policies, heads: readonly Member[]) {
  const newest = policies.at(-1);
  if (newest === undefined) throw new CofferError("CORRUPT", "the store has no policy");
  if (heads.length > LIMITS.previous) {
    throw new CofferError("LIMIT_EXCEEDED", `expected at most ${LIMITS.previous} heads, found ${heads.length}`);
  }
  return {
    root: newest.value.root,
    policy: newest.id,
    sequence: heads.reduce((most, head) => Math.max(most, head.value.sequence), 0) + 1,
    previous: heads.map((head) => head.id),
  };
}

/** The approver of `name` who owns `key`. @throws CofferError NO_RULE, NOT_ALLOWED */
export function needApprover(policies: Policies, name: Name, key: PublicKey): Label {
  const role = needRule(policies, name).approvers?.principals ?? [];
  return needOwner(newestPolicy(policies), role, key, `approvers of ${name.text}`);
}

export interface ProposeRequest {
  readonly name: Name;
  /** Take the manifest that is trusted (or quarantined) under this other name. */
  readonly from?: Name;
  readonly signer: Signer;
  readonly replace: boolean;
  readonly expiresAt?: Time;
}

export interface Candidate {
  readonly name: Name;
  readonly statement: Stored<Statement>;
  readonly manifest: Stored<Manifest>;
  readonly verdict: Verdict;
  /** What is known of the manifest: to be read before signing. */
  readonly evidence: readonly SignedEvidence[];
  /** Approvers whose approval of it counts no more, with why. */
  readonly refusedBy: Withdrawn;
  /** True if the name's head is no longer what the candidate follows: its approvals count for nothing. */
  readonly void: boolean;
}

/** Reasons that time and signatures still to come can mend. */
const OPEN: readonly ErrorCode[] = ["PUBLISHER_MISSING", "APPROVALS_SHORT", "EVIDENCE_MISSING", "BLOB_MISSING"];

/**
 * Signs the manifest as a publisher and writes the candidate.
 *
 * @throws CofferError NO_RULE, NOT_ALLOWED, NOT_QUARANTINED, REVOKED, FORMAT_REFUSED …; CANDIDATE_EXISTS - another
 *   manifest is proposed and `replace` is false; nothing is changed
 */
export async function propose(store: Store, request: ProposeRequest): Promise<Candidate> {
  const { name } = request;
  await store.commit(async (head) => {
    const batch = store.batch();
    const { statement, isOpen } = await draft(store, head, await readPolicies(store, head), batch, request);
    if (isOpen) {
      await batch.flush();
      return undefined;
    }
    return { moves: [{ ref: nameRef("proposed", name), to: statement.id }], batch, note: `propose ${name.text}` };
  });
  return needCandidate(store, name);
}

export interface Drafted {
  readonly manifest: Stored<Manifest>;
  readonly statement: Stored<Statement>;
  /** True if just that is proposed already. */
  readonly isOpen: boolean;
}

/** Puts the publisher's signature over the manifest and the candidate into `batch`. @throws as `propose` */
export async function draft(
  store: Store,
  head: HeadView,
  policies: Policies,
  batch: WriteBatch,
  request: ProposeRequest,
): Promise<Drafted> {
  const { name, signer } = request;
  const rule = needRule(policies, name);
  needOwner(newestPolicy(policies), rule.publishers ?? [], signer.publicKey, `publishers of ${name.text}`);
  const manifest = await readManifest(store, await manifestToPropose(store, head, policies, request));
  const armored = await signSshsig(signer, "coffer-manifest", manifest.bytes);
  await planSignature(store.files, batch, manifest, "coffer-manifest", { publicKey: signer.publicKey, armored });
  const open = await readCandidate(store, head, policies, name);
  if (open !== undefined && !open.void && !request.replace) {
    refuseRefused(open);
    if (open.manifest.id === manifest.id && open.statement.value.expiresAt === request.expiresAt) {
      return { manifest, statement: open.statement, isOpen: true };
    }
    const what = `statement ${short(open.statement.id)} for manifest ${short(open.manifest.id)} is already proposed`;
    throw new CofferError("CANDIDATE_EXISTS", what);
  }
  const heads = await readHeads(store, head, policies, name);
  const statement = await newStatement(store, head, policies, heads, request, name, manifest.id);
  const verdict = await judgeCandidate(store, head, policies, name, unsigned(statement, heads));
  refuseBlocked({ name, verdict }, "proposed");
  batch.addObject(statement);
  return { manifest, statement, isOpen: false };
}

/** What was refused so that it cannot be promoted is proposed anew only by somebody who knows of it. */
function refuseRefused({ statement, verdict }: Candidate): void {
  const refused = verdict.reasons.find((reason) => reason.code === "REFUSED");
  if (refused === undefined) return;
  const how = "give --replace to propose it anew, which all may approve";
  throw new CofferError("CANDIDATE_EXISTS", `statement ${short(statement.id)} has ${refused.text}; ${how}`);
}

/** What stands in the way of proposing a manifest under a name, whoever signs; undefined if nothing does. */
export async function whyNotProposable(store: Store, name: Name, manifest: Digest): Promise<Reason | undefined> {
  const head = await store.head();
  const policies = await readPolicies(store, head);
  const heads = await readHeads(store, head, policies, name);
  const statement = await newStatement(store, head, policies, heads, {}, name, manifest);
  const verdict = await judgeCandidate(store, head, policies, name, unsigned(statement, heads));
  return verdict.reasons.find((reason) => !OPEN.includes(reason.code));
}

/** A statement that nobody signed yet. */
function unsigned(statement: Stored<Statement>, heads: readonly Member[]): Member {
  const previous = statement.value.previous.map((id) => heads.find((head) => head.id === id)?.value);
  return { id: statement.id, value: statement.value, signers: new Set(), previous };
}

async function newStatement(
  store: Store,
  head: HeadView,
  policies: Policies,
  heads: readonly Member[],
  request: Pick<ProposeRequest, "expiresAt">,
  name: Name,
  manifest: Digest,
): Promise<Stored<Statement>> {
  const evidence = await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence");
  return makeStatement({
    ...afterHeads(policies, heads),
    ref: nameRef("trusted", name),
    manifest,
    issuedAt: formatTime(store.ports.clock()),
    ...(request.expiresAt === undefined ? {} : { expiresAt: request.expiresAt }),
    evidence: evidence.slice(0, LIMITS.evidencePerStatement),
  });
}

/** In this order: another name's, the quarantined one, the proposed one, the one that stands (to renew it). */
async function manifestToPropose(
  store: Store,
  head: HeadView,
  policies: Policies,
  { name, from }: ProposeRequest,
): Promise<Digest> {
  if (from !== undefined) {
    const verdict = await judge(store, head, from, policies);
    if (verdict.trusted && verdict.manifest !== undefined) return verdict.manifest;
    throw await refusal(head, from, verdict);
  }
  const quarantined = await head.readRef(nameRef("quarantined", name));
  if (quarantined !== undefined) return quarantined;
  const proposed = await head.readRef(nameRef("proposed", name));
  if (proposed !== undefined) return (await readStatement(store, proposed)).value.manifest;
  const heads = await readHeads(store, head, policies, name);
  const standing = new Set(
    heads.filter((entry) => entry.value.state === "trusted").map((entry) => entry.value.manifest),
  );
  const [only] = standing;
  if (only !== undefined && standing.size === 1) return only;
  throw new CofferError("NOT_QUARANTINED", `nothing is quarantined under ${name.text}`);
}

/** The open candidate of a name, judged as if it were promoted now. */
export async function readCandidate(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
): Promise<Candidate | undefined> {
  const id = await head.readRef(nameRef("proposed", name));
  if (id === undefined) return undefined;
  const dossier = new Dossier(store, head, policies, name);
  const member = await dossier.member(id);
  const now = (await dossier.chain()).map((entry) => entry.id).sort();
  const isVoid =
    now.length !== member.value.previous.length || now.some((entry, at) => entry !== member.value.previous[at]);
  return {
    name,
    statement: await dossier.statement(id),
    manifest: await dossier.manifest(member.value.manifest),
    verdict: await judgeCandidate(store, head, policies, name, member, dossier),
    evidence: await dossier.evidence(member.value.manifest),
    refusedBy: await refusedBy(dossier, policies, name, id),
    void: isVoid,
  };
}

async function refusedBy(dossier: Dossier, policies: Policies, name: Name, statement: Digest): Promise<Withdrawn> {
  const policy = newestPolicy(policies);
  const rule = ruleFor(policy, name);
  return rule === undefined ? new Map() : withdrawnFrom(policy, rule, statement, await dossier.refusals(statement));
}

/** @throws CofferError NOT_PROPOSED */
export async function needCandidate(store: Store, name: Name): Promise<Candidate> {
  const head = await store.head();
  const candidate = await readCandidate(store, head, await readPolicies(store, head), name);
  if (candidate === undefined) throw new CofferError("NOT_PROPOSED", `no promotion of ${name.text} is proposed`);
  return candidate;
}

/** Nobody is asked to sign what could not be promoted anyway. */
function refuseBlocked({ name, verdict }: Pick<Candidate, "name" | "verdict">, what: string): void {
  const blocking = verdict.reasons.find((reason) => !OPEN.includes(reason.code));
  if (blocking === undefined) return;
  throw new CofferError(blocking.code, `${name.text} cannot be ${what}: ${blocking.text}`);
}

function refuseVoid(candidate: Candidate): void {
  if (!candidate.void) return;
  const id = short(candidate.statement.id);
  throw new CofferError("CANDIDATE_VOID", `${candidate.name.text} moved after statement ${id} was proposed`);
}

/** Adds an approval made here. @param statement - the id that the person was shown. @returns the approver */
export async function approve(store: Store, name: Name, statement: Digest, signer: Signer): Promise<Label> {
  const { candidate, approver } = await approvable(store, name, statement, signer.publicKey);
  const armored = await signSshsig(signer, "coffer-statement", candidate.statement.bytes);
  await keep(store, candidate.statement, { publicKey: signer.publicKey, armored });
  return approver;
}

/**
 * Adds an approval made elsewhere: the output of `ssh-keygen -Y sign -n coffer-statement`.
 * @throws CofferError SIGNATURE_INVALID, NOT_ALLOWED, CANDIDATE_VOID; nothing is stored
 */
export async function approveWith(store: Store, name: Name, signature: Uint8Array): Promise<Label> {
  const { statement } = await needCandidate(store, name);
  const imported = importSshsig(signature, "coffer-statement", statement.bytes);
  const { approver } = await approvable(store, name, statement.id, imported.publicKey);
  await keep(store, statement, imported);
  return approver;
}

async function approvable(store: Store, name: Name, statement: Digest, key: PublicKey) {
  const head = await store.head();
  const policies = await readPolicies(store, head);
  const candidate = await readCandidate(store, head, policies, name);
  if (candidate?.statement.id !== statement) {
    throw new CofferError(
      "CANDIDATE_VOID",
      `statement ${short(statement)} is no longer what is proposed for ${name.text}`,
    );
  }
  refuseVoid(candidate);
  refuseBlocked(candidate, "approved");
  const approver = needApprover(policies, name, key);
  if (candidate.refusedBy.has(approver)) {
    throw new CofferError("REFUSED", `${approver} has refused statement ${short(statement)}, and that is for ever`);
  }
  return { candidate, approver };
}

async function keep(
  store: Store,
  object: SignedBytes,
  signature: { publicKey: PublicKey; armored: string },
): Promise<void> {
  await store.sweep();
  const batch = store.batch();
  await planSignature(store.files, batch, object, "coffer-statement", signature);
  await batch.flush();
}
