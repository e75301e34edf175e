// SPDX-License-Identifier: Apache-2.0
/** Refusals taken alone: whose reason is told, in which order, and whether the others are enough. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLabel } from "../../src/base/names.ts";
import { othersSuffice, withdrawnFrom, withdrawnText } from "../../src/trust/refusals.ts";
import { ruleFor } from "../../src/trust/roles.ts";
import { baseWorld, worldOf } from "../support/evaluate-cases.ts";
import { build } from "../support/trust-fixtures.ts";

const NAMES = ["alice", "bob", "carol"];
const refusals = {
  r1: { statement: "s1", signedBy: ["carol-1", "alice-1"] },
  r2: { statement: "s1", signedBy: ["bob-1", "mallory-1"] },
  r3: { statement: "s1", signedBy: ["alice-2"] },
  r4: { statement: "other", signedBy: ["bob-1"] },
};

function given(set: Record<string, unknown> = {}, remove: string[] = []) {
  const input = build(worldOf({ set: { "/refusals": refusals, ...set }, remove }));
  const policy = input.policies[0]?.value ?? assert.fail("a policy");
  const rule = ruleFor(policy, input.name) ?? assert.fail("a rule");
  const head = input.chain[0] ?? assert.fail("a head");
  return { input, policy, rule, head };
}

test("whoever refused is told once, in the order of names, with the reason of the smallest id", () => {
  const { input, policy, rule, head } = given();
  const smallest = [...input.refusals]
    .filter(({ value }) => ["r1", "r3"].includes(value.reason))
    .sort((a, b) => (a.id < b.id ? -1 : 1))[0];
  for (const order of [input.refusals, [...input.refusals].reverse()]) {
    const withdrawn = withdrawnFrom(policy, rule, head.id, order);
    assert.deepEqual(
      [...withdrawn],
      [
        ["alice", smallest?.value.reason],
        ["bob", "r2"],
        ["carol", "r1"],
      ],
    );
    assert.equal(withdrawnText(withdrawn), `refused by alice: ${smallest?.value.reason}; by bob: r2; by carol: r1`);
  }
  assert.equal(withdrawnText(new Map()), undefined);
});

test("of several reasons of one person that of the smallest id is told, whichever it is", () => {
  const texts = new Set<string>();
  for (let at = 0; at < 8; at += 1) {
    const two = { [`a${at}`]: refusals.r3, [`b${at}`]: refusals.r3 };
    const { input, policy, rule, head } = given({ "/refusals": two });
    const [first] = [...input.refusals].sort((a, b) => (a.id < b.id ? -1 : 1));
    const told = withdrawnFrom(policy, rule, head.id, input.refusals).get(parseLabel("alice"));
    assert.equal(told, first?.value.reason);
    texts.add(told?.slice(0, 1) ?? "");
  }
  assert.equal(texts.size, 2, "both orders were met");
});

test("under a rule without approvers nobody has anything to refuse, and no others are enough", () => {
  const { input, policy, rule, head } = given({}, ["/policies/p1/rules/0/approvers"]);
  assert.deepEqual([...withdrawnFrom(policy, rule, head.id, input.refusals)], []);
  assert.equal(othersSuffice(rule, approvalOf({ publisher: undefined, threshold: 1 }), new Map()), false);
});

function approvalOf(some: { publisher: string | undefined; threshold: number }) {
  const publisher = some.publisher === undefined ? undefined : parseLabel(some.publisher);
  return { publishers: [], approvers: [], met: false, threshold: some.threshold, publisher };
}

test("others are enough if so many are left, without the publisher only where the rule says so", () => {
  const pointer = "/policies/p1/rules/0/approvers/notPublisher";
  const [plain, separate] = [given().rule, given({ [pointer]: true }).rule];
  const none = new Map();
  const bob = new Map([[parseLabel("bob"), "no"]]);
  const alice = approvalOf({ publisher: "alice", threshold: 2 });
  assert.deepEqual(plain.approvers?.principals, NAMES);
  assert.equal(othersSuffice(plain, alice, none), true);
  assert.equal(othersSuffice(plain, alice, bob), true);
  assert.equal(othersSuffice(separate, alice, none), true);
  assert.equal(othersSuffice(separate, alice, bob), false);
  assert.equal(othersSuffice(separate, approvalOf({ publisher: undefined, threshold: 2 }), bob), true);
  assert.equal(othersSuffice(plain, approvalOf({ publisher: "alice", threshold: 3 }), bob), false);
  assert.equal(baseWorld.refusals["r1"], undefined);
});
