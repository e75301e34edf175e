// SPDX-License-Identifier: Apache-2.0
/**
 * Several stores of one team, or of two: the same people and policy root, each store with its own key, log and clock hand.
 * Layer: test support. For what travels between stores.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Digest, parseDigest } from "../../src/base/digest.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parseRefPath } from "../../src/base/ref-path.ts";
import type { Signer } from "../../src/keys/signer.ts";
import type { Policy } from "../../src/objects/documents/policy.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import { add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { deleteName } from "../../src/repo/delete.ts";
import { init } from "../../src/repo/init.ts";
import { policyFromFile } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promote } from "../../src/repo/promote.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import type { Source } from "../../src/sync/source.ts";
import { itemPath } from "../../src/sync/source.ts";
import { memorySource } from "./memory-source.ts";
import {
  BEGIN_S,
  type Contents,
  fastFolder,
  makePeople,
  makeSafetensors,
  type Person,
  realPorts,
  ruleFor,
} from "./store-fixture.ts";

export interface Team {
  readonly folder: string;
  readonly people: Readonly<Record<Person, Signer>>;
  readonly policy: Stored<Policy>;
  readonly ports: Ports;
  /** Seconds; what the clock of all says. */
  nowS: number;
  /** A new store under the team's policy. */
  store(name: string): Promise<Member>;
}

/** One store of a team, and what people do with it. */
export interface Member {
  readonly location: StoreLocation;
  readonly store: Store;
  open(): Promise<Store>;
  add(name: string, files: Contents): Promise<Digest>;
  propose(name: string, ...approvers: Person[]): Promise<Digest>;
  trust(name: string, files: Contents): Promise<Digest>;
  revoke(name: string, reason?: string): Promise<void>;
  delete(name: string): Promise<void>;
  reject(name: string, by: Person): Promise<void>;
}

interface Ending {
  after(act: () => unknown): void;
}

/** @param rules - in place of the one rule for all names */
export function makeTeam(ending: Ending, rules: readonly object[] = [ruleFor("*/*@*")]): Team {
  const folder = mkdtempSync(join(fastFolder(), "coffer-team-"));
  ending.after(() => rmSync(folder, { recursive: true, force: true }));
  const { signers: people, draft } = makePeople();
  let nowS = BEGIN_S;
  const ports = realPorts(() => nowS);
  const policy = policyFromFile(draft(rules), ports.random, nowS);
  return {
    ...{ folder, people, policy, ports },
    get nowS() {
      return nowS;
    },
    set nowS(seconds) {
      nowS = seconds;
    },
    async store(name) {
      const location = { root: join(folder, `${name}.coffer`), stateHome: join(folder, `${name}-state`), memory: true };
      await init(location, policy, ports);
      return memberOf(folder, people, location, await openStore(location, ports), ports);
    },
  };
}

function memberOf(folder: string, people: Team["people"], location: StoreLocation, store: Store, ports: Ports): Member {
  const member: Member = {
    ...{ location, store },
    open: () => openStore(location, ports),
    async add(name, files) {
      const sources = mkdtempSync(join(folder, "source-"));
      mkdirSync(sources, { recursive: true });
      for (const [path, bytes] of Object.entries(files)) writeFileSync(join(sources, path), bytes);
      const found = Object.keys(files).map((path) => ({ path: parseManifestPath(path), folder: sources, file: path }));
      return (await add(store, { name: parseName(name), files: found, keep: false })).manifest;
    },
    async propose(name, ...approvers) {
      const proposed = await propose(store, { name: parseName(name), signer: people.alice, replace: true });
      const { id } = proposed.statement;
      for (const who of approvers) await approve(store, parseName(name), id, people[who]);
      return id;
    },
    async trust(name, files) {
      const manifest = await member.add(name, files);
      await member.propose(name, "alice", "bob");
      await promote(store, [parseName(name)]);
      return manifest;
    },
    async revoke(name, reason) {
      const because = reason === undefined ? {} : { reason };
      await revoke(store, { name: parseName(name), also: [], ...because }, people.carol);
    },
    async delete(name) {
      await deleteName(store, { name: parseName(name) }, people.carol);
    },
    async reject(name, by) {
      await reject(store, await planReject(store, { name: parseName(name) }), "a test", people[by]);
    },
  };
  return member;
}

/** A small model whose bytes depend on `seed`. */
export function model(seed: number, dataBytes = 64): Contents {
  return { "m.safetensors": makeSafetensors(dataBytes, seed) };
}

/** Everything of a source, in memory: it can be sent again after its store has changed. */
export async function inMemory(source: Source): Promise<{ source: Source; files: Map<string, Uint8Array> }> {
  const files = new Map<string, Uint8Array>();
  for await (const parcel of source.parcels(() => true)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of parcel.read()) pieces.push(Uint8Array.from(piece));
    files.set(itemPath(parcel.item), new Uint8Array(Buffer.concat(pieces)));
  }
  return { source: memorySource(source.index, files), files };
}

/** Refs that are a function of the statements, refusals and evidence that are known, whatever came first. */
const SHARED = ["chain", "trusted", "revoked", "revoked-bytes", "deleted", "refused", "waiting"];

/** @param evidence - with those of evidence, which each store makes for itself */
export async function sharedRefs(store: Store, evidence: "with evidence" | "without" = "without"): Promise<string[]> {
  const families = evidence === "without" ? SHARED : [...SHARED, "evidence"];
  const found: string[] = [];
  for await (const [ref, id] of (await store.head()).listRefs()) {
    const parsed = parseRefPath(ref);
    const isDenials = parsed.family === "signers" && (evidence !== "without" || (await isDenial(store, parsed.digest)));
    if (families.includes(parsed.family) || isDenials) found.push(`${ref} ${id}`);
  }
  return found.sort();
}

async function isDenial(store: Store, id: Digest): Promise<boolean> {
  const text = Buffer.from((await store.objects.read(id)) ?? []).toString();
  return text.includes('"type":"coffer/statement"') || text.includes('"type":"coffer/refusal"');
}

/** Ids of objects of these kinds, with the names of the signatures over them. */
export async function objectsOf(store: Store, ...kinds: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const first of (await store.files.list("objects")) ?? []) {
    const signatures = (await store.files.list(`signatures/${first}`)) ?? [];
    for (const rest of (await store.files.list(`objects/${first}`)) ?? []) {
      const bytes = await store.objects.read(parseDigest(first + rest));
      const type = /"type":"coffer\/([a-z]+)","version":1\}\n$/.exec(Buffer.from(bytes ?? []).toString("latin1"))?.[1];
      if (type === undefined || !kinds.includes(type)) continue;
      found.push(
        `${type} ${first}${rest}`,
        ...signatures.filter((name) => name.startsWith(rest)).map((name) => first + name),
      );
    }
  }
  return found.sort();
}
