// SPDX-License-Identifier: Apache-2.0
/** Rules that bundles have to keep to, switched off for one act: to see that each alone refuses what breaks it. Layer: test support. */
import assert from "node:assert/strict";
import { RULES } from "../../src/sync/rules.ts";

/** The rule that an error text names. */
export const ruleIn = (text: string): string | undefined => /\(rule ([a-z-]+)\)$/.exec(text)?.[1];

/** Runs `act` while rules are not asked. */
export async function without<T>(names: readonly string[], act: () => Promise<T>): Promise<T> {
  const taken = RULES.flatMap((table) =>
    names.flatMap((name) => {
      const rule = table[name];
      return rule === undefined ? [] : [{ table, name, rule, all: { ...table } }];
    }),
  );
  assert.equal(taken.length, names.length, `no such rule: ${names.join(", ")}`);
  for (const { table, name } of taken) delete table[name];
  try {
    return await act();
  } finally {
    // In their order again: which rule is asked first must not depend on which test ran before.
    for (const { table, all } of taken.toReversed()) {
      for (const name of Object.keys(table)) delete table[name];
      Object.assign(table, all);
    }
  }
}
