// SPDX-License-Identifier: Apache-2.0
/** Lines for a reader that may have stopped reading (src/cli/backlog.ts): in order, bounded, and those left out counted. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Backlog, writeNeverWaiting } from "../../src/cli/backlog.ts";
import { until } from "../support/until.ts";

const AT_ONCE = { pauseMs: 0, allMs: 0 };
const FOR_LONG = { pauseMs: 600_000, allMs: 600_000 };

/** A pipe with room for `room` bytes, and a backlog of at most 20 bytes before it. */
function pipe(room: number) {
  const seen = { text: "", room, writes: 0, errors: [] as unknown[], code: "EAGAIN" };
  const write = (bytes: Uint8Array): number => {
    seen.writes += 1;
    if (seen.room === 0) throw Object.assign(new Error(seen.code), { code: seen.code });
    const taken = bytes.subarray(0, seen.room);
    seen.room -= taken.length;
    seen.text += Buffer.from(taken).toString("latin1");
    return taken.length;
  };
  const leftOut = (lines: number): string => `(${lines})\n`;
  return { seen, backlog: new Backlog({ write, leftOut, onError: (error) => seen.errors.push(error), mostBytes: 20 }) };
}

test("with room everything goes at once", async () => {
  const { seen, backlog } = pipe(1000);
  backlog.print("one\n");
  backlog.print("a line that is longer than all that would be kept\n");
  assert.equal(seen.text, "one\na line that is longer than all that would be kept\n");
  await backlog.end(AT_ONCE);
  assert.deepEqual([seen.writes, seen.errors], [2, []]);
});

test("what finds no room is kept, in order, from the byte on where it stopped, and goes when there is room", async () => {
  const { seen, backlog } = pipe(6);
  for (const line of ["one\n", "two\n", "three\n"]) backlog.print(line);
  assert.equal(seen.text, "one\ntw");
  seen.room = 1000;
  assert.ok(await until(() => seen.text === "one\ntwo\nthree\n"));
  backlog.print("four\n");
  assert.equal(seen.text, "one\ntwo\nthree\nfour\n");
});

test("past the limit lines are left out, and their number stands where they would", async () => {
  const { seen, backlog } = pipe(0);
  for (let at = 1; at <= 9; at += 1) backlog.print(`line ${at}\n`);
  seen.room = 7;
  await backlog.end(AT_ONCE);
  assert.equal(seen.text, "line 1\n");
  backlog.print("no\n");
  seen.room = 1000;
  await backlog.end(AT_ONCE);
  backlog.print("on\n");
  assert.equal(seen.text, "line 1\nline 2\n(8)\non\n");
});

test("one line of any length is kept where nothing is", async () => {
  const { seen, backlog } = pipe(0);
  const line = `${"x".repeat(100)}\n`;
  backlog.print(line);
  seen.room = 1000;
  await backlog.end(AT_ONCE);
  assert.equal(seen.text, line);
});

test("the end waits for a reader, and not for ever", async () => {
  const slow = pipe(0);
  slow.backlog.print("last\n");
  const ended = slow.backlog.end(FOR_LONG);
  slow.seen.room = 1000;
  await ended;
  assert.equal(slow.seen.text, "last\n");

  const trickle = pipe(0);
  trickle.backlog.print(`${"x".repeat(100_000)}\n`);
  const feed = setInterval(() => {
    trickle.seen.room = 1;
  }, 1);
  await trickle.backlog.end({ pauseMs: 600_000, allMs: 50 });
  clearInterval(feed);
  assert.ok(trickle.seen.text.length < 100_000);

  const hung = pipe(0);
  hung.backlog.print("last\n");
  await hung.backlog.end({ pauseMs: 30, allMs: 600_000 });
  assert.equal(hung.seen.text, "");
});

test("a write that fails is told, and drops what was kept", async () => {
  const { seen, backlog } = pipe(0);
  for (let at = 1; at <= 9; at += 1) backlog.print(`line ${at}\n`);
  seen.code = "EPIPE";
  await backlog.end(FOR_LONG);
  assert.equal(seen.errors.length, 1);
  seen.room = 1000;
  backlog.print("on\n");
  assert.equal(seen.text, "on\n");
});

test("a pipe is written without waiting, and stays as it was for those who share it; a file is left alone", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-backlog-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const fifo = join(folder, "fifo");
  execFileSync("mkfifo", [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const shared = openSync(fifo, constants.O_WRONLY);
  const file = openSync(join(folder, "log"), "w");
  t.after(() => [reader, shared, file].forEach(closeSync));
  assert.equal(writeNeverWaiting(file, assert.fail), undefined);
  let touched = 0;
  const write = writeNeverWaiting(shared, () => {
    touched += 1;
  });
  assert.ok(write);
  if (!existsSync("/proc/self/fd")) {
    assert.equal(touched, 1);
    return;
  }
  const fill = (): never => {
    for (;;) write(Buffer.alloc(4096));
  };
  assert.throws(fill, { code: "EAGAIN" });
  assert.equal(touched, 0);
});
