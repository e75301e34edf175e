// SPDX-License-Identifier: Apache-2.0
/** What a store does with files over their limit and with folders that a copy left out, and what fsck says of it. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { list } from "../../src/repo/list.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const TINY = { "model.safetensors": makeSafetensors(1000) };

/** Makes a file of the store larger than it may be; a hole, so it costs nothing. */
function grow(fixture: StoreFixture, path: string, limitBytes: number): void {
  const file = join(fixture.location.root, path);
  chmodSync(file, 0o644);
  truncateSync(file, limitBytes + 1);
}

/** The path of each object that is there. */
function objects({ location }: StoreFixture): string[] {
  return readdirSync(join(location.root, "objects")).flatMap((first) =>
    readdirSync(join(location.root, "objects", first)).map((rest) => `objects/${first}/${rest}`),
  );
}

test("an object over its limit is damage: for who resolves, and for fsck, which names it", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/tiny", TINY);
  const path = `objects/${manifest.slice(0, 2)}/${manifest.slice(2)}`;
  assert.ok(objects(fixture).includes(path));
  grow(fixture, path, LIMITS.documentBytes);
  const store = await fixture.open();
  await assert.rejects(resolve(store, parseName("acme/tiny")), { code: "CORRUPT" });
  const { problems, exit } = await fsck(store);
  assert.equal(exit, 5);
  assert.ok(problems.some(({ code, where }) => code === "CORRUPT" && where === path));
  assert.ok(problems.every(({ code }) => code !== "LIMIT_EXCEEDED"));
});

test("a log entry over its limit is damage: for list, and for fsck", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", TINY);
  const store = await fixture.open();
  const { number } = (await store.log.findHead()).facts;
  grow(fixture, `log/000000/${String(number).padStart(12, "0")}`, LIMITS.logEntryBytes);
  await assert.rejects(list(store), { code: "CORRUPT" });
  const { problems, exit } = await fsck(store);
  assert.equal(exit, 5);
  assert.ok(problems.length > 0);
  assert.deepEqual(new Set(problems.map(({ code }) => code)), new Set(["CORRUPT"]));
  await assert.rejects(fixture.open(), { code: "CORRUPT" });
});

test("a coffer.json over its limit is damage", async (t) => {
  const fixture = await makeStoreFixture(t);
  grow(fixture, "coffer.json", 64 * 1024);
  await assert.rejects(fixture.open(), { code: "CORRUPT" });
});

for (const lost of ["local", "local/tmp"]) {
  test(`a copy without ${lost}: who can write has it again, and fsck says so`, async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", TINY);
    rmSync(join(fixture.location.root, lost), { recursive: true });
    const reader = await openStore({ ...fixture.location, secrets: join(fixture.folder, "none") }, fixture.ports);
    assert.ok(reader.readOnly);
    const seen = await fsck(reader);
    assert.deepEqual([seen.exit, seen.notes.length], [0, lost === "local" ? 2 : 1]);
    if (lost === "local") assert.match(seen.notes[1] ?? "", /local\/reserve holds 0 of 64 pieces/);
    assert.match(seen.notes[0] ?? "", /local\/tmp is missing/);
    assert.ok(!existsSync(join(fixture.location.root, lost)), "who only reads makes nothing");
    const writer = await fixture.open();
    const { notes, exit } = await fsck(writer);
    assert.deepEqual([exit, notes.length], [0, lost === "local" ? 2 : 1]);
    assert.match(notes[0] ?? "", /local\/tmp was missing/);
    await fixture.add("acme/other", { "model.safetensors": makeSafetensors(1000, 2) });
    assert.deepEqual((await fsck(await fixture.open())).notes, []);
  });
}

test("where local/tmp cannot be made the store can still be read, and fsck notes it", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/tiny", TINY);
  rmSync(join(fixture.location.root, "local/tmp"), { recursive: true });
  const openFolder = (path: string): Files => {
    const files = openRealFiles(path);
    files.makeFolder = () => Promise.reject(new CofferError("IO_ERROR", "a read-only medium"));
    return files;
  };
  const store = await openStore(fixture.location, { ...fixture.ports, openFolder });
  assert.equal((await resolve(store, parseName("acme/tiny"))).manifest.id, manifest);
  assert.match((await fsck(store)).notes.join(), /local\/tmp is missing/);
  assert.ok(!store.mendedTemp);
});

test("an index that is no good is told and made anew by who may write, and is never damage", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", TINY);
  const { number } = (await (await fixture.open()).log.findHead()).facts;
  const index = join(fixture.location.root, "local/index");
  const spoil = (): void => {
    mkdirSync(index, { recursive: true });
    writeFileSync(join(index, `0-${number}-0.end`), "no index");
  };
  spoil();
  const reader = await openStore({ ...fixture.location, secrets: join(fixture.folder, "none") }, fixture.ports);
  const seen = await fsck(reader);
  assert.deepEqual([seen.exit, seen.repaired, seen.problems], [0, [], []]);
  assert.ok(
    seen.notes.some((note) => note.includes("an account that writes mends it")),
    seen.notes.join(),
  );
  const mended = await fsck(await fixture.open());
  assert.deepEqual([mended.exit, mended.repaired], [0, ["local/index"]]);
  assert.deepEqual((await fsck(await fixture.open())).notes, []);
});

test("views that only a reader looks at are left as they are, and noted", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", TINY);
  const view = join(fixture.location.root, "refs/trusted/acme/tiny/main");
  writeFileSync(view, "something else");
  const reader = await openStore({ ...fixture.location, secrets: join(fixture.folder, "none") }, fixture.ports);
  const seen = await fsck(reader);
  assert.deepEqual([seen.exit, seen.repaired], [0, ["refs/trusted/acme/tiny/main"]]);
  assert.ok(seen.notes.some((note) => note.startsWith("views differ from the log")));
  assert.equal(readFileSync(view, "utf8"), "something else");
});
