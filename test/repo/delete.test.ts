// SPDX-License-Identifier: Apache-2.0
/** Deleting: only what is revoked, by its revokers; the bytes go unless something holds them, and the record stays. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath, objectPath, signaturePath } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { trashPath } from "../../src/objects/trash.ts";
import { deleteName, planDelete, removeBytes } from "../../src/repo/delete.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { pathOf } from "../../src/repo/materialise.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { forgetFallen, planRevoke, revoke } from "../../src/repo/revoke.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, ruleFor, type StoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const weights = makeSafetensors(300, 1);
const FILES = { "model.safetensors": weights };
const BLOB = sha256(weights);

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return error.code;
  }
}

const ask = (fixture: StoreFixture, name = NAME): Promise<string> =>
  codeOf(async () => resolve(await fixture.open(), name));

async function damage(fixture: StoreFixture): Promise<string[]> {
  return (await fsck(await fixture.open())).problems.map(({ code, where }) => `${code} ${where}`);
}

const inStore = ({ location }: StoreFixture, path: string): string => join(location.root, path);
const has = (fixture: StoreFixture, path: string): boolean => existsSync(inStore(fixture, path));

/** A temporary file of a process that had this one's number and is gone. */
function leaveTemporary(fixture: StoreFixture): string {
  const mark = fixture.store.files.writer.mark.replace(/[0-9]+$/, "1");
  const path = inStore(fixture, `local/tmp/${mark}-${"0".repeat(32)}`);
  writeFileSync(path, "left");
  return path;
}

async function erase(fixture: StoreFixture, store = fixture.store) {
  const done = await deleteName(store, { name: NAME, reason: "asked to" }, fixture.signers.carol);
  return { done, removed: await removeBytes(store, done) };
}

describe("delete", () => {
  test("only what is revoked, and only by its revokers; what is not made leaves nothing", async (t) => {
    const fixture = await makeStoreFixture(t);
    const by = (who: "alice" | "carol") => () => deleteName(fixture.store, { name: NAME }, fixture.signers[who]);
    assert.equal(await codeOf(by("carol")), "NAME_NOT_FOUND");
    await fixture.add(NAME.text, FILES);
    assert.equal(await codeOf(by("carol")), "NOT_REVOKED");
    await fixture.trust(NAME.text, FILES);
    assert.equal(await codeOf(by("carol")), "NOT_REVOKED");
    await fixture.revoke(NAME.text);
    const before = (await fixture.store.head()).id;
    assert.equal(await codeOf(by("alice")), "NOT_ALLOWED");
    assert.equal((await fixture.store.head()).id, before);
    assert.equal(has(fixture, blobPath(BLOB)), true);
  });

  test("bytes and checkouts go, the record stays, and nothing of it is damage; twice does nothing", async (t) => {
    const fixture = await makeStoreFixture(t);
    const { manifest } = await fixture.trust(NAME.text, FILES);
    const { path } = await pathOf(fixture.store, NAME);
    await fixture.revoke(NAME.text, "training data leak");
    assert.equal((await planDelete(fixture.store, { name: NAME })).because, "training data leak");
    mkdirSync(join(path, ".."), { recursive: true }); // as a revocation left it that was stopped after its commit
    writeFileSync(path, "left");
    const { done, removed } = await erase(fixture);
    assert.deepEqual([removed.blobs, removed.bytes, removed.held, removed.left], [1, weights.length, [], []]);
    assert.deepEqual([has(fixture, blobPath(BLOB)), existsSync(path)], [false, false]);
    assert.deepEqual([has(fixture, objectPath(manifest)), await ask(fixture)], [true, "DELETED"]);
    assert.deepEqual(await damage(fixture), []);
    const again = await erase(fixture);
    assert.deepEqual([again.done.entry, again.done.already, again.removed.blobs], [undefined, done.statement, 0]);
  });

  test("every manifest that the name had goes, but no blob that anything else holds", async (t) => {
    const fixture = await makeStoreFixture(t);
    const second = makeSafetensors(300, 2);
    const shared = makeSafetensors(300, 3);
    const readme = Buffer.from("# shared\n");
    await fixture.trust(NAME.text, FILES);
    await fixture.trust(NAME.text, { "model.safetensors": second, "README.md": readme });
    await fixture.trust("acme/trusted", { "model.safetensors": shared, "README.md": readme });
    fixture.nowS += 1;
    await fixture.add("acme/waiting", { "a.safetensors": weights, "b.safetensors": shared });
    await fixture.revoke(NAME.text);
    const { done, removed } = await erase(fixture);
    assert.equal(done.manifests.length, 2);
    assert.deepEqual([...removed.held].sort(), [BLOB, sha256(readme)].sort());
    assert.deepEqual(
      [weights, second, shared, readme].map((bytes) => has(fixture, blobPath(sha256(bytes)))),
      [true, false, true, true],
    );
    assert.equal(await ask(fixture, parseName("acme/trusted")), "done");
    assert.deepEqual(await damage(fixture), []);
    rmSync(inStore(fixture, blobPath(sha256(shared))));
    assert.deepEqual(
      (await damage(fixture)).map((text) => text.split(" ")[0]),
      ["CORRUPT"],
      "a blob that somebody needs is missed as ever",
    );
  });

  test("stopped after its commit it is finished by whoever deletes the name once more", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    await deleteName(fixture.store, { name: NAME }, fixture.signers.carol);
    assert.equal(has(fixture, blobPath(BLOB)), true);
    const left = leaveTemporary(fixture);
    const store = await fixture.open();
    const plan = await planDelete(store, { name: NAME });
    assert.notEqual(plan.already, undefined);
    assert.equal((await removeBytes(store, plan)).blobs, 1);
    assert.deepEqual([has(fixture, blobPath(BLOB)), existsSync(left)], [false, false]);
  });

  test("so is a revocation by whoever revokes once more, though nothing is written then", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    const left = leaveTemporary(fixture);
    const store = await fixture.open();
    const before = (await store.head()).id;
    const plan = await planRevoke(store, { name: NAME, also: [] });
    assert.notEqual(plan.already, undefined);
    assert.equal(existsSync(left), true, "planning removes nothing");
    await forgetFallen(store, plan);
    assert.deepEqual([existsSync(left), (await store.head()).id], [false, before]);
  });

  test("who adds the same bytes at that very moment gets them back", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    let meanwhile: (() => Promise<unknown>) | undefined = () => fixture.add("acme/again", FILES);
    const openFolder = (path: string): Files =>
      new Proxy(openRealFiles(path), {
        get: (target, key: keyof Files) => {
          const member = target[key];
          if (typeof member !== "function") return member;
          if (key !== "rename") return member.bind(target);
          return async (from: string, to: string) => {
            const act = to === trashPath(blobPath(BLOB)) ? meanwhile : undefined;
            if (act === undefined) return target.rename(from, to);
            // Committed after the deletion looked who holds the blob, and before it is moved.
            meanwhile = undefined;
            await act();
            await target.rename(from, to);
          };
        },
      });
    const store = await openStore(fixture.location, { ...fixture.ports, openFolder });
    const { removed } = await erase(fixture, store);
    assert.equal(meanwhile, undefined, "it was met");
    assert.deepEqual([removed.blobs, removed.held], [0, [BLOB]]);
    assert.equal(has(fixture, blobPath(BLOB)), true);
    assert.deepEqual(await damage(fixture), []);
  });

  test("what is signed is what was shown", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    const shown = await planDelete(fixture.store, { name: NAME });
    fixture.nowS += 1;
    await fixture.trust(NAME.text, { "model.safetensors": makeSafetensors(300, 2) });
    await fixture.revoke(NAME.text);
    const act = () => deleteName(fixture.store, { name: NAME }, fixture.signers.carol, shown);
    assert.equal(await codeOf(act), "REF_MOVED");
    assert.equal(await ask(fixture), "REVOKED");
  });

  test("other bytes may come under the name; the revoked ones never", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    await erase(fixture);
    fixture.nowS += 1;
    await fixture.add(NAME.text, FILES);
    assert.equal(await codeOf(() => fixture.propose(NAME.text)), "REVOKED");
    await fixture.trust(NAME.text, { "model.safetensors": makeSafetensors(300, 2) });
    assert.equal(await ask(fixture), "done");
    assert.deepEqual(await damage(fixture), []);
    await fixture.revoke(NAME.text);
    const { done } = await erase(fixture);
    assert.equal(done.manifests.length, 1, "back to the deletion before, and no further");
  });
});

describe("delete, with several revokers", () => {
  const rules = [ruleFor("*/*@*", { revokers: { principals: ["bob", "carol"], threshold: 2 } })];

  test("waits for the second, who signs the same; then all signatures are on record", async (t) => {
    const fixture = await makeStoreFixture(t, rules);
    await fixture.trust(NAME.text, FILES);
    for (const who of ["bob", "carol"] as const)
      await revoke(fixture.store, { name: NAME, also: [] }, fixture.signers[who]);
    const first = await deleteName(fixture.store, { name: NAME, reason: "one" }, fixture.signers.bob);
    assert.deepEqual([first.entry, first.signed], [undefined, ["bob"]]);
    assert.deepEqual([await ask(fixture), await damage(fixture)], ["REVOKED", []]);
    fixture.nowS += 1;
    const other = () => deleteName(fixture.store, { name: NAME, reason: "two" }, fixture.signers.carol);
    assert.equal(await codeOf(other), "CANDIDATE_EXISTS");
    const second = await deleteName(fixture.store, { name: NAME }, fixture.signers.carol);
    assert.deepEqual([second.statement, second.signed], [first.statement, ["bob", "carol"]]);
    const head = await fixture.store.head();
    assert.equal(await head.readRef(nameRef("deleting", NAME)), undefined);
    assert.equal(await ask(fixture), "DELETED");
    for (const who of ["bob", "carol"] as const) {
      const path = inStore(fixture, signaturePath(second.statement, fixture.signers[who].publicKey.keyId));
      const kept = readFileSync(path);
      rmSync(path);
      assert.equal(await ask(fixture), "CORRUPT", who);
      writeFileSync(path, kept);
    }
    assert.deepEqual(await damage(fixture), []);
  });
});
