// SPDX-License-Identifier: Apache-2.0
/** What comes back of a store itself: bundles that its log holds, and, after a restore from an older copy, bundles that it does not. */
import assert from "node:assert/strict";
import { cpSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { remoteRef } from "../../src/base/ref-path.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { entryPath } from "../../src/refs/log-layout.ts";
import { adoptRestore, examineRestore } from "../../src/repo/adopt-restore.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { importFrom } from "../../src/repo/import.ts";
import { type Imported, importAll } from "../../src/repo/import-all.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import type { Source } from "../../src/sync/source.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, type Member, makeTeam, model } from "../support/team-stores.ts";

const ALL = { names: [], patterns: [], candidates: false, blobs: true };
const [BAD, GOOD] = [parseName("acme/bad"), parseName("acme/good")];

/** A signed bundle of one name and all denials. */
async function bundleOf(store: Store, names = [GOOD]): Promise<Source> {
  const sent = await openPipe(writeVolume(store, await makeBundle(store, { ...ALL, names }), 1), "a pipe");
  return { ...(await inMemory(sent)).source, signature: sent.signature };
}

const take = (store: Store, source: Source): Promise<Imported> =>
  importAll(store, { bundles: [{ what: "a bundle", source, faults: [] }], unread: [], passedOver: [] });

const codes = ({ failed }: Imported): string[] => failed.map(({ error }) => error.code);

/** What this machine remembers of the store is gone; its key is not. */
function loseMemory({ location, store }: Member): void {
  const folder = join(location.stateHome, store.id);
  for (const name of readdirSync(folder)) if (/^[0-9]{12}\.[0-9a-f]{64}$/.test(name)) rmSync(join(folder, name));
}

/** acme/bad is trusted, then comes a backup; then it is revoked and acme/good is trusted, and the backup is put back. */
async function makeRestored(t: TestContext) {
  const team = makeTeam(t);
  const member = await team.store("a");
  await member.trust("acme/bad", model(1));
  const backup = join(team.folder, "backup");
  cpSync(member.location.root, backup, { recursive: true });
  await member.revoke("acme/bad", "leaks");
  await member.trust("acme/good", model(2));
  const newer = join(team.folder, "newer");
  renameSync(member.location.root, newer);
  cpSync(backup, member.location.root, { recursive: true });
  loseMemory(member);
  const secrets = join(member.location.stateHome, member.store.id);
  const state = join(team.folder, "newer-state");
  const open = () => openStore({ ...member.location, root: newer, secrets, state }, team.ports);
  return { team, member, store: await member.open(), newer, openNewer: open };
}

const stands = async (store: Store, name = BAD): Promise<boolean> => (await resolve(store, name)).verdict.trusted;
const isRevoked = (error: unknown): boolean => isCofferError(error, "REVOKED");
const isBehind = (error: unknown): boolean => isCofferError(error, "LOG_BEHIND_MEMORY");

test("a bundle of this store that its log does not hold: what it denies counts, nothing else, and the restore can be adopted", async (t) => {
  const { team, member, store, openNewer } = await makeRestored(t);
  const newer = await openNewer();
  assert.equal(await stands(store), true);
  const { number, id } = await newer.head();
  const told = await take(store, await bundleOf(newer));
  assert.deepEqual([codes(told), told.own, told.reports], [["LOG_BEHIND_MEMORY"], [], []]);
  assert.match(told.failed[0]?.error.message ?? "", new RegExp(`entry ${number}, ${id.slice(0, 12)}, found none: `));
  assert.ok(store.warnings.some((text) => /denies counts all the same: log entry/.test(text)));
  await assert.rejects(stands(store), isRevoked);
  await assert.rejects(stands(store, GOOD), (error) => isCofferError(error, "NOT_TRUSTED", "NAME_NOT_FOUND"));
  const before = await store.head();
  assert.deepEqual(codes(await take(store, await bundleOf(newer))), ["LOG_BEHIND_MEMORY"]);
  assert.equal((await store.head()).number, before.number, "the same again moves nothing");
  assert.deepEqual((await fsck(store)).problems, []);

  const { lost } = await examineRestore(member.location, team.ports);
  assert.deepEqual(lost, [{ number, head: id }]);
  await adoptRestore(member.location, { head: before.id, acceptLostRevocations: true }, team.ports);
  const adopted = await member.open();
  const [report] = (await take(adopted, await bundleOf(newer))).reports;
  assert.deepEqual(
    report?.names.map(({ name, outcome }) => `${name} ${outcome}`),
    ["acme/bad@main already", "acme/good@main adopted"],
  );
  await assert.rejects(stands(adopted), isRevoked);
  assert.equal(await stands(adopted, GOOD), true);
  await assert.rejects(examineRestore(member.location, team.ports), { code: "USAGE" });
});

test("the folder of a newer copy is judged as its bundle is", async (t) => {
  const { store, newer } = await makeRestored(t);
  await assert.rejects(pull(store, newer), isBehind);
  await assert.rejects(stands(store), isRevoked);
});

test("a copy that went another way by the same numbers is no older state of this store", async (t) => {
  const { team, store, openNewer } = await makeRestored(t);
  const newer = await openNewer();
  const length = (await newer.head()).number;
  const other = await team.store("other");
  for (let i = 0; (await store.head()).number <= length; i += 1) {
    await other.trust(`acme/more${i}`, model(i));
    await pull(store, other.location.root);
  }
  const told = await take(store, await bundleOf(newer));
  assert.deepEqual(codes(told), ["LOG_BEHIND_MEMORY"]);
  assert.match(told.failed[0]?.error.message ?? "", /found another: /);
  await assert.rejects(stands(store), isRevoked);
});

test("an older bundle of this store and its newest are passed over, whatever lies beside them", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust("acme/good", model(1));
  const older = await bundleOf(a.store);
  await a.trust("acme/bad", model(2));
  await a.revoke("acme/bad");
  const newest = await bundleOf(a.store);
  await pull(b.store, a.location.root);
  const sources = [older, await bundleOf(b.store), newest];
  const bundles = sources.map((source, at) => ({ what: `${at}`, source, faults: [] }));
  const before = await a.store.head();
  const told = await importAll(a.store, { bundles, unread: [], passedOver: [] });
  assert.deepEqual([told.own, told.failed, told.reports.length], [["0", "2"], [], 1]);
  assert.equal(await a.store.head().then((head) => head.readRef(remoteRef(a.store.id, "index"))), undefined);
  assert.ok((await a.store.head()).number >= before.number);
});

test("whoever claims to be this store with another key, or with none, proves nothing; what the revokers signed counts", async (t) => {
  for (const by of ["another key", "nobody"]) {
    const { team, store, newer } = await makeRestored(t);
    const other = await team.store("other");
    const { source, files } = await inMemory(await openFolderSource(newer, team.ports));
    const storeKey = by === "nobody" ? store.storeKey : other.store.storeKey;
    const index = makeBundleIndex({ ...source.index.value, storeKey });
    const armored = await signSshsig(await other.store.needSigner(), "coffer-bundle", index.bytes);
    const proof = by === "nobody" ? { unproven: true as const } : { signature: { publicKey: storeKey, armored } };
    const code = by === "nobody" ? "LOG_BEHIND_MEMORY" : "SIGNATURE_INVALID";
    await assert.rejects(importFrom(store, { ...memorySource(index, files), ...proof }), { code }, by);
    await assert.rejects(stands(store), isRevoked, by);
    assert.equal(await store.head().then((head) => head.readRef(remoteRef(store.id, "index"))), undefined, by);
  }
});

test("where the log here is damaged, its own bundle tells that, and keeps no other out", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust("acme/good", model(1));
  const source = await bundleOf(a.store);
  await b.trust("acme/bad", model(2));
  await a.add("acme/waits", model(3));
  const { number } = source.index.value.log;
  const entry = join(a.location.root, entryPath(number));
  rmSync(entry);
  writeFileSync(entry, "no entry");
  const bundles = [source, await bundleOf(b.store, [BAD])].map((one) => ({ what: "one", source: one, faults: [] }));
  const told = await importAll(a.store, { bundles, unread: [], passedOver: [] });
  assert.deepEqual([codes(told), told.own, told.reports.length], [["CORRUPT"], [], 1]);
});
