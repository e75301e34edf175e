// SPDX-License-Identifier: Apache-2.0
/**
 * `reject`: an approver takes the approval of one statement back, for ever. Layer: repo. Holds invariants 4 and 8.
 * The refusal names the statement that was shown; it is judged by `evaluate`, and nothing else moves.
 */
import { type Digest, parseDigest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Label, Name } from "../base/names.ts";
import { quote } from "../base/quote.ts";
import { nameRef, refusedRef, signersRef } from "../base/ref-path.ts";
import { formatTime } from "../base/time.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { importSshsig, signSshsig } from "../keys/sshsig.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import { makeRefusal, parseRefusal, type Refusal } from "../objects/documents/refusal.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { planSignature } from "../objects/signatures.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type EvaluateInput, evaluate } from "../trust/evaluate.ts";
import { type Withdrawn, withdrawnFrom } from "../trust/refusals.ts";
import type { Verdict } from "../trust/verdict.ts";
import { needOwner, needRule } from "./candidates.ts";
import {
  Dossier,
  newestPolicy,
  type Policies,
  readList,
  readManifest,
  readPolicies,
  readStatement,
} from "./dossier.ts";
import { withReserve } from "./reserve.ts";
import { gather, judge, refusal } from "./resolve.ts";
import type { Store } from "./store.ts";

export interface RejectRequest {
  readonly name: Name;
  /** 12 or more characters of the id of the candidate, or of a trusted statement that stands; else the only one. */
  readonly statement?: string;
}

/** What a refusal would be about, and what it would do. */
export interface RejectPlan {
  readonly name: Name;
  readonly statement: Stored<Statement>;
  readonly manifest: Stored<Manifest>;
  /** `proposed`: the candidate that is open; `trusted`: what stands. */
  readonly state: "proposed" | "trusted";
  /** The verdict on it as things are. */
  readonly verdict: Verdict;
  readonly refusedBy: Withdrawn;
  /** Who of the approvers would stop it alone: a candidate for good, a name that is trusted now at once. */
  readonly stoppers: readonly Label[];
}

/** @throws CofferError NO_RULE, NOT_PROPOSED, DIGEST_INVALID, DIGEST_AMBIGUOUS; as `resolve` if nothing is promoted */
export async function planReject(store: Store, request: RejectRequest): Promise<RejectPlan> {
  const head = await withReserve(store, () => store.head());
  return plan(store, head, await readPolicies(store, head), request);
}

async function plan(store: Store, head: HeadView, policies: Policies, request: RejectRequest): Promise<RejectPlan> {
  const { name } = request;
  const rule = needRule(policies, name);
  const target = await findTarget(store, head, policies, request);
  const dossier = new Dossier(store, head, policies, name);
  const chain = target.state === "proposed" ? [await dossier.member(target.id)] : await dossier.chain();
  const input = await gather(store, head, policies, name, dossier, chain, target.state === "proposed");
  const statement = await readStatement(store, target.id);
  const refusedBy = withdrawnFrom(newestPolicy(policies), rule, target.id, await dossier.refusals(target.id));
  const approvers = rule.approvers?.principals ?? [];
  return {
    name,
    statement,
    manifest: await readManifest(store, statement.value.manifest),
    state: target.state,
    verdict: evaluate(input),
    refusedBy,
    stoppers: approvers.filter((who) => !refusedBy.has(who) && wouldStop(input, newestKeys(policies, who), target.id)),
  };
}

function newestKeys(policies: Policies, who: Label): readonly PublicKey[] {
  return newestPolicy(policies).principals.get(who) ?? [];
}

/** True if a refusal by the owner of `keys` would end what is possible (a candidate) or what is (a trusted name). */
function wouldStop(input: EvaluateInput, keys: readonly PublicKey[], statement: Digest): boolean {
  const stopped = (given: EvaluateInput): boolean => {
    const verdict = evaluate(given);
    return input.candidate ? verdict.reasons.some(({ code }) => code === "REFUSED") : !verdict.trusted;
  };
  const value: Refusal = { statement, reason: "-", issuedAt: formatTime(input.nowS) };
  // Any id will do that no refusal on record has.
  const supposed = { id: statement, value, signers: new Set(keys.map((key) => key.keyId)) };
  return !stopped(input) && stopped({ ...input, refusals: [...input.refusals, supposed] });
}

interface Target {
  readonly id: Digest;
  readonly state: RejectPlan["state"];
}

/** The statement that is asked for; without one the open candidate, else what stands. */
async function findTarget(
  store: Store,
  head: HeadView,
  policies: Policies,
  { name, statement }: RejectRequest,
): Promise<Target> {
  if (statement !== undefined && !/^[0-9a-f]{12,64}$/.test(statement)) {
    throw new CofferError("DIGEST_INVALID", `expected 12 to 64 lower-case hex characters, found ${quote(statement)}`);
  }
  const proposed = await head.readRef(nameRef("proposed", name));
  const chain = await new Dossier(store, head, policies, name).chain();
  const standing = chain
    .filter((member) => member.value.state === "trusted")
    .map(({ id }): Target => ({ id, state: "trusted" }));
  const candidates: Target[] = proposed === undefined ? [] : [{ id: proposed, state: "proposed" }];
  if (statement === undefined && candidates.length === 0 && standing.length === 0) {
    throw await refusal(head, name, await judge(store, head, name, policies));
  }
  const matches =
    statement === undefined
      ? candidates.length > 0
        ? candidates
        : standing
      : [...candidates, ...standing].filter(({ id }) => id.startsWith(statement));
  const [target, ...others] = matches;
  if (target === undefined) {
    throw new CofferError(
      "NOT_PROPOSED",
      `statement ${short(statement ?? "")} is neither proposed nor what stands under ${name.text}`,
    );
  }
  if (others.length > 0) {
    const ids = matches.map(({ id }) => short(id)).join(", ");
    throw new CofferError(
      "DIGEST_AMBIGUOUS",
      `several promotions of ${name.text} stand (${ids}); say which with --statement`,
    );
  }
  return target;
}

/** The document to be signed for a plan. @throws CofferError DOCUMENT_INVALID - no reason, or one that is too long */
export function draftRefusal(store: Store, { statement }: RejectPlan, reason: string): Stored<Refusal> {
  return makeRefusal({ statement: statement.id, reason, issuedAt: formatTime(store.ports.clock()) });
}

/** Whose key this is among those who may refuse. @throws CofferError NO_RULE, NOT_ALLOWED */
export async function refuserOf(store: Store, name: Name, key: PublicKey): Promise<Label> {
  return ownerOf(await readPolicies(store, await store.head()), name, key);
}

function ownerOf(policies: Policies, name: Name, key: PublicKey): Label {
  const approvers = needRule(policies, name).approvers?.principals ?? [];
  return needOwner(newestPolicy(policies), approvers, key, `approvers of ${name.text}, who alone can refuse`);
}

export interface Rejected extends RejectPlan {
  readonly refuser: Label;
  readonly refusal: Digest;
  /** The log entry that did it; undefined if this person had refused the statement before. */
  readonly entry?: number;
  /** True if nobody's further approval can make up for it. */
  readonly stopped: boolean;
}

/**
 * Signs a refusal here and puts it on record.
 *
 * @param shown - what the person has read: its statement is what is refused, or nothing
 * @throws CofferError NOT_ALLOWED; REF_MOVED - something else is proposed or stands now
 */
export async function reject(store: Store, shown: RejectPlan, reason: string, signer: Signer): Promise<Rejected> {
  const document = draftRefusal(store, shown, reason);
  const armored = await signSshsig(signer, "coffer-refusal", document.bytes);
  return record(store, shown, document, { publicKey: signer.publicKey, armored });
}

/**
 * Puts on record a refusal that was signed elsewhere: the output of `ssh-keygen -Y sign -n coffer-refusal`.
 *
 * @param bytes - the document that was signed
 * @throws CofferError SIGNATURE_INVALID, DOCUMENT_INVALID, NOT_ALLOWED, NOT_PROPOSED; nothing is stored
 */
export async function rejectWith(
  store: Store,
  name: Name,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<Rejected> {
  const document = parseRefusal(bytes);
  const imported = importSshsig(signature, "coffer-refusal", document.bytes);
  const shown = await planReject(store, { name, statement: document.value.statement });
  return record(store, shown, document, imported);
}

interface DetachedSignature {
  readonly publicKey: PublicKey;
  readonly armored: string;
}

/** Denying does not wait for somebody to free space. */
function record(
  store: Store,
  shown: RejectPlan,
  document: Stored<Refusal>,
  signature: DetachedSignature,
): Promise<Rejected> {
  return withReserve(store, () => recordOnce(store, shown, document, signature));
}

async function recordOnce(
  store: Store,
  shown: RejectPlan,
  document: Stored<Refusal>,
  signature: DetachedSignature,
): Promise<Rejected> {
  const { name } = shown;
  const request = { name, statement: document.value.statement };
  let done: Omit<Rejected, "entry"> | undefined;
  const entry = await store.commit(async (head) => {
    const policies = await readPolicies(store, head);
    const refuser = ownerOf(policies, name, signature.publicKey);
    const planned = await plan(store, head, policies, request);
    refuseOther(shown, planned);
    const stopped =
      planned.stoppers.includes(refuser) || planned.verdict.reasons.some(({ code }) => code === "REFUSED");
    done = { ...planned, refuser, refusal: document.id, stopped };
    if (planned.refusedBy.has(refuser)) return undefined;
    const batch = store.batch();
    batch.addObject(document);
    await planSignature(store.files, batch, document, "coffer-refusal", signature);
    const lists = [
      { ref: refusedRef(shown.statement.id), more: document.id, what: "list of refusals" },
      // Two people may have signed the very same document.
      { ref: signersRef(document.id), more: parseDigest(signature.publicKey.keyId), what: "list of signers" },
    ];
    const moves = [];
    for (const { ref, more, what } of lists) {
      const list = makeList([...(await readList(store, await head.readRef(ref), what)), more]);
      batch.addObject(list);
      moves.push({ ref, to: list.id });
    }
    return { moves, batch, note: `reject ${name.text}` };
  });
  /* c8 ignore next: for the types alone; only a fault of this program leads here */
  if (done === undefined) throw new CofferError("INTERNAL", "a refusal without a plan");
  return entry === undefined ? done : { ...done, entry: entry.number };
}

/** To refuse what is proposed is another thing than to refuse what has become trusted meanwhile. */
function refuseOther(shown: RejectPlan, planned: RejectPlan): void {
  if (shown.statement.id === planned.statement.id && shown.state === planned.state) return;
  throw new CofferError("REF_MOVED", `what stands under ${planned.name.text} is no longer what was shown; look again`);
}
