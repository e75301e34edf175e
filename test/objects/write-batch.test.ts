// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import type { Files, NewFile } from "../../src/objects/files.ts";
import { objectPath, parentFolder, signaturePath } from "../../src/objects/layout.ts";
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

test("the folder above is fsynced for folders that are new or empty, and for no others", async () => {
  const files = await disk();
  const fsynced = async (): Promise<boolean> => {
    const other = files.crash("none-lost");
    await writeAll(other);
    return other.trace.some(({ call, path }) => call === "fsyncFolder" && path === "objects");
  };
  assert.equal(await fsynced(), true);
  for (const { id } of OBJECTS) files.plant(`${parentFolder(objectPath(id))}/more`, new Uint8Array());
  assert.equal(await fsynced(), false);
});

test("a folder whose maker failed before it was durable is made so by the next writer", async () => {
  const files = await disk();
  await files.makeFolder("objects");
  await files.fsyncFolder(".");
  const only = (call: string): boolean => call === "fsyncFolder";
  files.fault = { at: files.calls + 1, kind: "fail", code: "EIO", lasting: true, only };
  await assert.rejects(writeAll(files), (error) => isCofferError(error, "IO_ERROR"));
  for (const { id } of OBJECTS) assert.equal(await files.isEmpty(parentFolder(objectPath(id))), true);
  files.fault = undefined;
  await writeAll(files);
  const after = files.crash("all-lost");
  for (const { id, bytes } of OBJECTS) assert.deepEqual(await openObjects(after).read(id), bytes);
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
      await assert.rejects(
        writeAll(files),
        (error) => isCofferError(error, "NO_SPACE", "READ_ONLY", "IO_ERROR"),
        `call ${at}`,
      );
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

/** Tells of what is open at the same time, and of the order of calls. */
class Watched {
  open = 0;
  mostOpen = 0;
  readonly calls: string[] = [];
  readonly files: Files;

  constructor(files: Files) {
    this.files = new Proxy(files, {
      get: (target, name) => {
        if (name === "create") return (path: string, mode: number) => this.create(target, path, mode);
        if (name === "fsyncFolder") return (path: string) => this.during(() => target.fsyncFolder(path));
        if (name === "rename") this.calls.push("rename");
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  }

  private async create(files: Files, path: string, mode: number): Promise<NewFile | undefined> {
    const file = await files.create(path, mode);
    if (file === undefined) return undefined;
    this.enter();
    let closed = false;
    return {
      read: (buffer, position) => file.read(buffer, position),
      stat: () => file.stat(),
      place: () => file.place(),
      setMode: (mode) => file.setMode(mode),
      write: (bytes) => file.write(bytes),
      fsync: () => {
        this.calls.push("fsync");
        return file.fsync();
      },
      close: () => {
        if (!closed) this.open -= 1;
        closed = true;
        return file.close();
      },
    };
  }

  private async during(act: () => Promise<void>): Promise<void> {
    this.enter();
    await act();
    this.open -= 1;
  }

  private enter(): void {
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
  }
}

test("a batch of any size holds at most 64 handles, and gives no name before all is durable", async () => {
  const files = await disk();
  const watched = new Watched(files);
  const batch = new WriteBatch(watched.files, random);
  const objects = Array.from({ length: 600 }, (_, at) => object(`object ${at}`));
  for (const entry of objects) batch.addObject(entry);
  await batch.flush();
  assert.deepEqual([watched.mostOpen, watched.open], [64, 0]);
  assert.equal(watched.calls.lastIndexOf("fsync"), objects.length - 1);
  assert.equal(watched.calls.indexOf("rename"), objects.length);
  const after = files.crash("all-lost");
  for (const { id, bytes } of objects) assert.deepEqual(await openObjects(after).read(id), bytes);
});

test("a fault in a later slice leaves no temporary file of an earlier one", async () => {
  const files = await disk();
  const batch = new WriteBatch(files, random);
  for (let at = 0; at < 130; at += 1) batch.addObject(object(`late ${at}`));
  await assert.rejects(
    async () => {
      let created = 0;
      const create = files.create.bind(files);
      files.create = async (path, mode) => {
        created += 1;
        if (created === 100) files.fault = { at: files.calls + 1, kind: "fail", code: "ENOSPC" };
        return create(path, mode);
      };
      await batch.flush();
    },
    (error) => isCofferError(error, "NO_SPACE"),
  );
  files.fault = undefined;
  assert.deepEqual(await files.list("local/tmp"), []);
});
