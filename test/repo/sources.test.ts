// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { findSources } from "../../src/repo/sources.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "coffer-sources-")));
after(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text = path): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

async function paths(...patterns: string[]): Promise<string[]> {
  return (await findSources(patterns, root)).files.map(
    (file) => `${file.path} <- ${join(file.folder, file.file).slice(root.length + 1)}`,
  );
}

function refused(code: ErrorCode, ...patterns: string[]): Promise<void> {
  return assert.rejects(findSources(patterns, root), (error) => isCofferError(error, code));
}

put("model/config.json");
put("model/sub/a.txt");
put("model/.hidden/b.txt");
put("model/.gitattributes");
put("model/.git/HEAD");
put("model/.cache/huggingface/x.metadata");
put("one.gguf");
put("many/a-1.gguf");
put("many/a-2.gguf");
put("many/deep/a-3.gguf");
put("many/b.txt");
put("brackets/[x].txt");
put("brackets/x.txt");

test("a file is its own name; a folder keeps its tree, without version control and caches, and says so", async () => {
  assert.deepEqual(await paths("one.gguf"), ["one.gguf <- one.gguf"]);
  assert.deepEqual(await paths(join(root, "many/deep/a-3.gguf")), ["a-3.gguf <- many/deep/a-3.gguf"]);
  const found = await findSources(["model/"], root);
  assert.deepEqual(
    found.files.map((file) => file.path),
    [".gitattributes", ".hidden/b.txt", "config.json", "sub/a.txt"],
  );
  assert.deepEqual(found.leftOut, [
    ".cache",
    ".cache/huggingface",
    ".cache/huggingface/x.metadata",
    ".git",
    ".git/HEAD",
  ]);
});

test("a glob keeps the tree below its fixed part; a name that is there is no glob", async () => {
  assert.deepEqual(await paths("many/*.gguf"), ["a-1.gguf <- many/a-1.gguf", "a-2.gguf <- many/a-2.gguf"]);
  assert.deepEqual(await paths("many/**/*.gguf"), [
    "a-1.gguf <- many/a-1.gguf",
    "a-2.gguf <- many/a-2.gguf",
    "deep/a-3.gguf <- many/deep/a-3.gguf",
  ]);
  assert.deepEqual(await paths("brackets/[x].txt"), ["[x].txt <- brackets/[x].txt"]);
  assert.deepEqual(await paths("many/{b.txt,a-1.gguf}"), ["a-1.gguf <- many/a-1.gguf", "b.txt <- many/b.txt"]);
});

test("the same file twice is one; two files with one path are refused", async () => {
  assert.deepEqual(await paths("one.gguf", "./one.gguf", "*.gguf"), ["one.gguf <- one.gguf"]);
  put("other/one.gguf");
  await refused("PATH_INVALID", "one.gguf", "other/one.gguf");
});

test("what is not there is told", async () => {
  await refused("FILE_NOT_FOUND", "nowhere");
  await refused("FILE_NOT_FOUND", "nowhere/*.gguf");
  await refused("FILE_NOT_FOUND", "many/*.bin");
  await refused("FILE_NOT_FOUND", "one.gguf/x");
  mkdirSync(join(root, "empty"), { recursive: true });
  await refused("FILE_NOT_FOUND", "empty");
  await refused("FILE_NOT_FOUND", "x".repeat(5000));
});

test("links and devices are refused, alone, in a folder and behind a glob", async () => {
  mkdirSync(join(root, "linked"), { recursive: true });
  symlinkSync("/etc/passwd", join(root, "linked/passwd.txt"));
  await refused("PATH_INVALID", "linked");
  await refused("PATH_INVALID", "linked/passwd.txt");
  await refused("PATH_INVALID", "linked/*.txt");
  mkdirSync(join(root, "piped"), { recursive: true });
  execFileSync("mkfifo", [join(root, "piped/pipe")]);
  await refused("PATH_INVALID", "piped");
  await refused("PATH_INVALID", "piped/pipe");
  await refused("PATH_INVALID", "/dev/zero");
});

test("a path that no manifest may hold is refused by name", async () => {
  put("odd/a:b.txt");
  await refused("PATH_INVALID", "odd");
  put("odd2/caf\u00e9.txt");
  await refused("PATH_INVALID", "odd2");
  put("odd3/line\nbreak.txt");
  await refused("PATH_INVALID", "odd3");
});

test("a Hugging Face cache folder is followed into its own blobs, and nowhere else", async () => {
  const cache = "hub/models--acme--tiny";
  put(`${cache}/blobs/aaaa`, "weights");
  put(`${cache}/refs/main`, "rev1\n");
  mkdirSync(join(root, cache, "snapshots/rev1/sub"), { recursive: true });
  mkdirSync(join(root, cache, "snapshots/rev0"), { recursive: true });
  symlinkSync("../../blobs/aaaa", join(root, cache, "snapshots/rev1/model.safetensors"));
  symlinkSync("../../../blobs/aaaa", join(root, cache, "snapshots/rev1/sub/copy.safetensors"));
  assert.deepEqual(await paths(cache), [
    `model.safetensors <- ${cache}/blobs/aaaa`,
    `sub/copy.safetensors <- ${cache}/blobs/aaaa`,
  ]);
  assert.deepEqual(await paths(`${cache}/snapshots/rev1/model.safetensors`), [
    `model.safetensors <- ${cache}/blobs/aaaa`,
  ]);
  symlinkSync("/etc/passwd", join(root, cache, "snapshots/rev1/out.txt"));
  await refused("PATH_INVALID", cache);
  await refused("PATH_INVALID", `${cache}/snapshots/rev1/out.txt`);
  rmSync(join(root, cache, "snapshots/rev1/out.txt"));
  symlinkSync("../../refs/main", join(root, cache, "snapshots/rev1/main.txt"));
  await refused("PATH_INVALID", cache);
  rmSync(join(root, cache, "refs"), { recursive: true });
  await refused("FILE_NOT_FOUND", cache);
});

/** A cache of one snapshot with one link into its blobs. @returns its path */
function makeCache(name: string): string {
  const cache = `hub/models--acme--${name}`;
  put(`${cache}/blobs/aaaa`, "weights");
  mkdirSync(join(root, cache, "snapshots/rev1"), { recursive: true });
  symlinkSync("../../blobs/aaaa", join(root, cache, "snapshots/rev1/model.safetensors"));
  return cache;
}

test("a cache whose own folders are links is refused", async () => {
  put("secret/config.json");
  put("secret/aaaa");
  const snapshot = makeCache("snapshot");
  rmSync(join(root, snapshot, "snapshots/rev1"), { recursive: true });
  symlinkSync(join(root, "secret"), join(root, snapshot, "snapshots/rev1"));
  await refused("PATH_INVALID", snapshot);

  const blobs = makeCache("blobs");
  rmSync(join(root, blobs, "blobs"), { recursive: true });
  symlinkSync(join(root, "secret"), join(root, blobs, "blobs"));
  await refused("PATH_INVALID", blobs);
  await refused("PATH_INVALID", `${blobs}/snapshots/rev1/model.safetensors`);

  const snapshots = makeCache("snapshots");
  mkdirSync(join(root, "elsewhere/rev1"), { recursive: true });
  symlinkSync(join(root, snapshots, "blobs/aaaa"), join(root, "elsewhere/rev1/model.safetensors"));
  rmSync(join(root, snapshots, "snapshots"), { recursive: true });
  symlinkSync(join(root, "elsewhere"), join(root, snapshots, "snapshots"));
  await refused("PATH_INVALID", snapshots);
  await refused("PATH_INVALID", `${snapshots}/snapshots/rev1/model.safetensors`);

  symlinkSync(join(root, makeCache("real")), join(root, "hub/models--acme--alias"));
  await refused("PATH_INVALID", "hub/models--acme--alias");
  await refused("PATH_INVALID", "hub/models--acme--alias/snapshots/rev1/model.safetensors");
  assert.equal((await paths("hub/models--acme--real")).length, 1);
});

test("a link of a cache leads to a regular file, or the message says what is wrong", async () => {
  const cut = makeCache("cut");
  rmSync(join(root, cut, "blobs/aaaa"));
  await assert.rejects(findSources([cut], root), (error) => {
    return isCofferError(error, "FILE_NOT_FOUND") && /download is incomplete/.test(error.message);
  });
  await refused("FILE_NOT_FOUND", `${cut}/snapshots/rev1/model.safetensors`);
  mkdirSync(join(root, cut, "blobs/aaaa"));
  await refused("PATH_INVALID", cut);
  await refused("PATH_INVALID", `${cut}/snapshots/rev1/model.safetensors`);
  rmSync(join(root, cut, "blobs/aaaa"), { recursive: true });
  symlinkSync("aaaa", join(root, cut, "blobs/aaaa"));
  await refused("PATH_INVALID", cut);
});

test("a pattern that stands for too many is refused at once", { timeout: 60_000 }, async () => {
  await refused("USAGE", "{1..99999999}");
  await refused("USAGE", "{1..Infinity}");
  await refused("USAGE", "{99999999..0x1}/x");
  await refused("USAGE", "{\u0001..\uffff}");
  await refused("USAGE", "{1..1000}{1..1000}{1..1000}");
  await refused("USAGE", "{a,b}".repeat(22));
  await refused("USAGE", `${"{a,".repeat(200)}b${"}".repeat(200)}`);
  await refused("USAGE", `*${"x".repeat(1000)}`);
  await refused("FILE_NOT_FOUND", "{a,b}".repeat(10));
  await refused("FILE_NOT_FOUND", "{1..1000}");
  assert.deepEqual(await paths("many/{a-{1..2},b}.{gguf,txt}"), [
    "a-1.gguf <- many/a-1.gguf",
    "a-2.gguf <- many/a-2.gguf",
    "b.txt <- many/b.txt",
  ]);
  assert.deepEqual(await paths("many/deep/../{b,c}.txt"), ["b.txt <- many/b.txt"]);
});

test("a folder that may not be read is told as that", async () => {
  put("closed/open/a.txt");
  put("closed/shut/b.txt");
  chmodSync(join(root, "closed/shut"), 0);
  chmodSync(root, 0o755);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65534);
  try {
    await refused("IO_ERROR", "closed");
    await refused("IO_ERROR", "closed/**/*.txt");
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(join(root, "closed/shut"), 0o755);
  }
});
