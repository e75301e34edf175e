// SPDX-License-Identifier: Apache-2.0
/** The built command as a process: what a lost reader or a full disk for its output changes, and what not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { builtCli } from "../support/cli-process.ts";

const home = mkdtempSync(join(tmpdir(), "coffer-process-"));
const env = { PATH: process.env["PATH"] ?? "", HOME: home };
const store = ["--store", "my.coffer"];
after(() => rmSync(home, { recursive: true, force: true }));

function ok(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [builtCli(), ...args], {
    cwd: home,
    env,
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Runs a shell line in which `coffer` is the built command. */
function shell(line: string): { readonly status: number | null; readonly stderr: string } {
  const script = `set -o pipefail; coffer() { "${process.execPath}" "${builtCli()}" "$@"; }; ${line}`;
  const { status, stderr } = spawnSync("bash", ["-c", script], { cwd: home, env, encoding: "utf8" });
  return { status, stderr };
}

before(() => {
  writeFileSync(join(home, "tiny.gguf"), makeTinyGguf({ seed: 1 }));
  ok("key", "new", "alice", "--no-passphrase");
  ok("init", "my.coffer", "--me", "alice");
  ok("add", "tiny.gguf", "--name", "acme/tiny", ...store);
});

test("--version is that of package.json", () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(ok("--version").trim(), version);
});

test("an output that cannot be written ends with 10 and says so; what was done stands", {
  skip: existsSync("/dev/full") ? false : "needs /dev/full",
}, () => {
  const { status, stderr } = shell("coffer promote acme/tiny --store my.coffer >/dev/full");
  assert.equal(status, 10);
  assert.match(stderr, /cannot write the output \(ENOSPC\); what was done stands \[IO_ERROR\]/);
  assert.match(ok("list", ...store), /^trusted /);
});

test("a reader that went away changes neither what is done nor the status", () => {
  assert.equal(shell("coffer resolve acme/nothing --store my.coffer 2> >(exec true)").status, 6);
  assert.equal(shell("coffer resolve acme/tiny --store my.coffer 2>&1 | true").status, 0);
  const revoked = shell("coffer revoke acme/tiny --reason x --yes --store my.coffer 2> >(exec true) > >(exec true)");
  assert.equal(revoked.status, 0);
  assert.match(ok("list", ...store), /^revoked /);
  assert.equal(shell("coffer path acme/tiny --store my.coffer 2>&1 | true").status, 3);
});
