// SPDX-License-Identifier: Apache-2.0
/**
 * Counting people, not keys: who of a role has signed. Layer: trust. Holds invariant 5: one principal counts once.
 */
import type { Label, Name } from "../base/names.ts";
import type { KeyId, PublicKey } from "../keys/public-key.ts";
import type { ApproverRole, Policy, Role, Rule } from "../objects/documents/policy.ts";

/** First matching rule wins; no match is deny. */
export function ruleFor(policy: Policy, name: Name): Rule | undefined {
  return policy.rules.find((rule) => rule.names.matches(name));
}

export function keysOf(policy: Policy, principals: Iterable<Label>): PublicKey[] {
  return [...principals].flatMap((principal) => policy.principals.get(principal) ?? []);
}

/** The principals of `among` that own one of `signers`, in the order given. */
export function signedBy(policy: Policy, among: readonly Label[], signers: ReadonlySet<KeyId>): Label[] {
  return among.filter((principal) => policy.principals.get(principal)?.some((key) => signers.has(key.keyId)) === true);
}

export function meets(policy: Policy, role: Role, signers: ReadonlySet<KeyId>): boolean {
  return signedBy(policy, role.principals, signers).length >= role.threshold;
}

/** What a trusted statement's signatures amount to under one rule of one policy version. */
export interface Approval {
  readonly publishers: readonly Label[];
  /** The publisher whose signature is used: one that leaves the most approvals standing. */
  readonly publisher: Label | undefined;
  /** Approvers who count, without that publisher if the rule says so. */
  readonly approvers: readonly Label[];
  readonly threshold: number;
  readonly met: boolean;
}

/**
 * @param withdrawn - principals whose approval does not count (refusals)
 */
export function approvalUnder(
  policy: Policy,
  rule: Rule,
  manifestSigners: ReadonlySet<KeyId>,
  statementSigners: ReadonlySet<KeyId>,
  withdrawn: ReadonlySet<Label>,
): Approval {
  const publishers = signedBy(policy, rule.publishers ?? [], manifestSigners);
  const role: ApproverRole | undefined = rule.approvers;
  const approvers = signedBy(policy, role?.principals ?? [], statementSigners).filter((who) => !withdrawn.has(who));
  const counted = (publisher: Label): Label[] =>
    role?.notPublisher === true ? approvers.filter((who) => who !== publisher) : approvers;
  // Any publisher will do: the one who did not approve as well costs no approval.
  const publisher = publishers.find((who) => counted(who).length === approvers.length) ?? publishers[0];
  const standing = publisher === undefined ? approvers : counted(publisher);
  const threshold = role?.threshold ?? Number.POSITIVE_INFINITY;
  return {
    publishers,
    publisher,
    approvers: standing,
    threshold,
    met: publisher !== undefined && standing.length >= threshold,
  };
}
