// SPDX-License-Identifier: Apache-2.0
/**
 * What every implementation of the Files port must do, as one suite to be run on each.
 * Layer: test support. Not here: what only one of them can show (links, umask, power loss): test/objects/files.test.ts.
 */
import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { type ErrorCode, isCofferError, systemCode } from "../../src/base/errors.ts";
import type { Files } from "../../src/objects/files.ts";

const LIMIT = 1 << 20;

/** `text` as bytes. */
export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Creates `path` with `text`; fails the test if it exists. Not durable. */
export async function writeText(files: Files, path: string, text: string, mode = 0o444): Promise<void> {
  const file = await files.create(path, mode);
  assert.ok(file, `${path} exists`);
  await file.write(bytesOf(text));
  await file.close();
}

/** The file as text; undefined if absent. */
export async function readText(files: Files, path: string): Promise<string | undefined> {
  const bytes = await files.read(path, LIMIT);
  return bytes && new TextDecoder().decode(bytes);
}

/** Asserts a rejection with `code`, whose cause is the system error `cause` where one is named. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode, cause?: string): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isCofferError(error), String(error));
    assert.equal(error.code, code, error.message);
    if (cause !== undefined) assert.equal(systemCode(error.cause), cause);
    return true;
  });
}

/** Runs the suite; `makeFiles` gives an empty root and arranges its own removal with `t.after`. */
export function filesContract(name: string, makeFiles: (t: TestContext) => Files): void {
  suite(`files contract: ${name}`, () => {
    readingAndWriting(makeFiles);
    handles(makeFiles);
    names(makeFiles);
    folders(makeFiles);
    stats(makeFiles);
    refusals(makeFiles);
  });
}

type Make = (t: TestContext) => Files;

function readingAndWriting(makeFiles: Make): void {
  test("what was written is read back, as a plain Uint8Array", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "hello");
    assert.deepEqual(await files.read("a", 5), bytesOf("hello"));
  });

  test("an empty file is not an absent one", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "");
    assert.deepEqual(await files.read("a", 0), new Uint8Array(0));
    assert.equal(await files.read("b", 0), undefined);
    assert.equal(await files.open("b"), undefined);
    assert.equal(await files.read("no/folder", 0), undefined);
  });

  test("read refuses what is over the limit by one byte", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "hello");
    await rejects(files.read("a", 4), "LIMIT_EXCEEDED");
  });

  test("create is exclusive and leaves what is there alone", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "first");
    assert.equal(await files.create("a", 0o644), undefined);
    assert.equal(await readText(files, "a"), "first");
    await files.makeFolder("d");
    assert.equal(await files.create("d", 0o644), undefined);
  });

  test("of many creators of one name, one wins", async (t) => {
    const files = makeFiles(t);
    const made = await Promise.all(Array.from({ length: 20 }, () => files.create("a", 0o444)));
    assert.equal(made.filter((file) => file !== undefined).length, 1);
    for (const file of made) await file?.close();
  });
}

function handles(makeFiles: Make): void {
  test("writes append in the order of the calls, also when they overlap", async (t) => {
    const files = makeFiles(t);
    const file = await files.create("a", 0o444);
    assert.ok(file);
    const parts = Array.from({ length: 50 }, (_, at) => new Uint8Array(1000 + at).fill(at));
    await Promise.all(parts.map((part) => file.write(part)));
    await file.write(new Uint8Array(0));
    await file.fsync();
    assert.equal((await file.stat()).sizeBytes, 50 * 1000 + 49 * 25);
    await file.close();
    assert.deepEqual(await files.read("a", LIMIT), new Uint8Array(Buffer.concat(parts)));
  });

  test("a handle reads at any position, short at the end, 0 past it", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "0123456789");
    const file = await files.open("a");
    assert.ok(file);
    const buffer = new Uint8Array(4);
    assert.equal(await file.read(buffer, 2), 4);
    assert.deepEqual(buffer, bytesOf("2345"));
    assert.equal(await file.read(buffer, 8), 2);
    assert.deepEqual(buffer, bytesOf("8945"));
    assert.equal(await file.read(buffer, 10), 0);
    assert.equal(await file.read(buffer, 10_000), 0);
    assert.equal(await file.read(new Uint8Array(0), 0), 0);
    await rejects(file.read(buffer, -1), "INTERNAL");
    await rejects(file.read(buffer, 0.5), "INTERNAL");
    await file.close();
  });

  test("a new file can be read back before it is closed", async (t) => {
    const files = makeFiles(t);
    const file = await files.create("a", 0o444);
    assert.ok(file);
    await file.write(bytesOf("abc"));
    const buffer = new Uint8Array(8);
    assert.equal(await file.read(buffer, 1), 2);
    assert.deepEqual(buffer.subarray(0, 2), bytesOf("bc"));
    await file.close();
  });

  test("a closed handle refuses all but another close", async (t) => {
    const files = makeFiles(t);
    const file = await files.create("a", 0o444);
    assert.ok(file);
    await file.close();
    await file.close();
    await rejects(file.write(bytesOf("x")), "INTERNAL");
    await rejects(file.fsync(), "INTERNAL");
    await rejects(file.read(new Uint8Array(1), 0), "INTERNAL");
    await rejects(file.stat(), "INTERNAL");
    assert.equal(await readText(files, "a"), "");
  });

  test("close waits for reads that still run", async (t) => {
    const files = makeFiles(t);
    const sizeBytes = 1 << 20;
    await writeText(files, "a", "x".repeat(sizeBytes));
    const file = await files.open("a");
    assert.ok(file);
    const buffer = new Uint8Array(sizeBytes);
    const reads = Array.from({ length: 40 }, () => file.read(buffer, 0));
    await file.close();
    assert.deepEqual(await Promise.all(reads), Array(40).fill(sizeBytes));
  });

  test("an open file outlives its name", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "kept");
    const file = await files.open("a");
    assert.ok(file);
    await files.remove("a");
    const buffer = new Uint8Array(4);
    assert.equal(await file.read(buffer, 0), 4);
    assert.deepEqual(buffer, bytesOf("kept"));
    assert.equal((await file.stat()).links, 0);
    await file.close();
  });
}

function names(makeFiles: Make): void {
  test("link gives a second name, and never replaces", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A");
    await writeText(files, "b", "B");
    assert.equal(await files.link("a", "c"), true);
    assert.equal(await files.link("a", "b"), false);
    assert.equal(await files.link("a", "a"), false);
    assert.equal(await readText(files, "b"), "B");
    assert.equal((await files.stat("a"))?.inode, (await files.stat("c"))?.inode);
    assert.equal(await files.remove("a"), true);
    assert.equal(await readText(files, "c"), "A");
  });

  test("of many links to one name, one wins", async (t) => {
    const files = makeFiles(t);
    for (let at = 0; at < 10; at++) await writeText(files, `from-${at}`, `${at}`);
    const won = await Promise.all(Array.from({ length: 10 }, (_, at) => files.link(`from-${at}`, "to")));
    assert.equal(won.filter((each) => each).length, 1);
    assert.equal(await readText(files, "to"), `${won.indexOf(true)}`);
  });

  test("rename replaces", async (t) => {
    const files = makeFiles(t);
    await files.makeFolder("d");
    await writeText(files, "a", "A");
    await writeText(files, "d/b", "B");
    await files.rename("a", "d/b");
    assert.equal(await readText(files, "d/b"), "A");
    assert.equal(await files.stat("a"), undefined);
    assert.equal((await files.stat("d/b"))?.links, 1);
  });

  test("rename onto another name of the same file leaves both names", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A");
    await files.link("a", "b");
    await files.rename("a", "b");
    assert.deepEqual(await files.list("."), ["a", "b"]);
  });

  test("remove says whether there was something", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A");
    assert.equal(await files.remove("a"), true);
    assert.equal(await files.remove("a"), false);
    assert.equal(await files.remove("no/folder"), false);
  });

  test("what link and rename start from must be there", async (t) => {
    const files = makeFiles(t);
    await rejects(files.link("a", "b"), "IO_ERROR", "ENOENT");
    await rejects(files.rename("a", "b"), "IO_ERROR", "ENOENT");
    await writeText(files, "a", "A");
    await rejects(files.link("a", "no/folder"), "IO_ERROR", "ENOENT");
    await rejects(files.rename("a", "no/folder"), "IO_ERROR", "ENOENT");
    assert.equal(await readText(files, "a"), "A");
  });
}

function folders(makeFiles: Make): void {
  test("folders are made one by one and removed when empty", async (t) => {
    const files = makeFiles(t);
    await rejects(files.makeFolder("a/b"), "IO_ERROR", "ENOENT");
    assert.equal(await files.makeFolder("a"), true);
    assert.equal(await files.makeFolder("a"), false);
    assert.equal(await files.makeFolder("a/b"), true);
    await rejects(files.removeFolder("a"), "IO_ERROR", "ENOTEMPTY");
    assert.equal(await files.removeFolder("a/b"), true);
    assert.equal(await files.removeFolder("a/b"), false);
    assert.equal(await files.removeFolder("a"), true);
    await rejects(files.create("a/b", 0o444), "IO_ERROR", "ENOENT");
  });

  test("list is sorted by bytes, not as JavaScript sorts; undefined if absent", async (t) => {
    const files = makeFiles(t);
    await files.makeFolder("d");
    for (const name of ["b", "a", "B", "10", "9", "\u{1f600}", "\uff5e", "é"]) await writeText(files, `d/${name}`, "");
    await files.makeFolder("d/ab");
    assert.deepEqual(await files.list("d"), ["10", "9", "B", "a", "ab", "b", "é", "\uff5e", "\u{1f600}"]);
    assert.deepEqual(await files.list("."), ["d"]);
    assert.deepEqual(await files.list("d", 9), await files.list("d"));
    await rejects(files.list("d", 8), "LIMIT_EXCEEDED");
    assert.equal(await files.list("e", 8), undefined);
    assert.deepEqual(await files.list("d/ab"), []);
    assert.equal(await files.list("e"), undefined);
    assert.equal(await files.list("e/f"), undefined);
    assert.deepEqual(
      [await files.isEmpty("d"), await files.isEmpty("."), await files.isEmpty("d/ab")],
      [false, false, true],
    );
    assert.deepEqual([await files.isEmpty("e"), await files.isEmpty("e/f")], [undefined, undefined]);
  });

  test("folders can be fsynced, the root too; an absent one is an error", async (t) => {
    const files = makeFiles(t);
    await files.makeFolder("d");
    await Promise.all([files.fsyncFolder("d"), files.fsyncFolder("."), files.fsyncFolder("d")]);
    await rejects(files.fsyncFolder("e"), "IO_ERROR", "ENOENT");
  });

  test("rename moves a folder, onto an empty one only", async (t) => {
    const files = makeFiles(t);
    for (const path of ["a", "b", "c"]) await files.makeFolder(path);
    await writeText(files, "a/x", "X");
    await writeText(files, "c/y", "Y");
    await rejects(files.rename("a", "c"), "IO_ERROR", "ENOTEMPTY");
    await rejects(files.rename("a", "a/z"), "IO_ERROR", "EINVAL");
    await files.rename("a", "b");
    assert.equal(await readText(files, "b/x"), "X");
    assert.deepEqual(await files.list("."), ["b", "c"]);
  });
}

function stats(makeFiles: Make): void {
  test("stat tells kind, size, mode, links and who it is", async (t) => {
    const files = makeFiles(t);
    await files.makeFolder("d");
    await writeText(files, "d/a", "hello", 0o444);
    await writeText(files, "b", "", 0o600);
    await files.link("d/a", "c");
    const stat = await files.stat("d/a");
    assert.ok(stat);
    assert.equal(stat.kind, "file");
    assert.equal(stat.sizeBytes, 5);
    assert.equal(stat.mode, 0o444);
    assert.equal(stat.links, 2);
    const { links, ...rest } = stat;
    const other = await files.stat("b");
    assert.ok(other);
    assert.equal(other.mode, 0o600);
    assert.equal(other.links, 1);
    assert.equal(other.device, rest.device);
    assert.notEqual(other.inode, rest.inode);
    assert.equal((await files.stat("d"))?.kind, "folder");
    assert.equal((await files.stat("."))?.kind, "folder");
    assert.equal(await files.stat("e"), undefined);
    assert.equal(await files.stat("e/f"), undefined);
    const file = await files.open("c");
    assert.deepEqual(await file?.stat(), stat);
    await file?.close();
  });

  test("touch renews the time, of a read-only file too, and says if absent", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A", 0o444);
    const before = (await files.stat("a"))?.mtimeNs ?? 0n;
    await new Promise((settle) => setTimeout(settle, 20));
    assert.equal(await files.touch("a"), true);
    assert.ok(((await files.stat("a"))?.mtimeNs ?? 0n) > before);
    assert.equal(await readText(files, "a"), "A");
    assert.equal(await files.touch("b"), false);
  });
}

function refusals(makeFiles: Make): void {
  test("a folder where a file should be is damage, and the other way round", async (t) => {
    const files = makeFiles(t);
    await files.makeFolder("d");
    await writeText(files, "a", "A");
    await rejects(files.read("d", LIMIT), "CORRUPT");
    await rejects(files.open("d"), "CORRUPT");
    await rejects(files.remove("d"), "CORRUPT");
    await rejects(files.rename("a", "d"), "CORRUPT");
    await rejects(files.rename("d", "a"), "CORRUPT");
    await rejects(files.list("a"), "CORRUPT");
    await rejects(files.isEmpty("a"), "CORRUPT");
    await rejects(files.makeFolder("a"), "CORRUPT");
    await rejects(files.removeFolder("a"), "CORRUPT");
    await rejects(files.fsyncFolder("a"), "CORRUPT");
    assert.deepEqual(await files.list("."), ["a", "d"]);
  });

  test("invariant 7: a file in place of a parent folder is damage, never absence", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A");
    await rejects(files.read("a/x", LIMIT), "CORRUPT");
    await rejects(files.open("a/x"), "CORRUPT");
    await rejects(files.stat("a/x"), "CORRUPT");
    await rejects(files.list("a/x"), "CORRUPT");
    await rejects(files.isEmpty("a/x"), "CORRUPT");
    await rejects(files.remove("a/x"), "CORRUPT");
    await rejects(files.touch("a/x"), "CORRUPT");
    await rejects(files.removeFolder("a/x"), "CORRUPT");
    await rejects(files.create("a/x", 0o444), "CORRUPT");
    await rejects(files.makeFolder("a/x"), "CORRUPT");
    await rejects(files.link("a", "a/x"), "CORRUPT");
    await rejects(files.rename("a", "a/x"), "CORRUPT");
  });

  test("invariant 9: paths that no caller may build are refused by every call", async (t) => {
    const files = makeFiles(t);
    await writeText(files, "a", "A");
    for (const path of ["", "/", "/etc/passwd", "..", "../a", "d/../a", "d/..", "./a", "d/./a", "d//a", "a/", "a\0b"]) {
      await rejects(files.read(path, LIMIT), "INTERNAL");
      await rejects(files.open(path), "INTERNAL");
      await rejects(files.create(path, 0o444), "INTERNAL");
      await rejects(files.link("a", path), "INTERNAL");
      await rejects(files.link(path, "b"), "INTERNAL");
      await rejects(files.rename("a", path), "INTERNAL");
      await rejects(files.rename(path, "b"), "INTERNAL");
      await rejects(files.remove(path), "INTERNAL");
      await rejects(files.touch(path), "INTERNAL");
      await rejects(files.makeFolder(path), "INTERNAL");
      await rejects(files.removeFolder(path), "INTERNAL");
      await rejects(files.fsyncFolder(path), "INTERNAL");
      await rejects(files.list(path), "INTERNAL");
      await rejects(files.isEmpty(path), "INTERNAL");
      await rejects(files.stat(path), "INTERNAL");
    }
    await rejects(files.rename("a", "."), "INTERNAL");
    await rejects(files.removeFolder("."), "INTERNAL");
    assert.deepEqual(await files.list("."), ["a"]);
  });
}
