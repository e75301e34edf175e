// SPDX-License-Identifier: Apache-2.0
/** Machine memory: the highest fact counts, forks are named, a failing folder is never "no memory", crashes lose nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { openMemory } from "../../src/refs/memory.ts";
import { MemoryFiles, PowerLoss } from "../support/memory-files.ts";
import { idOf } from "./fixture.ts";

const head = (number: number): { number: number; head: ReturnType<typeof idOf> } => ({
  number,
  head: idOf(`${number}`),
});
const names = (files: MemoryFiles): string[] => [...files.snapshot().keys()];
const digits = (value: number): string => String(value).padStart(12, "0");

describe("memory", () => {
  test("nothing at first, then the highest head and floor", async () => {
    const files = new MemoryFiles();
    const memory = openMemory(files);
    assert.deepEqual(await memory.readMemory(), {});
    await memory.rememberHead(7, idOf("7"));
    assert.deepEqual(await memory.readMemory(), { head: head(7) });
    await memory.rememberHead(9, idOf("9"));
    await memory.rememberFloor(1_795_305_600);
    await memory.rememberFloor(1_795_305_601);
    await memory.rememberHead(8, idOf("8"));
    await memory.rememberFloor(1_795_305_599);
    await memory.rememberHead(9, idOf("9"));
    assert.deepEqual(await memory.readMemory(), { head: head(9), floor: 1_795_305_601 });
  });

  test("floor 0 is a floor", async () => {
    const memory = openMemory(new MemoryFiles());
    await memory.rememberFloor(0);
    assert.deepEqual(await memory.readMemory(), { floor: 0 });
  });

  test("keeps the two highest numbers and the two highest floors", async () => {
    const files = new MemoryFiles();
    const memory = openMemory(files);
    for (let number = 1; number <= 12; number += 1) {
      await memory.rememberHead(number, idOf(`${number}`));
      await memory.rememberFloor(number);
    }
    const kept = [11, 12].map((number) => `${digits(number)}.${idOf(`${number}`)}`);
    assert.deepEqual(names(files), [...kept, `floor.${digits(11)}`, `floor.${digits(12)}`]);
  });

  test("two heads with the highest number: the log was forked", async () => {
    const files = new MemoryFiles();
    const memory = openMemory(files);
    await memory.rememberHead(5, idOf("5"));
    const forked = { code: "LOG_BEHIND_MEMORY", message: /forked/ };
    await assert.rejects(memory.rememberHead(5, idOf("another 5")), forked);
    await assert.rejects(memory.readMemory(), forked);
    await assert.rejects(openMemory(files).readMemory(), forked);
  });

  test("two heads below the highest number do not count", async () => {
    const files = new MemoryFiles();
    for (const one of ["a", "b"]) files.plant(`${digits(3)}.${idOf(one)}`, new Uint8Array());
    files.plant(`${digits(4)}.${idOf("4")}`, new Uint8Array());
    assert.deepEqual(await openMemory(files).readMemory(), { head: head(4) });
  });

  test("names of another form say nothing, and stay", async () => {
    const files = new MemoryFiles();
    const id = idOf("x");
    const junk = [
      ".DS_Store",
      "9.x",
      `9.${id}`,
      `${digits(99)}.${id}x`,
      `${digits(99)}.${id.toUpperCase()}`,
      "floor.99",
    ];
    for (const name of [...junk, `0${digits(99)}.${id}`, "config"]) files.plant(name, new Uint8Array());
    const memory = openMemory(files);
    assert.deepEqual(await memory.readMemory(), {});
    for (let number = 1; number <= 4; number += 1) await memory.rememberHead(number, idOf(`${number}`));
    assert.deepEqual(await memory.readMemory(), { head: head(4) });
    assert.equal(names(files).length, junk.length + 2 + 2);
  });

  test("a number that twelve digits do not hold is refused", async () => {
    const memory = openMemory(new MemoryFiles());
    for (const number of [1e12, -1, 1.5, Number.NaN]) {
      await assert.rejects(memory.rememberHead(number, idOf("x")), { code: "INTERNAL" });
      await assert.rejects(memory.rememberFloor(number), { code: "INTERNAL" });
    }
  });

  test("every failing call is STATE_UNWRITABLE, never an empty memory", async () => {
    const files = new MemoryFiles();
    await openMemory(files).rememberHead(1, idOf("1"));
    files.fault = { at: files.calls + 1, kind: "fail", code: "EACCES" };
    await assert.rejects(openMemory(files).readMemory(), { code: "STATE_UNWRITABLE" });
    for (let at = 1; ; at += 1) {
      const start = files.calls;
      files.fault = { at: start + at, kind: "fail", code: "EROFS" };
      try {
        await openMemory(files).rememberHead(at + 1, idOf(`${at + 1}`));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "STATE_UNWRITABLE");
        continue;
      }
      assert.ok(at > 5, `${at - 1} calls`);
      break;
    }
  });

  test("a file where the folder should be is STATE_UNWRITABLE; an absent folder is an empty memory that cannot be filled", async () => {
    const folder = mkdtempSync(join(tmpdir(), "coffer-memory-"));
    try {
      writeFileSync(join(folder, "state"), "");
      await assert.rejects(openMemory(openRealFiles(join(folder, "state"))).readMemory(), { code: "STATE_UNWRITABLE" });
      const absent = openMemory(openRealFiles(join(folder, "absent")));
      assert.deepEqual(await absent.readMemory(), {});
      await assert.rejects(absent.rememberHead(1, idOf("1")), { code: "STATE_UNWRITABLE" });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("power loss at any call: what was remembered before stays, and what returned is there", async () => {
    for (let at = 1; ; at += 1) {
      const files = new MemoryFiles();
      const memory = openMemory(files);
      for (let number = 1; number <= 3; number += 1) await memory.rememberHead(number, idOf(`${number}`));
      files.fault = { at: files.calls + at, kind: "stop" };
      const done = await memory.rememberHead(4, idOf("4")).then(
        () => true,
        (error: unknown) => {
          assert.ok(error instanceof PowerLoss);
          return false;
        },
      );
      for (const seed of [1, 2, 3, 4, 5]) {
        const seen = await openMemory(files.crash("random", seed)).readMemory();
        assert.ok(seen.head?.number === 4 || (!done && seen.head?.number === 3), `call ${at}, seed ${seed}`);
      }
      const least = (await openMemory(files.crash("all-lost")).readMemory()).head?.number;
      assert.ok(least === 4 || (!done && least === 3), `call ${at}`);
      if (done) break;
    }
  });
});
