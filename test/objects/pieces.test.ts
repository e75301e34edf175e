// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import type { OpenFile } from "../../src/objects/files.ts";
import { readPieces, readRange } from "../../src/objects/pieces.ts";
import { BUFFER_BYTES, giveBuffer, takeBuffer } from "../../src/objects/shared-buffers.ts";
import { MemoryFiles } from "../support/memory-files.ts";

function bytesOf(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at + seed) % 251;
  return bytes;
}

async function planted(bytes: Uint8Array): Promise<{ files: MemoryFiles; file: OpenFile }> {
  const files = new MemoryFiles();
  files.plant("source", bytes);
  const file = await files.open("source");
  assert.ok(file !== undefined);
  return { files, file };
}

async function all(pieces: AsyncIterable<Uint8Array>): Promise<{ bytes: Buffer; lengths: number[] }> {
  const copies: Uint8Array[] = [];
  for await (const piece of pieces) copies.push(Uint8Array.from(piece));
  return { bytes: Buffer.concat(copies), lengths: copies.map(({ length }) => length) };
}

test("readPieces reads each byte once, whatever the size", async () => {
  for (const length of [0, 1, 1_048_576, 3_145_729]) {
    const { files, file } = await planted(bytesOf(length));
    const { bytes } = await all(readPieces(file, length));
    assert.deepEqual(bytes, Buffer.from(bytesOf(length)));
    assert.equal(files.bytesRead, length);
    await file.close();
  }
});

test("readPieces goes to the end of a file that is shorter or longer than was said", async () => {
  const { file } = await planted(bytesOf(2_500_000));
  for (const said of [0, 10, 100 * 1024 * 1024, Number.POSITIVE_INFINITY])
    assert.deepEqual((await all(readPieces(file, said))).bytes, Buffer.from(bytesOf(2_500_000)));
});

test("readRange gives its range and no byte more, in whole pieces", async () => {
  const whole = bytesOf(5_000);
  const { files, file } = await planted(whole);
  for (const [start, end, piece] of [
    [0, 5_000, 5_000],
    [0, 5_000, 1_000],
    [1, 4_999, 999],
    [4_999, 5_000, 10],
    [7, 7, 10],
  ] as const) {
    const before = files.bytesRead;
    const { bytes, lengths } = await all(readRange(file, start, end, piece));
    assert.deepEqual(bytes, Buffer.from(whole.subarray(start, end)));
    assert.ok(lengths.slice(0, -1).every((length) => length === piece));
    assert.equal(files.bytesRead - before, end - start);
  }
  assert.equal((await all(readRange(file, 4_000, 6_000, 300))).bytes.length, 1_000);
});

test("readRange tells a read that fails when its turn comes", async () => {
  const { files, file } = await planted(bytesOf(5_000));
  for (const at of [1, 2, 5]) {
    files.fault = { at: files.calls + at, kind: "fail", code: "EIO" };
    let seen = 0;
    await assert.rejects(
      async () => {
        for await (const piece of readRange(file, 0, 5_000, 1_000)) seen += piece.length;
      },
      (error) => isCofferError(error, "IO_ERROR"),
    );
    assert.equal(seen, (at - 1) * 1_000);
  }
});

test("readPieces lets its file be closed when the caller stops early", async () => {
  const { file } = await planted(bytesOf(5_000_000));
  for await (const _ of readPieces(file, 0)) break;
  await file.close();
});

test("a reader who stops waits for the read under way: its buffer goes to others", async () => {
  const { file } = await planted(bytesOf(5_000));
  let underWay = 0;
  let goOn = (): void => undefined;
  const slow = {
    read: async (buffer: Uint8Array, position: number) => {
      underWay += 1;
      if (position > 0) {
        await new Promise<void>((settle) => {
          goOn = settle;
        });
      }
      const count = await file.read(buffer, position);
      underWay -= 1;
      return count;
    },
  };
  for await (const _ of readRange({ ...file, ...slow } as OpenFile, 0, 5_000, 1_000)) {
    assert.equal(underWay, 1);
    setTimeout(goOn, 20); // long after the reader stopped
    break;
  }
  assert.equal(underWay, 0);
});

test("readers side by side never share a buffer, also after one stopped with a read under way", async () => {
  const [one, two] = [bytesOf(6_000, 1), bytesOf(6_000, 2)];
  const [{ file: first }, { file: second }] = [await planted(one), await planted(two)];
  for (let round = 0; round < 5; round += 1) {
    for await (const _ of readRange(first, 0, 6_000, 1_000)) break;
    const [a, b] = [readRange(first, 0, 6_000, 1_000), readRange(second, 0, 6_000, 1_000)];
    for (let at = 0; at < 6_000; at += 1_000) {
      const [mine, theirs] = [(await a.next()).value, (await b.next()).value];
      assert.deepEqual(Buffer.from(mine ?? []), Buffer.from(one.subarray(at, at + 1_000)));
      assert.deepEqual(Buffer.from(theirs ?? []), Buffer.from(two.subarray(at, at + 1_000)));
    }
  }
});

test("buffers are used again, and only so many are kept", () => {
  const taken = Array.from({ length: 20 }, takeBuffer);
  assert.equal(new Set(taken).size, 20);
  assert.ok(taken.every((buffer) => buffer.length === BUFFER_BYTES && buffer.buffer instanceof SharedArrayBuffer));
  taken.forEach(giveBuffer);
  const again = Array.from({ length: 20 }, takeBuffer);
  assert.equal(new Set(again).size, 20);
  const kept = again.filter((buffer) => taken.includes(buffer)).length;
  assert.ok(kept > 0 && kept <= 8, `${kept} kept`);
  again.forEach(giveBuffer);
});
