// SPDX-License-Identifier: Apache-2.0
/** Serving with receipts: nothing is hashed while one holds, and a byte that changes on disk is still betrayed, by ctime. */
import assert from "node:assert/strict";
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { sha256 } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";
import { watchedMachine } from "../support/watched-files.ts";
import { type Answer, drain, type Running, serve, slowDownload } from "./client.ts";

const CHUNK = LIMITS.chunkBytes;
const BIG = makeSafetensors(CHUNK + 1000, 2);

async function scene(t: TestContext, bytes: Uint8Array = BIG, receipts = true) {
  const machine = watchedMachine();
  const fixture = await makeStoreFixture(t, undefined, machine);
  await fixture.trust("acme/tiny", { "m.safetensors": bytes });
  const blob = sha256(bytes);
  const path = join(fixture.location.root, "blobs", blob.slice(0, 2), blob.slice(2));
  const url = `/v1/blobs/sha256/${blob}`;
  const folder = join(fixture.location.root, "local", "receipts");
  const made = (): number =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length
      : 0;
  const start = () => serve(t, fixture, { receipts });
  return { machine, fixture, path, url, made, start, flip: (at: number) => flip(path, at) };
}

/** As `scene`, with a receipt that a first download led to, and a server that knows nothing yet. */
async function vouched(t: TestContext, bytes: Uint8Array = BIG) {
  const all = await scene(t, bytes);
  const first = await all.start();
  expectGood(await first.get(all.url), bytes);
  assert.ok(await until(() => all.made() > 0));
  assert.equal(all.made(), 1, "a receipt was made");
  await first.server.close(0);
  return { ...all, running: await all.start() };
}

function flip(path: string, at: number): void {
  const { atime, mtime } = statSync(path);
  chmodSync(path, 0o644);
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  assert.equal(readSync(fd, byte, 0, 1, at), 1);
  byte.writeUInt8(byte.readUInt8() ^ 1);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  utimesSync(path, atime, mtime);
  chmodSync(path, 0o444);
}

function expectGood(answer: Answer, good: Uint8Array): void {
  assert.ok(answer.status === 200 || answer.status === 206, `${answer.status}`);
  assert.equal(answer.complete, true);
  assert.equal(sha256(answer.body), sha256(good));
}

async function expectRefused(running: Running, url: string, range?: string): Promise<void> {
  const answer = await running.get(url, range === undefined ? {} : { Range: range });
  assert.ok(answer.status === 503 || !answer.complete, `${answer.status}, complete: ${answer.complete}`);
}

suite("server: receipts", () => {
  test("while one holds, nothing is hashed; that trusts whoever could hide a change from the system", async (t) => {
    const { machine, path, url, running, flip } = await vouched(t);
    const { mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    machine.told = { mtimeNs, ctimeNs };
    flip(CHUNK + 5);
    const answer = await running.get(url);
    assert.equal(answer.complete, true);
    assert.notEqual(sha256(answer.body), sha256(BIG), "served on the word of the receipt");
    machine.told = {};
    await expectRefused(running, url);
  });

  for (const at of [3, CHUNK - 1, CHUNK, BIG.length - 1]) {
    test(`byte ${at} flipped, times put back: refused, whole and in part; mended it is served, and vouched for again`, async (t) => {
      const { url, running, flip, machine, start } = await vouched(t);
      expectGood(await running.get(url), BIG);
      flip(at);
      await expectRefused(running, url);
      await expectRefused(running, url, `bytes=${at}-${at}`);
      await expectRefused(await start(), url);
      flip(at);
      expectGood(await running.get(url), BIG);
      expectGood(await running.get(url, { Range: `bytes=${at}-${at}` }), BIG.subarray(at, at + 1));
      machine.boot = "another";
      expectGood(await (await start()).get(url), BIG);
    });
  }

  test("a flip while a download runs: cut", async (t) => {
    const bytes = makeSafetensors(40 * 1024 * 1024, 3);
    const { url, running, flip } = await vouched(t, bytes);
    const socket = await slowDownload(running.port, url);
    flip(bytes.length - CHUNK);
    assert.ok((await drain(socket)) < bytes.length);
    await expectRefused(running, url);
    flip(bytes.length - CHUNK);
    expectGood(await running.get(url), bytes);
  });

  for (const [what, change] of [
    ["another boot", { boot: "another" }],
    ["a network file system", { place: { mount: 27, fileSystem: "nfs4", medium: "fixed" } }],
    ["a removable disk", { place: { mount: 27, fileSystem: "ext4", medium: "removable" } }],
  ] as const) {
    test(`${what}: the receipt is not believed`, async (t) => {
      const { machine, path, url, flip, start } = await vouched(t);
      const { mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      Object.assign(machine, change);
      machine.told = { mtimeNs, ctimeNs };
      flip(5);
      await expectRefused(await start(), url);
    });
  }

  test("damage that is met while a receipt is made: told to the operator, and no receipt", async (t) => {
    const { url, start, made, flip } = await scene(t);
    flip(CHUNK + 7);
    const running = await start();
    expectGood(await running.get(url, { Range: "bytes=0-9" }), BIG.subarray(0, 10));
    await until(() => running.faults.length > 0);
    assert.equal(running.faults.length, 1);
    assert.equal(made(), 0);
    await expectRefused(running, url);
  });

  test("none is made unless the operator asks, nor for a file that was written just now", async (t) => {
    const quiet = await scene(t, BIG, false);
    const running = await quiet.start();
    expectGood(await running.get(quiet.url), BIG);
    const fresh = await scene(t);
    fresh.machine.standsAtNs = statSync(fresh.path, { bigint: true }).ctimeNs + 1_999_999_999n;
    expectGood(await (await fresh.start()).get(fresh.url), BIG);
    await sleep(300); // after which none that is made would be missed; less only shows less
    assert.equal(quiet.made() + fresh.made(), 0);
  });
});
