// SPDX-License-Identifier: Apache-2.0
/** What every bundle has to keep to: rules with names, one small function each. Layer: sync. The table is rules.ts. */
import { CofferError, type ErrorCode } from "../base/errors.ts";

/** Says what is wrong, as "expected …, found …"; undefined if nothing is. */
export type Rule<T> = (facts: T) => string | undefined;

/** @throws CofferError - of the first rule that is broken; its name ends the message, so that each refusal can be told */
export function enforce<T>(
  rules: Readonly<Record<string, Rule<T>>>,
  facts: T,
  what: string,
  code: ErrorCode = "BUNDLE_INVALID",
): void {
  for (const [name, rule] of Object.entries(rules)) {
    const fault = rule(facts);
    if (fault !== undefined) throw new CofferError(code, `${what}: ${fault} (rule ${name})`);
  }
}
