// SPDX-License-Identifier: Apache-2.0
/**
 * A byte changed on disk, times put back, before, between and during requests: no client gets a complete answer with a
 * wrong byte in it, and once the file is mended it is served again. Real files, changed through a second descriptor.
 */
import assert from "node:assert/strict";
import { chmodSync, closeSync, openSync, readSync, statSync, utimesSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";
import { type Answer, errorOf, type Running, serve, slowDownload } from "./client.ts";

const CHUNK = LIMITS.chunkBytes;
/** What the header of a safetensors file of this size takes is found by making one. */
const overhead = (bytes: number): number => makeSafetensors(bytes).length - bytes;

/** A file of exactly this size. */
function fileOf(sizeBytes: number, seed: number): Uint8Array {
  const file = makeSafetensors(sizeBytes - overhead(sizeBytes - 1000), seed);
  assert.equal(file.length, sizeBytes);
  return file;
}

async function scene(t: TestContext, bytes: Uint8Array) {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", { "m.safetensors": bytes });
  const blob = sha256(bytes);
  const path = join(fixture.location.root, "blobs", blob.slice(0, 2), blob.slice(2));
  chmodSync(path, 0o644);
  return { fixture, path, url: `/v1/blobs/sha256/${blob}`, flip: (at: number) => flip(path, at) };
}

function flip(path: string, at: number): void {
  const { atime, mtime, mtimeMs } = statSync(path);
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  assert.equal(readSync(fd, byte, 0, 1, at), 1);
  byte.writeUInt8(byte.readUInt8() ^ 1);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  utimesSync(path, atime, mtime);
  assert.ok(Math.abs(statSync(path).mtimeMs - mtimeMs) < 1);
}

/** An error, or an answer that broke off; whatever of the file did arrive is right. */
function expectRefused(answer: Answer, good: Uint8Array, what: string): void {
  if (answer.status === 503) {
    assert.equal(errorOf(answer).code, "CORRUPT", what);
    return;
  }
  assert.equal(answer.complete, false, `${what}: ${answer.status} and complete`);
  assert.deepEqual(answer.body, Buffer.from(good.subarray(0, answer.body.length)), what);
}

function expectGood(answer: Answer, good: Uint8Array, what: string): void {
  assert.ok(answer.status === 200 || answer.status === 206, `${what}: ${answer.status}`);
  assert.equal(answer.complete, true, what);
  assert.equal(sha256(answer.body), sha256(good), what);
}

/** Every way to ask for a byte of the file at `at`. */
async function askAll(running: Running, url: string, bytes: Uint8Array, at: number) {
  const spans = [
    [at, at + 1],
    [0, at + 1],
    [at, bytes.length],
    [Math.max(0, at - 10), Math.min(bytes.length, at + 10)],
  ] as const;
  const answers: { what: string; answer: Answer; good: Uint8Array }[] = [
    { what: `whole, byte ${at}`, answer: await running.get(url), good: bytes },
  ];
  for (const [start, end] of spans) {
    const answer = await running.get(url, { Range: `bytes=${start}-${end - 1}` });
    answers.push({ what: `${start} to ${end}, byte ${at}`, answer, good: bytes.subarray(start, end) });
  }
  return answers;
}

suite("server: a byte flipped on disk", () => {
  for (const [number, size] of [2000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1000].entries()) {
    test(`a blob of ${size} bytes: before the first request, between two, and mended`, async (t) => {
      const bytes = fileOf(size, number + 1);
      const { fixture, url, flip } = await scene(t, bytes);
      const places = new Set([0, size >> 1, CHUNK - 1, CHUNK, size - 1].filter((at) => at < size));
      for (const at of places) {
        flip(at);
        const fresh = await serve(t, fixture);
        for (const { what, answer, good } of await askAll(fresh, url, bytes, at)) expectRefused(answer, good, what);
        flip(at);
        for (const { what, answer, good } of await askAll(fresh, url, bytes, at)) expectGood(answer, good, what);
        flip(at); // now that every chunk was verified and lies in memory
        for (const { what, answer, good } of await askAll(fresh, url, bytes, at)) expectRefused(answer, good, what);
        flip(at);
        expectGood(await fresh.get(url), bytes, "mended again");
        await fresh.server.close(0);
      }
    });
  }

  test("HEAD says what GET would, at the first chunk", async (t) => {
    const { fixture, url, flip } = await scene(t, fileOf(2000, 9));
    const running = await serve(t, fixture);
    assert.equal((await running.send("HEAD", url)).status, 200);
    flip(1999);
    assert.equal((await running.send("HEAD", url)).status, 503);
  });

  for (const [what, range, start] of [
    ["a whole download", "", 0],
    ["a range", "Range: bytes=100-\r\n", 100],
  ] as const) {
    test(`while ${what} runs, in a chunk to come: cut, and what arrived is right`, async (t) => {
      const bytes = makeSafetensors(48 * 1024 * 1024, 4);
      const { fixture, url, flip } = await scene(t, bytes);
      const running = await serve(t, fixture);
      for (const warm of [false, true]) {
        if (warm) expectGood(await running.get(url), bytes, "every chunk was verified before");
        const socket = await slowDownload(running.port, url, `${range}Connection: close\r\n\r\n`);
        flip(bytes.length - 5);
        const { status, body, length } = await readAnswer(socket);
        assert.equal(status, range === "" ? 200 : 206);
        assert.ok(body.length < length, `${warm ? "warm" : "cold"}: complete`);
        assert.deepEqual(body, Buffer.from(bytes.subarray(start, start + body.length)));
        flip(bytes.length - 5);
      }
      expectGood(await running.get(url), bytes, "mended");
    });
  }

  test("twenty downloads at once while bytes flip to and fro: whole ones are right, others broke off", async (t) => {
    const bytes = fileOf(3 * CHUNK + 77, 6);
    const { fixture, url, flip } = await scene(t, bytes);
    const running = await serve(t, fixture);
    let bad = false;
    const busy = setInterval(() => {
      flip(2 * CHUNK + 5);
      bad = !bad;
    }, 15);
    const answers = await Promise.all(Array.from({ length: 20 }, () => running.get(url)));
    clearInterval(busy);
    if (bad) flip(2 * CHUNK + 5);
    for (const answer of answers) {
      if (answer.status === 200 && answer.complete) assert.equal(sha256(answer.body), sha256(bytes));
      else expectRefused(answer, bytes, "broken off");
    }
    expectGood(await running.get(url), bytes, "mended");
  });
});

/** Reads an answer from its first byte to the end of the connection. */
function readAnswer(socket: Socket): Promise<{ status: number; length: number; body: Buffer }> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    socket.removeAllListeners("error");
    socket.on("error", () => undefined);
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.on("close", () => {
      const all = Buffer.concat(parts);
      const end = all.indexOf("\r\n\r\n");
      const head = all.subarray(0, end).toString("latin1");
      resolve({
        status: Number(head.slice(9, 12)),
        length: Number(/content-length: ([0-9]+)/i.exec(head)?.[1]),
        body: all.subarray(end + 4),
      });
    });
    socket.resume();
  });
}
