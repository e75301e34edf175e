// SPDX-License-Identifier: Apache-2.0
/** Views that a stopped process did not write: the next act that writes does, at no cost where there is nothing to do. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { checkViews } from "../../src/refs/views.ts";
import { examineStore } from "../../src/repo/doctor.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc } from "../../src/repo/gc.ts";
import { importFrom } from "../../src/repo/import.ts";
import { locationOn, makeMachine, openOn, portsOn, STORE } from "../support/machine.ts";
import type { MemoryFiles } from "../support/memory-files.ts";
import { sentTo } from "../support/sent.ts";

const machine = await makeMachine();
after(() => machine.end());

/** A disk on which an import of what was revoked was killed right after its last entry was linked. */
async function killed(): Promise<MemoryFiles> {
  const { trusted, revoked } = await sentTo(machine);
  const before = machine.disk.crash("none-lost");
  await importFrom(await openOn(machine, before, "first"), trusted);
  const whole = before.crash("none-lost");
  await importFrom(await openOn(machine, whole, "second"), revoked);
  const at = whole.trace.findLastIndex(({ call, path }) => call === "link" && path.includes("/log/")) + 2;
  const disk = before.crash("none-lost");
  disk.fault = { at, kind: "stop" };
  await assert.rejects(importFrom(await openOn(machine, disk, "second"), revoked));
  return disk.crash("none-lost");
}

async function behind(disk: MemoryFiles): Promise<number> {
  const store = await openOn(machine, disk, "look");
  return (await checkViews(subFolder(disk, STORE), (await store.head()).listRefs())).length;
}

async function told(disk: MemoryFiles): Promise<string[]> {
  const found: string[] = [];
  await examineStore(locationOn(machine), portsOn(machine, disk, "doctor"), ({ what }) => found.push(what));
  return found;
}

const MENDS = {
  "the same import, which has nothing to do": async (disk: MemoryFiles) =>
    importFrom(await openOn(machine, disk, "again"), (await sentTo(machine)).revoked),
  gc: async (disk: MemoryFiles) => gc(await openOn(machine, disk, "gc"), { olderThanS: 0, dryRun: false }),
  "a commit that finds nothing to move": async (disk: MemoryFiles) =>
    (await openOn(machine, disk, "commit")).commit(async () => undefined),
  fsck: async (disk: MemoryFiles) => fsck(await openOn(machine, disk, "fsck")),
};

for (const [what, mend] of Object.entries(MENDS)) {
  test(`views behind the log are put right by ${what}; doctor tells them until then`, async () => {
    const disk = await killed();
    assert.ok((await behind(disk)) > 0, "the kill left them behind");
    assert.ok((await told(disk)).includes("views"));
    await mend(disk);
    assert.equal(await behind(disk), 0);
    assert.ok(!(await told(disk)).includes("views"));
  });
}

test("without a hint, as in a copy that lost it, all views are looked at", async () => {
  const disk = await killed();
  await disk.remove(`${STORE}/local/head`);
  await (await openOn(machine, disk, "commit")).commit(async () => undefined);
  assert.equal(await behind(disk), 0);
});

test("where nothing is behind, an act that has nothing to do writes nothing for it", async () => {
  const disk = await killed();
  await MENDS.gc(disk);
  const again = disk.crash("none-lost");
  const store = await openOn(machine, again, "idle");
  await store.mendViews();
  const writing = ["create", "rename", "remove", "fsyncFolder", "link"];
  assert.deepEqual(
    again.trace.filter(({ call }) => writing.includes(call)),
    [],
  );
});
