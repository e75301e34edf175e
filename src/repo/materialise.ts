// SPDX-License-Identifier: Apache-2.0
/**
 * Real files for runtimes: `checkout` makes a folder, `path` lays a manifest once and verifies it on each call.
 * Copies, never hard links: a linked file could be edited in place. Layer: repo. Holds invariant 6.
 */
// Not from node:fs/promises, whose loading would cost each `coffer path` a twentieth: what is rare loads it then.
import { promises as fs, lstatSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers, systemCode } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Verdict } from "../trust/verdict.ts";
import { buildingPlace, sweepBeside } from "./beside.ts";
import { type Checked, checkLaid, keepLaid, lay } from "./laid.ts";
import { folderTopic } from "./receipts.ts";
import { resolve } from "./resolve.ts";
import type { Store } from "./store.ts";
import { makeFolders, system } from "./system.ts";

const CHECKOUTS = "local/checkouts";

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
  const taken = await fs.readdir(folder).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return [];
    throw new CofferError("EXISTS", `${basename(folder)}: expected a new or an empty folder`, { cause: error });
  });
  if (taken.length > 0) throw new CofferError("EXISTS", `${basename(folder)}: expected a new or an empty folder`);
  await sweepBeside(folder, store.ports.openFolder(dirname(folder)));
  const building = buildingPlace(folder, store.files, store.ports);
  try {
    await lay(store, manifest.value, building);
    await takePlace(building, folder);
  } catch (error) {
    await fs.rm(building, { recursive: true, force: true });
    throw error;
  }
  return { folder, verdict, manifest };
}

/** rename(2) replaces an empty folder in one step, and fails on any other: what came there meanwhile is not ours. */
async function takePlace(building: string, folder: string): Promise<void> {
  try {
    await fs.rename(building, folder);
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
  /** Why the next call will hash the files again, where a receipt should have spared it. */
  readonly unkept?: CofferError;
}

/**
 * The path of one file of a trusted name, laid under `to` (or local/checkouts in the store) and verified just now, by
 * its bytes or by a receipt, together with the files beside it, which a runtime may open as well.
 *
 * @param file - its path in the manifest; may be left out where there is one file, or one gguf
 * @throws CofferError as `resolve`; FILE_NOT_FOUND; CORRUPT; NO_SPACE; READ_ONLY or IO_ERROR, which say what those can do
 *   instead who may not write the store
 */
export async function pathOf(store: Store, name: Name, file?: string, to?: string): Promise<VerifiedPath> {
  const { verdict, manifest } = await resolve(store, name);
  const wanted = chooseFile(manifest.value, file);
  const instead = `\`coffer path ${name.text} --to FOLDER\` or \`coffer checkout ${name.text} FOLDER\` lays the files elsewhere`;
  const home: Home =
    to === undefined
      ? { path: join(store.root, CHECKOUTS), shown: `${CHECKOUTS} of the store`, instead }
      : { path: to, shown: basename(to) };
  const found = await layOnce(store, manifest, home);
  return { path: join(home.path, manifest.id, wanted), verdict, ...found };
}

/** A folder that holds laid manifests, each in a folder of its id. */
interface Home {
  readonly path: string;
  /** For people. */
  readonly shown: string;
  /** What those can do who may not write there. */
  readonly instead?: string;
}

const BARRED: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"]);

/** @param folder - the home, or a folder in it. @throws CofferError NO_SPACE, READ_ONLY, IO_ERROR */
async function makeInHome({ shown, instead }: Home, folder: string): Promise<void> {
  try {
    await system(`make a folder in ${shown}`, () => makeFolders(folder));
  } catch (error) {
    passOthers(error);
    if (instead === undefined || !BARRED.has(systemCode(error.cause) ?? "")) throw error;
    throw new CofferError(error.code, `${error.message}; ${instead}`, { cause: error.cause });
  }
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
  throw new CofferError("USAGE", `say which file: ${shown}; \`coffer checkout NAME FOLDER\` gives all of them`);
}

async function layOnce(
  store: Store,
  manifest: Stored<Manifest>,
  home: Home,
): Promise<Pick<VerifiedPath, "mended" | "unkept">> {
  const folder = join(home.path, manifest.id);
  await makeInHome(home, home.path);
  const there = kindOf(folder);
  const found: Checked = there === "folder" ? await checkLaid(store, { manifest, folder }) : { intact: false };
  if (found.intact) return { mended: false, ...unkeptOf(found) };
  await sweepBeside(folder, store.ports.openFolder(dirname(folder)));
  const building = buildingPlace(folder, store.files, store.ports);
  const mended = there !== "absent";
  await makeInHome(home, building);
  try {
    const laid = await lay(store, manifest.value, building);
    if (mended) await fs.rm(folder, { recursive: true, force: true });
    await takePlace(building, folder);
    return { mended, ...(await keepLaid(store, { manifest, folder }, laid)) };
  } catch (error) {
    await fs.rm(building, { recursive: true, force: true });
    passOthers(error, "EXISTS");
    // Another process laid the same manifest meanwhile: what it laid is checked like anything else found there.
    const theirs = await checkLaid(store, { manifest, folder });
    if (!theirs.intact) throw error;
    return { mended, ...unkeptOf(theirs) };
  }
}

function unkeptOf({ unkept }: Checked): Pick<VerifiedPath, "unkept"> {
  return unkept === undefined ? {} : { unkept };
}

function kindOf(path: string): "folder" | "other" | "absent" {
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return "absent";
    return found.isDirectory() ? "folder" : "other";
  } catch (error) {
    throw new CofferError("IO_ERROR", `cannot look at the checkout (${systemCode(error)})`, { cause: error });
  }
}

/** Removes what was laid in the store of manifests that were revoked. Copies made elsewhere are beyond reach. */
export async function forgetCheckouts(store: Store, manifests: readonly Digest[]): Promise<void> {
  for (const manifest of manifests) {
    const folder = join(store.root, CHECKOUTS, manifest);
    await sweepBeside(folder, store.ports.openFolder(dirname(folder)));
    await store.receipts?.forget(folderTopic(manifest, folder));
    await system("remove a checkout", () => fs.rm(folder, { recursive: true, force: true }));
  }
}
