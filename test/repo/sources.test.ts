// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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
