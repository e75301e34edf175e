// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI, killed at random moments of `bundle create`, `bundle import` and `pull`, with a volume cut short in
 * between, and run again until it is done: the store holds what that of an undisturbed run holds, ref by ref and file by
 * file, and the volumes are the same bytes. After each kill there is a whole state, with nothing that this has not. So
 * too of several bundles on one stick, one of them damaged: what an intact one revokes is in whenever a run ends by itself.
 * COFFER_TEST_SEED repeats a run's delays and cuts, not the scheduler's mood. `npm run kill-points` kills 200 times, and 80 more
 * with sticks.
 */
import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { type Ended, firstWrite } from "../support/cli-process.ts";
import { type Journey, journeysOf, type Share, sticksOf } from "../support/journeys.ts";
import { seededRandom } from "../support/transcripts.ts";
import { filesOf, type Held, heldBy, makeTravel, type Stage, type Travel } from "../support/travel-scene.ts";
import { ALL_TRIALS, expectSpread } from "../support/trials.ts";

const KILLS = ALL_TRIALS ? 200 : 6;
const STICK_KILLS = ALL_TRIALS ? 80 : 4;

const FAILED = /\[(VOLUME_DAMAGED|BUNDLE_INCOMPLETE|BUNDLE_INVALID|OBJECT_MISMATCH)\]/;

/** Refs that move once with each bundle, to what the sender's held; lists grow, and what waits is taken up. */
const EXACT = /^refs\/(policy|trusted|quarantined|proposed|revoked\/(?!sha256\/)|deleted)/;

/** Names that somebody revoked. */
const DENYING = /^refs\/revoked\/(?!sha256\/)/;

/** What an undisturbed run makes, and how long it takes. */
interface Undisturbed {
  readonly held: Held;
  readonly volumes: ReadonlyMap<string, string>;
  /** What came of bundles that damage keeps from being done. */
  readonly leftovers: readonly string[];
  readonly wholeMs: number;
  readonly writingMs: number;
}

/** A journey on its way, in a folder that goes with it. */
class Trip {
  readonly journey: Journey;
  readonly folder: string;
  readonly stage: Stage;

  constructor(journey: Journey, folder: string) {
    this.journey = journey;
    this.folder = folder;
    mkdirSync(join(folder, "out"), { recursive: true });
    this.stage = journey.reads === true ? journey.from : journey.from.copyTo(join(folder, "receiver"));
  }

  get last(): readonly string[] {
    return this.journey.last(this.folder);
  }

  /** Where the first write of a run is seen. */
  get writes(): string {
    return this.journey.reads === true ? join(this.folder, "out") : join(this.stage.store, "local", "tmp");
  }

  volumes(): Map<string, string> {
    return filesOf(join(this.folder, "out"));
  }

  async undisturbed(share: Share): Promise<Undisturbed> {
    for (const args of this.journey.before?.(this.folder, share) ?? [])
      expectFailed(await this.stage.start(args).ended);
    const running = this.stage.start(this.last);
    const writes = await firstWrite(running, this.writes);
    const ended = await running.ended;
    this.expectEnd(ended);
    const writingMs = performance.now() - writes;
    const leftovers = this.stage.leftovers();
    if (this.journey.fails !== true) assert.deepEqual(leftovers, []);
    return { held: await heldBy(this.stage), volumes: this.volumes(), leftovers, wholeMs: ended.ms, writingMs };
  }

  expectEnd(ended: Ended): void {
    if (this.journey.fails === true) expectFailed(ended);
    else assert.equal(ended.status, 0, ended.stderr);
  }

  /** A run came to its end: what was revoked is, whatever else it met. */
  async expectDenials(denied: ReadonlyMap<string, string>, what: string): Promise<void> {
    if (this.journey.denies !== true) return;
    const { refs } = await heldBy(this.stage);
    for (const [ref, id] of denied) assert.equal(refs.get(ref), id, `${what}: ${ref}`);
  }

  /** How far it came. Nothing may be there that the undisturbed run has not, and all that is must be whole. */
  async reached(
    known: Undisturbed,
    stations: readonly Held[],
    began: Held,
    what: string,
  ): Promise<"before" | "between" | "after"> {
    const volumes = [...this.volumes()].filter(([name]) => !name.startsWith(".coffer-part-"));
    for (const [name, hash] of volumes) assert.equal(hash, known.volumes.get(name), `${what}: ${name}`);
    const held = await heldBy(this.stage);
    for (const [path, hash] of held.content) assert.equal(hash, known.held.content.get(path), `${what}: ${path}`);
    for (const [ref, id] of held.refs) {
      if (!EXACT.test(ref) || began.refs.get(ref) === id) continue;
      // On the way through several bundles there is what each of them says.
      const may = [known.held, ...(this.journey.denies === true ? stations : [])].map(({ refs }) => refs.get(ref));
      assert.ok(may.includes(id), `${what}: ${ref}: expected ${may.join(" or ")}, found ${id}`);
    }
    assert.deepEqual(await this.stage.problems(), [], what);
    const done = this.journey.reads === true ? volumes.length : held.entries - began.entries;
    if (done === 0) return "before";
    return isDeepStrictEqual([new Map(volumes), held.refs], [known.volumes, known.held.refs]) ? "after" : "between";
  }

  /** The same as without all the trouble. */
  async compare(known: Undisturbed, what: string): Promise<void> {
    assert.deepEqual(this.volumes(), known.volumes, what);
    const { content, refs, views } = await heldBy(this.stage);
    const { entries: _, ...same } = known.held;
    assert.deepEqual({ content, refs, views }, same, what);
    assert.deepEqual(this.stage.leftovers(), known.leftovers, what);
    assert.deepEqual(await this.stage.problems(), [], what);
  }
}

function expectFailed({ status, stderr }: Ended): void {
  assert.ok(status !== 0 && FAILED.test(stderr), `ended with ${status}: ${stderr}`);
}

const TIMEOUT = { timeout: 3_600_000 };

test(`${KILLS} kills while models travel: resumed, they arrive as undisturbed`, TIMEOUT, (t) =>
  travelKilled(t, journeysOf, KILLS),
);

test(`${STICK_KILLS} kills while several bundles are taken from a stick: as undisturbed`, TIMEOUT, (t) =>
  travelKilled(t, sticksOf, STICK_KILLS),
);

async function travelKilled(
  t: TestContext,
  waysOf: (travel: Travel) => readonly Journey[],
  most: number,
): Promise<void> {
  const seed = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
  t.diagnostic(`COFFER_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  const share = (): number => Buffer.from(random(4)).readUInt32LE() / 2 ** 32;
  const travel = await makeTravel(t);
  const senders = [await heldBy(travel.early), await heldBy(travel.late)];
  const denied = new Map([...(senders[1]?.refs ?? [])].filter(([ref]) => DENYING.test(ref)));
  assert.equal(denied.size, 4);
  const journeys = waysOf(travel);
  const known = new Map<Journey["kind"], Undisturbed>();
  const tally = { before: 0, between: 0, after: 0, late: 0, failed: 0 };
  let [kills, trips] = [0, 0];

  const undisturbed = async (journey: Journey): Promise<Undisturbed> => {
    const folder = join(travel.folder, "undisturbed");
    const found = known.get(journey.kind) ?? (await new Trip(journey, folder).undisturbed(share));
    known.set(journey.kind, found);
    rmSync(folder, { recursive: true, force: true });
    return found;
  };

  const killOnce = async (trip: Trip, args: readonly string[], usual: Undisturbed, began: Held): Promise<void> => {
    // Most of a run's time is Node starting: two of three kills are timed from its first write.
    const writing = kills % 3 !== 0;
    const delayMs = share() * (writing ? usual.writingMs : usual.wholeMs);
    const what = `kill ${kills + 1}: ${trip.journey.name}, ${delayMs.toFixed(0)} ms after its ${writing ? "first write" : "start"}, seed ${seed}`;
    const running = trip.stage.start(args);
    if (writing) await firstWrite(running, trip.writes);
    await wait(delayMs);
    running.child.kill("SIGKILL");
    const { signal, status, stderr } = await running.ended;
    assert.ok(signal === "SIGKILL" || status === 0 || FAILED.test(stderr), `${what}: ended with ${status}: ${stderr}`);
    kills += 1;
    if (signal === null) await trip.expectDenials(denied, what);
    const reached = await trip.reached(usual, senders, began, what);
    tally[signal === null ? "late" : reached] += 1;
  };

  for (; kills < most; trips += 1) {
    const journey = journeys[trips % journeys.length];
    assert.ok(journey !== undefined);
    const usual = await undisturbed(journey);
    const trip = new Trip(journey, join(travel.folder, `trip-${trips}`));
    const began = await heldBy(journey.from);
    for (const args of journey.before?.(trip.folder, share) ?? []) {
      await killOnce(trip, args, usual, began);
      expectFailed(await trip.stage.start(args).ended);
      await trip.expectDenials(denied, `${journey.name}, trip ${trips}, seed ${seed}`);
      tally.failed += 1;
    }
    // Some are killed twice before they come through.
    for (let again = share() < 0.3 ? 1 : 0; again >= 0; again -= 1) await killOnce(trip, trip.last, usual, began);
    const what = `${journey.name}, trip ${trips}, seed ${seed}`;
    trip.expectEnd(await trip.stage.start(trip.last).ended);
    await trip.expectDenials(denied, what);
    await trip.compare(usual, what);
    rmSync(trip.folder, { recursive: true });
  }
  assert.deepEqual([await heldBy(travel.early), await heldBy(travel.late)], senders, "who sends is left as it was");
  expectSpread(kills, tally.before, tally.between + tally.after + tally.late);
  t.diagnostic(
    `${kills} kills on ${trips} journeys: ${tally.before} left the state before, ${tally.between} one between two entries ` +
      `or volumes, ${tally.after} the state after, ${tally.late} came too late; ${tally.failed} runs failed for a volume`,
  );
}
