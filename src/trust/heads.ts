// SPDX-License-Identifier: Apache-2.0
/**
 * Heads of a name: its statements that are no ancestor of another, as with commits. A function of the set, never of the
 * order in which statements arrived (invariant 5). Layer: trust.
 */
import type { Digest } from "../base/digest.ts";
import type { Statement } from "../objects/documents/statement.ts";

/** `previous`: the statements named by `value.previous`, in that order; undefined where one is not here. */
export interface ChainMember {
  readonly id: Digest;
  readonly value: Statement;
  readonly previous: readonly (Statement | undefined)[];
}

/** Ids of the members that no other member descends from, sorted. */
export function headsOf(members: Iterable<{ readonly id: Digest; readonly previous: readonly Digest[] }>): Digest[] {
  const all = new Map([...members].map((member) => [member.id, member.previous]));
  const covered = new Set<Digest>();
  for (const previous of all.values()) for (const parent of previous) covered.add(parent);
  // Ancestry that leads through a statement outside the set is no concern: such a descendant is set aside (below).
  return [...all.keys()].filter((id) => !covered.has(id)).sort();
}

/** Why a statement cannot be judged yet: it is set aside until what is missing arrives. */
export type SetAside = "ancestor-missing" | "sequence-wrong" | "policy-unknown" | "policy-older";

/**
 * @param policyNumber - the number of a known policy version, undefined for an unknown one
 * @param asideIds - members of the same name already found to be set aside: their descendants are too
 */
export function setAsideReason(
  member: ChainMember,
  policyNumber: (id: Digest) => number | undefined,
  asideIds: ReadonlySet<Digest>,
): SetAside | undefined {
  const { value, previous } = member;
  const parents: Statement[] = [];
  for (const parent of previous) {
    if (parent === undefined || parent.name.text !== value.name.text) return "ancestor-missing";
    parents.push(parent);
  }
  if (value.previous.some((id) => asideIds.has(id))) return "ancestor-missing";
  const highest = parents.reduce((most, parent) => Math.max(most, parent.sequence), 0);
  if (value.sequence !== highest + 1) return "sequence-wrong";
  const number = policyNumber(value.policy);
  if (number === undefined) return "policy-unknown";
  for (const parent of parents) {
    const before = policyNumber(parent.policy);
    if (before === undefined) return "policy-unknown";
    if (before > number) return "policy-older";
  }
  return value.state === "deleted" && !parents.some((parent) => parent.state === "revoked")
    ? "ancestor-missing"
    : undefined;
}

/** Splits what a chain lists into statements that can be judged and those set aside, with the reason. */
export function sortChain<T extends ChainMember>(
  members: readonly T[],
  policyNumber: (id: Digest) => number | undefined,
): { readonly judged: readonly T[]; readonly aside: ReadonlyMap<T, SetAside> } {
  const aside = new Map<T, SetAside>();
  const asideIds = new Set<Digest>();
  // Ancestors first: a statement's sequence is above that of each of its ancestors.
  for (const member of [...members].sort((a, b) => a.value.sequence - b.value.sequence)) {
    const reason = setAsideReason(member, policyNumber, asideIds);
    if (reason === undefined) continue;
    aside.set(member, reason);
    asideIds.add(member.id);
  }
  return { judged: members.filter((member) => !aside.has(member)), aside };
}
