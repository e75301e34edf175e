// SPDX-License-Identifier: Apache-2.0
/** What the packed command loads: a runtime calls `resolve` at every start, so it must not pay for what it does not use. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { makeSafetensors } from "../support/store-fixture.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
let folder = "";
let command = "";

/** Notes the URL of every module that is imported or required, by hooks of Node's own loader. */
const HOOKS = `
import { appendFileSync } from "node:fs";
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  appendFileSync(process.env.LOADED, found.url + "\\n");
  return found;
}`;
const PRELOAD = `
import Module, { register } from "node:module";
import { appendFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
register("./hooks.mjs", import.meta.url);
const load = Module._load;
Module._load = function (request, parent, main) {
  const path = Module._resolveFilename(request, parent, main);
  appendFileSync(process.env.LOADED, (path.startsWith("/") ? pathToFileURL(path).href : path) + "\\n");
  return load.call(this, request, parent, main);
};
process.getBuiltinModule("node:os").availableParallelism = () => 2; // on one core no thread would be worth it
const threads = process.getBuiltinModule("node:worker_threads");
threads.Worker = class extends threads.Worker {
  constructor(program, options) {
    super(program, options);
    appendFileSync(process.env.LOADED, "thread " + options.name + "\\n");
  }
};`;

before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "coffer-start-")));
  const packed = spawnSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], {
    cwd: ROOT,
    encoding: "utf8",
  });
  assert.equal(packed.status, 0, packed.stderr);
  const unpacked = spawnSync("tar", ["-xzf", packed.stdout.trim()], { cwd: folder, encoding: "utf8" });
  assert.equal(unpacked.status, 0, unpacked.stderr);
  symlinkSync(join(ROOT, "node_modules"), join(folder, "package", "node_modules"));
  const { bin } = JSON.parse(readFileSync(join(folder, "package", "package.json"), "utf8"));
  command = join(folder, "package", bin.coffer);
  writeFileSync(join(folder, "hooks.mjs"), HOOKS);
  writeFileSync(join(folder, "preload.mjs"), PRELOAD);
  mkdirSync(join(folder, "home"));
  writeFileSync(join(folder, "a.gguf"), makeTinyGguf({ seed: 1 }));
  coffer(["key", "new", "alice", "--no-passphrase"]);
  coffer(["init", "s", "--me", "alice"]);
  coffer(["--store", "s", "add", "a.gguf", "--name", "acme/tiny"]);
  coffer(["--store", "s", "promote", "acme/tiny"]);
});
after(() => rmSync(folder, { recursive: true }));

/** Runs the packed command. @returns its output, and what it loaded */
function coffer(args: readonly string[]): { readonly stdout: string; readonly loaded: readonly string[] } {
  const LOADED = join(folder, "loaded");
  writeFileSync(LOADED, "");
  const preload = pathToFileURL(join(folder, "preload.mjs")).href;
  const run = spawnSync(process.execPath, ["--import", preload, command, ...args], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: join(folder, "home"), LOADED },
    encoding: "utf8",
  });
  assert.equal(run.status, 0, run.stderr);
  return { stdout: run.stdout, loaded: readFileSync(LOADED, "utf8").split("\n") };
}

/** The packages among what was loaded. */
function packages(loaded: readonly string[]): string[] {
  const found = loaded.flatMap((url) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/u.exec(url)?.[1] ?? []);
  return [...new Set(found)].sort();
}

test("start: the packed resolve and path load neither the command tree nor what only other commands need", () => {
  for (const args of [
    ["--store", "s", "resolve", "acme/tiny"],
    ["resolve", "acme/tiny", "--json", "--store", "s"],
    ["--store", "s", "path", "acme/tiny"],
  ]) {
    const { stdout, loaded } = coffer(args);
    assert.ok(stdout.length > 0);
    for (const name of ["isomorphic-git", "fast-glob", "msgpackr", "commander"]) {
      assert.ok(!packages(loaded).includes(name), `coffer ${args.join(" ")} loads ${name}`);
    }
    const own = loaded.filter((url) => url.includes("/dist/"));
    assert.deepEqual([...new Set(own)], [pathToFileURL(command).href]);
    if (args.includes("resolve"))
      assert.ok(!loaded.some((url) => /fs\/promises$|worker_threads$|^thread/u.test(url)), "a twentieth of a start");
  }
});

test("start: the probe sees what a command loads", () => {
  const { loaded } = coffer(["--store", "s", "list"]);
  assert.ok(packages(loaded).includes("commander"));
  assert.ok(loaded.some((url) => url.endsWith("fs/promises")));
  assert.ok(packages(coffer(["--store", "s", "add", "a*.gguf", "--name", "acme/b"]).loaded).includes("fast-glob"));
});

test("the packed command finds the thread that hashes what is large, and starts none for what is small", () => {
  const threadsOf = (...args: readonly string[]): number =>
    coffer(["--store", "s", ...args]).loaded.filter((line) => line === "thread sha256").length;
  writeFileSync(join(folder, "large.safetensors"), makeSafetensors(66 * 1024 * 1024));
  assert.equal(threadsOf("add", "a.gguf", "--name", "acme/small"), 0);
  assert.equal(threadsOf("add", "large.safetensors", "--name", "acme/large"), 1);
  assert.equal(threadsOf("promote", "acme/large"), 0);
  assert.equal(threadsOf("path", "acme/large"), 1);
  assert.equal(threadsOf("fsck"), 1);
  assert.equal(threadsOf("bundle", "create", "acme/tiny", "--out", "small.tar"), 0);
  assert.equal(threadsOf("bundle", "create", "acme/large", "--out", "large.tar"), 1);
  assert.equal(threadsOf("bundle", "verify", "large.tar"), 1);
  const index = spawnSync("tar", ["-xOf", "small.tar", "bundle/index.json"], { cwd: folder, encoding: "utf8" }).stdout;
  coffer(["clone", "small.tar", "other", "--root", `1:${JSON.parse(index).policies[0]}`]);
  assert.equal(coffer(["--store", "other", "bundle", "import", "large.tar"]).loaded.includes("thread sha256"), true);
});
