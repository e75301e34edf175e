// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md and the acceptance tests name the same ids: every row its one test or a reason, every test its row. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
/** How many there are of each kind; one that is dropped must not go unnoticed. */
const COUNTS = { S: 35, D: 2, P: 3, U: 8, O: 5, C: 15, L: 6, W: 18 };
const REASON = /^(?:cannot arise|not yet)\b.*: .{20,}/;

const page = readFileSync(join(ROOT, "docs", "acceptance.md"), "utf8");
const rows = [...page.matchAll(/^\| ([A-Z][0-9]+) \| (.+?) \| (.+) \| (.+?) \|$/gmu)].map(
  ([, id = "", expected = "", answer = "", where = ""]) => ({ id, expected, answer, where }),
);

function titles(): { id: string; path: string }[] {
  const names = readdirSync(join(ROOT, "test", "acceptance")).filter((name) => name.endsWith(".test.ts"));
  return names.flatMap((name) => {
    const path = `test/acceptance/${name}`;
    const found = [...readFileSync(join(ROOT, path), "utf8").matchAll(/^\s*test\(\s*["`]([^"`]*)/gmu)];
    return found.map(([, title = ""]) => ({ id: title.split(" ")[0] ?? "", path }));
  });
}

test("every expected id has exactly one row", () => {
  const wanted = Object.entries(COUNTS).flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, index) => `${kind}${index + 1}`),
  );
  assert.deepEqual(rows.map(({ id }) => id).sort(), wanted.sort());
});

test("every row names the file of its one test, or says why there is none", () => {
  const found = titles();
  for (const { id, answer, where } of rows) {
    const tests = found.filter((title) => title.id === id).map(({ path }) => `\`${path}\``);
    if (where === "none") {
      assert.deepEqual(tests, [], `${id} says that it has no test`);
      assert.match(answer, REASON, id);
    } else {
      assert.deepEqual(tests, [where], id);
      assert.doesNotMatch(answer, /^(?:cannot arise|not yet)/, id);
    }
  }
});

test("every acceptance test begins with the id of a row", () => {
  const known = new Set(rows.map(({ id }) => id));
  assert.deepEqual(
    titles().filter(({ id }) => !known.has(id)),
    [],
  );
});
