// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { objectPath, signaturePath } from "../../src/objects/layout.ts";
import { openObjects, readObject } from "../../src/objects/object-store.ts";
import { planSignature, signersOf } from "../../src/objects/signatures.ts";
import { WriteBatch } from "../../src/objects/write-batch.ts";
import { MemoryFiles, PowerLoss } from "../support/memory-files.ts";
import { seededRandom } from "../support/transcripts.ts";

async function disk(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const folder of ["local", "local/tmp"]) await files.makeFolder(folder);
  for (const folder of [".", "local"]) await files.fsyncFolder(folder);
  return files;
}

function object(text: string): { id: Digest; bytes: Uint8Array } {
  const bytes = new TextEncoder().encode(text);
  return { id: sha256(bytes), bytes };
}

const OBJECTS = ["one", "two", "three"].map(object);

/** One stream for the whole file: a next try takes other temporary names. */
const random = seededRandom("batch");

async function writeAll(files: MemoryFiles): Promise<void> {
  const batch = new WriteBatch(files, random);
  for (const entry of OBJECTS) batch.addObject(entry);
  assert.equal(batch.objects.size, OBJECTS.length);
  await batch.flush();
}

test("what flush has returned from survives any loss of power", async () => {
  const files = await disk();
  await writeAll(files);
  const after = files.crash("all-lost");
  for (const { id, bytes } of OBJECTS) assert.deepEqual(await openObjects(after).read(id), bytes);
  const [first] = OBJECTS;
  assert.ok(first !== undefined);
  const stat = await files.stat(objectPath(first.id));
  assert.equal((stat?.mode ?? 0) & 0o777, 0o444);
});

test("stopped at any call, an object is there whole or not at all", async () => {
  const trial = await disk();
  const from = trial.calls;
  await writeAll(trial);
  const calls = trial.calls - from;
  for (const mode of ["all-lost", "none-lost", "random"] as const) {
    for (let at = 1; at <= calls; at += 1) {
      const files = await disk();
      files.fault = { at: files.calls + at, kind: "stop" };
      await assert.rejects(writeAll(files), PowerLoss);
      const after = files.crash(mode, at);
      for (const { id } of OBJECTS) await openObjects(after).read(id); // throws CORRUPT on a torn one
      await writeAll(after);
      for (const { id, bytes } of OBJECTS) assert.deepEqual(await openObjects(after).read(id), bytes);
    }
  }
});

for (const code of ["ENOSPC", "EIO", "EMFILE", "EROFS"]) {
  test(`${code} at any call is told, leaves no torn object, and the next try succeeds`, async () => {
    const trial = await disk();
    const from = trial.calls;
    await writeAll(trial);
    const calls = trial.calls - from;
    for (let at = 1; at <= calls; at += 1) {
      const files = await disk();
      files.fault = { at: files.calls + at, kind: "fail", code };
      await assert.rejects(writeAll(files), (error) => isCofferError(error, "NO_SPACE", "IO_ERROR"), `call ${at}`);
      files.fault = undefined;
      for (const { id } of OBJECTS) await openObjects(files).read(id);
      assert.deepEqual(await files.list("local/tmp"), [], `call ${at}`);
      await writeAll(files);
    }
  });
}

test("a damaged object is replaced by the good bytes; a good one is left alone", async () => {
  const files = await disk();
  const [first] = OBJECTS;
  assert.ok(first !== undefined);
  files.plant(objectPath(first.id), new TextEncoder().encode("eno"));
  await assert.rejects(openObjects(files).read(first.id), (error) => isCofferError(error, "CORRUPT"));
  await writeAll(files);
  assert.deepEqual(await openObjects(files).read(first.id), first.bytes);
  const before = (await files.stat(objectPath(first.id)))?.inode;
  await writeAll(files);
  assert.equal((await files.stat(objectPath(first.id)))?.inode, before);
});

test("bytes that are not those of the id never enter a batch", async () => {
  const batch = new WriteBatch(await disk(), seededRandom("x"));
  assert.throws(
    () => batch.addObject({ id: object("a").id, bytes: object("b").bytes }),
    (error) => isCofferError(error, "OBJECT_MISMATCH"),
  );
});

test("readObject: missing and malformed are CORRUPT", async () => {
  const files = await disk();
  const reader = openObjects(files);
  const { id, bytes } = object("text");
  await assert.rejects(
    readObject(reader, id, "list", (found) => found),
    (error) => isCofferError(error, "CORRUPT"),
  );
  files.plant(objectPath(id), bytes);
  assert.deepEqual(await readObject(reader, id, "list", (found) => found), bytes);
  const { parseList } = await import("../../src/objects/documents/list.ts");
  await assert.rejects(readObject(reader, id, "list", parseList), (error) => isCofferError(error, "CORRUPT"));
  const newer = object('{"ids":[],"type":"coffer/list","version":2}\n');
  files.plant(objectPath(newer.id), newer.bytes);
  await assert.rejects(readObject(reader, newer.id, "list", parseList), (error) => isCofferError(error, "UNSUPPORTED"));
});

test("signatures: only good ones count, junk is replaced, of two good ones the smaller bytes stay", async () => {
  const files = await disk();
  const signers = [generatePrivateKey(random, "a"), generatePrivateKey(random, "b")].map(nodeSigner);
  const [a, b] = signers;
  assert.ok(a !== undefined && b !== undefined);
  const signed = object("statement");
  const keys = signers.map((signer) => signer.publicKey);
  const armored = await signSshsig(a, "coffer-statement", signed.bytes);
  files.plant(signaturePath(signed.id, a.publicKey.keyId), new TextEncoder().encode("junk"));
  files.plant(signaturePath(signed.id, b.publicKey.keyId), new TextEncoder().encode(armored));
  assert.deepEqual(await signersOf(files, signed, "coffer-statement", keys), new Set());
  const batch = new WriteBatch(files, random);
  assert.equal(
    await planSignature(files, batch, signed, "coffer-statement", { publicKey: a.publicKey, armored }),
    true,
  );
  await batch.flush();
  assert.deepEqual(await signersOf(files, signed, "coffer-statement", keys), new Set([a.publicKey.keyId]));
  assert.deepEqual(await signersOf(files, signed, "coffer-manifest", keys), new Set());
  assert.equal(
    await planSignature(files, batch, signed, "coffer-statement", { publicKey: a.publicKey, armored }),
    false,
  );
  files.plant(signaturePath(signed.id, b.publicKey.keyId), new Uint8Array(5000));
  assert.deepEqual(await signersOf(files, signed, "coffer-statement", keys), new Set([a.publicKey.keyId]));
});
