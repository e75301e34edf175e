// SPDX-License-Identifier: Apache-2.0
/** Canonical JSON: one value, one encoding. The cases of canonical-json.json, then properties over bytes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  type CanonicalObject,
  type CanonicalValue,
  encodeCanonical,
  encodeInPieces,
  parseCanonical,
} from "../../src/base/canonical-json.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { loadVectors } from "../support/vectors.ts";

interface Case {
  readonly name: string;
  readonly text?: string;
  readonly hex?: string;
  readonly accepted: boolean;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const bytesOf = ({ text, hex }: Case): Uint8Array =>
  text === undefined ? new Uint8Array(Buffer.from(hex ?? "", "hex")) : utf8(text);

describe("canonical json", () => {
  for (const vector of loadVectors<Case>("canonical-json")) {
    test(`${vector.accepted ? "accepted" : "refused"}: ${vector.name}`, () => {
      const bytes = bytesOf(vector);
      if (!vector.accepted) {
        assert.throws(() => parseCanonical(bytes), { code: "JSON_INVALID" });
        return;
      }
      const value = parseCanonical(bytes);
      assert.deepEqual(encodeCanonical(value), bytes);
      // The same value as the engine's own parser gives, prototypes apart.
      assert.equal(JSON.stringify(value), JSON.stringify(JSON.parse(new TextDecoder().decode(bytes))));
    });
  }

  test("every case has its own name", () => {
    const names = loadVectors<Case>("canonical-json").map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });

  test("in pieces it is the same bytes, wherever lists are cut", () => {
    const joined = (value: Parameters<typeof encodeInPieces>[0]): string =>
      Buffer.concat([...encodeInPieces(value)]).toString();
    for (const length of [0, 1, 255, 256, 257, 512, 700]) {
      const list = Array.from({ length }, (_, at) => ({ at, text: `"${at}"` }));
      const value = { b: list, a: "x", c: undefined, d: { list } };
      const whole = Buffer.from(encodeCanonical(value)).toString();
      assert.equal(joined({ ...value, b: () => list }), whole);
      assert.equal(joined({ c: undefined, b: () => list }), Buffer.from(encodeCanonical({ b: list })).toString());
    }
    assert.equal(joined({}), "{}\n");
    assert.equal(joined({ a: undefined }), "{}\n");
    assert.throws(() => joined({ "a b": () => [] }), { code: "JSON_INVALID" });
    assert.throws(() => joined({ a: () => [1.5] }), { code: "JSON_INVALID" });
  });

  test("parsed objects have no prototype, at any depth", () => {
    const outer = parseCanonical(utf8('{"a":[{"b":{}}]}\n')) as CanonicalObject;
    const middle = (outer["a"] as readonly CanonicalObject[])[0];
    for (const found of [outer, middle, middle?.["b"]]) assert.equal(Object.getPrototypeOf(found), null);
    assert.equal(outer["toString"], undefined);
  });

  test("bytes over the limit are refused before they are read", () => {
    const bytes = utf8(`"${"x".repeat(20)}"\n`);
    assert.equal(parseCanonical(bytes, "policy", bytes.length), "x".repeat(20));
    assert.throws(() => parseCanonical(bytes, "policy", bytes.length - 1), {
      code: "LIMIT_EXCEEDED",
      message: "policy: expected at most 22 bytes, found 23",
    });
  });

  test("hostile nesting is a refusal, not a crash", () => {
    for (const unit of ["[", '{"a":']) {
      assert.throws(() => parseCanonical(utf8(unit.repeat(1e5))), { code: "JSON_INVALID" });
    }
    assert.throws(() => parseCanonical(utf8(`${"[".repeat(1e5)}${"]".repeat(1e5)}\n`)), { code: "JSON_INVALID" });
    let deep: CanonicalValue = [];
    for (let depth = 0; depth < 1e5; depth += 1) deep = [deep];
    assert.throws(() => encodeCanonical(deep), { code: "JSON_INVALID" });
  });

  test("error texts are printable ascii and short", () => {
    for (const key of ["\u001b[2J", "\u009b", "\u202e", "\u212a".repeat(1e5)]) {
      const bytes = utf8(`{${JSON.stringify(key)}:1}\n`);
      assert.throws(() => parseCanonical(bytes), { message: /^[\x20-\x7e]{1,900}$/ });
      assert.throws(() => encodeCanonical({ [key]: 1 }), { message: /^[\x20-\x7e]{1,900}$/ });
    }
  });
});

describe("canonical json: what is not written", () => {
  const refusals: readonly (readonly [string, unknown])[] = [
    ["null", null],
    ["null inside", { a: [null] }],
    ["undefined", undefined],
    ["undefined in an array", [undefined]],
    ["a fraction", 0.5],
    ["a negative", -1],
    ["minus zero", -0],
    ["2^53", 2 ** 53],
    ["NaN", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
    ["a bigint", 1n],
    ["a symbol", Symbol("a")],
    ["a function", () => 1],
    ["a newline", "a\nb"],
    ["DEL", "\u007f"],
    ["a C1 control", "\u0090"],
    ["a lone surrogate", "\ud800"],
    ["a lone surrogate inside", { a: ["x\udc00"] }],
    ["an empty key", { "": 1 }],
    ["a key of Object.prototype", { constructor: 1 }],
    ["an own __proto__", JSON.parse('{"__proto__":1}')],
    ["a key outside the grammar", { "a b": 1 }],
  ];
  for (const [name, value] of refusals) {
    test(name, () => assert.throws(() => encodeCanonical(value as CanonicalValue), { code: "JSON_INVALID" }));
  }

  test("undefined members are left out, and nothing else is", () => {
    const bytes = encodeCanonical({ b: undefined, a: "", c: 0, d: false, e: [] });
    assert.equal(new TextDecoder().decode(bytes), '{"a":"","c":0,"d":false,"e":[]}\n');
  });
});

const key = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9_./@:-]{0,6}$/)
  .filter((candidate) => !(candidate in Object.prototype));
const characters = fc.string({ unit: "binary", maxLength: 8 }).filter((text) => !/\p{Cc}/u.test(text));
const value = fc.letrec<{ value: CanonicalValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    fc.boolean(),
    fc.maxSafeNat(),
    characters,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: false }),
  ),
})).value;

describe("canonical json: properties", () => {
  test("encode, parse, encode gives the same bytes and an equal value", () => {
    fc.assert(
      fc.property(value, (original) => {
        const bytes = encodeCanonical(original);
        const parsed = parseCanonical(bytes);
        assert.deepEqual(encodeCanonical(parsed), bytes);
        assert.deepEqual(JSON.parse(JSON.stringify(parsed)), JSON.parse(JSON.stringify(original)));
        assert.equal(bytes.at(-1), 0x0a);
      }),
      { numRuns: 500 },
    );
  });

  test("the order in which members were set does not show", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 6 }), (members) => {
        assert.deepEqual(
          encodeCanonical(Object.fromEntries(members)),
          encodeCanonical(Object.fromEntries(members.toReversed())),
        );
      }),
    );
  });

  test("a changed byte is refused, or is the one encoding of another value", () => {
    let stood = 0;
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (original, place, change) => {
        const bytes = encodeCanonical(original);
        const index = place % bytes.length;
        bytes[index] = (bytes[index] ?? 0) ^ change;
        try {
          assert.deepEqual(encodeCanonical(parseCanonical(bytes)), bytes);
          stood += 1;
        } catch (error) {
          assert.ok(isCofferError(error, "JSON_INVALID"), String(error));
        }
      }),
      { numRuns: 3000 },
    );
    assert.ok(stood > 10, `expected some changes to stand, found ${stood}`);
  });

  test("a byte inserted or removed likewise", () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.option(fc.constantFrom(...' \n\t,:0"\\{}[]')), (original, place, added) => {
        const bytes = [...encodeCanonical(original)];
        bytes.splice(place % bytes.length, added === null ? 1 : 0, ...utf8(added ?? ""));
        const changed = Uint8Array.from(bytes);
        try {
          assert.deepEqual(encodeCanonical(parseCanonical(changed)), changed);
        } catch (error) {
          assert.ok(isCofferError(error, "JSON_INVALID"), String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

test("canonical json: the depth limit is the one of the table", () => {
  assert.equal(LIMITS.jsonDepth, 32);
});
