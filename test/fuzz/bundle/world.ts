// SPDX-License-Identifier: Apache-2.0
/**
 * Where bundles are thrown at: a sender with a history of its own, the bundles that it makes, and stores that receive them.
 * All from fixed keys, so that a bundle of another day is one of the same team. Layer: test support.
 */
import type { Digest } from "../../../src/base/digest.ts";
import { parseManifestPath, parseName, parsePattern } from "../../../src/base/names.ts";
import { parseRefPath } from "../../../src/base/ref-path.ts";
import { publicFromSeed } from "../../../src/keys/ed25519.ts";
import { publicKeyFromRaw } from "../../../src/keys/public-key.ts";
import { nodeSigner, type Signer } from "../../../src/keys/signer.ts";
import { parsePolicy } from "../../../src/objects/documents/policy.ts";
import { readObject } from "../../../src/objects/object-store.ts";
import { add } from "../../../src/repo/add.ts";
import type { BundleRequest } from "../../../src/repo/bundle.ts";
import { approve, propose } from "../../../src/repo/candidates.ts";
import { deleteName } from "../../../src/repo/delete.ts";
import { importFrom } from "../../../src/repo/import.ts";
import { init } from "../../../src/repo/init.ts";
import type { StoreLocation } from "../../../src/repo/ports.ts";
import { promote } from "../../../src/repo/promote.ts";
import { planReject, reject } from "../../../src/repo/reject.ts";
import { revoke } from "../../../src/repo/revoke.ts";
import { openStore, type Store } from "../../../src/repo/store.ts";
import { openPipe } from "../../../src/sync/pipe.ts";
import { volumesOf } from "../../support/bundles.ts";
import { locationOn, type Machine, makeMachine, newLocation, portsOn, SOURCE, STORE } from "../../support/machine.ts";
import type { MemoryFiles } from "../../support/memory-files.ts";
import { makeSafetensors } from "../../support/store-fixture.ts";

/** A store that a bundle is given to: each time a fresh copy of its disk. */
export interface Receiver {
  readonly name: string;
  readonly disk: MemoryFiles;
  /** Where it lies on that disk. */
  readonly folder: string;
  readonly location: StoreLocation;
  readonly sameRoot: boolean;
}

export interface SeedBundle {
  readonly name: string;
  readonly volumes: readonly Buffer[];
  /** Megabytes: tried less often. */
  readonly large: boolean;
}

export interface FuzzWorld {
  readonly machine: Machine;
  readonly people: readonly Signer[];
  /** The key that signs indexes. */
  readonly storeKey: Signer;
  readonly stranger: Signer;
  readonly seeds: readonly SeedBundle[];
  /** Volumes of seeds, and all of each one after the other: what is encrypted. */
  readonly clears: readonly Buffer[];
  readonly receivers: readonly Receiver[];
  /** What people of the policy have signed. */
  readonly statements: ReadonlySet<Digest>;
}

const LARGE_BYTES = 8 * 1024 * 1024 + 700;
const ONE = parseName("acme/one@v1");
const TWO = parseName("acme/two@v1");
const GONE = parseName("acme/gone@v1");
const OPEN = parseName("acme/open@v1");
const LARGE = parseName("acme/large@v1");

async function* piped(volumes: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* volumes;
}

export async function makeFuzzWorld(): Promise<FuzzWorld> {
  const machine = await makeMachine();
  const disk = machine.disk.crash("none-lost");
  const location = newLocation(machine);
  const ports = portsOn(machine, disk, "fuzz sender");
  const ours = await openStore(locationOn(machine), portsOn(machine, disk, "fuzz policy"));
  const policy = await readObject(ours.objects, ours.pin, "policy", parsePolicy);
  await init(location, policy, ports);
  const sender = await openStore(location, ports);
  const { seeds, early, statements } = await live(machine, disk, sender);
  const receivers = await makeReceivers(machine, early);
  const raw = new Uint8Array(32).fill(9);
  const stranger = nodeSigner({ publicKey: publicKeyFromRaw(publicFromSeed(raw)), seed: raw, comment: "" });
  const people = Object.values(machine.people);
  const clears = seeds.flatMap(({ volumes }) => [...volumes, Buffer.concat(volumes)]);
  return { clears, machine, people, storeKey: await sender.needSigner(), stranger, seeds, receivers, statements };
}

/** What the sender goes through, and the bundles that it makes on the way. */
async function live(machine: Machine, disk: MemoryFiles, store: Store) {
  const { alice, bob, carol } = machine.people;
  const put = async (name: typeof ONE, path: string, bytes: Uint8Array): Promise<void> => {
    disk.plant(`${SOURCE}/${path}`, bytes);
    const folder = `${machine.root}/${SOURCE}`;
    const files = [path, "config.json"].map((file) => ({ path: parseManifestPath(file), folder, file }));
    await add(store, { name, keep: false, files });
  };
  const trust = async (name: typeof ONE, path: string, bytes: Uint8Array): Promise<void> => {
    await put(name, path, bytes);
    const { statement } = await propose(store, { name, signer: alice, replace: false });
    for (const who of [alice, bob]) await approve(store, name, statement.id, who);
    await promote(store, [name]);
  };
  const make = async (name: string, request: Partial<BundleRequest>, volumeBytes?: number): Promise<SeedBundle> => {
    const { volumes } = await volumesOf(store, [], volumeBytes, request);
    return { name, volumes, large: volumes.reduce((sum, { length }) => sum + length, 0) > 1024 * 1024 };
  };
  const all = { patterns: [parsePattern("acme/*@*")], candidates: true };
  await trust(ONE, "one.safetensors", makeSafetensors(64, 1));
  const early = await make("early", all);
  await trust(TWO, "two.safetensors", makeSafetensors(64, 2));
  await trust(TWO, "two.safetensors", makeSafetensors(64, 3));
  await put(OPEN, "open.safetensors", makeSafetensors(64, 4));
  await propose(store, { name: OPEN, signer: alice, replace: false });
  const trusted = await make("trusted", all);
  const quarantined = await make("quarantined", { names: [OPEN] });
  await trust(GONE, "gone.safetensors", makeSafetensors(64, 5));
  await reject(store, await planReject(store, { name: GONE }), "a test", bob);
  for (const name of [GONE, ONE]) await revoke(store, { name, also: [], reason: "a test" }, carol);
  await deleteName(store, { name: GONE }, carol);
  const denied = await make("denied", all);
  const several = await make("several", all, 24 * 1024);
  const denials = await make("denials", {});
  await trust(LARGE, "large.safetensors", makeSafetensors(LARGE_BYTES, 6));
  const large = await make("large", { names: [LARGE] }, 16 * 1024 * 1024);
  const statements = await statementsOf(store);
  return { seeds: [early, trusted, quarantined, denied, several, denials, large], early, statements };
}

async function statementsOf(store: Store): Promise<ReadonlySet<Digest>> {
  const found = new Set<Digest>();
  for await (const [ref, id] of (await store.head()).listRefs())
    if (parseRefPath(ref).family === "proposed") found.add(id);
  for (const item of (await volumesOf(store, [], undefined, { patterns: [parsePattern("acme/*@*")] })).bundle.index
    .value.items) {
    if (item.kind !== "object") continue;
    const text = Buffer.from((await store.objects.read(item.id)) ?? []).toString("latin1");
    if (text.includes('"type":"coffer/statement"')) found.add(item.id);
  }
  return found;
}

async function makeReceivers(machine: Machine, early: SeedBundle): Promise<readonly Receiver[]> {
  const same = { folder: STORE, location: locationOn(machine), sameRoot: true };
  const known = machine.disk.crash("none-lost");
  const store = await openStore(same.location, portsOn(machine, known, "fuzz known"));
  await importFrom(store, await openPipe(piped(early.volumes), "early"));
  const other = machine.disk.crash("none-lost");
  const location = newLocation(machine);
  await init(location, machine.policy, portsOn(machine, other, "fuzz foreign"));
  return [
    { name: "fresh", disk: machine.disk, ...same },
    { name: "known", disk: known, ...same },
    { name: "foreign", disk: other, folder: "new", location, sameRoot: false },
  ];
}
