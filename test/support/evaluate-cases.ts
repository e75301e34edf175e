// SPDX-License-Identifier: Apache-2.0
/**
 * The cases of test/vectors/evaluate.json: how one is built from the base world, and what its answer must be. Shared by
 * the test that runs them and by the mutation run, which needs them in one warm process.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { evaluate } from "../../src/trust/evaluate.ts";
import type { Verdict } from "../../src/trust/verdict.ts";
import { build, type World } from "./trust-fixtures.ts";
import { loadVectors } from "./vectors.ts";

export interface EvaluateCase {
  readonly name: string;
  readonly set?: Readonly<Record<string, unknown>>;
  readonly remove?: readonly string[];
  readonly expect: readonly string[];
  readonly tells?: readonly string[];
  readonly silent?: readonly string[];
  readonly validUntil?: string;
}
type Changes = Pick<EvaluateCase, "set" | "remove">;

const file = new URL("../vectors/evaluate.json", import.meta.url);
export const baseWorld = (JSON.parse(readFileSync(file, "utf8")) as { base: World }).base;
export const evaluateCases = loadVectors<EvaluateCase>("evaluate");

type Tree = Record<string, unknown>;

/** The object that holds the member at `pointer`, and the member's key. */
function holder(root: unknown, pointer: string): [Tree, string] {
  const steps = pointer.split("/").slice(1);
  const key = steps.pop() ?? "";
  const parent = steps.reduce((at, step) => at[step] as Tree, root as Tree);
  assert.equal(typeof parent, "object", pointer);
  return [parent, key];
}

export function worldOf({ set = {}, remove = [] }: Changes): World {
  const world = structuredClone(baseWorld);
  for (const [pointer, value] of Object.entries(set)) {
    const [parent, key] = holder(world, pointer);
    parent[key] = value;
  }
  for (const pointer of remove) {
    const [parent, key] = holder(world, pointer);
    assert.ok(key in parent, pointer);
    delete parent[key];
  }
  return world;
}

export function judge(changes: Changes): Verdict {
  return evaluate(build(worldOf(changes)));
}

/** @throws AssertionError - the verdict is not the one that the case names */
export function checkCase({ expect, tells = [], silent = [], validUntil, ...changes }: EvaluateCase): void {
  const verdict = judge(changes);
  const codes = [...new Set(verdict.reasons.map((reason) => reason.code))];
  assert.deepEqual([codes[0], ...codes.sort()], [expect[0], ...[...expect].sort()]);
  assert.equal(verdict.trusted, expect.length === 0);
  const { established, notEstablished, findings } = verdict;
  const told = new Set([...established, ...notEstablished, ...findings].map((fact) => fact.id));
  for (const id of tells) assert.ok(told.has(id), `expected the fact ${id}, found ${[...told].join(", ")}`);
  for (const id of silent) assert.ok(!told.has(id), `expected no fact ${id}`);
  if (validUntil !== undefined) assert.equal(verdict.validUntil, validUntil);
}
