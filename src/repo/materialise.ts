// SPDX-License-Identifier: Apache-2.0
/**
 * Real files for runtimes: `checkout` makes a folder, `path` lays a manifest once and verifies it on each call.
 * Copies, never hard links: a linked file could be edited in place. Layer: repo. Holds invariant 6.
 */
import { lstat, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, isCofferError, systemCode } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { hashFile } from "../objects/blob-store.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Files } from "../objects/files.ts";
import type { Verdict } from "../trust/verdict.ts";
import { buildingPlace, sweepBeside } from "./beside.ts";
import { openManifestFile } from "./blobs.ts";
import { resolve } from "./resolve.ts";
import type { Store } from "./store.ts";
import { makeFolders, system } from "./system.ts";

const CHECKOUTS = "local/checkouts";

/** Writes the manifest's files into a folder that must be new or empty, each byte verified before it is written. */
async function lay(store: Store, manifest: Manifest, folder: string): Promise<void> {
  await system("make the folder", () => makeFolders(folder));
  for (const file of manifest.files) {
    const parent = join(folder, dirname(file.path));
    await system("make the folder", () => makeFolders(parent));
    await copyOut(store, file, store.ports.openFolder(parent), basename(file.path));
  }
}

async function copyOut(store: Store, file: ManifestFile, target: Files, name: string): Promise<void> {
  const blob = await openManifestFile(store, file);
  try {
    const copy = await target.create(name, 0o444);
    if (copy === undefined) throw new CofferError("EXISTS", `${file.path} is there already`);
    try {
      for await (const piece of blob.stream(0, blob.sizeBytes)) await copy.write(piece);
    } finally {
      await copy.close();
    }
  } finally {
    await blob.close();
  }
}

/** True if the folder holds exactly the manifest's files with exactly their bytes. */
async function isIntact(store: Store, manifest: Manifest, folder: string): Promise<boolean> {
  const entries = await system("list the checkout", () => readdir(folder, { recursive: true, withFileTypes: true }));
  if (entries.some((entry) => !entry.isFile() && !entry.isDirectory())) return false;
  if (entries.filter((entry) => entry.isFile()).length !== manifest.files.length) return false;
  for (const file of manifest.files) {
    const open = await store.ports.openFolder(join(folder, dirname(file.path))).open(basename(file.path));
    if (open === undefined) return false;
    try {
      if ((await hashFile(open)).sha256 !== file.sha256) return false;
    } finally {
      await open.close();
    }
  }
  return true;
}

export interface CheckedOut {
  readonly folder: string;
  readonly verdict: Verdict;
  readonly manifest: Stored<Manifest>;
}

/**
 * Writes the files of a trusted name to `folder`, which appears whole or not at all.
 * @throws CofferError as `resolve`; EXISTS - the folder holds something; CORRUPT; NO_SPACE, IO_ERROR
 */
export async function checkout(store: Store, name: Name, folder: string): Promise<CheckedOut> {
  const { verdict, manifest } = await resolve(store, name);
  const taken = await readdir(folder).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return [];
    throw new CofferError("EXISTS", `${basename(folder)}: expected a new or an empty folder`, { cause: error });
  });
  if (taken.length > 0) throw new CofferError("EXISTS", `${basename(folder)}: expected a new or an empty folder`);
  await sweepBeside(folder, store.files);
  const building = buildingPlace(folder, store.files, store.ports);
  try {
    await lay(store, manifest.value, building);
    await takePlace(building, folder);
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    throw error;
  }
  return { folder, verdict, manifest };
}

/** rename(2) replaces an empty folder in one step, and fails on any other: what came there meanwhile is not ours. */
async function takePlace(building: string, folder: string): Promise<void> {
  try {
    await rename(building, folder);
  } catch (error) {
    if (!TAKEN.has(systemCode(error) ?? "")) throw error;
    throw new CofferError("EXISTS", `${basename(folder)}: something was put there meanwhile`, { cause: error });
  }
}
const TAKEN: ReadonlySet<string> = new Set(["ENOTEMPTY", "EEXIST", "ENOTDIR"]);

export interface VerifiedPath {
  readonly path: string;
  readonly verdict: Verdict;
  /** True if what lay there was damaged and was laid again. */
  readonly mended: boolean;
}

/**
 * The path of one file of a trusted name, laid under `to` (or local/checkouts in the store) and verified just now,
 * together with the files beside it, which a runtime may open as well.
 *
 * @param file - its path in the manifest; may be left out where there is one file, or one gguf
 * @throws CofferError as `resolve`; FILE_NOT_FOUND; CORRUPT; NO_SPACE, IO_ERROR
 */
export async function pathOf(store: Store, name: Name, file?: string, to?: string): Promise<VerifiedPath> {
  const { verdict, manifest } = await resolve(store, name);
  const wanted = chooseFile(manifest.value, file);
  const home = to ?? join(store.root, CHECKOUTS);
  const folder = join(home, manifest.id);
  const mended = await layOnce(store, manifest, home, folder);
  return { path: join(folder, wanted), verdict, mended };
}

function chooseFile(manifest: Manifest, file: string | undefined): string {
  const paths = manifest.files.map((entry) => entry.path as string);
  const shown = paths.slice(0, 20).join(", ");
  if (file !== undefined) {
    if (paths.includes(file)) return file;
    throw new CofferError("FILE_NOT_FOUND", `expected one of ${shown}; found ${JSON.stringify(file)}`);
  }
  const models = manifest.files.filter((entry) => entry.format === "gguf").map((entry) => entry.path as string);
  const [only] = paths.length === 1 ? paths : models;
  if (only !== undefined && (paths.length === 1 || models.length === 1)) return only;
  throw new CofferError("USAGE", `say which file: ${shown}`);
}

async function layOnce(store: Store, manifest: Stored<Manifest>, home: string, folder: string): Promise<boolean> {
  await system("make the folder of checkouts", () => makeFolders(home));
  const there = await kindOf(folder);
  if (there === "folder" && (await isIntact(store, manifest.value, folder))) return false;
  await sweepBeside(folder, store.files);
  const building = buildingPlace(folder, store.files, store.ports);
  try {
    await lay(store, manifest.value, building);
    if (there !== "absent") await rm(folder, { recursive: true, force: true });
    await takePlace(building, folder);
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    // Another process laid the same manifest meanwhile: what it laid is checked like anything else found there.
    if (!isCofferError(error, "EXISTS") || !(await isIntact(store, manifest.value, folder))) throw error;
  }
  return there !== "absent";
}

async function kindOf(path: string): Promise<"folder" | "other" | "absent"> {
  try {
    return (await lstat(path)).isDirectory() ? "folder" : "other";
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "absent";
    throw new CofferError("IO_ERROR", `cannot look at the checkout (${systemCode(error)})`, { cause: error });
  }
}

/** Removes what was laid in the store of manifests that were revoked. Copies made elsewhere are beyond reach. */
export async function forgetCheckouts(store: Store, manifests: readonly Digest[]): Promise<void> {
  for (const manifest of manifests) {
    await sweepBeside(join(store.root, CHECKOUTS, manifest), store.files);
    await system("remove a checkout", () =>
      rm(join(store.root, CHECKOUTS, manifest), { recursive: true, force: true }),
    );
  }
}
