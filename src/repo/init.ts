// SPDX-License-Identifier: Apache-2.0
/**
 * `init`: a new store is built beside its place and renamed there whole, so a crash leaves no half store.
 * Layer: repo. Format: docs/format.md, "The store on disk". No store exists without a policy.
 */
import { chmod } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { POLICY_REF } from "../base/ref-path.ts";
import { generatePrivateKey } from "../keys/private-key.ts";
import { nodeSigner } from "../keys/signer.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Policy } from "../objects/documents/policy.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Files } from "../objects/files.ts";
import { TEMP_FOLDER } from "../objects/layout.ts";
import { openObjects } from "../objects/object-store.ts";
import { removeTree } from "../objects/sub-folder.ts";
import { WriteBatch } from "../objects/write-batch.ts";
import { openMemory } from "../refs/memory.ts";
import { createLog } from "../refs/transaction.ts";
import { buildingPlace, sweepBeside } from "./beside.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { fillReserve } from "./reserve.ts";
import { writeStoreKey } from "./secrets.ts";
import { openFolder, secretsFolder, stateFolder } from "./store.ts";
import { encodeStoreFile, STORE_FILE } from "./store-file.ts";
import { makeFolders, system } from "./system.ts";

export interface Initialised {
  readonly storeId: Digest;
  readonly policy: Stored<Policy>;
  /** Where the store key's private half was put. */
  readonly secrets: string;
}

/**
 * @throws CofferError EXISTS - the place is taken; FILE_SYSTEM_UNFIT - no hard links; NO_SPACE, IO_ERROR
 */
export async function init(location: StoreLocation, policy: Stored<Policy>, ports: Ports): Promise<Initialised> {
  const parent = dirname(location.root);
  const beside = ports.openFolder(parent);
  await refuseTaken(beside, basename(location.root));
  await system("make a folder beside the new store", () => makeFolders(parent));
  await sweepBeside(location.root, beside);
  const building = buildingPlace(location.root, beside, ports);
  await beside.makeFolder(basename(building));
  try {
    // What is made in it takes after it.
    if (location.shared === true) await system("share the new store", () => chmod(building, 0o2775));
    const done = await build(ports.openFolder(building), location, policy, ports);
    // rename(2) replaces an empty folder in one step, and fails on any other.
    await beside.rename(basename(building), basename(location.root));
    await beside.fsyncFolder(".");
    return done;
  } catch (error) {
    // The first failure is the one to tell; what stays is swept by the next init.
    await Promise.allSettled([removeTree(beside, basename(building))]);
    throw error;
  }
}

async function refuseTaken(beside: Files, name: string): Promise<void> {
  let entries: readonly string[] | undefined;
  try {
    entries = await beside.list(name);
  } catch (error) {
    passOthers(error);
    throw new CofferError("EXISTS", `${name}: expected a new or an empty folder; ${error.message}`, { cause: error });
  }
  if (entries !== undefined && entries.length > 0)
    throw new CofferError("EXISTS", `${name}: expected a new or an empty folder`);
}

async function build(
  files: Files,
  location: StoreLocation,
  policy: Stored<Policy>,
  ports: Ports,
): Promise<Initialised> {
  const { clock, random, sleep } = ports;
  await makeStoreFolders(files);
  await checkFileSystem(files);
  const key = generatePrivateKey(random, "coffer store key");
  await writeFile(files, STORE_FILE, encodeStoreFile(key.publicKey));
  const batch = new WriteBatch(files, random);
  const list = makeList([policy.id]);
  batch.addObject(policy);
  batch.addObject(list);
  const draft = { moves: [{ ref: POLICY_REF, to: list.id }], batch, note: "init" };
  const { committed, log } = await createLog(files, openObjects(files), draft, {
    signer: nodeSigner(key),
    clock,
    random,
    sleep,
  });
  await fillReserve(files, random);
  await files.fsyncFolder(".");
  const storeId = log.storeId;
  const secrets = secretsFolder(location, storeId);
  const shared = location.shared === true;
  await writeStoreKey(await openFolder(ports, secrets, shared ? 0o750 : 0o700), key, random, shared ? 0o640 : 0o600);
  const memory = openMemory(await openFolder(ports, stateFolder(location, storeId), 0o700));
  await memory.rememberHead(1, committed.entry.id);
  return { storeId, policy, secrets };
}

/** Folders for every first byte of a digest, so that later writes need no fsync of a parent. */
async function makeStoreFolders(files: Files): Promise<void> {
  for (const folder of ["local", TEMP_FOLDER, "refs"]) await files.makeFolder(folder);
  for (const folder of ["objects", "signatures", "blobs"]) {
    await files.makeFolder(folder);
    for (let byte = 0; byte < 256; byte += 1) await files.makeFolder(`${folder}/${byte.toString(16).padStart(2, "0")}`);
    await files.fsyncFolder(folder);
  }
}

/** The log needs link(2) that refuses a taken name; FAT and some network shares have none. */
async function checkFileSystem(files: Files): Promise<void> {
  const [first, second] = [`${TEMP_FOLDER}/link-probe`, `${TEMP_FOLDER}/link-probe-2`];
  await writeFile(files, first, new Uint8Array([1]));
  try {
    const fresh = await files.link(first, second);
    const again = await files.link(first, second);
    if (!fresh || again) throw new CofferError("FILE_SYSTEM_UNFIT", "link(2) does not refuse a taken name here");
  } catch (error) {
    if (!(error instanceof CofferError) || error.code !== "IO_ERROR") throw error;
    throw new CofferError("FILE_SYSTEM_UNFIT", `hard links do not work here: ${error.message}`, { cause: error });
  }
  await files.remove(first);
  await files.remove(second);
}

async function writeFile(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  const file = await files.create(path, 0o644);
  if (file === undefined) throw new CofferError("EXISTS", `${path} is there already`);
  try {
    await file.write(bytes);
    await file.fsync();
  } finally {
    await file.close();
  }
}
