// SPDX-License-Identifier: Apache-2.0
/** What an import moves, and what that costs (src/repo/import/apply.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { remoteRef } from "../../src/base/ref-path.ts";
import { makeList, parseList } from "../../src/objects/documents/list.ts";
import { applyChanges } from "../../src/repo/import/apply.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";
import { digestFor } from "../support/trust-fixtures.ts";

test("ids that join a list once more move nothing, and cost no more than the first time, however many they are", async (t) => {
  const { store } = await makeStoreFixture(t);
  const { bytes } = makeList(Array.from({ length: 40_000 }, (_, number) => digestFor(`document ${number}`)));
  const ref = remoteRef(digestFor("another store"), "kept");
  const join = async () => {
    const { ids } = parseList(bytes).value; // each time other strings, as what arrives
    const start = process.cpuUsage();
    const { entries } = await applyChanges(store, [{ kind: "union", ref, ids }], "a test");
    const { user, system } = process.cpuUsage(start);
    return { entries, ms: (user + system) / 1000 };
  };
  const [once, again] = [await join(), await join()];
  assert.deepEqual([once.entries.length, again.entries.length], [1, 0]);
  assert.ok(again.ms < 4 * once.ms, `${Math.round(again.ms)} ms after ${Math.round(once.ms)} ms`);
});
