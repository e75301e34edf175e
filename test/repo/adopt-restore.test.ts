// SPDX-License-Identifier: Apache-2.0
/** Backups, copies and forks of one store on one machine, and the way on. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { add } from "../../src/repo/add.ts";
import { type Adopted, adoptRestore, examineRestore } from "../../src/repo/adopt-restore.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { STAGE } from "../../src/repo/log-swap.ts";
import type { StoreLocation } from "../../src/repo/ports.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const weights = (seed: number): Record<string, Uint8Array> => ({ "model.safetensors": makeSafetensors(1000, seed) });

function refused(promise: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  return assert.rejects(promise, (error) => isCofferError(error, ...codes));
}

interface Scene {
  readonly fixture: StoreFixture;
  /** The head that the backup ends with. */
  readonly head: string;
  adopt(more?: { readonly head?: string; readonly acceptLostRevocations?: boolean }): Promise<Adopted>;
}

/**
 * Two trusted models, a backup, then acme/bad is revoked; then the backup is put back.
 * @param what - "log": only the log is the older one, all other files are newer; "all": the whole folder
 */
async function makeRestored(t: TestContext, what: "log" | "all", changes: Partial<StoreLocation> = {}): Promise<Scene> {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/good", weights(1));
  await fixture.trust("acme/bad", weights(2));
  const { root } = fixture.location;
  const { id: head } = await fixture.store.head();
  const backup = join(fixture.folder, "backup");
  cpSync(root, backup, { recursive: true });
  await fixture.revoke("acme/bad", "poisoned");
  const folder = what === "all" ? "." : "log";
  rmSync(join(root, folder), { recursive: true });
  cpSync(join(backup, folder), join(root, folder), { recursive: true });
  const location = { ...fixture.location, ...changes };
  return {
    fixture,
    head,
    adopt: (more = { head, acceptLostRevocations: true }) =>
      adoptRestore(location, { acceptLostRevocations: false, ...more }, fixture.ports),
  };
}

const trusted = async (store: Store, name: string): Promise<boolean> =>
  (await resolve(store, parseName(name))).verdict.trusted;

test("a restore is refused, and so is adopting it without saying from where and at what loss", async (t) => {
  const { fixture, head, adopt } = await makeRestored(t, "all");
  await refused(fixture.open(), "LOG_BEHIND_MEMORY");
  const tree = readdirSync(fixture.location.root, { recursive: true }).sort();
  for (const more of [
    {},
    { head },
    { acceptLostRevocations: true },
    { head: head.slice(0, 11), acceptLostRevocations: true },
    { head: fixture.store.id, acceptLostRevocations: true },
  ]) {
    await assert.rejects(adopt(more), (error) => {
      assert.ok(isCofferError(error, "RESTORE_UNCONFIRMED"));
      assert.ok(error.details.some((line) => line.includes(head)));
      assert.ok(error.details.some((line) => /^lost: entries \d+ to \d+.*every revocation in them$/.test(line)));
      return true;
    });
  }
  assert.deepEqual(readdirSync(fixture.location.root, { recursive: true }).sort(), tree, "nothing was touched");
  await refused(fixture.open(), "LOG_BEHIND_MEMORY");
});

test("what a restore lost of revocations, and is still signed on disk, is listed by name", async (t) => {
  const { fixture, adopt } = await makeRestored(t, "log");
  await assert.rejects(adopt({}), (error) => {
    assert.ok(isCofferError(error, "RESTORE_UNCONFIRMED"));
    assert.ok(
      error.details.some((line) => line.startsWith("acme/bad@main was revoked at ")),
      error.details.join(),
    );
    assert.equal(error.details.at(-1), "revoke these again once the restore is adopted");
    return true;
  });
  const { loose, lost, restored } = await examineRestore(fixture.location, fixture.ports);
  assert.deepEqual(
    loose.map(({ name, state, reason }) => ({ name, state, reason })),
    [{ name: "acme/bad@main", state: "revoked", reason: "poisoned" }],
  );
  assert.ok(lost.every(({ number }) => number > restored.number));
  const whole = await makeRestored(t, "all");
  assert.deepEqual((await examineRestore(whole.fixture.location, whole.fixture.ports)).loose, []);
});

test("a restore goes on as a store of its own, with the same state, and the old log beside it", async (t) => {
  const { fixture, head, adopt } = await makeRestored(t, "all");
  const { root } = fixture.location;
  const entries = readdirSync(join(root, "log", "000000"));
  const root0 = (await openStore({ ...fixture.location, memory: false }, fixture.ports).then((s) => s.head())).root;
  fixture.nowS += 60;
  const done = await adopt({ head: head.slice(0, 12), acceptLostRevocations: true });
  assert.notEqual(done.newStoreId, done.storeId);
  const store = await fixture.open();
  assert.equal(store.id, done.newStoreId);
  assert.deepEqual(store.memoryFacts().known, true, "it is remembered from the first moment");
  assert.equal((await store.head()).root, root0, "the state is that of the restored head");
  assert.equal(await trusted(store, "acme/good"), true);
  assert.deepEqual(readdirSync(join(root, done.former, "000000")), entries);
  const first = await store.log.readEntry(1);
  assert.ok(first?.facts.note?.includes(`follows store ${done.storeId} at entry ${done.restored.number} ${head}`));
  for (const seen of done.lost) assert.ok(first?.facts.note?.includes(seen.head));
  const report = await fsck(store);
  assert.equal(report.exit, 0);
  assert.ok(report.notes.some((note) => note.startsWith("the log began after a restore")));
  assert.equal(existsSync(join(root, STAGE)), false);
  await fixture.revoke("acme/bad", "again", store);
  await refused(trusted(await fixture.open(), "acme/bad"), "REVOKED");
  await refused(adopt(), "USAGE");
});

test("the newer log, should it turn up, is another store that is known as ever", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/bad", weights(2));
  const { root } = fixture.location;
  const [backup, newer] = [join(fixture.folder, "backup"), join(fixture.folder, "newer")];
  cpSync(root, backup, { recursive: true });
  await fixture.revoke("acme/bad");
  cpSync(root, newer, { recursive: true });
  rmSync(root, { recursive: true });
  renameSync(backup, root);
  const { head } = (await examineRestore(fixture.location, fixture.ports)).restored;
  const done = await adoptRestore(fixture.location, { head, acceptLostRevocations: true }, fixture.ports);
  const found = await openStore({ ...fixture.location, root: newer }, fixture.ports);
  assert.equal(found.id, done.storeId);
  await refused(trusted(found, "acme/bad"), "REVOKED");
});

test("a copy that fell behind the other is refused, and can be adopted as a store of its own", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { location, ports } = fixture;
  const copy = { ...location, root: join(fixture.folder, "copy.coffer") };
  cpSync(location.root, copy.root, { recursive: true });
  assert.equal((await openStore(copy, ports)).id, fixture.store.id);
  await fixture.trust("acme/one", weights(1)); // in the first
  await refused(openStore(copy, ports), "LOG_BEHIND_MEMORY");
  const { restored, lost } = await examineRestore(copy, ports);
  assert.equal(restored.number, 1);
  assert.ok(lost.length > 0);
  const done = await adoptRestore(copy, { head: restored.head, acceptLostRevocations: true }, ports);
  assert.equal((await openStore(copy, ports)).id, done.newStoreId);
  assert.equal((await fixture.open()).id, done.storeId, "the other goes on as it was");
});

test("a store whose two copies both committed the same number is refused by name in both", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { location, ports } = fixture;
  const copy = { ...location, root: join(fixture.folder, "copy.coffer") };
  cpSync(location.root, copy.root, { recursive: true });
  const two = await openStore(copy, ports);
  await fixture.add("acme/one", weights(1));
  assert.deepEqual(fixture.store.warnings, []);
  const sources = readdirSync(fixture.folder).find((name) => name.startsWith("source-")) ?? "";
  const files = [
    { path: parseManifestPath("m.safetensors"), folder: join(fixture.folder, sources), file: "model.safetensors" },
  ];
  await add(two, { name: parseName("acme/two"), files, keep: false });
  assert.match(two.warnings.join(), /forked/);
  for (const at of [location, copy]) {
    await assert.rejects(openStore(at, ports), (error) => {
      assert.ok(isCofferError(error, "LOG_BEHIND_MEMORY"));
      assert.match(error.message, /forked/);
      return true;
    });
  }
  const { restored, lost } = await examineRestore(copy, ports);
  assert.equal(lost.length, 1, "the other copy's entry of that number");
  await adoptRestore(copy, { head: restored.head, acceptLostRevocations: true }, ports);
  assert.equal((await (await openStore(copy, ports)).head()).number, 2);
});

test("a state folder of its own follows the adoption, also when that was stopped before", async (t) => {
  const fixture = await makeStoreFixture(t);
  const own = join(fixture.folder, "own");
  const location = { ...fixture.location, state: own, secrets: join(fixture.folder, "state", fixture.store.id) };
  const open = (): Promise<Store> => openStore(location, fixture.ports);
  const backup = join(fixture.folder, "backup");
  cpSync(location.root, backup, { recursive: true });
  await fixture.trust("acme/bad", weights(2));
  await (await open()).head();
  rmSync(location.root, { recursive: true });
  renameSync(backup, location.root);
  await refused(open(), "LOG_BEHIND_MEMORY");
  const remembered = join(fixture.folder, "remembered");
  cpSync(own, remembered, { recursive: true });
  const { head } = (await examineRestore(location, fixture.ports)).restored;
  const confirmation = { head, acceptLostRevocations: true };
  const done = await adoptRestore(location, confirmation, fixture.ports);
  assert.equal((await open()).memoryFacts().known, true);
  assert.equal(existsSync(join(own, "store_key")), false, "the secrets stay where they are");
  // As if the last step had not been made.
  rmSync(own, { recursive: true });
  renameSync(remembered, own);
  await refused(open(), "LOG_BEHIND_MEMORY");
  const again = await adoptRestore(location, { acceptLostRevocations: false }, fixture.ports);
  assert.equal(again.newStoreId, done.newStoreId, "no second log");
  assert.equal((await open()).id, done.newStoreId);
});

test("a stop between the two renames leaves no log, and the next to open the store makes the second", async (t) => {
  const { fixture, adopt } = await makeRestored(t, "all");
  const { root } = fixture.location;
  const done = await adopt();
  mkdirSync(join(root, STAGE));
  renameSync(join(root, "log"), join(root, STAGE, "log"));
  const store = await fixture.open();
  assert.equal(store.id, done.newStoreId);
  assert.equal(existsSync(join(root, STAGE)), false);
});

test("without the store key nothing is adopted", async (t) => {
  const { fixture, adopt } = await makeRestored(t, "all");
  rmSync(join(fixture.location.stateHome, fixture.store.id, "store_key"));
  await refused(adopt(), "NO_STORE_KEY");
});

test("a machine that remembers nothing has nothing to adopt", async (t) => {
  const fixture = await makeStoreFixture(t);
  const location = { ...fixture.location, state: join(fixture.folder, "empty") };
  await refused(adoptRestore(location, { acceptLostRevocations: true }, fixture.ports), "USAGE");
});
