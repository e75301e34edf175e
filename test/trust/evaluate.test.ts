// SPDX-License-Identifier: Apache-2.0
/** evaluate: the cases of evaluate.json, and what only this implementation promises about its answer. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { evaluate } from "../../src/trust/evaluate.ts";
// Types alone, which nothing loads: without this line the coverage gate takes the file for untested code.
import "../../src/trust/verdict.ts";
import type { Verdict } from "../../src/trust/verdict.ts";
import { build, type World } from "../support/trust-fixtures.ts";
import { loadVectors } from "../support/vectors.ts";

interface Case {
  readonly name: string;
  readonly set?: Readonly<Record<string, unknown>>;
  readonly remove?: readonly string[];
  readonly expect: readonly string[];
  readonly tells?: readonly string[];
  readonly silent?: readonly string[];
  readonly validUntil?: string;
}

const file = new URL("../vectors/evaluate.json", import.meta.url);
const base = (JSON.parse(readFileSync(file, "utf8")) as { base: World }).base;

type Tree = Record<string, unknown>;

/** The object that holds the member at `pointer`, and the member's key. */
function holder(root: unknown, pointer: string): [Tree, string] {
  const steps = pointer.split("/").slice(1);
  const key = steps.pop() ?? "";
  const parent = steps.reduce((at, step) => at[step] as Tree, root as Tree);
  assert.equal(typeof parent, "object", pointer);
  return [parent, key];
}

function worldOf({ set = {}, remove = [] }: Pick<Case, "set" | "remove">): World {
  const world = structuredClone(base);
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

function judge(changes: Pick<Case, "set" | "remove">): Verdict {
  return evaluate(build(worldOf(changes)));
}

function idsOf({ established, notEstablished, findings }: Verdict): Set<string> {
  return new Set([...established, ...notEstablished, ...findings].map((fact) => fact.id));
}

const cases = loadVectors<Case>("evaluate");

describe("evaluate", () => {
  for (const { name, expect, tells = [], silent = [], validUntil, ...changes } of cases) {
    test(name, () => {
      const verdict = judge(changes);
      const codes = [...new Set(verdict.reasons.map((reason) => reason.code))];
      assert.deepEqual([codes[0], ...codes.sort()], [expect[0], ...[...expect].sort()]);
      assert.equal(verdict.trusted, expect.length === 0);
      const told = idsOf(verdict);
      for (const id of tells) assert.ok(told.has(id), `expected the fact ${id}, found ${[...told].join(", ")}`);
      for (const id of silent) assert.ok(!told.has(id), `expected no fact ${id}`);
      if (validUntil !== undefined) assert.equal(verdict.validUntil, validUntil);
    });
  }

  test("the vectors refuse more often than they accept, and reach every code of a verdict", () => {
    const refusals = cases.filter(({ expect }) => expect.length > 0);
    assert.ok(refusals.length > cases.length / 2);
    assert.ok(cases.length >= 60);
    assert.deepEqual([...new Set(refusals.flatMap(({ expect }) => expect))].sort(), [
      "APPROVALS_SHORT",
      "CORRUPT",
      "DELETED",
      "DIVERGED",
      "EVIDENCE_FAILED",
      "EVIDENCE_MISSING",
      "EXPIRED",
      "FORMAT_REFUSED",
      "NOT_TRUSTED",
      "NOT_YET_VALID",
      "NO_RULE",
      "PUBLISHER_MISSING",
      "REFUSED",
      "REVOKED",
      "STALE",
    ]);
  });
});

describe("evaluate: what the answer carries", () => {
  test("who decided what", () => {
    const { id } = build(base).chain[0] ?? assert.fail("a head");
    const verdict = judge({});
    assert.deepEqual(
      [verdict.publisher, verdict.approvers, verdict.threshold, verdict.statement, verdict.policy.number],
      ["ci", ["alice", "bob"], 2, id, 1],
    );
    const text = verdict.established.map((fact) => fact.text).join("\n");
    assert.match(text, /published by ci, approved by alice, bob \(2 needed\)/);
    assert.match(text, /no revocation known as of log entry 7/);
  });

  test("a refusal establishes nothing, and says whom it counted", () => {
    const verdict = judge({ set: { "/candidate": true, "/statements/s1/signedBy": ["alice-1"] } });
    assert.deepEqual(verdict.established, []);
    assert.deepEqual([verdict.approvers, verdict.threshold], [["alice"], 2]);
    assert.match(verdict.reasons[0]?.text ?? "", /^1 of 2 approvals \(alice\)$/);
  });

  test("a rule without approvers has no threshold to show", () => {
    const verdict = judge({ remove: ["/policies/p1/rules/0/approvers"], set: { "/candidate": true } });
    assert.equal(verdict.threshold, undefined);
    assert.match(verdict.reasons[0]?.text ?? "", /^0 of \(no approvers\) approvals$/);
  });

  test("a revocation is told with its reason, a day is one day", () => {
    const revoked = {
      ...base.statements["s1"],
      state: "revoked",
      reason: "leaked training data",
      signedBy: ["rita-1"],
    };
    const denied = judge({ set: { "/statements/s1": revoked } });
    assert.match(denied.reasons[0]?.text ?? "", /^acme\/tiny@main was revoked at .*Z: leaked training data$/);
    const day = judge({ set: { "/now": "2026-11-23T12:00:00Z" } });
    assert.match(JSON.stringify(day.notEstablished), /\(1 day ago\)/);
  });

  test("a denial without a reason ends with its time", () => {
    const input = build(worldOf({ set: { "/statements/s1/state": "revoked", "/statements/s1/signedBy": ["rita-1"] } }));
    const bare = input.chain.map((member) => {
      const { reason: _, ...value } = member.value;
      return { ...member, value };
    });
    assert.match(evaluate({ ...input, chain: bare }).reasons[0]?.text ?? "", /at 2026-11-22T00:00:00Z$/);
  });

  test("what was ever promoted is told apart from what never was", () => {
    const revoked = { ...base.statements["s1"], state: "revoked", signedBy: ["rita-1"] };
    assert.equal(judge({}).everTrusted, true);
    assert.equal(judge({ set: { "/chain": [] } }).everTrusted, false);
    assert.equal(judge({ set: { "/candidate": true } }).everTrusted, false);
    assert.equal(judge({ set: { "/statements/s1": revoked } }).everTrusted, false);
    const after = { ...revoked, sequence: 2, previous: ["s1"] };
    assert.equal(judge({ set: { "/statements/s2": after, "/chain": ["s2"] } }).everTrusted, true);
  });

  test("one finding is told once, however many heads have it", () => {
    const second = { ...base.statements["s1"], signedBy: ["bob-1", "carol-1"] };
    const freshness = { warnDays: 5, denyDays: 90 };
    const verdict = judge({
      set: { "/statements/s2": second, "/chain": ["s1", "s2"], "/policies/p1/rules/0/freshness": freshness },
    });
    assert.equal(verdict.trusted, true);
    assert.deepEqual(verdict.findings, [{ id: "old", text: "issued 9 days ago; denied after 90 days" }]);
  });

  test("of two passes that hold equally long the same is named, whichever came first", () => {
    const input = build(worldOf({ set: { "/evidence/e2": { ...base.evidence["e1"], tool: "other" } } }));
    const reversed = { ...input, evidence: [...input.evidence].reverse() };
    assert.equal(input.evidence.length, 2);
    assert.deepEqual(evaluate(reversed), evaluate(input));
  });

  test("a clock without a date gets an answer, not an error", () => {
    const input = build(base);
    for (const floorS of [undefined, 24 * 3600]) {
      const memory = { known: true, ...(floorS === undefined ? {} : { floorS }) };
      const verdict = evaluate({ ...input, nowS: 0, memory });
      assert.deepEqual(
        verdict.reasons.map((reason) => reason.code),
        ["NOT_YET_VALID"],
      );
      assert.match(verdict.reasons[0]?.text ?? "", /s ahead of this machine's clock$/);
    }
    assert.equal(evaluate({ ...input, nowS: 8e9 }).reasons[0]?.code, "STALE");
  });

  test("no policy at all is a mistake of the caller", () => {
    assert.throws(() => evaluate({ ...build(base), policies: [] }), TypeError);
  });
});
