// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, the W rows: what users of such registries suffer from. Each would fail on a store that has it. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, renameSync, statSync, utimesSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { ERRORS } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { makeStatement, parseStatement } from "../../src/objects/documents/statement.ts";
import { drain, slowDownload } from "../server/client.ts";
import { judge } from "../support/evaluate-cases.ts";
import { instead, model, Scene } from "../support/scene.ts";
import { makeSafetensors } from "../support/store-fixture.ts";

test("W2 a revocation of as many blobs as a manifest may list is a statement within its limits", () => {
  const blobs = Array.from({ length: 100_000 }, (_, index) => sha256(new TextEncoder().encode(String(index)))).sort();
  const some = blobs[0] as Digest;
  const { bytes } = makeStatement({
    ...{ root: some, manifest: some, policy: some, sequence: 1, previous: [], evidence: [] },
    ref: nameRef("revoked", parseName("acme/tiny")),
    issuedAt: parseTime("2026-11-22T12:00:00Z"),
    revokes: { manifests: [some], blobs, statements: [] },
  });
  assert.equal(parseStatement(bytes).value.revokes?.blobs.length, 100_000);
});

test("W3 a lookup reads no byte of the model", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const lookup = (): Promise<unknown> => scene.must("resolve", "acme/tiny");
  assert.equal(await scene.opened(lookup, "blobs/"), 0);
  assert.ok((await scene.opened(lookup)) > 0, "the counter counts");
});

test("W4 a client that reads slowly holds up no writer and no other reader", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("m.safetensors", makeSafetensors(30_000_000)), "--name", "acme/big");
  await scene.must("promote", "acme/big");
  const { port, get } = await scene.serve();
  const { files } = JSON.parse((await get("/v1/resolve/acme/big/main")).text);
  const socket = await slowDownload(port, files[0].url);
  await scene.trust("acme/tiny");
  assert.equal((await get("/v1/resolve/acme/tiny/main")).status, 200);
  assert.ok(!socket.destroyed, "it is still being served");
  assert.ok((await drain(socket)) > 30_000_000, "and gets all of it");
});

test("W5 busy, full and lost races have other codes and statuses than damage", () => {
  for (const code of ["REF_MOVED", "NO_SPACE", "IO_ERROR", "ADDRESS_IN_USE"] as const) {
    assert.notEqual(ERRORS[code].exit, ERRORS.CORRUPT.exit, code);
  }
  assert.equal(ERRORS.REF_MOVED.exit, 7);
  assert.equal(ERRORS.CORRUPT.exit, 5);
});

test("W6 revoked bytes do not come back under another name", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.trust("acme/copy");
  await scene.revoke("acme/tiny");
  await scene.refused("REVOKED", "resolve", "acme/copy");
  await scene.add("other/name");
  await scene.refused("REVOKED", "promote", "other/name");
});

test("W7 history is signed: a chain that was made anew without the store's key is refused", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const other = await new Scene(t).init();
  await other.trust("acme/tiny", model(2));
  const number = String(await scene.head()).padStart(12, "0");
  cpSync(other.at(`my.coffer/log/000000/${number}`), scene.at("forged"));
  renameSync(scene.at("forged"), scene.at(`my.coffer/log/000000/${number}`));
  cpSync(other.at("my.coffer/objects"), scene.at("my.coffer/objects"), { recursive: true, force: false });
  const { status } = await scene.coffer("--no-memory", "resolve", "acme/tiny");
  assert.ok([4, 5].includes(status), `exit ${status}`);
});

test("W8 no file whose loss un-revokes", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const before = new Set(scene.files());
  await scene.revoke("acme/tiny");
  const made = scene.files().filter((path) => !before.has(path) && !path.includes("/local/"));
  assert.ok(made.length >= 6, made.join("\n"));
  for (const path of made) {
    renameSync(path, `${path}.lost`);
    const { status, out } = await scene.coffer("resolve", "acme/tiny");
    assert.notEqual(status, 0, path);
    assert.equal(out, "", path);
    renameSync(`${path}.lost`, path);
  }
});

test("W9 a format is what the content says, not what the name says", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("ADMISSION_REFUSED", "add", scene.put("model.gguf", makePickle()), "--name", "acme/tiny");
  await scene.refused("ADMISSION_REFUSED", "add", scene.put("model.safetensors", model()), "--name", "acme/tiny");
  await scene.refused("ADMISSION_REFUSED", "add", scene.put("model.json", model()), "--name", "acme/tiny");
});

test("W10 evidence counts by who signed it, not by being there", () => {
  assert.equal(judge({}).trusted, true);
  for (const signers of [[], ["mallory-1"], ["alice-1"]]) {
    const { trusted, reasons } = judge({ set: { "/evidence/e1/signedBy": signers } });
    assert.deepEqual([trusted, reasons[0]?.code], [false, "EVIDENCE_MISSING"]);
  }
});

test("W11 no name, file or digest that a caller gives reaches bytes of another model", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.must("add", scene.put("b/other.gguf", model(2)), "--name", "acme/hidden");
  await scene.refused("FILE_NOT_FOUND", "path", "acme/tiny", "other.gguf");
  await scene.refused("FILE_NOT_FOUND", "path", "acme/tiny", `../../../blobs/${sha256(model(2)).slice(0, 2)}`);
  const { get } = await scene.serve();
  assert.equal((await get(`/v1/blobs/sha256/${sha256(model(2))}`)).status, 404);
  assert.equal((await get(`/v1/blobs/sha256/${sha256(model())}`)).status, 200);
});

test("W12 no control character that came from outside reaches the terminal", async (t) => {
  const scene = await new Scene(t).init();
  const evil = "\u001b[2J\u0007\u009b";
  const outputs = [
    await scene.coffer("resolve", `acme/${evil}`),
    await scene.coffer("add", scene.put(`a${evil}.gguf`, model()), "--name", "acme/tiny"),
    await scene.coffer("add", scene.put("m.gguf", model()), "--name", "acme/tiny", "--license", evil),
    await scene.coffer("show", "acme/tiny"),
    await scene.coffer(`frob${evil}`),
  ];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  for (const { out, err } of outputs) assert.doesNotMatch(out + err, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});

test("W13 a repeated JSON key, or one in other letters, is refused", async (t) => {
  const scene = await new Scene(t).init();
  const { policy } = JSON.parse(await scene.must("policy", "show", "--json"));
  const text = JSON.stringify(policy);
  for (const [from, to] of [
    ['"threshold":1', '"threshold":1,"threshold":0'],
    ['"threshold":1', '"Threshold":1'],
    ['"threshold":1', '"threshold":1,"Threshold":0'],
  ] as const) {
    assert.ok(text.includes(from));
    const { status, err } = await scene.coffer("init", "b", "--policy", scene.put("p.json", text.replace(from, to)));
    assert.equal(status, 2, err);
  }
});

test("W14 what failed prints nothing on stdout and never ends with 0", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/gone");
  await scene.revoke("acme/gone");
  for (const argv of [
    ["add", "nowhere", "--name", "acme/tiny"],
    ["add", scene.put("evil.bin", makePickle()), "--name", "acme/tiny"],
    ["propose", "acme/none"],
    ["approve", "acme/none", "--yes"],
    ["promote", "acme/none"],
    ["promote"],
    ["revoke", "acme/none", "--yes"],
    ["resolve", "acme/gone"],
    ["path", "acme/gone"],
    ["checkout", "acme/gone", "out"],
    ["show", "acme/none"],
    ["serve", "--port", "99999"],
    ["resolve"],
  ]) {
    const { status, out, err } = await scene.coffer(...argv);
    assert.deepEqual([status === 0, out], [false, ""], argv.join(" "));
    assert.match(err, /coffer: error: .*\[[A-Z_]+\]/);
  }
});

test("W15 what a stopped writer left goes with the next one, and a good object stays readable", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const plain = scene.openFolder;
  scene.openFolder = (root) => {
    const files = plain(root);
    const link: typeof files.link = () => Promise.reject(new Error("stopped here"));
    return instead(files, { link });
  };
  await scene.coffer("add", scene.put("m.gguf", model(2)), "--name", "acme/next");
  scene.openFolder = plain;
  mkdirSync(scene.at("my.coffer/local/tmp"), { recursive: true });
  await scene.add("acme/next", model(2));
  assert.deepEqual(scene.files("my.coffer/local/tmp"), []);
  assert.deepEqual(JSON.parse(await scene.must("fsck", "--json")).problems, []);
  assert.deepEqual(new Uint8Array(readFileSync(await scene.must("path", "acme/tiny"))), model());
});

test("W16 promoting copies no model: the disk holds each blob once", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("m.safetensors", makeSafetensors(3_000_000)), "--name", "acme/tiny");
  const size = (): number => scene.files().reduce((sum, path) => sum + statSync(path).size, 0);
  const before = size();
  await scene.must("promote", "acme/tiny");
  await scene.must("promote", "acme/tiny", "--to", "@prod");
  assert.ok(size() - before < 100_000, `${size() - before} bytes more`);
});

test("W17 no limit of time cuts off a download that moves, however long it takes", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("m.safetensors", makeSafetensors(30_000_000)), "--name", "acme/big");
  await scene.must("promote", "acme/big");
  const { port, get } = await scene.serve({ headerTimeoutMs: 1000, keepAliveMs: 1000 });
  const { files } = JSON.parse((await get("/v1/resolve/acme/big/main")).text);
  const socket = await slowDownload(port, files[0].url);
  let read = 0;
  for (let looks = 0; looks < 25; looks += 1) {
    await wait(100);
    read += socket.read(65_536)?.length ?? 0;
  }
  assert.ok(read + (await drain(socket)) > 30_000_000);
});

test("W18 models and revocations cross on a stick, and a receipt says that they have", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const { id, policy } = JSON.parse(await scene.must("policy", "show", "--json"));
  const stick = scene.at("stick");
  await scene.must("bundle", "create", "acme/tiny", "--out", stick);
  const there = scene.at("there.coffer");
  await scene.must("clone", stick, there, "--root", `${policy.number}:${id}`);
  await scene.must("--store", there, "resolve", "acme/tiny");
  await scene.revoke("acme/tiny");
  const news = scene.at("news");
  await scene.must("bundle", "create", "--revocations", "--out", news);
  await scene.must("--store", there, "bundle", "import", news);
  await scene.refused("REVOKED", "--store", there, "resolve", "acme/tiny");
  await scene.must("--store", there, "receipt", "create", scene.at("receipt"));
  await scene.must("receipt", "verify", scene.at("receipt"));
  // And a store that is carried as a folder answers there as here, and says what that machine cannot know.
  await scene.trust("acme/other", model(2));
  cpSync(scene.at("my.coffer"), scene.at("carried.coffer"), { recursive: true });
  for (const path of scene.files("carried.coffer")) utimesSync(path, 1, 1);
  const answer = await scene.must(
    "--store",
    scene.at("carried.coffer"),
    "--state",
    scene.at("there"),
    "resolve",
    "acme/other",
    "--json",
  );
  const { verdict } = JSON.parse(answer);
  assert.equal(verdict.trusted, true);
  assert.ok(verdict.notEstablished.some(({ id }: { id: string }) => id === "rollback"));
});
