// SPDX-License-Identifier: Apache-2.0
/** The projection, as stock git and git-lfs see it over file://. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { exportGit } from "../../src/repo/git-export.ts";
import { withdrawLfs } from "../../src/repo/git-files.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { gitEnvironment } from "../support/git-host.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const environment = { ...gitEnvironment(), GIT_TERMINAL_PROMPT: "0" };

/** git-lfs's filters, as `git lfs install` would write them into somebody's own settings. */
const LFS = [
  ...["-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.smudge=git-lfs smudge --skip -- %f"],
  ...["-c", "filter.lfs.process=git-lfs filter-process --skip", "-c", "filter.lfs.required=true"],
];

function tryGit(cwd: string, ...args: string[]) {
  const run = spawnSync("git", [...LFS, ...args], { cwd, encoding: "utf8", env: environment });
  assert.equal(run.error, undefined);
  return run;
}

function git(cwd: string, ...args: string[]): string {
  const run = tryGit(cwd, ...args);
  assert.equal(run.status, 0, `git ${args.join(" ")}\n${run.stderr}`);
  return run.stdout.trim();
}

const repositoryOf = ({ location }: StoreFixture): string => join(location.root, "git");

function branchesOf(fixture: StoreFixture): string[] {
  return git(repositoryOf(fixture), "for-each-ref", "--format=%(refname) %(objectname)").split("\n").filter(Boolean);
}

const WEIGHTS = makeSafetensors(3_000_000, 7);
const MODEL = {
  "model.safetensors": WEIGHTS,
  "config.json": utf8('{"model_type":"tiny"}\r\n'),
  "sub/README.md": utf8("# a\r\nb\n"),
  ".gitattributes": utf8("* -filter\n*.safetensors -filter -diff\n"),
  "_.gitnotes.txt": utf8("not git's\n"),
  "sub/.gitignore": utf8("*\n"),
  "empty.txt": new Uint8Array(),
};
const IN_TREE: Readonly<Record<string, string>> = {
  ".gitattributes": "_.gitattributes",
  "_.gitnotes.txt": "__.gitnotes.txt",
  "sub/.gitignore": "sub/_.gitignore",
};

test("a stock clone and git lfs pull give the exact bytes, and nothing looks modified", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/tiny@main", MODEL);
  await fixture.trust("coffer/own@v1", { "README.md": utf8("in a namespace like the branch\n") });
  await fixture.add("acme/waits@main", { "README.md": utf8("never promoted\n") });
  const done = await exportGit(fixture.store);
  assert.deepEqual([done.trusted, done.revoked, done.damaged], [2, 0, []]);
  assert.deepEqual(
    branchesOf(fixture).map((line) => line.split(" ")[0]),
    ["refs/heads/acme/tiny/main", "refs/heads/coffer_/own/v1"],
  );
  assert.equal(git(repositoryOf(fixture), "fsck", "--strict", "--full"), "");
  const url = pathToFileURL(repositoryOf(fixture)).href;
  const clone = join(fixture.folder, "clone");
  git(fixture.folder, "clone", "--quiet", "--branch", "acme/tiny/main", url, clone);
  git(clone, "lfs", "pull");
  for (const [path, bytes] of Object.entries(MODEL))
    assert.deepEqual(readFileSync(join(clone, IN_TREE[path] ?? path)), Buffer.from(bytes), path);
  assert.equal(git(clone, "status", "--porcelain"), "");
  git(clone, "lfs", "fsck", "--dry-run", "HEAD");
  const { value } = JSON.parse(`{"value":${readFileSync(join(clone, ".coffer/manifest.json"), "utf8")}}`);
  assert.equal(value.type, "coffer/manifest");
  const bytes = readFileSync(join(clone, ".coffer/manifest.json"));
  assert.equal(createHash("sha256").update(bytes).digest("hex"), manifest);
  assert.equal(existsSync(join(repositoryOf(fixture), "lfs/objects", ...lfsParts(WEIGHTS))), true);
});

function lfsParts(bytes: Uint8Array): string[] {
  const hex = createHash("sha256").update(bytes).digest("hex");
  return [hex.slice(0, 2), hex.slice(2, 4), hex];
}

test("commits are functions of statements: another copy of the store makes the same, an unchanged one makes nothing", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny@main", { "README.md": utf8("one\n") });
  await fixture.trust("acme/tiny@main", { "README.md": utf8("two\n") });
  const first = await exportGit(fixture.store);
  const branches = branchesOf(fixture);
  assert.ok(first.objects > 0 && first.copied === 1);
  const again = await exportGit(await fixture.open());
  assert.deepEqual([again.objects, again.copied, again.removed], [0, 0, 0]);
  assert.deepEqual(branchesOf(fixture), branches);
  assert.deepEqual(git(repositoryOf(fixture), "log", "--format=%s|%an <%ae>", "acme/tiny/main").split("\n"), [
    "trusted acme/tiny@main|coffer <coffer@invalid>",
    "trusted acme/tiny@main|coffer <coffer@invalid>",
  ]);
  rmSync(repositoryOf(fixture), { recursive: true });
  await exportGit(await fixture.open());
  assert.deepEqual(branchesOf(fixture), branches);
});

test("a revocation takes the files away before its entry stands; the next export says REVOKED", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny@main", MODEL);
  await fixture.trust("acme/other@main", { "README.md": utf8("stays\n") });
  await exportGit(fixture.store);
  const weights = join(repositoryOf(fixture), "lfs/objects", ...lfsParts(WEIGHTS));
  assert.equal(statSync(weights).size, WEIGHTS.length);
  await fixture.revoke("acme/tiny@main", "# not a heading");
  assert.equal(existsSync(weights), false);
  const clone = join(fixture.folder, "clone");
  git(
    fixture.folder,
    "clone",
    "--quiet",
    "--branch",
    "acme/tiny/main",
    pathToFileURL(repositoryOf(fixture)).href,
    clone,
  );
  assert.notEqual(tryGit(clone, "lfs", "pull").status, 0);
  const done = await exportGit(fixture.store);
  assert.deepEqual([done.trusted, done.revoked], [1, 1]);
  git(clone, "pull", "--quiet");
  assert.deepEqual(readdirSync(clone).sort(), [".coffer", ".git", ".gitattributes", "REVOKED.md"]);
  assert.deepEqual(readdirSync(join(clone, ".coffer")), ["statement.json"]);
  assert.match(readFileSync(join(clone, "REVOKED.md"), "utf8"), /\n {4}# not a heading\n/);
  assert.equal(git(repositoryOf(fixture), "fsck", "--strict", "--full"), "");
});

test("a name whose time is over has no branch and no files; expiry takes both away", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny@main", { "README.md": utf8("for a day\n") }, "2026-11-23T10:00:00Z");
  assert.deepEqual((await exportGit(fixture.store)).trusted, 1);
  fixture.nowS += 2 * 24 * 3600;
  const later = await exportGit(await fixture.open());
  assert.deepEqual([later.trusted, later.removed], [0, 1]);
  assert.deepEqual(branchesOf(fixture), []);
});

test("what others did to git/ is undone; what is damaged is named and not offered; a reader may not export", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/tiny@main", { "README.md": utf8("one\n") });
  await exportGit(fixture.store);
  const branches = branchesOf(fixture);
  const [, commit = ""] = branches[0]?.split(" ") ?? [];
  git(repositoryOf(fixture), "update-ref", "refs/heads/evil/model/main", commit);
  git(repositoryOf(fixture), "repack", "-adq");
  await exportGit(fixture.store);
  assert.deepEqual(branchesOf(fixture), branches);
  const reader = await openStore({ ...fixture.location, secrets: join(fixture.folder, "none") }, fixture.ports);
  await assert.rejects(exportGit(reader), { code: "NO_STORE_KEY" });
  await fixture.trust("acme/second@main", { "README.md": utf8("two\n") });
  rmSync(join(fixture.location.root, "objects", manifest.slice(0, 2), manifest.slice(2)));
  const done = await exportGit(fixture.store);
  assert.deepEqual(
    done.damaged.map(({ name, error }) => [name, error.code]),
    [["acme/tiny@main", "CORRUPT"]],
  );
  assert.equal(done.trusted, 1);
});

test("a name of which one file is damaged loses its branch and is named; all others keep theirs", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/bad@main", { "README.md": utf8("bad\n") });
  await fixture.trust("acme/good@main", { "README.md": utf8("good\n") });
  const [first = "", second = "", blob = ""] = lfsParts(utf8("bad\n"));
  chmodSync(join(fixture.location.root, "blobs", first, blob.slice(2)), 0o644);
  writeFileSync(join(fixture.location.root, "blobs", first, blob.slice(2)), "BAD\n");
  const done = await exportGit(fixture.store);
  assert.deepEqual(
    [done.trusted, done.damaged.map(({ name, error }) => [name, error.code])],
    [1, [["acme/bad@main", "CORRUPT"]]],
  );
  assert.deepEqual(
    branchesOf(fixture).map((line) => line.split(" ")[0]),
    ["refs/heads/acme/good/main"],
  );
  assert.equal(existsSync(join(repositoryOf(fixture), "lfs/objects", first, second, blob)), false);
});

test("whatever lies in git/, a revocation is committed, and what it can remove is gone", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/tiny@main", { "model.safetensors": WEIGHTS });
  await exportGit(fixture.store);
  const lfs = join(repositoryOf(fixture), "lfs/objects");
  rmSync(join(fixture.location.root, "objects", manifest.slice(0, 2), manifest.slice(2)));
  await withdrawLfs(fixture.store, { manifests: [manifest], blobs: [sha256(WEIGHTS)], kept: [] });
  assert.equal(existsSync(join(lfs, ...lfsParts(WEIGHTS))), false);
  const other = await makeStoreFixture(t);
  await other.trust("acme/tiny@main", { "README.md": utf8("one\n") });
  mkdirSync(join(repositoryOf(other)));
  writeFileSync(join(repositoryOf(other), "lfs"), "a file in the place of a folder");
  await other.revoke("acme/tiny@main");
  await assert.rejects(resolve(other.store, parseName("acme/tiny@main")), { code: "REVOKED" });
  assert.ok(other.store.warnings.some((warning) => warning.includes("revoked files stay in git/")));
});

test("a store that is copied with its projection exports as before", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny@main", { "README.md": utf8("one\n") });
  await exportGit(fixture.store);
  const root = join(fixture.folder, "copy");
  mkdirSync(root);
  cpSync(fixture.location.root, root, { recursive: true });
  writeFileSync(join(root, "git/packed-refs"), "garbage\n");
  const store = await openStore({ ...fixture.location, root }, fixture.ports);
  assert.equal((await exportGit(store)).objects, 0);
  assert.equal(
    readFileSync(join(root, "git/packed-refs"), "utf8"),
    readFileSync(join(repositoryOf(fixture), "packed-refs"), "utf8"),
  );
});
