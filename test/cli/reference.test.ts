// SPDX-License-Identifier: Apache-2.0
/** docs/cli.md holds the reference that the command tree gives; UPDATE_GOLDEN=1 rewrites it between its markers. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { Command } from "commander";
import type { Io } from "../../src/cli/io.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";

const PAGE = new URL("../../docs/cli.md", import.meta.url);
const BEGIN = "<!-- reference: begin, written by UPDATE_GOLDEN=1 -->";
const END = "<!-- reference: end -->";

const io: Io = {
  out: () => undefined,
  err: () => undefined,
  env: {},
  cwd: "/",
  home: "/",
  terminal: false,
  ask: () => Promise.reject(new Error("no questions here")),
  stopped: () => Promise.resolve("SIGTERM"),
  ports: {
    clock: () => 0,
    random: (length) => new Uint8Array(length),
    sleep: () => Promise.resolve(),
    openFolder: () => assert.fail("no folders here"),
  },
};

function options(command: Command, all: boolean): string {
  const shared = new Set(command.parent === null || all ? [] : rootOf(command).options.map((option) => option.flags));
  const rows = command.options
    .filter((option) => !shared.has(option.flags))
    .map((option) => `| \`${option.flags}\` | ${option.description} |`);
  return rows.length === 0 ? "" : `\n| option | meaning |\n|---|---|\n${rows.join("\n")}\n`;
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

function path(command: Command): string {
  return command.parent === null ? command.name() : `${path(command.parent)} ${command.name()}`;
}

function section(command: Command): string {
  const inner = command.commands.map(section).join("");
  if (command.commands.length > 0 && command.parent !== null && command.registeredArguments.length === 0) return inner;
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? "…" : ""}`;
    return argument.required ? ` <${name}>` : ` [${name}]`;
  });
  const args = command.registeredArguments.map((argument) => `- \`${argument.name()}\`: ${argument.description}\n`);
  const about = args.length === 0 ? "" : `\n${args.join("")}`;
  const title =
    command.parent === null
      ? "## Options of every command\n"
      : `## ${path(command)}${words.join("")}\n\n${sentence(command.description())}\n${about}`;
  return `\n${title}${options(command, command.parent === null)}${inner}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

test("docs/cli.md is what the command tree says", () => {
  const expected = section(buildProgram(io, new Ui(io), { exit: 0 }));
  const page = readFileSync(PAGE, "utf8");
  const [head = "", rest = ""] = page.split(BEGIN);
  const tail = rest.split(END)[1] ?? "";
  const fresh = `${head}${BEGIN}\n${expected}\n${END}${tail}`;
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(PAGE, fresh);
  else assert.equal(page, fresh);
});
