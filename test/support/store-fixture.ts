// SPDX-License-Identifier: Apache-2.0
/**
 * A real store in a temporary folder, made through the repo layer with real keys: alice and bob publish and approve
 * (2 of 2), carol revokes. Removed when the test ends. The clock is the fixture's own.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import type { Digest } from "../../src/base/digest.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parseTime, timeSeconds } from "../../src/base/time.ts";
import { publicFromSeed } from "../../src/keys/ed25519.ts";
import type { PrivateKey } from "../../src/keys/private-key.ts";
import { publicKeyFromRaw } from "../../src/keys/public-key.ts";
import { nodeSigner, type Signer } from "../../src/keys/signer.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { type Added, add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { init } from "../../src/repo/init.ts";
import { policyFromFile } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promote } from "../../src/repo/promote.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openStore, type Store } from "../../src/repo/store.ts";

const PEOPLE = ["alice", "bob", "carol"] as const;
export type Person = (typeof PEOPLE)[number];
export type Contents = Readonly<Record<string, Uint8Array>>;

const BLOCK_BYTES = 64 * 1024;

/** A valid safetensors file whose one tensor holds `dataBytes` bytes that depend on `seed`, no two blocks alike. */
export function makeSafetensors(dataBytes: number, seed = 1): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  let state = seed;
  for (let at = 0; at < BLOCK_BYTES; at += 1) {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    block[at] = state >> 16;
  }
  const data = new Uint8Array(dataBytes);
  for (let at = 0; at < dataBytes; at += BLOCK_BYTES) {
    block.writeUInt32LE(at / BLOCK_BYTES);
    data.set(block.subarray(0, Math.min(BLOCK_BYTES, dataBytes - at)), at);
  }
  return encodeSafetensors([{ name: "weight", dtype: "U8", shape: [dataBytes], data }]);
}

const MEMORY_FOLDER = "/dev/shm";
const ROOM_BYTES = 512 * 1024 * 1024;

/** Memory where there is room: a store's many fsyncs then cost nothing. What they are for is tested elsewhere. */
export function fastFolder(): string {
  if (!existsSync(MEMORY_FOLDER)) return tmpdir();
  const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
  return bavail * bsize > ROOM_BYTES ? MEMORY_FOLDER : tmpdir();
}

/** What a test gives back when it ends. */
interface Ending {
  after(act: () => unknown): void;
}

export interface StoreFixture {
  /** The folder that holds the store, its state and its sources. */
  readonly folder: string;
  readonly location: StoreLocation;
  readonly ports: Ports;
  readonly store: Store;
  readonly signers: Readonly<Record<Person, Signer>>;
  /** Seconds; what the store's clock says. */
  nowS: number;
  /** Opens the store once more, as another process would. */
  open(): Promise<Store>;
  /** The files go in and stand under refs/quarantined. */
  add(name: string, files: Contents): Promise<Added>;
  /** alice proposes what is quarantined. @returns the statement */
  propose(name: string, expiresAt?: string): Promise<Digest>;
  approve(name: string, statement: Digest, ...people: Person[]): Promise<void>;
  /** add, propose, approve twice, promote. */
  trust(name: string, files: Contents, expiresAt?: string): Promise<Added>;
  /** @param store - the store as another process has it open */
  revoke(name: string, reason?: string, store?: Store): Promise<void>;
}

/** What the clocks of fixtures say at first. */
export const BEGIN_S = timeSeconds(parseTime("2026-11-22T10:00:00Z"));

/** A fresh key, through node:crypto: as `generatePrivateKey` makes them, at a hundredth of its cost. */
function keyOf(comment: string): PrivateKey {
  const seed = Uint8Array.from(randomBytes(32));
  return { seed, publicKey: publicKeyFromRaw(publicFromSeed(seed)), comment };
}

/** Fresh keys for alice, bob and carol, and a policy file with them. */
export function makePeople(): {
  readonly signers: Readonly<Record<Person, Signer>>;
  draft(rules: readonly object[]): Uint8Array;
} {
  const keys = Object.fromEntries(PEOPLE.map((who) => [who, keyOf(who)])) as Record<Person, PrivateKey>;
  const signers = Object.fromEntries(PEOPLE.map((who) => [who, nodeSigner(keys[who])])) as Record<Person, Signer>;
  const people = {
    principals: Object.fromEntries(
      PEOPLE.map((who) => [who, { keys: [{ key: keys[who].publicKey.text, status: "active" }] }]),
    ),
    rootRole: { principals: PEOPLE, threshold: 2 },
  };
  return { signers, draft: (rules) => Buffer.from(JSON.stringify({ ...people, rules })) };
}

/** The real ports, but for the clock. */
export function realPorts(clock: () => number): Ports {
  return {
    clock,
    random: (length) => randomBytes(length),
    sleep: async (ms) => void (await sleep(ms)),
    openFolder: openRealFiles,
  };
}

/**
 * @param rules - in place of the one rule for all names
 * @param changes - ports other than the usual ones
 */
export async function makeStoreFixture(
  ending: Ending,
  rules?: readonly object[],
  changes: Partial<Ports> = {},
): Promise<StoreFixture> {
  const folder = mkdtempSync(join(fastFolder(), "coffer-fixture-"));
  ending.after(() => rmSync(folder, { recursive: true, force: true }));
  const { signers, draft } = makePeople();
  let nowS = BEGIN_S;
  const ports: Ports = { ...realPorts(() => nowS), ...changes };
  const location: StoreLocation = { root: join(folder, "my.coffer"), stateHome: join(folder, "state"), memory: true };
  const policy = policyFromFile(draft(rules ?? [ruleFor("*/*@*")]), ports.random, nowS);
  await init(location, policy, ports);
  const store = await openStore(location, ports);

  const addFiles = (name: string, files: Contents): Promise<Added> => {
    const sources = mkdtempSync(join(folder, "source-"));
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(sources, path)), { recursive: true });
      writeFileSync(join(sources, path), bytes);
    }
    const found = Object.keys(files).map((path) => ({ path: parseManifestPath(path), folder: sources, file: path }));
    return add(store, { name: parseName(name), files: found, keep: false });
  };
  const fixture: StoreFixture = {
    folder,
    location,
    ports,
    store,
    signers,
    get nowS() {
      return nowS;
    },
    set nowS(seconds) {
      nowS = seconds;
    },
    open: () => openStore(location, ports),
    add: addFiles,
    async propose(name, expiresAt) {
      const end = expiresAt === undefined ? {} : { expiresAt: parseTime(expiresAt) };
      const request = { name: parseName(name), signer: signers.alice, replace: false, ...end };
      return (await propose(store, request)).statement.id;
    },
    async approve(name, statement, ...people) {
      for (const who of people) await approve(store, parseName(name), statement, signers[who]);
    },
    async trust(name, files, expiresAt) {
      const added = await addFiles(name, files);
      const statement = await fixture.propose(name, expiresAt);
      await fixture.approve(name, statement, "alice", "bob");
      await promote(store, [parseName(name)]);
      return added;
    },
    async revoke(name, reason, through = store) {
      const because = reason === undefined ? {} : { reason };
      await revoke(through, { name: parseName(name), also: [], ...because }, signers.carol);
    },
  };
  return fixture;
}

/** alice and bob publish and approve (2 of 2), carol revokes. */
export function ruleFor(names: string, more: object = {}): object {
  return {
    names,
    publishers: ["alice", "bob"],
    approvers: { principals: ["alice", "bob"], threshold: 2 },
    revokers: { principals: ["carol"], threshold: 1 },
    evidence: [{ kind: "inspection" }],
    ...more,
  };
}
