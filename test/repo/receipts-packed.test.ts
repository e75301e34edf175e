// SPDX-License-Identifier: Apache-2.0
/** Receipt files whose MAC is good and whose content is not, and disks that fail: nothing is vouched for, and nothing breaks. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import { Packr } from "msgpackr/pack";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import type { OpenFile } from "../../src/objects/files.ts";
import { blobTopic, type Receipt, Receipts } from "../../src/repo/receipts.ts";
import { type FilesCall, MemoryFiles } from "../support/memory-files.ts";

const KEY = randomBytes(32);
const BOOT = "4a1b";
const blob: Digest = sha256(new TextEncoder().encode("blob"));
const topic = blobTopic(blob);
const hex = sha256(new TextEncoder().encode(topic));
const PATH = `local/receipts/${hex.slice(0, 2)}/${hex.slice(2)}`;
const PLACE = { mount: 7, fileSystem: "ext4", medium: "fixed" } as const;

/** A file of the twin on a disk that is fit for receipts. */
async function makeScene() {
  const files = new MemoryFiles();
  for (const folder of ["local", "local/tmp"]) await files.makeFolder(folder);
  files.plant("blob", new TextEncoder().encode("blob"));
  const file = await files.open("blob");
  assert.ok(file !== undefined);
  const onDisk: OpenFile = Object.assign(file, { place: async () => PLACE });
  const nowNs = (): bigint => files.nowNs;
  const machine = { bootId: () => BOOT, nowNs, account: () => 0 };
  const receipts = new Receipts({ files, key: async () => KEY, machine, random: (length) => randomBytes(length) });
  const { device, inode, sizeBytes, mtimeNs, ctimeNs } = await file.stat();
  const receipt: Receipt = { blob, mount: 7, device, inode, sizeBytes, mtimeNs, ctimeNs, madeNs: ctimeNs };
  const vouches = async () => (await (await receipts.read(topic)).vouchesFor(onDisk, blob)) !== undefined;
  return { files, file: onDisk, receipts, receipt, vouches };
}

test("a receipt file with a good MAC that says something else than receipts vouches for nothing", async () => {
  const { files, receipts, receipt, vouches } = await makeScene();
  await receipts.write(topic, [receipt]);
  assert.equal(await vouches(), true);
  const { mount, device, inode, sizeBytes, mtimeNs, ctimeNs, madeNs } = receipt;
  const row = [blob, mount, `${device}`, `${inode}`, sizeBytes, `${mtimeNs}`, `${ctimeNs}`, `${madeNs}`];
  const but = (at: number, value: unknown): unknown[] => row.map((cell, index) => (index === at ? value : cell));
  const write = (value: unknown): void => {
    const body = new Packr({ useRecords: false }).pack(value);
    const mac = createHmac("sha256", KEY).update(`${topic}\n`).update(body).digest();
    files.plant(PATH, Buffer.concat([mac, body]));
  };
  write([1, BOOT, [row]]);
  assert.equal(await vouches(), true, "this is how they are written");
  const cases: readonly unknown[] = [
    "text",
    [2, BOOT, [row]],
    [1, "other boot", [row]],
    [1, BOOT, "text"],
    [1, BOOT, ["text"]],
    [1, BOOT, [but(0, 5)]],
    [1, BOOT, [but(0, "no digest")]],
    [1, BOOT, [but(1, "7")]],
    [1, BOOT, [but(4, "4")]],
    ...[2, 3, 5, 6, 7].map((at) => [1, BOOT, [but(at, at === 2 ? 7 : "1.5")]]),
    [1, BOOT, [but(1, 8)]],
  ];
  for (const [at, value] of cases.entries()) {
    write(value);
    assert.equal(await vouches(), false, `case ${at}`);
  }
  files.plant(PATH, new Uint8Array(5));
  assert.equal(await vouches(), false, "shorter than a MAC");
});

test("receipts on a disk that fails: reading says none, writing says why and leaves nothing", async () => {
  const { files, file, receipts, receipt, vouches } = await makeScene();
  const failing = (call: FilesCall, code: string): void => {
    files.fault = { at: files.calls + 1, kind: "fail", code, lasting: true, only: (made) => made === call };
  };
  failing("rename", "EIO");
  await assert.rejects(receipts.write(topic, [receipt]), (error) => isCofferError(error, "IO_ERROR"));
  assert.deepEqual(await files.list("local/tmp"), []);
  files.fault = undefined;
  await receipts.write(topic, [receipt]);
  failing("read", "EIO");
  assert.equal(await vouches(), false);
  files.fault = undefined;
  await receipts.renew(topic, file, blob, () => file.setMode(0o444));
  assert.equal(await vouches(), true, "our own change keeps it in step");
  await receipts.renew(topic, file, blob, () => file.setMode(0o644));
  assert.equal(await vouches(), false, "what may be written has none");
  await receipts.write(topic, []);
  await receipts.forget(topic);
  assert.equal(await files.stat(PATH), undefined);
});
