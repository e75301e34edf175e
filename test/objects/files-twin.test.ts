// SPDX-License-Identifier: Apache-2.0
/** What only the in-memory twin of the Files port can show: power loss, faults at any call, counters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Files } from "../../src/objects/files.ts";
import { bytesOf, readText, rejects, writeText } from "../support/files-contract.ts";
import { MemoryFiles, PowerLoss } from "../support/memory-files.ts";

// Power loss

/** The durable write of the design: temp file, fsync, link, fsync of the folder, temp name removed. */
async function writeDurably(files: Files, path: string, text: string): Promise<void> {
  const file = await files.create("tmp/t", 0o444);
  assert.ok(file);
  try {
    await file.write(bytesOf(text));
    await file.fsync();
  } finally {
    await file.close();
  }
  await files.link("tmp/t", path);
  await files.fsyncFolder("objects");
  await files.remove("tmp/t");
}

async function storeOf(...folders: string[]): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const folder of folders) await files.makeFolder(folder);
  await files.fsyncFolder(".");
  return files;
}

test("power loss: what was not fsynced is gone; each missing step shows", async () => {
  const files = await storeOf("d");
  await writeText(files, "d/no-fsync", "1");
  await files.fsyncFolder("d");
  assert.equal(await readText(files.crash("all-lost"), "d/no-fsync"), "");
  const file = await files.create("d/no-folder-fsync", 0o444);
  await file?.write(bytesOf("2"));
  await file?.fsync();
  assert.deepEqual(await files.crash("all-lost").list("d"), ["no-fsync"]);
  await files.fsyncFolder("d");
  assert.equal(await readText(files.crash("all-lost"), "d/no-folder-fsync"), "2");
  await file?.write(bytesOf("3"));
  assert.equal(await readText(files.crash("all-lost"), "d/no-folder-fsync"), "2");
  assert.equal(await readText(files.crash("none-lost"), "d/no-folder-fsync"), "23");
  await files.makeFolder("e");
  await files.fsyncFolder("e");
  assert.deepEqual(await files.crash("all-lost").list("."), ["d"]);
  assert.equal(await readText(files, "d/no-folder-fsync"), "23", "a crash leaves the original alone");
});

test("power loss: unsynced removals and renames are undone, links kept as one file", async () => {
  const files = await storeOf("d", "e");
  for (const name of ["a", "b", "c"]) files.plant(`d/${name}`, bytesOf(name));
  await files.remove("d/a");
  await files.rename("d/b", "e/b");
  await files.rename("d/c", "e/c");
  await files.link("e/c", "e/c2");
  const lost = files.crash("all-lost");
  assert.deepEqual(await lost.list("d"), ["a", "b", "c"]);
  assert.deepEqual(await lost.list("e"), []);
  await files.fsyncFolder("e");
  const half = files.crash("all-lost");
  assert.deepEqual(await half.list("d"), ["a", "b", "c"]);
  assert.deepEqual(await half.list("e"), ["b", "c", "c2"]);
  assert.equal((await half.stat("e/c"))?.links, 3);
  assert.equal((await half.stat("e/c"))?.inode, (await half.stat("d/c"))?.inode);
});

test("power loss: a rename never loses both names, whichever folder is fsynced after it", async () => {
  for (const synced of ["d", "e", ".", undefined]) {
    const files = await storeOf("d", "e");
    files.plant("d/a", bytesOf("A"));
    await files.rename("d/a", "e/b");
    await files.rename("e/b", "e/c");
    if (synced !== undefined) await files.fsyncFolder(synced);
    await files.removeFolder("d");
    const all = [files.crash("all-lost")];
    for (let seed = 0; seed < 100; seed++) all.push(files.crash("random", seed));
    for (const [at, left] of all.entries()) {
      const texts = [...left.snapshot().values()];
      assert.ok(texts.length >= 1, `${synced}, crash ${at}`);
      for (const text of texts) assert.deepEqual(text, bytesOf("A"));
    }
  }
});

test("power loss: fsyncs of both folders of a rename keep what it replaced from coming back", async () => {
  const files = await storeOf("d", "e");
  files.plant("d/a", bytesOf("new"));
  await writeText(files, "e/b", "old");
  await files.rename("d/a", "e/b");
  await files.fsyncFolder("d");
  assert.equal(await readText(files.crash("all-lost"), "e/b"), "new");
  await files.fsyncFolder("e");
  assert.equal(await readText(files.crash("all-lost"), "e/b"), "new");
});

test("power loss: the removal of a folder takes along the moves that emptied it", async () => {
  const files = await storeOf("d", "e");
  files.plant("d/a", bytesOf("A"));
  await files.rename("d/a", "e/b");
  await files.removeFolder("d");
  assert.deepEqual([...files.crash("all-lost").snapshot().keys()], ["d/a"]);
  await files.fsyncFolder(".");
  assert.deepEqual([...files.crash("all-lost").snapshot().keys()], ["e/b"]);
});

test("power loss: a replaced file is old or new, and a folder moves in one step", async () => {
  const files = await storeOf("d", "d/x");
  await files.fsyncFolder("d");
  files.plant("d/x/old", bytesOf("old"));
  files.plant("d/head", bytesOf("1"));
  files.plant("d/new", bytesOf("2"));
  await files.rename("d/new", "d/head");
  await files.rename("d/x", "y");
  const seen = new Set<string | undefined>();
  for (let seed = 0; seed < 100; seed++) {
    const left = files.crash("random", seed);
    seen.add(await readText(left, "d/head"));
    const places = [await left.stat("y/old"), await left.stat("d/x/old")].filter((stat) => stat !== undefined);
    assert.equal(places.length, 1, `seed ${seed}`);
  }
  assert.deepEqual([...seen].sort(), ["1", "2"]);
  await files.fsyncFolder(".");
  assert.equal(await readText(files.crash("all-lost"), "y/old"), "old");
});

test("power loss: random keeps, cuts and tears, the same for the same seed", async () => {
  const files = await storeOf("d");
  const file = await files.create("d/a", 0o444);
  await file?.write(bytesOf("ssss"));
  await file?.fsync();
  await files.fsyncFolder("d");
  await file?.write(bytesOf("uuuu"));
  const seen = new Set<string | undefined>();
  for (let seed = 0; seed < 300; seed++) {
    const text = await readText(files.crash("random", seed), "d/a");
    assert.equal(text, await readText(files.crash("random", seed), "d/a"));
    assert.match(text ?? "", /^ssss(u{0,4}|u{0,3}\0{1,4})$/);
    seen.add(text);
  }
  for (const text of ["ssss", "ssssu", "ssssuuuu", "ssss\0\0\0\0"]) assert.ok(seen.has(text), JSON.stringify(text));
});

test("power loss: a durable write survives any random crash; without either fsync some crash shows it", async () => {
  const survives = async (skip: string): Promise<boolean> => {
    const files = await storeOf("objects", "tmp");
    const file = await files.create("tmp/t", 0o444);
    await file?.write(bytesOf("content"));
    if (skip !== "file") await file?.fsync();
    await file?.close();
    await files.link("tmp/t", "objects/x");
    if (skip !== "folder") await files.fsyncFolder("objects");
    await files.remove("tmp/t");
    for (let seed = 0; seed < 64; seed++) {
      if ((await readText(files.crash("random", seed), "objects/x")) !== "content") return false;
    }
    return (await readText(files.crash("all-lost"), "objects/x")) === "content";
  };
  assert.equal(await survives("nothing"), true);
  assert.equal(await survives("file"), false);
  assert.equal(await survives("folder"), false);
});

// Faults, counters, hooks

test("fault: a durable write stopped at any call leaves the object absent or whole", async () => {
  const probe = await storeOf("objects", "tmp");
  const before = probe.calls;
  await writeDurably(probe, "objects/x", "content");
  assert.equal(probe.calls - before, 7);
  for (let at = before + 1; at <= probe.calls; at++) {
    const files = await storeOf("objects", "tmp");
    files.fault = { at, kind: "stop" };
    await assert.rejects(writeDurably(files, "objects/x", "content"), PowerLoss);
    await assert.rejects(files.list("objects"), PowerLoss, "the power stays off");
    for (let seed = 0; seed < 20; seed++) {
      const text = await readText(files.crash("random", seed), "objects/x");
      assert.ok(text === undefined || text === "content", `call ${at}, seed ${seed}: ${text}`);
    }
  }
});

test("fault: each call in turn fails with the mapped error, once", async () => {
  const codes = {
    ENOSPC: "NO_SPACE",
    EDQUOT: "NO_SPACE",
    EIO: "IO_ERROR",
    EMFILE: "IO_ERROR",
    EROFS: "READ_ONLY",
  } as const;
  for (const [code, mapped] of Object.entries(codes)) {
    for (let nth = 1; nth <= 7; nth++) {
      const files = await storeOf("objects", "tmp");
      files.fault = { at: files.calls + nth, kind: "fail", code };
      await rejects(writeDurably(files, "objects/x", "content"), mapped, code);
      await files.remove("tmp/t");
      await files.remove("objects/x");
      await writeDurably(files, "objects/x", "content");
      assert.equal(await readText(files, "objects/x"), "content");
    }
  }
});

test("fault: a code that is a result is one here too", async () => {
  const files = await storeOf();
  files.plant("a", bytesOf("A"));
  files.fault = { at: files.calls + 1, kind: "fail", code: "ENOENT" };
  assert.equal(await files.read("a", 10), undefined);
  files.fault = { at: files.calls + 1, kind: "fail-after", code: "EEXIST" };
  assert.equal(await files.link("a", "b"), false);
  assert.equal(await readText(files, "b"), "A", "as on NFS: done, and said to be there");
});

test("fault: a failed write leaves half; a failed fsync makes nothing durable and cannot be tried again", async () => {
  const files = await storeOf("d");
  const file = await files.create("d/a", 0o444);
  assert.ok(file);
  await files.fsyncFolder("d");
  await file.write(bytesOf("1234"));
  files.fault = { at: files.calls + 1, kind: "fail", code: "EIO" };
  await rejects(file.fsync(), "IO_ERROR", "EIO");
  await rejects(file.fsync(), "IO_ERROR", "EIO");
  await rejects(file.write(bytesOf("5")), "IO_ERROR", "EIO");
  await file.close();
  assert.equal(await readText(files.crash("all-lost"), "d/a"), "");
  const other = await files.create("d/b", 0o444);
  assert.ok(other);
  files.fault = { at: files.calls + 1, kind: "fail", code: "ENOSPC" };
  await rejects(other.write(bytesOf("1234")), "NO_SPACE");
  await other.close();
  assert.equal(await readText(files, "d/b"), "12");
});

test("calls, bytes and times are counted; `before` lets a rival in", async () => {
  const files = await storeOf("d");
  await writeText(files, "d/a", "12345");
  await readText(files, "d/a");
  assert.equal(files.calls, 6);
  assert.deepEqual(files.trace.at(-2), { call: "file.close", path: "d/a" });
  assert.deepEqual(files.trace.at(-1), { call: "read", path: "d/a" });
  assert.equal(files.count("makeFolder"), 1);
  assert.equal(files.count("file.fsync"), 0);
  assert.equal(files.bytesWritten, 5);
  assert.equal(files.bytesRead, 5);
  const early = await files.stat("d/a");
  files.nowNs += 86_400_000_000_000n;
  await files.touch("d/a");
  assert.ok(((await files.stat("d/a"))?.mtimeNs ?? 0n) - (early?.mtimeNs ?? 0n) >= 86_400_000_000_000n);
  files.before = async (call) => {
    if (call !== "link") return;
    files.before = undefined;
    await writeText(files, "d/b", "rival");
  };
  assert.equal(await files.link("d/a", "d/b"), false);
  assert.equal(await readText(files, "d/b"), "rival");
});
