// SPDX-License-Identifier: Apache-2.0
/** docs/man/ holds the man pages that the command tree gives; UPDATE_GOLDEN=1 rewrites them. mandoc finds no fault. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { EXIT } from "../../src/base/errors.ts";
import { pagesOf } from "../../src/cli/pages.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";
import { MAN_STATUSES, manFile, manPage, manPages, roff } from "../support/man-pages.ts";
import { quietIo } from "../support/quiet-io.ts";

const FOLDER = fileURLToPath(new URL("../../docs/man/", import.meta.url));
const root = pagesOf(buildProgram(quietIo, new Ui(quietIo), { exit: 0 }));
const expected = new Map(manPages(root).map((page) => [manFile(page), manPage(root, page)]));

if (process.env["UPDATE_GOLDEN"] === "1") {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of expected) writeFileSync(join(FOLDER, name), text);
}

test("man: one page for each command, and no other", () => {
  assert.deepEqual(readdirSync(FOLDER).sort(), [...expected.keys()].sort());
  assert.ok(expected.size > 20);
});

test("man: every page is what the command tree says", () => {
  for (const [name, text] of expected) assert.equal(readFileSync(join(FOLDER, name), "utf8"), text, name);
});

test("man: every exit status has its line, and no other", () => {
  assert.deepEqual(
    MAN_STATUSES.map(([status]) => Number(status)),
    Object.values(EXIT).sort((a, b) => a - b),
  );
});

test("man: text stays text, whatever roff would make of it", () => {
  assert.equal(roff(".TH no request"), "\\&.TH no request");
  assert.equal(roff("a\n'so"), "a\n\\&'so");
  assert.equal(roff("C:\\n --x"), "C:\\en \\-\\-x");
});

test("man: mandoc has nothing to say against any page", (context) => {
  const pages = [...expected.keys()].map((name) => join(FOLDER, name));
  const run = spawnSync("mandoc", ["-T", "lint", "-W", "warning", ...pages], { encoding: "utf8" });
  if (run.error !== undefined) return context.skip("mandoc is not installed");
  assert.deepEqual([run.status, run.stdout], [0, ""]);
  const shown = spawnSync("mandoc", ["-T", "ascii", join(FOLDER, "coffer-resolve.1")], { encoding: "utf8" });
  assert.match(shown.stdout.split(/.[\b]/u).join(""), /coffer resolve \[option \.\.\.\] <name>/u);
});
