// SPDX-License-Identifier: Apache-2.0
/** Counting people: who of a role has signed, and which publisher costs the fewest approvals. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseLabel, parseName } from "../../src/base/names.ts";
import { makePolicy, type Policy, type Rule } from "../../src/objects/documents/policy.ts";
import { approvalUnder, keysOf, meets, ruleFor, signedBy } from "../../src/trust/roles.ts";
import { keyFor, keyIds, policyMembers } from "../support/trust-fixtures.ts";

const PEOPLE = ["alice", "bob", "carol", "dave"];
const labels = (names: readonly string[]) => names.map((name) => parseLabel(name));

function policyWith(approvers: Record<string, unknown>, publishers = PEOPLE): { policy: Policy; rule: Rule } {
  const revokers = { principals: ["alice", "bob"], threshold: 2 };
  const rules = [{ names: "*/*@*", publishers, approvers, revokers }];
  const principals = Object.fromEntries(PEOPLE.map((name) => [name, [`${name}-1`, `${name}-2`]]));
  const policy = makePolicy(policyMembers({ number: 1, root: "our-root", principals, rules })).value;
  const rule = ruleFor(policy, parseName("acme/tiny"));
  assert.ok(rule !== undefined);
  return { policy, rule };
}

describe("roles", () => {
  const { policy, rule } = policyWith({ principals: PEOPLE, threshold: 2 });

  test("a principal signs with any key and counts once, in the order of the role", () => {
    const among = labels(["carol", "alice"]);
    assert.deepEqual(signedBy(policy, among, keyIds(["alice-2", "alice-1", "carol-2", "bob-1"])), among);
    assert.deepEqual(signedBy(policy, among, keyIds(["bob-1", "mallory-1"])), []);
    assert.deepEqual(signedBy(policy, labels(["mallory"]), keyIds(["mallory-1"])), []);
  });

  test("a threshold counts people", () => {
    assert.equal(meets(policy, rule.revokers, keyIds(["alice-1", "alice-2"])), false);
    assert.equal(meets(policy, rule.revokers, keyIds(["alice-1", "carol-1"])), false);
    assert.equal(meets(policy, rule.revokers, keyIds(["alice-2", "bob-1"])), true);
  });

  test("keys of people, none of a stranger", () => {
    const found = keysOf(policy, labels(["bob", "mallory"])).map((key) => key.keyId);
    assert.deepEqual(new Set(found), keyIds(["bob-1", "bob-2"]));
    assert.deepEqual(keyFor("bob-1"), keyFor("bob-1"));
  });
});

test("an approval is met exactly if some publisher leaves enough approvers standing", () => {
  const people = fc.subarray(PEOPLE);
  const some = fc.subarray(PEOPLE, { minLength: 1 });
  fc.assert(
    fc.property(people, some, people, people, people, fc.boolean(), fc.nat({ max: 3 }), (...given) => {
      const [publishers, approvers, published, approved, withdrawn, notPublisher, over] = given;
      const threshold = 1 + (over % approvers.length);
      const { policy, rule } = policyWith({ principals: approvers, threshold, notPublisher }, publishers);
      const keysFor = (names: readonly string[]) => keyIds(names.map((name) => `${name}-2`));
      const approval = approvalUnder(policy, rule, keysFor(published), keysFor(approved), new Set(labels(withdrawn)));
      const counted = approvers.filter((who) => approved.includes(who) && !withdrawn.includes(who));
      const choices = publishers.filter((who) => published.includes(who));
      const left = choices.map((who) => counted.filter((other) => !notPublisher || other !== who));
      assert.equal(
        approval.met,
        left.some((standing) => standing.length >= threshold),
      );
      assert.equal(approval.publisher !== undefined, choices.length > 0);
      if (choices.length > 0) assert.equal(approval.approvers.length, Math.max(...left.map((who) => who.length)));
    }),
  );
});
