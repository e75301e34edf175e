// SPDX-License-Identifier: Apache-2.0
/** isomorphic-git carries metadata over git hosts, msgpackr the inventories of receipts: without them that fails, and only that. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeTreeWithout } from "../support/broken-package.ts";
import { startGitHost } from "../support/git-host.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The program of a tree; the git host runs in this process, so nothing may block it. */
async function coffer(tree: string, home: string, ...args: readonly string[]) {
  const cli = join(tree, "dist/cli/coffer.cjs");
  const env = { PATH: process.env["PATH"], HOME: home, COFFER_STORE: join(home, "my.coffer") };
  const child = spawn(process.execPath, [cli, ...args], { cwd: home, env });
  const [out, err, status] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ]);
  return { status, out, err };
}

test("a push to a git host needs isomorphic-git, a receipt needs msgpackr; what a runtime asks goes on without them", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-packages-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const home = join(folder, "home");
  mkdirSync(home);
  const [noGit, noPack] = [join(folder, "no-git"), join(folder, "no-pack")];
  for (const tree of [noGit, noPack]) mkdirSync(tree);
  makeTreeWithout("isomorphic-git", noGit);
  makeTreeWithout("msgpackr", noPack, "pack");
  const host = await startGitHost(t, ["models.git"]);
  const hub = `git+${host.url}/models.git`;
  const must = async (tree: string, ...args: readonly string[]): Promise<void> => {
    const { status, err } = await coffer(tree, home, ...args);
    assert.equal(status, 0, `coffer ${args.join(" ")}: ${err}`);
  };
  const fails = async (tree: string, broken: string, ...args: readonly string[]): Promise<void> => {
    const { status, err } = await coffer(tree, home, ...args);
    assert.equal(status, 1, `coffer ${args.join(" ")}: ${err}`);
    assert.match(err, new RegExp(`planted: ${broken} is broken`, "u"));
  };
  await must(ROOT, "key", "new", "alice", "--no-passphrase");
  await must(ROOT, "init", "my.coffer", "--me", "alice");
  writeFileSync(join(home, "README.md"), "one\n");
  await must(ROOT, "add", "README.md", "--name", "acme/one");
  await must(ROOT, "promote", "acme/one");
  await fails(noGit, "isomorphic-git", "push", hub);
  await must(ROOT, "push", hub);
  assert.notEqual(host.git("models.git", "rev-parse", "refs/heads/coffer"), "");
  await fails(noGit, "isomorphic-git", "pull", hub);
  await fails(noPack, "msgpackr", "receipt", "create", "a.receipt");
  await must(noGit, "receipt", "create", "a.receipt");
  await fails(noPack, "msgpackr", "receipt", "show", "a.receipt");
  for (const words of ["resolve acme/one", "path acme/one", "git export"]) await must(noGit, ...words.split(" "));
  await must(noPack, "resolve", "acme/one");
});
