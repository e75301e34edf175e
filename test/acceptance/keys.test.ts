// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, the C rows: what is signed or kept outside the store, and the keys for it. */
import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { CofferError } from "../../src/base/errors.ts";
import { parsePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { instead, model, Scene } from "../support/scene.ts";

const KEYS = "home/.config/coffer/keys";

/** A candidate of two approvers, and what was written out for bob to sign. */
async function forBob(t: { after(act: () => unknown): void }): Promise<Scene> {
  const scene = new Scene(t);
  for (const who of ["alice", "bob", "mallory"]) await scene.must("key", "new", who, "--no-passphrase");
  const team = ["alice", "bob"].map((who) => `${who}=${scene.at(KEYS, who)}.pub`).join(",");
  await scene.must("init", "my.coffer", "--team", team, "--threshold", "2");
  await scene.add("acme/tiny");
  await scene.must("propose", "acme/tiny", "--as", "alice");
  await scene.must("approve", "acme/tiny", "--as", "alice", "--yes");
  await scene.must("approve", "acme/tiny", "--out", "out");
  return scene;
}

const STATEMENT = "out/acme-tiny-main.statement";

async function signBy(scene: Scene, who: string, bytes: Uint8Array): Promise<string> {
  const signer = nodeSigner(parsePrivateKey(scene.read(`${KEYS}/${who}`)));
  return scene.put(`${who}.sig`, await signSshsig(signer, "coffer-statement", bytes));
}

const bytesOf = (scene: Scene, path: string): Uint8Array => new TextEncoder().encode(scene.read(path));

test("C1 a key that is no regular file is refused", async (t) => {
  const scene = await new Scene(t).init();
  await scene.add("acme/tiny");
  mkdirSync(scene.at("folder"));
  for (const key of ["folder", "/dev/zero"]) await scene.refused("USAGE", "promote", "acme/tiny", "--key", key);
});

test("C2 private keys, people's and the store's, are made for their owner alone", async (t) => {
  const scene = await new Scene(t).init();
  const state = scene.at("home/.local/state/coffer");
  const [id = ""] = readdirSync(state);
  for (const path of [scene.at(KEYS, "alice"), `${state}/${id}/store_key`]) {
    assert.equal(statSync(path).mode & 0o777, 0o600, path);
  }
});

test("C3 the summary that goes with the bytes to sign names exactly these bytes", async (t) => {
  const scene = await forBob(t);
  const summary = readdirSync(scene.at("out")).find((name) => !name.endsWith(".statement")) ?? "";
  assert.ok(scene.read(`out/${summary}`).includes(sha256(bytesOf(scene, STATEMENT))));
});

test("C4 an older copy of the store is refused where the newer was seen", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  cpSync(scene.at("my.coffer"), scene.at("older.coffer"), { recursive: true });
  await scene.revoke("acme/tiny");
  await scene.refused("LOG_BEHIND_MEMORY", "--store", scene.at("older.coffer"), "resolve", "acme/tiny");
});

test("C5 a signature by a key that the policy does not name counts for nothing", async (t) => {
  const scene = await forBob(t);
  const signature = await signBy(scene, "mallory", bytesOf(scene, STATEMENT));
  const { status } = await scene.coffer("approve", "acme/tiny", "--in", signature);
  assert.ok([3, 4].includes(status), `exit ${status}`);
  await scene.refused("APPROVALS_SHORT", "promote", "acme/tiny");
  await scene.must("approve", "acme/tiny", "--in", await signBy(scene, "bob", bytesOf(scene, STATEMENT)));
  await scene.must("promote", "acme/tiny");
});

test("C8 a private key that others may read is refused", async (t) => {
  const scene = await new Scene(t).init();
  await scene.add("acme/tiny");
  chmodSync(scene.at(KEYS, "alice"), 0o644);
  await scene.refused("KEY_MODE", "promote", "acme/tiny");
});

test("C10 a key or a store that is there is never overwritten", async (t) => {
  const scene = await new Scene(t).init();
  const before = scene.read(`${KEYS}/alice`);
  await scene.refused("EXISTS", "key", "new", "alice", "--no-passphrase");
  await scene.refused("EXISTS", "init", "my.coffer", "--me", "alice");
  assert.equal(scene.read(`${KEYS}/alice`), before);
});

test("C11 a signature over other bytes than those of the candidate is refused", async (t) => {
  const scene = await forBob(t);
  const changed = bytesOf(scene, STATEMENT);
  changed[changed.length - 10] = (changed.at(-10) ?? 0) ^ 1;
  const { status, err } = await scene.coffer("approve", "acme/tiny", "--in", await signBy(scene, "bob", changed));
  assert.equal(status, 4, err);
  await scene.refused("APPROVALS_SHORT", "promote", "acme/tiny");
});

test("C12 a signature, key or policy file past its limit is refused before it is read whole", async (t) => {
  const scene = await forBob(t);
  const big = scene.put("big", new Uint8Array(20_000_000));
  const refusals = [
    await scene.refused("SIGNATURE_INVALID", "approve", "acme/tiny", "--in", big),
    await scene.refused("LIMIT_EXCEEDED", "approve", "acme/tiny", "--yes", "--key", big),
    await scene.refused("LIMIT_EXCEEDED", "init", "b.coffer", "--policy", big),
  ];
  for (const { err } of refusals) assert.match(err, /too large/);
});

test("C13 a disk that fills up leaves nothing behind, and the same act then succeeds", async (t) => {
  const scene = await new Scene(t).init();
  const before = scene.files();
  const plain = scene.openFolder;
  scene.openFolder = (root) => {
    const files = plain(root);
    const full = new CofferError("NO_SPACE", "planted");
    const create: typeof files.create = async (...args) => {
      const file = await files.create(...args);
      if (file === undefined) return undefined;
      let left = 4096;
      const write = (bytes: Uint8Array): Promise<void> => {
        left -= bytes.length;
        return left < 0 ? Promise.reject(full) : file.write(bytes);
      };
      return instead(file, { write });
    };
    return instead(files, { create });
  };
  assert.equal(
    (await scene.refused("NO_SPACE", "add", scene.put("m.gguf", model()), "--name", "acme/tiny")).status,
    10,
  );
  scene.openFolder = plain;
  assert.deepEqual(scene.files(), before);
  await scene.add("acme/tiny");
});

test("C14 a command that does not exist fails", async (t) => {
  assert.equal((await new Scene(t).refused("USAGE", "frobnicate")).status, 2);
});

test("C15 without what this machine remembered, a store is not served; with it, the answer is the same", async (t) => {
  const scene = await new Scene(t).init();
  await scene.trust("acme/tiny");
  await scene.refused("NO_MEMORY", "--state", scene.at("fresh"), "serve", "--port", "0");
  const before = await scene.must("resolve", "acme/tiny");
  cpSync(scene.at("my.coffer"), scene.at("copy.coffer"), { recursive: true });
  assert.equal(await scene.must("--store", scene.at("copy.coffer"), "resolve", "acme/tiny"), before);
});
