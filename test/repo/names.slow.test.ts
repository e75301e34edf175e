// SPDX-License-Identifier: Apache-2.0
/** The local index at every call to the disk: stopped there, or refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadPageCodec } from "../../src/repo/index/pages.ts";
import { closeRuns, openChain } from "../../src/repo/index/runs.ts";
import { buildIndex, tidyRuns } from "../../src/repo/index/upkeep.ts";
import { checkIndex, openNames } from "../../src/repo/names.ts";
import type { Store } from "../../src/repo/store.ts";
import { PowerLoss } from "../support/memory-files.ts";
import type { Disks } from "../support/memory-store.ts";
import { agree, agreeAnew, fresh, opened, SMALL, tend, withRuns } from "../support/names-history.ts";

test("stopped at any call, with any outcome on disk, an index is left that is right or is made again", async () => {
  const base = await withRuns();
  const codec = await loadPageCodec();
  const acts: ((store: Store) => Promise<void>)[] = [
    tend,
    async (store) => buildIndex(store, codec, await store.head(), SMALL),
    async (store) => {
      for (let round = 0; round < 4; round += 1) {
        const { runs } = await openChain(store, codec, await store.head());
        await tidyRuns(store, codec, runs, SMALL);
        await closeRuns(runs);
      }
    },
  ];
  for (const act of acts) {
    for (let at = 1; ; at += 1) {
      const disks = fresh(base);
      const store = await opened(disks, "stopped");
      await store.head();
      disks.store.fault = { at: disks.store.calls + at, kind: "stop" };
      let stopped = false;
      try {
        await act(store);
      } catch (error) {
        if (!(error instanceof PowerLoss)) throw error;
        stopped = true;
      }
      if (!stopped) break;
      for (const mode of ["none-lost", "random"] as const) {
        const left: Disks = { ...disks, store: disks.store.crash(mode, at), state: disks.state.crash("none-lost") };
        await agreeAnew(await opened(left, "reader"), false);
        const writer = await opened(left, "writer");
        await tend(writer);
        await agreeAnew(writer, true);
        await checkIndex(writer, await writer.head());
        assert.deepEqual((await checkIndex(writer, await writer.head())).faults, []);
      }
    }
  }
});

test("a disk that refuses to write or read the index keeps nobody from an answer", async () => {
  const base = await withRuns();
  for (const code of ["EIO", "ENOSPC", "EACCES"]) {
    for (let at = 1; ; at += 1) {
      const disks = fresh(base);
      const store = await opened(disks, "refused");
      const head = await store.head();
      const start = disks.store.calls;
      disks.store.fault = { at: start + at, kind: "fail", code };
      const wanted = disks.store.fault.at;
      let hit = "";
      disks.store.before = (_, path) => {
        if (disks.store.calls === wanted) hit = path;
      };
      try {
        const names = await openNames(store, head, { mayWrite: true });
        await agree(store, names, head);
        await names.close();
      } catch (error) {
        // The log and the objects are needed; the index and its temporary files are not.
        assert.ok(!/^local\/(?:index|tmp)/.test(hit), `${code} at ${hit}: ${error}`);
      }
      if (disks.store.calls < wanted) break;
      disks.store.fault = undefined;
      await agreeAnew(await opened(disks, "later"), true);
    }
  }
});
