// SPDX-License-Identifier: Apache-2.0
/** Whoever holds the store key can commit refs that lie. fsck names each, and no name is trusted by it. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { evidenceRef, nameRef, type RefPath, refusedRef, revokedRef } from "../../src/base/ref-path.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { readList } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const ONE = parseName("acme/one");
const TWO = parseName("acme/two");
const LIE = parseName("acme/lie");

async function holds({ store }: StoreFixture, ref: RefPath): Promise<Digest> {
  const id = await (await store.head()).readRef(ref);
  assert.ok(id !== undefined, ref);
  return id;
}

async function commit({ store }: StoreFixture, ref: RefPath, held: Digest | readonly Digest[]): Promise<void> {
  await store.commit(async () => {
    const batch = store.batch();
    if (typeof held === "string") return { moves: [{ ref, to: held }], batch };
    const list = makeList(held);
    batch.addObject(list);
    return { moves: [{ ref, to: list.id }], batch };
  });
}

/** What fsck says of one ref. */
async function said(fixture: StoreFixture, ref: RefPath): Promise<string> {
  const { problems } = await fsck(await fixture.open());
  return problems
    .filter(({ where }) => where === ref)
    .map(({ code, text }) => `${code} ${text}`)
    .join("; ");
}

test("fsck names every ref that holds what is not its own", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/one", { "a.safetensors": makeSafetensors(1000, 1) });
  const other = await fixture.trust("acme/two", { "a.safetensors": makeSafetensors(1000, 2) });
  const trusted = await holds(fixture, nameRef("trusted", ONE));
  assert.equal((await fsck(fixture.store)).exit, 0);

  for (const family of ["proposed", "deleting", "revoking"] as const) {
    await commit(fixture, nameRef(family, LIE), trusted);
    assert.match(await said(fixture, nameRef(family, LIE)), /^CORRUPT holds a statement for refs\/trusted\/acme\/one/);
  }
  await commit(fixture, nameRef("trusted", LIE), trusted);
  const lie = await said(fixture, nameRef("trusted", LIE));
  assert.match(lie, /CORRUPT/);

  await commit(fixture, revokedRef(manifest, "manifest"), [trusted]);
  assert.match(
    await said(fixture, revokedRef(manifest, "manifest")),
    /^CORRUPT statement [0-9a-f]{12} does not revoke it$/,
  );

  const evidence = await readList(fixture.store, await holds(fixture, evidenceRef(other.manifest)), "evidence");
  await commit(fixture, evidenceRef(manifest), evidence);
  assert.match(await said(fixture, evidenceRef(manifest)), /^CORRUPT evidence [0-9a-f]{12} is about another manifest$/);
});

test("fsck names a refusal under another statement, and evidence that has lost its signatures", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/one", { "a.safetensors": makeSafetensors(1000, 1) });
  await fixture.trust("acme/two", { "a.safetensors": makeSafetensors(1000, 2) });
  await reject(fixture.store, await planReject(fixture.store, { name: ONE }), "no", fixture.signers.bob);
  const [one, two] = [await holds(fixture, nameRef("trusted", ONE)), await holds(fixture, nameRef("trusted", TWO))];
  const refusals = await readList(fixture.store, await holds(fixture, refusedRef(one)), "refusals");
  await commit(fixture, refusedRef(two), refusals);
  assert.match(await said(fixture, refusedRef(two)), /^CORRUPT refusal [0-9a-f]{12} is about another statement/);

  const [evidence] = await readList(fixture.store, await holds(fixture, evidenceRef(manifest)), "evidence");
  assert.ok(evidence !== undefined);
  const folder = join(fixture.location.root, "signatures", evidence.slice(0, 2));
  for (const name of readdirSync(folder)) if (name.startsWith(evidence.slice(2))) rmSync(join(folder, name));
  assert.match(await said(fixture, evidenceRef(manifest)), /^CORRUPT evidence [0-9a-f]{12} has lost its signatures$/);
});

test("fsck tells damage by its bytes, and leaves what somebody else put there", async (t) => {
  const fixture = await makeStoreFixture(t);
  const bytes = makeSafetensors(1000, 1);
  await fixture.trust("acme/one", { "a.safetensors": bytes });
  const { root } = fixture.location;
  const blob = sha256(bytes);
  const path = `blobs/${blob.slice(0, 2)}/${blob.slice(2)}`;
  rmSync(join(root, path));
  assert.deepEqual(
    (await fsck(fixture.store)).problems.map(({ where }) => where).filter((where) => where === path),
    [path],
  );
  writeFileSync(join(root, path), "other bytes");
  const folder = join(root, "objects", "ab");
  mkdirSync(folder, { recursive: true });
  const wrong = "c".repeat(62);
  writeFileSync(join(folder, wrong), "{}\n");
  writeFileSync(join(folder, ".nfs0123456789abcdef"), "");
  mkdirSync(join(root, "signatures", "ab"), { recursive: true });
  writeFileSync(join(root, "signatures", "ab", ".nfs0123456789abcdef"), "");
  writeFileSync(join(root, "signatures", "ab", "note"), "");
  const { problems, notes, exit } = await fsck(fixture.store);
  assert.equal(exit, 5);
  const told = new Map(problems.map(({ where, text }) => [where, text]));
  assert.match(told.get(path) ?? "", /its bytes are those of [0-9a-f]{12}/);
  assert.match(told.get(`objects/ab/${wrong}`) ?? "", /its bytes are those of [0-9a-f]{12}/);
  assert.ok(notes.some((note) => note.startsWith("objects/ab/.nfs")));
  assert.ok(notes.includes("signatures/ab/note is not a signature"));
  assert.ok(!notes.some((note) => note.startsWith("signatures/ab/.nfs")));
});

test("an account that only reads tells what differs, and changes nothing", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one", { "a.safetensors": makeSafetensors(1000, 1) });
  const own = join(fixture.location.stateHome, fixture.store.id, "store_key");
  renameSync(own, join(fixture.folder, "aside"));
  const view = join(fixture.location.root, "refs/trusted/acme/one/main");
  rmSync(view);
  const store = await fixture.open();
  assert.equal(store.readOnly, true);
  for (let times = 0; times < 2; times += 1) {
    const { repaired, notes, exit } = await fsck(store);
    assert.equal(exit, 0);
    assert.ok(repaired.includes("refs/trusted/acme/one/main"), repaired.join());
    assert.ok(notes.some((note) => note.startsWith("views differ from the log; this account cannot write")));
  }
});
