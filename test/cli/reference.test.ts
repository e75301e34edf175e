// SPDX-License-Identifier: Apache-2.0
/** docs/cli.md holds the reference that the command tree gives; UPDATE_GOLDEN=1 rewrites it between its markers. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type CommandPage, pagesOf, sentence, usage } from "../../src/cli/pages.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";
import { quietIo } from "../support/quiet-io.ts";

const PAGE = new URL("../../docs/cli.md", import.meta.url);
const BEGIN = "<!-- reference: begin, written by UPDATE_GOLDEN=1 -->";
const END = "<!-- reference: end -->";

function options(page: CommandPage): string {
  const rows = page.options.map(({ flags, text }) => `| \`${flags}\` | ${text} |`);
  return rows.length === 0 ? "" : `\n| option | meaning |\n|---|---|\n${rows.join("\n")}\n`;
}

function section(page: CommandPage): string {
  const inner = page.commands.map(section).join("");
  const first = page.path.length === 1;
  // A group that only holds commands has nothing to say of its own.
  if (page.commands.length > 0 && page.arguments.length === 0 && !first) return inner;
  const args = page.arguments.map(({ name, text }) => `- \`${name}\`: ${text}\n`);
  const about = args.length === 0 ? "" : `\n${args.join("")}`;
  const title = first ? "## Options of every command\n" : `## ${usage(page)}\n\n${sentence(page.text)}\n${about}`;
  return `\n${title}${options(page)}${inner}`;
}

test("docs/cli.md is what the command tree says", () => {
  const expected = section(pagesOf(buildProgram(quietIo, new Ui(quietIo), { exit: 0 })));
  const page = readFileSync(PAGE, "utf8");
  const [head = "", rest = ""] = page.split(BEGIN);
  const tail = rest.split(END)[1] ?? "";
  const fresh = `${head}${BEGIN}\n${expected}\n${END}${tail}`;
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(PAGE, fresh);
  else assert.equal(page, fresh);
});
