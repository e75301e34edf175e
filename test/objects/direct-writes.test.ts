// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { DirectWrites, openDirect } from "../../src/objects/direct-writes.ts";
import type { NewFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { NodeNewFile } from "../../src/objects/real-handles.ts";

const MIB = 1024 * 1024;
const LARGE = 64 * MIB;
const linuxOnly = { skip: process.platform !== "linux" };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "coffer-direct-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes that say where they stand, so that nothing can change places unnoticed. */
function bytesAt(position: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4) + 1);
  const first = Math.floor(position / 4);
  for (let at = 0; at < words.length; at += 1) words[at] = Math.imul(first + at, 0x9e3779b1);
  return new Uint8Array(words.buffer).subarray(position % 4, (position % 4) + length);
}

/** The flags of this process's descriptors on a file, as the system tells them. */
function flagsOn(path: string): number[] {
  const found: number[] = [];
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== path) continue;
      found.push(
        Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? "", 8),
      );
    } catch (error) {
      assert.match(String(error), /ENOENT/); // the one by which the folder was listed
    }
  }
  return found;
}

/** Whether files in a folder can be written past the cache at all: tmpfs and some others could not, once. */
function knowsDirect(folder: string): boolean {
  try {
    closeSync(openSync(join(folder, "probe"), constants.O_CREAT | constants.O_WRONLY | constants.O_DIRECT, 0o600));
    return true;
  } catch (error) {
    assert.match(String(error), /EINVAL/);
    return false;
  }
}

const ODD = [1, 4095, 4 * MIB - 1, 1, 0, 4 * MIB + 1, 9 * MIB, 512, 8 * MIB, 3 * MIB + 511, 17 * MIB, 4 * MIB];

test(
  "of a large file every byte comes to lie where it belongs, however pieces fall and overlap",
  linuxOnly,
  async (t) => {
    const folder = folderOf(t);
    const files = openRealFiles(folder);
    const file = await files.create("file", 0o444, LARGE);
    assert.ok(file);
    const direct = flagsOn(join(folder, "file")).filter((flags) => (flags & constants.O_DIRECT) !== 0);
    assert.equal(direct.length, knowsDirect(folder) ? 1 : 0);
    let sizeBytes = 0;
    const append = (length: number): Promise<void> => {
      const bytes = bytesAt(sizeBytes, length).slice();
      sizeBytes += length;
      return file.write(bytes).then(() => void bytes.fill(0)); // it is the caller's again
    };
    const check = async (from: number): Promise<void> => {
      const found = new Uint8Array(sizeBytes - from + 1);
      assert.equal(await file.read(found, from), sizeBytes - from);
      assert.equal(Buffer.compare(found.subarray(0, -1), bytesAt(from, sizeBytes - from)), 0);
    };
    for (const length of ODD) await append(length);
    await check(0);
    await Promise.all(ODD.map(append));
    assert.equal(Number((await file.stat()).sizeBytes), sizeBytes);
    await append(12_345);
    await check(sizeBytes - 20_000);
    await file.fsync();
    await append(5 * MIB + 3);
    await file.fsync();
    await file.close();
    await file.close();
    assert.equal(Buffer.compare(readFileSync(join(folder, "file")), bytesAt(0, sizeBytes)), 0);
    assert.equal(statSync(join(folder, "file")).mode & 0o777, 0o444);
    assert.deepEqual(flagsOn(join(folder, "file")), []);
  },
);

test("what was written to a large file is in it once it is closed, also without fsync", linuxOnly, async (t) => {
  const folder = folderOf(t);
  const file = await openRealFiles(folder).create("file", 0o644, LARGE);
  assert.ok(file);
  await file.write(bytesAt(0, 6 * MIB + 7));
  const closed = Promise.all([file.close(), file.close()]);
  await assert.rejects(file.write(new Uint8Array(MIB)), (error) => isCofferError(error, "INTERNAL"));
  await closed;
  assert.equal(Buffer.compare(readFileSync(join(folder, "file")), bytesAt(0, 6 * MIB + 7)), 0);
});

/** A large new file whose whole blocks go to `device`, and the rest to `path`. */
function writingTo(path: string, device: string): NewFile {
  const fd = openSync(path, "wx+");
  return new NodeNewFile(fd, "volume", new DirectWrites(fd, openSync(device, "w")));
}

// What the system takes there is a number: all else is EINVAL, as from a file system that wants other blocks.
test("where the system refuses such writes, all is written the usual way", linuxOnly, async (t) => {
  const path = join(folderOf(t), "file");
  const file = writingTo(path, "/proc/self/oom_score_adj");
  for (let at = 0; at < 3; at += 1) await file.write(bytesAt(at * 5 * MIB, 5 * MIB));
  await file.fsync();
  await file.close();
  assert.equal(Buffer.compare(readFileSync(path), bytesAt(0, 15 * MIB)), 0);
});

test(
  "a write that fails behind the writer's back is told by a later call, and by each after it",
  linuxOnly,
  async (t) => {
    const isFull = (error: unknown): boolean => isCofferError(error, "NO_SPACE");
    const piece = new Uint8Array(4 * MIB);
    const ways: readonly ((file: NewFile) => Promise<unknown>)[] = [
      (file) => file.fsync(),
      (file) => file.stat(),
      (file) => file.read(new Uint8Array(1), 0),
      (file) => file.close(),
      (file) => Promise.all([file.write(piece), file.write(piece)]),
    ];
    for (const way of ways) {
      const file = writingTo(join(folderOf(t), "file"), "/dev/full");
      await file.write(piece);
      await assert.rejects(way(file), isFull);
      await file.close();
      const other = writingTo(join(folderOf(t), "file"), "/dev/full");
      await other.write(piece);
      await assert.rejects(other.fsync(), isFull);
      await assert.rejects(other.write(piece), isFull);
      await assert.rejects(other.fsync(), isFull);
      await other.close();
    }
  },
);

// What the system takes to say so is a file that has no blocks at all.
test("a file system that refuses at the open is taken at its word, and nothing stays open", linuxOnly, () => {
  const path = "/proc/self/oom_score_adj";
  assert.throws(() => openSync(path, constants.O_WRONLY | constants.O_DIRECT), { code: "EINVAL" });
  const fd = openSync(path, "r+");
  try {
    assert.equal(openDirect(fd), undefined);
    assert.equal(flagsOn(realpathSync(path)).length, 1);
  } finally {
    closeSync(fd);
  }
});

const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/**
 * Runs a script with `create` at hand, which makes a large file in `folder`, in a process of its own, where every file can be
 * opened for such writes. @returns what it says
 */
function said(folder: string, script: string): string {
  const begin = `
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    import { openRealFiles } from ${url("../../src/objects/real-files.ts")};
    const create = () => openRealFiles(${JSON.stringify(folder)}).create("file", 0o444, ${LARGE});
    const isFile = (fd) => {
      try {
        return fs.readlinkSync("/proc/self/fd/" + fd) === ${JSON.stringify(join(folder, "file"))};
      } catch {
        return false; // the one by which the folder is listed
      }
    };
    const open = () => fs.readdirSync("/proc/self/fd").filter(isFile).length;
    const { openSync } = fs;
    const { O_DIRECT } = fs.constants;
    let refuse = () => undefined;
    fs.openSync = (path, flags, mode) => {
      if ((flags & O_DIRECT) === 0) return openSync(path, flags, mode);
      refuse();
      return openSync(path, flags & ~O_DIRECT, mode);
    };
    syncBuiltinESMExports();`;
  const cwd = new URL("../..", import.meta.url);
  const args = ["--import", "tsx", "--input-type=module", "-e", begin + script];
  return execFileSync(process.execPath, args, { cwd, encoding: "utf8" });
}

/** What cannot be had, how a process comes to be without it, and how often it was asked for. */
const LACKING = [
  ["WebAssembly", "let asked = 1; delete globalThis.WebAssembly;"],
  [
    "memory for the buffers",
    `let asked = 0;
    class Memory {
      constructor() {
        asked += 1;
        throw new RangeError("could not allocate memory");
      }
    }
    globalThis.WebAssembly = { Memory };`,
  ],
  [
    "a file system that lets files be opened so",
    `let asked = 0;
    refuse = () => {
      asked += 1;
      throw Object.assign(new Error("EINVAL: invalid argument, open"), { errno: -22, code: "EINVAL", syscall: "open" });
    };`,
  ],
] as const;

for (const [what, lose] of LACKING) {
  test(`a process without ${what} writes large files all the same`, linuxOnly, async (t) => {
    const folder = folderOf(t);
    const script = `${lose}
    const file = await create();
    const during = open();
    await file.write(new Uint8Array(${5 * MIB}).fill(7));
    await file.fsync();
    await file.close();
    console.log(asked, during, open());`;
    assert.equal(said(folder, script), "1 1 0\n"); // a second descriptor would be the one for such writes
    assert.equal(Buffer.compare(readFileSync(join(folder, "file")), Buffer.alloc(5 * MIB, 7)), 0);
    assert.equal(statSync(join(folder, "file")).mode & 0o777, 0o444);
  });
}

test(
  "a mistake of ours on the way to such writes is told, and leaves neither a file nor a descriptor",
  linuxOnly,
  (t) => {
    const folder = folderOf(t);
    const script = `
    globalThis.WebAssembly = { Memory: class { constructor() { throw new TypeError("a mistake"); } } };
    const code = await create().catch((error) => error.code);
    console.log(code, open());`;
    assert.equal(said(folder, script), "INTERNAL 0\n");
    assert.deepEqual(readdirSync(folder), []);
  },
);
