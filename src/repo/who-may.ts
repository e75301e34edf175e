// SPDX-License-Identifier: Apache-2.0
/** Whom the newest policy lets do what with a name, for who tells people what comes next. Layer: repo. */
import type { Label, Name } from "../base/names.ts";
import { ruleFor } from "../trust/roles.ts";
import { newestPolicy, type Policies } from "./dossier.ts";

/** `alone`: publish and approve, as one person does who promotes alone. */
export type Part = "publish" | "approve" | "alone" | "revoke";

/** @param publisher - of what is to be approved. @returns nobody where no rule covers the name */
export function whoMay(policies: Policies, name: Name, part: Part, publisher?: Label): readonly Label[] {
  const rule = ruleFor(newestPolicy(policies), name);
  const publishers = rule?.publishers ?? [];
  const approvers = rule?.approvers?.principals ?? [];
  switch (part) {
    case "publish":
      return publishers;
    case "approve":
      return rule?.approvers?.notPublisher === true ? approvers.filter((who) => who !== publisher) : approvers;
    case "alone":
      return publishers.filter((who) => approvers.includes(who));
    case "revoke":
      return rule?.revokers.principals ?? [];
  }
}
