// SPDX-License-Identifier: Apache-2.0
/** Stores in memory for the tests of refs: fixed keys, a fixed clock, objects in a Map, and a ref tree built naively. */
import { createHash } from "node:crypto";
import { encodeCanonical } from "../../src/base/canonical-json.ts";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import type { Random } from "../../src/base/ports.ts";
import { asRefPath, type RefPath } from "../../src/base/ref-path.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner, type Signer } from "../../src/keys/signer.ts";
import type { Files } from "../../src/objects/files.ts";
import { type ObjectReader, openObjects } from "../../src/objects/object-store.ts";
import type { HeadView } from "../../src/refs/head-view.ts";
import type { Log } from "../../src/refs/log.ts";
import { parseAnyNode, type RefNode } from "../../src/refs/ref-node.ts";
import { type CommitPorts, createLog, type Draft } from "../../src/refs/transaction.ts";
import { MemoryFiles } from "../support/memory-files.ts";

/** 2026-11-22T00:00:00Z. */
export const NOW = 1_795_305_600;

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("utf8");

const ids = new Map<string, Digest>();

/** The digest of a label: stands for the id of some object. Kept, since the naive builder asks for it very often. */
export function idOf(label: string): Digest {
  const id = ids.get(label) ?? sha256(utf8(label));
  ids.set(label, id);
  return id;
}

/** Not random at all: bytes that follow from `label`, so that a failure repeats. */
export function seeded(label: string): Random {
  let count = 0;
  return (length) => {
    const blocks: Buffer[] = [];
    for (let have = 0; have < length; have += 32) {
      count += 1;
      blocks.push(createHash("sha256").update(`${label} ${count}`).digest());
    }
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

export const signerOf = (label: string): Signer => nodeSigner(generatePrivateKey(seeded(label), label));
export const STORE_SIGNER = signerOf("the store");

export const trusted = (model: string): RefPath => asRefPath(`refs/trusted/acme/${model}/main`);

/** `refs/trusted/acme/m0/main` … */
export function someRefs(count: number): readonly RefPath[] {
  return Array.from({ length: count }, (_, index) => trusted(`m${index}`));
}

/** Refs of several families about the same names and digests, six for each number: what stands in one place together. */
export function mixedRefs(count: number): readonly RefPath[] {
  return Array.from({ length: count }, (_, index) => {
    const number = Math.floor(index / 6);
    const [name, digest] = [`acme/m${number}/main`, `sha256/${idOf(`d${number}`)}`];
    const families = [`trusted/${name}`, `chain/${name}`, `quarantined/${name}`];
    const about = [`evidence/${digest}`, `revoked/${digest}/manifest`, `revoked/${digest}/blob`];
    return asRefPath(`refs/${[...families, ...about][index % 6]}`);
  });
}

/** The place of a ref, from the definition: SHA-256 of its path without the family and the kind of a revocation. */
export function placeFor(ref: string): Digest {
  const [, family = "", ...rest] = ref.split("/");
  if (rest.length === 0) return idOf(family);
  return idOf((rest[0] === "sha256" ? rest.slice(0, 2) : rest).join("/"));
}

/** Objects in memory; `reads` counts what was asked for. */
export class MapObjects implements ObjectReader {
  readonly objects = new Map<Digest, Uint8Array>();
  reads = 0;

  add(bytes: Uint8Array): Digest {
    const id = sha256(bytes);
    this.objects.set(id, bytes);
    return id;
  }

  async read(id: Digest): Promise<Uint8Array | undefined> {
    this.reads += 1;
    return this.objects.get(id);
  }
}

/** The root over `refs`, from the definition and from nothing else; its nodes go into `objects` if that is given. */
export function naiveRoot(refs: ReadonlyMap<string, string>, objects = new MapObjects(), place = ""): Digest {
  const below = [...refs].filter(([ref]) => placeFor(ref).startsWith(place)).sort(([a], [b]) => (a < b ? -1 : 1));
  if (below.length <= 64) return objects.add(encodeCanonical({ type: "coffer/refs", version: 1, entries: below }));
  const children: Record<string, Digest> = {};
  for (const digit of "0123456789abcdef") {
    const some = new Map(below.filter(([ref]) => placeFor(ref).startsWith(place + digit)));
    if (some.size > 0) children[digit] = naiveRoot(some, objects, place + digit);
  }
  return objects.add(encodeCanonical({ type: "coffer/refs", version: 1, children }));
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export async function refsOf(view: HeadView): Promise<Map<string, string>> {
  return new Map(await collect(view.listRefs()));
}

/** Ports of one process; the sleeps only count. */
export function portsOf(label: string, changes: Partial<CommitPorts> = {}): CommitPorts & { readonly slept: number[] } {
  const slept: number[] = [];
  const sleep = async (ms: number): Promise<void> => {
    slept.push(ms);
  };
  return { signer: STORE_SIGNER, clock: () => NOW, random: seeded(label), sleep, slept, ...changes };
}

/** The folders that `init` makes, durable. */
export async function makeFolders(files: Files): Promise<void> {
  for (const folder of ["objects", "signatures", "refs", "local", "local/tmp"]) await files.makeFolder(folder);
  await files.fsyncFolder(".");
  await files.fsyncFolder("local");
}

/** A store whose entry 1 made `draft`. */
export async function newStore(
  files: Files = new MemoryFiles(),
  draft: Draft = { moves: [] },
): Promise<{ readonly log: Log; readonly reader: ObjectReader }> {
  await makeFolders(files);
  const reader = openObjects(files);
  const { log } = await createLog(files, reader, draft, portsOf("birth"));
  return { log, reader };
}

/** What the general parser makes of `bytes`; undefined if it refuses. */
export function general(bytes: Uint8Array): RefNode | undefined {
  try {
    return parseAnyNode(bytes);
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return undefined;
  }
}
