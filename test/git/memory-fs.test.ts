// SPDX-License-Identifier: Apache-2.0
/** The file system in memory behaves as the library expects of a real one, and never holds more than it may. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryFs } from "../../src/git/memory-fs.ts";

const LIMIT_BYTES = 10;

test("memory fs: what is not there, or of another kind, has the code that a disk gives", async () => {
  const fs = new MemoryFs(LIMIT_BYTES);
  const { promises } = fs;
  fs.mkdir("/a");
  fs.writeFile("/a/file", "one");
  const failures: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["ENOENT", () => promises.readFile("/a/none")],
    ["EISDIR", () => promises.readFile("/a")],
    ["ENOENT", () => promises.writeFile("/none/file", "one")],
    ["ENOENT", () => promises.unlink("/a/none")],
    ["ENOENT", () => promises.readdir("/none")],
    ["ENOTDIR", () => promises.readdir("/a/file")],
    ["EEXIST", () => promises.mkdir("/a")],
    ["EEXIST", () => promises.mkdir("/a/file")],
    ["ENOENT", () => promises.mkdir("/none/below")],
    ["ENOENT", () => promises.stat("/a/none")],
    ["ENOENT", () => promises.lstat("/a/none")],
    ["EINVAL", async () => promises.readlink?.("/a/file")],
    ["EPERM", async () => promises.symlink?.("/a/file", "/a/link")],
  ];
  for (const [code, act] of failures) await assert.rejects(act, { code });
});

test("memory fs: text and bytes, paths with dots, and nothing above the root", async () => {
  const { promises } = new MemoryFs(LIMIT_BYTES);
  await promises.mkdir("/a");
  await promises.mkdir("/a/b");
  await promises.writeFile("/a/b/file", "é");
  assert.equal(await promises.readFile("/a/./b//file", "utf8"), "é");
  assert.equal(await promises.readFile("/a/b/file", { encoding: "utf8" }), "é");
  assert.deepEqual(await promises.readFile("/a/b/file", { encoding: 8 }), Buffer.from("é"));
  assert.deepEqual(await promises.readFile("/../../a/b/../b/file"), Buffer.from("é"));
  assert.deepEqual(await promises.readdir("/a"), ["b"]);
  assert.deepEqual(await promises.readdir("/"), ["a"]);
  const [file, folder] = [await promises.stat("/a/b/file"), await promises.lstat("/a/b")];
  assert.deepEqual([file.size, file.isFile(), file.isDirectory(), file.isSymbolicLink()], [2, true, false, false]);
  assert.deepEqual([folder.isFile(), folder.isDirectory()], [false, true]);
  await promises.unlink("/a/b/file");
  await promises.rmdir("/a/b");
  assert.deepEqual(await promises.readdir("/a"), []);
});

test("memory fs: the limit is for all files together; what is replaced or removed counts no more", () => {
  const fs = new MemoryFs(LIMIT_BYTES);
  fs.writeFile("/one", "12345678");
  fs.writeFile("/one", "1234567890");
  assert.throws(() => fs.writeFile("/two", "1"), { code: "LIMIT_EXCEEDED" });
});
