// SPDX-License-Identifier: Apache-2.0
/** The ref tree: vectors, the root as a function of the set (against a naive builder), diffs, and damaged trees. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type CanonicalObject, encodeCanonical } from "../../src/base/canonical-json.ts";
import type { Digest } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { asRefPath, groupOf, NAME_FAMILIES, type RefPath } from "../../src/base/ref-path.ts";
import { applyMoves, applyTargets } from "../../src/refs/apply-moves.ts";
import { placeOf } from "../../src/refs/ref-leaf.ts";
import { EMPTY_TREE, NodeCache, parseRefNode } from "../../src/refs/ref-node.ts";
import { diffTrees, listRefs, type Move, refReader } from "../../src/refs/ref-tree.ts";
import { loadVectors } from "../support/vectors.ts";
import { collect, idOf, MapObjects, mixedRefs, naiveRoot, placeFor, someRefs, trusted } from "./fixture.ts";

type Refs = Map<RefPath, Digest>;

/** Applies moves and keeps the new nodes, as a writer would. */
async function change(objects: MapObjects, root: Digest, moves: readonly Move[], cache?: NodeCache): Promise<Digest> {
  const { root: next, nodes } = await applyMoves(objects, root, moves, cache);
  for (const node of nodes) objects.objects.set(node.id, node.bytes);
  return next;
}

function movesBetween(before: ReadonlyMap<RefPath, Digest>, after: ReadonlyMap<RefPath, Digest>): Move[] {
  const refs = new Set([...before.keys(), ...after.keys()]);
  const moves: Move[] = [];
  for (const ref of refs) {
    const [from, to] = [before.get(ref), after.get(ref)];
    if (from !== to) moves.push({ ref, ...(from && { from }), ...(to && { to }) });
  }
  return moves;
}

/** One lookup, of a reader that has found nothing before. */
const readRef = (reader: MapObjects, root: Digest, ref: RefPath, cache?: NodeCache): Promise<Digest | undefined> =>
  refReader(reader, root, cache)(ref);

const sorted = (moves: readonly Move[]): Move[] => [...moves].sort((a, b) => (a.ref < b.ref ? -1 : 1));
const filled = (count: number): Refs => new Map(someRefs(count).map((ref) => [ref, idOf(`v1 ${ref}`)]));

describe("ref tree: places", () => {
  for (const { name, ref, group, place } of loadVectors<Record<string, string>>("ref-tree", "places")) {
    test(`vector: ${name}`, () => {
      const path = asRefPath(ref ?? "");
      assert.deepEqual([groupOf(path), placeOf(path)], [group, place]);
      assert.equal(placeFor(path), place, "as the naive builder has it");
    });
  }

  test("a group fits a leaf, or a tree could need more digits than there are", () => {
    // One ref of each family; of refs about a digest there are fewer families, and three kinds of revocation.
    assert.ok(NAME_FAMILIES.length <= LIMITS.leafRefs);
  });

  test("what one promotion moves is one path of nodes; unrelated refs are as many paths", async () => {
    const objects = new MapObjects();
    const refs: Refs = new Map(mixedRefs(3000).map((ref) => [ref, idOf(`v1 ${ref}`)]));
    const root = naiveRoot(refs, objects);
    const depthOf = async (ref: RefPath): Promise<number> => {
      objects.reads = 0;
      await readRef(objects, root, ref);
      return objects.reads;
    };
    const name = "acme/m77/main";
    const paths = ["trusted", "chain", "quarantined", "proposed"].map((family) => asRefPath(`refs/${family}/${name}`));
    const together = await applyTargets(
      objects,
      root,
      paths.map((ref) => ({ ref, to: idOf("new") })),
    );
    assert.equal(together.nodes.length, await depthOf(asRefPath(`refs/trusted/${name}`)));
    const apart = await applyTargets(
      objects,
      root,
      [1, 2, 3, 4].map((n) => ({ ref: trusted(`m${n}`), to: idOf("new") })),
    );
    assert.ok(apart.nodes.length > together.nodes.length + 4, `${apart.nodes.length} nodes`);
  });
});

interface NodeCase {
  readonly name: string;
  readonly node: string;
  readonly code?: string;
}

describe("ref tree: nodes", () => {
  for (const { name, node } of loadVectors<NodeCase>("ref-tree", "nodes")) {
    test(`accepted: ${name}`, () => assert.ok(parseRefNode(new TextEncoder().encode(node)).kind));
  }
  for (const { name, node, code } of loadVectors<NodeCase>("ref-tree", "refusedNodes")) {
    test(`refused: ${name}`, () => assert.throws(() => parseRefNode(new TextEncoder().encode(node)), { code }));
  }
});

describe("ref tree: root as a function of the set", () => {
  const cases = loadVectors<{ name: string; count: number; mixed?: true; root: Digest }>("ref-tree", "roots");
  for (const { name, count, mixed, root } of cases) {
    test(`vector: ${name}`, async () => {
      const paths = mixed ? mixedRefs(count) : someRefs(count);
      const refs: Refs = new Map(paths.map((ref) => [ref, idOf(`v1 ${ref}`)]));
      assert.equal(await change(new MapObjects(), EMPTY_TREE.id, movesBetween(new Map(), refs)), root);
    });
  }

  // A pool of 150 refs: sets go up and down over the limit of 64, at the root and one level below it.
  const pool = mixedRefs(150);
  const state = fc.uniqueArray(fc.nat(149), { maxLength: 150 });
  const values = fc.constantFrom("a", "b");

  test("any history of inserts, changes and removals gives the naive root, and only new nodes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(state, values), { minLength: 1, maxLength: 6 }), async (history) => {
        const objects = new MapObjects();
        let refs: Refs = new Map();
        let root = EMPTY_TREE.id;
        for (const [indexes, value] of history) {
          const next: Refs = new Map(indexes.map((index) => [pool[index] ?? trusted("x"), idOf(value)]));
          root = await change(objects, root, movesBetween(refs, next));
          refs = next;
          assert.equal(root, naiveRoot(refs));
          assert.deepEqual(new Map(await collect(listRefs(objects, root))), refs);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("one by one up to 200 and down to none, each step as the naive builder has it", async () => {
    const objects = new MapObjects();
    const refs: Refs = new Map();
    let root = EMPTY_TREE.id;
    const all = [...filled(200)];
    for (const [ref, to] of all) {
      root = await change(objects, root, [{ ref, to }]);
      refs.set(ref, to);
      if (refs.size % 20 === 0 || Math.abs(refs.size - 64) < 3)
        assert.equal(root, naiveRoot(refs), `${refs.size} refs`);
    }
    for (const [ref, from] of all.reverse()) {
      root = await change(objects, root, [{ ref, from }]);
      refs.delete(ref);
      if (refs.size % 20 === 0 || Math.abs(refs.size - 64) < 3)
        assert.equal(root, naiveRoot(refs), `${refs.size} refs`);
    }
    assert.equal(root, EMPTY_TREE.id);
  });

  test("5000 refs at once, half of them away again, and the nodes are exactly those of the naive tree", async () => {
    const refs = filled(5000);
    const made = await applyMoves(new MapObjects(), EMPTY_TREE.id, movesBetween(new Map(), refs));
    const expected = new MapObjects();
    assert.equal(made.root, naiveRoot(refs, expected));
    assert.deepEqual(new Set(made.nodes.map((node) => node.id)), new Set(expected.objects.keys()));
    const half: Refs = new Map([...refs].filter((_, index) => index % 2 === 0));
    assert.equal(await change(expected, made.root, movesBetween(refs, half)), naiveRoot(half));
  });

  test("one move in 5000 refs makes one node a level", async () => {
    const objects = new MapObjects();
    const root = naiveRoot(filled(5000), objects);
    const ref = trusted("m77");
    const { nodes } = await applyMoves(objects, root, [{ ref, from: idOf(`v1 ${ref}`), to: idOf("v2") }]);
    assert.equal(nodes.length, 3);
    assert.ok(nodes.every((node) => !objects.objects.has(node.id)));
  });
});

describe("ref tree: reading", () => {
  test("finds each of 5000 refs and no others, along its path only", async () => {
    const objects = new MapObjects();
    const refs = filled(5000);
    const root = naiveRoot(refs, objects);
    const cache = new NodeCache(2000);
    for (const [ref, id] of refs) assert.equal(await readRef(objects, root, ref, cache), id);
    for (const ref of someRefs(5200).slice(5000)) assert.equal(await readRef(objects, root, ref, cache), undefined);
    objects.reads = 0;
    assert.equal(await readRef(objects, root, trusted("m3")), refs.get(trusted("m3")));
    assert.equal(objects.reads, 3);
    assert.equal(await readRef(objects, root, trusted("m4"), cache), refs.get(trusted("m4")));
    assert.equal(objects.reads, 3, "the second one from the cache");
  });

  test("refs of one name are read from the leaf that was found last, what else there is along its own path", async () => {
    const objects = new MapObjects();
    const refs: Refs = new Map(mixedRefs(600).map((ref) => [ref, idOf(`v1 ${ref}`)]));
    const root = naiveRoot(refs, objects);
    const read = refReader(objects, root);
    for (const ref of refs.keys()) {
      const alone = await readRef(objects, root, ref);
      await read(ref);
      objects.reads = 0;
      assert.equal(await read(ref), alone);
      assert.equal(objects.reads, 0);
      if (groupOf(ref).startsWith("sha256/")) continue;
      for (const family of ["trusted", "deleting"]) {
        const other = asRefPath(ref.replace(/^refs\/[a-z]+/, `refs/${family}`));
        assert.equal(await read(other), refs.get(other));
      }
    }
  });

  test("the cache is bounded and drops what was used longest ago", () => {
    const cache = new NodeCache(2);
    const [a, b, c] = [idOf("a"), idOf("b"), idOf("c")];
    cache.set(a, EMPTY_TREE.value);
    cache.set(b, EMPTY_TREE.value);
    assert.ok(cache.get(a));
    cache.set(c, EMPTY_TREE.value);
    assert.deepEqual(
      [a, b, c].map((id) => cache.get(id) !== undefined),
      [true, false, true],
    );
  });

  test("lists by prefix", async () => {
    const objects = new MapObjects();
    const root = naiveRoot(filled(300), objects);
    const found = await collect(listRefs(objects, root, "refs/trusted/acme/m29"));
    assert.equal(found.length, 11); // m29, m290 … m299
    assert.deepEqual(await collect(listRefs(objects, root, "refs/revoked/")), []);
  });

  test("an empty tree needs no object", async () => {
    assert.equal(await readRef(new MapObjects(), EMPTY_TREE.id, trusted("m0")), undefined);
  });
});

describe("ref tree: diff", () => {
  const pool = mixedRefs(300);
  const some = fc.uniqueArray(fc.nat(299), { maxLength: 300 });

  test("equals the naive diff of the two sets", async () => {
    await fc.assert(
      fc.asyncProperty(some, some, fc.boolean(), async (first, second, other) => {
        const objects = new MapObjects();
        const set = (indexes: readonly number[], value: string): Refs =>
          new Map(indexes.map((index) => [pool[index] ?? trusted("x"), idOf(index % 3 === 0 ? value : "same")]));
        const [a, b] = [set(first, "one"), set(second, other ? "two" : "one")];
        const moves = await collect(diffTrees(objects, naiveRoot(a, objects), naiveRoot(b, objects)));
        assert.deepEqual(sorted(moves), sorted(movesBetween(a, b)));
        assert.equal(await change(objects, naiveRoot(a), moves), naiveRoot(b));
      }),
      { numRuns: 40 },
    );
  });

  test("descends only where ids differ", async () => {
    const objects = new MapObjects();
    const a = filled(5000);
    const b: Refs = new Map(a).set(trusted("m9"), idOf("new"));
    const [before, after] = [naiveRoot(a, objects), naiveRoot(b, objects)];
    assert.equal((await collect(diffTrees(objects, before, after))).length, 1);
    assert.equal(objects.reads, 6);
    assert.deepEqual(await collect(diffTrees(new MapObjects(), before, before)), []);
  });
});

describe("ref tree: refused moves", () => {
  const objects = new MapObjects();
  const root = naiveRoot(filled(100), objects);
  const ref = trusted("m1");
  const from = idOf(`v1 ${ref}`);
  const refused: [string, Move[], string][] = [
    ["another from", [{ ref, from: idOf("other"), to: idOf("new") }], "REF_MOVED"],
    ["made, but it is there", [{ ref, to: idOf("new") }], "REF_MOVED"],
    ["removed, but it is not there", [{ ref: trusted("none"), from }], "REF_MOVED"],
    ["moved, but it is not there", [{ ref: trusted("none"), from, to: idOf("new") }], "REF_MOVED"],
    [
      "a good one and a bad one",
      [
        { ref, from },
        { ref: trusted("m2"), from },
      ],
      "REF_MOVED",
    ],
    ["no change", [{ ref, from, to: from }], "INTERNAL"],
    ["from nothing to nothing", [{ ref }], "INTERNAL"],
    [
      "one ref twice",
      [
        { ref, from, to: idOf("new") },
        { ref, from: idOf("new") },
      ],
      "INTERNAL",
    ],
  ];
  for (const [name, moves, code] of refused) {
    test(name, () => assert.rejects(applyMoves(objects, root, moves), { code }));
  }

  test("targets: fills in what was there, and leaves out what holds already", async () => {
    const [m1, m2, m3, none] = [ref, trusted("m2"), trusted("m3"), trusted("none")];
    const held = (one: RefPath): Digest => idOf(`v1 ${one}`);
    const targets = [{ ref: none }, { ref: m3 }, { ref: m2, to: held(m2) }, { ref: m1, to: idOf("new") }];
    const { root: next, nodes, moves } = await applyTargets(objects, root, targets);
    assert.deepEqual(moves, [
      { ref: m1, from, to: idOf("new") },
      { ref: m3, from: held(m3) },
    ]);
    const same = await applyMoves(objects, root, moves);
    const idsOf = (made: readonly { readonly id: Digest }[]): Set<Digest> => new Set(made.map(({ id }) => id));
    assert.deepEqual([same.root, idsOf(same.nodes)], [next, idsOf(nodes)]);
    const idle = await applyTargets(objects, root, [{ ref: none }, { ref: m2, to: held(m2) }]);
    assert.deepEqual(idle, { root, nodes: [], moves: [] });
    await assert.rejects(applyTargets(objects, root, [{ ref: m1 }, { ref: m1 }]), { code: "INTERNAL" });
  });

  test("no moves: the same root, nothing read", async () => {
    assert.deepEqual(await applyMoves(new MapObjects(), root, []), { root, nodes: [] });
  });
});

describe("ref tree: damage is CORRUPT, never absence", () => {
  const refs = filled(100);
  const ref = trusted("m1");
  const digit = placeFor(ref).charAt(0);
  const inner = (children: CanonicalObject): Uint8Array =>
    encodeCanonical({ type: "coffer/refs", version: 1, children });
  const leaf = (entries: readonly (readonly [string, string])[]): Uint8Array =>
    encodeCanonical({ type: "coffer/refs", version: 1, entries });
  const childrenOf = (objects: MapObjects, root: Digest): Record<string, Digest> => {
    const node = parseRefNode(objects.objects.get(root) ?? new Uint8Array());
    return node.kind === "inner" ? Object.fromEntries(node.children) : {};
  };
  const lose = (objects: MapObjects, id: Digest, root: Digest): Digest => {
    objects.objects.delete(id);
    return root;
  };
  /** Each gives the root of a tree in which the place of `ref` is damaged. */
  const damages: [string, (objects: MapObjects, root: Digest) => Digest, string?][] = [
    ["the root is missing", (objects, root) => lose(objects, root, root)],
    ["the leaf is missing", (objects, root) => lose(objects, childrenOf(objects, root)[digit] ?? root, root)],
    ["the root is no json", (objects) => objects.add(new Uint8Array([1, 2, 3]))],
    [
      "the root is another document",
      (objects) => objects.add(encodeCanonical({ type: "coffer/list", version: 1, ids: [] })),
    ],
    [
      "the leaf stands in another place",
      (objects, root) => {
        const children = childrenOf(objects, root);
        const other = Object.keys(children).find((key) => key !== digit) ?? "";
        return objects.add(inner({ ...children, [digit]: children[other] }));
      },
    ],
    [
      "one ref of the leaf belongs elsewhere",
      (objects, root) => {
        const stray = [...refs.keys()].find((one) => !placeFor(one).startsWith(digit)) ?? ref;
        return objects.add(inner({ ...childrenOf(objects, root), [digit]: objects.add(leaf([[stray, idOf("x")]])) }));
      },
    ],
    [
      "an empty leaf below the root",
      (objects, root) => objects.add(inner({ ...childrenOf(objects, root), [digit]: objects.add(leaf([])) })),
    ],
    [
      "inner nodes past the last digit",
      (objects) => {
        let id = objects.add(inner({ [digit]: idOf("never there") }));
        for (const step of [...placeFor(ref)].reverse()) id = objects.add(inner({ [step]: id }));
        return id;
      },
    ],
    [
      "a node of a newer version",
      (objects) => objects.add(encodeCanonical({ type: "coffer/refs", version: 2, entries: [] })),
      "UNSUPPORTED",
    ],
  ];
  for (const [name, damage, code = "CORRUPT"] of damages) {
    test(name, async () => {
      const objects = new MapObjects();
      const whole = naiveRoot(refs, objects);
      const root = damage(objects, whole);
      await assert.rejects(readRef(objects, root, ref), { code });
      await assert.rejects(readRef(objects, root, ref, new NodeCache()), { code });
      await assert.rejects(collect(listRefs(objects, root)), { code });
      await assert.rejects(applyMoves(objects, root, [{ ref, from: idOf(`v1 ${ref}`) }]), { code });
      if (root !== whole) await assert.rejects(collect(diffTrees(objects, whole, root)), { code });
    });
  }

  test("a node that is good in its place does not pass in another because it is cached", async () => {
    const objects = new MapObjects();
    const root = naiveRoot(refs, objects);
    const cache = new NodeCache();
    await collect(listRefs(objects, root, "", cache));
    const children = childrenOf(objects, root);
    const other = Object.keys(children).find((key) => key !== digit) ?? "";
    const moved = objects.add(inner({ ...children, [digit]: children[other] }));
    await assert.rejects(readRef(objects, moved, ref, cache), { code: "CORRUPT" });
  });
});
