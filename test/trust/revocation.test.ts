// SPDX-License-Identifier: Apache-2.0
/** Revocations of bytes: what is told about them. Which of them deny is in evaluate.json. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import { makePolicy } from "../../src/objects/documents/policy.ts";
import { authorisedDenial, byteRevocations } from "../../src/trust/revocation.ts";
import { build, digestFor, policyMembers, type StatementSpec, type World } from "../support/trust-fixtures.ts";

const spec: StatementSpec = {
  state: "trusted",
  name: "acme/tiny@main",
  manifest: "m1",
  policy: "p1",
  root: "our-root",
  sequence: 1,
  previous: [],
  issuedAt: "2026-11-22T00:00:00Z",
  signedBy: ["alice-1"],
};
const lists = { manifests: ["m1"], blobs: ["weights-1"], statements: [] };
const role = { principals: ["alice"], threshold: 1 };
const p1 = {
  number: 1,
  root: "our-root",
  principals: { alice: ["alice-1"] },
  rules: [{ names: "*/*@*", publishers: ["alice"], approvers: role, revokers: role }],
};
const world: World = {
  name: "acme/tiny@main",
  storeKey: "store",
  policies: { p1 },
  manifests: { m1: { files: { "model.gguf": { format: "gguf", blob: "weights-1" } }, signedBy: ["alice-1"] } },
  statements: {
    s1: spec,
    r1: { ...spec, state: "revoked", name: "acme/other@main", revokes: lists, reason: "leaked" },
  },
  chain: ["s1"],
  waiting: [],
  evidence: {},
  revocations: [
    { kind: "manifest", of: "m1", by: "r1" },
    { kind: "blob", of: "weights-1", by: "r1" },
  ],
  refusals: {},
  absent: [],
  candidate: false,
  memoryKnown: true,
  now: "2026-12-01T00:00:00Z",
};

function told(bare: boolean): string[] {
  const { policies, name, chain, manifests, revocations } = build(world);
  const head = chain[0] ?? assert.fail("a head");
  const given = revocations.map((entry) => {
    const { reason: _, ...value } = entry.statement.value;
    return bare ? { ...entry, statement: { ...entry.statement, value } } : entry;
  });
  const { reasons } = byteRevocations(policies, name, head, manifests.get(head.value.manifest)?.value, given);
  return reasons.map((reason) => `${reason.code} ${reason.text}`);
}

test("a revocation of bytes is told with what it names, by whom it came, and its reason if it has one", () => {
  const [manifest, blob] = told(false);
  assert.match(
    manifest ?? "",
    /^REVOKED manifest [0-9a-f]{12} was revoked by revocation [0-9a-f]{12} of acme\/other@main: leaked$/,
  );
  assert.match(blob ?? "", /^REVOKED blob [0-9a-f]{12} \(model\.gguf\) was revoked by .*: leaked$/);
  assert.ok(told(true).every((text) => text.endsWith("of acme/other@main")));
});

test("without its manifest a head is still met by revocations of the manifest, and by none of a blob", () => {
  const { policies, name, chain, revocations } = build(world);
  const head = chain[0] ?? assert.fail("a head");
  const { reasons } = byteRevocations(policies, name, head, undefined, revocations);
  assert.deepEqual(
    reasons.map((reason) => reason.text.split(" ")[0]),
    ["manifest"],
  );
});

test("a denial is authorised by its own rule, under its own root", () => {
  const { policies } = build(world);
  const [revocation] = build({ ...world, chain: ["r1"] }).chain;
  assert.ok(revocation !== undefined);
  assert.equal(revocation.value.name.text, parseName("acme/other").text);
  assert.equal(authorisedDenial(policies, revocation), true);
  assert.equal(authorisedDenial(policies, { ...revocation, signers: new Set() }), false);
  const elsewhere = makePolicy(policyMembers({ ...p1, root: "their-root" })).value;
  assert.equal(authorisedDenial([{ id: digestFor("policy p1"), value: elsewhere }], revocation), false);
});
