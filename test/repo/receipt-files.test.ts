// SPDX-License-Identifier: Apache-2.0
/** Where receipts are written, and what they may take the place of. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { createReceipt, RECEIPT_BYTES, takeReceipts } from "../../src/repo/receipt-files.ts";
import { addRemote, keepReceipt, lastReceipt } from "../../src/repo/remotes.ts";
import { makeReceiptFile, parseReceiptFile } from "../../src/sync/receipt.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";

test("a receipt takes the place of an older one of its store, by the name that it was given or in a folder", async (t) => {
  const { store, trust, folder } = await makeStoreFixture(t);
  const stick = join(folder, "stick");
  mkdirSync(stick);
  const file = join(stick, "there.receipt");
  const numbers: number[] = [];
  for (const name of ["acme/one", "acme/two"]) {
    await trust(name, { "README.md": new TextEncoder().encode(`${name}\n`) });
    await createReceipt(store, file);
    const { path } = await createReceipt(store, stick);
    assert.equal(path, join(stick, `${store.id.slice(0, 12)}.coffer-receipt`));
    for (const one of [file, path]) numbers.push((await readReceipt(readFileSync(one))).receipt.value.log.number);
  }
  const { number } = await store.head();
  assert.deepEqual(numbers.slice(2), [number, number]);
  assert.ok((numbers[0] ?? number) < number);
  assert.equal(readdirSync(stick).length, 2);
});

test("anything else that lies there stays: other stores', newer, altered and foreign files, and links", async (t) => {
  const [{ store, open, trust, folder }, other] = [await makeStoreFixture(t), await makeStoreFixture(t)];
  const older = await writeReceipt(store);
  await trust("acme/one", { "README.md": new TextEncoder().encode("one\n") });
  const own = await writeReceipt(store);
  const { receipt, inventory } = parseReceiptFile(own);
  const { storeKey: _, ...body } = receipt.value;
  const log = { ...body.log, number: body.log.number + 1 };
  const signer = await store.needSigner();
  const there: readonly (readonly [string, Uint8Array | string])[] = [
    ["another store's", await writeReceipt(other.store)],
    ["by another key", await makeReceiptFile(body, inventory, await other.store.needSigner())],
    ["newer", await makeReceiptFile({ ...body, log }, inventory, signer)],
    ["altered", own.subarray(0, -1)],
    ["text", "a text\n"],
    ["empty", ""],
  ];
  for (const [name, bytes] of there) {
    const file = join(folder, name);
    writeFileSync(file, bytes);
    await assert.rejects(createReceipt(store, file), { code: "EXISTS" }, name);
    assert.deepEqual(readFileSync(file), Buffer.from(bytes), name);
  }
  writeFileSync(join(folder, "old"), older);
  symlinkSync(join(folder, "old"), join(folder, "link"));
  await assert.rejects(createReceipt(store, join(folder, "link")), { code: "EXISTS" });
  assert.equal(
    (await createReceipt(await open(), join(folder, "old"))).delivery.receipt.value.log.number,
    body.log.number,
  );
});

test("a store's own receipt is never kept for a remote", async (t) => {
  const { store } = await makeStoreFixture(t);
  const remote = await addRemote(store, "there", "/mnt/stick");
  await assert.rejects(keepReceipt(store, remote, await writeReceipt(store)), { code: "USAGE" });
  assert.equal(await lastReceipt(store, remote.name), undefined);
});

test("more receipts than anybody needs, or more bytes of them, are refused before one is looked at", async (t) => {
  const [{ store, folder }, other] = [await makeStoreFixture(t), await makeStoreFixture(t)];
  const remote = await addRemote(store, "there", folder);
  const stick = join(folder, "stick");
  mkdirSync(stick);
  const take = () => takeReceipts(store, remote, openRealFiles(stick), readdirSync(stick));
  const refused = async (text: RegExp): Promise<void> => {
    await assert.rejects(take, (error) => isCofferError(error, "LIMIT_EXCEEDED") && text.test(error.message));
    assert.equal(await lastReceipt(store, remote.name), undefined);
    assert.deepEqual(store.warnings, []);
  };
  await createReceipt(other.store, stick);
  for (let at = 0; at < LIMITS.mediumReceipts; at += 1) writeFileSync(join(stick, `${at}.receipt`), "");
  await refused(
    /^expected at most 1000 receipts of 134217728 bytes together, found 1001: remove those that nobody needs$/,
  );
  for (let at = 2; at < LIMITS.mediumReceipts; at += 1) rmSync(join(stick, `${at}.receipt`));
  for (const name of ["0.receipt", "1.receipt"]) truncateSync(join(stick, name), RECEIPT_BYTES);
  await refused(/, found 3 of [0-9]+: remove /);
  // What is longer than any receipt is never read, so it does not count.
  truncateSync(join(stick, "0.receipt"), RECEIPT_BYTES + 1);
  truncateSync(join(stick, "1.receipt"), 0);
  assert.deepEqual(
    (await take()).map(({ receipt }) => receipt.value.store),
    [other.store.id],
  );
  assert.equal(store.warnings.length, 3); // and whose receipt came first
});
