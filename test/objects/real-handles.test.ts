// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { NodeNewFile } from "../../src/objects/real-handles.ts";
import { until } from "../support/until.ts";

const PIECE = new Uint8Array(32 * 1024 * 1024);

// A device that takes everything and cannot be fsynced.
test("a failure of what is sent to the disk meanwhile is told by the next write, and by each call after it", {
  skip: process.platform !== "linux",
}, async () => {
  const file = new NodeNewFile(openSync("/dev/null", "w"), "volume");
  for (let count = 0; count < 4; count += 1) await file.write(PIECE);
  const told = await until(async () => {
    try {
      await file.write(PIECE.subarray(0, 1));
      return false;
    } catch (error) {
      assert.ok(isCofferError(error, "IO_ERROR") && /fsync volume/.test(error.message), String(error));
      return true;
    }
  });
  assert.ok(told);
  await assert.rejects(file.fsync(), (error) => isCofferError(error, "IO_ERROR"));
  await assert.rejects(file.write(PIECE), (error) => isCofferError(error, "IO_ERROR"));
  await file.close();
});

test("what is sent to the disk meanwhile leaves the bytes as they are, however writes overlap", async () => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-handles-"));
  try {
    const path = join(folder, "file");
    const file = new NodeNewFile(openSync(path, "wx+"), "file");
    const pieces = Array.from({ length: 10 }, (_, at) => new Uint8Array(16 * 1024 * 1024 + at).fill(at + 1));
    await Promise.all(pieces.map((piece) => file.write(piece)));
    await file.fsync();
    await file.close();
    assert.equal(Buffer.compare(readFileSync(path), Buffer.concat(pieces)), 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a chain of small reads lets others have their turn", async () => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-handles-"));
  try {
    const file = new NodeNewFile(openSync(join(folder, "file"), "wx+"), "file");
    await file.write(new Uint8Array(4096).fill(7));
    const page = new Uint8Array(4096);
    let turns = 0;
    let asked: NodeJS.Immediate;
    const ask = (): void => {
      turns += 1;
      asked = setImmediate(ask);
    };
    asked = setImmediate(ask);
    // Far longer than small reads may go on without a turn, however busy the machine is.
    const endMs = performance.now() + 5000;
    while (turns === 0 && performance.now() < endMs) assert.equal(await file.read(page, 0), 4096);
    clearImmediate(asked);
    assert.ok(turns > 0, "nobody had a turn");
    await file.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
