// SPDX-License-Identifier: Apache-2.0
/** Whether a statement may stand in a chain at all (src/trust/authorised.ts): by the version that it names, and no other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { asRefPath } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { makePolicy } from "../../src/objects/documents/policy.ts";
import type { StatementBody } from "../../src/objects/documents/statement.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import { whyUnauthorised } from "../../src/trust/authorised.ts";
import { digestFor, keyIds, policyMembers } from "../support/trust-fixtures.ts";

const spec = {
  number: 1,
  root: digestFor("root"),
  principals: { alice: ["a1", "a2"], bob: ["b1"], carol: ["c1"] },
  rules: [
    {
      names: "acme/*@*",
      publishers: ["alice", "bob"],
      approvers: { principals: ["alice", "bob"], threshold: 2 },
      revokers: { principals: ["carol"], threshold: 1 },
    },
  ],
};
const policy = makePolicy(policyMembers(spec));
const policies = [policy];

function statement(more: Partial<StatementBody> = {}) {
  return makeStatement({
    ...{ root: policy.value.root, ref: asRefPath("refs/trusted/acme/tiny/v1"), policy: policy.id },
    ...{
      manifest: digestFor("m"),
      sequence: 1,
      previous: [],
      issuedAt: parseTime("2026-11-22T00:00:00Z"),
      evidence: [],
    },
    ...more,
  });
}

const why = (more: Partial<StatementBody>, signers: readonly string[], publishers: readonly string[]) =>
  whyUnauthorised(policies, { ...statement(more), signers: keyIds(signers) }, keyIds(publishers));

const revoked = { ref: asRefPath("refs/revoked/acme/tiny/v1") };

const CASES: readonly (readonly [
  string,
  Partial<StatementBody>,
  readonly string[],
  readonly string[],
  string | undefined,
])[] = [
  ["enough approvers and a publisher", {}, ["a1", "b1"], ["b1"], undefined],
  ["one approver", {}, ["a1"], ["b1"], "approvals-short"],
  ["one approver with two keys", {}, ["a1", "a2"], ["b1"], "approvals-short"],
  ["nobody's keys", {}, ["x", "y"], ["b1"], "approvals-short"],
  ["a revoker's key among the approvals", {}, ["a1", "c1"], ["b1"], "approvals-short"],
  ["no publisher", {}, ["a1", "b1"], [], "publisher-missing"],
  ["a publisher who is none", {}, ["a1", "b1"], ["c1"], "publisher-missing"],
  ["another root", { root: digestFor("other") }, ["a1", "b1"], ["b1"], "other-root"],
  ["a policy version that is not here", { policy: digestFor("later") }, ["a1", "b1"], ["b1"], "policy-unknown"],
  ["a name without a rule", { ref: asRefPath("refs/trusted/other/tiny/v1") }, ["a1", "b1"], ["b1"], "no-rule"],
  ["a revocation by its revoker", revoked, ["c1"], [], undefined],
  ["a revocation by approvers", revoked, ["a1", "b1"], ["b1"], "revokers-short"],
  ["a revocation by nobody", revoked, [], [], "revokers-short"],
  ["a revocation of another root", { ...revoked, root: digestFor("other") }, ["c1"], [], "other-root"],
  [
    "a revocation under a version that is not here, by today's revoker",
    { ...revoked, policy: digestFor("later") },
    ["c1"],
    [],
    undefined,
  ],
  ["the same by somebody else", { ...revoked, policy: digestFor("later") }, ["a1"], [], "revokers-short"],
];

for (const [what, more, signers, publishers, expected] of CASES) {
  test(`authorised: ${what}: ${expected ?? "yes"}`, () => assert.equal(why(more, signers, publishers), expected));
}

test("authorised: a name without a rule that revokes", () => {
  const more = { ref: asRefPath("refs/revoked/other/tiny/v1") };
  assert.equal(why(more, ["c1"], []), "revokers-short");
});

test("a chain in which any version has another root authorises nothing", () => {
  const stray = { ...policy, value: { ...policy.value, root: digestFor("other") } };
  const made = { ...statement(), signers: keyIds(["a1", "b1"]) };
  for (const chain of [
    [policy, stray],
    [stray, policy],
  ])
    assert.equal(whyUnauthorised(chain, made, keyIds(["b1"])), "other-root");
  assert.equal(whyUnauthorised([policy, policy], made, keyIds(["b1"])), undefined);
});
