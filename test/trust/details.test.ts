// SPDX-License-Identifier: Apache-2.0
/** Small promises of the verdict that the cases of evaluate.json do not touch: each was a change that no test noticed. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { timeSeconds } from "../../src/base/time.ts";
import { distinct } from "../../src/trust/distinct.ts";
import { evaluate } from "../../src/trust/evaluate.ts";
import { setAsideReason } from "../../src/trust/heads.ts";
import { authorisedDenial } from "../../src/trust/revocation.ts";
import { approvalUnder, ruleFor } from "../../src/trust/roles.ts";
import { judgeTime } from "../../src/trust/validity.ts";
import { baseWorld, judge, worldOf } from "../support/evaluate-cases.ts";
import { build, digestFor } from "../support/trust-fixtures.ts";

const s1 = baseWorld.statements["s1"] ?? assert.fail("s1");
const revoked = { ...s1, state: "revoked", signedBy: ["rita-1"] };
const elsewhere = { ...revoked, name: "acme/other@main" };
const revokes = { manifests: ["m1"], blobs: [], statements: [] };
const codesOf = (set: Record<string, unknown>): string[] => judge({ set }).reasons.map(({ code }) => code);

test("distinct entries come sorted by their key, each once", () => {
  assert.deepEqual(
    distinct(["b", "c", "a", "b"], (entry) => entry),
    ["a", "b", "c"],
  );
});

describe("reasons", () => {
  const short = { "/candidate": true, "/statements/s1/signedBy": ["alice-1"] };

  test("a revocation is told before an approval that is missing", () => {
    const made = { ...elsewhere, revokes };
    const set = { ...short, "/statements/r1": made, "/revocations": [{ kind: "manifest", of: "m1", by: "r1" }] };
    assert.deepEqual(codesOf(set), ["REVOKED", "APPROVALS_SHORT"]);
  });

  test("and so is damage", () => {
    const made = { ...elsewhere, revokes, signedBy: [] };
    const set = { ...short, "/statements/r1": made, "/revocations": [{ kind: "manifest", of: "m1", by: "r1" }] };
    assert.deepEqual(codesOf(set), ["CORRUPT", "APPROVALS_SHORT"]);
  });

  test("signatures that stood once were lost; those of a candidate are awaited", () => {
    const lost = judge({ set: { "/statements/s1/signedBy": ["alice-1"] } }).reasons;
    assert.match(lost[0]?.text ?? "", /lacks approvers' signatures: it stands in the log, so they were lost$/);
    const older = { ...baseWorld.policies["p1"], number: 2 };
    const awaited = judge({ set: { ...short, "/policies/p2": older } }).reasons;
    assert.match(awaited[0]?.text ?? "", /lacks approvers' signatures$/);
  });

  test("evidence that grew too old is told as that", () => {
    const need = [{ kind: "inspection", maxAgeDays: 1 }];
    const [reason] = judge({ set: { "/policies/p1/rules/0/evidence": need } }).reasons;
    assert.deepEqual([reason?.code, reason?.text], ["EVIDENCE_MISSING", "evidence inspection is older than 1 days"]);
  });
});

test("a denial is shown by the statement that stands, not by one that waits", () => {
  for (const symbol of ["a", "b", "c", "d", "e", "f"]) {
    const waits = { ...revoked, sequence: 2, previous: ["lost"] };
    const set = { "/statements/s1": revoked, [`/statements/${symbol}`]: waits, "/waiting": [symbol] };
    const { statement, reasons } = judge({ set });
    assert.equal(statement, build(worldOf({ set })).chain[0]?.id);
    assert.equal(reasons.length, 2);
  }
});

test("promotions that diverge are told with the manifest that each of them means", () => {
  const other = { ...s1, manifest: "m2" };
  const input = build(worldOf({ set: { "/statements/s2": other, "/chain": ["s1", "s2"] } }));
  const short = (id: string): string => id.slice(0, 12);
  const each = [...input.chain].sort((a, b) => (a.id < b.id ? -1 : 1));
  const text = each.map(({ id, value }) => `${short(id)} for manifest ${short(value.manifest)}`).join(", ");
  const { reasons } = evaluate(input);
  assert.equal(reasons[0]?.text, `2 promotions of acme/tiny@main stand side by side: ${text}`);
});

test("a statement is authorised by the version that it names, not by the first", () => {
  const p1 = baseWorld.policies["p1"] ?? assert.fail("p1");
  const [rule, ...rules] = p1.rules;
  const strict = { ...rule, approvers: { principals: ["alice", "bob", "carol"], threshold: 3 } };
  const policies = { p1: { ...p1, rules: [strict, ...rules] }, p2: { ...p1, number: 2 } };
  assert.deepEqual(codesOf({ "/policies": policies, "/statements/s1/policy": "p2" }), []);
  assert.deepEqual(codesOf({ "/policies": policies }), ["CORRUPT"]);
});

test("what is established says until when, if there is an end", () => {
  const time = (set: Record<string, unknown>): string | undefined =>
    judge({ set }).established.find(({ id }) => id === "time")?.text;
  assert.equal(time({}), "issued 2026-11-22T00:00:00Z, with no end of its own");
  const end = "2027-01-01T00:00:00Z";
  assert.equal(time({ "/statements/s1/expiresAt": end }), `issued 2026-11-22T00:00:00Z, until ${end}`);
});

test("a clock that is exactly at its floor is not behind it", () => {
  const told = (clockFloor: string): boolean =>
    judge({ set: { "/clockFloor": clockFloor } }).notEstablished.some(({ id }) => id === "clock");
  assert.deepEqual([told(baseWorld.now), told("2026-12-01T00:00:01Z")], [false, true]);
});

test("evidence that others signed as well counts by the one who is asked for", () => {
  assert.equal(judge({ set: { "/evidence/e1/signedBy": ["mallory-1", "store"] } }).trusted, true);
});

test("of passes that hold equally long that of the smallest id is named", () => {
  for (const symbol of ["e2", "e3", "e4", "e5"]) {
    const set = { [`/evidence/${symbol}`]: { ...baseWorld.evidence["e1"], tool: "other" } };
    const input = build(worldOf({ set }));
    const [first] = [...input.evidence].sort((a, b) => (a.id < b.id ? -1 : 1));
    const told = evaluate(input).established.find(({ id }) => id === "evidence")?.text;
    assert.equal(told, `inspection passed: ${first?.value.tool.name} 1.0`);
  }
});

test("a deletion may join a revocation and a promotion that stood beside it", () => {
  const statements = {
    s1: revoked,
    s2: s1,
    d1: { ...revoked, state: "deleted", sequence: 2, previous: ["s1", "s2"] },
  };
  const [deletion] = build(worldOf({ set: { "/statements": statements, "/chain": ["d1"] } })).chain;
  assert.ok(deletion !== undefined);
  assert.equal(
    setAsideReason(deletion, () => 1, new Set()),
    undefined,
  );
});

test("a denial needs every version of the chain to be under its root", () => {
  const { policies, chain } = build(worldOf({ set: { "/statements/s1": revoked } }));
  const [denial] = chain;
  const [ours] = policies;
  assert.ok(denial !== undefined && ours !== undefined);
  const theirs = { id: digestFor("policy p9"), value: { ...ours.value, number: 2, root: digestFor("their-root") } };
  assert.equal(authorisedDenial([ours], denial), true);
  assert.equal(authorisedDenial([ours, theirs], denial), false);
});

test("for a denial under a version that is not known the newest alone answers", () => {
  const p1 = baseWorld.policies["p1"] ?? assert.fail("p1");
  const [rule, ...rules] = p1.rules;
  const bobAlone = { ...rule, revokers: { principals: ["bob"], threshold: 1 } };
  const policies = { p1, p2: { ...p1, number: 2, rules: [bobAlone, ...rules] } };
  const signed = (who: string): boolean => {
    const unknown = { ...revoked, policy: "p9", signedBy: [who] };
    const input = build(worldOf({ set: { "/policies": policies, "/statements/s1": unknown } }));
    return authorisedDenial(input.policies, input.chain[0] ?? assert.fail("a denial"));
  };
  assert.deepEqual([signed("rita-1"), signed("bob-1")], [false, true]);
});

test("a rule without approvers has a threshold that nobody meets", () => {
  const { policies, name } = build(worldOf({ remove: ["/policies/p1/rules/0/approvers"] }));
  const policy = policies[0]?.value ?? assert.fail("a policy");
  const rule = ruleFor(policy, name) ?? assert.fail("a rule");
  assert.equal(approvalUnder(policy, rule, new Set(), new Set(), new Set()).threshold, Number.POSITIVE_INFINITY);
});

describe("time", () => {
  const { policies, name, chain } = build(baseWorld);
  const rule = ruleFor(policies[0]?.value ?? assert.fail("a policy"), name) ?? assert.fail("a rule");
  const statement = chain[0]?.value ?? assert.fail("a head");
  const issuedS = timeSeconds(statement.issuedAt);
  const at = (nowS: number) => judgeTime(rule, statement, { nowS, laterS: nowS });

  test("one that is ahead says by how much", () => {
    assert.match(at(issuedS - 301).reasons[0]?.text ?? "", /, 301 s ahead of this machine's clock$/);
  });

  test("nothing is older than it is: one from the future has no age", () => {
    assert.deepEqual([at(issuedS - 200).ageS, at(issuedS).ageS, at(issuedS + 5).ageS], [0, 0, 5]);
  });

  test("the moment at which it begins is no turn any more once it is reached", () => {
    const [early, begun] = [at(issuedS - 301), at(issuedS - 300)];
    assert.deepEqual([early.reasons[0]?.code, early.turns], ["NOT_YET_VALID", [issuedS - 300]]);
    assert.deepEqual([begun.reasons, Math.min(...begun.turns)], [[], issuedS + 365 * 24 * 3600]);
  });
});
