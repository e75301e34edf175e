// SPDX-License-Identifier: Apache-2.0
/** The strict JSON reader: what RFC 8259 allows and JSON.parse agrees with, and all that only JSON.parse would take. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type JsonValue, readJson } from "../../src/base/json-reader.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (text: string): JsonValue => readJson(utf8(text));

/** Maps back to plain objects, as JSON.parse makes them. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) {
    const members = [...value].map(([key, member]) => [key, plain(member)] as const);
    return Object.fromEntries(members);
  }
  return Array.isArray(value) ? value.map(plain) : value;
}

describe("json reader: accepted", () => {
  for (const text of [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1.5e+3",
    "1E-2",
    "9007199254740993",
    "1e-400",
    '""',
    '"a/b \\/ \\" \\\\ \\b\\f\\n\\r\\t"',
    '"\\u0041\\u00e9\\uD83D\\ude00"',
    '"\\u0000"',
    '"\u007f\u0085é😀\u2028"',
    "[]",
    "[ ]",
    "{}",
    "{ }",
    " \t\r\n[ 1 , [ 2 ] , { } ] \n",
    '{"a":1,"A":2,"":3}',
    '{ "b" : 1 , "a" : { "b" : [ null ] } }',
  ]) {
    test(JSON.stringify(text), () => assert.deepEqual(plain(read(text)), JSON.parse(text)));
  }

  test("objects are maps in the order of the text; no key has a meaning of its own", () => {
    const members = read('{"z":1,"9":2,"10":3,"__proto__":4,"constructor":5}');
    assert.ok(members instanceof Map);
    assert.deepEqual([...members.keys()], ["z", "9", "10", "__proto__", "constructor"]);
    assert.equal(members.get("__proto__"), 4);
    assert.equal(({} as Record<string, unknown>)["z"], undefined);
  });

  test("one key at different levels is no repeat", () => {
    assert.deepEqual(plain(read('{"a":{"a":1},"b":{"a":2}}')), { a: { a: 1 }, b: { a: 2 } });
  });
});

describe("json reader: refused", () => {
  const texts: readonly (readonly [string, string, RegExp?])[] = [
    ["nothing", "", /expected a value at character 0, found the end/],
    ["only space", " \n"],
    ["a word", "nul"],
    ["another case", "True"],
    ["NaN", "NaN"],
    ["Infinity", "-Infinity"],
    ["two values", "1 2", /expected the end at character 2/],
    ["something after the value", "{}x", /expected the end at character 2/],
    ["NUL after the value", "{}\0"],
    ["no-break space", "\u00a0{}"],
    ["vertical tab", "\v{}"],
    ["comment", "{}//"],
    ["comment inside", "[1/**/]"],
    ["leading zero", "01", /expected the end at character 1/],
    ["minus zero one", "-01"],
    ["minus alone", "-"],
    ["plus", "+1"],
    ["no digit before the point", ".5"],
    ["no digit after the point", "1."],
    ["no digit in the exponent", "1e"],
    ["sign only in the exponent", "1e+"],
    ["hexadecimal", "0x10"],
    ["underscore", "1_000"],
    ["too large for a double", "1e400", /within the range of a double/],
    ["too small for a double", "[-1e400]", /within the range of a double/],
    ["digits without end", `1${"0".repeat(400)}`],
    ["array not closed", "[1", /expected ',' or '\]' at character 2, found the end/],
    ["array with a comma too many", "[1,]"],
    ["array with a comma first", "[,1]"],
    ["array without a comma", "[1 2]"],
    ["array closed as an object", "[1}"],
    ["object not closed", '{"a":1'],
    ["object with a comma too many", '{"a":1,}', /expected a key/],
    ["object without a colon", '{"a" 1}', /expected ':'/],
    ["object without a value", '{"a":}'],
    ["key without quotes", "{a:1}"],
    ["key a number", "{1:1}"],
    ["key in single quotes", "{'a':1}"],
    ["repeated key", '{"a":1,"a":2}', /each key once, and "a" came before/],
    ["repeated key, same value", '{"a":1,"b":2,"a":1}', /each key once/],
    ["repeated key by escape", '{"a":1,"\\u0061":2}', /each key once/],
    ["repeated empty key", '{"":1,"":1}', /each key once/],
    ["repeated __proto__", '{"__proto__":1,"__proto__":1}', /each key once/],
    ["repeated key, inner", '[{"a":{"b":1,"b":1}}]', /each key once/],
    ["string not closed", '"abc'],
    ["string that ends in a backslash", '"abc\\'],
    ["string with a raw newline", '"a\nb"'],
    ["string with a raw tab", '"a\tb"'],
    ["string with a raw NUL", '"a\0b"'],
    ["unknown escape", '"\\x41"', /expected an escape/],
    ["escape in capitals", '"\\N"', /expected an escape/],
    ["escaped newline", '"\\\n"', /expected an escape/],
    ["\\u with three digits", '"\\u004"', /four hex digits/],
    ["\\u with no hex digit", '"\\u00g0"', /four hex digits/],
    ["\\u with a sign", '"\\u+041"', /four hex digits/],
    ["\\u with a space", '"\\u 041"', /four hex digits/],
    ["lone high surrogate", '"\\ud800"', /lone surrogates/],
    ["lone low surrogate", '"\\udc00"', /lone surrogates/],
    ["high surrogate before text", '"\\ud83dx"', /lone surrogates/],
    ["surrogates in the wrong order", '"\\ude00\\ud83d"', /lone surrogates/],
    ["lone surrogate in a key", '{"\\ud800":1}', /lone surrogates/],
    ["byte order mark", "\ufeff{}", /byte order mark/],
    ["byte order mark after space", " \ufeff{}"],
  ];
  for (const [name, text, message] of texts) {
    test(name, () => {
      assert.throws(() => read(text), message ? { code: "JSON_INVALID", message } : { code: "JSON_INVALID" });
    });
  }

  for (const [name, hex] of [
    ["overlong NUL", "22c08022"],
    ["overlong slash", "22e080af22"],
    ["surrogate in utf-8", "22eda08022"],
    ["lone continuation byte", "228022"],
    ["sequence cut short", "22e28222"],
    ["past U+10FFFF", "22f490808022"],
    ["latin-1", "22e922"],
    ["utf-16", "fffe7b007d00"],
  ] as const) {
    test(name, () => {
      const bytes = new Uint8Array(Buffer.from(hex, "hex"));
      assert.throws(() => readJson(bytes), {
        code: "JSON_INVALID",
        message: "json: expected utf-8, found other bytes",
      });
    });
  }

  test("the text names the input as it was told, in short printable ascii", () => {
    assert.throws(() => readJson(utf8("?"), { what: "policy draft" }), { message: /^policy draft: expected a value/ });
    const keys = ["\u009b2J", "\u202e", "x".repeat(1e6)];
    for (const key of keys) {
      const text = `{${JSON.stringify(key)}:1,${JSON.stringify(key)}:1}`;
      assert.throws(() => read(text), { message: /^[\x20-\x7e]{1,300}$/ });
    }
    assert.throws(() => read("\u009b"), { message: /^[\x20-\x7e]{1,300}$/ });
  });
});

describe("json reader: depth and size", () => {
  test("nesting of 32 stands, of 33 does not", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":[', "]}"],
    ] as const) {
      const levels = open.includes("[") && open.includes("{") ? 2 : 1;
      const nest = (count: number): string => `${open.repeat(count)}${close.repeat(count)}`;
      assert.doesNotThrow(() => read(nest(32 / levels)));
      assert.throws(() => read(nest(32 / levels + 1)), { code: "JSON_INVALID", message: /nesting of at most 32/ });
    }
  });

  test("the caller may ask for less", () => {
    assert.doesNotThrow(() => readJson(utf8("[[1]]"), { maxDepth: 2 }));
    assert.throws(() => readJson(utf8("[[[1]]]"), { maxDepth: 2 }), { message: /nesting of at most 2/ });
    assert.throws(() => readJson(utf8("[]"), { maxDepth: 0 }), { message: /nesting of at most 0/ });
  });

  test("hostile nesting is a refusal, not a crash", () => {
    for (const unit of ["[", '{"a":', '[{"a":', "[[],"]) {
      assert.throws(() => read(unit.repeat(1e5)), { code: "JSON_INVALID", message: /nesting of at most 32/ });
    }
  });

  test("long strings, many escapes, many members", () => {
    const long = "x".repeat(2e7);
    assert.equal(read(`"${long}"`), long);
    assert.equal(read(`"é${long}"`), `é${long}`);
    assert.equal(read(`"${"\\n".repeat(1e5)}"`), "\n".repeat(1e5));
    const members = read(`{${Array.from({ length: 1e5 }, (_, index) => `"k${index}":${index}`).join(",")}}`);
    assert.ok(members instanceof Map && members.size === 1e5 && members.get("k99999") === 99999);
  });
});

test("json reader: agrees with JSON.parse on whatever JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 1, "\t"), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      // Lone surrogates are written as escapes, and are refused here.
      fc.pre(!/\\ud[89a-f]/.test(text));
      assert.deepEqual(plain(read(text)), JSON.parse(text));
    }),
    { numRuns: 500 },
  );
});

test("json reader: never takes what JSON.parse refuses", () => {
  const near = fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0e1-.+ an\n'), maxLength: 12 });
  const parses = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(near, (text) => {
      if (!parses(text)) assert.throws(() => read(text), { code: "JSON_INVALID" });
    }),
    { numRuns: 5000 },
  );
});
