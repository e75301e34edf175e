// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI, killed at random moments while it writes a file that is large enough to go past the page cache
 * (src/objects/direct-writes.ts): an added model, a volume, an imported blob. What is there is whole, and the same command
 * ends as if nothing had been. COFFER_TEST_SEED repeats a run's delays; `npm run kill-points` kills 60 times.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { firstWrite } from "../support/cli-process.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { makeTeam } from "../support/team-stores.ts";
import { seededRandom } from "../support/transcripts.ts";
import { filesOf, type Held, heldBy, type Stage, stageOf } from "../support/travel-scene.ts";
import { ALL_TRIALS, expectSpread } from "../support/trials.ts";

const KILLS = ALL_TRIALS ? 60 : 6;
const BIG_BYTES = 70 * 1024 * 1024 + 12_345;

interface Act {
  readonly name: string;
  /** Copied for each trial. */
  readonly from: Stage;
  readonly args: (out: string) => readonly string[];
  /** The folder in which its first write is seen. */
  readonly writes: (stage: Stage, out: string) => string;
}

interface Result {
  readonly held: Omit<Held, "entries">;
  readonly out: ReadonlyMap<string, string>;
}

test(`${KILLS} kills while something large is written: run again, it ends as undisturbed`, {
  timeout: 1_800_000,
}, async (t) => {
  const seed = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
  t.diagnostic(`COFFER_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  const share = (): number => Buffer.from(random(4)).readUInt32LE() / 2 ** 32;
  const folder = mkdtempSync(join(tmpdir(), "coffer-kills-large-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const team = makeTeam(t);
  const [member, other] = [await team.store("sender"), await team.store("receiver")];
  const model = join(folder, "big.safetensors");
  writeFileSync(model, makeSafetensors(BIG_BYTES, 3));
  const empty = stageOf(join(folder, "empty"), other);
  await member.trust("acme/big", { "m.safetensors": makeSafetensors(BIG_BYTES, 7) });
  const sender = stageOf(join(folder, "sender"), member);
  const volume = join(folder, "big.tar");
  await sender.must(["bundle", "create", "acme/big", "--out", volume]);

  const inTemp = (stage: Stage): string => join(stage.store, "local", "tmp");
  const acts: readonly Act[] = [
    { name: "add", from: empty, args: () => ["add", model, "--name", "acme/added"], writes: inTemp },
    {
      ...{ name: "bundle create", from: sender },
      args: (out) => ["bundle", "create", "acme/big", "--out", out],
      writes: (_, out) => out,
    },
    { name: "bundle import", from: empty, args: () => ["bundle", "import", volume], writes: inTemp },
  ];

  /** Runs the act in a copy of its own; `disturb` may kill it first. */
  const run = async (
    act: Act,
    what: string,
    disturb?: (start: () => ReturnType<Stage["start"]>, writes: string) => Promise<void>,
  ): Promise<Result & { readonly ms: number }> => {
    const place = mkdtempSync(join(folder, "trial-"));
    const [stage, out] = [act.from.copyTo(join(place, "stage")), join(place, "out")];
    mkdirSync(out);
    const start = () => stage.start(act.args(out));
    if (disturb !== undefined) {
      await disturb(start, act.writes(stage, out));
      assert.deepEqual(await stage.problems(), [], what);
    }
    const ended = await start().ended;
    assert.equal(ended.status, 0, `${what}: ${ended.stderr}`);
    assert.deepEqual([stage.leftovers(), await stage.problems()], [[], []], what);
    const { entries: _, ...held } = await heldBy(stage);
    const result = { held, out: filesOf(out), ms: ended.ms };
    rmSync(place, { recursive: true });
    return result;
  };

  let [early, late] = [0, 0];
  const known = new Map<Act, Awaited<ReturnType<typeof run>>>();
  for (let kill = 0; kill < KILLS; kill += 1) {
    const act = acts[kill % acts.length];
    assert.ok(act !== undefined);
    const usual = known.get(act) ?? (await run(act, act.name));
    known.set(act, usual);
    const delayMs = share() * usual.ms * 0.6;
    const what = `kill ${kill + 1}: ${act.name}, ${delayMs.toFixed(0)} ms after its first write, seed ${seed}`;
    const again = await run(act, what, async (start, writes) => {
      const running = start();
      await firstWrite(running, writes);
      await wait(delayMs);
      running.child.kill("SIGKILL");
      const { signal, status, stderr } = await running.ended;
      assert.ok(signal === "SIGKILL" || status === 0, `${what}: ended with ${status}: ${stderr}`);
      if (signal === null) late += 1;
      else early += 1;
    });
    assert.deepEqual(again.out, usual.out, what);
    assert.deepEqual(again.held, usual.held, what);
  }
  expectSpread(KILLS, early, late);
  t.diagnostic(`${KILLS} kills: ${early} while it ran, ${late} came too late`);
});
