// SPDX-License-Identifier: Apache-2.0
/** The quick reader of leaves takes nothing that the general parser would refuse or read in another way. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { sha256OfText } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { ID_CHARS, PART_CHARS, parseName } from "../../src/base/names.ts";
import {
  asRefPath,
  COMMON_REF,
  evidenceRef,
  hasShortParts,
  NAME_FAMILIES,
  nameRef,
  POLICY_REF,
  refusedRef,
  revokedRef,
  signersRef,
} from "../../src/base/ref-path.ts";
import { endsOf, idIn, placeOf, readPlainLeaf } from "../../src/refs/ref-leaf.ts";
import { makeRefNode, parseRefNode } from "../../src/refs/ref-node.ts";
import { general } from "./fixture.ts";

const digests = fc.string().map(sha256OfText);
const words = fc.stringMatching(/^[a-z0-9]{1,12}([_-][a-z0-9]{1,12}){0,2}$/);
const names = fc
  .tuple(words, words, words)
  .map(([namespace, model, version]) => `${namespace}/${model}@${version}`)
  .filter((text) => isName(text))
  .map((text) => parseName(text));
const refs = fc.oneof(
  fc.tuple(fc.constantFrom(...NAME_FAMILIES), names).map(([family, name]) => nameRef(family, name)),
  digests.map((digest) => evidenceRef(digest)),
  digests.map((digest) => refusedRef(digest)),
  digests.map((digest) => signersRef(digest)),
  fc.tuple(digests, fc.constantFrom("manifest", "blob", "statement")).map(([digest, kind]) => revokedRef(digest, kind)),
);
const entries = fc
  .uniqueArray(fc.record({ ref: refs, id: digests }), { selector: ({ ref }) => ref, minLength: 1, maxLength: 64 })
  .map((list) => list.map((entry) => ({ ...entry, place: placeOf(entry.ref) })));

const COMMON = new RegExp(`^${COMMON_REF}$`);
const isCommonRef = (text: string): boolean => COMMON.test(text) && hasShortParts(text);

function isName(text: string): boolean {
  return passes(() => parseName(text));
}

function passes(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return false;
  }
}

function agrees(bytes: Uint8Array): void {
  const quick = readPlainLeaf(bytes);
  if (quick === undefined) return;
  const slow = general(bytes);
  assert.ok(slow?.kind === "leaf");
  // First what is answered without all entries, then these.
  for (const { ref, id } of slow.entries) {
    assert.equal(idIn(quick, ref), id);
    const longer = nameRef("trusted", parseName(`other/than-${id.slice(0, 8)}@all`));
    assert.equal(idIn(quick, longer), idIn(slow, longer));
  }
  assert.deepEqual(endsOf(quick), [...new Set([...slow.entries.slice(0, 1), ...slow.entries.slice(-1)])]);
  assert.deepEqual(quick.entries, slow.entries);
  assert.deepEqual(
    quick.entries.map(({ place }) => place),
    slow.entries.map(({ place }) => place),
  );
}

describe("leaves, read quickly", () => {
  test("every leaf of common refs is read, as the general parser reads it", () => {
    fc.assert(
      fc.property(entries, (list) => {
        const { bytes, value } = makeRefNode({ kind: "leaf", entries: list });
        assert.ok(readPlainLeaf(bytes) !== undefined);
        assert.deepEqual(parseRefNode(bytes), value);
        agrees(bytes);
      }),
    );
  });

  test("bytes changed, added or taken away anywhere: nothing is taken that the general parser refuses", () => {
    const edit = fc.record({
      at: fc.nat(),
      cut: fc.nat({ max: 3 }),
      put: fc.constantFrom(...' "\\,[]{}/.A0z-\n\u00e9', ""),
    });
    fc.assert(
      fc.property(entries, fc.array(edit, { minLength: 1, maxLength: 3 }), (list, edits) => {
        let bytes: Uint8Array = makeRefNode({ kind: "leaf", entries: list }).bytes;
        for (const { at, cut, put } of edits) {
          const from = at % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, from), Buffer.from(put), bytes.subarray(from + cut)]);
        }
        agrees(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  const one = `["refs/trusted/a/b/c","${"0".repeat(64)}"]`;
  const two = `["refs/trusted/a/b/d","${"0".repeat(64)}"]`;
  const leaf = (inner: string): Buffer => Buffer.from(`{"entries":[${inner}],"type":"coffer/refs","version":1}\n`);
  const refused: Record<string, Buffer> = {
    "out of order": leaf(`${two},${one}`),
    "a ref twice": leaf(`${one},${one}`),
    "a comma at the end": leaf(`${one},`),
    "no comma between": leaf(`${one}${two}`),
    "a space": leaf(`${one}, ${two}`),
    "65 entries": leaf(
      Array.from({ length: 65 }, (_, at) => one.replace("/c", `/c${String(at).padStart(2, "0")}`)).join(","),
    ),
    "a capital in an id": leaf(one.replace("00", "0A")),
    "something after it": Buffer.concat([leaf(one), Buffer.from("\n")]),
    "something in it, twice the end": Buffer.concat([leaf(one), leaf(two)]),
    "a device name": leaf(one.replace("/a/", "/con/")),
    "the reserved namespace": leaf(one.replace("/a/", "/sha256/")),
    "an unknown family": leaf(one.replace("trusted", "thrusted")),
  };
  test("a leaf of one and of two is read", () => {
    for (const good of [leaf(one), leaf(`${one},${two}`)]) assert.ok(readPlainLeaf(good) !== undefined);
  });
  for (const [what, bytes] of Object.entries(refused)) {
    test(`refused: ${what}`, () => {
      assert.equal(readPlainLeaf(bytes), undefined);
      assert.equal(general(bytes), undefined);
    });
  }
  test("a ref of megabytes is refused by its length, and does not exhaust the pattern", () => {
    const long = "a-".repeat(3_500_000);
    for (const bytes of [leaf(`["refs/trusted/a/b/${long}a","${"0".repeat(64)}"]`), leaf(`["refs/trusted/a/b/${long}`)])
      assert.throws(() => parseRefNode(bytes), isCofferError);
  });
  test("left to the general parser: no entries, the policy's ref", () => {
    for (const bytes of [leaf(""), leaf(`["${POLICY_REF}","${"0".repeat(64)}"]`)]) {
      assert.equal(readPlainLeaf(bytes), undefined);
      assert.ok(general(bytes) !== undefined);
    }
  });
});

describe("common refs", () => {
  test("never one that is no ref", () => {
    const part = fc.constantFrom(
      "a",
      "con",
      "nul.x",
      "com1",
      "lpt9",
      "conx",
      "a.lock",
      "sha256",
      "a-b",
      "a_b",
      "a.b",
      "A",
      "",
    );
    const long = fc.tuple(fc.constantFrom("a", "b.c"), fc.nat({ max: 100 })).map(([text, count]) => text.repeat(count));
    const rest = fc.oneof(part, long, fc.constant("0".repeat(64)), fc.constantFrom("blob", "manifest"), fc.string());
    const families = fc.constantFrom(...NAME_FAMILIES, "policy", "evidence", "refused", "signers", "remotes");
    fc.assert(
      fc.property(families, fc.array(rest, { maxLength: 4 }), (family, parts) => {
        const text = ["refs", family, ...parts].join("/");
        const isRef = passes(() => asRefPath(text));
        if (text === POLICY_REF) assert.ok(isRef && !isCommonRef(text));
        else assert.equal(isCommonRef(text), isRef, text);
      }),
      { numRuns: 5000 },
    );
  });

  test("up to the limits of a name's parts, and not beyond", () => {
    const text = (namespace: number, model: number, version: number): string =>
      `refs/trusted/${"a".repeat(namespace)}/${"b".repeat(model)}/${"c".repeat(version)}`;
    const named = `refs/trusted/a/sha256/${"c".repeat(PART_CHARS)}`;
    assert.deepEqual(
      [isCommonRef(named), isCommonRef(`${named}c`)],
      [true, false],
      "a model by that name is no digest",
    );
    const rest = ID_CHARS - 1 - PART_CHARS;
    for (const good of [text(PART_CHARS, rest, PART_CHARS), text(rest, PART_CHARS, 1)]) assert.ok(isCommonRef(good));
    for (const bad of [text(PART_CHARS, rest + 1, 1), text(1, PART_CHARS + 1, 1), text(1, 1, PART_CHARS + 1)]) {
      assert.equal(isCommonRef(bad), false);
      assert.equal(
        passes(() => asRefPath(bad)),
        false,
      );
    }
  });
});
