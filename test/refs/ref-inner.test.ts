// SPDX-License-Identifier: Apache-2.0
/** The quick reader of inner nodes takes nothing that the general parser would refuse or read in another way. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { sha256OfText } from "../../src/base/digest.ts";
import { DIGITS, readPlainInner } from "../../src/refs/ref-inner.ts";
import { makeRefNode, parseRefNode } from "../../src/refs/ref-node.ts";
import { general } from "./fixture.ts";

const inners = fc
  .tuple(fc.subarray([...DIGITS], { minLength: 1 }), fc.nat())
  .map(([digits, seed]) => new Map(digits.map((digit) => [digit, sha256OfText(`${seed} ${digit}`)])))
  .map((children) => makeRefNode({ kind: "inner", children }).bytes);

describe("inner nodes, read quickly", () => {
  test("every inner node is read, as the general parser reads it", () => {
    fc.assert(
      fc.property(inners, (bytes) => {
        assert.ok(readPlainInner(bytes) !== undefined);
        assert.deepEqual(readPlainInner(bytes), general(bytes));
        assert.deepEqual(parseRefNode(bytes), general(bytes));
      }),
    );
  });

  test("bytes changed, added or taken away anywhere: nothing is taken that the general parser refuses", () => {
    const put = fc.constantFrom(...' "\\,:{}09afAg\n\u00e9', "", `,"f":"${"0".repeat(64)}"`);
    const edit = fc.record({ at: fc.nat(), cut: fc.constantFrom(0, 1, 2, 70), put });
    fc.assert(
      fc.property(inners, fc.array(edit, { minLength: 1, maxLength: 3 }), (start, edits) => {
        let bytes: Uint8Array = start;
        for (const { at, cut, put } of edits) {
          const from = at % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, from), Buffer.from(put), bytes.subarray(from + cut)]);
        }
        const quick = readPlainInner(bytes);
        if (quick !== undefined) assert.deepEqual(quick, general(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  const child = (digit: string): string => `"${digit}":"${"0".repeat(64)}"`;
  const node = (inner: string): Buffer => Buffer.from(`{"children":{${inner}},"type":"coffer/refs","version":1}\n`);
  const refused: Record<string, Buffer> = {
    "no children": node(""),
    "out of order": node(`${child("1")},${child("0")}`),
    "a digit twice": node(`${child("1")},${child("1")}`),
    "a digit that is none": node(child("g")),
    "a capital digit": node(child("A")),
    "two digits": node(child("00")),
    "a comma at the end": node(`${child("0")},`),
    "no comma between": node(child("0") + child("1")),
    "a space": node(`${child("0")}, ${child("1")}`),
    "a capital in an id": node(child("0").replace("00", "0A")),
    "an id that is short": node(child("0").replace("00", "0")),
    "something after it": Buffer.concat([node(child("0")), Buffer.from("\n")]),
    "something in it, twice the end": Buffer.concat([node(child("0")), node(child("1"))]),
    "another version": Buffer.from(node(child("0")).toString().replace('"version":1', '"version":2')),
    "17 children": node([...DIGITS, "f"].map(child).join(",")),
    "a leaf": Buffer.from(node(child("0")).toString().replace("children", "entries")),
  };
  for (const [what, bytes] of Object.entries(refused)) {
    test(`refused: ${what}`, () => {
      assert.equal(readPlainInner(bytes), undefined);
      assert.equal(general(bytes), undefined);
    });
  }
});
