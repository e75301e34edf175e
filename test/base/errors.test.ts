// SPDX-License-Identifier: Apache-2.0
/**
 * Errors: the closed table, and docs/errors.md as its mirror. UPDATE_GOLDEN=1 rewrites the page between its markers.
 * Not here: that each code is thrown somewhere, and by which command.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { CofferError, ERRORS, EXIT, isCofferError, passOthers, systemCode } from "../../src/base/errors.ts";
import { quote } from "../../src/base/quote.ts";

const PAGE = new URL("../../docs/errors.md", import.meta.url);
const BEGIN = "<!-- codes: begin, written by UPDATE_GOLDEN=1 -->\n";
const END = "<!-- codes: end -->\n";
const codes = Object.entries(ERRORS).sort(([a], [b]) => (a < b ? -1 : 1));

/** A hint as Markdown: outside code spans `<file>` would be taken for a tag. */
function markdown(hint: string): string {
  return hint
    .split("`")
    .map((piece, index) => (index % 2 === 0 ? piece.replaceAll("<", "\\<") : piece))
    .join("`");
}

function table(): string {
  const rows = codes.map(([code, { exit, hint }]) => `| \`${code}\` | ${exit} | ${markdown(hint)} |\n`);
  return `\n| code | exit | hint |\n|---|---|---|\n${rows.join("")}\n`;
}

function page(): { readonly before: string; readonly inside: string; readonly after: string } {
  const text = readFileSync(PAGE, "utf8");
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  assert.ok(begin >= 0 && end > begin, "docs/errors.md: expected both markers");
  const start = begin + BEGIN.length;
  return { before: text.slice(0, start), inside: text.slice(start, end), after: text.slice(end) };
}

describe("docs/errors.md", () => {
  if (process.env["UPDATE_GOLDEN"] === "1") {
    const { before, after } = page();
    writeFileSync(PAGE, `${before}${table()}${after}`);
  }

  test("lists every code once, with its exit status and hint, and no other", () => {
    assert.equal(page().inside, table(), "run with UPDATE_GOLDEN=1 and review the diff");
  });

  test("lists every exit status that the table has", () => {
    const rows = [...page().before.matchAll(/^\| (\d+) \| [a-z]/gm)].map(([, status]) => Number(status));
    assert.deepEqual(
      rows,
      Object.values(EXIT).sort((a, b) => a - b),
    );
  });

  test("its example is an error of the table, with the hint as it is printed", () => {
    const example = /^coffer: error: [a-z].* \[([A-Z_]+)\]\ncoffer: hint: (.*)$/m.exec(page().before);
    const entry = codes.find(([code]) => code === example?.[1])?.[1];
    assert.ok(entry !== undefined, "expected an example with a code of the table");
    assert.equal(example?.[2], entry.hint);
  });
});

describe("the table of errors", () => {
  for (const [code, { exit, hint }] of codes) {
    test(code, () => {
      assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
      assert.match(hint, /^[a-z][\x20-\x7e]*[^.\s]$/, "printable ascii, lower case first, no full stop last");
      assert.doesNotMatch(hint, /[|]/, "a bar would end a cell of docs/errors.md");
      assert.equal(hint.split("`").length % 2, 1, "code spans are closed");
      assert.ok(exit !== EXIT.ok && Object.values<number>(EXIT).includes(exit), `exit ${exit}`);
    });
  }

  test("INTERNAL alone means a fault of our own", () => {
    const internal = codes.filter(([, { exit }]) => exit === EXIT.internal).map(([code]) => code);
    assert.deepEqual(internal, ["INTERNAL"]);
  });
});

describe("CofferError", () => {
  const cause = new Error("below");
  const error = new CofferError("REF_MOVED", "expected a, found b", { cause });

  test("carries code, message and cause", () => {
    assert.ok(error instanceof Error);
    assert.deepEqual([error.name, error.code, error.message], ["CofferError", "REF_MOVED", "expected a, found b"]);
    assert.equal(error.cause, cause);
  });

  test("is recognised by code, never by look", () => {
    assert.equal(isCofferError(error), true);
    assert.equal(isCofferError(error, "DIVERGED", "REF_MOVED"), true);
    assert.equal(isCofferError(error, "DIVERGED"), false);
    for (const other of [undefined, null, "REF_MOVED", cause, { code: "REF_MOVED", name: "CofferError" }]) {
      assert.equal(isCofferError(other), false);
    }
  });

  test("a system error gives its code, nothing else does", () => {
    assert.equal(systemCode(Object.assign(new Error("x"), { code: "ENOENT" })), "ENOENT");
    for (const other of [undefined, null, { code: "ENOENT" }, cause, Object.assign(new Error("x"), { code: 2 })]) {
      assert.equal(systemCode(other), undefined);
    }
  });
});

describe("quoted text", () => {
  for (const [text, quoted] of [
    ["acme/tiny", '"acme/tiny"'],
    ['a"\\', '"a\\"\\\\"'],
    ["a\n\u001b", '"a\\n\\u001b"'],
    ["\u007f\u009b", '"\\u007f\\u009b"'],
    ["\u202e\u212aé", '"\\u202e\\u212a\\u00e9"'],
    ["😀", '"\\ud83d\\ude00"'],
  ] as const) {
    test(quoted, () => {
      assert.equal(quote(text), quoted);
      assert.equal(JSON.parse(quoted), text);
    });
  }

  test("is cut", () => {
    assert.equal(quote("x".repeat(1e6)).length, 122);
    assert.equal(quote("abc", 2), '"ab"');
  });
});

test("an error of another copy of the class is known; one that only has a code is not", () => {
  class Copy extends Error {
    override readonly name = "CofferError";
    readonly code = "NO_SPACE";
  }
  assert.ok(isCofferError(new Copy("x"), "NO_SPACE"));
  assert.ok(!isCofferError(new Copy("x"), "CORRUPT"));
  assert.ok(!isCofferError(Object.assign(new Error("x"), { code: "NO_SPACE" })));
  assert.ok(!isCofferError({ name: "CofferError", code: "NO_SPACE" }));
});

test("passOthers: what was expected is let through, with its type; anything else is thrown on as it is", () => {
  const known: unknown = new CofferError("CORRUPT", "x");
  passOthers(known);
  passOthers(known, "NO_SPACE", "CORRUPT");
  assert.equal(known.code, "CORRUPT");
  assert.throws(
    () => passOthers(known, "NO_SPACE"),
    (error) => error === known,
  );
  const fault = new TypeError("x");
  for (const codes of [[], ["INTERNAL"]] as const)
    assert.throws(
      () => passOthers(fault, ...codes),
      (error) => error === fault,
    );
});
