// SPDX-License-Identifier: Apache-2.0
/**
 * The local index against a plain walk over the ref tree: the same pages and the same holders after any history of moves,
 * with runs added and merged at any point, and whatever happens to the files of the index.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LIMITS } from "../../src/base/limits.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { entryPath } from "../../src/refs/log-layout.ts";
import { loadPageCodec } from "../../src/repo/index/pages.ts";
import { INDEX_FOLDER } from "../../src/repo/index/run-file.ts";
import { closeRuns, openChain } from "../../src/repo/index/runs.ts";
import { buildIndex, mergeDue, tidyRuns } from "../../src/repo/index/upkeep.ts";
import { checkIndex, openNames } from "../../src/repo/names.ts";
import type { MemoryFiles } from "../support/memory-files.ts";
import { makeWorld, openOn } from "../support/memory-store.ts";
import {
  agree,
  agreeAnew,
  fresh,
  indexFiles,
  manifestOf,
  NAMES,
  opened,
  play,
  SMALL,
  step,
  tend,
  withRuns,
} from "../support/names-history.ts";

const RUNS = Math.ceil(Number(process.env["COFFER_TEST_RUNS"] ?? 100) / 2);

test("after any history, the index names what a walk over the tree finds, wherever runs were added and merged", async () => {
  const act = fc.oneof(
    { weight: 6, arbitrary: fc.record({ play: step }) },
    { weight: 2, arbitrary: fc.constant("tend" as const) },
    { weight: 1, arbitrary: fc.constant("tidy small" as const) },
    { weight: 1, arbitrary: fc.constant("build small" as const) },
    { weight: 1, arbitrary: fc.constant("follow" as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const store = await opened(fresh(), "history");
      const codec = await loadPageCodec();
      const first = await store.head();
      const reader = await openNames(store, first, { mayWrite: false });
      for (const one of acts) {
        const head = await store.head();
        if (one === "tend") await tend(store);
        else if (one === "build small") await buildIndex(store, codec, head, SMALL);
        else if (one === "tidy small") {
          const { runs } = await openChain(store, codec, head);
          await tidyRuns(store, codec, runs, SMALL);
          await closeRuns(runs);
        } else if (one === "follow") {
          await reader.follow(head);
          await agree(store, reader, head, 2);
        } else await play(store, one.play);
      }
      await reader.close();
      await agreeAnew(store, false);
      assert.deepEqual((await checkIndex(store, await store.head())).faults, []);
    }),
    { numRuns: RUNS },
  );
});

test("torn, altered, lost, renamed and foreign files are never believed, and a writer mends what a reader went round", async () => {
  const alien = await makeAlien();
  const hurt = fc.record({
    what: fc.constantFrom("drop", "tear", "flip", "rename", "alien", "empty"),
    which: fc.nat(),
    where: fc.nat(),
  });
  const history = fc.array(step, { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(history, { maxLength: 6 }),
      fc.array(hurt, { maxLength: 3 }),
      async (histories, hurts) => {
        const disks = fresh();
        const store = await opened(disks, "hurt");
        for (const steps of histories) {
          for (const one of steps) await play(store, one);
          await tend(store);
        }
        for (const { what, which, where } of hurts) await harm(disks.store, alien, what, which, where);
        await agreeAnew(await opened(disks, "reader"), false);
        await agreeAnew(await opened(disks, "writer"), true);
        await checkIndex(await opened(disks, "mending"), await store.head());
        assert.deepEqual((await checkIndex(await opened(disks, "after"), await store.head())).faults, []);
        await agreeAnew(await opened(disks, "last"), false);
      },
    ),
    { numRuns: Math.ceil(RUNS / 2) },
  );
});

async function harm(files: MemoryFiles, alien: [string, Uint8Array][], what: string, which: number, where: number) {
  const there = indexFiles(files);
  const [path, bytes] = there[which % Math.max(1, there.length)] ?? [];
  if (path === undefined || bytes === undefined) return;
  const at = where % bytes.length;
  if (what === "drop") await files.remove(path);
  else if (what === "tear") files.plant(path, bytes.subarray(0, at));
  else if (what === "empty") files.plant(path, new Uint8Array(0));
  else if (what === "rename") files.plant(`${INDEX_FOLDER}/0-${2 + (where % 40)}-0.end`, bytes);
  else if (what === "alien") for (const [name, content] of alien) files.plant(name, content);
  else {
    const altered = bytes.slice();
    altered[at] = (altered[at] ?? 0) ^ (1 << (where % 8));
    files.plant(path, altered);
  }
}

/** Files of another store's index, under names that this one's could have. */
async function makeAlien(): Promise<[string, Uint8Array][]> {
  const other = await makeWorld();
  const store = await openOn(other, other.disks, "alien");
  for (let count = 0; count < 6; count += 1) await play(store, { name: count, family: "trusted", bits: 1 + count });
  await tend(store);
  return indexFiles(other.disks.store);
}

test("a store that was put back uses no run of what it has forgotten", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), fc.array(step, { maxLength: 10 }), async (one, other) => {
      const disks = fresh();
      const store = await opened(disks, "before");
      await play(store, { name: 0, family: "trusted", bits: 3 });
      await tend(store);
      const old = fresh(disks);
      for (const next of one) await play(store, next);
      await tend(store);
      for (const [path, bytes] of indexFiles(disks.store)) old.store.plant(path, bytes);
      await agreeAnew(await opened(old, "just back"), false);
      const again = await opened(old, "went on");
      for (const next of other) await play(again, next);
      await agreeAnew(again, false);
      await tend(again);
      await agreeAnew(again, true);
      await checkIndex(again, await again.head());
      assert.deepEqual((await checkIndex(again, await again.head())).faults, []);
    }),
    { numRuns: Math.ceil(RUNS / 2) },
  );
});

test("a footer that the store key did not sign is worth nothing, though all it says is true", async () => {
  const disks = await withRuns();
  for (const [path, bytes] of indexFiles(disks.store)) {
    const text = Buffer.from(bytes).toString("latin1");
    const signature = text.lastIndexOf("-----BEGIN");
    const altered = bytes.slice();
    altered[signature + 200] = altered[signature + 200] === 0x41 ? 0x42 : 0x41;
    disks.store.plant(path, altered);
  }
  const store = await opened(disks, "unsigned");
  const names = await openNames(store, await store.head(), { mayWrite: false });
  assert.equal(names.indexed, false);
  assert.ok(names.notes.size > 0);
  await names.close();
});

test("a run of a copy of the store that went another way is not put between this one's", async () => {
  const disks = fresh();
  const begun = await opened(disks, "common");
  await play(begun, { name: 0, family: "trusted", bits: 1 });
  await tend(begun);
  const forked = fresh(disks);
  const [here, there] = [await opened(disks, "here"), await opened(forked, "there")];
  for (const count of [1, 2]) {
    await play(here, { name: count, family: "trusted", bits: count });
    await play(there, { name: count + 3, family: "trusted", bits: count });
    await tend(here);
    await tend(there);
  }
  const middle = indexFiles(forked.store)[1];
  assert.ok(middle);
  await disks.store.remove(middle[0]);
  disks.store.plant(...middle);
  await agreeAnew(await opened(disks, "reader"), false);
});

test("a log that went another way since, or has lost the head, is noticed by who follows it", async () => {
  const disks = fresh();
  const begun = await opened(disks, "common");
  await play(begun, { name: 0, family: "trusted", bits: 1 });
  await tend(begun);
  const forked = fresh(disks);
  const [here, there] = [await opened(disks, "here"), await opened(forked, "there")];
  await play(here, { name: 1, family: "trusted", bits: 1 });
  const reader = await openNames(here, await here.head(), { mayWrite: false });
  const known = await here.head();
  for (const name of [2, 3]) await play(there, { name, family: "trusted", bits: 2 });
  const head = await there.head();
  await assert.rejects(reader.follow(head), { code: "LOG_BEHIND_MEMORY", message: /found none/ });
  const last = entryPath(head.number);
  disks.store.plant(last, (await forked.store.read(last, LIMITS.logEntryBytes)) ?? assert.fail());
  await assert.rejects(reader.follow(head), { code: "CORRUPT", message: /follows another/ });
  await assert.rejects(reader.follow({ ...head, id: known.id }), {
    code: "LOG_BEHIND_MEMORY",
    message: /found another/,
  });
  await agree(here, reader, known);
  await reader.close();
});

test("two writers at once leave one index, and a reader goes on while files are taken away", async () => {
  const disks = await withRuns();
  const [one, other] = [await opened(disks, "one"), await opened(disks, "other")];
  const head = await one.head();
  const reader = await openNames(one, head, { mayWrite: false });
  await Promise.all([tend(one), tend(other), tend(one), tend(other)]);
  await Promise.all([tend(one), tend(other)]);
  await agree(one, reader, head);
  for (const [path] of indexFiles(disks.store)) await disks.store.remove(path);
  await agree(one, reader, head);
  await reader.close();
  await agreeAnew(other, true);
});

test("a trusted name that cannot be read is among the doubtful, and is a holder again once it can", async () => {
  const disks = fresh();
  const store = await opened(disks, "damaged");
  await play(store, { name: 0, family: "trusted", bits: 1 });
  const manifest = manifestOf(1);
  await disks.store.remove(objectPath(manifest.id));
  await tend(store);
  const head = await store.head();
  const names = await openNames(store, head, { mayWrite: false });
  assert.deepEqual(await names.holders(manifest.id), []);
  assert.deepEqual(
    (await names.unreadable()).map(({ text }) => text),
    [NAMES[0]?.text],
  );
  await names.close();
  disks.store.plant(objectPath(manifest.id), manifest.bytes);
  assert.equal((await checkIndex(store, head)).rebuilt, true);
  await agreeAnew(store, false);
});

test("an account without the store key reads an index and never writes one", async () => {
  const disks = await withRuns();
  await disks.state.remove("store_key");
  const store = await opened(disks, "keyless");
  assert.equal(store.readOnly, true);
  const before = indexFiles(disks.store).length;
  const names = await openNames(store, await store.head(), { mayWrite: true });
  assert.equal(names.indexed, true);
  await agree(store, names, await store.head());
  await names.close();
  for (const [path, bytes] of indexFiles(disks.store)) disks.store.plant(path, bytes.subarray(1));
  await agreeAnew(store, true);
  assert.equal(indexFiles(disks.store).length, before);
  const { faults, rebuilt } = await checkIndex(store, await store.head());
  assert.ok(faults.length > 0);
  assert.equal(rebuilt, false);
});

test("runs stay few, and a merge takes an old run only when as much has come since", () => {
  let keys: number[] = [];
  let written = 0;
  for (let count = 1; count <= 20_000; count += 1) {
    keys.push(100);
    const due = mergeDue(keys.map((size) => ({ keys: size })));
    if (due === undefined) continue;
    const sum = due.reduce((total, { keys: size }) => total + size, 0);
    written += sum;
    keys = [...keys.slice(0, keys.length - due.length), sum];
    assert.ok(keys.length <= 3 + Math.log2(count), `${keys.length} runs after ${count}`);
  }
  assert.ok(written / (20_000 * 100) <= Math.log2(20_000), `each key written ${written / 2_000_000} times`);
});
