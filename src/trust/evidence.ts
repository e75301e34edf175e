// SPDX-License-Identifier: Apache-2.0
/** What a rule asks of evidence, and whether what is known meets it. Layer: trust. */
import type { Digest } from "../base/digest.ts";
import { timeSeconds } from "../base/time.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Evidence } from "../objects/documents/evidence.ts";
import type { EvidenceRequirement, Policy, Rule } from "../objects/documents/policy.ts";
import { keysOf } from "./roles.ts";
import { DAY_S } from "./validity.ts";
import type { Fact, Reason } from "./verdict.ts";

/** Evidence with the keys whose signatures over it were checked. */
export interface SignedEvidence {
  readonly id: Digest;
  readonly value: Evidence;
  readonly signers: ReadonlySet<KeyId>;
}

interface Outcome {
  readonly reason?: Reason;
  /** When a pass that counts now grows too old, in seconds; Infinity if never. */
  readonly untilS: number;
  readonly by?: SignedEvidence;
}

/**
 * @param nowS - the later of local time and clock floor
 * @returns the reasons why the rule is not met, the evidence that meets it, and until when
 */
export function judgeEvidence(
  policy: Policy,
  rule: Rule,
  manifest: Digest,
  evidence: readonly SignedEvidence[],
  storeKey: KeyId,
  nowS: number,
): { readonly reasons: readonly Reason[]; readonly used: readonly SignedEvidence[]; readonly untilS: number } {
  const about = evidence.filter((entry) => entry.value.manifest === manifest);
  const outcomes = (rule.evidence ?? []).map((need) => judgeOne(policy, need, about, storeKey, nowS));
  return {
    reasons: outcomes.flatMap((outcome) => outcome.reason ?? []),
    used: outcomes.flatMap((outcome) => outcome.by ?? []),
    untilS: Math.min(Number.POSITIVE_INFINITY, ...outcomes.map((outcome) => outcome.untilS)),
  };
}

function judgeOne(
  policy: Policy,
  need: EvidenceRequirement,
  about: readonly SignedEvidence[],
  storeKey: KeyId,
  nowS: number,
): Outcome {
  const allowed = new Set(
    need.signers === undefined ? [storeKey] : keysOf(policy, need.signers).map((key) => key.keyId),
  );
  const known = about.filter(
    ({ value, signers }) => value.kind === need.kind && [...signers].some((signer) => allowed.has(signer)),
  );
  const standing = known.filter((pass) => pass.value.result === "pass" && !known.some((fail) => blocks(fail, pass)));
  let best: Outcome | undefined;
  for (const pass of standing) {
    const untilS =
      need.maxAgeDays === undefined
        ? Number.POSITIVE_INFINITY
        : timeSeconds(pass.value.issuedAt) + need.maxAgeDays * DAY_S;
    if (untilS > nowS && (best === undefined || untilS > best.untilS)) best = { untilS, by: pass };
  }
  return best ?? { reason: explain(need, known, standing), untilS: Number.POSITIVE_INFINITY };
}

/** A fail of the same tool that is not older than the pass. */
function blocks(fail: SignedEvidence, pass: SignedEvidence): boolean {
  return (
    fail.value.result === "fail" &&
    fail.value.tool.name === pass.value.tool.name &&
    timeSeconds(fail.value.issuedAt) >= timeSeconds(pass.value.issuedAt)
  );
}

function explain(
  need: EvidenceRequirement,
  known: readonly SignedEvidence[],
  standing: readonly SignedEvidence[],
): Reason {
  const who = need.signers === undefined ? "this store" : need.signers.join(", ");
  if (standing.length > 0) {
    return { code: "EVIDENCE_MISSING", text: `evidence ${need.kind} is older than ${need.maxAgeDays} days` };
  }
  if (known.some((entry) => entry.value.result === "fail")) {
    return { code: "EVIDENCE_FAILED", text: `evidence ${need.kind} by ${who} says fail` };
  }
  return { code: "EVIDENCE_MISSING", text: `expected a pass of ${need.kind} by ${who}, found none` };
}

/** Kind of evidence that says what is thought of a manifest under the policy root that it came from. */
const UPSTREAM: string = "upstream";

/** What came from under another root and was revoked there: it binds nobody here, and nobody may think that there is nothing. */
export function upstreamRevocations(manifest: Digest, evidence: readonly SignedEvidence[]): Fact[] {
  return evidence
    .filter(({ value }) => value.manifest === manifest && value.kind === UPSTREAM && value.result === "fail")
    .map(({ value }) => ({
      id: "upstream-revoked",
      text: ["upstream evidence says fail", ...value.findings.map(({ text }) => text)].join(": "),
    }));
}

/** The formats of weights that a rule does not admit. */
export function refusedFormats(rule: Rule, formats: Iterable<string>, weights: ReadonlySet<string>): string[] {
  const admitted = rule.formats;
  if (admitted === undefined) return [];
  const found = new Set(formats);
  return [...found].filter((format) => weights.has(format) && !admitted.some((entry) => entry === format)).sort();
}
