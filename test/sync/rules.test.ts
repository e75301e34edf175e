// SPDX-License-Identifier: Apache-2.0
/** docs/format.md lists every rule of a bundle, once, and no other. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { RULES } from "../../src/sync/rules.ts";

test("docs/format.md lists every rule of a bundle", () => {
  const page = readFileSync(new URL("../../docs/format.md", import.meta.url), "utf8");
  const section = page.slice(page.indexOf("## Bundles"), page.indexOf("## Limits"));
  const listed = [...section.matchAll(/^\| `([a-z]+(?:-[a-z]+)+)` \|/gm)].map(([, rule]) => rule);
  const names = RULES.flatMap((table) => Object.keys(table));
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(listed.toSorted(), names.toSorted());
});
