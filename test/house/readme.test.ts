// SPDX-License-Identifier: Apache-2.0
/**
 * The README's first screen is run as it stands and compared with what it says; links in the documents lead somewhere.
 * In the transcript `…` stands for any text within a line, and alone on a line for any lines.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const MARK = "=== command";

interface Step {
  readonly command: string;
  readonly expected: readonly string[];
}

function block(language: string): string {
  const found = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "mu").exec(README)?.[1];
  assert.ok(found !== undefined, `README.md: expected a ${language} block`);
  return found;
}

/** `$ command` lines with the lines below each. */
function transcript(): readonly Step[] {
  const parts = `\n${block("console").trimEnd()}`.split("\n$ ");
  assert.equal(parts[0], "", "the block begins with a command");
  return parts.slice(1).map((part) => {
    const [command = "", ...expected] = part.split("\n");
    return { command, expected };
  });
}

function pattern(expected: readonly string[]): RegExp {
  const lines = expected.map((line) => {
    if (line === "…") return "(?:.*\\n)*?";
    return `${line.split("…").map(literal).join(".*")}\\n`;
  });
  return new RegExp(`^${lines.join("")}$`, "u");
}

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&");

/** Runs the commands in one shell, as a person would: alias and model as the block before says. */
function runAll(steps: readonly Step[]): readonly string[] {
  const home = mkdtempSync(join(tmpdir(), "coffer-readme-"));
  try {
    // `npm run bootstrap && npm run build` is what every test run begins with.
    const [, ...setup] = block("sh").trimEnd().split("\n");
    const lines = ["shopt -s expand_aliases", ...setup, ...steps.flatMap(({ command }) => [`echo '${MARK}'`, command])];
    const env = { PATH: process.env["PATH"] ?? "", HOME: home, LC_ALL: "C" };
    const input = `exec 2>&1\n${lines.join("\n")}\n`;
    const { stdout, error } = spawnSync("bash", ["--noprofile", "--norc"], { cwd: ROOT, env, input, encoding: "utf8" });
    assert.equal(error, undefined);
    const [before, ...outputs] = stdout.split(`${MARK}\n`);
    assert.equal(before, "", "the first block prints nothing");
    return outputs;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Paths of the documents that people read, from the project's folder. */
function documents(): readonly string[] {
  const below = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" });
  return ["README.md", "CHANGELOG.md", ...below.map((name) => `docs/${name}`)].filter((name) => name.endsWith(".md"));
}

const withoutCode = (text: string): string => text.replace(/^```[\s\S]*?^```$/gmu, "").replace(/`[^`\n]*`/gu, "code");

/** Anchors of headings as code hosts make them: lower case, punctuation dropped, blanks as dashes. */
function anchors(text: string): ReadonlySet<string> {
  const headings = [...text.replace(/^```[\s\S]*?^```$/gmu, "").matchAll(/^#+ (.+)$/gmu)].map(
    ([, title = ""]) => title,
  );
  return new Set(
    headings.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

function brokenLinks(document: string): readonly string[] {
  const text = readFileSync(join(ROOT, document), "utf8");
  const targets = [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/gu)].map(([, target = ""]) => target);
  return targets.filter((target) => {
    if (/^[a-z]+:/u.test(target)) return false;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? join(ROOT, document) : join(ROOT, dirname(document), path);
    if (!existsSync(file)) return true;
    return anchor !== undefined && !anchors(readFileSync(file, "utf8")).has(anchor);
  });
}

describe("README.md", () => {
  const steps = transcript();

  test("the first screen is one sentence and a transcript of a screen's length", () => {
    const end = README.indexOf("\nTwo more commands");
    assert.ok(end > 0);
    assert.ok(README.slice(0, end).split("\n").length <= 50);
    assert.deepEqual(
      steps.map(({ command }) => command.replace(/^.*?coffer (\S+).*$/u, "$1")),
      ["key", "init", "add", "promote", "path", "revoke", "path"],
    );
  });

  test("the transcript is what the commands print", () => {
    const outputs = runAll(steps);
    assert.equal(outputs.length, steps.length);
    for (const [at, { command, expected }] of steps.entries())
      assert.match(outputs[at] ?? "", pattern(expected), command);
  });

  test("its scripts are there", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const named = [...README.matchAll(/npm run ([a-z:]+)|npm (test)/gu)].map(([, run, short]) => run ?? short ?? "");
    assert.ok(named.includes("demo") && named.includes("test"));
    for (const name of named) assert.ok(scripts[name] !== undefined, name);
  });
});

describe("links", () => {
  for (const document of documents()) {
    test(document, () => assert.deepEqual(brokenLinks(document), []));
  }
});
