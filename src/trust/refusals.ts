// SPDX-License-Identifier: Apache-2.0
/**
 * Refusals: an approver takes the approval of one statement back, by any key and for ever. Layer: trust.
 * Only people who are asked for approvals can refuse; what anybody else signed changes nothing.
 */
import type { Digest } from "../base/digest.ts";
import type { Label } from "../base/names.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Policy, Rule } from "../objects/documents/policy.ts";
import type { Refusal } from "../objects/documents/refusal.ts";
import { type Approval, signedBy } from "./roles.ts";

interface SignedRefusal {
  readonly id: Digest;
  readonly value: Refusal;
  readonly signers: ReadonlySet<KeyId>;
}

/** Who refused, with the reason; of several reasons of one person that of the smallest id. */
export type Withdrawn = ReadonlyMap<Label, string>;

/** The approvers under `rule` who refused `statement`, in the order of their names. */
export function withdrawnFrom(
  policy: Policy,
  rule: Rule,
  statement: Digest,
  refusals: readonly SignedRefusal[],
): Withdrawn {
  const approvers = rule.approvers?.principals ?? [];
  const told = refusals
    .filter(({ value }) => value.statement === statement)
    .sort((a, b) => (a.id < b.id ? 1 : -1))
    .flatMap(({ value, signers }) => signedBy(policy, approvers, signers).map((who) => [who, value.reason] as const));
  return new Map([...new Map(told)].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** `refused by bob: wrong licence`; undefined if nobody did. */
export function withdrawnText(withdrawn: Withdrawn): string | undefined {
  if (withdrawn.size === 0) return undefined;
  return `refused by ${[...withdrawn].map(([who, reason]) => `${who}: ${reason}`).join("; by ")}`;
}

/** True if the approvers who did not refuse are enough, whether they have signed yet or not. */
export function othersSuffice(rule: Rule, { publisher, threshold }: Approval, withdrawn: Withdrawn): boolean {
  const { principals = [], notPublisher } = rule.approvers ?? {};
  const left = principals.filter((who) => !withdrawn.has(who) && !(notPublisher === true && who === publisher));
  return left.length >= threshold;
}
