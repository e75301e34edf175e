// SPDX-License-Identifier: Apache-2.0
/**
 * The files of a manifest in a folder: written there from verified bytes, and checked there, by receipts where they
 * hold and by hashing where they do not. Layer: repo. Holds invariant 6. Not here: which folder, and what it is for.
 */
import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { hashFile } from "../objects/chunk-hasher.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import type { FileStat, Files, OpenFile } from "../objects/files.ts";
import { openManifestFile } from "./blobs.ts";
import { folderTopic, type Receipt, type Receipts, SETTLED_NS } from "./receipts.ts";
import type { Store } from "./store.ts";
import { makeFolders, system } from "./system.ts";

/** From here on two seconds of waiting for a receipt cost less than hashing the files at the next call. */
const WORTH_WAITING_BYTES = 1024 ** 3;

/** A file that `lay` wrote, and what its descriptor told at the end. */
export interface Laid {
  readonly file: ManifestFile;
  readonly stat: FileStat;
}

/** Writes the manifest's files into a folder that must be new or empty, each byte verified before it is written. */
export async function lay(store: Store, manifest: Manifest, folder: string): Promise<readonly Laid[]> {
  await system(`make a folder in ${basename(dirname(folder))}`, () => makeFolders(folder));
  const laid: Laid[] = [];
  for (const file of manifest.files) {
    const parent = join(folder, dirname(file.path));
    await system(`make the folder of ${file.path}`, () => makeFolders(parent));
    laid.push({ file, stat: await copyOut(store, file, store.ports.openFolder(parent), basename(file.path)) });
  }
  return laid;
}

async function copyOut(store: Store, file: ManifestFile, target: Files, name: string): Promise<FileStat> {
  const blob = await openManifestFile(store, file);
  try {
    const copy = await target.create(name, 0o444);
    if (copy === undefined) throw new CofferError("EXISTS", `${file.path} is there already`);
    try {
      for await (const piece of blob.stream(0, blob.sizeBytes)) await copy.write(piece);
      if (file.size >= WORTH_WAITING_BYTES) await copy.fsync();
      return await copy.stat();
    } finally {
      await copy.close();
    }
  } finally {
    await blob.close();
  }
}

/** A folder that holds, or should hold, the files of a manifest. */
export interface LaidFolder {
  readonly manifest: { readonly id: Digest; readonly value: Manifest };
  readonly folder: string;
}

export interface Checked {
  /** True if the folder holds exactly the manifest's files with exactly their bytes. */
  readonly intact: boolean;
  /** Why no receipt could be kept: the next call will hash the files again. */
  readonly unkept?: CofferError;
}

/** Looks at every file; what a receipt vouches for is not read. Receipts are kept for what was hashed. */
export async function checkLaid(store: Store, { manifest, folder }: LaidFolder): Promise<Checked> {
  if (!(await holdsOnly(manifest.value, folder))) return { intact: false };
  const topic = folderTopic(manifest.id, folder);
  const kept = await store.receipts?.read(topic);
  const receipts: Receipt[] = [];
  let fresh = 0;
  for (const file of manifest.value.files) {
    const open = await openLaid(store, folder, file);
    if (open === undefined) return { intact: false };
    try {
      const held = await kept?.vouchesFor(open, file.sha256);
      const made = held ?? (await hashLaid(store.receipts, open, file));
      if (made === "other bytes") return { intact: false };
      if (held === undefined && made !== undefined) fresh += 1;
      if (made !== undefined) receipts.push(made);
    } finally {
      await open.close();
    }
  }
  return { intact: true, ...(fresh > 0 && (await keep(store.receipts, topic, receipts))) };
}

async function holdsOnly(manifest: Manifest, folder: string): Promise<boolean> {
  const entries = await system("list the checkout", async () =>
    readdirSync(folder, { recursive: true, withFileTypes: true }),
  );
  if (entries.some((entry) => !entry.isFile() && !entry.isDirectory())) return false;
  return entries.filter((entry) => entry.isFile()).length === manifest.files.length;
}

function openLaid(store: Store, folder: string, file: ManifestFile): Promise<OpenFile | undefined> {
  return store.ports.openFolder(join(folder, dirname(file.path))).open(basename(file.path));
}

/** undefined: the bytes are right, and no receipt may be made. */
async function hashLaid(
  receipts: Receipts | undefined,
  open: OpenFile,
  file: ManifestFile,
): Promise<Receipt | "other bytes" | undefined> {
  const before = await receipts?.sight(open);
  if ((await hashFile(open)).sha256 !== file.sha256) return "other bytes";
  return before && receipts?.issue(open, file.sha256, before);
}

/** What cannot be kept is no reason to refuse bytes that are right. */
async function keep(
  receipts: Receipts | undefined,
  topic: string,
  made: readonly Receipt[],
): Promise<Pick<Checked, "unkept">> {
  try {
    await receipts?.write(topic, made);
    return {};
  } catch (error) {
    passOthers(error, "IO_ERROR", "READ_ONLY", "NO_SPACE", "CORRUPT");
    return { unkept: error };
  }
}

/**
 * Receipts for what was laid just now, so that a big model is not even hashed once again: waits until nothing has
 * moved for two seconds. For small ones it does nothing; the next check makes theirs.
 */
export async function keepLaid(
  store: Store,
  { manifest, folder }: LaidFolder,
  laid: readonly Laid[],
  fromBytes = WORTH_WAITING_BYTES,
): Promise<Pick<Checked, "unkept">> {
  const { receipts, ports } = store;
  if (receipts === undefined || ports.machine === undefined) return {};
  const big = laid.filter(({ stat }) => stat.sizeBytes >= fromBytes);
  if (big.length === 0) return {};
  const newestNs =
    big
      .map(({ stat }) => stat.ctimeNs)
      .sort(byValue)
      .at(-1) ?? 0n;
  const leftNs = newestNs + SETTLED_NS - ports.machine.nowNs();
  if (leftNs > 0n && leftNs <= SETTLED_NS) await ports.sleep(Number(leftNs / 1_000_000n) + 1);
  const made: Receipt[] = [];
  for (const { file, stat } of big) {
    const open = await openLaid(store, folder, file);
    if (open === undefined) continue;
    try {
      const receipt = await receipts.issueWritten(open, file.sha256, stat);
      if (receipt !== undefined) made.push(receipt);
    } finally {
      await open.close();
    }
  }
  return keep(receipts, folderTopic(manifest.id, folder), made);
}

function byValue(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}
