// SPDX-License-Identifier: Apache-2.0
/**
 * Every file of a small store is lost, emptied, altered, put back to an older state or swapped with another: the answer
 * may become "no", and then says why; it never becomes a wrong yes. Invariants 4 and 8.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isDigest } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { readPolicies } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { judge } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { runCli } from "../support/cli-process.ts";
import {
  type Answers,
  askAll,
  FORBIDDEN,
  makeRemovalStore,
  NAMES,
  type RemovalStore,
  Snapshot,
  TRUSTED,
} from "../support/removal-store.ts";

/** Codes that name damage. "Unknown" or "never promoted" would be a lie about a name that was promoted. */
const DAMAGE = ["CORRUPT", "LOG_BEHIND_MEMORY", "STORE_NOT_FOUND", "UNSUPPORTED"];
/** Nothing in the tree names the signatures of a candidate: a lost one is as one that was never given. */
const NOT_SIGNED = ["APPROVALS_SHORT", "PUBLISHER_MISSING"];

interface World extends RemovalStore {
  readonly intact: Answers;
  /** What fsck says of the intact store: "code where". */
  readonly found: readonly string[];
  readonly store: Snapshot;
  readonly state: Snapshot;
}

async function makeWorld(t: TestContext): Promise<World> {
  const made = await makeRemovalStore(t);
  await askAll(made); // raises the clock floor, once
  const { location, ports } = made.fixture;
  const { problems } = await fsck(await openStore(location, ports));
  const [store, state] = [new Snapshot(location.root), new Snapshot(location.stateHome)];
  const found = problems.map(({ code, where }) => `${code} ${where}`);
  return { ...made, store, state, found, intact: await askAll(made) };
}

/** The signature of a passing inspection is lost: the store may inspect again, so it is as one that was never made. */
const NOT_INSPECTED = "EVIDENCE_MISSING";

/** What is wrong with the answers that a damaged store gave; empty if nothing. */
function wrongs(intact: Answers, answers: Answers): string[] {
  const found: string[] = [];
  for (const [question, answer] of answers) {
    const before = intact.get(question) ?? "(not asked)";
    if (answer === before || DAMAGE.includes(answer)) continue;
    if (question === "page" && isPart(answer, before)) continue;
    if (question.startsWith("promote ") && NOT_SIGNED.includes(answer)) continue;
    if (question.startsWith("resolve ") && answer === NOT_INSPECTED) continue;
    const holder = answers.get("resolve acme/shares@main");
    if (question === "serve the shared blob" && answer === "no such file" && holder === NOT_INSPECTED) continue;
    found.push(`${question}: ${before} became ${answer}`);
  }
  return found;
}

function isPart(answer: string, before: string): boolean {
  const names = new Set(before.split(" "));
  return answer.split(" ").every((name) => names.has(name) || name === "");
}

interface Case {
  readonly what: string;
  readonly paths: readonly string[];
  /** True if the damage may not change any answer. */
  readonly harmless: boolean;
  readonly damage: (store: Snapshot) => void;
}

/**
 * Runs each case on the store and puts it back.
 * @param named - expect fsck to name each damage that changes an answer
 */
async function runAll(world: World, cases: Iterable<Case>, named = false): Promise<{ count: number; denied: number }> {
  let count = 0;
  let denied = 0;
  const faults: string[] = [];
  for (const { what, paths, harmless, damage } of cases) {
    damage(world.store);
    const answers = await askAll(world);
    const same = sameAnswers(world.intact, answers);
    count += 1;
    if (!same) denied += 1;
    faults.push(...wrongs(world.intact, answers).map((wrong) => `${what}: ${wrong}`));
    if (!same && named && !(await isNamed(world, answers))) faults.push(`${what}: fsck finds nothing`);
    if (harmless && !same) faults.push(`${what}: changes an answer`);
    for (const path of paths) world.store.restoreFile(path);
    faults.push(...world.state.restore().map((path) => `${what}: ${path} was written to memory`));
  }
  // No question, and no refused promotion, has written anything.
  faults.push(...world.store.restore().map((path) => `${path} was written`));
  assert.deepEqual(faults, []);
  assert.deepEqual(await askAll(world), world.intact, "the restored store answers as at first");
  return { count, denied };
}

/** True if fsck names damage, or the store does not even open, or all that changed is that a candidate lacks signatures. */
async function isNamed({ fixture, intact, found }: World, answers: Answers): Promise<boolean> {
  if (answers.get("open") !== "yes") return true;
  const changed = [...answers].filter(([question, answer]) => intact.get(question) !== answer);
  if (changed.every(([, answer]) => NOT_SIGNED.includes(answer))) return true;
  const { problems } = await fsck(await openStore(fixture.location, fixture.ports));
  return problems.some(({ code, where }) => !found.includes(`${code} ${where}`));
}

function sameAnswers(a: Answers, b: Answers): boolean {
  return a.size === b.size && [...a].every(([question, answer]) => b.get(question) === answer);
}

/** Views and the hint never decide. */
const isHarmless = (path: string): boolean => path.startsWith("refs/") || path.startsWith("local/");

function single(what: string, change: (bytes: Buffer) => Buffer | undefined) {
  return function* (store: Snapshot): Generator<Case> {
    for (const [path, { bytes }] of store.files) {
      const changed = change(bytes);
      yield {
        what: `${what} ${path}`,
        paths: [path],
        harmless: isHarmless(path),
        damage: () => (changed === undefined ? store.remove(path) : store.write(path, changed)),
      };
    }
  };
}

const remove = single("without", () => undefined);
const empty = single("emptied", () => Buffer.alloc(0));
const flip = single("one byte flipped in", (bytes) => {
  const changed = Buffer.from(bytes);
  // A place that depends on the content, so that not all files are hit in the same one.
  const at = bytes.length === 0 ? 0 : bytes.reduce((sum, byte) => (sum * 31 + byte) % bytes.length, 7);
  changed[at] = (changed[at] ?? 0) ^ 0x01;
  return changed;
});

/** Each file of a family with the content of the next one of it. */
function* exchanged(store: Snapshot): Generator<Case> {
  for (const family of ["objects/", "signatures/", "blobs/", "refs/"]) {
    const paths = [...store.files.keys()].filter((path) => path.startsWith(family)).sort();
    for (const [at, path] of paths.entries()) {
      const other = store.files.get(paths[(at + 1) % paths.length] ?? path)?.bytes ?? Buffer.alloc(0);
      yield {
        what: `the content of the next file in ${path}`,
        paths: [path],
        harmless: isHarmless(path),
        damage: () => store.write(path, other),
      };
    }
  }
}

/** Each view with each value that its ref ever had; those of refs that are gone as well. */
async function olderViews(world: World): Promise<Case[]> {
  const values = new Map<string, Set<string>>();
  const store = await openStore(world.fixture.location, world.fixture.ports);
  for await (const { facts } of store.log.entries()) {
    for (const { ref, to } of facts.moves) {
      if (to === undefined) continue;
      values.set(ref, (values.get(ref) ?? new Set()).add(to));
    }
  }
  return [...values].flatMap(([path, held]) =>
    [...held].map((id) => {
      assert.ok(isDigest(id));
      const damage = (into: Snapshot): void => into.write(path, Buffer.from(`${id}\n`));
      return { what: `${path} says ${id}`, paths: [path], harmless: true, damage };
    }),
  );
}

function logPaths(store: Snapshot): string[] {
  return [...store.files.keys()].filter((path) => path.startsWith("log/")).sort();
}

function* swappedEntries(store: Snapshot): Generator<Case> {
  const paths = logPaths(store);
  for (const [at, older] of paths.entries()) {
    for (const newer of paths.slice(at + 1)) {
      const [first, second] = [store.files.get(older)?.bytes, store.files.get(newer)?.bytes];
      assert.ok(first !== undefined && second !== undefined);
      yield {
        what: `${older} and ${newer} swapped`,
        paths: [older, newer],
        harmless: false,
        damage: () => {
          store.write(older, second);
          store.write(newer, first);
        },
      };
      yield {
        what: `${newer} replaced by ${older}`,
        paths: [newer],
        harmless: false,
        damage: () => store.write(newer, first),
      };
    }
  }
}

test("no damage turns a no into a yes", { timeout: 600_000 }, async (t) => {
  const world = await makeWorld(t);
  const began = performance.now();

  await t.test("the intact store answers as its story goes", () => {
    for (const name of NAMES) {
      const answer = world.intact.get(`resolve ${name}`) ?? "";
      assert.equal(answer.startsWith("yes "), TRUSTED.includes(name), `${name}: ${answer}`);
    }
    for (const name of FORBIDDEN) assert.equal(world.intact.get(`promote ${name}`), "REVOKED");
    assert.equal(world.intact.get("page"), `yes ${TRUSTED.join(" ")}`);
    assert.equal(world.intact.get("serve the revoked blob"), "no such file");
    assert.equal(world.intact.get("serve the shared blob"), `yes ${world.sharedBlob}`);
    assert.equal(world.intact.get("resolve acme/fallen@main"), "REVOKED");
    assert.deepEqual(world.found, []);
  });

  const suites: readonly (readonly [string, (store: Snapshot) => Iterable<Case>])[] = [
    ["each file removed", remove],
    ["each file emptied", empty],
    ["one byte of each file flipped", flip],
    ["each file with the content of another", exchanged],
    ["each two log entries swapped, each replaced by each older one", swappedEntries],
  ];
  for (const [name, cases] of suites) {
    await t.test(name, async (sub) => {
      const { count, denied } = await runAll(world, cases(world.store), cases === remove);
      assert.ok(denied > 0, "expected some damage to be noticed");
      sub.diagnostic(`${count} cases, ${denied} of them answered with less than the intact store`);
    });
  }

  await t.test("each view with each older value", async (sub) => {
    const { count } = await runAll(world, await olderViews(world));
    sub.diagnostic(`${count} cases`);
  });

  await t.test("an end of the log cut off is noticed by memory; without memory nobody is told otherwise", async () => {
    const paths = logPaths(world.store);
    for (const [at] of paths.entries()) {
      if (at === 0) continue;
      for (const path of paths.slice(at)) world.store.remove(path);
      assert.deepEqual([...(await askAll(world))], [["open", "LOG_BEHIND_MEMORY"]], `from ${paths[at]}`);
      const store = await openStore({ ...world.fixture.location, memory: false }, world.fixture.ports);
      const head = await store.head();
      for (const name of NAMES) {
        const verdict = await judge(store, head, parseName(name), await readPolicies(store, head));
        const told = verdict.notEstablished.some(({ id }) => id === "rollback");
        assert.ok(!verdict.trusted || told, `${name} at entry ${head.number}`);
      }
      world.store.restore();
    }
  });

  await t.test("each file of the state folder removed", async () => {
    for (const path of world.state.files.keys()) {
      world.state.remove(path);
      const answers = await askAll(world);
      // Without the store key nothing can be promoted for another reason.
      const found = wrongs(world.intact, answers).filter((text) => !text.endsWith("became NO_STORE_KEY"));
      assert.deepEqual(found, [], path);
      world.state.restore();
      assert.deepEqual(world.store.restore(), []);
    }
  });

  await t.test("the same through the CLI", () => throughCli(world));
  t.diagnostic(`${world.store.files.size} files; ${((performance.now() - began) / 1000).toFixed(1)} s`);
});

/** A handful of the cases as a user would meet them. */
async function throughCli({ fixture, store, state, revokedBlob, intact }: World): Promise<void> {
  const own = join(fixture.location.stateHome, fixture.store.id);
  const flags = ["--store", fixture.location.root, "--secrets", own, "--state", own];
  const where = { home: join(fixture.folder, "home") };
  const revocation = [...store.files.keys()].find((path) => path === `refs/revoked/sha256/${revokedBlob}/blob`);
  assert.ok(revocation !== undefined);
  const list = store.files.get(revocation)?.bytes.toString("latin1").trim() ?? "";
  const statement = store.files.get("refs/revoked/acme/bad/main")?.bytes.toString("latin1").trim() ?? "";
  const paths = [
    ...[list, statement].map((id) => `objects/${id.slice(0, 2)}/${id.slice(2)}`),
    ...[...store.files.keys()].filter((path) =>
      path.startsWith(`signatures/${statement.slice(0, 2)}/${statement.slice(2)}`),
    ),
    logPaths(store).at(-1) ?? "",
    "local/head",
  ];
  assert.equal(paths.length, 5);
  for (const path of paths) {
    store.remove(path);
    for (const name of FORBIDDEN) {
      const { status, stdout, stderr } = await runCli(["promote", name, ...flags], where);
      assert.match(stderr, /\[(REVOKED|CORRUPT|LOG_BEHIND_MEMORY)\]/, path);
      assert.ok(status === 3 || status === 5, `${path}: ${status}`);
      assert.equal(stdout, "");
    }
    const { status } = await runCli(["resolve", "acme/fallen", ...flags], where);
    assert.ok(status === 3 || status === 5, path);
    const checked = await runCli(["fsck", ...flags], where);
    // 5: damage; 3: the store is behind memory as a whole; the hint alone is missed by nobody.
    const expected = path.startsWith("log/") ? 3 : path === "local/head" ? 0 : 5;
    assert.equal(checked.status, expected, checked.stderr);
    assert.equal(checked.stderr.includes("[LOG_BEHIND_MEMORY]"), path.startsWith("log/"), checked.stderr);
    store.restore();
    state.restore();
  }
  for (const name of TRUSTED) {
    const { status, stderr } = await runCli(["resolve", name, ...flags], where);
    assert.equal(status, 0, `${intact.get(`resolve ${name}`)}: ${stderr}`);
  }
}
