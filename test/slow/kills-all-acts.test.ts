// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI, killed (every fourth time interrupted) at random moments of every act that writes: the store opens, fsck
 * finds nothing, the state is the one before or the one after, the same command then ends the act, and after it no
 * temporary file is left. COFFER_TEST_SEED repeats a run's delays, not the scheduler's mood. The first kills: kills.test.ts.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { IMPORT_PREFIX } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { needCandidate } from "../../src/repo/candidates.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { list } from "../../src/repo/list.ts";
import { STAGE } from "../../src/repo/log-swap.ts";
import { judge } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { ACTS } from "../support/acts.ts";
import { firstWrite, type Running, runCli, startCli } from "../support/cli-process.ts";
import { seededRandom } from "../support/transcripts.ts";
import { ALL_TRIALS, expectSpread } from "../support/trials.ts";

const KILLS = ALL_TRIALS ? 170 : 32;
/** By its command, as in test/support/acts.ts. */
type Act = string;

class Scene {
  readonly folder: string;
  readonly home: string;
  readonly store: string;
  /** Another store of the same team, one that takes over from it, and one in which nothing is done. */
  readonly sender: string;
  readonly receiver: string;
  readonly importer: string;
  readonly empty: string;

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), "coffer-kills-all-"));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    this.home = join(this.folder, "home");
    this.store = join(this.folder, "my.coffer");
    this.sender = join(this.folder, "sender.coffer");
    this.receiver = join(this.folder, "receiver.coffer");
    this.importer = join(this.folder, "importer.coffer");
    this.empty = join(this.folder, "empty.coffer");
    mkdirSync(this.home);
  }

  async must(args: readonly string[]): Promise<void> {
    const { status, stderr } = await runCli(args, { home: this.home });
    assert.equal(status, 0, `coffer ${args.join(" ")}: ${stderr}`);
  }

  /** Opens as another process would; undefined if there is no store. */
  async open(root: string, memory = true): Promise<Store | undefined> {
    if (!existsSync(root)) return undefined;
    const location = { root, stateHome: join(this.home, "state", "coffer"), memory };
    return openStore(location, {
      clock: () => Math.floor(Date.now() / 1000),
      random: (length) => crypto.getRandomValues(new Uint8Array(length)),
      sleep: async (ms) => void (await wait(ms)),
      openFolder: openRealFiles,
    });
  }

  /** What stands in `root`, without ids that depend on the time. */
  async look(root: string, text: string): Promise<string> {
    try {
      const store = await this.open(root);
      return store === undefined ? "no store" : await this.lookIn(store, text);
    } catch (error) {
      if (isCofferError(error, "LOG_BEHIND_MEMORY")) return error.code;
      throw error;
    }
  }

  private async lookIn(store: Store, text: string): Promise<string> {
    const name = parseName(text);
    const found = (await list(store)).names.find((row) => row.name.text === name.text);
    const said: string[] = [found?.state ?? "unknown"];
    try {
      if (found !== undefined)
        said.push(...(await judge(store, await store.head(), name)).reasons.map(({ code }) => code));
      said.push(...(await needCandidate(store, name)).verdict.reasons.map((reason) => reason.text));
    } catch (error) {
      if (!isCofferError(error, "NOT_PROPOSED", "NAME_NOT_FOUND", "NO_RULE")) throw error;
    }
    return said.join("; ");
  }

  async problems(root: string): Promise<readonly unknown[]> {
    const store = await this.open(root, false);
    if (store === undefined) return [];
    // A name that is denied for a stated reason is no damage.
    return (await fsck(store)).problems.filter(({ code }) => code !== "REFUSED" && code !== "APPROVALS_SHORT");
  }

  /** Temporary files of the store, a log that was being built, and folders of stopped runs of `init` beside it. */
  leftovers(root: string): string[] {
    const temporary = existsSync(root) ? readdirSync(join(root, "local", "tmp")) : [];
    if (existsSync(join(root, STAGE))) temporary.push(STAGE);
    const name = root.slice(this.folder.length + 1);
    return [...temporary, ...readdirSync(this.folder).filter((entry) => entry.startsWith(`.${name}.`))];
  }

  async firstWrite(running: Running, act: Act): Promise<number> {
    const local = join(this.store, "local");
    const where = new Map([
      ["init", this.folder],
      ["log adopt-restore", local],
      ["clone", this.folder],
      ["pull", join(this.receiver, "local", "tmp")],
      ["remote forget", join(this.receiver, "local", "tmp")],
      ["bundle import", join(this.importer, "local", "tmp")],
    ]);
    return firstWrite(running, where.get(act) ?? join(local, "tmp"));
  }

  async idOf(root: string): Promise<string> {
    return (await this.open(root))?.id ?? assert.fail(`${root} is no store`);
  }

  /** The policy root, as it is told to whoever clones. */
  async policyRoot(): Promise<string> {
    return `1:${(await this.open(this.store))?.pin}`;
  }

  /** A name that the sender trusts. @returns the command that takes it over */
  async send(model: string, name: string): Promise<readonly string[]> {
    const at = ["--store", this.sender];
    await this.must(["add", model, "--name", name, ...at]);
    await this.must(["propose", name, "--as", "alice", ...at]);
    for (const who of ["alice", "bob"]) await this.must(["approve", name, "--as", who, "--yes", ...at]);
    await this.must(["promote", name, ...at]);
    return ["pull", this.sender, "--store", this.receiver];
  }

  /** A bundle of what the sender trusts by that name. @returns the command that takes it over */
  async cut(name: string): Promise<readonly string[]> {
    const stick = mkdtempSync(join(this.folder, "stick-"));
    await this.must(["bundle", "create", name, "--out", stick, "--store", this.sender]);
    return ["bundle", "import", stick, "--store", this.importer];
  }

  /** Takes the newest entry of the log away, as a backup from before it would. @returns the head that is left */
  async loseEntry(): Promise<string> {
    const number = (await (await this.open(this.store))?.head())?.number;
    assert.ok(number !== undefined);
    rmSync(join(this.store, "log", "000000", String(number).padStart(12, "0")));
    rmSync(join(this.store, "local", "head"));
    const left = await (await this.open(this.store, false))?.head();
    assert.equal(left?.number, number - 1);
    return left.id;
  }
}

interface Step {
  readonly act: Act;
  readonly root: string;
  /** Makes of the store what the act is for. @returns the command line */
  readonly prepare: () => Promise<readonly string[]>;
  /** Commands that come before the next step, whatever happens. */
  readonly follows: readonly (readonly string[])[];
  /** How the same command says that it was done, where it does not succeed. */
  readonly again?: RegExp;
}

function stepsFor(scene: Scene, number: number, team: string): Step[] {
  const name = `acme/m${number}@main`;
  const fresh = join(scene.folder, `new-${number}.coffer`);
  const cloned = join(scene.folder, `clone-${number}.coffer`);
  const at = ["--store", scene.store];
  const model = join(scene.folder, `m${number}.gguf`);
  writeFileSync(model, makeTinyGguf({ seed: number + 1 }));
  const step = (act: Act, args: readonly string[], more: Partial<Step> = {}): Step => ({
    ...{ act, root: scene.store, follows: [] },
    prepare: async () => [...act.split(" "), ...args, ...(act === "init" ? [] : at)],
    ...more,
  });
  const loseView = async (): Promise<readonly string[]> => {
    rmSync(join(scene.store, "refs", "trusted", "acme", `m${number}`, "main"));
    return ["fsck", ...at];
  };
  const loseEntry = async (): Promise<readonly string[]> => {
    await scene.must(["add", model, "--name", `acme/lost${number}`, ...at]);
    return ["log", "adopt-restore", "--head", await scene.loseEntry(), "--accept-lost-revocations", ...at];
  };
  return [
    step("init", [fresh, "--team", team], { root: fresh, again: /\[EXISTS\]/ }),
    step("add", [model, "--name", name]),
    step("propose", [name, "--as", "alice"], { follows: [["approve", name, "--as", "alice", "--yes", ...at]] }),
    step("approve", [name, "--as", "bob", "--yes"]),
    step("promote", [name], { again: /\[NOT_PROPOSED\]/ }),
    step("git export", []),
    step("gc", ["--older-than", "0"]),
    step("fsck", [], { prepare: loseView }),
    step("reject", [name, "--as", "bob", "--reason", "a test", "--yes"]),
    step("revoke", [name, "--as", "bob", "--yes"]),
    step("delete", [name, "--as", "bob", "--yes"]),
    step("log adopt-restore", [], { prepare: loseEntry, again: /\[USAGE\]/ }),
    step("pull", [], { root: scene.receiver, prepare: () => scene.send(model, name) }),
    step("remote forget", [], {
      ...{ root: scene.receiver, again: /\[REMOTE_NOT_FOUND\]/ },
      prepare: async () => ["remote", "forget", await scene.idOf(scene.sender), "--store", scene.receiver],
    }),
    step("bundle import", [], { root: scene.importer, prepare: () => scene.cut(name) }),
    step("clone", [], {
      ...{ root: cloned, again: /\[EXISTS\]/ },
      prepare: async () => ["clone", scene.empty, cloned, "--root", await scene.policyRoot()],
    }),
  ];
}

/** Acts that write beside the store: stopped and failed in kill-points.test.ts, and not killed here yet. */
const ELSEWHERE: readonly Act[] = ["bundle create"];

/** Acts after which the next writer is yet to come: they only look and put right what is a view. */
const LOOKING: readonly Act[] = ["fsck"];

test(`${KILLS} further kills over all acts`, { timeout: 3_600_000 }, async (t) => {
  const seed = process.env["COFFER_TEST_SEED"] ?? String(Date.now());
  t.diagnostic(`COFFER_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  const share = (): number => Buffer.from(random(4)).readUInt32LE() / 2 ** 32;
  const scene = new Scene(t);
  for (const who of ["alice", "bob"]) await scene.must(["key", "new", who, "--no-passphrase"]);
  const keys = join(scene.home, ".config", "coffer", "keys");
  const team = ["alice", "bob"].map((who) => `${who}=${join(keys, `${who}.pub`)}`).join(",");
  await scene.must(["init", scene.store, "--team", team]);
  for (const other of [scene.sender, scene.receiver, scene.importer, scene.empty]) {
    await scene.must(["clone", scene.store, other, "--root", await scene.policyRoot()]);
  }

  const typical = new Map<Act, { readonly wholeMs: number; readonly writingMs: number }>();
  const states = new Map<Act, { readonly before: string; readonly after: string }>();
  const rehearsal = stepsFor(scene, 0, team);
  assert.deepEqual(
    new Set([...rehearsal.map(({ act }) => act), ...ELSEWHERE]),
    new Set(ACTS.map(({ command }) => command)),
  );
  for (const { act, root, prepare, follows } of rehearsal) {
    const args = await prepare();
    const before = await scene.look(root, "acme/m0");
    const running = startCli(args, { home: scene.home });
    const writes = await scene.firstWrite(running, act);
    const { status, stderr, ms } = await running.ended;
    assert.equal(status, 0, stderr);
    typical.set(act, { wholeMs: ms, writingMs: performance.now() - writes });
    states.set(act, { before, after: await scene.look(root, "acme/m0") });
    for (const other of follows) await scene.must(other);
  }

  const tally = { before: 0, after: 0, finished: 0, interrupted: 0, leftovers: 0 };
  const kills = new Map<Act, number>();
  let count = 0;
  for (let number = 1; count < KILLS; number += 1) {
    for (const { act, root, prepare, follows, again } of stepsFor(scene, number, team)) {
      const args = await prepare();
      const [usual, known] = [typical.get(act), states.get(act)];
      assert.ok(usual !== undefined && known !== undefined);
      if (count < KILLS) {
        // Most of an act's time is Node starting: four of five are timed from the act's first write.
        const writing = count % 5 !== 0;
        const signal = count % 4 === 3 ? "SIGINT" : "SIGKILL";
        const delayMs = share() * (writing ? usual.writingMs : usual.wholeMs);
        const what = `kill ${count + 1}: ${act}, ${signal} ${delayMs.toFixed(0)} ms after its ${writing ? "first write" : "start"}, seed ${seed}`;
        const running = startCli(args, { home: scene.home });
        if (writing) await scene.firstWrite(running, act);
        await wait(delayMs);
        running.child.kill(signal);
        const ended = await running.ended;
        assert.ok(
          ended.signal === signal || ended.status === 0,
          `${what}: ended with ${ended.status}: ${ended.stderr}`,
        );
        count += 1;
        kills.set(act, (kills.get(act) ?? 0) + 1);
        if (signal === "SIGINT") tally.interrupted += 1;
        if (scene.leftovers(root).length > 0) tally.leftovers += 1;
        const found = await scene.look(root, `acme/m${number}`);
        assert.ok(found === known.before || found === known.after, `${what}: found ${found}`);
        assert.deepEqual(await scene.problems(root), [], what);
        if (ended.signal === null) tally.finished += 1;
        else tally[found === known.after ? "after" : "before"] += 1;

        const next = await runCli(args, { home: scene.home });
        // What does not show in the state of the name may have been done, or not.
        const mayBeDone = found === known.after && again !== undefined;
        const isDone = mayBeDone && (known.before !== known.after || next.status !== 0);
        if (isDone) assert.match(next.stderr, again, what);
        else assert.equal(next.status, 0, `${what}: ${next.stderr}`);
        // Who is told that it is done writes nothing: the next one who does sweeps.
        if (LOOKING.includes(act) || (next.status !== 0 && act !== "init")) await scene.must(["gc", "--store", root]);
        assert.equal(await scene.look(root, `acme/m${number}`), known.after, what);
        // What an import staged stays for a week, for another try of the same bundle (docs/format.md, Importing).
        const left = scene.leftovers(root).filter((name) => !name.startsWith(IMPORT_PREFIX));
        assert.deepEqual(left, [], `${what}: left after the next writer`);
      } else await scene.must(args);
      for (const other of follows) await scene.must(other);
    }
  }
  expectSpread(count, tally.before, tally.after + tally.finished);
  const each = [...kills].map(([act, times]) => `${act} ${times}`).join(", ");
  t.diagnostic(
    `${count} kills (${each}; ${tally.interrupted} by SIGINT): ${tally.before} left the state before, ${tally.after} the ` +
      `state after, ${tally.finished} came too late; ${tally.leftovers} left temporary files, the next writer none`,
  );
});
