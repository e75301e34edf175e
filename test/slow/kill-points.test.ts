// SPDX-License-Identifier: Apache-2.0
/**
 * Every act, stopped at each of its calls of the Files port with what was not fsynced lost: the store opens, fsck finds
 * no damage, the names stand as before or as after, and the same act again succeeds (invariants 1 and 4).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { add } from "../../src/repo/add.ts";
import { approve, needCandidate, propose } from "../../src/repo/candidates.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { list } from "../../src/repo/list.ts";
import { promote } from "../../src/repo/promote.ts";
import { revoke } from "../../src/repo/revoke.ts";
import type { Store } from "../../src/repo/store.ts";
import { PowerLoss } from "../support/memory-files.ts";
import { crashed, type Disks, makeWorld, openOn, type World } from "../support/memory-store.ts";

const NAME = parseName("acme/tiny@v1");

const encoder = new TextEncoder();

const ACTS: readonly (readonly [string, (store: Store, world: World) => Promise<unknown>])[] = [
  [
    "add",
    (store) =>
      add(store, {
        name: NAME,
        keep: false,
        files: ["notes.txt", "config.json"].map((file) => ({ path: parseManifestPath(file), folder: "/source", file })),
      }),
  ],
  ["propose", (store, { people }) => propose(store, { name: NAME, signer: people.alice, replace: false })],
  [
    "approve by alice",
    async (store, { people }) => approve(store, NAME, (await needCandidate(store, NAME)).statement.id, people.alice),
  ],
  [
    "approve by bob",
    async (store, { people }) => approve(store, NAME, (await needCandidate(store, NAME)).statement.id, people.bob),
  ],
  ["promote", (store) => promote(store, [NAME])],
  ["revoke", (store, { people }) => revoke(store, { name: NAME, also: [], reason: "a test" }, people.carol)],
];

/** What people would see: the names, and how many have approved. */
async function look(store: Store): Promise<string> {
  const names = (await list(store)).names.map(({ name, state, manifest }) => `${name.text} ${state} ${manifest}`);
  try {
    const { verdict } = await needCandidate(store, NAME);
    return JSON.stringify([names, verdict.reasons.map((reason) => reason.text)]);
  } catch (error) {
    if (!(error instanceof CofferError) || error.code !== "NOT_PROPOSED") throw error;
    return JSON.stringify([names]);
  }
}

function copy(disks: Disks): Disks {
  return {
    store: disks.store.crash("none-lost"),
    state: disks.state.crash("none-lost"),
    source: disks.source.crash("none-lost"),
  };
}

test("every act stopped at every call ends before or after, and can be done again", async (t) => {
  const world = await makeWorld();
  world.disks.source.plant("notes.txt", encoder.encode("hello\n"));
  world.disks.source.plant("config.json", encoder.encode('{"a": 1}\n'));
  let disks = world.disks;
  for (const [name, act] of ACTS) {
    await t.test(name, async () => {
      const before = await look(await openOn(world, copy(disks), "look"));
      const whole = copy(disks);
      const store = await openOn(world, whole, name);
      const from = whole.store.calls;
      await act(store, world);
      const calls = whole.store.calls - from;
      const after = await look(await openOn(world, copy(whole), "look"));
      assert.notEqual(after, before);
      assert.ok(calls > 10, `${calls} calls`);
      for (const mode of ["all-lost", "random"] as const) {
        for (let at = 1; at <= calls; at += 1) await stopAt(world, disks, name, act, at, mode, [before, after]);
      }
      disks = whole;
    });
  }
});

async function stopAt(
  world: World,
  disks: Disks,
  name: string,
  act: (store: Store, world: World) => Promise<unknown>,
  at: number,
  mode: "all-lost" | "random",
  [before, after]: readonly [string, string],
): Promise<void> {
  const where = `${name}, call ${at}, ${mode}`;
  const running = copy(disks);
  const store = await openOn(world, running, `${name} ${at}`);
  running.store.fault = { at: running.store.calls + at, kind: "stop" };
  await assert.rejects(act(store, world), PowerLoss, where);
  const left = crashed(running, mode, at);
  const again = await openOn(world, left, `${name} again`);
  const seen = await look(again);
  assert.ok(seen === before || seen === after, `${where}: neither before nor after: ${seen}`);
  const report = await fsck(again);
  assert.deepEqual(report.problems, [], where);
  if (seen === after) return;
  await act(again, world);
  assert.equal(await look(again), after, where);
}
