// SPDX-License-Identifier: Apache-2.0
/**
 * Every rule that a bundle has to keep to, in the order in which a reader comes to them: one table for docs/format.md, and
 * for the tests that switch one rule off to see that it alone refuses what breaks it. Layer: sync.
 */
import { INDEX_RULES } from "./index-rules.ts";
import type { Rule } from "./rule.ts";
import { TAR_RULES } from "./tar.ts";
import {
  AFTER_RULES,
  END_RULES,
  FIRST_ITEM_RULES,
  HASH_RULES,
  INDEX_SIGNATURE_RULES,
  ITEM_RULES,
  NOTE_MEMBER_RULES,
  NOTE_RULES,
  OPENING_RULES,
  PADDING_RULES,
  SIGNATURE_RULES,
} from "./volume-rules.ts";

/** The tables that readers go by. `never`: what a rule is told depends on its table. */
export const RULES: readonly Record<string, Rule<never>>[] = [
  TAR_RULES,
  OPENING_RULES,
  SIGNATURE_RULES,
  INDEX_SIGNATURE_RULES,
  FIRST_ITEM_RULES,
  ITEM_RULES,
  PADDING_RULES,
  NOTE_MEMBER_RULES,
  NOTE_RULES,
  END_RULES,
  HASH_RULES,
  AFTER_RULES,
  INDEX_RULES,
];
