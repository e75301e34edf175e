// SPDX-License-Identifier: Apache-2.0
/** Policies: each closed rule of the document broken alone, with its code. Not here: what a policy decides (trust). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeCanonical } from "../../src/base/canonical-json.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { encodeBase64 } from "../../src/keys/armor.ts";
import { concatBytes, wireString } from "../../src/keys/ssh-wire.ts";
import { makePolicy, parsePolicy } from "../../src/objects/documents/policy.ts";
import { digestFor, keyFor } from "../support/trust-fixtures.ts";

type Json = ReturnType<typeof JSON.parse>;

const keyOf = (symbol: string) => ({ key: keyFor(symbol).text, status: "active" });
const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
const [first, second] = [keyOf("alice-1"), keyOf("alice-2")].sort(byKey) as [Json, Json];

/** A policy that uses every member there is. */
function good(): Json {
  return structuredClone({
    type: "coffer/policy",
    version: 1,
    number: 1,
    root: digestFor("our-root"),
    issuedAt: "2026-11-22T00:00:00Z",
    principals: {
      alice: { keys: [first, second] },
      bob: { keys: [keyOf("bob-1")] },
      ci: { keys: [keyOf("ci-1")] },
    },
    rootRole: { principals: ["alice", "bob"], threshold: 2 },
    rules: [
      {
        names: "*/*@prod",
        publishers: ["alice", "ci"],
        approvers: { principals: ["alice", "bob"], threshold: 2, notPublisher: true },
        revokers: { principals: ["alice", "bob"], threshold: 1 },
        formats: ["gguf", "safetensors"],
        evidence: [{ kind: "inspection" }, { kind: "scan", signers: ["bob", "ci"], maxAgeDays: 90 }],
        freshness: { warnDays: 60, denyDays: 365 },
      },
      { names: "acme/tiny@*", revokers: { principals: ["alice"], threshold: 1 } },
    ],
  });
}

function codeOf(policy: Json): string {
  try {
    parsePolicy(encodeCanonical(policy));
    return "ok";
  } catch (error) {
    if (isCofferError(error)) return error.code;
    throw error;
  }
}

function changed(change: (policy: Json) => void): Json {
  const policy = good();
  change(policy);
  return policy;
}

/** The one line of a key type with 32 bytes that are a good point. */
function keyLine(type: string, raw: Uint8Array): string {
  const tail = type.startsWith("sk-") ? [wireString("ssh:")] : [];
  return `${type} ${encodeBase64(concatBytes(wireString(type), wireString(raw), ...tail))}`;
}

type Change = (policy: Json) => void;
const rule =
  (change: (rule: Json) => void): Change =>
  (policy) =>
    change(policy.rules[0]);
const alice =
  (change: (principal: Json) => void): Change =>
  (policy) =>
    change(policy.principals.alice);

const REFUSED: readonly [string, string, Change][] = [
  // versions and members that later versions may bring
  ["number 2", "UNSUPPORTED", (p) => (p.number = 2)],
  ["number 0", "DOCUMENT_INVALID", (p) => (p.number = 0)],
  ["number as text", "DOCUMENT_INVALID", (p) => (p.number = "1")],
  ["no number", "DOCUMENT_INVALID", (p) => delete p.number],
  ["document version 2", "UNSUPPORTED", (p) => (p.version = 2)],
  ["another document", "DOCUMENT_INVALID", (p) => (p.type = "coffer/list")],
  ["previous on the first version", "UNSUPPORTED", (p) => (p.previous = digestFor("p0"))],
  ["expiresAt", "UNSUPPORTED", (p) => (p.expiresAt = "2027-11-22T00:00:00Z")],
  ["annuls", "UNSUPPORTED", (p) => (p.annuls = [])],
  ["annotations", "UNSUPPORTED", (p) => (p.annotations = {})],
  ["an unknown member of a principal", "UNSUPPORTED", alice((a) => (a.mail = "alice@example.com"))],
  ["an unknown member of a key", "UNSUPPORTED", alice((a) => (a.keys[0] = { ...a.keys[0], since: "2026" }))],
  ["an unknown member of the root role", "UNSUPPORTED", (p) => (p.rootRole.notPublisher = true)],
  ["an unknown member of a rule", "UNSUPPORTED", rule((r) => (r.deny = true))],
  ["an unknown member of the approvers", "UNSUPPORTED", rule((r) => (r.approvers.weight = 2))],
  ["notPublisher among the revokers", "UNSUPPORTED", rule((r) => (r.revokers.notPublisher = true))],
  ["an unknown member of evidence", "UNSUPPORTED", rule((r) => (r.evidence[0].tool = "coffer"))],
  ["an unknown member of freshness", "UNSUPPORTED", rule((r) => (r.freshness.hours = 1))],
  // members that must be there
  ["no root", "DOCUMENT_INVALID", (p) => delete p.root],
  ["a root that is no digest", "DOCUMENT_INVALID", (p) => (p.root = "00")],
  ["no issuedAt", "DOCUMENT_INVALID", (p) => delete p.issuedAt],
  ["a time that is none", "DOCUMENT_INVALID", (p) => (p.issuedAt = "2026-02-30T00:00:00Z")],
  ["no principals", "DOCUMENT_INVALID", (p) => delete p.principals],
  ["principals as a list", "DOCUMENT_INVALID", (p) => (p.principals = ["alice"])],
  ["no root role", "DOCUMENT_INVALID", (p) => delete p.rootRole],
  ["no rules", "DOCUMENT_INVALID", (p) => delete p.rules],
  ["a rule without names", "DOCUMENT_INVALID", rule((r) => delete r.names)],
  ["a rule without revokers", "DOCUMENT_INVALID", rule((r) => delete r.revokers)],
  ["an approvers' role without threshold", "DOCUMENT_INVALID", rule((r) => delete r.approvers.threshold)],
  ["evidence without kind", "DOCUMENT_INVALID", rule((r) => delete r.evidence[0].kind)],
  ["freshness without denyDays", "DOCUMENT_INVALID", rule((r) => delete r.freshness.denyDays)],
  // keys
  ["no keys", "POLICY_INVALID", alice((a) => (a.keys = []))],
  ["a key shared by two principals", "POLICY_INVALID", (p) => (p.principals.bob.keys = [first])],
  ["a key twice", "DOCUMENT_INVALID", alice((a) => (a.keys = [first, first]))],
  ["keys unsorted", "DOCUMENT_INVALID", alice((a) => (a.keys = [second, first]))],
  ["status retired", "UNSUPPORTED", alice((a) => (a.keys[0].status = "retired"))],
  ["status compromised", "UNSUPPORTED", alice((a) => (a.keys[0].status = "compromised"))],
  [
    "status retired, with what it keeps",
    "UNSUPPORTED",
    alice((a) => (a.keys[0].status = { keeps: digestFor("list") })),
  ],
  ["a status that nothing knows", "DOCUMENT_INVALID", alice((a) => (a.keys[0].status = "asleep"))],
  ["a status of a wrong type", "DOCUMENT_INVALID", alice((a) => (a.keys[0].status = 1))],
  ["no status", "DOCUMENT_INVALID", alice((a) => delete a.keys[0].status)],
  ["a key with a comment", "DOCUMENT_INVALID", alice((a) => (a.keys[0].key += " alice@laptop"))],
  ["a key with a line end", "DOCUMENT_INVALID", (p) => (p.principals.bob.keys[0].key += " ")],
  ["a key that is no key", "DOCUMENT_INVALID", (p) => (p.principals.bob.keys[0].key = "alice")],
  [
    "a security key",
    "UNSUPPORTED",
    (p) => (p.principals.bob.keys[0].key = keyLine("sk-ssh-ed25519@openssh.com", keyFor("bob-1").raw)),
  ],
  ["an RSA key", "DOCUMENT_INVALID", (p) => (p.principals.bob.keys[0].key = keyLine("ssh-rsa", keyFor("bob-1").raw))],
  [
    "a key of small order",
    "DOCUMENT_INVALID",
    (p) => (p.principals.bob.keys[0].key = keyLine("ssh-ed25519", new Uint8Array(32))),
  ],
  // principals
  ["a principal's name in capitals", "DOCUMENT_INVALID", (p) => (p.principals.Bob = { keys: [keyOf("x")] })],
  ["unknown principal in the root role", "POLICY_INVALID", (p) => (p.rootRole.principals = ["alice", "mallory"])],
  ["unknown principal among publishers", "POLICY_INVALID", rule((r) => (r.publishers = ["mallory"]))],
  [
    "unknown principal among approvers",
    "POLICY_INVALID",
    rule((r) => (r.approvers.principals = ["alice", "bob", "mallory"])),
  ],
  ["unknown principal among revokers", "POLICY_INVALID", rule((r) => (r.revokers.principals = ["alice", "mallory"]))],
  ["unknown principal among signers of evidence", "POLICY_INVALID", rule((r) => (r.evidence[1].signers = ["mallory"]))],
  ["unknown principal in a later rule", "POLICY_INVALID", (p) => (p.rules[1].revokers.principals = ["mallory"])],
  // thresholds
  ["root threshold 0", "DOCUMENT_INVALID", (p) => (p.rootRole.threshold = 0)],
  ["root threshold too high", "POLICY_INVALID", (p) => (p.rootRole.threshold = 3)],
  ["approvers' threshold 0", "DOCUMENT_INVALID", rule((r) => (r.approvers.threshold = 0))],
  ["approvers' threshold too high", "POLICY_INVALID", rule((r) => (r.approvers.threshold = 3))],
  ["a threshold that counts keys and not people", "POLICY_INVALID", (p) => (p.rules[1].revokers.threshold = 2)],
  ["revokers' threshold 0", "DOCUMENT_INVALID", rule((r) => (r.revokers.threshold = 0))],
  ["revokers' threshold too high", "POLICY_INVALID", rule((r) => (r.revokers.threshold = 3))],
  ["threshold as text", "DOCUMENT_INVALID", rule((r) => (r.revokers.threshold = "1"))],
  ["a role of nobody", "POLICY_INVALID", rule((r) => (r.revokers = { principals: [], threshold: 1 }))],
  // sets
  ["root role unsorted", "DOCUMENT_INVALID", (p) => (p.rootRole.principals = ["bob", "alice"])],
  ["publishers unsorted", "DOCUMENT_INVALID", rule((r) => (r.publishers = ["ci", "alice"]))],
  ["approvers unsorted", "DOCUMENT_INVALID", rule((r) => (r.approvers.principals = ["bob", "alice"]))],
  ["a person twice among approvers", "DOCUMENT_INVALID", rule((r) => (r.approvers.principals = ["alice", "alice"]))],
  ["revokers unsorted", "DOCUMENT_INVALID", rule((r) => (r.revokers.principals = ["bob", "alice"]))],
  ["formats unsorted", "DOCUMENT_INVALID", rule((r) => (r.formats = ["safetensors", "gguf"]))],
  ["signers unsorted", "DOCUMENT_INVALID", rule((r) => (r.evidence[1].signers = ["ci", "bob"]))],
  // patterns, days, flags
  ["a pattern without version", "DOCUMENT_INVALID", rule((r) => (r.names = "*/*"))],
  ["a pattern of one star", "DOCUMENT_INVALID", rule((r) => (r.names = "*"))],
  ["a pattern in capitals", "DOCUMENT_INVALID", rule((r) => (r.names = "Acme/*@*"))],
  ["a pattern with a question mark", "DOCUMENT_INVALID", rule((r) => (r.names = "acme/tin?@*"))],
  ["warnDays over denyDays", "POLICY_INVALID", rule((r) => (r.freshness = { warnDays: 31, denyDays: 30 }))],
  ["warnDays 0", "DOCUMENT_INVALID", rule((r) => (r.freshness.warnDays = 0))],
  ["denyDays past a century", "DOCUMENT_INVALID", rule((r) => (r.freshness.denyDays = 36_501))],
  ["maxAgeDays 0", "DOCUMENT_INVALID", rule((r) => (r.evidence[1].maxAgeDays = 0))],
  ["notPublisher as text", "DOCUMENT_INVALID", rule((r) => (r.approvers.notPublisher = "true"))],
  ["a format that is no label", "DOCUMENT_INVALID", rule((r) => (r.formats = ["GGUF"]))],
];

const ACCEPTED: readonly [string, Change][] = [
  ["every member", (p) => p],
  ["no rules at all: everything is denied", (p) => (p.rules = [])],
  ["a rule that lets nobody publish or approve", (p) => (p.rules = [p.rules[1]])],
  ["warnDays equal to denyDays", rule((r) => (r.freshness = { warnDays: 30, denyDays: 30 }))],
  ["one kind of evidence twice", rule((r) => (r.evidence = [r.evidence[0], r.evidence[0]]))],
  ["a principal with a name that objects have too", (p) => (p.principals["valueof"] = { keys: [keyOf("y")] })],
];

describe("policy: accepted", () => {
  for (const [name, change] of ACCEPTED) test(name, () => assert.equal(codeOf(changed(change)), "ok"));

  test("is read as it stands", () => {
    const { value } = parsePolicy(encodeCanonical(good()));
    assert.deepEqual([...value.principals.keys()], ["alice", "bob", "ci"]);
    assert.equal(value.principals.get("alice" as never)?.length, 2);
    assert.equal(value.rules[0]?.names.text, "*/*@prod");
    assert.deepEqual({ ...value.rules[0]?.freshness }, { warnDays: 60, denyDays: 365 });
    assert.equal(value.rules[1]?.approvers, undefined);
  });

  test("is written as it is read, with type and version put in", () => {
    const { type: _, version: __, ...members } = good();
    assert.equal(makePolicy(members).id, parsePolicy(encodeCanonical(good())).id);
  });
});

describe("policy: refused, each for one fault", () => {
  for (const [name, code, change] of REFUSED) test(name, () => assert.equal(codeOf(changed(change)), code));

  test("each name once, and the faults differ from the good policy", () => {
    assert.equal(new Set(REFUSED.map(([name]) => name)).size, REFUSED.length);
    for (const [name, , change] of REFUSED) assert.notDeepEqual(changed(change), good(), name);
  });

  test("the refusal says where", () => {
    const at = (change: Change) => () => parsePolicy(encodeCanonical(changed(change)));
    assert.throws(at(rule((r) => (r.approvers.threshold = 3))), {
      message: "policy.rules[0].approvers.threshold: expected 1 to 2, the number of principals in the role",
    });
    assert.throws(
      at((p) => (p.rules[1].revokers.principals = ["mallory"])),
      {
        message: "policy.rules[1].revokers.principals: expected known principals; mallory is none",
      },
    );
    assert.throws(
      at((p) => (p.principals.bob.keys = [first])),
      { message: /bob\.keys.*one is also alice's$/ },
    );
  });
});

describe("policy: limits", () => {
  const many = (count: number, prefix: string) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

  test("keys of one principal", () => {
    const keysOf = (count: number) => many(count, "many-").map(keyOf).sort(byKey);
    const most = LIMITS.keysPerPrincipal;
    assert.equal(codeOf(changed((p) => (p.principals.bob.keys = keysOf(most)))), "ok");
    assert.equal(codeOf(changed((p) => (p.principals.bob.keys = keysOf(most + 1)))), "LIMIT_EXCEEDED");
  });

  test("principals", () => {
    const added = Object.fromEntries(many(LIMITS.principals, "p").map((name) => [name, { keys: [] }]));
    assert.equal(codeOf(changed((p) => Object.assign(p.principals, added))), "LIMIT_EXCEEDED");
  });

  test("bytes", () => {
    const filler = { names: "*/*@*", revokers: { principals: ["alice"], threshold: 1 } };
    const rules = Array.from({ length: 9_999 }, () => ({ ...filler, names: `${"a".repeat(80)}/*@*` }));
    assert.equal(codeOf(changed((p) => (p.rules = rules))), "LIMIT_EXCEEDED");
    assert.throws(() => makePolicy({ ...changed((p) => (p.rules = rules)) }), { code: "LIMIT_EXCEEDED" });
    assert.equal(codeOf(changed((p) => (p.rules = Array.from({ length: 10_001 }, () => filler)))), "LIMIT_EXCEEDED");
  });
});
