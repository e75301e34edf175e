// SPDX-License-Identifier: Apache-2.0
/** pull and push with each kind of remote, between real stores. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { cloneMedia } from "../../src/repo/clone.ts";
import { compareReceipt } from "../../src/repo/delivery.ts";
import { arrivedFrom, type ExchangeOptions, findPeer, pullRemote, pushRemote } from "../../src/repo/exchange.ts";
import { exportGit } from "../../src/repo/git-export.ts";
import { createReceipt } from "../../src/repo/receipt-files.ts";
import { addRemote, lastReceipt, listRemotes, needRemote } from "../../src/repo/remotes.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { volumesOf } from "../support/bundles.ts";
import { startGitHost, stockGit } from "../support/git-host.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { type Member, makeTeam } from "../support/team-stores.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const ONE = parseName("acme/one");
const options = (member: Member): ExchangeOptions => ({ locate: (root) => ({ ...member.location, root }) });
const everything = { names: [], patterns: [], candidates: false, blobs: true };

/** Two stores of one team. */
async function makeTwo(t: { after(act: () => unknown): void }) {
  const team = makeTeam(t);
  return { team, a: await team.store("a"), b: await team.store("b") };
}

test("a stick: bundles there, a receipt back, revocations known as delivered only once it has come", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const stick = join(team.folder, "stick");
  mkdirSync(stick);
  await a.trust("acme/one", { "model.safetensors": makeSafetensors(2000, 1) });
  const there = await addRemote(a.store, "site-b", stick);
  const here = await addRemote(b.store, "site-a", stick);
  await assert.rejects(pullRemote(b.store, here, options(b)), { code: "FILE_NOT_FOUND" });
  const pushed = await pushRemote(a.store, there, everything, options(a));
  assert.deepEqual(pushed.volumes.map(({ file }) => file).sort(), readdirSync(stick).sort());
  writeFileSync(join(stick, "aaaaaaaaaaaa-0001-of-0001.tar"), "no volume");
  const pulled = await pullRemote(b.store, here, options(b));
  assert.deepEqual(
    pulled.reports.map(({ names }) => names.map(({ outcome }) => outcome)),
    [["adopted"]],
  );
  assert.deepEqual(
    pulled.failed.map(({ what, error }) => [what, error.code]),
    [["aaaaaaaaaaaa-0001-of-0001.tar", "VOLUME_DAMAGED"]],
  );
  assert.equal((await resolve(b.store, ONE)).verdict.trusted, true);
  assert.ok(existsSync(join(stick, pulled.receipt ?? "")));
  assert.equal((await needRemote(b.store, "site-a")).store, a.store.id);

  await a.revoke("acme/one");
  const known = async (): Promise<number> => {
    const delivery = await lastReceipt(a.store, there.name);
    assert.ok(delivery !== undefined);
    return (await compareReceipt(a.store, delivery)).undelivered.length;
  };
  await pushRemote(a.store, there, everything, options(a));
  assert.equal(await known(), 1);
  await pullRemote(b.store, here, options(b));
  await assert.rejects(resolve(b.store, ONE), { code: "REVOKED" });
  await pushRemote(a.store, there, everything, options(a));
  assert.equal(await known(), 0);
});

test("a receipt under any name of a receipt is found on a stick, and one that was handed over is used as well", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const stick = join(team.folder, "stick");
  mkdirSync(stick);
  await a.trust("acme/one", { "model.safetensors": makeSafetensors(200_000, 1) });
  const there = await addRemote(a.store, "site-b", stick);
  const here = await addRemote(b.store, "site-a", stick);
  const push = async (): Promise<number> => {
    const { volumes } = await pushRemote(a.store, there, everything, options(a));
    return volumes.reduce((sum, { bytes }) => sum + bytes, 0);
  };
  const whole = await push();
  const { receipt = "" } = await pullRemote(b.store, here, options(b));
  rmSync(join(stick, receipt));
  assert.equal(await push(), whole);
  await createReceipt(b.store, join(stick, "there.receipt"));
  writeFileSync(join(stick, "note.txt"), "no receipt, and not read as one");
  const pushed = await pushRemote(a.store, there, everything, options(a));
  assert.equal(pushed.receipt?.receipt.value.store, b.store.id);
  assert.ok((await push()) < whole - 200_000);
  assert.match(a.store.warnings.splice(0).join("\n"), /^site-b: first receipt from store [^\n]*$/);
  // What came once is remembered when the stick comes back without it.
  rmSync(join(stick, "there.receipt"));
  assert.ok((await push()) < whole - 200_000);
  // Of a place without a name nothing is remembered.
  assert.equal((await pushRemote(a.store, { url: stick }, everything, options(a))).receipt, undefined);
  writeFileSync(join(a.location.root, "local/remotes/site-b.receipt"), "damaged");
  assert.equal(await push(), whole);
  assert.match(a.store.warnings.join(), /site-b\.receipt: .*; remove it/);
});

test("a stick with own bundles and a receipt is no failure: what was taken is told; of several receipts the newest counts", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const stick = join(team.folder, "stick");
  mkdirSync(stick);
  await createReceipt(b.store, join(stick, "z.receipt"));
  await b.trust("acme/two", { "README.md": utf8("two\n") });
  await createReceipt(b.store, join(stick, "a.receipt"));
  await createReceipt(a.store, stick);
  const there = await addRemote(a.store, "site-b", stick);
  const alone = await pullRemote(a.store, there, options(a));
  const number = (await b.store.head()).number;
  assert.deepEqual(
    alone.receipts.map(({ receipt: { value } }) => [value.store, value.log.number]),
    [[b.store.id, number]],
  );
  assert.equal((await lastReceipt(a.store, there.name))?.receipt.value.log.number, number);
  await pushRemote(a.store, there, everything, options(a));
  const { reports, failed, receipt } = await pullRemote(a.store, there, options(a));
  assert.deepEqual([reports, failed, receipt], [[], [], undefined]);
  const [unnamed] = (await pullRemote(a.store, { url: stick }, options(a))).receipts;
  assert.equal(unnamed?.receipt.value.log.number, number);
});

test("a folder: both ways between two stores of one machine, each by its own key", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  await b.trust("acme/two", { "README.md": utf8("two\n") });
  const there = await addRemote(a.store, "b", b.location.root);
  const pushed = await pushRemote(a.store, there, everything, options(b));
  assert.equal(pushed.moved, true);
  assert.equal((await resolve(b.store, ONE)).verdict.trusted, true);
  const pulled = await pullRemote(a.store, await needRemote(a.store, "b"), options(a));
  assert.equal((await resolve(a.store, parseName("acme/two"))).verdict.trusted, true);
  assert.equal(pulled.reports.length, 1);
  assert.equal((await lastReceipt(a.store, there.name))?.receipt.value.store, b.store.id);
  await assert.rejects(pushRemote(a.store, there, { ...everything, names: [ONE] }, options(b)), { code: "USAGE" });
});

test("a receipt in another store's folder is taken as well; without a volume none is left there", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const c = await team.store("c");
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const here = await addRemote(b.store, "lab", a.location.root);
  const { path } = await createReceipt(c.store, a.location.root);
  const { reports, receipts, receipt } = await pullRemote(b.store, here, options(b));
  assert.deepEqual([reports.length, receipts.length, receipt], [1, 1, undefined]);
  assert.equal((await needRemote(b.store, "lab")).store, a.store.id);
  rmSync(path);
  const again = await pullRemote(b.store, here, options(b));
  assert.deepEqual([again.reports.length, again.receipts], [1, []]);
});

test("a push to an older copy of the store itself leaves that as it is", async (t) => {
  const { team, a } = await makeTwo(t);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const copy = join(team.folder, "copy");
  cpSync(a.location.root, copy, { recursive: true });
  const { number } = await a.store.head();
  await a.revoke("acme/one");
  const location = { ...a.location, root: copy, memory: false };
  await assert.rejects(pushRemote(a.store, { url: copy }, everything, { locate: () => location }), { code: "USAGE" });
  assert.equal((await (await openStore(location, team.ports)).head()).number, number);
});

test("a push to a store whose key is not at hand says whose it is, before anything is written", async (t) => {
  const { team, a, b } = await makeTwo(t);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const there = await addRemote(a.store, "b", b.location.root);
  const locate = (root: string) => ({ ...b.location, root, secrets: join(team.folder, "none") });
  await assert.rejects(pushRemote(a.store, there, everything, { locate }), {
    code: "NO_STORE_KEY",
    message: new RegExp(`^b: expected the key of the store there, ${b.store.id.slice(0, 12)}`),
  });
  await assert.rejects(resolve(b.store, ONE), { code: "NAME_NOT_FOUND" });
});

test("a git host: metadata crosses it and is adopted; bytes come with git lfs from the projection; a rival push is seen", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const host = await startGitHost(t, ["models.git"]);
  const url = `git+${host.url}/models.git`;
  const model = makeSafetensors(200_000, 5);
  await a.trust("acme/one", { "model.safetensors": model });
  const fromA = await addRemote(a.store, "hub", url);
  const fromB = await addRemote(b.store, "hub", url);
  await assert.rejects(pullRemote(b.store, fromB, options(b)), { code: "REMOTE_FAILED" });
  assert.equal((await pushRemote(a.store, fromA, everything, options(a))).moved, true);
  assert.equal((await pushRemote(a.store, await needRemote(a.store, "hub"), everything, options(a))).moved, false);
  // B has not seen what is there now, so it may not push over it.
  await b.trust("acme/two", { "README.md": utf8("two\n") });
  await assert.rejects(pushRemote(b.store, fromB, everything, options(b)), { code: "REMOTE_MOVED" });
  const [report] = (await pullRemote(b.store, fromB, options(b))).reports;
  assert.deepEqual(
    report?.names.map(({ name, outcome }) => [name, outcome]),
    [["acme/one@main", "superseded"]],
  );
  // Of an address without a name nothing is noted, so that a pull does not help there.
  await pullRemote(b.store, { url }, options(b));
  await assert.rejects(pushRemote(b.store, { url }, everything, options(b)), { code: "REMOTE_MOVED" });
  assert.equal((await pushRemote(b.store, await needRemote(b.store, "hub"), everything, options(b))).moved, true);
  const [back] = (await pullRemote(a.store, await needRemote(a.store, "hub"), options(a))).reports;
  assert.ok(back?.names.some(({ name, standing }) => name === "acme/two@main" && standing === "trusted"));
  assert.equal(host.git("models.git", "fsck", "--strict", "--full", "--no-dangling"), "");

  await exportGit(a.store);
  const clone = join(team.folder, "clone");
  const lfs = [
    "-c",
    "filter.lfs.smudge=git-lfs smudge --skip -- %f",
    "-c",
    "filter.lfs.process=git-lfs filter-process --skip",
  ];
  stockGit([...lfs, "clone", "--quiet", "--branch", "acme/one/main", `file://${a.location.root}/git`, clone]);
  stockGit([...lfs, "-C", clone, "lfs", "pull"]);
  const add = await b.add("acme/one", { "model.safetensors": model });
  assert.equal((await resolve(b.store, ONE)).manifest.id, add);
});

test("a git host that has a newer state of a store which was restored from an older copy: its revocations count, and it says so", async (t) => {
  const { team, a } = await makeTwo(t);
  const host = await startGitHost(t, ["models.git"]);
  const url = `git+${host.url}/models.git`;
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const backup = join(team.folder, "backup");
  cpSync(a.location.root, backup, { recursive: true });
  await a.revoke("acme/one");
  await pushRemote(a.store, { url }, everything, options(a));
  assert.deepEqual((await pullRemote(a.store, { url }, options(a))).reports, [], "its own, which it knows");
  rmSync(a.location.root, { recursive: true });
  cpSync(backup, a.location.root, { recursive: true });
  const secrets = join(a.location.stateHome, a.store.id);
  const restored = await openStore({ ...a.location, secrets, state: join(team.folder, "new-machine") }, team.ports);
  assert.equal((await resolve(restored, ONE)).verdict.trusted, true);
  await assert.rejects(pullRemote(restored, { url }, options(a)), { code: "LOG_BEHIND_MEMORY" });
  await assert.rejects(resolve(restored, ONE), { code: "REVOKED" });
});

test("a clone from a git host, with the root that people were told and with another", async (t) => {
  const { team, a } = await makeTwo(t);
  const host = await startGitHost(t, ["models.git"]);
  const url = `git+${host.url}/models.git`;
  host.wants = "me:secret";
  const auth = { username: "me", password: "secret" };
  const location = { ...a.location, root: join(team.folder, "cloned.coffer"), stateHome: join(team.folder, "cloned") };
  const cloneAs = (digest: Digest | undefined, login: Pick<ExchangeOptions, "auth"> = { auth }) =>
    cloneMedia(
      location,
      () => arrivedFrom({ absolute: "/nowhere", shown: url }, team.ports, login),
      digest === undefined ? undefined : { number: 1, digest },
      team.ports,
    );
  await assert.rejects(cloneAs(team.policy.id), { code: "REMOTE_FAILED" });
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  await a.trust("acme/gone", { "README.md": utf8("gone\n") });
  await a.revoke("acme/gone");
  await pushRemote(a.store, { url }, everything, { ...options(a), auth });
  await assert.rejects(cloneAs(team.policy.id, {}), { code: "REMOTE_DENIED" });
  await assert.rejects(cloneAs(undefined), { code: "FOREIGN_ROOT" });
  await assert.rejects(cloneAs(a.store.id), { code: "FOREIGN_ROOT" });
  assert.ok(!existsSync(location.root));
  const { store } = await cloneAs(team.policy.id);
  await assert.rejects(resolve(store, ONE), { code: "BLOB_MISSING" });
  await assert.rejects(resolve(store, parseName("acme/gone")), { code: "REVOKED" });
  await pullRemote(store, { url: a.location.root }, options(a));
  assert.equal((await resolve(store, ONE)).verdict.trusted, true);
});

test("places without a name can be pulled from; nothing is noted of them; unknown names are told", async (t) => {
  const { team, a, b } = await makeTwo(t);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const peer = await findPeer(b.store, a.location.root, a.location.root);
  assert.equal(peer.name, undefined);
  await pullRemote(b.store, peer, options(b));
  assert.deepEqual(await listRemotes(b.store), []);
  for (const [text, path] of [
    ["hub", "hub"],
    ["./hub", "hub"],
    ["policy.json", "a/store.json"],
  ] as const)
    await assert.rejects(findPeer(b.store, text, join(team.folder, path)), {
      code: "REMOTE_NOT_FOUND",
      message: `"${text}": no remote is called so, and no folder is there; remotes that there are: none`,
    });
  await assert.rejects(pullRemote(b.store, { url: "http://127.0.0.1:1" }, options(b)), { code: "REMOTE_FAILED" });
  await assert.rejects(pushRemote(b.store, { url: "http://127.0.0.1:1" }, everything, options(b)), {
    code: "USAGE",
  });
});

test("a stick with an incomplete bundle, a hostile receipt and a revocation: the revocation is taken, the rest is told", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const stick = join(team.folder, "stick");
  mkdirSync(stick);
  await a.trust("acme/one", { "model.safetensors": makeSafetensors(40_000_000, 1) });
  await pullRemote(b.store, { url: a.location.root }, options(b));
  await a.trust("acme/two", { "model.safetensors": makeSafetensors(40_000_000, 2) });
  const here = await addRemote(b.store, "site-a", stick);
  const { volumes } = await pushRemote(
    a.store,
    { url: stick },
    { ...everything, volumeBytes: 32 * 1024 ** 2 },
    options(a),
  );
  assert.ok(volumes.length > 1);
  const [first, second] = volumes.map(({ file }) => join(stick, file));
  assert.ok(first !== undefined && second !== undefined);
  rmSync(second);
  await a.revoke("acme/one", "leaks");
  await pushRemote(a.store, { url: stick }, { ...everything, names: [ONE], blobs: false }, options(a));
  mkdirSync(join(stick, "bbbbbbbbbbbb.coffer-receipt"));
  writeFileSync(join(stick, "cccccccccccc.coffer-receipt"), "no receipt\n");
  const pulled = await pullRemote(b.store, here, options(b));
  assert.deepEqual(
    pulled.failed.map(({ error }) => error.code),
    ["BUNDLE_INCOMPLETE"],
  );
  assert.equal(pulled.reports.length, 1);
  await assert.rejects(resolve(b.store, ONE), { code: "REVOKED" });
  assert.equal(b.store.warnings.filter((warning) => warning.includes(".coffer-receipt")).length, 2);
  assert.ok(existsSync(join(stick, pulled.receipt ?? "")));
});

test("a stick with too many receipts: a revocation beside them is taken, and they are told; alone they end the pull", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const stick = join(team.folder, "stick");
  mkdirSync(stick);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  await pullRemote(b.store, { url: a.location.root }, options(b));
  await a.revoke("acme/one", "leaks");
  for (let at = 0; at <= LIMITS.mediumReceipts; at += 1) writeFileSync(join(stick, `${at}.receipt`), "");
  const here = await addRemote(b.store, "site-a", stick);
  await assert.rejects(pullRemote(b.store, here, options(b)), { code: "LIMIT_EXCEEDED" });
  const { volumes } = await volumesOf(a.store, ["acme/one"]);
  writeFileSync(join(stick, "news.tar"), volumes[0] ?? "");
  const pulled = await pullRemote(b.store, here, options(b));
  await assert.rejects(resolve(b.store, ONE), { code: "REVOKED" });
  assert.deepEqual(
    pulled.failed.map(({ what, error }) => [what, error.code]),
    [["receipts on site-a", "LIMIT_EXCEEDED"]],
  );
  assert.deepEqual([pulled.reports.length, pulled.receipts], [1, []]);
  assert.ok(existsSync(join(stick, pulled.receipt ?? "")));
});
