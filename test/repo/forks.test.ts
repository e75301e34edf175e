// SPDX-License-Identifier: Apache-2.0
/** What is told of stores that have shown two histories (src/repo/forks.ts). */
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { forgetStore } from "../../src/repo/forget.ts";
import { listForks } from "../../src/repo/forks.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, makeTeam, model } from "../support/team-stores.ts";

const ALL = { names: [], patterns: [], candidates: false, blobs: true };

/** By a signed bundle with the denials of a store. */
async function send(from: Store, to: Store): Promise<ImportReport> {
  return importFrom(to, await openPipe(writeVolume(from, await makeBundle(from, ALL), 1), "a pipe"));
}

test("a fork is told with both histories, where they differ, what proves it, and which was adopted", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  await a.trust("acme/tiny", model(1));
  // The same store twice: somebody put a copy back, and both went on.
  const root = join(team.folder, "copy.coffer");
  cpSync(a.location.root, root, { recursive: true });
  const secrets = join(a.location.stateHome, a.store.id);
  const copy = await openStore({ ...a.location, root, secrets, state: join(team.folder, "copy-state") }, team.ports);
  assert.deepEqual(await listForks(b.store), []);
  await assert.rejects(listForks(b.store, a.store.id), { code: "REMOTE_NOT_FOUND" });
  await a.trust("acme/more", model(2));
  await send(a.store, b.store);
  assert.deepEqual(await listForks(b.store, a.store.id.slice(0, 12)), [], "heard of, and not forked");
  const { index: first } = await makeBundle(a.store, ALL);

  team.nowS += 100;
  await pull(copy, c.location.root);
  while ((await copy.head()).number < (await a.store.head()).number) {
    await c.add(`acme/waits${(await c.store.head()).number}`, model(9));
    await c.revoke(`acme/waits${(await c.store.head()).number - 1}`);
    await pull(copy, c.location.root);
  }
  await assert.rejects(send(copy, b.store), (error) => isCofferError(error, "LOG_FORKED"));
  const [fork, ...others] = await listForks(b.store);
  assert.deepEqual(others, []);
  assert.equal(fork?.store, a.store.id);
  const { index: second } = await makeBundle(copy, ALL);
  const told = fork.histories.map(({ index, adopted, signature }) => [index, adopted, signature !== undefined]);
  assert.deepEqual(
    new Map(told.map(([index, ...rest]) => [index, rest])),
    new Map([
      [first.id, [true, true]],
      [second.id, [false, true]],
    ]),
  );
  assert.ok(fork.clashes.length > 0);
  for (const { number, entries } of fork.clashes) {
    const heads = [await a.store.entryAt(number), await copy.entryAt(number)].map(({ id }) => id);
    assert.deepEqual(
      entries.map(({ head }) => head),
      heads.sort(),
    );
    assert.deepEqual(entries.flatMap(({ indexes }) => indexes).sort(), [first.id, second.id].sort());
  }
  for (const bad of ["", "short", "z".repeat(64), "../../etc", a.store.id.toUpperCase()])
    await assert.rejects(listForks(b.store, bad), { code: "DIGEST_INVALID" }, bad);
  assert.equal((await listForks(b.store, a.store.id)).length, 1);
});

test("who came first under a store's id is forgotten by an entry of the log; denials stay, and a fork is never forgotten", async (t) => {
  const team = makeTeam(t);
  const [a, b, evil] = [await team.store("a"), await team.store("b"), await team.store("evil")];
  await evil.trust("acme/bad", model(3));
  await evil.revoke("acme/bad");
  await a.trust("acme/tiny", model(1));
  const claim = async (from: Store, key: Store, number: number) => {
    const { source, files } = await inMemory(await openFolderSource(from.root, team.ports));
    const log = { number, head: evil.store.id, earlier: [] };
    const index = makeBundleIndex({ ...source.index.value, store: a.store.id, storeKey: key.storeKey, log });
    const armored = await signSshsig(await key.needSigner(), "coffer-bundle", index.bytes);
    return { ...memorySource(index, files), signature: { publicKey: key.storeKey, armored } };
  };
  await importFrom(b.store, await claim(evil.store, evil.store, 1));
  const isOtherKey = (error: unknown): boolean => isCofferError(error, "SIGNATURE_INVALID");
  await assert.rejects(pull(b.store, a.location.root), isOtherKey);
  await assert.rejects(forgetStore(b.store, evil.store.id), { code: "REMOTE_NOT_FOUND" });
  const { storeKey, log, entry } = await forgetStore(b.store, a.store.id);
  assert.deepEqual([storeKey.keyId, log.number], [evil.store.storeKey.keyId, 1]);
  const { facts } = await b.store.entryAt(entry.number);
  assert.match(facts.note ?? "", new RegExp(`^forgets store ${a.store.id.slice(0, 12)}: known by SHA256:`));
  assert.deepEqual(
    facts.moves.map(({ ref, to }) => [ref, to]),
    [[`refs/remotes/${a.store.id}/index`, undefined]],
  );
  const told = (await pull(b.store, a.location.root)).names.map(({ name, outcome }) => `${name} ${outcome}`);
  assert.deepEqual(told, ["acme/tiny@main adopted"]);
  await assert.rejects(resolve(b.store, parseName("acme/bad")), (error) => isCofferError(error, "REVOKED"));
  assert.deepEqual((await fsck(b.store)).problems, []);
  await assert.rejects(importFrom(b.store, await claim(a.store, a.store, (await a.store.head()).number)), (error) =>
    isCofferError(error, "LOG_FORKED"),
  );
  await assert.rejects(forgetStore(b.store, a.store.id), { code: "LOG_FORKED" });
});
