// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI, killed at random moments of `bundle create`, `bundle import` and `pull`, with a volume cut short in
 * between, and run again until it is done: the store holds what that of an undisturbed run holds, ref by ref and file by
 * file, and the volumes are the same bytes. After each kill there is a whole state, with nothing that this has not.
 * COFFER_TEST_SEED repeats a run's delays and cuts, not the scheduler's mood. `npm run kill-points` kills 200 times.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { firstWrite } from "../support/cli-process.ts";
import { seededRandom } from "../support/transcripts.ts";
import { filesOf, type Held, heldBy, makeTravel, type Stage, type Travel } from "../support/travel-scene.ts";
import { ALL_TRIALS } from "../support/trials.ts";

const KILLS = ALL_TRIALS ? 200 : 6;

/** A share of one, by the seed. */
type Share = () => number;

/** One way to send or to take over, in a folder of its own. */
interface Journey {
  readonly name: string;
  /** Where it begins; what only reads a store is run in it, all else on a copy. */
  readonly from: Stage;
  readonly reads?: true;
  /** Runs that cannot end well, in order: what is still to come is missing or damaged. */
  readonly before?: (folder: string, share: Share) => readonly (readonly string[])[];
  /** The one that does; it is the same for all of one kind. */
  readonly last: (folder: string) => readonly string[];
  readonly kind: "create" | "create by receipt" | "import" | "import by receipt" | "pull" | "pull of what is new";
}

const FAILED = /\[(VOLUME_DAMAGED|BUNDLE_INCOMPLETE|BUNDLE_INVALID)\]/;

/** Refs that move once in an import, to what they hold in the end; lists grow, and what waits is taken up. */
const EXACT = /^refs\/(policy|trusted|quarantined|proposed|revoked\/(?!sha256\/)|deleted)/;

/** The volumes on two media: every second one lies on the other. */
function spread(volumes: string, folder: string): { readonly first: string; readonly other: string } {
  const media = { first: join(folder, "first"), other: join(folder, "other") };
  for (const place of Object.values(media)) mkdirSync(place, { recursive: true });
  for (const [at, name] of readdirSync(volumes).sort().entries())
    copyFileSync(join(volumes, name), join(at % 2 === 0 ? media.first : media.other, name));
  return media;
}

/** One volume of those in `folder` ends too early. */
function cutShort(folder: string, share: Share): void {
  const names = readdirSync(folder);
  const name = names[Math.floor(share() * names.length)] ?? "";
  assert.notEqual(name, "");
  const path = join(folder, name);
  truncateSync(path, Math.floor(share() * statSync(path).size));
}

function journeysOf({ early, late, fresh, based, base, news, createBase, createNews }: Travel): readonly Journey[] {
  const both = (folder: string): string[] => {
    const { first, other } = spread(base, folder);
    return ["bundle", "import", first, other];
  };
  const makes = { from: early, reads: true, kind: "create" } as const;
  const takes = { from: fresh, kind: "import", last: both } as const;
  return [
    { ...makes, name: "bundle create", last: (folder) => [...createBase, join(folder, "out")] },
    { ...takes, name: "bundle import" },
    {
      ...{ ...makes, from: late, kind: "create by receipt" },
      name: "bundle create --for",
      last: (folder) => [...createNews, join(folder, "out")],
    },
    {
      ...takes,
      name: "bundle import, a volume cut short before",
      before: (folder, share) => {
        const media = spread(base, join(folder, "short"));
        cutShort(share() < 0.5 ? media.first : media.other, share);
        return [["bundle", "import", media.first, media.other]];
      },
    },
    { name: "pull", kind: "pull", from: fresh, last: () => ["pull", early.store] },
    {
      ...takes,
      name: "bundle import, half of the volumes before",
      before: (folder) => [["bundle", "import", spread(base, folder).first]],
    },
    {
      name: "bundle import by receipt",
      kind: "import by receipt",
      from: based,
      last: () => ["bundle", "import", news],
    },
    { name: "pull of what is new", kind: "pull of what is new", from: based, last: () => ["pull", late.store] },
  ];
}

/** What an undisturbed run makes, and how long it takes. */
interface Undisturbed {
  readonly held: Held;
  readonly volumes: ReadonlyMap<string, string>;
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

  async undisturbed(): Promise<Undisturbed> {
    const running = this.stage.start(this.last);
    const writes = await firstWrite(running, this.writes);
    const { status, stderr, ms } = await running.ended;
    assert.equal(status, 0, stderr);
    const writingMs = performance.now() - writes;
    return { held: await heldBy(this.stage), volumes: this.volumes(), wholeMs: ms, writingMs };
  }

  /** How far it came. Nothing may be there that the undisturbed run has not, and all that is must be whole. */
  async reached(known: Undisturbed, began: Held, what: string): Promise<"before" | "between" | "after"> {
    const volumes = [...this.volumes()].filter(([name]) => !name.startsWith(".coffer-part-"));
    for (const [name, hash] of volumes) assert.equal(hash, known.volumes.get(name), `${what}: ${name}`);
    const held = await heldBy(this.stage);
    for (const [path, hash] of held.content) assert.equal(hash, known.held.content.get(path), `${what}: ${path}`);
    for (const [ref, id] of held.refs) {
      if (EXACT.test(ref) && began.refs.get(ref) !== id) assert.equal(id, known.held.refs.get(ref), `${what}: ${ref}`);
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
    assert.deepEqual(this.stage.leftovers(), [], what);
    assert.deepEqual(await this.stage.problems(), [], what);
  }
}

test(`${KILLS} kills while models travel: resumed, they arrive as undisturbed`, { timeout: 3_600_000 }, async (t) => {
  const seed = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
  t.diagnostic(`COFFER_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  const share = (): number => Buffer.from(random(4)).readUInt32LE() / 2 ** 32;
  const travel = await makeTravel(t);
  const senders = [await heldBy(travel.early), await heldBy(travel.late)];
  const journeys = journeysOf(travel);
  const known = new Map<Journey["kind"], Undisturbed>();
  const tally = { before: 0, between: 0, after: 0, late: 0, failed: 0 };
  let [kills, trips] = [0, 0];

  const undisturbed = async (journey: Journey): Promise<Undisturbed> => {
    const folder = join(travel.folder, "undisturbed");
    const found = known.get(journey.kind) ?? (await new Trip(journey, folder).undisturbed());
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
    const reached = await trip.reached(usual, began, what);
    tally[signal === null ? "late" : reached] += 1;
  };

  for (; kills < KILLS; trips += 1) {
    const journey = journeys[trips % journeys.length];
    assert.ok(journey !== undefined);
    const usual = await undisturbed(journey);
    const trip = new Trip(journey, join(travel.folder, `trip-${trips}`));
    const began = await heldBy(journey.from);
    for (const args of journey.before?.(trip.folder, share) ?? []) {
      await killOnce(trip, args, usual, began);
      const { status, stderr } = await trip.stage.start(args).ended;
      assert.ok(status !== 0 && FAILED.test(stderr), `${journey.name}: ended with ${status}: ${stderr}`);
      tally.failed += 1;
    }
    // Some are killed twice before they come through.
    for (let again = share() < 0.3 ? 1 : 0; again >= 0; again -= 1) await killOnce(trip, trip.last, usual, began);
    await trip.stage.must(trip.last);
    await trip.compare(usual, `${journey.name}, trip ${trips}, seed ${seed}`);
    rmSync(trip.folder, { recursive: true });
  }
  assert.deepEqual([await heldBy(travel.early), await heldBy(travel.late)], senders, "who sends is left as it was");
  assert.ok(tally.before > 0 && tally.between + tally.after + tally.late > 0, "expected both sides of the commit");
  t.diagnostic(
    `${kills} kills on ${trips} journeys: ${tally.before} left the state before, ${tally.between} one between two entries ` +
      `or volumes, ${tally.after} the state after, ${tally.late} came too late; ${tally.failed} runs failed for a volume`,
  );
});
