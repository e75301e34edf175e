// SPDX-License-Identifier: Apache-2.0
/** What an import moves (src/repo/import/apply.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { remoteRef } from "../../src/base/ref-path.ts";
import { makeList, parseList } from "../../src/objects/documents/list.ts";
import { applyChanges } from "../../src/repo/import/apply.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";
import { digestFor } from "../support/trust-fixtures.ts";

test("ids that join a list once more move nothing, however many they are; one that is new joins the others", async (t) => {
  const { store } = await makeStoreFixture(t);
  const digests = Array.from({ length: 1_000 }, (_, number) => digestFor(`document ${number}`));
  const ref = remoteRef(digestFor("another store"), "kept");
  const join = async (count: number) => {
    const { ids } = parseList(makeList(digests.slice(0, count)).bytes).value; // each time other strings, as what arrives
    const { entries } = await applyChanges(store, [{ kind: "union", ref, ids }], "a test");
    return entries.length;
  };
  assert.deepEqual([await join(999), await join(999), await join(1_000), await join(1)], [1, 0, 1, 0]);
});
