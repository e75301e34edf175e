// SPDX-License-Identifier: Apache-2.0
/** Names, patterns, labels and paths: the cases of names.json, git's own judgement, and properties. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import {
  type Name,
  nameFromParts,
  parseLabel,
  parseManifestPath,
  parseName,
  parsePattern,
} from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { loadVectors } from "../support/vectors.ts";

interface Accepted {
  readonly input: string;
  readonly name: string;
}
interface Refused {
  readonly input: string;
  readonly part: string;
  readonly rule: string;
}
const accepted = loadVectors<Accepted>("names", "accepted");
const refused = loadVectors<Refused>("names", "refused");

const title = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);

/** What the error text says when `part` breaks `rule`, so that a name is refused for its own fault and no other. */
function nameFault({ part, rule }: Refused): RegExp {
  switch (rule) {
    case "characters":
      return new RegExp(`: the ${part} must be letters and digits`);
    case "length":
      return part === "name" ? /: namespace\/model is over 96 characters/ : new RegExp(`: the ${part} is over 80`);
    case "lock":
      return new RegExp(`: the ${part} must not end in \\.lock`);
    case "device":
      return new RegExp(`: the ${part} is a device name`);
    case "reserved":
      return /: the namespace sha256 is reserved/;
    default:
      return assert.fail(`names.json: unknown rule ${rule}`);
  }
}

const PATH_FAULTS: ReadonlyMap<string, RegExp> = new Map([
  ["ascii", /: expected printable ascii/],
  ["length", /: over 1024 bytes/],
  ["characters", /: found one of/],
  ["part", /: found an empty part, \. or \.\./],
  ["ending", /: a part ends in a dot or a space/],
  ["device", /: a part is a device name/],
  ["reserved", /: nothing may lie in \.git or \.coffer/],
]);

describe("names: accepted", () => {
  for (const { input, name } of accepted) {
    test(title(input), () => {
      const parsed = parseName(input);
      assert.equal(parsed.text, name);
      assert.equal(`${parsed.namespace}/${parsed.model}@${parsed.version}`, name);
      assert.deepEqual(parseName(name), parsed, "the canonical form reads as itself");
      assert.deepEqual(nameFromParts(parsed.namespace, parsed.model, parsed.version), parsed);
    });
  }
});

describe("names: refused", () => {
  for (const vector of refused) {
    test(title(vector.input), () => {
      assert.throws(() => parseName(vector.input), { code: "NAME_INVALID", message: nameFault(vector) });
    });
  }

  test("each input stands in one class, once", () => {
    const inputs = [...accepted, ...refused].map(({ input }) => input);
    assert.deepEqual(
      inputs.filter((input, index) => inputs.indexOf(input) !== index),
      [],
    );
  });

  test("parts are never filled in", () => {
    for (const [namespace, model, version] of [
      ["", "tiny", "main"],
      ["acme", "", "main"],
      ["acme", "tiny", ""],
      ["acme", "tiny@v1", "main"],
      ["acme", "a/tiny", "main"],
      ["acme/a", "tiny", "main"],
    ] as const) {
      assert.throws(() => nameFromParts(namespace, model, version), { code: "NAME_INVALID" }, `${namespace} ${model}`);
    }
  });

  test("error texts are printable ascii and short, whatever was typed", () => {
    for (const input of ["\u001b[2J", "a\u009bK", "\u202ea", "\u212a", "\ud800", "x".repeat(1e6)]) {
      assert.throws(() => parseName(input), { message: /^[\x20-\x7e]{1,300}$/ }, title(input));
      assert.throws(() => parsePattern(input), { message: /^[\x20-\x7e]{1,300}$/ }, title(input));
      assert.throws(() => parseLabel(input), { message: /^[\x20-\x7e]{1,300}$/ }, title(input));
      assert.throws(() => parseManifestPath(`${input}\n`), { message: /^[\x20-\x7e]{1,300}$/ }, title(input));
    }
  });
});

const noGit = spawnSync("git", ["--version"]).status === 0 ? false : "needs git";
test("names: git takes the ref of every accepted name", { skip: noGit }, () => {
  assert.notEqual(spawnSync("git", ["check-ref-format", "refs/trusted/a/b.lock/main"]).status, 0, "git does refuse");
  for (const { input } of accepted) {
    const ref = nameRef("trusted", parseName(input));
    assert.equal(spawnSync("git", ["check-ref-format", ref]).status, 0, ref);
  }
});

/** Mostly near the grammar, so that both answers come up often. */
const nearName = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."aZ0._-/@"), maxLength: 20 }),
  fc.string({ unit: fc.constantFrom(..."ab/@KıK .{~"), maxLength: 12 }),
  fc.stringMatching(/^[aA0]{1,3}([._-][bB1]){0,2}\/[a-cA-C]{1,3}([._-][xX]){0,2}(@[a-z]{1,4})?$/),
  fc.string({ unit: "binary" }),
);

test("names: reading is idempotent, and what is read follows the grammar", () => {
  const whole = /^[a-z0-9]+([_-][a-z0-9]+)*\/[a-z0-9]+([._-][a-z0-9]+)*@[a-z0-9]+([._-][a-z0-9]+)*$/;
  let read = 0;
  fc.assert(
    fc.property(nearName, (input) => {
      let name: Name;
      try {
        name = parseName(input);
      } catch (error) {
        assert.ok(isCofferError(error, "NAME_INVALID"), String(error));
        return;
      }
      read += 1;
      assert.match(name.text, whole);
      assert.deepEqual(parseName(name.text), name);
      assert.equal(parseName(input.replace(/[a-z]/g, (letter) => letter.toUpperCase())).text, name.text);
    }),
    { numRuns: 2000 },
  );
  assert.ok(read > 100, `expected the property to see names, found ${read}`);
});

describe("patterns", () => {
  for (const { pattern, name, matches } of loadVectors<{ pattern: string; name: string; matches: boolean }>(
    "names",
    "patterns",
  )) {
    test(`${pattern} ${matches ? "matches" : "does not match"} ${name}`, () => {
      assert.equal(parsePattern(pattern).matches(parseName(name)), matches);
    });
  }

  for (const pattern of loadVectors<string>("names", "refusedPatterns")) {
    test(`refused: ${title(pattern)}`, () => {
      assert.throws(() => parsePattern(pattern), { code: "NAME_INVALID", message: /: a pattern is / });
    });
  }

  test("a name that is a pattern, and half a pattern, are refused with what was meant", () => {
    const hints = {
      "icu/*": "'icu/*@*'",
      "*": "'*/*@*'",
      "Tiny*": "'*/tiny*@*'",
      "icu/*@v1": "'icu/*@v1'",
      "b c*": "'*/*@*'",
    };
    for (const [text, whole] of Object.entries(hints)) {
      const message = new RegExp(`; to see which names match a pattern: coffer list ${whole.replaceAll("*", "\\*")}$`);
      assert.throws(() => parseName(text), { code: "NAME_INVALID", message });
    }
    for (const [text, whole] of [
      ["icu/*", "'icu/*@*'"],
      ["tiny", "'*/tiny@*'"],
      ["icu/tiny", "'icu/tiny@*'"],
    ])
      assert.throws(() => parsePattern(text ?? ""), {
        message: new RegExp(`for any run, such as ${whole?.replaceAll("*", "\\*")}$`),
      });
    assert.throws(() => parsePattern("a b"), { message: /each part with \* for any run$/ });
  });

  test("none matches the reserved namespace, however a name was made", () => {
    const forged: Name = { ...parseName("a/b@c"), namespace: "sha256" };
    for (const pattern of ["*/*@*", "sha256/*@*", "sha*/b@c", "sha256/b@c", "**/**@**"]) {
      assert.equal(parsePattern(pattern).matches(forged), false, pattern);
    }
  });

  test("a part is matched like the regular expression that its stars stand for", () => {
    const partPattern = fc.string({ unit: fc.constantFrom(..."ab.**"), minLength: 1, maxLength: 8 });
    const part = fc.stringMatching(/^[ab]{1,4}(\.[ab]{1,3})?$/);
    const naive = (pattern: string): RegExp =>
      new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "[^/@]*")}$`);
    fc.assert(
      fc.property(partPattern, part, fc.constantFrom("a", "*"), (pattern, model, version) => {
        const found = parsePattern(`n/${pattern}@${version}`).matches(nameFromParts("n", model, "a"));
        assert.equal(found, naive(pattern).test(model));
      }),
      { numRuns: 5000 },
    );
  });

  test("many stars cost no more than the text is long", () => {
    const pattern = parsePattern(`${"a*".repeat(40)}/x@x`);
    assert.equal(pattern.matches(nameFromParts("a".repeat(80), "x", "x")), true);
    assert.equal(parsePattern(`${"*a".repeat(39)}b/x@x`).matches(nameFromParts("a".repeat(80), "x", "x")), false);
  });
});

describe("labels", () => {
  for (const label of ["a", "0", "alice", "ci-runner.2", "a_b", "a.", "a-", "x".repeat(64)]) {
    test(`accepted: ${title(label)}`, () => assert.equal(parseLabel(label), label));
  }
  for (const label of ["", "Alice", "-a", ".a", "_a", "a b", "a/b", "a@b", "a\n", "é", "\u212a", "x".repeat(65)]) {
    test(`refused: ${title(label)}`, () => {
      assert.throws(() => parseLabel(label, "principal"), { code: "NAME_INVALID", message: /a principal is up to 64/ });
    });
  }
});

describe("paths", () => {
  for (const path of loadVectors<string>("names", "paths")) {
    test(`accepted: ${title(path)}`, () => assert.equal(parseManifestPath(path), path));
  }
  for (const { path, rule } of loadVectors<{ path: string; rule: string }>("names", "refusedPaths")) {
    test(`refused: ${title(path)} (${rule})`, () => {
      const message = PATH_FAULTS.get(rule) ?? assert.fail(`names.json: unknown rule ${rule}`);
      assert.throws(() => parseManifestPath(path), { code: "PATH_INVALID", message });
    });
  }

  test("whatever is accepted stays inside its folder and means the same on any system", () => {
    const near = fc.string({ unit: fc.constantFrom(..."a./\\ :~"), maxLength: 10 });
    fc.assert(
      fc.property(near, (path) => {
        try {
          parseManifestPath(path);
        } catch (error) {
          assert.ok(isCofferError(error, "PATH_INVALID"), String(error));
          return;
        }
        const parts = path.split("/");
        assert.ok(parts.every((part) => !["", ".", ".."].includes(part) && !/[. ]$/.test(part)));
        assert.doesNotMatch(path, /[\\:]/);
      }),
      { numRuns: 2000 },
    );
  });
});
