// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI, killed at random moments of `add`, `approve`, `promote` and `revoke`: the store opens, fsck finds
 * nothing, what stands is the state before or the state after, and the same command then finishes the act.
 * COFFER_TEST_SEED repeats a run's delays (not the scheduler's mood).
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { type Ended, firstWrite, type Running, runCli, startCli } from "../support/cli-process.ts";
import { seededRandom } from "../support/transcripts.ts";
import { ALL_TRIALS, expectSpread } from "../support/trials.ts";

const KILLS = ALL_TRIALS ? 30 : 12;
const ACTS = ["add", "approve", "promote", "revoke"] as const;
type Act = (typeof ACTS)[number];

/** What stands under a name, as `coffer show --json` tells it. */
interface Shown {
  readonly refs: readonly { readonly ref: string; readonly id: string }[];
  readonly verdict: { readonly trusted: boolean; readonly standing: string };
  readonly candidate?: { readonly statement: string; readonly reasons: readonly { readonly text: string }[] };
}

class Scene {
  readonly folder: string;
  readonly #home: string;

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), "coffer-kills-"));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    this.#home = join(this.folder, "home");
    mkdirSync(this.#home);
  }

  get store(): string {
    return join(this.folder, "my.coffer");
  }

  start(args: readonly string[]) {
    return startCli([...args, "--store", this.store], { home: this.#home });
  }

  async run(args: readonly string[]): Promise<Ended> {
    return this.start(args).ended;
  }

  async must(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(args);
    assert.equal(status, 0, `coffer ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  async init(): Promise<void> {
    const where = { home: this.#home };
    const team: string[] = [];
    for (const who of ["alice", "bob"]) {
      const made = await runCli(["key", "new", who, "--no-passphrase"], where);
      assert.equal(made.status, 0, made.stderr);
      team.push(`${who}=${join(this.#home, ".config", "coffer", "keys", `${who}.pub`)}`);
    }
    const done = await runCli(["init", this.store, "--team", team.join(","), "--threshold", "2"], where);
    assert.equal(done.status, 0, done.stderr);
  }

  /** undefined if nothing is known by the name. */
  async show(name: string): Promise<Shown | undefined> {
    const { status, stdout, stderr } = await this.run(["show", name, "--json"]);
    if (status === 6) return undefined;
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout);
  }

  /** Every act writes into local/tmp first. */
  async firstWrite(running: Running): Promise<number> {
    return firstWrite(running, join(this.store, "local", "tmp"));
  }

  leftovers(): number {
    return readdirSync(join(this.store, "local", "tmp")).length;
  }
}

/** The part of a state that an act changes, in one line. */
function stateOf(shown: Shown | undefined): string {
  if (shown === undefined) return "unknown";
  const families = shown.refs.map(({ ref }) => ref.split("/").slice(0, 2).join("/")).sort();
  const waits = shown.candidate?.reasons.map(({ text }) => text).join("; ");
  const candidate = shown.candidate === undefined ? "" : `, candidate: ${waits === "" ? "ready" : waits}`;
  return `${[...new Set(families)].join(" ")}, ${shown.verdict.trusted ? "trusted" : "denied"}${candidate}`;
}

/** What each act is for model number `number`, what must come before it, and what it leaves. */
function scriptFor(number: number, model: string): Record<Act, { args: string[]; next: string[][] }> {
  const name = `acme/m${number}@main`;
  return {
    add: { args: ["add", model, "--name", name], next: [["propose", name, "--as", "alice"]] },
    approve: {
      args: ["approve", name, "--as", "alice", "--yes"],
      next: [["approve", name, "--as", "bob", "--yes"]],
    },
    promote: { args: ["promote", name], next: [] },
    revoke: { args: ["revoke", name, "--as", "bob", "--yes"], next: [] },
  };
}

async function checkWhole(scene: Scene, after: string): Promise<void> {
  const { status, stdout, stderr } = await scene.run(["fsck", "--json"]);
  assert.equal(status, 0, `${after}: ${stdout}${stderr}`);
  const { problems, notes } = JSON.parse(stdout);
  assert.deepEqual(problems, [], after);
  for (const note of notes) assert.match(note, /temporary files in local\/tmp/, after);
}

test(`${KILLS} kills over ${ACTS.join(", ")}`, { timeout: 900_000 }, async (t) => {
  const seed = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
  t.diagnostic(`COFFER_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  const share = (): number => Buffer.from(random(4)).readUInt32LE() / 2 ** 32;
  const scene = new Scene(t);
  await scene.init();
  const model = (number: number): string => {
    const path = join(scene.folder, `m${number}.gguf`);
    writeFileSync(path, makeTinyGguf({ seed: number }));
    return path;
  };

  const typical = new Map<Act, { wholeMs: number; writingMs: number }>();
  const measure = async (act: Act, args: readonly string[]): Promise<Ended> => {
    const running = scene.start(args);
    const writes = await scene.firstWrite(running);
    const ended = await running.ended;
    typical.set(act, { wholeMs: ended.ms, writingMs: performance.now() - writes });
    return ended;
  };
  const states = new Map<Act, { before: string; after: string }>();
  const rehearsal = scriptFor(0, model(0));
  for (const act of ACTS) {
    const before = stateOf(await scene.show("acme/m0"));
    const { status, stderr } = await measure(act, rehearsal[act].args);
    assert.equal(status, 0, stderr);
    states.set(act, { before, after: stateOf(await scene.show("acme/m0")) });
    for (const args of rehearsal[act].next) await scene.must(args);
  }

  const tally = { before: 0, after: 0, finished: 0, leftovers: 0 };
  let kills = 0;
  for (let number = 1; kills < KILLS; number += 1) {
    const script = scriptFor(number, model(number));
    for (const act of ACTS) {
      if (kills === KILLS) break;
      const { args, next } = script[act];
      const known = states.get(act);
      const usual = typical.get(act);
      assert.ok(known !== undefined && usual !== undefined);
      // Most of an act's time is Node starting: two of three kills are timed from the act's first write.
      const writing = kills % 3 !== 0;
      const delayMs = share() * (writing ? usual.writingMs : usual.wholeMs);
      const what = `kill ${kills + 1}: ${act}, ${delayMs.toFixed(0)} ms after its ${writing ? "first write" : "start"}, seed ${seed}`;
      const leftBefore = scene.leftovers();
      const running = scene.start(args);
      if (writing) await scene.firstWrite(running);
      await wait(delayMs);
      running.child.kill("SIGKILL");
      const { signal, status } = await running.ended;
      assert.ok(signal === "SIGKILL" || status === 0, `${what}: ended with ${status}`);
      kills += 1;

      await checkWhole(scene, what);
      const name = `acme/m${number}`;
      const found = stateOf(await scene.show(name));
      assert.ok(found === known.before || found === known.after, `${what}: found ${found}`);
      if (signal === null) tally.finished += 1;
      else tally[found === known.after ? "after" : "before"] += 1;
      if (scene.leftovers() > leftBefore) tally.leftovers += 1;

      const again = found === known.before ? await measure(act, args) : await scene.run(args);
      // There is nothing left to promote then: the candidate is gone, and the answer says that.
      if (act === "promote" && found === known.after) assert.match(again.stderr, /\[NOT_PROPOSED\]/, what);
      else assert.equal(again.status, 0, `${what}: ${again.stderr}`);
      assert.equal(stateOf(await scene.show(name)), known.after, what);
      for (const other of next) await scene.must(other);
    }
  }
  expectSpread(kills, tally.before, tally.after + tally.finished);
  t.diagnostic(
    `${kills} kills: ${tally.before} left the state before, ${tally.after} the state after, ${tally.finished} came too ` +
      `late; ${tally.leftovers} left temporary files`,
  );
});
