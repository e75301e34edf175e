// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, the U and O rows: the record of what was done, and the bytes that it is about. */
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { CofferError } from "../../src/base/errors.ts";
import { instead, model, Scene } from "../support/scene.ts";

const entryPath = (number: number): string => `my.coffer/log/000000/${String(number).padStart(12, "0")}`;

function overwrite(path: string, bytes: Uint8Array | string): void {
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
}

test("U1 each act is an entry, and whoever opens the store anew finds them good", async (t) => {
  const scene = await new Scene(t).init();
  const before = await scene.head();
  await scene.add("acme/tiny");
  assert.equal(await scene.head(), before + 1);
  await scene.must("promote", "acme/tiny");
  const { problems, checked } = JSON.parse(await scene.must("fsck", "--json"));
  assert.deepEqual([problems, checked.entries], [[], await scene.head()]);
});

test("U2 an act whose commit fails has not been: state and record are as before", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const plain = scene.openFolder;
  scene.openFolder = (root) => {
    const files = plain(root);
    const link: typeof files.link = (from, to) =>
      to.startsWith("log/") ? Promise.reject(new CofferError("IO_ERROR", "planted")) : files.link(from, to);
    return instead(files, { link });
  };
  const number = await scene.head();
  assert.equal((await scene.refused("IO_ERROR", "revoke", "acme/tiny", "--yes")).status, 10);
  scene.openFolder = plain;
  assert.equal(await scene.head(), number);
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "trusted" });
  await scene.revoke("acme/tiny");
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "revoked" });
});

test("U3 an entry that was rewritten is refused: its signature is over what it said", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.revoke("acme/tiny");
  const path = entryPath(await scene.head());
  overwrite(scene.at(path), scene.read(path).replace(/"time":"2026/, '"time":"2025'));
  for (const command of ["resolve", "path"]) {
    const { status } = await scene.coffer("--state", scene.at("fresh"), command, "acme/tiny");
    assert.ok([4, 5].includes(status), `exit ${status}`);
  }
});

test("U4 a file that shows another state changes no answer; a node that does is damage", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const statement = scene.read("my.coffer/refs/trusted/acme/tiny/main");
  await scene.revoke("acme/tiny");
  scene.put("my.coffer/refs/trusted/acme/tiny/main", statement);
  await scene.refused("REVOKED", "resolve", "acme/tiny");
  const { refs } = JSON.parse(scene.read(entryPath(await scene.head())).split("\n")[0] ?? "");
  const earlier = JSON.parse(scene.read(entryPath((await scene.head()) - 1)).split("\n")[0] ?? "").refs;
  const node = (id: string): string => scene.at("my.coffer/objects", id.slice(0, 2), id.slice(2));
  chmodSync(node(refs), 0o644);
  copyFileSync(node(earlier), node(refs));
  assert.equal((await scene.refused("CORRUPT", "resolve", "acme/tiny")).status, 5);
});

test("U5 no step can be left out: not quarantine, not the proposal, not the approvals", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("NOT_QUARANTINED", "promote", "acme/tiny");
  await scene.refused("NOT_PROPOSED", "approve", "acme/tiny", "--yes");
  const twoOfTwo = new Scene(t);
  for (const who of ["alice", "bob"]) await twoOfTwo.must("key", "new", who, "--no-passphrase");
  const keys = ["alice", "bob"].map((who) => `${who}=${twoOfTwo.at("home/.config/coffer/keys", who)}.pub`);
  await twoOfTwo.must("init", "my.coffer", "--team", keys.join(","), "--threshold", "2");
  await twoOfTwo.add("acme/tiny");
  await twoOfTwo.must("propose", "acme/tiny", "--as", "alice");
  await twoOfTwo.must("approve", "acme/tiny", "--as", "alice", "--yes");
  await twoOfTwo.refused("APPROVALS_SHORT", "promote", "acme/tiny");
});

test("U6 a store begins once: no second first entry, no init over it", async (t) => {
  const scene = await new Scene(t).init();
  await scene.refused("EXISTS", "init", "my.coffer", "--me", "alice");
  await scene.add("acme/tiny");
  const next = (await scene.head()) + 1;
  copyFileSync(scene.at(entryPath(1)), scene.at(entryPath(next)));
  const { status } = await scene.coffer("list");
  assert.ok([4, 5].includes(status), `exit ${status}`);
});

test("U7 objects and refs without their log are no store", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  rmSync(scene.at("my.coffer/log"), { recursive: true });
  for (const more of [[], ["--no-memory"], ["--state", scene.at("fresh")]]) {
    const { status, out } = await scene.coffer(...more, "resolve", "acme/tiny");
    assert.deepEqual([status, out], [5, ""]);
  }
});

test("O1 a source that is replaced afterwards leaves the stored bytes as they were", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  scene.put("model.gguf", model(2));
  assert.deepEqual(new Uint8Array(readFileSync(await scene.must("path", "acme/tiny"))), model());
});

test("O2 a blob that was changed is never accepted; the same bytes taken in again mend it", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  const [blob = ""] = scene.files("my.coffer/blobs");
  overwrite(blob, model(2));
  await scene.refused("CORRUPT", "path", "acme/tiny");
  await scene.add("acme/other", model(2));
  await scene.refused("CORRUPT", "path", "acme/tiny");
  await scene.add("acme/tiny");
  assert.deepEqual(new Uint8Array(readFileSync(await scene.must("path", "acme/tiny"))), model());
});

test("O3 an answer carries all that a consumer needs to check it", async (t) => {
  const scene = await new Scene(t).init();
  const id = await scene.trust("acme/tiny");
  const { verdict, manifest } = JSON.parse(await scene.must("resolve", "acme/tiny", "--json"));
  const [file] = manifest.files;
  assert.deepEqual(
    [verdict.name, verdict.manifest, manifest.id, file.path, file.size, file.format],
    ["acme/tiny@main", id, id, "model.gguf", model().length, "gguf"],
  );
  assert.match(file.sha256, /^[0-9a-f]{64}$/);
  assert.match(verdict.statement, /^[0-9a-f]{64}$/);
  assert.deepEqual([verdict.publisher, verdict.approvers, verdict.policy.number], ["alice", ["alice"], 1]);
});

test("O4 what another trusted name holds stays when a name with it is deleted", async (t) => {
  const scene = await new Scene(t).init();
  const license = scene.put("LICENSE", "SPDX-License-Identifier: Apache-2.0\n");
  for (const [seed, name] of ["acme/one", "acme/two"].entries()) {
    await scene.must("add", scene.put("model.gguf", model(seed + 1)), license, "--name", name);
    await scene.must("promote", name);
  }
  await scene.revoke("acme/one");
  await scene.must("delete", "acme/one", "--yes");
  for (let days = 0; days < 3; days += 1) {
    scene.nowS += 2 * 86_400;
    await scene.must("gc", "--older-than", "0");
  }
  assert.equal(scene.files("my.coffer/blobs").length, 2);
  assert.equal(readFileSync(await scene.must("path", "acme/two", "LICENSE"), "utf8"), scene.read("LICENSE"));
  assert.deepEqual(new Uint8Array(readFileSync(await scene.must("path", "acme/two", "model.gguf"))), model(2));
});
