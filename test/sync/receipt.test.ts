// SPDX-License-Identifier: Apache-2.0
/** The file of a delivery receipt: one byte elsewhere and it is refused. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { parseTime } from "../../src/base/time.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { makeReceiptFile, parseReceiptFile } from "../../src/sync/receipt.ts";

const digestOf = (text: string): Digest => sha256(Buffer.from(text));
const key = generatePrivateKey((length) => randomBytes(length), "store");
const INVENTORY = Buffer.from("any bytes, with a line\nand more");
const BODY = {
  ...{ store: digestOf("store"), pin: digestOf("pin"), policy: digestOf("policy") },
  ...{ log: { number: 7, head: digestOf("head") }, issuedAt: parseTime("2026-11-22T10:00:00Z") },
  ...{ answers: digestOf("bundle"), inventory: { sha256: sha256(INVENTORY), sizeBytes: INVENTORY.length } },
};
const make = (): Promise<Uint8Array> => makeReceiptFile(BODY, INVENTORY, nodeSigner(key));

test("what was made is read back, with the key that signed it", async () => {
  const { receipt, inventory } = parseReceiptFile(await make());
  const { storeKey, ...value } = receipt.value;
  assert.equal(storeKey.text, key.publicKey.text);
  assert.deepEqual(structuredClone(value), { type: "coffer/receipt", version: 1, ...BODY });
  assert.deepEqual(Buffer.from(inventory), INVENTORY);
});

test("without answers it is as good; with another inventory, or none, it is refused", async () => {
  const { answers: _, ...body } = BODY;
  const file = await makeReceiptFile(body, INVENTORY, nodeSigner(key));
  assert.equal(parseReceiptFile(file).receipt.value.answers, undefined);
  assert.throws(() => parseReceiptFile(file.subarray(0, -1)), { code: "OBJECT_MISMATCH" });
  assert.throws(() => parseReceiptFile(Buffer.concat([file, Buffer.from("x")])), { code: "OBJECT_MISMATCH" });
});

test("no byte of document or signature can be altered, and no prefix is a receipt", async () => {
  const file = await make();
  const signed = file.length - INVENTORY.length;
  for (let at = 0; at < signed; at += 1) {
    const altered = Buffer.from(file);
    altered[at] = (altered[at] ?? 0) ^ 1;
    assert.throws(() => parseReceiptFile(altered), `byte ${at}`);
  }
  for (let length = 0; length < file.length; length += 1)
    assert.throws(() => parseReceiptFile(file.subarray(0, length)));
});

test("another key's signature does not count, nor one made for something else", async () => {
  const other = generatePrivateKey((length) => randomBytes(length), "other");
  const signer = { ...nodeSigner(other), publicKey: key.publicKey };
  await assert.rejects(async () => parseReceiptFile(await makeReceiptFile(BODY, INVENTORY, signer)), {
    code: "SIGNATURE_INVALID",
  });
});
