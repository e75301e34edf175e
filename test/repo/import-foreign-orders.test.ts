// SPDX-License-Identifier: Apache-2.0
/** Bundles of a store under another policy root, in any order and side by side: all ends the same (src/repo/import/landing.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { importFrom } from "../../src/repo/import.ts";
import { importAll } from "../../src/repo/import-all.ts";
import type { Source } from "../../src/sync/source.ts";
import { NAME, ONE, outcomes, type Pair, pair, THREE, TWO, waiting } from "../support/foreign-pair.ts";
import { model } from "../support/team-stores.ts";

/** A store in six states; two of its three models are denied in the last one, and one has a newer version. */
async function history({ a, send }: Pair): Promise<readonly Source[]> {
  const bundles: Source[] = [];
  const act = async (does: () => Promise<unknown>): Promise<void> => {
    await does();
    bundles.push((await send()).source);
  };
  await act(() => a.trust(TWO, model(2)));
  await act(() => a.trust(ONE, model(4)));
  await act(() => a.revoke(TWO, "leaks"));
  await act(() => a.trust(ONE, model(5)));
  await act(() => a.trust(THREE, model(6)));
  await act(() => a.reject(THREE, "alice"));
  return bundles;
}

test("another policy root: several bundles on one medium end, and are reported, as the newest alone, under whatever names", async (t) => {
  const stores = await pair(t);
  const bundles = await history(stores);
  const newest = bundles.at(-1) ?? assert.fail("no bundles");
  const alone = await stores.sister("alone");
  const wanted = outcomes(await importFrom(alone.store, newest));
  assert.deepEqual(wanted, {
    [NAME]: "quarantined",
    [ONE]: "quarantined",
    [THREE]: "refused REFUSED",
    [TWO]: "refused NOT_TRUSTED",
  });
  let runs = 0;
  const media = fc.shuffledSubarray([...bundles.slice(0, -1)]).chain((some) => {
    return fc.shuffledSubarray([...some, newest], { minLength: some.length + 1 });
  });
  await fc.assert(
    fc.asyncProperty(media, async (order) => {
      const { store } = await stores.sister(`medium${runs++}`);
      const arrived = {
        bundles: order.map((source, at) => ({ what: `${at}.tar`, source, faults: [] })),
        ...{ unread: [], passedOver: [] },
      };
      const { reports, failed, taken } = await importAll(store, arrived);
      assert.deepEqual([failed, taken[0]?.source], [[], newest]);
      assert.deepEqual(reports[0] && outcomes(reports[0]), wanted);
      const rest = reports.slice(1).flatMap(({ names }) => names);
      assert.ok(
        rest.every(({ outcome }) => outcome === "already"),
        JSON.stringify(rest),
      );
      assert.deepEqual(await waiting({ store }), await waiting(alone));
      const again = await importAll(store, arrived);
      assert.deepEqual(
        again.reports.flatMap(({ entries }) => entries),
        [],
      );
      assert.ok(again.reports.every(({ names }) => names.every(({ outcome }) => outcome === "already")));
    }),
    { numRuns: 6, endOnFailure: true, examples: [[[...bundles]], [[...bundles].reverse()]] },
  );
});

test("another policy root: any order of bundles ends with the same in quarantine, and all that was revoked says so", async (t) => {
  const stores = await pair(t);
  const bundles = await history(stores);
  const ends: string[] = [];
  const orders = fc.shuffledSubarray([...bundles, ...bundles], { minLength: bundles.length * 2 });
  await fc.assert(
    fc.asyncProperty(orders, async (order) => {
      const receiver = await stores.sister(`b${ends.length}`);
      for (const source of order) await importFrom(receiver.store, source);
      const found = Object.entries(await waiting(receiver)) as [string, { said: string[] }][];
      const denied = ([, { said }]: [string, { said: string[] }]): boolean =>
        said.some((text) => text.startsWith("fail"));
      // What landed before it was denied stays, and says so.
      for (const entry of found) assert.equal(denied(entry), [TWO, THREE].includes(entry[0] as typeof TWO), entry[0]);
      ends.push(JSON.stringify(found.filter((entry) => !denied(entry))));
    }),
    { numRuns: 12, endOnFailure: true },
  );
  assert.equal(new Set(ends).size, 1, ends.join("\n"));
});
