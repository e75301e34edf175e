// SPDX-License-Identifier: Apache-2.0
/**
 * Random histories of moves for the tests of the local index, and the walk over the tree that it is held against. On the
 * memory twin. Layer: test support.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { type Name, parseLabel, parseManifestPath, parseName } from "../../src/base/names.ts";
import { NAME_FAMILIES, nameRef, parseRefPath, type RefPath } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { makeManifest } from "../../src/objects/documents/manifest.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import type { HeadView } from "../../src/refs/head-view.ts";
import { readManifest, readStatement } from "../../src/repo/dossier.ts";
import { INDEX_FOLDER } from "../../src/repo/index/run-file.ts";
import { type Names, openNames, tendIndex } from "../../src/repo/names.ts";
import type { Store } from "../../src/repo/store.ts";
import type { MemoryFiles } from "./memory-files.ts";
import { type Disks, makeWorld, openOn, type World } from "./memory-store.ts";

export const NAMES = ["a/b@1", "a/b@1-x", "a/b@main", "a/b.c@1", "a-b/c@1", "a1/z@9", "b/b@1", "library/q@main"].map(
  (text) => parseName(text),
);
const BLOBS = [...Array(6).keys()].map((seed) => sha256(new Uint8Array([seed])));

/** A manifest of some of the blobs; bit i of `bits` says whether it has blob i. */
export function manifestOf(bits: number) {
  const files = BLOBS.flatMap((digest, at) =>
    (bits >> at) & 1
      ? [{ path: parseManifestPath(`f${at}.gguf`), size: 1, sha256: digest, format: parseLabel("gguf") }]
      : [],
  );
  return makeManifest({ files });
}

const pin = sha256(new Uint8Array([99]));
function statementOf(name: Name, manifest: Digest) {
  return makeStatement({
    root: pin,
    ref: nameRef("trusted", name),
    manifest,
    policy: pin,
    sequence: 1,
    previous: [],
    issuedAt: parseTime("2026-11-22T00:00:00Z"),
    evidence: [],
  });
}

export interface Step {
  readonly name: number;
  readonly family: "trusted" | "proposed" | "quarantined" | "chain";
  /** Blobs of the manifest; 0 takes the ref away. */
  readonly bits: number;
}
export const step: fc.Arbitrary<Step> = fc.record({
  name: fc.nat(NAMES.length - 1),
  family: fc.constantFrom("trusted", "trusted", "proposed", "quarantined", "chain"),
  bits: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 63 })),
});

/** Commits a move as it is, without asking whether anybody may: the index looks at moves alone. */
export async function play(store: Store, { name: index, family, bits }: Step): Promise<void> {
  const name = NAMES[index];
  assert.ok(name);
  const batch = store.batch();
  const manifest = bits === 0 ? undefined : manifestOf(bits);
  const statement = manifest && statementOf(name, manifest.id);
  if (manifest !== undefined) batch.addObject(manifest);
  if (statement !== undefined) batch.addObject(statement);
  const held = family === "trusted" || family === "proposed" ? statement : manifest;
  const move: { ref: RefPath; to?: Digest } = { ref: nameRef(family, name), ...(held && { to: held.id }) };
  await store.commit(async () => ({ moves: [move], batch }));
}

interface Truth {
  readonly lists: Record<"n" | "t" | "p", string[]>;
  readonly holders: Map<Digest, string[]>;
}

/** By walking over all refs. */
async function walk(store: Store, head: HeadView): Promise<Truth> {
  const found = { n: new Set<string>(), t: new Set<string>(), p: new Set<string>() };
  const holders = new Map<Digest, string[]>();
  for await (const [ref, id] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (!("name" in parsed) || !NAME_FAMILIES.includes(parsed.family)) continue;
    found.n.add(parsed.name.text);
    if (parsed.family === "proposed") found.p.add(parsed.name.text);
    if (parsed.family !== "trusted") continue;
    found.t.add(parsed.name.text);
    const manifest = await readManifest(store, (await readStatement(store, id)).value.manifest);
    for (const digest of [manifest.id, ...manifest.value.files.map((file) => file.sha256)]) {
      holders.set(digest, [...(holders.get(digest) ?? []), parsed.name.text].sort());
    }
  }
  return { lists: { n: [...found.n].sort(), t: [...found.t].sort(), p: [...found.p].sort() }, holders };
}

export async function agree(store: Store, names: Names, head: HeadView, pageSize = 3): Promise<void> {
  const truth = await walk(store, head);
  for (const list of ["n", "t", "p"] as const) {
    const pages: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await names.list(list, { limit: pageSize, ...(after === undefined ? {} : { after }) });
      pages.push(...page.map(({ text }) => text));
      after = page.at(-1)?.text;
      if (page.length < pageSize) break;
    }
    assert.deepEqual(pages, truth.lists[list], list);
    const prefixed = await names.list(list, { prefix: "a/", limit: 100 });
    assert.deepEqual(
      prefixed.map(({ text }) => text),
      truth.lists[list].filter((text) => text.startsWith("a/")),
    );
  }
  for (const digest of new Set([...BLOBS, ...truth.holders.keys()])) {
    const found = (await names.holders(digest)).map(({ text }) => text);
    assert.deepEqual(found, truth.holders.get(digest) ?? [], digest);
  }
}

export async function agreeAnew(store: Store, mayWrite: boolean): Promise<void> {
  const head = await store.head();
  const names = await openNames(store, head, { mayWrite });
  try {
    await agree(store, names, head);
  } finally {
    await names.close();
  }
}

export async function tend(store: Store): Promise<void> {
  await tendIndex(store, await store.head());
}

const world = await makeWorld();
export const SMALL = { partKeys: 7, sortedKeys: 11 };

/** The world's disks as they were, for one run. */
export function fresh(from: Disks = world.disks): Disks {
  return { store: from.store.crash("none-lost"), state: from.state.crash("none-lost"), source: from.source };
}

/** Without memory of heads: for stores that are put back. */
export const forgetful: World = { ...world, location: { ...world.location, memory: false } };
export const opened = (disks: Disks, seed: string): Promise<Store> => openOn(forgetful, disks, seed);

export function indexFiles(files: MemoryFiles): [string, Uint8Array][] {
  return [...files.snapshot()].filter(([path]) => path.startsWith(`${INDEX_FOLDER}/`));
}

const HISTORY: readonly Step[] = [...Array(40).keys()].map((at) => ({
  name: (at * 5) % NAMES.length,
  family: at % 3 === 0 ? "proposed" : "trusted",
  bits: at % 7 === 0 ? 0 : 1 + ((at * 11) % 63),
}));

/** A store with several runs and something ahead of them. */
export async function withRuns(): Promise<Disks> {
  const disks = fresh();
  const store = await opened(disks, "runs");
  for (const [at, one] of HISTORY.entries()) {
    await play(store, one);
    if (at % 9 === 5) await tend(store);
  }
  return disks;
}
