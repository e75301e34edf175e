// SPDX-License-Identifier: Apache-2.0
/** evaluate: the cases of evaluate.json, and what only this implementation promises about its answer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseLabel } from "../../src/base/names.ts";
import { evaluate } from "../../src/trust/evaluate.ts";
// Types alone, which nothing loads: without this line the coverage gate takes the file for untested code.
import "../../src/trust/verdict.ts";
import { baseWorld, checkCase, evaluateCases, judge, worldOf } from "../support/evaluate-cases.ts";
import { build } from "../support/trust-fixtures.ts";

describe("evaluate", () => {
  for (const one of evaluateCases) test(one.name, () => checkCase(one));

  test("the vectors refuse more often than they accept, and reach every code of a verdict", () => {
    const refusals = evaluateCases.filter(({ expect }) => expect.length > 0);
    assert.ok(refusals.length > evaluateCases.length / 2);
    assert.ok(evaluateCases.length >= 60);
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
    const { id } = build(baseWorld).chain[0] ?? assert.fail("a head");
    const verdict = judge({});
    assert.deepEqual(
      [verdict.publisher, verdict.approvers, verdict.threshold, verdict.statement, verdict.policy.number],
      ["ci", ["alice", "bob"], 2, id, 1],
    );
    const text = verdict.established.map((fact) => fact.text).join("\n");
    assert.match(text, /published by ci, approved by alice, bob \(2 needed\)/);
    assert.match(text, /no revocation known as of log entry 7/);
  });

  test("what the upstream revoked is not established, whoever says so, and nobody is told that no revocation is known", () => {
    const text = (verdict: ReturnType<typeof judge>): string | undefined =>
      verdict.established.find(({ id }) => id === "revocations")?.text;
    const upstream = (verdict: ReturnType<typeof judge>): string[] =>
      verdict.notEstablished.filter(({ id }) => id === "upstream-revoked").map((fact) => fact.text);
    const fail = { ...baseWorld.evidence["e1"], kind: "upstream", result: "fail" };
    for (const signedBy of [["store"], ["mallory-1"]]) {
      const set = { "/evidence/u1": { ...fail, signedBy }, "/evidence/u2": { ...fail, signedBy } };
      const verdict = judge({ set });
      assert.equal(verdict.trusted, true);
      assert.deepEqual(upstream(verdict), ["upstream evidence says fail"]);
      assert.match(text(verdict) ?? "", /^no revocation that binds this name is known as of log entry 7 /);
      const denied = judge({ set: { ...set, "/statements/s1/signedBy": ["alice-1"] } });
      assert.equal(denied.trusted, false);
      assert.equal(upstream(denied).length, 1);
    }
    const input = build(worldOf({ set: { "/evidence/u1": fail } }));
    const finding = { code: parseLabel("upstream-revoked"), level: "fail" as const, text: "leaks" };
    const evidence = input.evidence.map((entry) => ({ ...entry, value: { ...entry.value, findings: [finding] } }));
    assert.deepEqual(upstream(evaluate({ ...input, evidence })), ["upstream evidence says fail: leaks"]);
    assert.match(text(evaluate(input)) ?? "", /^no revocation that binds this name is known/);
    for (const other of [{ result: "info" }, { kind: "scan" }, { manifest: "m2" }]) {
      const verdict = judge({ set: { "/evidence/u1": { ...fail, ...other } } });
      assert.deepEqual(upstream(verdict), []);
      assert.match(text(verdict) ?? "", /^no revocation known as of log entry 7 /);
    }
  });

  test("a revocation that does not reach the name is known all the same", () => {
    const other = { ...baseWorld.statements["s1"], state: "revoked", name: "other/tiny@main", signedBy: ["bob-1"] };
    const revokes = { manifests: ["m1"], blobs: [], statements: [] };
    const verdict = judge({
      set: {
        "/statements/r1": { ...other, revokes },
        "/revocations": [{ kind: "manifest", of: "m1", by: "r1" }],
      },
    });
    assert.deepEqual([verdict.trusted, verdict.findings.map(({ id }) => id)], [true, ["revoked-elsewhere"]]);
    assert.match(
      verdict.established.map((fact) => fact.text).join("\n"),
      /no revocation that binds this name is known/,
    );
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
      ...baseWorld.statements["s1"],
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

  test("what stands is told, and for a denial which statement and manifest it is", () => {
    const revoked = { ...baseWorld.statements["s1"], state: "revoked", signedBy: ["rita-1"] };
    const other = { ...baseWorld.statements["s1"], manifest: "m2" };
    const standing = (set: Record<string, unknown>): string => judge({ set }).standing;
    assert.equal(standing({}), "trusted");
    assert.equal(standing({ "/chain": [] }), "none");
    assert.equal(standing({ "/statements/s1": revoked }), "revoked");
    assert.equal(standing({ "/statements/s2": other, "/chain": ["s1", "s2"] }), "several");
    assert.equal(standing({ "/statements/s2": revoked, "/chain": ["s1", "s2"] }), "revoked");
    const deleted = { ...revoked, state: "deleted", sequence: 2, previous: ["s1"] };
    const after = { "/statements/s1": revoked, "/statements/s2": deleted };
    assert.equal(standing({ ...after, "/chain": ["s2"] }), "deleted");
    assert.equal(standing({ ...after, "/chain": ["s1", "s2"] }), "deleted");
    const [head] = build(worldOf({ set: { "/statements/s1": revoked } })).chain;
    const denied = judge({ set: { "/statements/s1": revoked } });
    assert.deepEqual([denied.statement, denied.manifest], [head?.id, head?.value.manifest]);
  });

  test("what is final is told first, and each reason once", () => {
    const { reasons } = judge({
      set: {
        "/now": "2027-11-24T12:00:00Z",
        "/absent": ["m1"],
        "/candidate": true,
        "/statements/s1/signedBy": ["alice-1"],
      },
    });
    const codes = reasons.map(({ code }) => code);
    assert.equal(codes[0], "CORRUPT");
    assert.ok(codes.includes("STALE") && codes.length > 2, codes.join(", "));
    assert.equal(new Set(reasons.map(({ text }) => text)).size, reasons.length);
  });

  test("what was ever promoted is told apart from what never was", () => {
    const revoked = { ...baseWorld.statements["s1"], state: "revoked", signedBy: ["rita-1"] };
    assert.equal(judge({}).everTrusted, true);
    assert.equal(judge({ set: { "/chain": [] } }).everTrusted, false);
    assert.equal(judge({ set: { "/candidate": true } }).everTrusted, false);
    assert.equal(judge({ set: { "/statements/s1": revoked } }).everTrusted, false);
    const after = { ...revoked, sequence: 2, previous: ["s1"] };
    assert.equal(judge({ set: { "/statements/s2": after, "/chain": ["s2"] } }).everTrusted, true);
  });

  test("one finding is told once, however many heads have it", () => {
    const second = { ...baseWorld.statements["s1"], signedBy: ["bob-1", "carol-1"] };
    const freshness = { warnDays: 5, denyDays: 90 };
    const verdict = judge({
      set: { "/statements/s2": second, "/chain": ["s1", "s2"], "/policies/p1/rules/0/freshness": freshness },
    });
    assert.equal(verdict.trusted, true);
    assert.deepEqual(verdict.findings, [{ id: "old", text: "issued 9 days ago; denied after 90 days" }]);
  });

  test("of two passes that hold equally long the same is named, whichever came first", () => {
    const input = build(worldOf({ set: { "/evidence/e2": { ...baseWorld.evidence["e1"], tool: "other" } } }));
    const reversed = { ...input, evidence: [...input.evidence].reverse() };
    assert.equal(input.evidence.length, 2);
    assert.deepEqual(evaluate(reversed), evaluate(input));
  });

  test("a clock without a date gets an answer, not an error", () => {
    const input = build(baseWorld);
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
    assert.throws(() => evaluate({ ...build(baseWorld), policies: [] }), TypeError);
  });
});
