// SPDX-License-Identifier: Apache-2.0
/**
 * docs/decisions/0003-which-heads-count.md: the rule that was not taken, run beside the one that was. Under it a head
 * that fails for any reason steps back while another holds; each test shows what may then be added or waited for.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type EvaluateInput, evaluate } from "../../src/trust/evaluate.ts";
import { build, type EvidenceSpec, type StatementSpec, type World } from "../support/trust-fixtures.ts";

/** The rule not taken: heads that hold on their own count alone, whatever it is that the others lack. */
function steppingBack(input: EvaluateInput): boolean {
  const alone = input.chain.map((member) => ({ member, verdict: evaluate({ ...input, chain: [member] }) }));
  const holding = alone.filter(({ verdict }) => verdict.trusted);
  return holding.length > 0 && new Set(holding.map(({ member }) => member.value.manifest)).size === 1;
}

const statement: StatementSpec = {
  state: "trusted",
  name: "acme/tiny@main",
  manifest: "m1",
  policy: "p1",
  root: "our-root",
  sequence: 1,
  previous: [],
  issuedAt: "2026-11-22T00:00:00Z",
  signedBy: ["alice-1", "bob-1"],
};
const pass: EvidenceSpec = {
  manifest: "m1",
  kind: "inspection",
  tool: "coffer",
  result: "pass",
  issuedAt: "2026-11-21T00:00:00Z",
  signedBy: ["store"],
};
const people = ["alice", "bob", "carol"];
/** Two promotions of different manifests, made apart, both with all that the rule asks for. */
const fork: World = {
  name: "acme/tiny@main",
  storeKey: "store",
  policies: {
    p1: {
      number: 1,
      root: "our-root",
      principals: { alice: ["alice-1"], bob: ["bob-1"], carol: ["carol-1"] },
      rules: [
        {
          names: "*/*@*",
          publishers: people,
          approvers: { principals: people, threshold: 2 },
          revokers: { principals: people, threshold: 1 },
          evidence: [{ kind: "inspection" }],
        },
      ],
    },
  },
  manifests: {
    m1: { files: { "model.gguf": { format: "gguf", blob: "weights-1" } }, signedBy: ["carol-1"] },
    m2: { files: { "model.gguf": { format: "gguf", blob: "weights-2" } }, signedBy: ["carol-1"] },
  },
  statements: { s1: statement, s2: { ...statement, manifest: "m2" } },
  chain: ["s1", "s2"],
  waiting: [],
  evidence: { e1: pass, e2: { ...pass, manifest: "m2" } },
  revocations: [],
  refusals: {},
  absent: [],
  candidate: false,
  memoryKnown: true,
  now: "2026-12-01T00:00:00Z",
};

function answers(world: World): { taken: boolean; notTaken: boolean } {
  const input = build(world);
  return { taken: evaluate(input).trusted, notTaken: steppingBack(input) };
}

describe("which heads count", () => {
  test("two promotions of different manifests are no answer under either rule", () => {
    assert.deepEqual(answers(fork), { taken: false, notTaken: false });
  });

  test("passing evidence for one would turn yes into no", () => {
    const before = { ...fork, evidence: { e1: pass } };
    assert.deepEqual(answers(before), { taken: false, notTaken: true });
    assert.equal(answers(fork).notTaken, false);
  });

  test("a refusal of one would turn no into yes for the other", () => {
    const refused = { ...fork, refusals: { r1: { statement: "s2", signedBy: ["alice-1"] } } };
    assert.deepEqual(answers(refused), { taken: false, notTaken: true });
  });

  test("losing the evidence for one would turn no into yes for the other", () => {
    assert.deepEqual(answers({ ...fork, evidence: { e2: { ...pass, manifest: "m2" } } }), {
      taken: false,
      notTaken: true,
    });
  });

  test("waiting until one has ended would turn no into yes for the other", () => {
    const ending = { ...statement, manifest: "m2", expiresAt: "2026-12-02T00:00:00Z" };
    const soon = { ...fork, statements: { s1: statement, s2: ending } };
    assert.deepEqual(answers(soon), { taken: false, notTaken: false });
    assert.deepEqual(answers({ ...soon, now: "2026-12-02T00:00:00Z" }), { taken: false, notTaken: true });
  });

  test("a format that the rule does not admit would let the other one through", () => {
    const tensors = {
      files: { "model.safetensors": { format: "safetensors", blob: "weights-2" } },
      signedBy: ["carol-1"],
    };
    const rules = (fork.policies["p1"]?.rules ?? []).map((rule) => ({ ...rule, formats: ["gguf"] }));
    const p1 = { ...(fork.policies["p1"] ?? assert.fail("a policy")), rules };
    const world = { ...fork, policies: { p1 }, manifests: { ...fork.manifests, m2: tensors } };
    assert.deepEqual(answers(world), { taken: false, notTaken: true });
  });

  test("a promotion that names both is the way out", () => {
    const merge = { ...statement, sequence: 2, previous: ["s1", "s2"] };
    const world = { ...fork, statements: { ...fork.statements, s3: merge }, chain: ["s3"] };
    assert.deepEqual(answers(world), { taken: true, notTaken: true });
  });
});
