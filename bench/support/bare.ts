// SPDX-License-Identifier: Apache-2.0
/**
 * Bare scripts to compare with: the least that somebody must do who does the same work on the same files, with
 * node:fs and node:crypto and nothing of ours. They decide nothing, so they are no alternative: a floor.
 */
import { createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import nacl from "tweetnacl";

const SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** Made before the clock starts: a script would keep them as well. */
export function keyObject(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
}

/** What a resolution reads, and which signatures it checks. */
export interface ResolveWork {
  readonly root: string;
  /** Files that are there and are read; each once. */
  readonly objects: readonly string[];
  readonly signatures: readonly { readonly path: string; readonly object: string; readonly key: KeyObject }[];
  /** Looked for, and not there. */
  readonly absent: readonly string[];
}

/** @throws Error - a digest or a signature is wrong: then the bench compares with something else than it says */
export function bareResolve({ root, objects, signatures, absent }: ResolveWork): void {
  const types = new Map<string, { bytes: Buffer; type: string }>();
  for (const path of absent) fs.statSync(join(root, path), { throwIfNoEntry: false });
  for (const path of objects) {
    const bytes = fs.readFileSync(join(root, path));
    if (`objects/${hash("sha256", bytes).replace(/^../, "$&/")}` !== path) throw new Error(`${path}: another digest`);
    const { type }: { type: string } = JSON.parse(bytes.toString());
    types.set(path, { bytes, type });
  }
  for (const { path, object, key } of signatures) {
    const about = types.get(object);
    if (about === undefined) throw new Error(`${path}: its object was not read`);
    const armored = fs.readFileSync(join(root, path), "latin1");
    const body = Buffer.from(armored.split("\n").slice(1, -2).join(""), "base64");
    const message = sshsigMessage(about.type.replace("/", "-"), about.bytes);
    if (!verify(null, message, key, body.subarray(-64))) throw new Error(`${path}: does not verify`);
  }
}

/** What a key signs for `bytes` (PROTOCOL.sshsig section 3). */
export function sshsigMessage(namespace: string, bytes: Uint8Array): Buffer {
  const text = (value: string | Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value as string)]);
  };
  const digest = hash("sha512", Buffer.from(bytes), "buffer");
  return Buffer.concat([Buffer.from("SSHSIG"), text(namespace), text(""), text("sha512"), text(digest)]);
}

/** What a promotion wrote, in sizes. */
export interface PromoteWork {
  /** Of files that are fsynced together, then renamed, then their folders fsynced together. */
  readonly batch: readonly number[];
  /** Of the log entry: fsynced, linked, its folder fsynced. */
  readonly entry: number;
  /** Fsyncs of this machine's memory: of an empty file, and of its folder. */
  readonly memory: { readonly files: number; readonly folders: number };
  /** Fsyncs of folders besides. */
  readonly folders: number;
  /** Of files that are written and renamed without fsync: hint and views. */
  readonly loose: readonly number[];
  /** How many folders are made for views. */
  readonly made: number;
  /** How many files, and then folders, are removed: views of what it was before. */
  readonly removed: { readonly files: number; readonly folders: number };
  /** How often people sign; the entry is signed with node:crypto besides. */
  readonly people: number;
}

const fsyncOf = (fd: number): Promise<void> =>
  new Promise((settle, fail) => fs.fsync(fd, (error) => (error ? fail(error) : settle())));

async function fsyncFolder(path: string): Promise<void> {
  const fd = fs.openSync(path, "r");
  try {
    await fsyncOf(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes what `barePromote` is to remove; outside the clock. */
export function prepareBare(folder: string, { made, removed }: PromoteWork): void {
  for (let at = 0; at < made; at += 1) fs.rmSync(join(folder, `made${at}`), { recursive: true, force: true });
  for (let at = 0; at < removed.folders; at += 1) fs.mkdirSync(join(folder, `gone${at}`));
  for (let at = 0; at < removed.files; at += 1) fs.writeFileSync(join(folder, `gone${at}.view`), "");
}

/** @param folder - has `tmp/`, `log/`, `memory/` and 256 folders `00/` to `ff/` */
export async function barePromote(
  folder: string,
  work: PromoteWork,
  keys: { readonly person: Uint8Array; readonly store: KeyObject },
): Promise<void> {
  const unique = process.hrtime.bigint().toString(16);
  const message = Buffer.alloc(100, 1);
  for (let signed = 0; signed < work.people; signed += 1) nacl.sign.detached(message, keys.person);
  const batch = work.batch.map((size, at) => writeNew(join(folder, "tmp", `${unique}.${at}`), size));
  await Promise.all(batch.map(({ fd }) => fsyncOf(fd)));
  const targets = batch.map(({ path, fd }, at) => {
    fs.closeSync(fd);
    const target = join(folder, ((at * 37 + Number(`0x${unique.slice(-2)}`)) % 256).toString(16).padStart(2, "0"));
    fs.renameSync(path, join(target, `${unique}.${at}`));
    return target;
  });
  const others = Array.from({ length: work.folders }, () => join(folder, "tmp"));
  await Promise.all([...targets, ...others].map(fsyncFolder));
  sign(null, message, keys.store);
  const entry = writeNew(join(folder, "tmp", `${unique}.entry`), work.entry);
  await fsyncOf(entry.fd);
  fs.closeSync(entry.fd);
  fs.linkSync(entry.path, join(folder, "log", unique));
  await fsyncFolder(join(folder, "log"));
  fs.unlinkSync(entry.path);
  const fact = writeNew(join(folder, "memory", unique), 0);
  if (work.memory.files > 0) await fsyncOf(fact.fd);
  fs.closeSync(fact.fd);
  if (work.memory.folders > 0) await fsyncFolder(join(folder, "memory"));
  for (const [at, size] of work.loose.entries()) {
    const { path, fd } = writeNew(join(folder, "tmp", `${unique}.loose${at}`), size);
    fs.closeSync(fd);
    fs.renameSync(path, join(folder, "00", `loose${at}`));
  }
  for (let at = 0; at < work.made; at += 1) fs.mkdirSync(join(folder, `made${at}`));
  for (let at = 0; at < work.removed.files; at += 1) fs.unlinkSync(join(folder, `gone${at}.view`));
  for (let at = 0; at < work.removed.folders; at += 1) fs.rmdirSync(join(folder, `gone${at}`));
}

function writeNew(path: string, size: number): { readonly path: string; readonly fd: number } {
  const fd = fs.openSync(path, "wx", 0o444);
  fs.writeSync(fd, Buffer.alloc(size, 7));
  return { path, fd };
}
