// SPDX-License-Identifier: Apache-2.0
/**
 * Real processes: what a killed or interrupted `add` leaves is gone after the next writer, also from a pid namespace of
 * its own once it is old; a writer that lives, even one that is stopped for the time being, loses nothing to others.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { builtCli, runCli, startCli } from "../support/cli-process.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";

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

  /** Options and words of a command that adds the big model, another one for each number. */
  addBig(number: number): readonly string[] {
    if (number > 0) writeFileSync(this.big, makeSafetensors(BIG_BYTES, number));
    return ["add", this.big, "--name", `acme/big${number}`, "--store", this.store];
  }

  left(): string[] {
    return readdirSync(join(this.store, "local", "tmp"));
  }

  /** The file of the big one, if there is a part of it and most is still to come. */
  growing(): string | undefined {
    return this.left().find((name) => {
      const sizeBytes = statSync(join(this.store, "local", "tmp", name), { throwIfNoEntry: false })?.size ?? 0;
      return sizeBytes > 0 && sizeBytes < BIG_BYTES / 2;
    });
  }

  /**
   * A big one that is stopped in the middle of writing. One that came to its end before this process had its turn is no
   * use: then another is begun.
   */
  async stopped<T extends Stoppable>(begin: (args: readonly string[]) => T): Promise<T & { readonly file: string }> {
    for (let number = 0; number < 20; number += 1) {
      const begun = begin(this.addBig(number));
      await until(() => begun.isOver() || this.growing() !== undefined);
      begun.signal("SIGSTOP");
      const file = this.growing();
      if (file !== undefined && !begun.isOver()) return Object.assign(begun, { file });
      begun.signal("SIGCONT");
      await until(() => begun.isOver());
    }
    return assert.fail("none was met while it wrote");
  }

  async stoppedCli(t: TestContext) {
    return this.stopped((args) => {
      const { child, ended } = startCli(args, { home: this.home });
      t.after(() => child.kill("SIGKILL"));
      const signal = (name: NodeJS.Signals): void => void child.kill(name);
      return { isOver: () => child.exitCode !== null || child.signalCode !== null, signal, child, ended };
    });
  }
}

interface Stoppable {
  isOver(): boolean;
  signal(name: NodeJS.Signals): void;
}

for (const signal of ["SIGKILL", "SIGINT", "SIGTERM"] as const) {
  test(`what ${signal} leaves is gone after the next writer`, async (t) => {
    const scene = await new Scene(t).prepare();
    const running = await scene.stoppedCli(t);
    running.signal(signal);
    running.signal("SIGCONT");
    assert.equal((await running.ended).signal, signal);
    assert.deepEqual(scene.left(), [running.file]);
    await scene.writeSmall(1);
    assert.deepEqual(scene.left(), []);
  });
}

test("a writer that is stopped while others write loses nothing", async (t) => {
  const scene = await new Scene(t).prepare();
  const running = await scene.stoppedCli(t);
  for (let number = 1; number <= 3; number += 1) await scene.writeSmall(number);
  assert.deepEqual(scene.left(), [running.file]);
  running.signal("SIGCONT");
  const { status, stderr } = await running.ended;
  assert.equal(status, 0, stderr);
  assert.deepEqual(scene.left(), []);
});

test("two writers at once sweep nothing of each other", async (t) => {
  const scene = await new Scene(t).prepare();
  const running = await scene.stoppedCli(t);
  running.signal("SIGCONT");
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
  const contained = await scene.stopped((args) => {
    // In a group of their own: what is sent to the one outside does not reach the one that writes.
    const options = { env, stdio: "ignore", detached: true } as const;
    const child = spawn("unshare", [...unshare, process.execPath, builtCli(), ...args], options);
    const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
    const signal = (name: NodeJS.Signals): void => {
      if (child.pid !== undefined && !isOver()) process.kill(-child.pid, name);
    };
    t.after(() => signal("SIGKILL"));
    return { isOver, signal, child };
  });
  const { file: name } = contained;
  const gone = once(contained.child, "exit");
  contained.signal("SIGKILL");
  await gone;
  assert.match(name, /^[0-9a-f]{16}-1-[0-9]+-[0-9a-f]{32}$/, "its pid there is 1, which lives here");
  await scene.writeSmall(1);
  assert.deepEqual(scene.left(), [name], "nothing is known of it");
  const old = new Date(Date.now() - 25 * 3600 * 1000);
  utimesSync(join(scene.store, "local", "tmp", name), old, old);
  await scene.writeSmall(2);
  assert.deepEqual(scene.left(), []);
});
