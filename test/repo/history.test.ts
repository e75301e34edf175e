// SPDX-License-Identifier: Apache-2.0
/** The log in words, and verdicts as of an entry: what is told of the past is what was said then. */
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { entryPath } from "../../src/refs/log-layout.ts";
import { EVENTS, type HistoryRequest, history, type LogRecord } from "../../src/repo/history.ts";
import { list } from "../../src/repo/list.ts";
import { promote } from "../../src/repo/promote.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { answer } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { holdersOf } from "../../src/repo/stored.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const OTHER = parseName("acme/other");
const FILES = { "model.safetensors": makeSafetensors(300, 1) };

async function collect(store: Store, request: HistoryRequest = {}): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for await (const record of history(store, request)) records.push(record);
  return records;
}

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return error.code;
  }
}

const told = ({ events }: LogRecord): string[] =>
  events.map(({ name = "-", from, to, signedBy }) => `${name} ${from ?? "nothing"} ${to} ${signedBy.join("+")}`.trim());

describe("history", () => {
  test("tells what went from what to what, and who signed; a name's entries only, on request", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.add(OTHER.text, { "README.md": Buffer.from("# other\n") });
    fixture.nowS += 1;
    const renewed = await fixture.propose(NAME.text);
    await reject(fixture.store, await planReject(fixture.store, { name: NAME }), "no", fixture.signers.bob);
    await fixture.revoke(NAME.text, "leak");
    const records = await collect(fixture.store);
    assert.deepEqual(
      records.map(({ number }) => number),
      [8, 7, 6, 5, 4, 3, 2, 1],
    );
    assert.deepEqual(records.flatMap(told), [
      "acme/tiny@main trusted revoked carol",
      "acme/tiny@main nothing refused bob",
      "acme/tiny@main nothing proposed alice",
      "acme/other@main nothing quarantined",
      "acme/tiny@main proposed trusted alice+bob",
      "acme/tiny@main nothing proposed alice",
      "acme/tiny@main nothing quarantined",
      "- nothing policy",
    ]);
    assert.deepEqual([records[0]?.events[0]?.reason, records[1]?.events[0]?.reason], ["leak", "no"]);
    assert.equal(records[2]?.events[0]?.id, renewed);
    const ours = await collect(fixture.store, { name: NAME });
    assert.deepEqual(
      ours.map(({ number }) => number),
      [8, 7, 6, 4, 3, 2],
    );
    const from = await collect(fixture.store, { name: OTHER, from: 6 });
    assert.deepEqual(
      from.map(({ number }) => number),
      [5],
    );
    assert.deepEqual(await collect(fixture.store, { name: OTHER, from: 4 }), []);
    assert.equal(await codeOf(() => collect(fixture.store, { from: 9 })), "ENTRY_NOT_FOUND");
  });

  test("what can no longer be read is said in its place, and the rest is told", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    const head = await fixture.store.head();
    const statement = (await head.readRef(nameRef("trusted", NAME))) ?? assert.fail("trusted");
    rmSync(join(fixture.location.root, objectPath(statement)));
    const [promoted, proposed, added] = await collect(await fixture.open());
    assert.match(promoted?.events[0]?.damage ?? "", /missing.*\[CORRUPT\]/);
    assert.match(proposed?.events[0]?.damage ?? "", /missing.*\[CORRUPT\]/);
    assert.deepEqual(added?.events[0]?.damage, undefined);
  });

  test("an entry that is missing, or another one in its place, ends it as damage", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    const root = fixture.location.root;
    const third = join(root, entryPath(3));
    const kept = readFileSync(third);
    chmodSync(third, 0o644);
    copyFileSync(join(root, entryPath(2)), third);
    assert.equal(await codeOf(async () => collect(await fixture.open())), "CORRUPT");
    assert.equal(await codeOf(async () => (await fixture.open()).viewAt(3)), "CORRUPT");
    writeFileSync(third, kept);
    assert.equal(await codeOf(async () => collect(await fixture.open())), "done");
  });

  test("an entry that moved very many names is told in part", async (t) => {
    const fixture = await makeStoreFixture(t);
    const { manifest } = await fixture.add(NAME.text, FILES);
    const names = Array.from({ length: EVENTS + 7 }, (_, at) => parseName(`acme/m${String(at).padStart(3, "0")}`));
    await fixture.store.commit(async () => ({
      moves: names.map((name) => ({ ref: nameRef("quarantined", name), to: manifest })),
    }));
    const [record] = await collect(fixture.store);
    assert.deepEqual([record?.events.length, record?.moreEvents], [EVENTS, 7]);
    assert.equal(record?.events[0]?.name, "acme/m000@main");
  });
});

describe("as of an entry", () => {
  test("every answer is the one that was given then, at the time of the entry, whatever came later", async (t) => {
    const fixture = await makeStoreFixture(t);
    const said = new Map<number, unknown>();
    const note = async (): Promise<void> => {
      const { verdict } = await answer(fixture.store, NAME);
      const { number } = await fixture.store.head();
      const { trusted, standing, statement, manifest, everTrusted, approvers } = verdict;
      const codes = verdict.reasons.map(({ code }) => code);
      const listed = (await list(fixture.store)).names.map(({ name, state }) => `${name.text} ${state}`);
      said.set(number, { trusted, standing, statement, manifest, everTrusted, approvers, codes, listed });
    };
    await note();
    await fixture.add(NAME.text, FILES);
    await note();
    const statement = await fixture.propose(NAME.text, "2026-11-24T10:00:00Z");
    await fixture.approve(NAME.text, statement, "alice", "bob");
    await fixture.trust(OTHER.text, { "README.md": Buffer.from("# other\n") });
    await note();
    await promote(fixture.store, [NAME]);
    await note();
    await reject(
      fixture.store,
      await planReject(fixture.store, { name: NAME, statement: statement.slice(0, 12) }),
      "no",
      fixture.signers.bob,
    );
    await note();
    fixture.nowS += 3600;
    await fixture.revoke(NAME.text);
    await note();
    fixture.nowS += 400 * 24 * 3600; // by now everything has ended and is stale
    const store = await fixture.open();
    assert.ok(said.size >= 6);
    for (const [number, then] of said) {
      const view = await store.viewAt(number);
      const { verdict } = await answer(store, NAME, view);
      const { trusted, standing, statement: decided, manifest, everTrusted, approvers } = verdict;
      const codes = verdict.reasons.map(({ code }) => code);
      const listed = (await list(store, { at: view })).names.map(({ name, state }) => `${name.text} ${state}`);
      assert.deepEqual(
        { trusted, standing, statement: decided, manifest, everTrusted, approvers, codes, listed },
        then,
        `entry ${number}`,
      );
      assert.equal(verdict.validUntil, undefined, "time changes it no more");
    }
    assert.equal((await answer(store, NAME)).verdict.trusted, false);
  });

  test("looking back leaves no trace in what this machine remembers", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    // Another machine: promoting has raised the clock floor of this one.
    const store = await openStore({ ...fixture.location, state: join(fixture.folder, "fresh") }, fixture.ports);
    await answer(store, NAME, await store.viewAt((await store.head()).number));
    assert.equal(store.memoryFacts().floorS, undefined);
    await answer(store, NAME);
    assert.notEqual(store.memoryFacts().floorS, undefined, "an answer about now does");
  });
});

test("a blob and a manifest are held by the names that say so", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest, files } = await fixture.trust(NAME.text, FILES);
  await fixture.add(OTHER.text, { ...FILES, "README.md": Buffer.from("# other\n") });
  const [file = assert.fail("one file")] = files;
  const blob = await holdersOf(fixture.store, "blob", file.sha256);
  assert.deepEqual(
    blob.map(({ name, families, path }) => [name.text, families, path]),
    [
      ["acme/other@main", ["quarantined"], "model.safetensors"],
      ["acme/tiny@main", ["trusted"], "model.safetensors"],
    ],
  );
  const whole = await holdersOf(fixture.store, "manifest", manifest);
  assert.deepEqual(
    whole.map(({ name, families }) => [name.text, families]),
    [["acme/tiny@main", ["trusted"]]],
  );
});
