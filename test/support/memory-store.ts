// SPDX-License-Identifier: Apache-2.0
/**
 * A real store, made by `init` on disk and then moved into the memory twin of the Files port, so that every act can be
 * stopped at each of its calls. Layer: test support.
 */
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner, type Signer } from "../../src/keys/signer.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { init } from "../../src/repo/init.ts";
import { policyFromFile } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { MemoryFiles } from "./memory-files.ts";
import { seededRandom } from "./transcripts.ts";

export const NOW_S = Date.parse("2026-11-22T12:00:00Z") / 1000;

/** The disks of one machine: the store, this machine's state and secrets, and a folder with files to add. */
export interface Disks {
  readonly store: MemoryFiles;
  readonly state: MemoryFiles;
  readonly source: MemoryFiles;
}

export interface World {
  readonly people: Readonly<Record<"alice" | "bob" | "carol", Signer>>;
  readonly disks: Disks;
  readonly location: StoreLocation;
}

function memoryPorts(disks: Disks, location: StoreLocation, seed: string): Ports {
  const byPath = new Map([
    [location.root, disks.store],
    [location.state, disks.state],
    [location.secrets, disks.state],
    ["/source", disks.source],
  ]);
  return {
    clock: () => NOW_S,
    random: seededRandom(seed),
    sleep: () => Promise.resolve(),
    openFolder: (path) => byPath.get(path) ?? openRealFiles(path),
  };
}

/** A fresh program on the same disks. */
export function openOn(world: World, disks: Disks, seed: string): Promise<Store> {
  return openStore(world.location, memoryPorts(disks, world.location, seed));
}

/** Alice and bob publish and approve, 2 of 2; carol revokes. */
export async function makeWorld(): Promise<World> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "coffer-memory-")));
  try {
    const random = seededRandom("people");
    const keys = (["alice", "bob", "carol"] as const).map((name) => ({ name, key: generatePrivateKey(random, name) }));
    const principals = Object.fromEntries(
      keys.map(({ name, key }) => [name, { keys: [{ key: key.publicKey.text, status: "active" }] }]),
    );
    const two = { principals: ["alice", "bob"], threshold: 2 };
    const rule = { names: "*/*@*", publishers: ["alice", "bob"], approvers: two, evidence: [{ kind: "inspection" }] };
    const draft = {
      principals,
      rootRole: two,
      rules: [{ ...rule, revokers: { principals: ["carol"], threshold: 1 } }],
    };
    const policy = policyFromFile(new TextEncoder().encode(JSON.stringify(draft)), random, NOW_S);
    const location = {
      root: join(folder, "store"),
      stateHome: folder,
      memory: true,
      secrets: join(folder, "state"),
      state: join(folder, "state"),
    };
    await init(location, policy, {
      clock: () => NOW_S,
      random,
      sleep: () => Promise.resolve(),
      openFolder: openRealFiles,
    });
    const disks = { store: await load(location.root), state: await load(location.state), source: new MemoryFiles() };
    const [alice, bob, carol] = keys.map(({ key }) => nodeSigner(key));
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error("three people expected");
    return { people: { alice, bob, carol }, disks, location };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function load(folder: string): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.plant(path.slice(folder.length + 1), readFileSync(path), statSync(path).mode & 0o777);
  }
  for (const name of ["local", "local/tmp"])
    if (await files.makeFolder(name)) await files.fsyncFolder(name === "local" ? "." : "local");
  return files;
}

/** What every disk would hold after the power went. */
export function crashed(disks: Disks, mode: "all-lost" | "random", seed: number): Disks {
  return {
    store: disks.store.crash(mode, seed),
    state: disks.state.crash(mode, seed),
    source: disks.source.crash("none-lost"),
  };
}
