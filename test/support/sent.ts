// SPDX-License-Identifier: Apache-2.0
/**
 * What another store of the same team sends to a machine of the memory twin: made once for each machine, in memory.
 * Layer: test support.
 */
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parsePolicy } from "../../src/objects/documents/policy.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { init } from "../../src/repo/init.ts";
import { promote } from "../../src/repo/promote.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openStore } from "../../src/repo/store.ts";
import type { Source } from "../../src/sync/source.ts";
import { type Machine, newLocation, openOn, portsOn, SOURCE } from "./machine.ts";
import type { MemoryFiles } from "./memory-files.ts";
import { inMemory } from "./team-stores.ts";

export const SENT = parseName("acme/sent@v1");

interface Sent {
  /** Before it was revoked there. */
  readonly trusted: Source;
  readonly revoked: Source;
}

/** Makes another store of the same root on `disk`, in the place of a new one, with a model that it trusts. */
export async function makeSender(machine: Machine, disk: MemoryFiles) {
  const ours = await openOn(machine, machine.disk.crash("none-lost"), "policy of the sender");
  const policy = await readObject(ours.objects, ours.pin, "policy", parsePolicy);
  const ports = portsOn(machine, disk, "sender");
  const location = newLocation(machine);
  await init(location, policy, ports);
  const store = await openStore(location, ports);
  const { alice, bob } = machine.people;
  const files = [{ path: parseManifestPath("notes.txt"), folder: `${machine.root}/${SOURCE}`, file: "notes.txt" }];
  await add(store, { name: SENT, keep: false, files });
  const { statement } = await propose(store, { name: SENT, signer: alice, replace: false });
  for (const who of [alice, bob]) await approve(store, SENT, statement.id, who);
  await promote(store, [SENT]);
  return { store, location, ports };
}

async function makeSent(machine: Machine): Promise<Sent> {
  const disk = machine.disk.crash("none-lost");
  const { store, location, ports } = await makeSender(machine, disk);
  const trusted = (await inMemory(await openFolderSource(location.root, ports))).source;
  await revoke(store, { name: SENT, also: [], reason: "a test" }, machine.people.carol);
  return { trusted, revoked: (await inMemory(await openFolderSource(location.root, ports))).source };
}

const made = new WeakMap<Machine, Promise<Sent>>();

export function sentTo(machine: Machine): Promise<Sent> {
  const known = made.get(machine) ?? makeSent(machine);
  made.set(machine, known);
  return known;
}
