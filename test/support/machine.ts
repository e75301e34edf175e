// SPDX-License-Identifier: Apache-2.0
/**
 * A machine on one disk of the memory twin: a store, this machine's state and secrets, files to add, and room for a new
 * store, behind one count of calls. Layer: test support. Not here: worlds with a disk for each of these (memory-store.ts).
 */
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseLabel } from "../../src/base/names.ts";
import type { Policy } from "../../src/objects/documents/policy.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { teamPolicy } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { MemoryFiles } from "./memory-files.ts";
import { makeWorld, NOW_S, type World } from "./memory-store.ts";
import { seededRandom } from "./transcripts.ts";

/** Folders of the disk; `state` holds memory and store key. */
export const STORE = "store";
export const STATE = "state";
export const SOURCE = "source";
/** Where `init` is to make another store, and that store's state. */
export const NEW_STORE = "new";
export const NEW_STATE = "new-state";
/** A stick. */
export const MEDIA = "media";

const MONTH_NS = 30n * 24n * 3600n * 1_000_000_000n;
const HEX = "0123456789abcdef0123456789abcdef";

export interface Machine {
  readonly people: World["people"];
  /** For `init`. */
  readonly policy: Stored<Policy>;
  readonly disk: MemoryFiles;
  /** What absolute paths of this machine begin with. */
  readonly root: string;
  end(): void;
}

export function locationOn({ root }: Machine): StoreLocation {
  const state = join(root, STATE);
  return { root: join(root, STORE), stateHome: root, memory: true, secrets: state, state };
}

/** The store that `init` makes, with a state folder by its id as people have it. */
export function newLocation({ root }: Machine): StoreLocation {
  return { root: join(root, NEW_STORE), stateHome: join(root, NEW_STATE), memory: true };
}

/** Ports of a fresh process on `disk`; the same `seed` gives the same temporary names. */
export function portsOn({ root }: Machine, disk: MemoryFiles, seed: string): Ports {
  return {
    clock: () => NOW_S,
    random: seededRandom(seed),
    sleep: () => Promise.resolve(),
    openFolder: (path) => {
      if (path === root) return disk;
      if (!path.startsWith(`${root}/`)) return openRealFiles(path);
      const folder = path.slice(root.length + 1);
      // State folders are made outside the port; here they are there, and durable.
      if (folder.startsWith(`${NEW_STATE}/`)) disk.plant(`${folder}/.here`, new Uint8Array());
      return subFolder(disk, folder);
    },
  };
}

export function openOn(machine: Machine, disk: MemoryFiles, seed: string): Promise<Store> {
  return openStore(locationOn(machine), portsOn(machine, disk, seed));
}

/** Alice and bob publish and approve, 2 of 2; carol revokes. All that is there lay there for a month. */
export async function makeMachine(): Promise<Machine> {
  const { people, disks, location } = await makeWorld();
  const disk = new MemoryFiles();
  disk.nowNs = BigInt(NOW_S) * 1_000_000_000n - MONTH_NS;
  for (const [path, bytes] of disks.store.snapshot()) disk.plant(`${STORE}/${path}`, bytes);
  for (const [path, bytes] of disks.state.snapshot()) disk.plant(`${STATE}/${path}`, bytes, 0o600);
  disk.plant(`${SOURCE}/notes.txt`, new TextEncoder().encode("hello\n"));
  disk.plant(`${SOURCE}/config.json`, new TextEncoder().encode('{"a": 1}\n'));
  for (const folder of [`${STORE}/local/tmp`, NEW_STATE, MEDIA]) {
    await disk.makeFolder(folder);
    await disk.fsyncFolder(dirname(folder));
  }
  const alice = { name: parseLabel("alice"), keys: [people.alice.publicKey] };
  const policy = teamPolicy([alice], 1, false, seededRandom("policy"), NOW_S);
  const root = dirname(location.root);
  return { people, policy, disk, root, end: () => rmSync(root, { recursive: true, force: true }) };
}

/**
 * What an act may find and has to deal with: files of writers that are gone and of one that nobody knows, a folder
 * of a stopped `init`, a reserve that was used.
 */
export async function litter(disk: MemoryFiles): Promise<void> {
  disk.plant(`${STORE}/local/tmp/memory-0-${HEX}`, new Uint8Array(10));
  disk.plant(`${STORE}/local/tmp/${HEX}`, new Uint8Array(10));
  disk.plant(`.${NEW_STORE}.memory-0-${HEX}/local/tmp/memory-0-${HEX}`, new Uint8Array(10));
  disk.plant(`${MEDIA}/.coffer-part-memory-0-${HEX}`, new Uint8Array(10));
  for (const piece of ["05", "63"]) await disk.remove(`${STORE}/local/reserve/${piece}`);
  await disk.fsyncFolder(`${STORE}/local/reserve`);
}
