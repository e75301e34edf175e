// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, the D, P and L rows: what admission, paths and the command line refuse. */
import assert from "node:assert/strict";
import { appendFileSync, linkSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { test } from "node:test";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import { parseManifestPath } from "../../src/base/names.ts";
import { parseStatement } from "../../src/objects/documents/statement.ts";
import { raw, statusOf } from "../server/client.ts";
import { model, Scene } from "../support/scene.ts";

const person = (key: string): object => ({ keys: [{ key: key.split(" ").slice(0, 2).join(" "), status: "active" }] });

/** A store whose one rule wants a scan by somebody else. */
async function withScan(t: { after(act: () => unknown): void }): Promise<Scene> {
  const scene = new Scene(t);
  for (const who of ["alice", "scanner"]) await scene.must("key", "new", who, "--no-passphrase");
  const role = { principals: ["alice"], threshold: 1 };
  const policy = {
    principals: Object.fromEntries(
      ["alice", "scanner"].map((who) => [who, person(scene.read(`home/.config/coffer/keys/${who}.pub`))]),
    ),
    rootRole: role,
    rules: [
      {
        names: "*/*@*",
        publishers: ["alice"],
        approvers: role,
        revokers: role,
        evidence: [{ kind: "inspection" }, { kind: "scan", signers: ["scanner"] }],
      },
    ],
  };
  await scene.must("init", "my.coffer", "--policy", scene.put("policy.json", JSON.stringify(policy)));
  return scene;
}

test("D1 where the rule asks for a scan, nothing is promoted without one", async (t) => {
  const scene = await withScan(t);
  await scene.add("acme/tiny");
  await scene.refused("EVIDENCE_MISSING", "promote", "acme/tiny", "--as", "alice");
  assert.deepEqual(Object.values(await scene.states()).includes("trusted"), false);
});

test("D2 what failed inspection cannot be promoted; what passed it can", async (t) => {
  const scene = await new Scene(t).init();
  await scene.must("add", scene.put("evil.bin", makePickle()), "--name", "acme/tiny", "--keep");
  await scene.refused("NOT_QUARANTINED", "promote", "acme/tiny");
  await scene.trust("acme/tiny");
  assert.deepEqual(await scene.states(), { "acme/tiny@main": "trusted" });
});

test("P1 no name and no path leads out of the store, by command line, manifest or HTTP", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  for (const name of ["../etc/passwd", "/etc/passwd", "acme/../tiny", "acme/ti\0ny", "acme\\tiny", ".", "acme/"]) {
    for (const command of ["resolve", "path", "propose"]) await scene.refused("NAME_INVALID", command, name);
  }
  for (const path of ["../a", "/a", "a/../b", "a\0b", "a\\b", "./a", "C:a", "a//b", ".git/config", ""]) {
    assert.throws(() => parseManifestPath(path), { name: "CofferError" }, path);
  }
  for (const file of ["../../../coffer.json", "/etc/passwd"]) {
    await scene.refused("FILE_NOT_FOUND", "path", "acme/tiny", file);
  }
  const { port } = await scene.serve();
  for (const target of [
    "/v1/resolve/acme/../tiny",
    "/v1/blobs/sha256/../../coffer.json",
    "/..",
    "/v1/models/a/%2e%2e/b",
  ]) {
    const answer = await raw(port, `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
    assert.ok([400, 404].includes(statusOf(answer)), answer);
  }
});

test("P2 a symbolic link is refused; a hard link's later change does not reach the store", async (t) => {
  const scene = await new Scene(t).init();
  scene.put("model.gguf", model());
  symlinkSync(scene.at("model.gguf"), scene.at("link.gguf"));
  const { status } = await scene.coffer("add", "link.gguf", "--name", "acme/link");
  assert.notEqual(status, 0);
  linkSync(scene.at("model.gguf"), scene.at("hard.gguf"));
  await scene.must("add", "hard.gguf", "--name", "acme/tiny");
  await scene.must("promote", "acme/tiny");
  appendFileSync(scene.at("model.gguf"), "changed");
  const path = await scene.must("path", "acme/tiny");
  assert.deepEqual(new Uint8Array(readFileSync(path)), model());
  assert.equal(statSync(path).nlink, 1);
});

test("P3 a statement without its state is none, and two files of one path are no model", async (t) => {
  const scene = await new Scene(t).init();
  const body = { type: "coffer/statement", version: 1, manifest: "0".repeat(64), sequence: 1 };
  assert.throws(() => parseStatement(new TextEncoder().encode(`${JSON.stringify(body)}\n`)), { name: "CofferError" });
  const files = [scene.put("a/model.gguf", model()), scene.put("b/model.gguf", model(2))];
  assert.notEqual((await scene.coffer("add", ...files, "--name", "acme/tiny")).status, 0);
  assert.deepEqual(await scene.states(), {});
});

test("L1 names need no encoding, and an encoded one is refused", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny@v1.0_x-y");
  const { get } = await scene.serve();
  assert.equal((await get("/v1/resolve/acme/tiny/v1.0_x-y")).status, 200);
  assert.equal((await get("/v1/resolve/acme/tiny/v1%2e0_x-y")).status, 400);
});

test("L3 without a key that the policy names, no act is done", async (t) => {
  const scene = await new Scene(t).init();
  await scene.add("acme/tiny");
  const number = await scene.head();
  await scene.must("key", "new", "mallory", "--no-passphrase", "--out", scene.at("mallory"));
  for (const [command, ...more] of [["propose"], ["promote"], ["revoke", "--yes"]]) {
    await scene.refused("KEY_NOT_FOUND", command ?? "", "acme/tiny", ...more, "--key", scene.at("mallory"));
    await scene.refused("KEY_NOT_FOUND", "--keys", scene.at("nowhere"), command ?? "", "acme/tiny", ...more);
  }
  assert.equal(await scene.head(), number);
});

test("L5 a store is a folder: an address on the network is none", async (t) => {
  const scene = await new Scene(t).init();
  for (const url of ["http://127.0.0.1:8470", "https://example.org/my.coffer"]) {
    await scene.refused("STORE_NOT_FOUND", "--store", url, "list");
  }
});
