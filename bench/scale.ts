// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench -- scale`: what acts cost in stores of 100, 20,000 and 100,000 models, and beside bare scripts that do
 * the same reads, writes, fsyncs and signatures.
 */
import { spawnSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Name, parseName } from "../src/base/names.ts";
import { tweetnaclSigner } from "../src/keys/signer.ts";
import { list } from "../src/repo/list.ts";
import { promote, promoteAlone } from "../src/repo/promote.ts";
import { resolve } from "../src/repo/resolve.ts";
import { revoke } from "../src/repo/revoke.ts";
import type { Store } from "../src/repo/store.ts";
import {
  barePromote,
  bareResolve,
  keyObject,
  type PromoteWork,
  prepareBare,
  type ResolveWork,
} from "./support/bare.ts";
import { commandOf, environmentOf } from "./support/command.ts";
import { newTrace, type Trace, traced } from "./support/files-wraps.ts";
import { type Fixture, openFixture, proposeBy } from "./support/fixture.ts";
import { type Bench, type Contender, type Count, interleave, type Ratio, ratioOf, timed } from "./support/harness.ts";

const SIZES = [100, 20_000, 100_000] as const;
const QUICK_SIZES = [100, 2000] as const;
/** Names that one sample resolves, each for the first time. */
const RESOLVED = 20;
/** Acts on each store before any is timed: the first ones in a process pay for its compiler. */
const WARM_UP = 20;
/** Milliseconds on a shared disk vary: so many times the rounds of other benches. */
const MORE_ROUNDS = 3;
const MOST_FSYNCS = 16;
/**
 * One person alone has a statement and two signatures more to write, each with its folder, and may move the clock floor:
 * 7 more than a promotion of what others have approved (docs/decisions/0026).
 */
const MOST_FSYNCS_ALONE = 18;

/** One store under test, and what its acts did last. */
class Site {
  readonly label: string;
  readonly fixture: Fixture;
  readonly scratch: string;
  /** Does the acts; whatever it does is in `trace`. */
  readonly store: Store;
  /** Reads what `store` will read, so that the bare script knows; keeps the same nodes, for it sees the same names. */
  readonly scout: Store;
  trace: Trace;
  work: PromoteWork | undefined;
  #made = 0;
  #at = 0;

  private constructor(fixture: Fixture, open: { store: Store; scout: Store; trace: Trace }) {
    this.fixture = fixture;
    this.label = `${fixture.models.toLocaleString("en")} models`;
    this.store = open.store;
    this.scout = open.scout;
    this.trace = open.trace;
    this.scratch = mkdtempSync(join(fixture.folder, "bare-"));
    const folders = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
    for (const name of ["tmp", "log", "memory", ...folders]) mkdirSync(join(this.scratch, name));
  }

  static async open(fixture: Fixture): Promise<Site> {
    const trace = newTrace();
    const box: { site?: Site } = {};
    const current = (): Trace => box.site?.trace ?? trace;
    const store = await fixture.open((files) => traced(files, current));
    const scout = await fixture.open((files) => traced(files, current));
    box.site = new Site(fixture, { store, scout, trace });
    return box.site;
  }

  close(): void {
    rmSync(this.scratch, { recursive: true });
  }

  freshName(namespace: "bench" | "solo"): Name {
    this.#made += 1;
    return parseName(`${namespace}/m${Date.now().toString(36)}x${this.#made}`);
  }

  /** Names all over the store, none twice before all others were there. */
  nextNames(count: number): Name[] {
    const stride = this.fixture.models > 1000 ? 7919 : 7;
    return Array.from({ length: count }, () => {
      this.#at += stride;
      return this.fixture.name(this.#at % this.fixture.models);
    });
  }

  /** Runs `act` with a trace of its own. */
  async watch<T>(act: () => Promise<T>): Promise<{ readonly trace: Trace; readonly result: T }> {
    this.trace = newTrace();
    const result = await act();
    return { trace: this.trace, result };
  }
}

/**
 * Reads what acts read of a store, so that the page cache has it for every size alike: whichever bench ran before may have
 * driven the larger ones out.
 */
async function warm(site: Site): Promise<void> {
  const reader = await site.fixture.open();
  let refs = 0;
  for await (const _ of (await reader.head()).listRefs()) refs += 1;
  if (refs < site.fixture.models) throw new Error(`${site.label}: ${refs} refs`);
  for (const kind of ["objects", "signatures"]) {
    for (const folder of readdirSync(join(reader.root, kind))) readdirSync(join(reader.root, kind, folder));
  }
  for (let at = 0; at < WARM_UP; at += 1) {
    await samplePromote(site);
    await bareSample(site);
  }
}

const fsyncsOf = ({ created, folders }: Trace): number =>
  created.filter((file) => file.fsynced).length + folders.length;

async function samplePromote(site: Site): Promise<number> {
  const name = site.freshName("bench");
  await site.fixture.add(site.store, name);
  await proposeBy(site.fixture, site.store, name);
  const { trace, result } = await site.watch(() => timed(() => promote(site.store, [name])));
  site.work = workOf(trace, 0);
  return result;
}

async function sampleAlone(site: Site): Promise<number> {
  const name = site.freshName("solo");
  await site.fixture.add(site.store, name);
  const request = { name, signer: tweetnaclSigner(site.fixture.keys.alice), replace: false };
  const { trace, result } = await site.watch(() => timed(() => promoteAlone(site.store, request)));
  site.work = workOf(trace, 2);
  return result;
}

/** The writes and fsyncs of a traced promotion. */
function workOf(trace: Trace, people: number): PromoteWork {
  const { created, folders } = trace;
  const target = ({ to, path }: { readonly to?: string; readonly path: string }): string => to ?? path;
  const sizes = (wanted: (path: string) => boolean): number[] =>
    created.filter((file) => wanted(target(file))).map((file) => file.bytes);
  const isFact = (path: string): boolean => !path.includes("/");
  const batch = created.filter((file) => file.fsynced && /^(?:objects|signatures)\//.test(target(file)));
  const known = new Set(["log/000000", ".", ...batch.map((file) => dirname(target(file)))]);
  return {
    batch: batch.map((file) => file.bytes),
    entry: sizes((path) => path.startsWith("log/"))[0] ?? 0,
    memory: {
      files: created.filter((file) => file.fsynced && isFact(target(file))).length,
      folders: folders.filter((folder) => folder === ".").length,
    },
    folders: folders.filter((folder) => !known.has(folder)).length,
    loose: sizes((path) => path.startsWith("refs/") || path === "local/head"),
    made: trace.madeFolders.length,
    removed: { files: trace.removed.length, folders: trace.removedFolders.length },
    people,
  };
}

/** The bare script, doing what the last promotion here did. */
async function bareSample(site: Site): Promise<number> {
  const { seed, publicKey } = site.fixture.keys.alice;
  const store = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  const person = Buffer.concat([seed, publicKey.raw]);
  const { work } = site;
  if (work === undefined) throw new Error("the bare script needs a promotion to go by");
  prepareBare(site.scratch, work);
  return timed(() => barePromote(site.scratch, work, { person, store }));
}
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

async function sampleRevoke(site: Site): Promise<number> {
  const name = site.freshName("bench");
  await site.fixture.add(site.store, name);
  await proposeBy(site.fixture, site.store, name);
  await promote(site.store, [name]);
  return timed(() => revoke(site.store, { name, also: [] }, site.fixture.signers.carol));
}

/** Milliseconds of RESOLVED resolutions by us, and by the bare script, which does what the scout was seen to do. */
async function sampleResolve(site: Site): Promise<{ readonly ours: number; readonly bare: number }> {
  const names = site.nextNames(RESOLVED);
  const works: ResolveWork[] = [];
  for (const name of names) works.push(readsOf(site, (await site.watch(() => resolve(site.scout, name))).trace));
  const floor = await timed(() => {
    for (const work of works) bareResolve(work);
  });
  site.trace = newTrace();
  const ours = await timed(async () => {
    for (const name of names) await resolve(site.store, name);
  });
  return { ours, bare: floor };
}

function readsOf(site: Site, { read, absent }: Trace): ResolveWork {
  const objects = [...new Set(read.filter((path) => path.startsWith("objects/")))];
  const people = new Map(
    [...Object.values(site.fixture.keys).map((key) => key.publicKey), site.store.storeKey].map((key) => [
      key.keyId as string,
      keyObject(key.raw),
    ]),
  );
  const signatures = [...new Set(read.filter((path) => path.startsWith("signatures/")))].map((path) => {
    const [object = "", keyId = ""] = path.replace("signatures/", "objects/").split(".");
    const key = people.get(keyId);
    if (key === undefined) throw new Error(`${path}: a key that the fixture does not know`);
    return { path, object, key };
  });
  return { root: site.fixture.location.root, objects, signatures, absent: [...new Set(absent)] };
}

/** The command as built, beside Node that does nothing. */
function resolveProcess(site: Site): Contender {
  return async () => {
    const [name] = site.nextNames(1);
    const env = environmentOf(site.fixture, site.store);
    const args = ["resolve", name?.text ?? "", "--store", site.fixture.location.root];
    return timed(() => {
      const run = spawnSync(process.execPath, [commandOf(), ...args], { env, encoding: "utf8" });
      if (run.status !== 0) throw new Error(`coffer resolve: ${run.stderr}`);
    });
  };
}

async function sampleList(site: Site): Promise<number> {
  return timed(() => list(site.store));
}

/** Of a store that was opened for this one act, as the command opens it. */
async function countFsyncs({ fixture }: Site, alone: boolean): Promise<number> {
  const name = parseName(`${alone ? "solo" : "bench"}/count${Date.now().toString(36)}`);
  const other = await fixture.open();
  await fixture.add(other, name);
  if (!alone) await proposeBy(fixture, other, name);
  const trace = newTrace();
  const store = await fixture.open((files) => traced(files, () => trace));
  if (alone) await promoteAlone(store, { name, signer: fixture.signers.alice, replace: false });
  else await promote(store, [name]);
  return fsyncsOf(trace);
}

const ACTS = ["promote", "promote alone", "revoke", "resolve", "list, first page"] as const;
type ActName = (typeof ACTS)[number];
const labelOf = (act: ActName | "coffer resolve", site: Site): string => `${act}, ${site.label}`;
const bareOf = (act: ActName, site: Site): string => `bare script as ${labelOf(act, site)}`;

function contendersOf(site: Site): Record<string, Contender> {
  return {
    [labelOf("promote", site)]: async () => ({
      [labelOf("promote", site)]: await samplePromote(site),
      [bareOf("promote", site)]: await bareSample(site),
    }),
    [labelOf("promote alone", site)]: async () => ({
      [labelOf("promote alone", site)]: await sampleAlone(site),
      [bareOf("promote alone", site)]: await bareSample(site),
    }),
    [labelOf("resolve", site)]: async () => {
      const { ours, bare } = await sampleResolve(site);
      return { [labelOf("resolve", site)]: ours, [bareOf("resolve", site)]: bare };
    },
    [labelOf("revoke", site)]: () => sampleRevoke(site),
    [labelOf("coffer resolve", site)]: resolveProcess(site),
    [labelOf("list, first page", site)]: () => sampleList(site),
  };
}

export const bench: Bench = {
  title: "Acts in stores of 100 to 100,000 models",
  about: `
Real stores, built by \`bench/support/fixture.ts\`: a safetensors file of 4 KiB for each model, two approvals, inspection.
Their trees and folders are read before the clock starts, and ${WARM_UP} promotions are made in each.
Everything runs in one process with the store open, except \`coffer resolve\`, which is the command as built.

*promote* moves a candidate that is approved already; *promote alone* proposes, approves and promotes where one approval is
enough, with two signatures by tweetnacl. The bare scripts (\`bench/support/bare.ts\`) write files of the same sizes with
the same fsyncs, side by side where ours are, and make the same signatures; or read the same files, hash them, parse them as
JSON and check the same signatures. A sample of *resolve* is ${RESOLVED} names, none resolved before. *revoke* and *list* go by
the local index of names. fsyncs are counted at the port, of a store opened for the one act, its memory included.`,
  async run({ quick, rounds, say }) {
    const sites: Site[] = [];
    try {
      for (const models of quick ? QUICK_SIZES : SIZES) sites.push(await Site.open(await openFixture(models, say)));
      const counts: Count[] = [];
      for (const site of sites) {
        for (const alone of [false, true]) {
          const what = `fsyncs of ${labelOf(alone ? "promote alone" : "promote", site)}`;
          counts.push({ what, count: await countFsyncs(site, alone), atMost: alone ? MOST_FSYNCS_ALONE : MOST_FSYNCS });
        }
      }
      say("reading the stores");
      for (const site of sites) await warm(site);
      say(`${rounds * MORE_ROUNDS} rounds`);
      const samples = await interleave(
        Object.assign({}, ...sites.map(contendersOf), { "node -e 0": emptyProcess }),
        rounds * MORE_ROUNDS,
      );
      const [smallest, ...larger] = sites;
      if (smallest === undefined) throw new Error("no sizes");
      const ratios: Ratio[] = [];
      for (const act of ACTS) {
        for (const site of larger) {
          ratios.push(ratioOf(samples, labelOf(act, site), labelOf(act, smallest), { atMost: 1.5 }));
        }
      }
      for (const site of sites) {
        ratios.push(ratioOf(samples, labelOf("resolve", site), bareOf("resolve", site), { atMost: 2 }));
        ratios.push(ratioOf(samples, labelOf("promote", site), bareOf("promote", site), { atMost: 3 }));
        ratios.push(ratioOf(samples, labelOf("promote alone", site), bareOf("promote alone", site), { atMost: 3 }));
        ratios.push(ratioOf(samples, labelOf("coffer resolve", site), "node -e 0"));
      }
      return { ratios, counts };
    } finally {
      for (const site of sites) site.close();
    }
  },
};

async function emptyProcess(): Promise<number> {
  return timed(() => spawnSync(process.execPath, ["-e", "0"]));
}
