// SPDX-License-Identifier: Apache-2.0
/**
 * Real processes: what a killed or interrupted `add` leaves is gone after the next writer, also from a pid namespace of
 * its own once it is old; a writer that lives, even one that is stopped for the time being, loses nothing to others.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { builtCli, runCli, startCli } from "../support/cli-process.ts";
import { makeSafetensors } from "../support/store-fixture.ts";

const BIG_BYTES = 300_000_000;

class Scene {
  readonly folder: string;
  readonly home: string;
  readonly store: string;
  readonly big: string;

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), "coffer-sweep-"));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    this.home = join(this.folder, "home");
    this.store = join(this.folder, "my.coffer");
    this.big = join(this.folder, "big.safetensors");
    mkdirSync(this.home);
  }

  async prepare(): Promise<this> {
    for (const args of [
      ["key", "new", "alice", "--no-passphrase"],
      ["init", this.store, "--me", "alice"],
    ])
      assert.equal((await runCli(args, { home: this.home })).status, 0);
    writeFileSync(this.big, makeSafetensors(BIG_BYTES));
    return this;
  }

  /** One more writer, from its start to its end. */
  async writeSmall(number: number): Promise<void> {
    const path = join(this.folder, `small${number}.gguf`);
    writeFileSync(path, makeTinyGguf({ seed: number }));
    const { status, stderr } = await runCli(["add", path, "--name", `acme/s${number}`, "--store", this.store], {
      home: this.home,
    });
    assert.equal(status, 0, stderr);
  }

  addBig() {
    return startCli(["add", this.big, "--name", "acme/big", "--store", this.store], { home: this.home });
  }

  left(): string[] {
    return readdirSync(join(this.store, "local", "tmp"));
  }

  /** Until the big one has begun to write. */
  async begun(): Promise<string> {
    for (let round = 0; round < 3000; round += 1) {
      const [name] = this.left();
      if (name !== undefined) return name;
      await wait(2);
    }
    return assert.fail("nothing was written");
  }
}

for (const signal of ["SIGKILL", "SIGINT", "SIGTERM"] as const) {
  test(`what ${signal} leaves is gone after the next writer`, async (t) => {
    const scene = await new Scene(t).prepare();
    const running = scene.addBig();
    await scene.begun();
    running.child.kill(signal);
    assert.equal((await running.ended).signal, signal);
    assert.equal(scene.left().length, 1);
    await scene.writeSmall(1);
    assert.deepEqual(scene.left(), []);
  });
}

test("a writer that is stopped while others write loses nothing", async (t) => {
  const scene = await new Scene(t).prepare();
  const running = scene.addBig();
  const name = await scene.begun();
  running.child.kill("SIGSTOP");
  for (let number = 1; number <= 3; number += 1) await scene.writeSmall(number);
  assert.deepEqual(scene.left(), [name]);
  running.child.kill("SIGCONT");
  const { status, stderr } = await running.ended;
  assert.equal(status, 0, stderr);
  assert.deepEqual(scene.left(), []);
});

test("two writers at once sweep nothing of each other", async (t) => {
  const scene = await new Scene(t).prepare();
  const running = scene.addBig();
  await scene.begun();
  for (let number = 1; running.child.exitCode === null && number <= 20; number += 1) await scene.writeSmall(number);
  const { status, stderr } = await running.ended;
  assert.equal(status, 0, stderr);
  await scene.writeSmall(21);
  assert.deepEqual(scene.left(), []);
});

test("a writer in a pid namespace of its own is left alone for a day, whatever its pid there", async (t) => {
  const unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
  if (spawnSync("unshare", [...unshare, "true"]).status !== 0) return t.skip("this account may not unshare pids");
  const scene = await new Scene(t).prepare();
  const env = { PATH: process.env["PATH"], HOME: scene.home, XDG_STATE_HOME: join(scene.home, "state"), NO_COLOR: "1" };
  const args = [builtCli(), "add", scene.big, "--name", "acme/big", "--store", scene.store];
  const contained = spawn("unshare", [...unshare, process.execPath, ...args], { env, stdio: "ignore" });
  const name = await scene.begun();
  contained.kill("SIGKILL");
  await once(contained, "exit");
  assert.match(name, /^[0-9a-f]{16}-1-[0-9]+-[0-9a-f]{32}$/, "its pid there is 1, which lives here");
  await scene.writeSmall(1);
  assert.deepEqual(scene.left(), [name], "nothing is known of it");
  const old = new Date(Date.now() - 25 * 3600 * 1000);
  utimesSync(join(scene.store, "local", "tmp", name), old, old);
  await scene.writeSmall(2);
  assert.deepEqual(scene.left(), []);
});
