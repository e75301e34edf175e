// SPDX-License-Identifier: Apache-2.0
/**
 * Several processes write to one store with no lock between them, on a real disk: nothing is lost, a revocation that is
 * committed meanwhile is overlooked by nobody, and readers see whole transactions only. Invariant 4.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Digest } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import type { LogEntry } from "../../src/refs/log-entry.ts";
import { propose } from "../../src/repo/candidates.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { openStore } from "../../src/repo/store.ts";
import { printed, runCli, startWorker } from "../support/cli-process.ts";
import { makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { DOOMED, LEFT, type Look, type Tried } from "../support/writer-process.ts";

const WRITERS = ["writer-a", "writer-b"] as const;
const COMMITS = 500;
const PROMOTE_EVERY = 25;
const CANDIDATES = 20;
/** Entries after which the revocation comes, out of 1,000 and more. */
const REVOKE_AFTER = 400;
/** Commits of a writer that are made however late it comes. */
const COMMITS_BEFORE = 400;
const MANIFESTS = 7;
const CLI_ROUNDS = 10;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const linesOf = <T>(stdout: string): T[] =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** A trusted name, some manifests for refs to hold, and for each writer candidates for the trusted name's bytes. */
async function prepare(fixture: StoreFixture) {
  await fixture.trust(DOOMED, { "README.md": bytes("# doomed\n") });
  const manifests: Digest[] = [];
  for (let number = 0; number < MANIFESTS; number += 1) {
    manifests.push((await fixture.add(`some/text@v${number}`, { "a.md": bytes(`# text ${number}\n`) })).manifest);
  }
  const candidates = new Map<string, string[]>(WRITERS.map((writer) => [writer, []]));
  for (const [writer, names] of candidates) {
    for (let number = 0; number < CANDIDATES; number += 1) {
      const name = parseName(`${writer}/again${number}@main`);
      const request = { name, from: parseName(DOOMED), signer: fixture.signers.alice, replace: false };
      const { statement } = await propose(fixture.store, request);
      await fixture.approve(name.text, statement.id, "alice", "bob");
      names.push(name.text);
    }
  }
  return { manifests, candidates };
}

/** Revokes the trusted name once the log is long enough: the number of the entry that did it, and lost races. */
async function revokeMeanwhile(fixture: StoreFixture, from: number): Promise<{ revocation: number; lost: number }> {
  let lost = 0;
  const sleep = async (ms: number): Promise<void> => {
    lost += 1;
    await wait(ms);
  };
  const store = await openStore(fixture.location, { ...fixture.ports, sleep });
  while ((await store.head()).number < from + REVOKE_AFTER) await wait(20);
  await fixture.revoke(DOOMED, "found to be harmful", store);
  const revoked = nameRef("revoked", parseName(DOOMED));
  for await (const { facts } of store.log.entries(from)) {
    if (facts.moves.some((move) => move.ref === revoked)) return { revocation: facts.number, lost };
  }
  assert.fail("the revocation is not in the log");
}

async function entriesOf(fixture: StoreFixture): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of (await fixture.open()).log.entries()) entries.push(entry);
  return entries;
}

test("1,000 commits of two processes, a revocation and a reader", { timeout: 600_000 }, async (t) => {
  const fixture = await makeStoreFixture(t);
  fixture.nowS = Math.floor(Date.now() / 1000); // the CLI asks the real clock
  const { location, nowS } = fixture;
  const { manifests, candidates } = await prepare(fixture);
  const before = (await fixture.store.head()).number;
  const where = { home: join(fixture.folder, "home") };
  const common = { location, nowS };

  const reader = startWorker("writer-process.ts", { role: "reader", ...common, reopenAfter: 50 }, where);
  await printed(reader, "stdout", /\n/);
  const began = performance.now();
  const writers = WRITERS.map((writer) => {
    const own = {
      writer,
      commits: COMMITS,
      manifests,
      candidates: candidates.get(writer),
      promoteEvery: PROMOTE_EVERY,
      revokedAfter: COMMITS_BEFORE,
    };
    return startWorker("writer-process.ts", { role: "writer", ...common, ...own }, where);
  });
  t.after(() => {
    for (const { child } of [reader, ...writers]) child.kill("SIGKILL");
  });
  // A writer that fails would leave the log too short for ever.
  const good = writers.map(async ({ ended }) => {
    const end = await ended;
    assert.equal(end.status, 0, end.stderr);
    return end;
  });
  const [{ revocation, lost }, ...ended] = await Promise.all([revokeMeanwhile(fixture, before), ...good]);
  const seconds = (performance.now() - began) / 1000;
  // However slow the reader is, it has a look at the end too.
  await printed(reader, "stdout", new RegExp(`"number":${(await fixture.store.head()).number},`));
  reader.child.kill("SIGTERM");
  const read = await reader.ended;
  assert.equal(read.status, 0, read.stderr);

  const entries = await entriesOf(fixture);
  const after = entries.slice(before);
  const tried = ended.flatMap(({ stdout }) => linesOf<Tried>(stdout));
  const looks = linesOf<Look>(read.stdout);
  const promoted = tried.filter(({ entry }) => entry !== undefined);

  await t.test("no commit is lost or made twice", async () => {
    const expected = WRITERS.flatMap((writer) => Array.from({ length: COMMITS }, (_, at) => `${writer} ${at + 1}`));
    const notes = after.map(({ facts }) => facts.note ?? "");
    const own = notes.filter((note) => note.startsWith("writer-"));
    assert.deepEqual(own.sort(), expected.sort());
    assert.equal(after.length, WRITERS.length * COMMITS + promoted.length + 1);
    assert.deepEqual(
      entries.map(({ facts }) => facts.number),
      entries.map((_, at) => at + 1),
    );
    for (const { facts } of after.filter((entry) => entry.facts.note?.startsWith("writer-"))) {
      assert.equal(facts.moves.length, 3);
    }
  });

  await t.test("each commit was made on the state that the one before left", async () => {
    const held = new Map<string, string | undefined>();
    for (const { facts } of entries) {
      for (const { ref, from, to } of facts.moves) {
        assert.equal(from, held.get(ref), `entry ${facts.number} moves ${ref}`);
        held.set(ref, to);
      }
    }
    const head = await (await fixture.open()).head();
    const refs = new Map<string, string>();
    for await (const [ref, id] of head.listRefs()) refs.set(ref, id);
    const standing = [...held].filter(([, id]) => id !== undefined);
    assert.deepEqual([...refs].sort(), standing.sort());
    // 1,000 steps through 7 manifests, from none at first.
    assert.equal(
      refs.get(nameRef("quarantined", parseName(LEFT))),
      manifests[(WRITERS.length * COMMITS - 1) % MANIFESTS],
    );
  });

  await t.test("the revocation is overlooked by no reader and by no promotion", () => {
    assert.equal(tried.length, WRITERS.length * CANDIDATES);
    assert.ok(promoted.length > 0, "expected some promotions before the revocation");
    assert.ok(promoted.length < tried.length, "expected some promotions after the revocation");
    for (const { name, entry, code } of tried) {
      if (entry === undefined) assert.equal(code, "REVOKED", name);
      else assert.ok(entry < revocation, `${name} was promoted by entry ${entry}, after revocation ${revocation}`);
    }
    for (const { facts } of entries.slice(revocation)) {
      const risen = facts.moves.filter(({ ref, to }) => ref.startsWith("refs/trusted/") && to !== undefined);
      assert.deepEqual(risen, [], `entry ${facts.number}`);
    }
    for (const { number, trusted, code } of looks) {
      assert.equal(trusted, number < revocation, `at entry ${number}; the revocation is entry ${revocation}`);
      if (!trusted) assert.equal(code, "REVOKED");
    }
    assert.ok(looks.some(({ number }) => number < revocation) && looks.some(({ number }) => number > revocation));
  });

  await t.test("a reader never sees half of a move, nor an older head after a newer one", () => {
    for (const { number, left, right } of looks) assert.equal(left, right, `at entry ${number}`);
    assert.ok(new Set(looks.map(({ left }) => left)).size > 1, "expected to see the pair move");
    for (const [at, { number }] of looks.entries()) assert.ok(at === 0 || number >= (looks[at - 1]?.number ?? 0));
  });

  await t.test("the chain is whole, the views are as the log says, and fsck finds no damage", async () => {
    const report = await fsck(await fixture.open());
    // The names that were promoted before the revocation still stand there, and are denied.
    assert.deepEqual(report.problems, []);
    const denied = report.notes.map((note) => note.split(" is denied: ")[0]);
    assert.deepEqual(denied.sort(), promoted.map(({ name }) => parseName(name).text).sort());
    assert.deepEqual(report.repaired, []);
    assert.equal(report.checked.entries, entries.length);
  });

  await t.test("twenty more through the CLI, two processes at a time", async () => {
    const cli = { home: join(fixture.folder, "cli") };
    const flags = ["--store", location.root, "--secrets", stateOf(fixture), "--state", stateOf(fixture)];
    for (let round = 0; round < CLI_ROUNDS; round += 1) {
      const runs = WRITERS.map((who) => {
        const source = join(fixture.folder, `${who}-${round}.md`);
        writeFileSync(source, `# ${who}, round ${round}\n`);
        return runCli(["add", source, "--name", `cli/${who}@r${round}`, ...flags], cli);
      });
      for (const { status, stderr } of await Promise.all(runs)) assert.equal(status, 0, stderr);
    }
    const store = await fixture.open();
    const head = await store.head();
    assert.equal(head.number, entries.length + WRITERS.length * CLI_ROUNDS);
    for (const who of WRITERS) {
      for (let round = 0; round < CLI_ROUNDS; round += 1) {
        assert.notEqual(await head.readRef(nameRef("quarantined", parseName(`cli/${who}@r${round}`))), undefined);
      }
    }
    const checked = await runCli(["fsck", ...flags], cli);
    assert.equal(checked.status, 0, checked.stderr); // names that fell with the revocation are told, and are no damage
  });

  t.diagnostic(
    `${after.length} entries in ${seconds.toFixed(1)} s; revocation at entry ${revocation} after ${lost} lost races; ` +
      `${promoted.length} of ${tried.length} promotions before it; ${looks.length} heads read`,
  );
});

function stateOf(fixture: StoreFixture): string {
  return join(fixture.location.stateHome, fixture.store.id);
}
