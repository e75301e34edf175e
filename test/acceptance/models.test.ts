// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, the S rows: what becomes of a model, by command line and HTTP. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import { model, Scene } from "../support/scene.ts";

const FILE = "acme/tiny/main";

/** Changes one byte of the file's blob in the store. */
async function tamper(scene: Scene, name: string): Promise<string> {
  const { manifest } = JSON.parse(await scene.must("resolve", name, "--json"));
  const { sha256 } = manifest.files[0];
  const path = scene.at("my.coffer", "blobs", sha256.slice(0, 2), sha256.slice(2));
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
  return sha256;
}

test("S1 health says that the store can be read, and at which entry", async (t) => {
  const scene = await new Scene(t).init();
  const { status, text } = await (await scene.serve()).get("/health");
  assert.equal(status, 200);
  assert.deepEqual([JSON.parse(text).status, JSON.parse(text).head.number], ["ok", await scene.head()]);
});

test("S2 a new store lists nothing", async (t) => {
  const scene = await new Scene(t).init();
  assert.equal(await scene.must("list"), "");
  assert.deepEqual(JSON.parse((await (await scene.serve()).get("/v1/models")).text).models, []);
});

test("S3 a list tells the state of each name, and HTTP lists the trusted ones alone", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("evil.bin", makePickle()), "--name", "acme/acquired", "--keep");
  await scene.add("acme/quarantined", model(2));
  await scene.add("acme/proposed", model(3));
  await scene.must("propose", "acme/proposed");
  await scene.trust("acme/trusted", model(4));
  await scene.trust("acme/revoked", model(5));
  await scene.revoke("acme/revoked");
  for (const [name, state] of Object.entries(await scene.states())) assert.equal(name, `acme/${state}@main`);
  assert.equal(Object.keys(await scene.states()).length, 5);
  const { models } = JSON.parse((await (await scene.serve()).get("/v1/models")).text);
  assert.deepEqual(
    models.map(({ name }: { name: string }) => name),
    ["acme/trusted@main"],
  );
});

test("S4 a document that is no JSON is refused, and nothing is made", async (t) => {
  const scene = new Scene(t);
  await scene.refused("JSON_INVALID", "init", "my.coffer", "--policy", scene.put("policy.json", "{not json"));
  await scene.refused("STORE_NOT_FOUND", "list");
});

test("S5 HTTP takes no method that could change anything, at any address", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const before = scene.files();
  const { ask } = await scene.serve();
  for (const path of ["/health", "/v1/models", `/v1/models/${FILE}`, `/v1/resolve/${FILE}`]) {
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) assert.equal((await ask(method, path)).status, 405, path);
  }
  assert.deepEqual(scene.files(), before);
});

test("S6 JSON with something after it is refused", async (t) => {
  const scene = await new Scene(t).init();
  const policy = await scene.must("policy", "show", "--json");
  const whole = JSON.stringify(JSON.parse(policy).policy);
  await scene.refused("JSON_INVALID", "init", "b.coffer", "--policy", scene.put("two.json", `${whole}\n{}`));
});

test("S7 promote of a valid file gives trusted, and the bytes that went in", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "trusted" });
  assert.deepEqual(new Uint8Array(readFileSync(await scene.must("path", "acme/tiny"))), model());
});

test("S8 add takes a file in and prints its manifest's digest", async (t) => {
  const scene = await new Scene(t).init();
  assert.match(await scene.add("acme/tiny"), /^[0-9a-f]{64}$/);
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "quarantined" });
});

test("S9 add without a name, or without a file, is refused", async (t) => {
  const scene = await new Scene(t).init();
  assert.equal((await scene.refused("USAGE", "add", scene.put("m.gguf", model()))).status, 2);
  assert.equal((await scene.refused("USAGE", "add", "--name", "acme/tiny")).status, 2);
  assert.deepEqual(await scene.states(), {});
});

test("S10 a pickle is refused, whatever its file is called, and nothing of it is stored", async (t) => {
  const scene = await new Scene(t).init();
  const before = scene.files();
  for (const name of ["m.pkl", "m.pt", "m.gguf", "m.safetensors", "m"]) {
    const { status } = await scene.refused("ADMISSION_REFUSED", "add", scene.put(name, makePickle()), "--name", "a/b");
    assert.equal(status, 3);
  }
  assert.deepEqual(scene.files(), before);
});

test("S11 what passed inspection is quarantined, and grants nothing", async (t) => {
  const scene = await new Scene(t).init();
  await scene.add("acme/tiny");
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "quarantined" });
  await scene.refused("NOT_TRUSTED", "resolve", "acme/tiny");
  assert.equal((await (await scene.serve()).get(`/v1/resolve/${FILE}`)).status, 404);
});

test("S12 the same bytes again move nothing", async (t) => {
  const scene = await new Scene(t).init();
  const [first, number] = [await scene.add("acme/tiny"), await scene.head()];
  assert.deepEqual([await scene.add("acme/tiny"), await scene.head()], [first, number]);
});

test("S13 new bytes for a trusted name wait beside it: what is trusted stays", async (t) => {
  const scene = await new Scene(t).init();
  const trusted = await scene.trust("acme/tiny");
  await scene.add("acme/tiny", model(2));
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "trusted" });
  assert.equal(JSON.parse(await scene.must("resolve", "acme/tiny", "--json")).manifest.id, trusted);
});

test("S14 a name that nobody knows cannot be proposed", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("NOT_QUARANTINED", "propose", "acme/nothing");
});

test("S15 revoke takes a name out of use at once, with its reason", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const { get } = await scene.serve();
  assert.equal((await get(`/v1/resolve/${FILE}`)).status, 200);
  await scene.revoke("acme/tiny");
  assert.match((await scene.refused("REVOKED", "resolve", "acme/tiny")).err, /withdrawn/);
  const gone = await get(`/v1/resolve/${FILE}`);
  assert.deepEqual([gone.status, gone.code], [410, "REVOKED"]);
});

test("S16 revoke twice moves nothing", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.revoke("acme/tiny");
  const number = await scene.head();
  await scene.revoke("acme/tiny");
  assert.equal(await scene.head(), number);
});

test("S17 a name that nobody knows cannot be revoked", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("NAME_NOT_FOUND", "revoke", "acme/nothing", "--yes");
});

test("S22 path refuses what was revoked, and what it had laid is gone", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const path = await scene.must("path", "acme/tiny");
  await scene.revoke("acme/tiny");
  assert.equal((await scene.refused("REVOKED", "path", "acme/tiny")).status, 3);
  assert.throws(() => readFileSync(path), { code: "ENOENT" });
});

test("S23 path prints nothing for any state but trusted", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("evil.bin", makePickle()), "--name", "acme/acquired", "--keep");
  await scene.add("acme/quarantined", model(2));
  await scene.add("acme/proposed", model(3));
  await scene.must("propose", "acme/proposed");
  await scene.must("approve", "acme/proposed", "--yes");
  for (const state of ["acquired", "quarantined", "proposed"]) {
    assert.equal((await scene.refused("NOT_TRUSTED", "path", `acme/${state}`)).status, 3);
  }
  await scene.refused("NAME_NOT_FOUND", "path", "acme/nothing");
});

test("S25 a list can be counted by state", async (t) => {
  const scene = await new Scene(t).init();
  for (const [seed, name] of ["acme/a", "acme/b", "acme/c"].entries()) await scene.trust(name, model(seed + 1));
  await scene.add("acme/d", model(9));
  await scene.revoke("acme/b");
  const counts = new Map<string, number>();
  for (const state of Object.values(await scene.states())) counts.set(state, (counts.get(state) ?? 0) + 1);
  assert.deepEqual(Object.fromEntries(counts), { trusted: 2, revoked: 1, quarantined: 1 });
});

test("S26 a check of an empty store finds nothing", async (t) => {
  const scene = await new Scene(t).init();
  const { problems, checked } = JSON.parse(await scene.must("fsck", "--json"));
  assert.deepEqual([problems, checked.blobs], [[], 0]);
});

test("S27 a check of a good store reads every blob and finds nothing", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.add("acme/other", model(2));
  const { problems, checked } = JSON.parse(await scene.must("fsck", "--json"));
  assert.deepEqual([problems, checked.blobs], [[], 2]);
});

test("S28 a check after one byte was changed names the blob", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const sha256 = await tamper(scene, "acme/tiny");
  const { status, out } = await scene.coffer("fsck", "--json");
  assert.equal(status, 5);
  const { problems } = JSON.parse(out);
  assert.deepEqual([problems[0].code, problems[0].where.replaceAll("/", "")], ["CORRUPT", `blobs${sha256}`]);
});

test("S30 no request starts a check of the store", async (t) => {
  const scene = await new Scene(t).init();
  const { ask } = await scene.serve();
  for (const path of ["/v1/fsck", "/v1/verify", "/verify-all"]) {
    assert.equal((await ask("GET", path)).status, 404);
    assert.equal((await ask("POST", path)).status, 405);
  }
});

test("S31 resolve of a good name is yes, with what is established and what is not", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const { verdict } = JSON.parse(await scene.must("resolve", "acme/tiny", "--json"));
  assert.equal(verdict.trusted, true);
  assert.ok(verdict.established.length > 0 && verdict.notEstablished.length > 0);
});

test("S32 changed bytes are handed out nowhere", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const sha256 = await tamper(scene, "acme/tiny");
  assert.equal((await scene.refused("CORRUPT", "path", "acme/tiny")).status, 5);
  await scene.refused("CORRUPT", "checkout", "acme/tiny", "out");
  const answer = await (await scene.serve()).get(`/v1/blobs/sha256/${sha256}`);
  assert.deepEqual([answer.status, answer.code], [503, "CORRUPT"]);
});

test("S33 intact bytes of a revoked name are whole, and still refused", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.revoke("acme/tiny");
  assert.deepEqual(JSON.parse(await scene.must("fsck", "--json")).problems, []);
  await scene.refused("REVOKED", "resolve", "acme/tiny");
});

test("S34 what this machine cannot know of the store is said, not guessed", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const { verdict } = JSON.parse(await scene.must("--no-memory", "resolve", "acme/tiny", "--json"));
  assert.ok(verdict.notEstablished.some(({ id }: { id: string }) => id === "rollback"));
});

test("S35 what this machine does know is told under its id", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const { verdict } = JSON.parse(await scene.must("resolve", "acme/tiny", "--json"));
  const ids = verdict.established.map(({ id }: { id: string }) => id);
  for (const id of ["binding", "signatures", "policy", "evidence", "time", "revocations", "memory"])
    assert.ok(ids.includes(id), id);
});

/** As far as a name goes. */
async function deleted(t: { after(act: () => unknown): void }): Promise<Scene> {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.revoke("acme/tiny");
  await scene.must("delete", "acme/tiny", "--reason", "by law", "--yes");
  return scene;
}

test("S18 a deleted name stays denied, whatever is revoked after that", async (t) => {
  const scene = await deleted(t);
  await scene.coffer("revoke", "acme/tiny", "--yes");
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "deleted" });
  await scene.refused("DELETED", "resolve", "acme/tiny");
});

test("S19 delete keeps the record, and the bytes go", async (t) => {
  const scene = await deleted(t);
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "deleted" });
  assert.match((await scene.refused("DELETED", "path", "acme/tiny")).err, /by law/);
  for (let days = 0; days < 3; days += 1) {
    scene.nowS += 2 * 86_400;
    await scene.must("gc", "--older-than", "0");
  }
  assert.deepEqual(scene.files("my.coffer/blobs"), []);
  assert.match(await scene.must("log"), /acme\/tiny@main/);
});

test("S20 delete twice moves nothing", async (t) => {
  const scene = await deleted(t);
  const number = await scene.head();
  await scene.coffer("delete", "acme/tiny", "--yes");
  assert.equal(await scene.head(), number);
});

test("S21 a name that nobody knows cannot be deleted", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("NAME_NOT_FOUND", "delete", "acme/nothing", "--yes");
});

test("S24 from add to delete: each step asks for the one before", async (t) => {
  const scene = await new Scene(t).init();
  const { get } = await scene.serve();
  const is = async (state: string, status: number): Promise<void> => {
    assert.deepEqual(await scene.states(), { "acme/tiny@main": state });
    assert.equal((await get(`/v1/resolve/${FILE}`)).status, status, state);
  };
  await scene.refused("NOT_QUARANTINED", "promote", "acme/tiny");
  await scene.add("acme/tiny");
  await is("quarantined", 404);
  await scene.must("propose", "acme/tiny");
  await is("proposed", 404);
  await scene.must("approve", "acme/tiny", "--yes");
  await scene.must("promote", "acme/tiny");
  await is("trusted", 200);
  assert.notEqual((await scene.coffer("delete", "acme/tiny", "--yes")).status, 0);
  await is("trusted", 200);
  await scene.revoke("acme/tiny");
  await is("revoked", 410);
  await scene.must("delete", "acme/tiny", "--yes");
  await is("deleted", 410);
});

test("S29 a check misses no bytes that were deleted", async (t) => {
  const scene = await deleted(t);
  for (const blob of scene.files("my.coffer/blobs")) rmSync(blob);
  assert.deepEqual(JSON.parse(await scene.must("fsck", "--json")).problems, []);
});
