// SPDX-License-Identifier: Apache-2.0
/** Into the trash and out of it on the twin: whoever was faster, owns the file or breaks the disk, no file is lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { moveToTrash, putBack, trashPath } from "../../src/objects/trash.ts";
import { type FilesCall, MemoryFiles } from "../support/memory-files.ts";

const PATH = "objects/ab/cd";
const BYTES = new Uint8Array([1, 2, 3]);

/** A disk with the file, in its place or in the trash, and both folders. */
function diskWith(path: string, code?: string, failing?: FilesCall): MemoryFiles {
  const files = new MemoryFiles();
  for (const folder of ["objects/ab", trashPath("objects/ab")]) files.plant(`${folder}/other`, BYTES);
  files.plant(path, BYTES);
  if (code !== undefined)
    files.fault = { at: 1, kind: "fail", code, lasting: true, only: (call: FilesCall) => call === failing };
  return files;
}

const places = (files: MemoryFiles): readonly boolean[] =>
  [PATH, trashPath(PATH)].map((path) => files.snapshot().has(path));

test("a file is moved with a new time, from when its day counts", async () => {
  const files = diskWith(PATH);
  const before = (await files.stat(PATH))?.mtimeNs ?? 0n;
  assert.equal(await moveToTrash(files, PATH), "moved");
  assert.deepEqual(places(files), [false, true]);
  assert.ok(((await files.stat(trashPath(PATH)))?.mtimeNs ?? 0n) > before);
});

test("what somebody else took away is gone, at whichever moment", async () => {
  assert.equal(await moveToTrash(diskWith(trashPath(PATH)), PATH), "gone");
  assert.equal(await moveToTrash(diskWith(PATH, "ENOENT", "touch"), PATH), "gone");
  assert.equal(await moveToTrash(diskWith(PATH, "ENOENT", "rename"), PATH), "gone");
});

test("a second name in the trash is told, and nothing is touched", async () => {
  const files = diskWith(PATH);
  await files.link(PATH, trashPath(PATH));
  const before = await files.stat(PATH);
  assert.equal(await moveToTrash(files, PATH), "linked");
  assert.deepEqual([await files.stat(PATH), places(files)], [before, [true, true]]);
});

test("another account's file stays where it is", async () => {
  const files = diskWith(PATH, "EPERM", "touch");
  assert.equal(await moveToTrash(files, PATH), "foreign");
  assert.deepEqual(places(files), [true, false]);
});

for (const call of ["touch", "rename"] as const) {
  test(`a disk that fails at ${call} is an error, and the file stays`, async () => {
    const files = diskWith(PATH, "EIO", call);
    await assert.rejects(moveToTrash(files, PATH), (error) => isCofferError(error, "IO_ERROR"));
    assert.deepEqual(places(files), [true, false]);
  });
}

test("a file comes back durably; a second time it is there", async () => {
  const files = diskWith(trashPath(PATH));
  assert.equal(await putBack(files, PATH), "restored");
  assert.equal(await putBack(files, PATH), "there");
  assert.equal(files.crash("all-lost").snapshot().has(PATH), true);
});

test("another account's file, which may not be linked, is renamed", async () => {
  const files = diskWith(trashPath(PATH), "EPERM", "link");
  assert.equal(await putBack(files, PATH), "restored");
  assert.deepEqual(places(files), [true, false]);
});

test("what is in neither place is gone; what another put back meanwhile is there", async () => {
  assert.equal(await putBack(diskWith("objects/ab/else"), PATH), "gone");
  const files = diskWith(trashPath(PATH));
  files.before = async (call) => {
    if (call === "link") files.plant(PATH, BYTES);
  };
  assert.equal(await putBack(files, PATH), "there");
  const moved = diskWith(trashPath(PATH), "ENOENT", "link");
  moved.before = async (call) => {
    if (call === "link") moved.plant(PATH, BYTES);
  };
  assert.equal(await putBack(moved, PATH), "there");
});

test("a disk that fails while a file comes back is an error, and the file stays in the trash", async () => {
  for (const code of ["EIO", "ENOSPC"]) {
    const files = diskWith(trashPath(PATH), code, "link");
    await assert.rejects(putBack(files, PATH), (error) => isCofferError(error, "IO_ERROR", "NO_SPACE"));
    assert.deepEqual(places(files), [false, true]);
  }
});
