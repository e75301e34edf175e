// SPDX-License-Identifier: Apache-2.0
/** What could stand at the cursor, and that the real shells show it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Candidates, candidateText, complete, SHELLS } from "../../src/cli/complete.ts";
import { completionScript } from "../../src/cli/completion.ts";
import { everyPage, pagesOf } from "../../src/cli/pages.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";
import { quietIo } from "../support/quiet-io.ts";

const root = pagesOf(buildProgram(quietIo, new Ui(quietIo), { exit: 0 }));
const REMOTES = ["hub", "site-b"];
const NAMES = ["acme/tiny@main", "acme/tiny@prod", "other/big@main"];

function at(...words: string[]): Promise<Candidates> {
  return complete(root, words, async (kind, _globals, prefix) =>
    (kind === "names" ? NAMES : REMOTES).filter((name) => name.startsWith(prefix)),
  );
}
const values = async (...words: string[]) => (await at(...words)).values.map(({ value }) => value);

test("complete: commands by their beginning, hidden ones never", async () => {
  assert.deepEqual(await values("reso"), ["resolve"]);
  assert.ok((await values("")).includes("init"));
  assert.deepEqual(await values("__"), []);
});

test("complete: commands of a group", async () => {
  assert.deepEqual(await values("key", "n"), ["new"]);
  assert.deepEqual(await values("policy", ""), ["show"]);
});

test("complete: options of the command and of every command, not those of others", async () => {
  assert.deepEqual(await values("resolve", "--js"), ["--json"]);
  assert.deepEqual(await values("resolve", "--sto"), ["--store"]);
  assert.deepEqual(await values("resolve", "--thres"), []);
  assert.deepEqual(await values("resolve", "--", "--js"), []);
});

test("complete: names where a name stands, however many options come before", async () => {
  assert.deepEqual(await values("resolve", "acme/"), ["acme/tiny@main", "acme/tiny@prod"]);
  assert.deepEqual(await values("--store", "s", "resolve", "--json", "o"), ["other/big@main"]);
  assert.deepEqual(await values("promote", "acme/tiny@main", "o"), ["other/big@main"]);
  assert.deepEqual(await values("resolve", "acme/tiny", "o"), []);
  assert.deepEqual(await values("key", "new", "a"), []);
});

test("complete: the store that was typed is the one that is asked", async () => {
  const asked: string[] = [];
  await complete(root, ["--store", "x.coffer", "resolve", ""], async (_kind, globals) => {
    asked.push(globals.get("--store") ?? "");
    return [];
  });
  assert.deepEqual(asked, ["x.coffer"]);
});

test("complete: remotes where one is meant, with folders where a place does as well", async () => {
  for (const words of [["remote", "remove"], ["remote", "status"], ["pull"], ["push"]])
    assert.deepEqual(await values(...words, ""), REMOTES, words.join(" "));
  assert.deepEqual(await values("pull", "s"), ["site-b"]);
  assert.equal((await at("pull", "")).files, "folders");
  assert.equal((await at("remote", "status", "")).files, "none");
  assert.deepEqual(await values("push", "hub", ""), NAMES);
  for (const words of [
    ["remote", "add", ""],
    ["remote", "forget", ""],
    ["pull", "hub", ""],
  ])
    assert.deepEqual(await at(...words), { files: "none", values: [] }, words.join(" "));
});

test("complete: files and folders where they stand", async () => {
  assert.equal((await at("add", "a")).files, "files");
  assert.equal((await at("add", "a", "b")).files, "files");
  assert.equal((await at("--store", "")).files, "folders");
  assert.equal((await at("init", "")).files, "folders");
  assert.equal((await at("promote", "--key", "")).files, "files");
  assert.equal((await at("resolve", "a")).files, "none");
});

test("complete: shells, and nothing where only the person knows", async () => {
  assert.deepEqual(await values("completion", ""), [...SHELLS]);
  assert.deepEqual(await at("resolve", "a", "b"), { files: "none", values: [] });
  assert.equal((await at("add", "--name", "")).files, "none");
  assert.equal((await at("key", "show", "")).files, "none");
  assert.equal(candidateText(await at("key", "n")), ":none\nnew\tmake an Ed25519 key in OpenSSH format\n");
  assert.deepEqual(await at(), await at(""));
});

test("complete: every command of the tree can be reached", async () => {
  for (const { path } of everyPage(root).slice(1)) {
    const words = path.slice(1);
    assert.ok((await values(...words)).includes(words.at(-1) ?? ""), words.join(" "));
  }
});

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "coffer-complete-"));
  mkdirSync(join(folder, "bin"));
  mkdirSync(join(folder, "a.coffer"));
  writeFileSync(join(folder, "a.txt"), "");
  // The scripts' other side, word for word as the real one answers; that it does is the transcripts' matter.
  const answers = candidateText({ files: "none", values: NAMES.map((value) => ({ value, text: "" })) });
  const script = `#!/bin/sh\ncase "$*" in\n*'resolve '*) printf '%s' '${answers}' ;;\n*--store*) printf ':folders\\n' ;;\n*'pull '*) printf ':folders\\nhub\\n' ;;\n*add*) printf ':files\\n' ;;\n*) printf ':none\\nresolve\\tthe verdict: yes or no\\n' ;;\nesac\n`;
  writeFileSync(join(folder, "bin", "coffer"), script);
  chmodSync(join(folder, "bin", "coffer"), 0o755);
  for (const shell of SHELLS) writeFileSync(join(folder, shell), completionScript(shell));
});
after(() => rmSync(folder, { recursive: true }));

/** Runs a script in a shell, if it is there. */
function inShell(shell: string, script: string): string[] | undefined {
  const options = shell === "bash" ? ["--norc", "-c"] : shell === "zsh" ? ["-f", "-c"] : ["--no-config", "-c"];
  const env = { PATH: `${join(folder, "bin")}:${process.env["PATH"]}`, HOME: folder, TERM: "dumb" };
  const run = spawnSync(shell, [...options, script], { cwd: folder, env, encoding: "utf8" });
  if (run.error !== undefined) return undefined;
  assert.equal(run.status, 0, run.stderr);
  return run.stdout.split("\n").filter((line) => line !== "");
}

const lines: readonly (readonly [string, readonly string[]])[] = [
  ["coffer reso", ["resolve"]],
  ["coffer resolve acme/", ["acme/tiny@main", "acme/tiny@prod"]],
  ["coffer --store ", ["a.coffer"]],
  ["coffer pull ", ["hub", "a.coffer"]],
  ["coffer add a.t", ["a.txt"]],
];

test("complete: bash shows it, names with their at sign included", () => {
  for (const [line, expected] of lines) {
    const words = line.endsWith(" ") ? [...line.trim().split(" "), ""] : line.split(" ");
    const found = inShell(
      "bash",
      `source ./bash; COMP_LINE='${line}'; COMP_POINT=${line.length}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _coffer coffer '${words.at(-1)}'; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
    const shown = found?.filter((entry) => entry !== "bin");
    assert.deepEqual(shown, expected, line);
  }
});

/** Lines as they are typed, each with a TAB at its end, and the words that come of it. */
const typed: readonly (readonly [string, readonly string[]])[] = [
  ["coffer resolve acme/tiny@m", ["resolve", "acme/tiny@main"]],
  ["coffer resolve acme/tiny@p", ["resolve", "acme/tiny@pr"]],
  ["coffer resolve acme/tiny@pro", ["resolve", "acme/tiny@prod"]],
  ["coffer resolve acme/tiny@", ["resolve", "acme/tiny@"]],
  ["coffer resolve other/big@", ["resolve", "other/big@main"]],
  ["coffer resolve acme/ti", ["resolve", "acme/tiny@"]],
  ["coffer resolve other/big", ["resolve", "other/big@main"]],
  ["coffer resolve o", ["resolve", "other/big@main"]],
  ["coffer promote other/big@main acme/tiny@pro", ["promote", "other/big@main", "acme/tiny@prod"]],
  ["coffer resolve acme/none@m", ["resolve", "acme/none@m"]],
  ['coffer resolve "acme/tiny@pro', ["resolve", "acme/tiny@prod"]],
  ["coffer add a@fi", ["add", "a@file.txt"]],
];

/** Types them into an interactive bash in a terminal. @returns undefined where there is no terminal to be had */
function typedInBash(setting: string): (readonly string[])[] | undefined {
  const names = ["acme/tiny@main", "acme/tiny@preview", "acme/tiny@prod", "other/big@main"];
  const rc = `PS1='$ '; HISTFILE=; ${setting}
source ./bash
coffer() {
  if [[ $1 != __complete ]]; then printf '%s\\t' "$@" >>ran; echo >>ran
  elif [[ $3 == add ]]; then echo :files
  else printf '%s\\n' :none ${names.join(" ")}; fi
}
`;
  rmSync(join(folder, "ran"), { force: true });
  writeFileSync(join(folder, "rc"), rc);
  writeFileSync(join(folder, "a@file.txt"), "");
  const env = { PATH: process.env["PATH"], HOME: folder, TERM: "dumb", INPUTRC: "/dev/null", SHELL: "/bin/sh" };
  const known = spawnSync("script", ["--version"], { encoding: "utf8" });
  if (known.error !== undefined || !known.stdout.includes("util-linux")) return undefined;
  const input = [...typed.map(([line]) => `${line}\t\n`), "exit\n"].join("");
  const run = spawnSync("script", ["-qec", "bash --noprofile --rcfile rc -i", "/dev/null"], {
    ...{ cwd: folder, env, input, encoding: "utf8", timeout: 30_000, killSignal: "SIGKILL" },
  });
  assert.equal(run.status, 0, run.stdout);
  const ran = readFileSync(join(folder, "ran"), "utf8").split("\n").slice(0, -1);
  return ran.map((line) => line.split("\t").slice(0, -1));
}

for (const [what, setting] of [
  ["as it comes", ""],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: this is bash
  ["whose words do not break at the at sign", "COMP_WORDBREAKS=${COMP_WORDBREAKS//@}"],
] as const)
  test(`complete: a line typed into bash, ${what}, keeps its at sign`, (context) => {
    const found = typedInBash(setting);
    if (found === undefined) return context.skip("script of util-linux is not installed");
    assert.deepEqual(
      found,
      typed.map(([, words]) => words),
    );
  });

test("complete: zsh shows it", (context) => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: this is zsh
  const stubs = "_describe() { print -rl -- ${(P)4} }; _files() { print -- files $* }; compdef() { }; CURRENT=$#words";
  const found = inShell("zsh", `words=(coffer reso); ${stubs}; source ./zsh; _coffer`);
  if (found === undefined) return context.skip("zsh is not installed");
  assert.deepEqual(found, ["resolve:the verdict\\: yes or no"]);
  assert.deepEqual(inShell("zsh", `words=(coffer --store ''); ${stubs}; source ./zsh; _coffer`), ["files -/"]);
  assert.deepEqual(inShell("zsh", `words=(coffer pull ''); ${stubs}; source ./zsh; _coffer`), ["hub", "files -/"]);
  assert.deepEqual(inShell("zsh", `words=(coffer add a); ${stubs}; source ./zsh; _coffer`), ["files"]);
  assert.deepEqual(inShell("zsh", `words=(coffer resolve acme/); ${stubs}; source ./zsh; _coffer`), NAMES);
});

test("complete: fish shows it", (context) => {
  const found = inShell("fish", "source ./fish; complete -C 'coffer resolve acme/'");
  if (found === undefined) return context.skip("fish is not installed");
  assert.deepEqual(found, ["acme/tiny@main", "acme/tiny@prod"]);
  assert.deepEqual(inShell("fish", "source ./fish; complete -C 'coffer reso'"), ["resolve\tthe verdict: yes or no"]);
  assert.deepEqual(inShell("fish", "source ./fish; complete -C 'coffer --store a'"), ["a.coffer/\tDirectory"]);
});
