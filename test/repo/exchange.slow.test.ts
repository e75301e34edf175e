// SPDX-License-Identifier: Apache-2.0
/** pull and push with each kind of remote, between real stores. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import { compareReceipt } from "../../src/repo/delivery.ts";
import { type ExchangeOptions, findPeer, pullRemote, pushRemote } from "../../src/repo/exchange.ts";
import { exportGit } from "../../src/repo/git-export.ts";
import { addRemote, lastReceipt, listRemotes, needRemote } from "../../src/repo/remotes.ts";
import { resolve } from "../../src/repo/resolve.ts";
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
  await assert.rejects(pushRemote(b.store, fromB, everything, options(b)), { code: "REF_MOVED" });
  const [report] = (await pullRemote(b.store, fromB, options(b))).reports;
  assert.deepEqual(
    report?.names.map(({ name, outcome }) => [name, outcome]),
    [["acme/one@main", "superseded"]],
  );
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

test("places without a name can be pulled from; nothing is noted of them; unknown names are told", async (t) => {
  const { team, a, b } = await makeTwo(t);
  await a.trust("acme/one", { "README.md": utf8("one\n") });
  const peer = await findPeer(b.store, a.location.root, a.location.root);
  assert.equal(peer.name, undefined);
  await pullRemote(b.store, peer, options(b));
  assert.deepEqual(await listRemotes(b.store), []);
  await assert.rejects(findPeer(b.store, "hub", join(team.folder, "hub")), { code: "REMOTE_NOT_FOUND" });
  await assert.rejects(pullRemote(b.store, { url: "http://127.0.0.1:1" }, options(b)), { code: "REMOTE_FAILED" });
  await assert.rejects(pushRemote(b.store, { url: "http://127.0.0.1:1" }, everything, options(b)), {
    code: "UNSUPPORTED",
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
