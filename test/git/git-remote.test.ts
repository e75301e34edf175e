// SPDX-License-Identifier: Apache-2.0
/** isomorphic-git against a real git host: what is pushed comes back, and what a host says is not simply taken. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { type GitId, gitBlob, gitCommit, gitObject } from "../../src/git/git-object.ts";
import { fetchBranch, pushBranch } from "../../src/git/git-remote.ts";
import { startGitHost, stockGit } from "../support/git-host.ts";
import { packAnswer, packEntry, packOf, refAnswer } from "../support/git-packs.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILES = new Map([
  ["bundle/index.json", utf8("{}\n")],
  [`objects/ab/${"c".repeat(62)}`, utf8("one\n")],
  [`signatures/ab/${"c".repeat(62)}/${"d".repeat(64)}.sig`, utf8("two\n")],
]);
const NOTE = { seconds: 1_700_000_000, message: "coffer" };

async function filesOf(url: string): Promise<Record<string, string>> {
  const branch = await fetchBranch({ url }, "coffer");
  assert.ok(branch !== undefined);
  const found: Record<string, string> = {};
  for (const path of branch.sizes.keys()) found[path] = Buffer.from(await branch.read(path)).toString();
  return found;
}

const textOf = (files: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]));

test("what is pushed to a git host is what is fetched from it, and stock git reads it", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  assert.equal(await fetchBranch({ url }, "coffer"), undefined);
  const first = await pushBranch({ url }, "coffer", undefined, FILES, NOTE);
  assert.equal(first.moved, true);
  assert.deepEqual(await filesOf(url), textOf(FILES));
  assert.equal(host.git("models.git", "rev-parse", "refs/heads/coffer"), first.commit);
  assert.equal(host.git("models.git", "fsck", "--strict", "--full", "--no-dangling"), "");
  assert.equal(host.git("models.git", "cat-file", "blob", "coffer:bundle/index.json"), "{}");

  assert.deepEqual(await pushBranch({ url }, "coffer", first.commit, FILES, NOTE), {
    commit: first.commit,
    moved: false,
  });
  const more = new Map([...FILES, [`objects/ef/${"0".repeat(62)}`, utf8("three\n")]]);
  const second = await pushBranch({ url }, "coffer", first.commit, more, NOTE);
  assert.deepEqual(await filesOf(url), textOf(more));
  assert.equal(host.git("models.git", "rev-parse", "coffer^"), first.commit);
  assert.equal(host.git("models.git", "rev-list", "--count", "coffer"), "2");
  assert.equal(host.git("models.git", "fsck", "--strict", "--full", "--no-dangling"), "");
  await assert.rejects(pushBranch({ url }, "coffer", first.commit, FILES, NOTE), { code: "REMOTE_MOVED" });
  await assert.rejects(pushBranch({ url }, "coffer", undefined, FILES, NOTE), { code: "REMOTE_MOVED" });
  assert.equal(host.git("models.git", "rev-parse", "refs/heads/coffer"), second.commit);
});

test("many files, several rounds, and beside branches of other people", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  const work = mkdtempSync(join(tmpdir(), "coffer-git-remote-"));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  stockGit(["clone", "--quiet", join(host.folder, "models.git"), work]);
  writeFileSync(join(work, "theirs.txt"), "theirs\n");
  stockGit(["-C", work, "add", "."]);
  stockGit(["-C", work, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "theirs"]);
  stockGit(["-C", work, "push", "--quiet", "origin", "HEAD:refs/heads/main", "HEAD:refs/heads/coffer-not"]);
  const files = new Map<string, Uint8Array>();
  let after: Awaited<ReturnType<typeof pushBranch>>["commit"] | undefined;
  for (let round = 0; round < 3; round += 1) {
    for (let at = 0; at < 300; at += 1) {
      const id = Buffer.from(`${round}-${at}`.padEnd(32, "x")).toString("hex");
      files.set(`objects/${id.slice(0, 2)}/${id.slice(2)}`, utf8(`${round} ${at}\n`));
    }
    after = (await pushBranch({ url }, "coffer", after, files, NOTE)).commit;
    assert.deepEqual(await filesOf(url), textOf(files));
  }
  assert.equal(host.git("models.git", "fsck", "--strict", "--full", "--no-dangling"), "");
});

test("a password is sent to a host that asks, never twice, and never shown", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  host.wants = "ann:s3cret";
  const url = `${host.url}/models.git`;
  const auth = { username: "ann", password: "s3cret" };
  await pushBranch({ url, auth }, "coffer", undefined, FILES, NOTE);
  for (const wrong of [{ url }, { url, auth: { ...auth, password: "gu3ss" } }]) {
    await assert.rejects(fetchBranch(wrong, "coffer"), (error) => {
      assert.ok(isCofferError(error, "REMOTE_DENIED"));
      assert.match(
        error.message,
        "auth" in wrong ? /refuses this with the login that was sent$/ : /it wants a login; COFFER_GIT_USER/,
      );
      assert.doesNotMatch(error.message, /s3cret|gu3ss/);
      return true;
    });
  }
});

test("links, programs, submodules and deep folders on the branch are refused", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  const folder = join(host.folder, "models.git");
  const git = (args: readonly string[], input?: string): string => stockGit(["-C", folder, ...args], input);
  const blob = git(["hash-object", "-w", "--stdin"]);
  const make = (mode: string, type: string, path: string): void => {
    const [last, ...above] = path.split("/").reverse();
    let entry = `${mode} ${type} ${type === "commit" ? "1".repeat(40) : blob}\t${last}\n`;
    for (const part of above) entry = `040000 tree ${git(["mktree"], entry)}\t${part}\n`;
    const who = ["-c", "user.name=t", "-c", "user.email=t@t"];
    const commit = git([...who, "commit-tree", "-m", "x", git(["mktree", "--missing"], entry)]);
    git(["update-ref", "refs/heads/coffer", commit]);
  };
  for (const [mode, type, path] of [
    ["120000", "blob", "objects/link"],
    ["100755", "blob", "objects/program"],
    ["160000", "commit", "objects/module"],
    ["100644", "blob", "a/b/c/d/e/f/g"],
  ] as const) {
    make(mode, type, path);
    await assert.rejects(fetchBranch({ url }, "coffer"), { code: "REMOTE_FAILED" }, path);
  }
  make("100644", "blob", "objects/file");
  assert.deepEqual(await filesOf(url), { "objects/file": "" });
});

test("a small pack cannot be a large branch: no file or folder twice, no objects past the limits, no list of branches", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  const git = (args: readonly string[], input?: string): string =>
    stockGit(["-C", join(host.folder, "models.git"), ...args], input);
  const ids = ["one", "two"].map((text) => git(["hash-object", "-w", "--stdin"], text));
  const [one = "", two = ""] = ids;
  const file = (id: string): string => git(["mktree"], `100644 blob ${id}\tx\n`);
  const refused = async (says: RegExp): Promise<void> =>
    assert.rejects(fetchBranch({ url }, "coffer"), { code: "REMOTE_FAILED", message: says });
  const setBranch = (entries: string): void => {
    const who = ["-c", "user.name=t", "-c", "user.email=t@t"];
    git(["update-ref", "refs/heads/coffer", git([...who, "commit-tree", "-m", "x", git(["mktree"], entries)])]);
  };
  setBranch(`040000 tree ${file(one)}\ta\n040000 tree ${file(two)}\tb\n`);
  assert.deepEqual(await filesOf(url), { "a/x": "one", "b/x": "two" });
  setBranch(`040000 tree ${file(one)}\ta\n040000 tree ${file(one)}\tb\n`);
  await refused(/the branch has at "b" what it has elsewhere, too$/);
  setBranch(`100644 blob ${one}\ta\n100644 blob ${one}\tb\n`);
  await refused(/the branch has at "b" what it has elsewhere, too$/);

  const answers = (command: string, answer: Buffer): void => {
    host.instead.set(`POST /models.git/git-upload-pack ${command}`, (_request, response) => response.end(answer));
  };
  answers("fetch", packAnswer(packOf([packEntry(3, Buffer.alloc(1), LIMITS.bundleIndexBytes + 1)])));
  await refused(/models\.git: its pack: expected objects of at most 201326592 bytes, found one of 201326593$/);
  answers("fetch", packAnswer(packOf([packEntry(3, Buffer.alloc(1))], 4_001_001)));
  await refused(/its pack: expected at most 4001000 objects, found 4001001 announced$/);
  answers("fetch", packAnswer(packOf([packEntry(3, Buffer.alloc(1))])));
  await refused(/expected the commit [0-9a-f]{12}, found none$/);
  const notree = gitObject("tree", utf8("100644 x\0cut"));
  const commitOf = (tree: GitId) => gitCommit({ tree, parents: [], seconds: 1, message: "x" });
  for (const [commit, others, says] of [
    [gitObject("commit", utf8("x")), [], /expected a commit with a tree, found another$/],
    [commitOf(notree.id), [], /expected the tree [0-9a-f]{12}, found none$/],
    [commitOf(gitBlob("").id), [gitBlob("")], /expected the tree [0-9a-f]{12}, found blob$/],
    [commitOf(notree.id), [notree], /the branch has no folder at ""$/],
  ] as const) {
    answers("ls-refs", refAnswer(commit.id, "refs/heads/coffer"));
    const bits = { commit: 1, tree: 2, blob: 3 };
    answers(
      "fetch",
      packAnswer(packOf([commit, ...others].map(({ kind, content }) => packEntry(bits[kind], content)))),
    );
    await refused(says);
  }
  answers("ls-refs", Buffer.alloc(16 * 1024 ** 2 + 4, "0004"));
  await refused(/its answer is over 16777216 bytes$/);
});

test("a host that lies, breaks off, leads elsewhere or is not there is told as the host's failure", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  const { commit } = await pushBranch({ url }, "coffer", undefined, FILES, NOTE);
  const refused = async (what: string, begin: string, answer: (response: ServerResponse) => void): Promise<void> => {
    host.instead.set(begin, (_request, response) => answer(response));
    await assert.rejects(fetchBranch({ url }, "coffer"), { code: "REMOTE_FAILED" }, what);
    host.instead.clear();
  };
  const refs = "GET /models.git/info/refs";
  const pack = "POST /models.git/git-upload-pack fetch";
  await refused("500", refs, (response) => response.writeHead(500).end());
  await refused("elsewhere", refs, (response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end());
  await refused("a page", refs, (response) => response.end("<html>hello</html>"));
  await refused("broken off", pack, (response) => {
    response.writeHead(200, { "content-length": "100000" });
    response.write("0008NAK\n", () => response.destroy());
  });
  await refused("no pack", pack, (response) => response.end("0008NAK\n"));
  await refused("a cut pack", pack, (response) => response.end(Buffer.from("0008NAK\nPACK\0\0\0\x02\0\0\0\x09abc")));
  host.git("models.git", "config", "receive.denyNonFastForwards", "true");
  host.git("models.git", "config", "http.receivepack", "false");
  await assert.rejects(pushBranch({ url }, "coffer", commit, new Map(), NOTE), {
    code: "REMOTE_DENIED",
    message: /it answered 403: it does not allow this;/,
  });
  await assert.rejects(fetchBranch({ url: `${host.url}/none.git` }, "coffer"), { code: "REMOTE_FAILED" });
  await assert.rejects(fetchBranch({ url: "http://127.0.0.1:1/none.git" }, "coffer"), { code: "REMOTE_FAILED" });
});

test("a hook on the host that refuses the push is told in the host's words", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const url = `${host.url}/models.git`;
  const hook = join(host.folder, "models.git/hooks/update");
  writeFileSync(hook, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  await assert.rejects(pushBranch({ url }, "coffer", undefined, FILES, NOTE), { code: "REMOTE_FAILED" });
  rmSync(hook);
  assert.equal((await pushBranch({ url }, "coffer", undefined, FILES, NOTE)).moved, true);
});
