// SPDX-License-Identifier: Apache-2.0
/** The list of remotes, and the receipts that came from them. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fingerprint } from "../../src/keys/public-key.ts";
import { compareReceipt, readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { pull } from "../../src/repo/pull.ts";
import {
  addRemote,
  keepReceipt,
  kindOf,
  lastReceipt,
  listRemotes,
  needRemote,
  noteRemote,
  removeRemote,
} from "../../src/repo/remotes.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeReceiptFile, parseReceiptFile } from "../../src/sync/receipt.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";

test("what an address is, and what is none", () => {
  const kinds = ["/mnt/stick", "http://127.0.0.1:8470", "https://a.example/x", "git+https://a.example/x.git"].map(
    kindOf,
  );
  assert.deepEqual(kinds, ["folder", "http", "http", "git"]);
  for (const bad of [
    "",
    "stick",
    "ftp://a.example",
    "git+ssh://a.example/x",
    "git+/x",
    "file:///x",
    "http://",
    "https://u:p@a.example/",
    "https://a.example/x?y",
    "https://a.example/#x",
  ])
    assert.throws(() => kindOf(bad), { code: "USAGE" }, bad);
});

test("remotes are added, listed by name, changed and removed; a name is taken once", async (t) => {
  const { store, open, location, ports, folder } = await makeStoreFixture(t);
  assert.deepEqual(await listRemotes(store), []);
  await addRemote(store, "stick", "/mnt/stick");
  const hub = await addRemote(store, "hub", "git+https://a.example/models.git");
  const commit = "1".repeat(40) as NonNullable<(typeof hub)["commit"]>;
  await noteRemote(store, { ...hub, store: store.id, commit });
  assert.deepEqual(structuredClone(await listRemotes(await open())), [
    { name: "hub", url: "git+https://a.example/models.git", store: store.id, commit },
    { name: "stick", url: "/mnt/stick" },
  ]);
  await assert.rejects(addRemote(store, "hub", "/elsewhere"), { code: "EXISTS" });
  await assert.rejects(addRemote(store, "no name", "/elsewhere"), { code: "NAME_INVALID" });
  await assert.rejects(addRemote(store, "x", "elsewhere"), { code: "USAGE" });
  await assert.rejects(addRemote(store, "x", "http://127.0.0.1:8470/?q"), { code: "USAGE" });
  await assert.rejects(removeRemote(store, "gone"), { code: "REMOTE_NOT_FOUND" });
  await assert.rejects(needRemote(store, "../hub"), { code: "REMOTE_NOT_FOUND" });
  await removeRemote(store, "hub");
  assert.deepEqual(
    (await listRemotes(store)).map(({ name }) => name),
    ["stick"],
  );
  const reader = await openStore({ ...location, secrets: join(folder, "none") }, ports);
  assert.equal((await listRemotes(reader)).length, 1);
  await assert.rejects(addRemote(reader, "y", "/y"), { code: "NO_STORE_KEY" });
});

test("a list that was damaged is named, not taken for an empty one", async (t) => {
  const { store, location } = await makeStoreFixture(t);
  await addRemote(store, "stick", "/mnt/stick");
  const file = join(location.root, "local/remotes/remotes.json");
  const good = readFileSync(file, "utf8");
  for (const bad of ["", "{}\n", good.slice(0, -2), good.replace("/mnt", "mnt"), `${good} `]) {
    writeFileSync(file, bad);
    await assert.rejects(listRemotes(store), { code: "CORRUPT" }, bad);
  }
});

test("of receipts the newest stays; a damaged one is named; they go with their remote", async (t) => {
  const [here, there] = [await makeStoreFixture(t), await makeStoreFixture(t)];
  const remote = await addRemote(here.store, "there", "/mnt/stick");
  assert.equal(await lastReceipt(here.store, remote.name), undefined);
  const older = await writeReceipt(there.store);
  await there.trust("acme/one", { "README.md": new TextEncoder().encode("one\n") });
  const newer = await writeReceipt(there.store);
  const number = async (): Promise<number | undefined> =>
    (await lastReceipt(here.store, remote.name))?.receipt.value.log.number;
  await keepReceipt(here.store, remote, newer);
  const expected = (await readReceipt(newer)).receipt.value.log.number;
  assert.equal(await number(), expected);
  await keepReceipt(here.store, remote, older);
  assert.equal(await number(), expected);
  await assert.rejects(keepReceipt(here.store, remote, newer.subarray(1)));
  assert.equal(await number(), expected);
  const file = join(here.location.root, "local/remotes/there.receipt");
  writeFileSync(file, newer.subarray(0, -1));
  await assert.rejects(lastReceipt(here.store, remote.name), { code: "CORRUPT" });
  await removeRemote(here.store, "there");
  assert.equal(existsSync(file), false);
});

test("a receipt of another store, or by another key than before, takes no receipt's place", async (t) => {
  const stores = [await makeStoreFixture(t), await makeStoreFixture(t), await makeStoreFixture(t)] as const;
  const [here, there, other] = stores;
  const remote = await addRemote(here.store, "there", "/mnt/stick");
  const honest = await writeReceipt(there.store);
  await keepReceipt(here.store, remote, honest);
  await assert.rejects(keepReceipt(here.store, remote, await writeReceipt(other.store)), { code: "USAGE" });
  const { receipt, inventory } = parseReceiptFile(honest);
  const { storeKey: _, ...body } = receipt.value;
  const claimed = await makeReceiptFile(body, inventory, await other.store.needSigner());
  await assert.rejects(keepReceipt(here.store, remote, claimed), { code: "SIGNATURE_INVALID" });
  assert.equal((await lastReceipt(here.store, remote.name))?.receipt.value.storeKey.keyId, there.store.storeKey.keyId);
});

test("whose receipt came first is said, with its key, once; not of the store that was found there", async (t) => {
  const [here, there, known] = [await makeStoreFixture(t), await makeStoreFixture(t), await makeStoreFixture(t)];
  const remote = await addRemote(here.store, "lab", "/mnt/stick");
  await keepReceipt(here.store, remote, await writeReceipt(there.store));
  const [warning = "", ...others] = here.store.warnings.splice(0);
  assert.equal(others.length, 0);
  assert.ok(warning.includes(`first receipt from store ${there.store.id}, key ${fingerprint(there.store.storeKey)}`));
  assert.match(warning, /compare both .*`coffer remote remove lab`/);
  await keepReceipt(here.store, remote, await writeReceipt(there.store));
  assert.deepEqual(here.store.warnings, []);
  const other = { ...(await addRemote(here.store, "site", "/mnt/other")), store: known.store.id };
  await noteRemote(here.store, other);
  await keepReceipt(here.store, other, await writeReceipt(known.store));
  assert.deepEqual(here.store.warnings, []);
  await removeRemote(here.store, "site");
  await addRemote(here.store, "site", "/mnt/other");
  await noteRemote(here.store, other);
  await keepReceipt(here.store, other, await writeReceipt(there.store));
  assert.match(here.store.warnings.join(), new RegExp(`found there before is store ${known.store.id.slice(0, 12)}`));
});

test("a store whose bundle was imported is known by its key: a receipt by another one is no evidence", async (t) => {
  const [here, there, other] = [await makeStoreFixture(t), await makeStoreFixture(t), await makeStoreFixture(t)];
  await pull(here.store, there.location.root);
  const honest = await writeReceipt(there.store);
  assert.equal((await compareReceipt(here.store, await readReceipt(honest))).sameRoot, false);
  const { receipt, inventory } = parseReceiptFile(honest);
  const { storeKey: _, ...body } = receipt.value;
  const claimed = await makeReceiptFile(body, inventory, await other.store.needSigner());
  await assert.rejects(compareReceipt(here.store, await readReceipt(claimed)), { code: "SIGNATURE_INVALID" });
});
