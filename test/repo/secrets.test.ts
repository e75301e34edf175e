// SPDX-License-Identifier: Apache-2.0
/** The store key's file: whose it is, who may read it, and what a disk answers (src/repo/secrets.ts). */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { ErrorCode } from "../../src/base/errors.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { copyStoreKey, findStoreKey, writeStoreKey } from "../../src/repo/secrets.ts";
import { type FilesCall, MemoryFiles } from "../support/memory-files.ts";

const random = (length: number): Uint8Array => randomBytes(length);
const key = generatePrivateKey(random, "store");
const saying = (code: ErrorCode) => (error: unknown) => isCofferError(error, code);

async function folder(mode?: number): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  await writeStoreKey(files, key, random, mode);
  return files;
}

/** The next such call fails. */
function failing(files: MemoryFiles, call: FilesCall, code: string): MemoryFiles {
  const next = files.crash("none-lost");
  next.fault = { at: 1, kind: "fail", code, lasting: true, only: (made) => made === call };
  return next;
}

test("a store key is written once, copied as it is, and opens for its store only", async () => {
  const files = await folder();
  await assert.rejects(writeStoreKey(files, key, random), saying("EXISTS"));
  const other = new MemoryFiles();
  await copyStoreKey(files, other);
  await assert.rejects(copyStoreKey(files, other), saying("EXISTS"));
  await assert.rejects(copyStoreKey(new MemoryFiles(), other), saying("NO_STORE_KEY"));
  const found = await findStoreKey(other, key.publicKey);
  assert.equal((await found?.open())?.signer.publicKey.keyId, key.publicKey.keyId);
  const stranger = generatePrivateKey(random, "other").publicKey;
  await assert.rejects(async () => (await findStoreKey(other, stranger))?.open(), saying("KEY_INVALID"));
});

test("a key file that others may read is refused; a group's is not", async () => {
  assert.ok((await findStoreKey(await folder(0o640), key.publicKey)) !== undefined);
  for (const mode of [0o644, 0o660, 0o601, 0o604])
    await assert.rejects(findStoreKey(await folder(mode), key.publicKey), saying("KEY_MODE"));
});

test("a key that this account may not look at is not its own; any other failure is one", async () => {
  const files = await folder();
  assert.equal(await findStoreKey(new MemoryFiles(), key.publicKey), undefined);
  for (const call of ["stat", "read"] as const) {
    for (const code of ["EACCES", "EPERM"])
      assert.equal(await findStoreKey(failing(files, call, code), key.publicKey), undefined, `${call} ${code}`);
    await assert.rejects(findStoreKey(failing(files, call, "EIO"), key.publicKey), saying("IO_ERROR"));
  }
  for (const call of ["create", "file.write", "file.fsync"] as const) {
    const full = failing(new MemoryFiles(), call, "ENOSPC");
    await assert.rejects(writeStoreKey(full, key, random), saying("NO_SPACE"), call);
  }
});
