// SPDX-License-Identifier: Apache-2.0
/** Whom a policy lets do what, for who is told what comes next. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLabel, parseName } from "../../src/base/names.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { teamPolicy } from "../../src/repo/policy-draft.ts";
import { whoMay } from "../../src/repo/who-may.ts";
import { NOW_S } from "../support/memory-store.ts";
import { seededRandom } from "../support/transcripts.ts";

const random = seededRandom("who-may");
const [alice, bob] = ["alice", "bob"].map((name) => parseLabel(name));
const team = [alice, bob].map((name) => ({
  name: name ?? assert.fail(),
  keys: [generatePrivateKey(random, "").publicKey],
}));
const name = parseName("acme/tiny");
const policies = (separate: boolean) => [teamPolicy(team, 1, separate, random, NOW_S)];

test("a publisher whose approval does not count is not asked for it", () => {
  assert.deepEqual(whoMay(policies(true), name, "approve", alice), [bob]);
  assert.deepEqual(whoMay(policies(true), name, "approve"), [alice, bob]);
  assert.deepEqual(whoMay(policies(false), name, "approve", alice), [alice, bob]);
  assert.deepEqual(whoMay(policies(true), name, "publish", alice), [alice, bob]);
});
