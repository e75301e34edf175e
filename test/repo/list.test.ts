// SPDX-License-Identifier: Apache-2.0
/** What `list`, `show` and `resolve` call a name of which statements came without what they follow, with the index and without. */
import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName, parsePattern } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { readStatement } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { importFrom } from "../../src/repo/import.ts";
import { loadPageCodec } from "../../src/repo/index/pages.ts";
import { INDEX_FOLDER } from "../../src/repo/index/run-file.ts";
import { buildIndex } from "../../src/repo/index/upkeep.ts";
import { type Listed, type ListRequest, list } from "../../src/repo/list.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { show } from "../../src/repo/show.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { type Member, makeTeam, model } from "../support/team-stores.ts";

const [KEPT, GONE, LEFT] = ["acme/kept@main", "acme/gone@main", "acme/left@main"] as const;

/** Takes from `from` the chosen names, and with them every denial that it has. */
async function bring(to: Member, from: Member, blobs: boolean, ...names: string[]): Promise<void> {
  const request = { names: names.map(parseName), patterns: [], candidates: false, blobs };
  await importFrom(
    to.store,
    await openPipe(writeVolume(from.store, await makeBundle(from.store, request), 1), "a pipe"),
  );
}

/** A store that was sent one name, and denials of two that it never had. */
async function subset(
  t: TestContext,
  before: (to: Member) => Promise<unknown> = async () => undefined,
): Promise<{ readonly from: Member; readonly to: Member }> {
  const team = makeTeam(t);
  const [from, to] = [await team.store("from"), await team.store("to")];
  await from.trust(KEPT, model(1));
  await from.trust(GONE, model(2));
  await from.trust(LEFT, model(3));
  await from.revoke(GONE, "leaks");
  await from.revoke(LEFT);
  await from.delete(LEFT);
  await before(to);
  await bring(to, from, true, KEPT);
  return { from, to };
}

const told = ({ name, state, code }: Listed): string => `${name.text} ${state} ${code ?? "-"}`;

/** By the local index, and by a walk over the tree; both have to say the same. */
async function listed({ store, location }: Member, request: ListRequest = {}): Promise<readonly Listed[]> {
  const index = join(location.root, INDEX_FOLDER);
  await buildIndex(store, await loadPageCodec(), await store.head());
  assert.ok(existsSync(index));
  const indexed = await list(store, request);
  rmSync(index, { recursive: true });
  const walked = await list(store, { ...request, at: await store.head() });
  assert.ok(!existsSync(index));
  assert.deepEqual(walked.names, indexed.names);
  return indexed.names;
}

const DENIED = [`${GONE} revoked REVOKED`, `${KEPT} trusted -`, `${LEFT} deleted DELETED`];

test("denials of names that are not here are listed as what they are, with the reason, and hide nothing", async (t) => {
  const { to } = await subset(t);
  const all = await listed(to);
  assert.deepEqual(all.map(told), DENIED);
  assert.match(all[0]?.why ?? "", /was revoked at .*: leaks/);
  assert.deepEqual((await listed(to, { limit: 1 })).map(told), DENIED.slice(0, 1));
  assert.deepEqual((await listed(to, { pattern: parsePattern("*/left@*") })).map(told), DENIED.slice(2));
  assert.deepEqual((await fsck(to.store)).problems, []);
});

test("show says so too: the state, the ref that waits and the reason", async (t) => {
  const { to } = await subset(t);
  for (const [text, state, code] of [
    [GONE, "revoked", "REVOKED"],
    [LEFT, "deleted", "DELETED"],
  ] as const) {
    const shown = await show(to.store, parseName(text));
    assert.equal(shown.state, state);
    assert.ok(shown.verdict.reasons.some((reason) => reason.code === code));
    assert.ok(shown.refs.some(({ ref }) => ref === nameRef("waiting", parseName(text))));
  }
});

test("a denial that waits comes before bytes in quarantine and a candidate of the same name", async (t) => {
  const { to } = await subset(t, async (member) => {
    await member.add(LEFT, model(6));
    await member.add(GONE, model(7));
    await member.propose(GONE);
  });
  const all = await listed(to);
  assert.deepEqual(all.map(told), DENIED);
  assert.equal(all[0]?.proposed, true);
  for (const [text, state] of [
    [GONE, "revoked"],
    [LEFT, "deleted"],
  ] as const)
    assert.equal((await show(to.store, parseName(text))).state, state);
});

test("once what it follows has come, the same name is denied by its head", async (t) => {
  const { from, to } = await subset(t);
  await bring(to, from, true, KEPT, GONE);
  assert.deepEqual((await listed(to)).map(told), DENIED);
  assert.equal(await (await to.store.head()).readRef(nameRef("waiting", parseName(GONE))), undefined);
});

test("a promotion that waits is no yes and no denial: it says what it waits for, after what is here of the name", async (t) => {
  const team = makeTeam(t);
  const [from, to] = [await team.store("from"), await team.store("to")];
  await from.trust(GONE, model(1));
  await from.trust(GONE, model(2));
  const second = await (await from.store.head()).readRef(nameRef("trusted", parseName(GONE)));
  assert.ok(second);
  const statement = await readStatement(from.store, second);
  const waiting = makeList([second]);
  await to.store.commit(async () => {
    const batch = to.store.batch();
    batch.addObject(statement);
    batch.addObject(waiting);
    return { moves: [{ ref: nameRef("waiting", parseName(GONE)), to: waiting.id }], batch };
  });
  await to.add("acme/same@main", model(2)); // the manifest of what waits
  const [only] = await listed(to);
  assert.deepEqual([only?.state, only?.code], ["denied", "NOT_TRUSTED"]);
  assert.match(only?.why ?? "", /cannot be judged yet: ancestor-missing/);
  const shown = await show(to.store, parseName(GONE));
  assert.equal(shown.state, "denied");
  await assert.rejects(resolve(to.store, parseName(GONE)), (error) => {
    return isCofferError(error, "NOT_TRUSTED") && /cannot be judged yet/.test(error.message);
  });
  await to.add(GONE, model(3));
  assert.deepEqual((await listed(to)).map(told), [`${GONE} quarantined -`, "acme/same@main quarantined -"]);
});

test("a ref that says a name was revoked, with no head beside it, is damage of that name alone", async (t) => {
  const { to } = await subset(t);
  await to.store.commit(async () => ({
    moves: [{ ref: nameRef("waiting", parseName(GONE)) }],
    batch: to.store.batch(),
  }));
  assert.deepEqual((await listed(to)).map(told), [`${GONE} denied CORRUPT`, ...DENIED.slice(1)]);
  assert.equal((await fsck(to.store)).exit, 5);
});

test("where the bytes have not come, list, show and resolve say that first, and no more of it once they are here", async (t) => {
  const team = makeTeam(t);
  const [from, to] = [await team.store("from"), await team.store("to")];
  await from.trust(KEPT, model(1));
  await bring(to, from, false, KEPT);
  const [only] = await listed(to);
  assert.equal(only?.code, "BLOB_MISSING");
  const text =
    /^blob [0-9a-f]{12} \(.*\) has not come yet: import a bundle that carries it; until then, expected a pass/;
  assert.match(only?.why ?? "", text);
  assert.match((await show(to.store, parseName(KEPT))).verdict.reasons[0]?.text ?? "", text);
  await assert.rejects(resolve(to.store, parseName(KEPT)), { code: "BLOB_MISSING", message: /has not come yet/ });
  await bring(to, from, true, KEPT);
  assert.deepEqual((await listed(to)).map(told), [`${KEPT} trusted -`]);
});
