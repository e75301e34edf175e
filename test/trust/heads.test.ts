// SPDX-License-Identifier: Apache-2.0
/** Heads of a name as a function of the set, and every reason why a statement is set aside. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Digest } from "../../src/base/digest.ts";
import { type ChainMember, headsOf, setAsideReason, sortChain } from "../../src/trust/heads.ts";
import { build, digestFor, type StatementSpec, type World } from "../support/trust-fixtures.ts";

interface Node {
  readonly id: Digest;
  readonly previous: readonly Digest[];
}

/** Up to 9 nodes; each may follow any of those before it. */
const dag = fc.array(fc.array(fc.nat({ max: 8 }), { maxLength: 3 }), { maxLength: 9 }).map((picks) =>
  picks.map((parents, index): Node => {
    const earlier = [...new Set(parents)].filter((parent) => parent < index);
    return { id: digestFor(`node ${index}`), previous: earlier.map((parent) => digestFor(`node ${parent}`)) };
  }),
);

function ancestorsOf(nodes: readonly Node[], node: Node): Set<Digest> {
  const parents = nodes.filter((other) => node.previous.includes(other.id));
  return new Set(parents.flatMap((parent) => [parent.id, ...ancestorsOf(nodes, parent)]));
}

describe("heads", () => {
  test("are the nodes that are no ancestor of another, in any order and repetition", () => {
    const shuffled = dag.chain((nodes) =>
      fc.tuple(fc.constant(nodes), fc.shuffledSubarray(nodes, { minLength: nodes.length })),
    );
    fc.assert(
      fc.property(shuffled, fc.nat({ max: 3 }), ([nodes, others], repeated) => {
        const covered = new Set(nodes.flatMap((node) => [...ancestorsOf(nodes, node)]));
        const expected = nodes.map((node) => node.id).filter((id) => !covered.has(id));
        assert.deepEqual(headsOf([...others, ...others.slice(0, repeated)]), expected.sort());
      }),
    );
  });

  test("of nothing are none; of one, that one; of a fork, both; of its merge, the merge", () => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => digestFor(name)) as [Digest, Digest, Digest, Digest];
    const fork = [
      { id: a, previous: [] },
      { id: b, previous: [a] },
      { id: c, previous: [a] },
    ];
    assert.deepEqual(headsOf([]), []);
    assert.deepEqual(headsOf([{ id: a, previous: [] }]), [a]);
    assert.deepEqual(headsOf(fork), [b, c].sort());
    assert.deepEqual(headsOf([...fork, { id: d, previous: [b, c] }]), [d]);
    assert.deepEqual(headsOf([{ id: b, previous: [a] }]), [b], "an ancestor that is not in the set is no head");
  });
});

const FIRST: StatementSpec = {
  state: "trusted",
  name: "acme/tiny@main",
  manifest: "m1",
  policy: "p1",
  root: "our-root",
  sequence: 1,
  previous: [],
  issuedAt: "2026-11-22T00:00:00Z",
  signedBy: [],
};

/** The members of a chain in which `s1` and `s2` and what a case adds stand. */
function members(statements: Record<string, Partial<StatementSpec>>, absent: string[] = []): ChainMember[] {
  const full = Object.entries(statements).map(([symbol, spec]) => [symbol, { ...FIRST, ...spec }] as const);
  const world: World = {
    name: "acme/tiny@main",
    storeKey: "store",
    policies: {},
    manifests: {},
    statements: Object.fromEntries(full),
    chain: Object.keys(statements).filter((symbol) => !absent.includes(symbol)),
    waiting: [],
    evidence: {},
    revocations: [],
    refusals: {},
    absent,
    candidate: false,
    memoryKnown: true,
    now: "2026-12-01T00:00:00Z",
  };
  return [...build(world).chain];
}

const numbers = new Map([
  [digestFor("policy p1"), 1],
  [digestFor("policy p2"), 2],
]);
const numberOf = (id: Digest): number | undefined => numbers.get(id);

describe("set aside", () => {
  const reasonOfLast = (statements: Record<string, Partial<StatementSpec>>, absent?: string[]) => {
    const last = members(statements, absent).at(-1) ?? assert.fail("a member");
    return setAsideReason(last, numberOf, new Set());
  };
  const s1 = {};
  const after = { sequence: 2, previous: ["s1"] };
  const cases: [string, Record<string, Partial<StatementSpec>>, string | undefined, string[]?][] = [
    ["a first statement stands", { s1 }, undefined],
    ["a second stands", { s1, s2: after }, undefined],
    ["one that merges two stands", { s1, s2: after, s3: { sequence: 3, previous: ["s1", "s2"] } }, undefined],
    ["a later policy than the ancestor's stands", { s1, s2: { ...after, policy: "p2" } }, undefined],
    ["ancestor not here", { s1, s2: after }, "ancestor-missing", ["s1"]],
    [
      "one of two ancestors not here",
      { s1, s2: s1, s3: { sequence: 2, previous: ["s1", "s2"] } },
      "ancestor-missing",
      ["s2"],
    ],
    ["ancestor of another name", { s1: { name: "acme/other@main" }, s2: after }, "ancestor-missing"],
    ["sequence too high", { s1, s2: { ...after, sequence: 3 } }, "sequence-wrong"],
    [
      "sequence not above the higher of two",
      { s1, s2: after, s3: { sequence: 2, previous: ["s1", "s2"] } },
      "sequence-wrong",
    ],
    ["policy not known", { s1: { policy: "p9" } }, "policy-unknown"],
    ["ancestor's policy not known", { s1: { policy: "p9" }, s2: after }, "policy-unknown"],
    ["an older policy than the ancestor's", { s1: { policy: "p2" }, s2: after }, "policy-older"],
    [
      "an older policy than one of two ancestors'",
      { s1, s2: { policy: "p2" }, s3: { sequence: 2, previous: ["s1", "s2"] } },
      "policy-older",
    ],
    ["deleted after revoked stands", { s1: { state: "revoked" }, s2: { ...after, state: "deleted" } }, undefined],
    ["deleted after trusted", { s1, s2: { ...after, state: "deleted" } }, "ancestor-missing"],
    [
      "deleted after deleted",
      {
        s0: { state: "revoked" },
        s1: { state: "deleted", sequence: 2, previous: ["s0"] },
        s2: { sequence: 3, previous: ["s1"], state: "deleted" },
      },
      "ancestor-missing",
    ],
  ];
  for (const [name, statements, expected, absent] of cases) {
    test(name, () => assert.equal(reasonOfLast(statements, absent), expected));
  }

  test("what follows one that is set aside is set aside, whatever the order in the chain", () => {
    const chain = members({ s1: { policy: "p9" }, s2: after, s3: { sequence: 3, previous: ["s2"] }, s4: {} });
    fc.assert(
      fc.property(fc.shuffledSubarray(chain, { minLength: chain.length }), (shuffled) => {
        const { judged, aside } = sortChain(shuffled, numberOf);
        assert.deepEqual(
          chain.map((member) => aside.get(member)),
          ["policy-unknown", "ancestor-missing", "ancestor-missing", undefined],
        );
        assert.deepEqual(judged, [chain[3]]);
      }),
    );
  });
});
