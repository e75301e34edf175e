// SPDX-License-Identifier: Apache-2.0
/** First policies: from a team and from what people write; what is wrong is refused before there is a store. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS } from "../../src/base/limits.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import {
  policyFromFile,
  policyWarnings,
  principalName,
  type TeamMember,
  teamPolicy,
} from "../../src/repo/policy-draft.ts";
import { seededRandom } from "../support/transcripts.ts";

const NOW_S = Date.parse("2026-11-22T12:00:00Z") / 1000;
const random = seededRandom("policy-draft");
const member = (name: string): TeamMember => ({
  name: principalName(name),
  keys: [generatePrivateKey(random, name).publicKey],
});
const draft = (members: unknown) => policyFromFile(Buffer.from(JSON.stringify(members)), random, NOW_S);

test("a team that names somebody twice, or nobody, or asks for more than there are, is refused", () => {
  for (const [team, threshold, says] of [
    [[member("alice"), member("bob"), member("alice")], 2, /alice is named twice/],
    [[], 1, /expected at least one person/],
    [[member("alice")], 2, /expected 1 to 1/],
  ] as const)
    assert.throws(() => teamPolicy(team, threshold, false, random, NOW_S), { code: "POLICY_INVALID", message: says });
});

test("a key that is given twice stands once; the publisher counts unless that is asked for", () => {
  const alice = member("alice");
  const twice = { ...alice, keys: [...alice.keys, ...alice.keys] };
  for (const separate of [true, false]) {
    const { value } = teamPolicy([twice, member("bob")], 1, separate, random, NOW_S);
    assert.equal(value.principals.get(alice.name)?.length, 1);
    assert.deepEqual(value.rules[0]?.approvers?.notPublisher, separate ? true : undefined);
  }
});

test("a file that is no policy is refused, with the member that is wrong", () => {
  for (const [members, code, says] of [
    [[], "DOCUMENT_INVALID", /policy: expected an object/],
    ["text", "DOCUMENT_INVALID", /policy: expected an object/],
    [{ principals: { alice: null } }, "DOCUMENT_INVALID", /policy\.principals\.alice: expected no null/],
    [{ rules: [{ names: null }] }, "DOCUMENT_INVALID", /policy\.rules\[0\]\.names: expected no null/],
    [{ principals: { alice: { keys: [1, { key: 2 }] } } }, "DOCUMENT_INVALID", /policy\.principals\.alice\.keys/],
    [{ rootRole: { principals: ["bob", 1] } }, "DOCUMENT_INVALID", /policy/],
  ] as const)
    assert.throws(() => draft(members), { code, message: says }, JSON.stringify(members));
  assert.throws(() => policyFromFile(new Uint8Array(LIMITS.policyBytes + 1), random, NOW_S), {
    code: "LIMIT_EXCEEDED",
    message: /expected at most \d+ bytes, found \d+/,
  });
});

test("sets may be written in any order, keys too", () => {
  const entries = ["alice", "alice", "carol"].flatMap((name) =>
    member(name).keys.map((key) => ({ key: key.text, status: "active" })),
  );
  const written = (keys: readonly object[], names: readonly string[], formats: readonly string[]) => ({
    ...{ number: 1, root: "0".repeat(64), issuedAt: "2026-11-22T12:00:00Z" },
    principals: { alice: { keys }, carol: { keys: entries.slice(2) } },
    rootRole: { principals: names, threshold: 1 },
    rules: [{ names: "*/*@*", revokers: { principals: names, threshold: 1 }, formats }],
  });
  const keys = entries.slice(0, 2);
  const one = draft(written(keys, ["alice", "carol"], ["gguf", "safetensors"]));
  const two = draft(written(keys.toReversed(), ["carol", "alice"], ["safetensors", "gguf"]));
  assert.equal(one.id, two.id);
});

test("what a careful person would want to know is said", () => {
  const team = ["alice", "bob", "carol", "dave"].map(member);
  const warnings = (count: number, threshold: number): string =>
    policyWarnings(teamPolicy(team.slice(0, count), threshold, false, random, NOW_S).value).join("; ");
  assert.match(warnings(1, 1), /one person holds everything/);
  assert.match(warnings(4, 2), /2 of 4 may change the policy: half or fewer/);
  assert.match(warnings(2, 2), /all 2 must sign/);
  assert.equal(warnings(3, 2), "");
});
