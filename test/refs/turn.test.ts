// SPDX-License-Identifier: Apache-2.0
/** Turns: a slow act gets through among quick ones, and a turn that nobody ends holds nobody up for long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog } from "../../src/refs/log.ts";
import { type Act, commit } from "../../src/refs/transaction.ts";
import { Turn } from "../../src/refs/turn.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { idOf, newStore, portsOf, STORE_SIGNER, trusted } from "./fixture.ts";

const TURN = "local/turn";
const moving =
  (ref: string): Act =>
  async (head) => ({ moves: [{ ref: trusted(ref), to: idOf(`${ref} after ${head.number}`) }] });

test("an act that is slower than its rivals asks them to wait, and is next", async () => {
  const files = new MemoryFiles();
  const { log, reader } = await newStore(files);
  const rival = await openLog(files, STORE_SIGNER.publicKey);
  let slowDone = false;
  const tick = (): Promise<void> => new Promise((settle) => setImmediate(settle));
  const ports = (label: string) => ({ ...portsOf(label), sleep: tick });
  // Shorter than the rival is patient for, longer than many of its commits.
  const slowAct: Act = async (head) => {
    for (let step = 0; step < 40; step += 1) await tick();
    return moving("slow")(head);
  };
  let rivals = 0;
  const quick = async (): Promise<void> => {
    // Without turns the slow one would be done only when the rival ends.
    while (!slowDone && rivals < 500) {
      await commit(rival, reader, moving("quick"), ports(`quick ${rivals}`));
      rivals += 1;
      await tick();
    }
  };
  const slow = async () => {
    const done = await commit(log, reader, slowAct, ports("slow"));
    slowDone = true;
    return done;
  };
  const [done] = await Promise.all([slow(), quick()]);
  assert.ok(done !== undefined && done.attempts > 4 && rivals < 500, `${rivals} rivals`);
  assert.equal(await files.stat(TURN), undefined);
});

test("a turn that a crash left is waited for once, and then taken away", async () => {
  const files = new MemoryFiles();
  const { log, reader } = await newStore(files);
  await (await files.create(TURN, 0o644))?.close();
  const ports = portsOf("a");
  await commit(log, reader, moving("m"), ports);
  const waitedMs = ports.slept.reduce((sum, ms) => sum + ms, 0);
  assert.ok(waitedMs >= 500 && waitedMs <= 2000, `${waitedMs} ms`);
  assert.equal(await files.stat(TURN), undefined);
  const again = portsOf("b");
  await commit(log, reader, moving("m"), again);
  assert.deepEqual(again.slept, []);
});

test("only who asked ends a turn, and an act that fails ends it too", async () => {
  const files = new MemoryFiles();
  const { log, reader } = await newStore(files);
  const [first, second] = [new Turn(files, async () => undefined), new Turn(files, async () => undefined)];
  await first.ask();
  await second.ask();
  await second.end();
  assert.notEqual(await files.stat(TURN), undefined);
  await first.end();
  assert.equal(await files.stat(TURN), undefined);

  let attempts = 0;
  files.before = (call) => {
    if (call === "link") files.fault = { at: files.calls, kind: "fail", code: "EEXIST" };
  };
  const failing: Act = async (head) => {
    attempts += 1;
    if (attempts < 10) return moving("m")(head);
    assert.notEqual(await files.stat(TURN), undefined, "asked by now");
    throw new Error("the act fails");
  };
  await assert.rejects(commit(log, reader, failing, portsOf("c")), /the act fails/);
  assert.equal(await files.stat(TURN), undefined);
});
