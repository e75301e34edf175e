// SPDX-License-Identifier: Apache-2.0
/**
 * Stores of many models for benches: real ones, which pass `coffer fsck`, built without fsync and without a transaction
 * for each model, and kept under the temporary folder for the next run. A store that a bench has changed is kept too.
 *
 * Names that match `solo/*` have a rule with one approval, alice's; all others need alice and bob. Carol revokes.
 */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseDigest, sha256OfText } from "../../src/base/digest.ts";
import { type Name, parseManifestPath } from "../../src/base/names.ts";
import { formatTime, parseTime, timeSeconds } from "../../src/base/time.ts";
import type { PrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner, type Signer } from "../../src/keys/signer.ts";
import type { Files } from "../../src/objects/files.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { applyTargets, type Target } from "../../src/refs/apply-moves.ts";
import { makeFirstEntry, makeNextEntry } from "../../src/refs/log-entry.ts";
import { entryPath } from "../../src/refs/log-layout.ts";
import { EMPTY_TREE, NodeCache } from "../../src/refs/ref-node.ts";
import { type Added, add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { init } from "../../src/repo/init.ts";
import { policyFromFile } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promote } from "../../src/repo/promote.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { withoutFsync } from "./files-wraps.ts";
import { keyFrom, type Makers, makeModel, modelBytes, modelName, seededRandom } from "./fixture-models.ts";

const SEED = "coffer bench 1";
const PEOPLE = ["alice", "bob", "carol"] as const;
type Person = (typeof PEOPLE)[number];
const EVERYWHERE = {
  publishers: ["alice", "bob"],
  revokers: { principals: ["carol"], threshold: 1 },
  evidence: [{ kind: "inspection" }],
};
const POLICY = {
  principals: Object.fromEntries(
    PEOPLE.map((who) => [who, { keys: [{ key: keyFrom(SEED, who).publicKey.text, status: "active" }] }]),
  ),
  rootRole: { principals: PEOPLE, threshold: 2 },
  rules: [
    { names: "solo/*@*", ...EVERYWHERE, approvers: { principals: ["alice"], threshold: 1 } },
    { names: "*/*@*", ...EVERYWHERE, approvers: { principals: ["alice", "bob"], threshold: 2 } },
  ],
};
/** Models in one log entry of the build: two refs each. */
const PER_ENTRY = 10_000;
/** The last ones go in by the acts themselves, so that the newest entries are such as a store has. */
const BY_ACTS = 20;
/** Signatures must not be older than a rule allows by itself. */
const KEPT_DAYS = 30;

export interface Fixture {
  readonly models: number;
  readonly folder: string;
  readonly location: StoreLocation;
  readonly signers: Readonly<Record<Person, Signer>>;
  readonly keys: Readonly<Record<Person, PrivateKey>>;
  /** Model `number`, trusted. */
  name(number: number): Name;
  /** @param wrap - around the Files port of the store and of its memory */
  open(wrap?: (files: Files) => Files): Promise<Store>;
  /** A new model, quarantined under `name`. */
  add(store: Store, name: Name): Promise<Added>;
}

/** The store of `models` models, built if it is not there. Only one bench may work on it at a time. */
export async function openFixture(models: number, say: (text: string) => void): Promise<Fixture> {
  const folder = join(tmpdir(), "coffer-bench", `${models}-${await formatKey()}`);
  if (!isUsable(folder)) {
    const began = Date.now();
    say(`building a store of ${models} models in ${folder}`);
    await build(folder, models);
    say(`built in ${Math.round((Date.now() - began) / 1000)} s`);
  }
  return fixtureAt(folder, models);
}

/**
 * Names what a store of this program looks like: a model, a tree and a log entry of today's formats, and the policy. With
 * any other bytes in them stores are built anew.
 */
async function formatKey(): Promise<string> {
  const [root, issuedAt] = [sha256OfText(SEED), parseTime("2026-01-01T00:00:00Z")];
  const signing = { signer: signer("alice"), now: timeSeconds(issuedAt) };
  const makers = { ...people(), storeKey: signing.signer, policy: { id: root, root }, issuedAt };
  const models = await Promise.all(Array.from({ length: 100 }, (_, number) => makeModel(makers, number)));
  const refs = models.flatMap((model) => model.refs);
  const tree = await applyTargets({ read: async () => undefined }, EMPTY_TREE.id, refs);
  const entry = await makeFirstEntry({ refs: tree.root, moves: tree.moves }, root, signing);
  const sample = [JSON.stringify(POLICY), entry.bytes, ...(models[0]?.files ?? []).flat()];
  return sha256OfText(sample.map((part) => Buffer.from(part).toString("hex")).join(" ")).slice(0, 12);
}

/** Whole, since the folder gets its name last; and young enough. */
function isUsable(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.birthtimeMs < KEPT_DAYS * 86_400_000) return true;
  rmSync(folder, { recursive: true });
  return false;
}

function portsWith(wrap: (files: Files) => Files): Ports {
  return {
    clock: () => Math.floor(Date.now() / 1000),
    random: (length) => seededRandom(`${SEED} ${process.pid} ${process.hrtime.bigint()}`)(length),
    sleep: async (ms) => void (await setTimeout(ms)),
    openFolder: (path) => wrap(openRealFiles(path)),
  };
}

function fixtureAt(folder: string, models: number): Fixture {
  const signers = { alice: signer("alice"), bob: signer("bob"), carol: signer("carol") };
  const keys = { alice: keyFrom(SEED, "alice"), bob: keyFrom(SEED, "bob"), carol: keyFrom(SEED, "carol") };
  const location = { root: join(folder, "my.coffer"), stateHome: join(folder, "state"), memory: true };
  let added = 0;
  return {
    models,
    folder,
    location,
    signers,
    keys,
    name: modelName,
    open: (wrap = (files) => files) => openStore(location, portsWith(wrap)),
    async add(store, name) {
      added += 1;
      const sources = mkdtempSync(join(folder, "source-"));
      try {
        writeFileSync(join(sources, "model.safetensors"), modelBytes(`${name.text} ${Date.now()} ${added}`));
        const file = { path: parseManifestPath("model.safetensors"), folder: sources, file: "model.safetensors" };
        return await add(store, { name, files: [file], keep: false });
      } finally {
        rmSync(sources, { recursive: true });
      }
    },
  };
}

/** Signs with node:crypto: the same signatures as people's own, a hundred times as fast. */
const signer = (who: Person): Signer => nodeSigner(keyFrom(SEED, who));

async function build(folder: string, models: number): Promise<void> {
  mkdirSync(dirname(folder), { recursive: true });
  const building = mkdtempSync(`${folder}.build-`);
  try {
    const fixture = fixtureAt(building, models);
    const ports = portsWith(withoutFsync);
    await init(fixture.location, policyFor(ports), ports);
    const planted = Math.max(0, models - BY_ACTS);
    for (let at = 0; at < planted; at += PER_ENTRY) {
      await plant(await fixture.open(withoutFsync), at, Math.min(planted, at + PER_ENTRY));
    }
    const store = await fixture.open(withoutFsync);
    for (let number = planted; number < models; number += 1) await trust(fixture, store, modelName(number));
    renameSync(building, folder);
  } catch (error) {
    rmSync(building, { recursive: true, force: true });
    throw error;
  }
}

function policyFor({ random, clock }: Ports) {
  return policyFromFile(Buffer.from(JSON.stringify(POLICY)), random, clock());
}

/** One log entry with models `from` to `to`, written straight to their places; views as a writer leaves them. */
async function plant(store: Store, from: number, to: number): Promise<void> {
  const head = await store.log.findHead();
  const makers = await makersFor(store, JSON.parse(readFileSync(join(store.root, objectPath(store.pin)), "utf8")));
  const targets: Target[] = [];
  for (let number = from; number < to; number += 1) {
    const { files, refs } = await makeModel(makers, number);
    for (const [path, bytes] of files) writeFileSync(join(store.root, path), bytes, { flag: "wx", mode: 0o444 });
    for (const { ref, to: id } of refs) {
      mkdirSync(dirname(join(store.root, ref)), { recursive: true });
      writeFileSync(join(store.root, ref), `${id}\n`);
    }
    targets.push(...refs);
  }
  const tree = await applyTargets(store.objects, head.facts.refs, targets, new NodeCache(100_000));
  for (const { id, bytes } of tree.nodes) writeFileSync(join(store.root, objectPath(id)), bytes, { mode: 0o444 });
  const signing = { signer: await store.needSigner(), now: store.ports.clock() };
  const input = { refs: tree.root, moves: tree.moves, note: `models ${from} to ${to}` };
  const entry = await makeNextEntry(input, head, signing);
  writeFileSync(join(store.root, entryPath(entry.facts.number)), entry.bytes, { flag: "wx", mode: 0o444 });
}

function people() {
  return { seed: SEED, publisher: signer("alice"), approvers: [signer("alice"), signer("bob")] };
}

async function makersFor(store: Store, policy: { readonly root: string; readonly issuedAt: string }): Promise<Makers> {
  return {
    ...people(),
    storeKey: await store.needSigner(),
    policy: { id: store.pin, root: parseDigest(policy.root) },
    issuedAt: formatTime(timeSeconds(parseTime(policy.issuedAt))),
  };
}

/** By the acts: add, propose, approve, promote. */
async function trust(fixture: Fixture, store: Store, name: Name): Promise<void> {
  await fixture.add(store, name);
  await proposeBy(fixture, store, name);
  await promote(store, [name]);
}

/** A candidate for what is quarantined under `name`, with the approvals that its rule asks for. */
export async function proposeBy({ signers }: Fixture, store: Store, name: Name): Promise<void> {
  const { statement } = await propose(store, { name, signer: signers.alice, replace: false });
  await approve(store, name, statement.id, signers.alice);
  if (name.namespace !== "solo") await approve(store, name, statement.id, signers.bob);
}
