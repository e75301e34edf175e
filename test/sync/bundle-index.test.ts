// SPDX-License-Identifier: Apache-2.0
/** The index of a bundle: one good one, and each rule and each member broken alone. Invariants 2 and 7. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CanonicalObject, encodeCanonical, parseCanonical } from "../../src/base/canonical-json.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import type { KeyId } from "../../src/keys/public-key.ts";
import {
  type BundleIndex,
  makeBundleIndex,
  makeLargeBundleIndex,
  parseBundleIndex,
} from "../../src/sync/bundle-index.ts";
import { INDEX_RULES } from "../../src/sync/index-rules.ts";
import { type Item, itemPath } from "../../src/sync/source.ts";
import { memorySource } from "../support/memory-source.ts";
import { digestFor, keyFor } from "../support/trust-fixtures.ts";

const MIB = 1024 * 1024;
const policy = digestFor("policy");
const statement = digestFor("statement");
const manifest = digestFor("manifest");
const revocation = digestFor("revocation");
const [large, small] = [digestFor("large"), digestFor("small")];
const [first, second] = [keyFor("alice").keyId, keyFor("bob").keyId].sort() as [KeyId, KeyId];

const ITEMS: readonly Item[] = [
  { kind: "object", id: policy, sizeBytes: 500 },
  { kind: "object", id: revocation, sizeBytes: 400 },
  { kind: "signature", object: revocation, keyId: first, sizeBytes: 310 },
  { kind: "object", id: statement, sizeBytes: 400 },
  { kind: "signature", object: statement, keyId: first, sizeBytes: 310 },
  { kind: "signature", object: statement, keyId: second, sizeBytes: 310 },
  { kind: "object", id: manifest, sizeBytes: 300 },
  { kind: "blob", blob: small, sizeBytes: 0 },
  { kind: "blob", blob: large, part: 0, sizeBytes: 16 * MIB },
  { kind: "blob", blob: large, part: 1, sizeBytes: 16 * MIB },
  { kind: "blob", blob: large, part: 2, sizeBytes: 5 },
];

const GOOD: BundleIndex = {
  store: digestFor("store"),
  storeKey: keyFor("store"),
  log: {
    number: 13,
    head: digestFor("13"),
    earlier: [12, 8].map((number) => ({ number, head: digestFor(`${number}`) })),
  },
  root: digestFor("root"),
  policies: [policy],
  names: [{ name: parseName("acme/tiny").text, heads: [statement], manifest, state: "trusted" }],
  candidates: [],
  revocations: [revocation],
  refusals: [],
  evidence: [],
  items: ITEMS,
  segmentBytes: 16 * MIB,
  volumes: [9, 2],
  blobs: "all",
};

function refused(change: Partial<BundleIndex>): { code: string; message: string } {
  try {
    makeBundleIndex({ ...GOOD, ...change });
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    return error;
  }
  return { code: "ok", message: "" };
}

test("written in small steps it is the same index, and the same rules hold", async () => {
  let breaths = 0;
  const breathe = (): undefined => {
    breaths += 1;
  };
  const forOne = { store: digestFor("other"), receipt: digestFor("receipt") };
  for (const change of [{}, { blobs: "missing", for: forOne }, { refusals: [policy], evidence: [policy] }] as const) {
    const [made, large] = [
      makeBundleIndex({ ...GOOD, ...change }),
      await makeLargeBundleIndex({ ...GOOD, ...change }, breathe),
    ];
    assert.equal(Buffer.from(large.bytes).toString(), Buffer.from(made.bytes).toString());
    assert.deepEqual([large.id, large.value], [made.id, { ...GOOD, ...change }]);
  }
  assert.ok(breaths > 30);
  for (const change of [{ policies: [] }, { volumes: [1] }, { revocations: [digestFor("nowhere")] }]) {
    await assert.rejects(makeLargeBundleIndex({ ...GOOD, ...change }, breathe), { code: "BUNDLE_INVALID" });
  }
});

const swap = (one: number, other: number): Item[] =>
  ITEMS.map((item, at) => ITEMS[at === one ? other : at === other ? one : at] ?? item);
const without = (index: number): Item[] => ITEMS.filter((_, at) => at !== index);
const resized = (index: number, sizeBytes: number): Item[] =>
  ITEMS.map((item, at) => (at === index ? { ...item, sizeBytes } : item));
const inOne = (items: readonly Item[]) => ({ items, volumes: [items.length] });

/** What breaks exactly one rule. */
const BROKEN: Readonly<Record<keyof typeof INDEX_RULES, readonly Partial<BundleIndex>[]>> = {
  "has-policy": [{ policies: [] }, { policies: [policy, policy] }],
  "earlier-is-whole": [
    { log: { ...GOOD.log, earlier: [] } },
    { log: { ...GOOD.log, earlier: GOOD.log.earlier.slice(1) } },
    { log: { ...GOOD.log, earlier: GOOD.log.earlier.toReversed() } },
    { log: { ...GOOD.log, earlier: [{ number: 13, head: digestFor("13") }, ...GOOD.log.earlier] } },
    { log: { ...GOOD.log, earlier: [{ number: 99, head: digestFor("99") }, ...GOOD.log.earlier] } },
  ],
  "state-fits-heads": [
    { names: [{ name: parseName("acme/tiny").text, heads: [], manifest, state: "trusted" }] },
    { names: [{ name: parseName("acme/tiny").text, heads: [statement], state: "trusted" }] },
    { names: [{ name: parseName("acme/tiny").text, heads: [statement], manifest, state: "quarantined" }] },
    { names: [{ name: parseName("acme/tiny").text, heads: [], state: "quarantined" }] },
  ],
  "listed-is-carried": [
    inOne(without(0)),
    inOne(without(6)),
    { revocations: [digestFor("elsewhere")] },
    { refusals: [digestFor("elsewhere")] },
    { evidence: [digestFor("elsewhere")] },
    { candidates: [{ name: parseName("acme/tiny").text, statement: digestFor("elsewhere") }] },
    { names: [{ name: parseName("acme/tiny").text, heads: [digestFor("elsewhere")], manifest, state: "trusted" }] },
  ],
  "items-once": [inOne([...ITEMS.slice(0, 7), ...ITEMS.slice(0, 1), ...ITEMS.slice(7)])],
  "small-before-large": [inOne([...ITEMS.slice(0, 6), ...ITEMS.slice(7), ...ITEMS.slice(6, 7)])],
  "signature-follows": [inOne(swap(1, 2)), inOne(swap(4, 5)), inOne(swap(2, 4)), inOne(swap(5, 6))],
  "sizes-in-bounds": [
    inOne(resized(0, 64 * MIB + 1)),
    inOne(resized(2, 4097)),
    inOne(resized(8, Number.MAX_SAFE_INTEGER)),
  ],
  "segment-of-chunks": [{ segmentBytes: 16 * MIB + 1 }, { segmentBytes: 1 }],
  "parts-in-order": [
    inOne(swap(8, 9)),
    inOne(swap(7, 8)),
    inOne(without(8)),
    inOne(without(9)),
    inOne(ITEMS.slice(0, 9)),
    inOne(resized(8, 8 * MIB)),
    inOne(resized(10, 0)),
    inOne(resized(10, 16 * MIB + 1)),
    inOne(resized(7, 16 * MIB + 1)),
  ],
  "volumes-hold-all": [{ volumes: [11, 1] }, { volumes: [9, 1] }, { volumes: [] }],
  "blobs-as-said": [{ blobs: "none" }, { blobs: "missing" }],
};

/** For a receiver that has chunks of `large`: parts may lack. */
const FOR = { blobs: "missing", for: { store: digestFor("other"), receipt: digestFor("receipt") } } as const;

const GAPS_BROKEN: Readonly<Record<string, readonly Item[]>> = {
  "in another order": swap(8, 9),
  twice: [...ITEMS.slice(0, 10), ...ITEMS.slice(9)],
  "apart from each other": [...ITEMS.slice(0, 7), ...ITEMS.slice(9), ...ITEMS.slice(7, 8), ...ITEMS.slice(8, 9)],
  "a short one before another": resized(9, 8 * MIB),
  "a short first one alone": [...ITEMS.slice(0, 8), { kind: "blob", blob: large, part: 0, sizeBytes: 8 * MIB }],
  "a long one": resized(10, 16 * MIB + 1),
  "an empty one": resized(10, 0),
  "a whole one of more than a part": resized(7, 16 * MIB + 1),
};

describe("bundle index with parts left out", () => {
  for (const index of [8, 9, 10]) {
    test(`may lack part ${index - 8}`, () => {
      assert.equal(refused({ ...FOR, ...inOne(without(index)) }).code, "ok");
    });
  }

  test("may have one part alone", () => {
    for (const index of [8, 9, 10])
      assert.equal(refused({ ...FOR, ...inOne([...ITEMS.slice(0, 8), ...ITEMS.slice(index, index + 1)]) }).code, "ok");
  });

  for (const [what, items] of Object.entries(GAPS_BROKEN)) {
    test(`refuses parts ${what}`, () => {
      const { code, message } = refused({ ...FOR, ...inOne(items) });
      assert.equal(code, "BUNDLE_INVALID");
      assert.match(message, /parts-in-order/);
    });
  }
});

describe("bundle index", () => {
  test("is read as it was written", () => {
    const made = makeBundleIndex(GOOD);
    assert.deepEqual({ ...parseBundleIndex(made.bytes).value }, { ...made.value });
    assert.deepEqual(made.value.items, ITEMS);
    assert.equal(made.value.storeKey.keyId, GOOD.storeKey.keyId);
    assert.equal(refused({ blobs: "missing", for: { store: digestFor("b"), receipt: digestFor("r") } }).code, "ok");
    assert.equal(refused({ blobs: "none", ...inOne(ITEMS.slice(0, 7)) }).code, "ok");
  });

  for (const [rule, changes] of Object.entries(BROKEN)) {
    changes.forEach((change, at) => {
      test(`breaks ${rule} (${at + 1})`, () => {
        const { code, message } = refused(change);
        assert.equal(code, "BUNDLE_INVALID");
        assert.match(message, new RegExp(`\\(rule ${rule}\\)$`));
      });
    });
  }

  test("the rules' names are those in the table", () => {
    assert.deepEqual(Object.keys(BROKEN).sort(), Object.keys(INDEX_RULES).sort());
  });

  const base = parseCanonical(makeBundleIndex(GOOD).bytes) as CanonicalObject;
  const MEMBERS: readonly (readonly [string, CanonicalObject, string])[] = [
    ["another type", { type: "coffer/list" }, "BUNDLE_INVALID"],
    ["a later version", { version: 2 }, "UNSUPPORTED"],
    ["a member more", { madeAt: "2026-11-22T00:00:00Z" }, "UNSUPPORTED"],
    ["a key with a comment", { storeKey: `${keyFor("store").text} me` }, "BUNDLE_INVALID"],
    [
      "a name that is not folded",
      { names: [{ name: "Acme/tiny@main", heads: [], state: "revoked" }] },
      "BUNDLE_INVALID",
    ],
    ["a name that is not whole", { names: [{ name: "tiny", heads: [], state: "revoked" }] }, "BUNDLE_INVALID"],
    ["an item of three", { items: [[itemPath({ kind: "object", id: policy, sizeBytes: 1 }), 1, 1]] }, "BUNDLE_INVALID"],
    ["an item without a size", { items: [["objects/aa"]] }, "BUNDLE_INVALID"],
    ["an item of another place", { items: [["../objects/aa", 1]] }, "BUNDLE_INVALID"],
    ["a size below zero", { items: [["objects/aa", true]] }, "BUNDLE_INVALID"],
    ["an empty volume", { volumes: [11, 0] }, "BUNDLE_INVALID"],
    ["segments over 1 GiB", { segmentBytes: 1024 * MIB + 8 * MIB }, "BUNDLE_INVALID"],
    ["revocations that are not sorted", { revocations: [revocation, policy].sort().reverse() }, "BUNDLE_INVALID"],
    ["blobs of another kind", { blobs: "some" }, "BUNDLE_INVALID"],
  ];
  for (const [what, change, code] of MEMBERS) {
    test(`refuses ${what}`, () => {
      assert.throws(
        () => parseBundleIndex(encodeCanonical({ ...base, ...change })),
        (error) => isCofferError(error) && error.code === code,
      );
    });
  }

  test("an index of 100,000 items more passes", () => {
    const more = Array.from(
      { length: 100_000 },
      (_, at): Item => ({ kind: "object", id: digestFor(`${at}`), sizeBytes: at }),
    );
    const items = [...ITEMS.slice(0, 7), ...more, ...ITEMS.slice(7)];
    const { bytes } = makeBundleIndex({ ...GOOD, items, volumes: [items.length] });
    assert.equal(parseBundleIndex(bytes).value.items.length, items.length);
  });

  test("a source hands over what is wanted, in the order of the index", async () => {
    const files = new Map(ITEMS.slice(1).map((item) => [itemPath(item), new Uint8Array(1)]));
    const source = memorySource(makeBundleIndex(GOOD), files);
    const found: Item[] = [];
    for await (const { item } of source.parcels(({ kind }) => kind === "object")) found.push(item);
    assert.deepEqual(found, [ITEMS[1], ITEMS[3], ITEMS[6]]);
    assert.deepEqual(source.missing, ITEMS.slice(0, 1).map(itemPath));
  });

  test("refuses bytes that are not canonical", () => {
    const bytes = makeBundleIndex(GOOD).bytes;
    for (const bad of [bytes.subarray(1), bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from("\n")])]) {
      assert.throws(
        () => parseBundleIndex(bad),
        (error) => isCofferError(error, "BUNDLE_INVALID"),
      );
    }
  });
});
