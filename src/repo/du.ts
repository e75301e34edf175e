// SPDX-License-Identifier: Apache-2.0
/**
 * `du`: what each name takes, what the store takes, and what gc could free. Reads documents, and of blobs no byte.
 * Layer: repo. Sizes of models are those that their manifests say; of everything else, those of the files.
 */

import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { type Name, parseName } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import type { Files } from "../objects/files.ts";
import { namesIn } from "../objects/layout.ts";
import { TRASH_FOLDER } from "../objects/trash.ts";
import { readManifest } from "./dossier.ts";
import { gc, stagingTally, type Tally, TRASH_S } from "./gc.ts";
import { manifestsBehind } from "./reach.ts";
import type { Store } from "./store.ts";

/** What a name keeps in the store: all of its versions that gc leaves alone, each blob once. */
export interface NameUse {
  readonly name: string;
  readonly files: number;
  readonly bytes: number;
  /** Of these, bytes that no other name keeps: what deleting the name would free. */
  readonly ownBytes: number;
}

const PARTS = [
  "blobs",
  "objects",
  "signatures",
  "log",
  "refs",
  "local/tmp",
  "local/incoming",
  "local/reserve",
  "local/checkouts",
  TRASH_FOLDER,
] as const;
type Part = (typeof PARTS)[number];

export interface Usage {
  /** Sorted by name; those that were asked for. */
  readonly names: readonly NameUse[];
  readonly totals: Readonly<Record<Part, Tally>>;
  /** What gc would move to the trash now, and what it would remove from there. */
  readonly garbage: Tally;
  readonly due: Tally;
  /** Under local/tmp, of imports that were stopped: `gc --older-than 0` removes it now. */
  readonly staging: Tally;
}

/**
 * @param wanted - all names when left out
 * @throws CofferError NAME_NOT_FOUND - one of `wanted` keeps nothing; CORRUPT, UNSUPPORTED - as `gc`
 */
export async function du(store: Store, wanted: readonly Name[] = []): Promise<Usage> {
  const names = await namesInUse(store);
  const asked = new Set(wanted.map((name) => name.text as string));
  for (const name of asked) {
    if (!names.some((use) => use.name === name)) {
      throw new CofferError("NAME_NOT_FOUND", `nothing is kept under the name ${name}`);
    }
  }
  const totals: Partial<Record<Part, Tally>> = {};
  for (const part of PARTS) totals[part] = await tallyBelow(store.files, part);
  const { moved, removed } = await gc(store, { olderThanS: TRASH_S, dryRun: true });
  return {
    names: asked.size === 0 ? names : names.filter(({ name }) => asked.has(name)),
    totals: totals as Record<Part, Tally>,
    garbage: Object.values(moved).reduce((sum, next) => plus(sum, next), { files: 0, bytes: 0 }),
    due: removed,
    staging: await stagingTally(store.files, store.ports.clock()),
  };
}

function plus(a: Tally, b: Tally): Tally {
  return { files: a.files + b.files, bytes: a.bytes + b.bytes };
}

async function namesInUse(store: Store): Promise<NameUse[]> {
  const manifests = new Map<string, Set<Digest>>();
  for await (const [ref, id] of (await store.head()).listRefs()) {
    const parsed = parseRefPath(ref);
    if (!("name" in parsed)) continue;
    const own = manifests.get(parsed.name.text) ?? new Set();
    for (const manifest of await manifestsBehind(store, ref, id)) own.add(manifest);
    if (own.size > 0) manifests.set(parsed.name.text, own);
  }
  const holders = new Map<Digest, number>();
  const blobs = new Map<string, Map<Digest, number>>();
  for (const [name, ids] of manifests) {
    const sizes = new Map<Digest, number>();
    for (const id of ids)
      for (const file of (await readManifest(store, id)).value.files) sizes.set(file.sha256, file.size);
    for (const blob of sizes.keys()) holders.set(blob, (holders.get(blob) ?? 0) + 1);
    blobs.set(name, sizes);
  }
  return [...blobs].map(([name, sizes]) => describe(name, sizes, holders)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function describe(name: string, sizes: ReadonlyMap<Digest, number>, holders: ReadonlyMap<Digest, number>): NameUse {
  let [bytes, ownBytes] = [0, 0];
  for (const [blob, size] of sizes) {
    bytes += size;
    if (holders.get(blob) === 1) ownBytes += size;
  }
  return { name: parseName(name).text, files: sizes.size, bytes, ownBytes };
}

/** Files below a folder, links not followed. A file of the trash that also stands in its place is counted there. */
async function tallyBelow(files: Files, folder: string): Promise<Tally> {
  const tally: Tally = { files: 0, bytes: 0 };
  const open = [folder];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const stat = await files.stat(path);
    if (stat?.kind === "folder") for (const name of await namesIn(files, path)) open.push(`${path}/${name}`);
    if (stat?.kind !== "file" || (folder === TRASH_FOLDER && stat.links > 1)) continue;
    tally.files += 1;
    tally.bytes += stat.sizeBytes;
  }
  return tally;
}
