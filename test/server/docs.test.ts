// SPDX-License-Identifier: Apache-2.0
/** docs/http.md lists the refusals that the code has, in its words. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { REFUSALS } from "../../src/server/refusal.ts";

test("the table of refusals in docs/http.md is that of the code", () => {
  const text = readFileSync(new URL("../../docs/http.md", import.meta.url), "utf8");
  const table = /<!-- refusals: begin -->\n\n.*\n.*\n([\s\S]*?)\n\n<!-- refusals: end -->/.exec(text)?.[1];
  const rows = Object.entries(REFUSALS).map(
    ([code, { status, text: told }]) => `| \`${code}\` | ${status} | ${told} |`,
  );
  assert.equal(table, rows.join("\n"));
});
