// SPDX-License-Identifier: Apache-2.0
/** Why something that arrived was not taken, in words. Layer: repo. Pure. */
import { short } from "../../base/digest.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import type { Statement } from "../../objects/documents/statement.ts";
import type { whyUnauthorised } from "../../trust/authorised.ts";

type Why = NonNullable<ReturnType<typeof whyUnauthorised>>;

const REASONS: Readonly<Record<Why, readonly [ErrorCode, string]>> = {
  "other-root": ["FOREIGN_ROOT", "names another policy root than this store's"],
  "policy-unknown": ["UNSUPPORTED", "was made under a policy version that is not here"],
  "no-rule": ["NO_RULE", "is for a name that no rule of its policy version covers"],
  "publisher-missing": ["PUBLISHER_MISSING", "came without a publisher's signature over its manifest"],
  "approvals-short": ["APPROVALS_SHORT", "came without the signatures of enough approvers"],
  "revokers-short": ["SIGNATURE_INVALID", "came without the signatures of enough revokers"],
};

export function unauthorisedText(
  { id, value }: Stored<Statement>,
  why: Why,
): { readonly code: ErrorCode; readonly text: string } {
  const [code, text] = REASONS[why];
  return { code, text: `statement ${short(id)} (${value.state}) ${text}` };
}
