// SPDX-License-Identifier: Apache-2.0
/** Who lives, asked of real processes: a child that runs, was killed, is a zombie, or whose pid somebody else has. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { thisProcess } from "../../src/objects/this-process.ts";
import { until } from "../support/until.ts";

const WITHOUT = existsSync("/proc/self/stat") ? false : "this system has no /proc";
const { mark, stateOf } = thisProcess();
const [where = "", , start = ""] = mark.split("-");

const startOf = (pid: number | undefined): string => {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
};

function child(t: TestContext, command: string, ...args: string[]): ChildProcess {
  const process = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
  t.after(() => process.kill("SIGKILL"));
  return process;
}

test("this process has one mark for all its ports, and lives", { skip: WITHOUT }, () => {
  assert.match(mark, /^[0-9a-f]{16}-[1-9][0-9]*-[0-9]+$/);
  assert.equal(openRealFiles("/a").writer.mark, mark);
  assert.equal(stateOf(mark), "living");
  assert.equal(stateOf(`${where}-${process.pid}-${start}`), "living");
});

test("a child lives until it is killed", { skip: WITHOUT }, async (t) => {
  const sleeper = child(t, "sleep", "600");
  await once(sleeper, "spawn");
  const its = `${where}-${sleeper.pid}-${startOf(sleeper.pid)}`;
  assert.equal(stateOf(its), "living");
  sleeper.kill("SIGSTOP");
  assert.equal(stateOf(its), "living", "one that is stopped may go on");
  sleeper.kill("SIGKILL");
  await once(sleeper, "exit");
  assert.equal(stateOf(its), "gone");
});

test("a zombie is gone", { skip: WITHOUT }, async (t) => {
  // The shell starts a child, becomes a program that never waits for it, and then the child ends.
  const parent = child(t, "sh", "-c", "sleep 600 & echo $!; exec sleep 600");
  const [line] = await once(parent.stdout ?? parent, "data");
  const pid = Number(String(line));
  t.after(() => process.kill(pid, "SIGKILL"));
  const its = `${where}-${pid}-${startOf(pid)}`;
  assert.ok(await until(() => readFileSync(`/proc/${parent.pid}/comm`, "latin1") === "sleep\n"));
  assert.equal(stateOf(its), "living");
  process.kill(pid, "SIGKILL");
  assert.ok(await until(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"))));
  assert.equal(stateOf(its), "gone");
});

test("a pid that was given again is another process", { skip: WITHOUT }, () => {
  assert.equal(stateOf(`${where}-${process.pid}-${Number(start) - 1}`), "gone");
  assert.equal(stateOf(`${where}-1-${start}`), "gone");
});

test("of other boots, machines, containers and forms nothing is known", { skip: WITHOUT }, () => {
  const elsewhere = `${where.startsWith("0") ? "1" : "0"}${where.slice(1)}`;
  for (const other of ["", "x", `${elsewhere}-${process.pid}-${start}`, `${where}-0-1`, `${where}-${process.pid}`])
    assert.equal(stateOf(other), "unknown", other);
});
