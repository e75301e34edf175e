// SPDX-License-Identifier: Apache-2.0
/** What a person was shown is what is signed, and what stands between is not lost. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { list } from "../../src/repo/list.ts";
import { checkout, pathOf } from "../../src/repo/materialise.ts";
import { promote } from "../../src/repo/promote.ts";
import { planRevoke, revoke } from "../../src/repo/revoke.ts";
import { openStore } from "../../src/repo/store.ts";
import { overtake } from "../support/overtake.ts";
import { makeSafetensors, makeStoreFixture, ruleFor } from "../support/store-fixture.ts";

const weights = (seed: number): Record<string, Uint8Array> => ({ "model.safetensors": makeSafetensors(1000, seed) });
const NAME = parseName("acme/tiny");

function refused(promise: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  return assert.rejects(promise, (error) => isCofferError(error, ...codes));
}

test("a revocation of what was shown is not made of what came there since", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", weights(1));
  const request = { name: NAME, also: [], reason: "the first is bad" };
  const shown = await planRevoke(fixture.store, request);
  await fixture.trust("acme/tiny", weights(2));
  await refused(revoke(fixture.store, request, fixture.signers.carol, shown), "REF_MOVED");
  assert.deepEqual(
    (await list(fixture.store)).names.map((entry) => entry.state),
    ["trusted"],
  );
  const again = await planRevoke(fixture.store, request);
  assert.notEqual((await revoke(fixture.store, request, fixture.signers.carol, again)).entry, undefined);
});

test("a revocation that another writer is quicker than is planned anew on what that one left", async (t) => {
  const fixture = await makeStoreFixture(t);
  const one = await fixture.trust("acme/tiny", weights(1));
  const store = await fixture.open();
  const request = { name: NAME, also: [] };
  overtake({ store }, () =>
    fixture.trust("acme/copy", { ...weights(1), "second.safetensors": makeSafetensors(100, 3) }),
  );
  await refused(revoke(store, request, fixture.signers.carol), "REF_MOVED");
  const again = await fixture.open();
  overtake({ store: again }, () => fixture.trust("acme/other", weights(4)));
  const done = await revoke(again, request, fixture.signers.carol);
  assert.deepEqual([done.revokes.blobs, done.kept.map(({ blob }) => blob)], [[], one.files.map((file) => file.sha256)]);
});

test("the second revoker is shown what the first signed, all that falls with it, and signs exactly that", async (t) => {
  const rule = { ...ruleFor("*/*@*"), revokers: { principals: ["bob", "carol"], threshold: 2 } };
  const fixture = await makeStoreFixture(t, [rule]);
  const shared = { "shared.safetensors": makeSafetensors(500, 9) };
  const one = await fixture.trust("acme/tiny", { ...weights(1), ...shared });
  await fixture.trust("acme/two", { ...weights(2), ...shared });
  const blob = one.files.find((file) => file.path === "shared.safetensors")?.sha256 ?? "";
  const first = await revoke(fixture.store, { name: NAME, also: [blob], reason: "both" }, fixture.signers.bob);
  const shown = await planRevoke(fixture.store, { name: NAME, also: [] });
  assert.equal(shown.waiting?.id, first.statement);
  assert.equal(shown.waiting?.value.reason, "both");
  assert.ok(shown.revokes.blobs.some((digest) => digest === blob));
  assert.deepEqual(
    shown.falls.map((name) => name.text),
    ["acme/tiny@main", "acme/two@main"],
  );
  await refused(planRevoke(fixture.store, { name: NAME, also: [], reason: "other" }), "CANDIDATE_EXISTS");
  fixture.nowS += 60;
  const replaced = await revoke(
    fixture.store,
    { name: NAME, also: [], reason: "other", replace: true },
    fixture.signers.bob,
  );
  await refused(revoke(fixture.store, { name: NAME, also: [] }, fixture.signers.carol, shown), "REF_MOVED");
  const same = await revoke(fixture.store, { name: NAME, also: [], reason: "other" }, fixture.signers.carol);
  assert.equal(same.statement, replaced.statement);
  assert.notEqual(same.entry, undefined);
});

test("the checkouts of every name that falls go with it, also when the revocation was stopped before it got to that", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", weights(1));
  await fixture.trust("acme/copy", { ...weights(1), "second.safetensors": makeSafetensors(100, 3) });
  const own = await pathOf(fixture.store, NAME);
  const other = await pathOf(fixture.store, parseName("acme/copy"), "model.safetensors");
  const blob = (await planRevoke(fixture.store, { name: NAME, also: [] })).kept[0]?.blob ?? "";
  await revoke(fixture.store, { name: NAME, also: [blob] }, fixture.signers.carol);
  assert.deepEqual([existsSync(own.path), existsSync(other.path)], [false, false]);
  mkdirSync(join(own.path, ".."), { recursive: true });
  await revoke(fixture.store, { name: NAME, also: [] }, fixture.signers.carol);
  assert.equal(existsSync(join(own.path, "..")), false);
});

test("a commit stands though this machine's memory could not be written; that is told", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", weights(1));
  const store = await openStore(fixture.location, fixture.ports);
  await store.head();
  const state = join(fixture.location.stateHome, store.id);
  const key = readFileSync(join(state, "store_key"));
  rmSync(state, { recursive: true });
  writeFileSync(state, "not a folder");
  const done = await revoke(store, { name: NAME, also: [] }, fixture.signers.carol);
  assert.notEqual(done.entry, undefined);
  assert.equal(store.warnings.length, 1);
  rmSync(state);
  mkdirSync(state, { mode: 0o700 });
  writeFileSync(join(state, "store_key"), key, { mode: 0o600 });
  assert.deepEqual(
    (await list(await fixture.open())).names.map((entry) => entry.state),
    ["revoked"],
  );
});

test("a name given twice is promoted once", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.add("acme/tiny", weights(1));
  await fixture.approve("acme/tiny", await fixture.propose("acme/tiny"), "alice", "bob");
  assert.equal((await promote(fixture.store, [NAME, NAME])).length, 1);
});

test("checkout never removes what came into its folder meanwhile", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", weights(1));
  const out = join(fixture.folder, "out");
  mkdirSync(out);
  let opened = 0;
  const store = await openStore(fixture.location, {
    ...fixture.ports,
    openFolder: (path) => {
      if (path.includes(".out.") && opened++ === 0) writeFileSync(join(out, "notes.txt"), "precious");
      return fixture.ports.openFolder(path);
    },
  });
  await refused(checkout(store, NAME, out), "EXISTS");
  assert.equal(readFileSync(join(out, "notes.txt"), "utf8"), "precious");
  rmSync(join(out, "notes.txt"));
  await checkout(store, NAME, out);
  assert.ok(existsSync(join(out, "model.safetensors")));
});

test("path lays its folder again where a file or a link was put in its place", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/tiny", weights(1));
  const { path } = await pathOf(fixture.store, NAME);
  rmSync(join(path, ".."), { recursive: true });
  writeFileSync(join(path, ".."), "a file");
  assert.equal((await pathOf(fixture.store, NAME)).mended, true);
  assert.ok(existsSync(path));
});
