// SPDX-License-Identifier: Apache-2.0
/** Leftovers of stopped writers on the twin: who is gone is swept, who lives or cannot be asked after is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import type { WriterState } from "../../src/objects/files.ts";
import { markOf, tempPath } from "../../src/objects/layout.ts";
import { sweepLeftovers } from "../../src/objects/leftovers.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { seededRandom } from "../support/transcripts.ts";

const HEX = "0123456789abcdef0123456789abcdef";
const DAY_NS = 24n * 3600n * 1_000_000_000n;
const random = seededRandom("leftovers");

/** A disk with one file of each kind of writer. */
async function diskWith(names: readonly string[]): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const folder of ["local", "local/tmp"]) await files.makeFolder(folder);
  for (const name of names) files.plant(`local/tmp/${name}`, new Uint8Array([1]));
  files.writer.stateOf = (mark): WriterState =>
    mark.startsWith("dead") ? "gone" : mark === files.writer.mark || mark === "live" ? "living" : "unknown";
  return files;
}

test("a temporary name tells whose it is", () => {
  const files = new MemoryFiles();
  const path = tempPath(files, random);
  assert.match(path, /^local\/tmp\/memory-[0-9]+-[0-9a-f]{32}$/);
  assert.equal(markOf(path.slice("local/tmp/".length)), files.writer.mark);
  assert.equal(markOf(HEX), "");
  assert.equal(markOf("notes.txt"), "");
  assert.equal(markOf(`a-1-2-${HEX}`), "a-1-2");
});

test("files of the gone are removed at once, of the living never, of the others after a day", async () => {
  const own = `own-${HEX}`;
  const names = [`dead-${HEX}`, `dead2-${HEX}`, `live-${HEX}`, `else-${HEX}`, HEX, "link-probe", own];
  const files = await diskWith(names);
  files.writer.stateOf = (
    (before) => (mark: string) =>
      mark === "own" ? "living" : before(mark)
  )(files.writer.stateOf);
  assert.equal(await sweepLeftovers(files, random), 2);
  assert.deepEqual(await files.list("local/tmp"), [`else-${HEX}`, HEX, "link-probe", `live-${HEX}`, own].sort());
  files.nowNs += DAY_NS / 2n;
  assert.equal(await sweepLeftovers(files, random), 0);
  files.nowNs += DAY_NS;
  assert.equal(await sweepLeftovers(files, random), 3);
  assert.deepEqual(await files.list("local/tmp"), [`live-${HEX}`, own]);
});

test("a file that is still written to does not age", async () => {
  const files = await diskWith([]);
  const path = `local/tmp/else-${HEX}`;
  const file = await files.create(path, 0o644);
  for (let day = 0; day < 3; day += 1) {
    files.nowNs += DAY_NS - 1000n;
    await file?.write(new Uint8Array([1]));
    assert.equal(await sweepLeftovers(files, random), 0);
  }
  files.nowNs += DAY_NS + 1000n;
  assert.equal(await sweepLeftovers(files, random), 1);
});

test("what an import stages goes after a week, but for one at work whose clock was set right meanwhile", async () => {
  const [idle, busy] = ["a", "b"].map((index) => `local/tmp/import-${index.repeat(64)}`);
  assert.ok(idle !== undefined && busy !== undefined);
  const files = await diskWith([]);
  for (const folder of [idle, busy]) files.plant(`${folder}/dead-${HEX}.${"c".repeat(64)}.00000`, new Uint8Array([1]));
  files.plant(`${busy}/live-${HEX}.${"c".repeat(64)}.00001`, new Uint8Array([1]));
  files.nowNs += 6n * DAY_NS;
  assert.equal(await sweepLeftovers(files, random), 0);
  files.nowNs += 20_000n * DAY_NS;
  assert.equal(await sweepLeftovers(files, random), 1);
  assert.deepEqual([await files.list(idle), (await files.list(busy))?.length], [undefined, 2]);
});

test("folders are left, an absent local/tmp holds nothing", async () => {
  const files = await diskWith([]);
  await files.makeFolder(`local/tmp/else-${HEX}`);
  files.nowNs += 2n * DAY_NS;
  assert.equal(await sweepLeftovers(files, random), 0);
  assert.equal(await sweepLeftovers(new MemoryFiles(), random), 0);
});

test("a sweep that fails at any call has a coded error, and the next one ends the work", async () => {
  const names = [`dead-${HEX}`, `else-${HEX}`, `live-${HEX}`];
  const whole = await diskWith(names);
  whole.nowNs += 2n * DAY_NS;
  const from = whole.calls;
  assert.equal(await sweepLeftovers(whole, random), 2);
  const calls = whole.calls - from;
  assert.ok(calls > 5);
  for (let at = 1; at <= calls; at += 1) {
    const files = await diskWith(names);
    files.nowNs += 2n * DAY_NS;
    files.fault = { at: files.calls + at, kind: "fail", code: "EIO" };
    await sweepLeftovers(files, random).catch((error: unknown) => assert.ok(isCofferError(error, "IO_ERROR"), `${at}`));
    await sweepLeftovers(files, random);
    // What this very process failed to remove stays until it has ended.
    const left = (await files.list("local/tmp")) ?? [];
    assert.deepEqual(
      left.filter((name) => !name.startsWith("memory-")),
      [`live-${HEX}`],
      `call ${at}`,
    );
  }
});
