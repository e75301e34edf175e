// SPDX-License-Identifier: Apache-2.0
/** Two imports of the same at the same time: each reports what it did itself (src/repo/import.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import type { Source } from "../../src/sync/source.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { copied } from "../support/bundles.ts";
import { overtake } from "../support/overtake.ts";
import { inMemory, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";

const outcomesOf = ({ names }: ImportReport): string[] => names.map(({ outcome }) => outcome);

/** Both in one second: then even the bytes of the entry that each would make are the same. */
for (const [secondsLater, what] of [
  [0, "in the same second"],
  [1, "a second later"],
] as const) {
  test(`of two imports of the same one makes the entry, and the other says that it was so already: ${what}`, async (t) => {
    const [team, others] = [makeTeam(t), makeTeam(t)];
    const [a, asks, c] = [await team.store("a"), await team.store("asks"), await others.store("c")];
    await a.trust(NAME, model(1));
    await c.trust(NAME, model(2));
    await asks.add(NAME, model(3));
    await asks.propose(NAME, "alice");
    const request = { names: [parseName(NAME)], patterns: [], candidates: true, blobs: false };
    const bundle = await makeBundle(asks.store, request);
    const cases: readonly [string, string, () => Promise<Source>][] = [
      ["same-root", "adopted", async () => openFolderSource(a.location.root, team.ports)],
      ["candidate", "proposed", () => openPipe(copied(writeVolume(asks.store, bundle, 1)), "a pipe")],
      [
        "other-root",
        "quarantined",
        async () => (await inMemory(await openFolderSource(c.location.root, others.ports))).source,
      ],
    ];
    for (const [from, outcome, source] of cases) {
      const b = await team.store(`b-${from}`);
      const rival = await b.open();
      let first: ImportReport | undefined;
      overtake(b, async () => {
        first = await importFrom(rival, await source());
        team.nowS += secondsLater;
      });
      const report = await importFrom(b.store, await source());
      assert.ok(first !== undefined, from);
      assert.deepEqual(outcomesOf(first), [outcome], from);
      assert.ok(first.entries.includes(2), from);
      assert.deepEqual(report.entries, [], from);
      assert.deepEqual(outcomesOf(report), ["already"], from);
      const { problems } = await fsck(b.store);
      assert.deepEqual(
        problems.filter(({ code }) => code !== "BLOB_MISSING"),
        [],
        from,
      );
    }
  });
}
