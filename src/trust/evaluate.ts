// SPDX-License-Identifier: Apache-2.0
/**
 * The one pure function that decides, for promote, resolve, serve and fsck alike.
 * Layer: trust. Format: docs/format.md, "The verdict". Holds invariants 3 and 5.
 *
 * Everything comes in as arguments, signatures already checked over stored bytes; nothing is read, no clock is asked.
 * Order and repetition of any set never matter; more approvals or passing evidence never turn yes into no.
 */
import type { Digest } from "../base/digest.ts";
import { short } from "../base/digest.ts";
import type { Label, Name } from "../base/names.ts";
import type { KeyId } from "../keys/public-key.ts";
import { type Manifest, WEIGHT_FORMATS } from "../objects/documents/manifest.ts";
import type { Policy, Rule } from "../objects/documents/policy.ts";
import type { Refusal } from "../objects/documents/refusal.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { distinct } from "./distinct.ts";
import { judgeEvidence, refusedFormats, type SignedEvidence, upstreamRevocations } from "./evidence.ts";
import { type ChainMember, sortChain } from "./heads.ts";
import { othersSuffice, type Withdrawn, withdrawnFrom, withdrawnText } from "./refusals.ts";
import { authorisedDenial, type ByteRevocation, byteRevocations } from "./revocation.ts";
import { type Approval, approvalUnder, ruleFor } from "./roles.ts";
import { type Clock, inDays, judgeTime, nearestTime } from "./validity.ts";
import type { Fact, Reason, Verdict } from "./verdict.ts";

/** A document with the keys whose signatures over it, in its own namespace, were checked. */
export interface Signed<T> {
  readonly id: Digest;
  readonly value: T;
  readonly signers: ReadonlySet<KeyId>;
}

/** A statement that a name's chain lists, or the candidate that is to become its only head. */
export interface Member extends Signed<Statement>, ChainMember {}

export interface EvaluateInput {
  readonly name: Name;
  /** The policy chain from version 1 on; the last is the newest. */
  readonly policies: readonly { readonly id: Digest; readonly value: Policy }[];
  /** Key of this store: signs its own inspections. */
  readonly storeKey: KeyId;
  /** The heads of the name's chain; for a promotion, the candidate alone. One that cannot be judged is damage. */
  readonly chain: readonly Member[];
  /** Statements of the name that were set aside when they arrived: only their denials count, until they can be judged. */
  readonly waiting: readonly Member[];
  /** True when `chain` is a candidate: lacking signatures are then awaited, not lost. */
  readonly candidate: boolean;
  readonly manifests: ReadonlyMap<Digest, Signed<Manifest>>;
  readonly evidence: readonly SignedEvidence[];
  /** Every revocation on record for the manifests, their blobs and the statements of `chain`. */
  readonly revocations: readonly ByteRevocation[];
  readonly refusals: readonly Signed<Refusal>[];
  readonly memory: {
    /** False: this machine has never seen the store before, so a rollback would not be noticed. */
    readonly known: boolean;
    /** Seconds; the clock cannot be earlier than this. */
    readonly floorS?: number;
  };
  readonly log: { readonly number: number; readonly id: Digest };
  /** Local time in seconds. */
  readonly nowS: number;
}

/**
 * @throws TypeError for an empty policy chain, and nothing else for well-formed arguments: a refusal is a verdict with
 *   reasons
 */
export function evaluate(given: EvaluateInput): Verdict {
  const input = asSets(given);
  const newest = input.policies.at(-1);
  if (newest === undefined) throw new TypeError("evaluate: expected at least one policy version");
  const rule = ruleFor(newest.value, input.name);
  const base = { ...verdictBase(input), policy: { number: newest.value.number, id: newest.id } };
  if (rule === undefined) {
    return refuse(base, [
      { code: "NO_RULE", text: `no rule of policy ${newest.value.number} covers ${input.name.text}` },
    ]);
  }
  const { judged, aside } = sortChain(membersOf(input), numbersOf(input));
  const asideFacts = [...aside].map(([member, reason]) => ({
    id: "set-aside",
    text: `statement ${short(member.id)} cannot be judged yet: ${reason}`,
  }));
  const lost = lostHeads(input, aside);
  const denial = denialOf(input, newest.value.root, judged);
  if (denial !== undefined) {
    return refuse({ ...base, notEstablished: asideFacts, ...denial.about }, [...denial.reasons, ...lost]);
  }
  if (lost.length > 0) return refuse({ ...base, notEstablished: asideFacts }, lost);
  // Every promotion that can be judged counts, whatever is then found against it: docs/decisions/0003-which-heads-count.md.
  const heads = judged.filter((member) => member.value.state === "trusted");
  const [shown, ...others] = heads.map((head) => judgeHead(input, newest.value, rule, head));
  if (shown === undefined) {
    const text = `nothing was ever promoted under ${input.name.text}`;
    return refuse({ ...base, notEstablished: asideFacts }, [{ code: "NOT_TRUSTED", text }]);
  }
  const manifests = new Set(heads.map((head) => head.value.manifest));
  if (manifests.size > 1) {
    const each = heads.map(({ id, value }) => `${short(id)} for manifest ${short(value.manifest)}`).join(", ");
    const text = `${heads.length} promotions of ${input.name.text} stand side by side: ${each}`;
    return refuse({ ...base, notEstablished: asideFacts }, [{ code: "DIVERGED", text }]);
  }
  return conclude(input, base, shown, others, asideFacts);
}

function membersOf({ chain, waiting }: EvaluateInput): readonly Member[] {
  return distinct([...chain, ...waiting], ({ id }) => id);
}

/**
 * A head was judged when it entered the chain: what it follows has been lost since. Found by id, for one that is listed
 * as waiting too is a head all the same.
 */
function lostHeads({ chain }: EvaluateInput, aside: ReadonlyMap<Member, unknown>): Reason[] {
  const asideIds = new Set([...aside.keys()].map(({ id }) => id));
  return chain
    .filter(({ id }) => asideIds.has(id))
    .map(({ id, value }) => ({
      code: "CORRUPT",
      text: `head ${short(id)} of ${value.name.text} follows what is not here`,
    }));
}

/** Sorted and each once, so that nothing below can depend on the order or repetition in which anything arrived. */
function asSets(given: EvaluateInput): EvaluateInput {
  return {
    ...given,
    chain: distinct(given.chain, ({ id }) => id),
    waiting: distinct(given.waiting, ({ id }) => id),
    evidence: distinct(given.evidence, ({ id }) => id),
    revocations: distinct(given.revocations, ({ kind, digest, statement }) => `${statement.id} ${kind} ${digest}`),
    refusals: distinct(given.refusals, ({ id }) => id),
  };
}

function clockOf({ nowS, memory }: EvaluateInput): Clock {
  return { nowS, laterS: Math.max(nowS, memory.floorS ?? nowS) };
}

function verdictBase(input: EvaluateInput) {
  const everTrusted =
    !input.candidate && input.chain.some(({ value }) => value.state === "trusted" || value.previous.length > 0);
  return {
    name: input.name.text,
    everTrusted,
    standing: standingOf(input.chain),
    approvers: [] as readonly Label[],
    established: [] as readonly Fact[],
    notEstablished: [] as readonly Fact[],
    findings: [] as readonly Fact[],
  };
}
/** A denial beside promotions is what stands. */
function standingOf(chain: readonly Member[]): Verdict["standing"] {
  const states = new Set(chain.map(({ value }) => value.state));
  for (const state of ["deleted", "revoked"] as const) if (states.has(state)) return state;
  if (states.size === 0) return "none";
  return new Set(chain.map(({ value }) => value.manifest)).size > 1 ? "several" : "trusted";
}
type Base = ReturnType<typeof verdictBase> & { readonly policy: Verdict["policy"] };

function refuse(base: Base & Partial<Verdict>, reasons: readonly Reason[]): Verdict {
  return { ...base, trusted: false, reasons };
}

function numbersOf(input: EvaluateInput): (id: Digest) => number | undefined {
  return (id) => input.policies.find((policy) => policy.id === id)?.value.number;
}

/** A standing revoked or deleted statement, or a set-aside one that its signers were entitled to make. */
function denialOf(
  input: EvaluateInput,
  root: Digest,
  judged: readonly Member[],
): { readonly reasons: readonly Reason[]; readonly about: Partial<Verdict> } | undefined {
  const denials = membersOf(input).filter((member) => member.value.state !== "trusted");
  if (denials.length === 0) return undefined;
  const first = denials.find((member) => judged.includes(member));
  return {
    reasons: denials.flatMap((member) => denialReasons(input, root, member, judged.includes(member))),
    about: first === undefined ? {} : { statement: first.id, manifest: first.value.manifest },
  };
}

function denialReasons(input: EvaluateInput, root: Digest, member: Member, standing: boolean): Reason[] {
  const foreign = bindingReasons(input, root, member);
  if (foreign.length > 0) return foreign;
  if (!authorisedDenial(input.policies, member)) return [lacking(input, member, "the revokers' signatures")];
  const { state, issuedAt, reason } = member.value;
  const because = reason === undefined ? "" : `: ${reason}`;
  const provisional = standing ? "" : " (provisional: what it follows is not here)";
  const text = `${input.name.text} was ${state} at ${issuedAt}${because}${provisional}`;
  return [{ code: state === "deleted" ? "DELETED" : "REVOKED", text }];
}

/** In the tree such a statement once had its signatures: they are lost. A candidate is still waiting for them. */
function lacking(input: EvaluateInput, member: Member, what: string): Reason {
  const code = input.candidate ? "APPROVALS_SHORT" : "CORRUPT";
  return { code, text: `statement ${short(member.id)} of ${input.name.text} lacks ${what}` };
}

interface Judgement {
  readonly head: Member;
  readonly approval: Approval;
  readonly reasons: readonly Reason[];
  readonly established: readonly Fact[];
  readonly findings: readonly Fact[];
  /** Revocations that bind nobody here. */
  readonly upstream: readonly Fact[];
  readonly ageS: number;
  /** Local times, in seconds, at which this answer may still change. */
  readonly turns: readonly number[];
}

/** Authorised under its own version, in force under the newest, within its time, nothing known against its bytes. */
function judgeHead(input: EvaluateInput, newest: Policy, rule: Rule, head: Member): Judgement {
  const manifest = input.manifests.get(head.value.manifest);
  const withdrawn = withdrawnFrom(newest, rule, head.id, input.refusals);
  const signers = manifest?.signers ?? new Set<KeyId>();
  const approval = approvalUnder(newest, rule, signers, head.signers, new Set(withdrawn.keys()));
  const reasons: Reason[] = [
    ...bindingReasons(input, newest.root, head),
    ...authorisationReasons(input, newest, head, signers),
    ...forceReasons(rule, approval, withdrawn, input.candidate),
  ];
  if (manifest === undefined) {
    reasons.unshift({ code: "CORRUPT", text: `manifest ${short(head.value.manifest)} is not here` });
  }
  const formats = refusedFormats(rule, manifest?.value.files.map((file) => file.format) ?? [], WEIGHT_FORMATS);
  if (formats.length > 0) {
    reasons.push({ code: "FORMAT_REFUSED", text: `rule ${rule.names.text} does not admit ${formats.join(", ")}` });
  }
  const clock = clockOf(input);
  const evidence = judgeEvidence(newest, rule, head.value.manifest, input.evidence, input.storeKey, clock.laterS);
  const revoked = byteRevocations(input.policies, input.name, head, manifest?.value, input.revocations);
  const time = judgeTime(rule, head.value, clock);
  return {
    head,
    approval,
    reasons: dedupe([...reasons, ...revoked.reasons, ...evidence.reasons, ...time.reasons]),
    established: [
      { id: "policy", text: `under policy ${newest.number}, rule ${rule.names.text}` },
      ...evidence.used.map((entry) => ({
        id: "evidence",
        text: `${entry.value.kind} passed: ${entry.value.tool.name} ${entry.value.tool.version}`,
      })),
    ],
    findings: [...refusalFindings(approval, withdrawn), ...revoked.findings, ...time.findings],
    upstream: upstreamRevocations(head.value.manifest, input.evidence),
    ageS: time.ageS,
    turns: [...time.turns, evidence.untilS],
  };
}

/** What nobody can mend by signing or waiting is told first. */
function finalFirst(reasons: readonly Reason[]): Reason[] {
  const isFinal = ({ code }: Reason): boolean => code === "CORRUPT" || code === "REVOKED";
  return [...reasons.filter(isFinal), ...reasons.filter((reason) => !isFinal(reason))];
}

function dedupe<T extends Reason | Fact>(told: readonly T[]): T[] {
  return [...new Map(told.map((entry) => [JSON.stringify(entry), entry])).values()];
}

/** What a statement binds must be what it is used for. */
function bindingReasons(input: EvaluateInput, root: Digest, member: Member): Reason[] {
  const where = `statement ${short(member.id)}`;
  const reasons: Reason[] = [];
  if (member.value.name.text !== input.name.text) {
    reasons.push({ code: "CORRUPT", text: `${where} is for ${member.value.name.text}, not ${input.name.text}` });
  }
  if (member.value.root !== root) reasons.push({ code: "CORRUPT", text: `${where} names another policy root` });
  return reasons;
}

/** Under the version that the statement names, with the keys of that version: this never changes. */
function authorisationReasons(
  input: EvaluateInput,
  newest: Policy,
  head: Member,
  manifestSigners: ReadonlySet<KeyId>,
): Reason[] {
  const policy = input.policies.find((entry) => entry.id === head.value.policy)?.value;
  const rule = policy && ruleFor(policy, head.value.name);
  if (policy === undefined || rule === undefined) return [lacking(input, head, "a rule that covers it")];
  const approval = approvalUnder(policy, rule, manifestSigners, head.signers, new Set());
  // What a candidate under the newest version still lacks is told once, by the reasons of that version.
  if (approval.met || (input.candidate && policy === newest)) return [];
  const what = approval.publisher === undefined ? "a publisher's signature" : "approvers' signatures";
  return [lacking(input, head, input.candidate ? what : `${what}: it stands in the log, so they were lost`)];
}

function forceReasons(rule: Rule, approval: Approval, withdrawn: Withdrawn, candidate: boolean): Reason[] {
  if (approval.met) return [];
  if (approval.publisher === undefined) {
    return [{ code: "PUBLISHER_MISSING", text: `no publisher of rule ${rule.names.text} signed the manifest` }];
  }
  const found = `${approval.approvers.length} of ${rule.approvers?.threshold ?? "(no approvers)"} approvals`;
  const who = approval.approvers.length > 0 ? ` (${approval.approvers.join(", ")})` : "";
  const refused = withdrawnText(withdrawn);
  if (refused === undefined) return [{ code: "APPROVALS_SHORT", text: `${found}${who}` }];
  // A candidate may still get the approvals of others; what stands had its chance.
  const code = candidate && othersSuffice(rule, approval, withdrawn) ? "APPROVALS_SHORT" : "REFUSED";
  return [{ code, text: `${found}${who}; ${refused}` }];
}

/** A refusal that the others outvote is still to be seen. */
function refusalFindings(approval: Approval, withdrawn: Withdrawn): Fact[] {
  const text = withdrawnText(withdrawn);
  return text === undefined || !approval.met ? [] : [{ id: "refused", text }];
}

function conclude(
  input: EvaluateInput,
  base: Base,
  shown: Judgement,
  others: readonly Judgement[],
  asideFacts: readonly Fact[],
): Verdict {
  const judgements = [shown, ...others];
  const reasons = finalFirst(dedupe(judgements.flatMap((judgement) => judgement.reasons)));
  const turn = Math.min(...judgements.flatMap((judgement) => judgement.turns));
  const about = {
    ...base,
    statement: shown.head.id,
    manifest: shown.head.value.manifest,
    approvers: shown.approval.approvers,
    ...(shown.approval.publisher === undefined ? {} : { publisher: shown.approval.publisher }),
    ...(Number.isFinite(shown.approval.threshold) ? { threshold: shown.approval.threshold } : {}),
    findings: dedupe(judgements.flatMap((judgement) => judgement.findings)),
    notEstablished: [...notEstablished(input, shown), ...asideFacts],
    ...(Number.isFinite(turn) ? { validUntil: nearestTime(turn) } : {}),
  };
  if (reasons.length > 0) return refuse(about, reasons);
  return { ...about, trusted: true, reasons: [], established: established(input, shown) };
}

function established(input: EvaluateInput, { head, approval, established, findings, upstream }: Judgement): Fact[] {
  const end = head.value.expiresAt === undefined ? "with no end of its own" : `until ${head.value.expiresAt}`;
  const others = upstream.length > 0 || findings.some(({ id }) => id === "revoked-elsewhere");
  const revocation = others ? "revocation that binds this name is" : "revocation";
  return [
    { id: "binding", text: `manifest ${short(head.value.manifest)} is bound to ${input.name.text}` },
    {
      id: "signatures",
      text: `published by ${approval.publisher}, approved by ${approval.approvers.join(", ")} (${approval.threshold} needed)`,
    },
    ...established,
    { id: "time", text: `issued ${head.value.issuedAt}, ${end}` },
    { id: "revocations", text: `no ${revocation} known as of log entry ${input.log.number} (${short(input.log.id)})` },
    ...(input.memory.known ? [{ id: "memory", text: "not behind what this machine has seen" }] : []),
  ];
}

function notEstablished(input: EvaluateInput, { ageS, upstream }: Judgement): Fact[] {
  const facts: Fact[] = [
    ...dedupe(upstream),
    { id: "revocation-age", text: `revocations made since it was issued (${inDays(ageS)} ago) may not have arrived` },
    { id: "blobs", text: "the blobs are hashed when they are read, not by this answer" },
  ];
  if (!input.memory.known) {
    facts.push({ id: "rollback", text: "this machine has no memory of the store: an older copy would not be noticed" });
  }
  if (input.memory.floorS !== undefined && input.nowS < input.memory.floorS) {
    facts.push({ id: "clock", text: `the clock is behind ${nearestTime(input.memory.floorS)}, which was seen signed` });
  }
  return facts;
}
