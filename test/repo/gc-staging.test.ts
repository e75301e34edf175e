// SPDX-License-Identifier: Apache-2.0
/** What stopped imports left under local/tmp: gc frees it, never what an import at work has, and the same import goes on. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { mayGo } from "../../src/objects/stagings.ts";
import { examineStore } from "../../src/repo/doctor.ts";
import { du } from "../../src/repo/du.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc } from "../../src/repo/gc.ts";
import { importFrom } from "../../src/repo/import.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { locationOn, makeMachine, openOn, portsOn, STORE } from "../support/machine.ts";
import type { MemoryFiles } from "../support/memory-files.ts";
import { SENT, sentTo } from "../support/sent.ts";

const machine = await makeMachine();
after(() => machine.end());

const HEX = "0123456789abcdef0123456789abcdef";
const FOLDER = `${STORE}/local/tmp/import-${"ab".repeat(32)}`;
const BLOB = `${"ef".repeat(32)}.00000`;
const DAY_S = 24 * 3600;

const left = async (disk: MemoryFiles): Promise<readonly string[]> => (await disk.list(FOLDER)) ?? [];

/** A disk with a file of each kind of writer, the disk's own process being at work. */
async function staged(): Promise<MemoryFiles> {
  const disk = machine.disk.crash("none-lost");
  await disk.makeFolder(FOLDER);
  for (const whose of [`${disk.writer.mark}-${HEX}`, `memory-0-${HEX}`, HEX, `elsewhere-1-2-${HEX}`]) {
    disk.plant(`${FOLDER}/${whose}.${BLOB}`, new Uint8Array(10));
  }
  return disk;
}

test("gc takes what nobody has, at once if asked to, and leaves what an import at work has", async () => {
  const disk = await staged();
  const store = await openOn(machine, disk, "gc");
  const own = `${disk.writer.mark}-${HEX}.${BLOB}`;
  // By the machine's clock all of it lay there for a month; a day of silence is asked of writers that nobody knows.
  const dry = await gc(store, { olderThanS: 0, dryRun: true });
  assert.deepEqual(
    [dry.staging, dry.stagingKept],
    [
      { files: 3, bytes: 30 },
      { files: 1, bytes: 10 },
    ],
  );
  assert.equal((await left(disk)).length, 4, "a dry run removes nothing");
  const early = await gc(store, { olderThanS: 400 * DAY_S, dryRun: false });
  assert.deepEqual([early.staging.files, early.stagingKept.files], [0, 4]);
  const report = await gc(store, { olderThanS: 0, dryRun: false });
  assert.deepEqual(report.staging, { files: 3, bytes: 30 });
  assert.deepEqual(await left(disk), [own]);
});

test("of writers that cannot be asked after only what was silent for a day goes", () => {
  const folder = { path: FOLDER, lastS: 1000, files: [] };
  for (const [whose, ageS, olderThanS, goes] of [
    ["living", 400 * DAY_S, 0, false],
    ["nobody", 0, 0, true],
    ["gone", 0, 0, true],
    ["gone", DAY_S - 1, DAY_S, false],
    ["gone", DAY_S, DAY_S, true],
    ["unknown", DAY_S - 1, 0, false],
    ["unknown", DAY_S, 0, true],
    ["unknown", DAY_S, 2 * DAY_S, false],
  ] as const) {
    assert.equal(mayGo(folder, { whose }, folder.lastS + ageS, olderThanS), goes, `${whose}, ${ageS}, ${olderThanS}`);
  }
});

test("where processes have no marks, nothing is taken to be left before a day", async () => {
  const disk = await staged();
  const unmarked = { mark: "", stateOf: () => "unknown" as const };
  Object.defineProperty(disk, "writer", { value: unmarked });
  disk.nowNs += 10_000n * BigInt(DAY_S) * 1_000_000_000n;
  disk.plant(`${FOLDER}/${HEX.replace("0", "f")}.${BLOB}`, new Uint8Array(10));
  const report = await gc(await openOn(machine, disk, "gc"), { olderThanS: 0, dryRun: false });
  assert.equal(report.staging.files, 0);
});

test("du, doctor and fsck say how much there is and what frees it", async () => {
  const disk = await staged();
  const store = await openOn(machine, disk, "tell");
  assert.deepEqual((await du(store)).staging, { files: 3, bytes: 30 });
  const told: string[] = [];
  await examineStore(locationOn(machine), portsOn(machine, disk, "tell"), ({ what, text }) =>
    told.push(`${what}: ${text}`),
  );
  const advice = "the same import goes on with it, `coffer gc --older-than 0` removes it";
  assert.ok(told.includes(`staging: 3 files, 30 B, of imports that were stopped; ${advice}`), told.join("\n"));
  const { notes, problems } = await fsck(store);
  assert.deepEqual(problems, []);
  assert.ok(
    notes.some((note) => /3 files, 30 B.*imports that were stopped.*gc --older-than 0/.test(note)),
    notes.join("\n"),
  );
  assert.ok(!notes.some((note) => note.includes("left by an interrupted act")), notes.join("\n"));
  await gc(store, { olderThanS: 0, dryRun: false });
  assert.deepEqual((await du(store)).staging, { files: 0, bytes: 0 });
});

test("an import that had no room, or was killed, at any step: gc leaves nothing of it, and the same import is whole", async () => {
  const { trusted } = await sentTo(machine);
  const whole = machine.disk.crash("none-lost");
  const undisturbed = await importFrom(await openOn(machine, whole, "import"), trusted);
  const steps = whole.trace.flatMap(({ path }, at) => (path.includes("/local/tmp/import-") ? [at + 1] : []));
  assert.ok(steps.length > 4);
  let held = 0;
  for (const at of steps) {
    for (const kind of ["fail", "stop"] as const) {
      const disk = machine.disk.crash("none-lost");
      disk.fault = kind === "fail" ? { at, kind, code: "ENOSPC", lasting: true } : { at, kind };
      await importFrom(await openOn(machine, disk, "import"), trusted).catch((error: unknown) => {
        assert.ok(isCofferError(error) || kind === "stop", String(error));
      });
      const next = disk.crash("none-lost");
      const store = await openOn(machine, next, "again");
      held += (await gc(store, { olderThanS: 0, dryRun: false })).staging.files;
      const names = (await next.list(`${STORE}/local/tmp`)) ?? [];
      assert.deepEqual(
        names.filter((name) => name.startsWith("import-")),
        [],
        `${kind} at ${at}`,
      );
      const report = await importFrom(store, trusted);
      assert.deepEqual(report.names.length, undisturbed.names.length);
      assert.ok((await resolve(store, SENT)).verdict.trusted, `${kind} at ${at}`);
    }
  }
  assert.ok(held > 0, "something was staged in some of them");
});
