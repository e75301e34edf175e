// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a statement may stand in a name's chain at all: it has the signatures that the policy version which it names
 * asks for, with the keys of that version. That never changes. Layer: trust. Whether it is good now: evaluate.ts.
 */
import type { Digest } from "../base/digest.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Policy } from "../objects/documents/policy.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { authorisedDenial } from "./revocation.ts";
import { approvalUnder, ruleFor } from "./roles.ts";

interface SignedStatement {
  readonly id: Digest;
  readonly value: Statement;
  readonly signers: ReadonlySet<KeyId>;
}
type Policies = readonly { readonly id: Digest; readonly value: Policy }[];

/**
 * Why a statement is not authorised; undefined if it is.
 *
 * @param manifestSigners - keys whose signatures over its manifest, as publishers, were checked
 */
export function whyUnauthorised(
  policies: Policies,
  statement: SignedStatement,
  manifestSigners: ReadonlySet<KeyId>,
):
  | "other-root"
  | "policy-unknown"
  | "no-rule"
  | "publisher-missing"
  | "approvals-short"
  | "revokers-short"
  | undefined {
  const { value } = statement;
  if (policies.some((policy) => policy.value.root !== value.root)) return "other-root";
  if (value.state !== "trusted") return authorisedDenial(policies, statement) ? undefined : "revokers-short";
  const policy = policies.find(({ id }) => id === value.policy)?.value;
  if (policy === undefined) return "policy-unknown";
  const rule = ruleFor(policy, value.name);
  if (rule === undefined) return "no-rule";
  const { met, publisher } = approvalUnder(policy, rule, manifestSigners, statement.signers, new Set());
  if (met) return undefined;
  return publisher === undefined ? "publisher-missing" : "approvals-short";
}
