// SPDX-License-Identifier: Apache-2.0
/** The Files port: the contract on both implementations, what only the real one can show, and the two side by side. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import { fileError } from "../../src/objects/file-errors.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles, type RealFiles } from "../../src/objects/real-files.ts";
import { bytesOf, filesContract, readText, rejects, writeText } from "../support/files-contract.ts";
import { MemoryFiles } from "../support/memory-files.ts";

function realFiles(t: TestContext): RealFiles {
  const root = mkdtempSync(join(tmpdir(), "coffer-files-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return openRealFiles(root);
}

filesContract("real", realFiles);
filesContract("memory", () => new MemoryFiles());

// The real file system only

test("real: a symbolic link is damage for every way to read, and is never written through", async (t) => {
  const files = realFiles(t);
  writeFileSync(files.absolute("target"), "secret");
  symlinkSync("target", files.absolute("link"));
  symlinkSync("nowhere", files.absolute("dangling"));
  mkdirSync(files.absolute("folder"));
  symlinkSync("folder", files.absolute("to-folder"));
  for (const path of ["link", "dangling", "to-folder"]) {
    await rejects(files.read(path, 100), "CORRUPT");
    await rejects(files.open(path), "CORRUPT");
    await rejects(files.list(path), "CORRUPT");
    await rejects(files.isEmpty(path), "CORRUPT");
    await rejects(files.makeFolder(path), "CORRUPT");
    await rejects(files.fsyncFolder(path), "CORRUPT");
    assert.equal(await files.create(path, 0o644), undefined);
    assert.equal((await files.stat(path))?.kind, "other");
  }
  assert.equal(await files.stat("nowhere"), undefined);
  assert.equal(await files.remove("link"), true);
  assert.equal(await readText(files, "target"), "secret");
});

test("real: a fifo or a socket in place of a file is damage, and does not hang", async (t) => {
  const files = realFiles(t);
  execFileSync("mkfifo", [files.absolute("fifo")]);
  const server = createServer();
  await new Promise<void>((settle) => server.listen(files.absolute("socket"), settle));
  t.after(() => new Promise((settle) => server.close(settle)));
  for (const path of ["fifo", "socket"]) {
    await rejects(files.read(path, 100), "CORRUPT");
    await rejects(files.open(path), "CORRUPT");
    assert.equal(await files.create(path, 0o644), undefined);
    assert.equal((await files.stat(path))?.kind, "other");
  }
});

test("real: the mode is the one asked for, whatever the umask", async (t) => {
  const files = realFiles(t);
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  await writeText(files, "a", "A", 0o664);
  await writeText(files, "b", "B", 0o444);
  process.umask(0);
  await writeText(files, "c", "C", 0o600);
  assert.equal(statSync(files.absolute("a")).mode & 0o7777, 0o664);
  assert.equal(statSync(files.absolute("b")).mode & 0o7777, 0o444);
  assert.equal(statSync(files.absolute("c")).mode & 0o7777, 0o600);
});

test("real: the root may be reached over a link, and need not exist yet", async (t) => {
  const files = realFiles(t);
  mkdirSync(files.absolute("store"));
  symlinkSync("store", files.absolute("alias"));
  const store = openRealFiles(files.absolute("alias"));
  await writeText(store, "a", "A");
  await store.fsyncFolder(".");
  assert.deepEqual(await store.list("."), ["a"]);
  assert.deepEqual(await files.list("store"), ["a"]);
  assert.equal(await openRealFiles(files.absolute("none")).list("."), undefined);
  assert.equal(await openRealFiles(files.absolute("none")).read("a", 10), undefined);
});

test("real: a full disk is NO_SPACE, and the file cannot be used after", async (t) => {
  const files = realFiles(t);
  mkdirSync(files.absolute("disk"));
  const disk = files.absolute("disk");
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", disk]).status === 0;
  if (!mounted) return t.skip("this machine mounts nothing for tests");
  try {
    const full = openRealFiles(disk);
    const file = await full.create("a", 0o444);
    assert.ok(file);
    await rejects(file.write(new Uint8Array(1 << 20)), "NO_SPACE", "ENOSPC");
    await rejects(file.write(new Uint8Array(1)), "NO_SPACE");
    await rejects(file.fsync(), "NO_SPACE");
    await file.close();
  } finally {
    execFileSync("umount", ["-l", disk]);
  }
});

test("real: what the account may not read is IO_ERROR, never absent", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may read everything");
  const files = realFiles(t);
  mkdirSync(files.absolute("d"));
  chmodSync(files.absolute("d"), 0);
  try {
    await rejects(files.read("d/a", 10), "IO_ERROR", "EACCES");
    await rejects(files.stat("d/a"), "IO_ERROR", "EACCES");
  } finally {
    chmodSync(files.absolute("d"), 0o700);
  }
});

test("real: a name that is too long is IO_ERROR; the message has no absolute path", async (t) => {
  const files = realFiles(t);
  const name = "x".repeat(300);
  for (const call of [files.read(name, 10), files.stat(name), files.create(name, 0o444), files.list(name)]) {
    await assert.rejects(call, (error) => {
      assert.ok(isCofferError(error, "IO_ERROR"));
      assert.match(error.message, /^cannot [a-z]+ x{300}: ENAMETOOLONG$/);
      return true;
    });
  }
});

test("real: /proc files, whose size is said to be 0, are not silently empty", async () => {
  await rejects(openRealFiles("/proc/self").read("status", 1 << 20), "IO_ERROR");
});

test("system errors map to the port's codes", () => {
  const expected = {
    ENOSPC: "NO_SPACE",
    EDQUOT: "NO_SPACE",
    EROFS: "READ_ONLY",
    ELOOP: "CORRUPT",
    ENOTDIR: "CORRUPT",
    EISDIR: "CORRUPT",
  };
  const others = ["EIO", "EACCES", "EPERM", "EMFILE", "ENFILE", "ESTALE", "EXDEV", "EMLINK", "ENOENT", "E2BIG"];
  for (const [code, mapped] of [...Object.entries(expected), ...others.map((other) => [other, "IO_ERROR"])]) {
    const cause = Object.assign(new Error("/secret/place"), { code });
    const error = fileError(cause, "read", "objects/ab");
    assert.equal(error.code, mapped, code);
    assert.equal(error.cause, cause);
    assert.ok(error.message.includes("objects/ab") && !error.message.includes("secret"));
  }
  assert.equal(fileError(new TypeError("x"), "read", "a").code, "INTERNAL");
  assert.equal(fileError(Object.assign(new Error("x"), { code: "ERR_X" }), "read", "a").code, "INTERNAL");
});

// Both together

const CALLS = ["create", "link", "rename", "remove", "makeFolder", "removeFolder", "list", "read", "stat"] as const;
const NAMES = ["a", "b", "d/a", "d/b", "e/a", "d", "e"] as const;

interface Step {
  readonly call: (typeof CALLS)[number];
  readonly from: string;
  readonly to: string;
}

const step: fc.Arbitrary<Step> = fc.record({
  call: fc.constantFrom(...CALLS),
  from: fc.constantFrom(...NAMES),
  to: fc.constantFrom(...NAMES),
});

/** What one step answers, in a form that both implementations must share. */
async function outcome(files: Files, { call, from, to }: Step): Promise<unknown> {
  try {
    if (call === "create") {
      const file = await files.create(from, 0o444);
      await file?.write(bytesOf(`${from}>${to}`));
      await file?.close();
      return file !== undefined;
    }
    if (call === "link" || call === "rename") return await files[call](from, to);
    if (call === "read") return await readText(files, from);
    if (call !== "stat") return await files[call](from);
    const stat = await files.stat(from);
    return stat?.kind === "file" ? [stat.sizeBytes, stat.mode, stat.links] : stat?.kind;
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    return error.code;
  }
}

test("property: the twin answers any sequence of calls as the real file system does", async (t) => {
  if (process.platform !== "linux") return t.skip("which of two errors comes first is the kernel's choice");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const real = realFiles(t);
      const twin = new MemoryFiles();
      for (const each of steps) assert.deepEqual(await outcome(twin, each), await outcome(real, each));
      assert.deepEqual(await twin.list("."), await real.list("."));
    }),
    { numRuns: 150 },
  );
});

test("property: after any calls, a crash that loses nothing shows all, and any crash shows only what was once there", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(), async (steps, seed) => {
      const files = new MemoryFiles();
      for (const each of steps) await outcome(files, each);
      assert.deepEqual(files.crash("none-lost").snapshot(), files.snapshot());
      assert.equal(files.crash("all-lost").snapshot().size, 0);
      const left = files.crash("random", seed);
      assert.deepEqual(left.crash("all-lost").snapshot(), left.snapshot(), "what a crash left is durable");
    }),
    { numRuns: 150 },
  );
});
