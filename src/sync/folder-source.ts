// SPDX-License-Identifier: Apache-2.0
/**
 * The folder of another store as a source: what its log's head says, planned as for a bundle, read straight from its files.
 * Its log is verified where it lies, so the index that is made of it is signed by nobody. Layer: sync. Reads only.
 *
 * Blobs that do not lie there are left out, as their names then are without bytes here too.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Name, type NameText, parseName } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import { type Manifest, parseManifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import { blobPath, objectPath, signaturePath } from "../objects/layout.ts";
import { readObject } from "../objects/object-store.ts";
import { openKept, statKept } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Log } from "../refs/log.ts";
import { type BundleIndex, type LogPoint, makeBundleIndex } from "./bundle-index.ts";
import { earlierNumbers } from "./log-points.ts";
import { type Plan, planBundle, type Sender } from "./plan.ts";
import type { Item, Source } from "./source.ts";

/** A store that lies in a folder here, open and verified. */
export interface OpenFolder extends Sender {
  readonly log: Log;
  /** True if the receiver has a blob: it is not read then. */
  readonly has: (blob: Digest, sizeBytes: number) => Promise<boolean>;
}

/** @throws CofferError CORRUPT - what the head reaches is damaged; as `planBundle` */
export async function folderSource(folder: OpenFolder, head: HeadView): Promise<Source> {
  const names = await namesAt(head);
  const plan = await planBundle(folder, head, { names, candidates: true, blobs: "none" });
  const items = [...plan.items, ...(await bytesOf(folder, plan))];
  const index = makeBundleIndex({
    ...{ store: folder.log.storeId, storeKey: folder.storeKey, log: await logPoints(folder.log, head) },
    ...{ root: plan.root, policies: plan.policies, names: plan.names, candidates: plan.candidates },
    ...{ revocations: plan.revocations, refusals: plan.refusals, evidence: plan.evidence, items },
    ...{ segmentBytes: LIMITS.segmentBytes, volumes: items.length > 0 ? [items.length] : [], blobs: "all" },
  });
  return { index, missing: [], parcels: (wants) => parcelsOf(folder, index, wants) };
}

/** Everything that was promoted, denied or proposed; what waits in quarantine is that store's own affair. */
async function namesAt(head: HeadView): Promise<readonly Name[]> {
  const found = new Set<NameText>();
  for await (const [ref] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (parsed.family === "trusted" || parsed.family === "chain" || parsed.family === "proposed")
      found.add(parsed.name.text);
  }
  return [...found].sort().map((text) => parseName(text));
}

async function logPoints(log: Log, head: HeadView): Promise<BundleIndex["log"]> {
  const earlier: LogPoint[] = [];
  for (const number of earlierNumbers(head.number)) {
    const entry = await log.readEntry(number);
    if (entry === undefined)
      throw new CofferError("CORRUPT", `log entry ${number} is missing below entry ${head.number}`);
    earlier.push({ number, head: entry.id });
  }
  return { number: head.number, head: head.id, earlier };
}

/** Chunk lists and blobs of all that is trusted or proposed there, as far as they lie there and are asked for. */
async function bytesOf(folder: OpenFolder, plan: Plan): Promise<readonly Item[]> {
  const chunkLists = new Map<Digest, Item>();
  const blobs = new Map<Digest, Item & { readonly kind: "blob" }>();
  for (const id of await manifestsOf(folder, plan)) {
    const { value } = await readManifest(folder, id);
    for (const { sha256, size, chunks } of value.files) {
      if (blobs.has(sha256) || (await statKept(folder.files, blobPath(sha256)))?.sizeBytes !== size) continue;
      if (chunks !== undefined) {
        const bytes = await folder.objects.read(chunks);
        if (bytes === undefined) continue; // without it nobody can read the blob
        chunkLists.set(chunks, { kind: "object", id: chunks, sizeBytes: bytes.length });
      }
      if (!(await folder.has(sha256, size))) blobs.set(sha256, { kind: "blob", blob: sha256, sizeBytes: size });
    }
  }
  const byId = (a: string, b: string): number => (a < b ? -1 : 1);
  const small = [...chunkLists].sort(([a], [b]) => byId(a, b)).map(([, item]) => item);
  const large = [...blobs.values()].sort((a, b) => a.sizeBytes - b.sizeBytes || byId(a.blob, b.blob));
  return [...small, ...large.flatMap(partsOf)];
}

async function manifestsOf(folder: OpenFolder, plan: Plan): Promise<ReadonlySet<Digest>> {
  const found = new Set<Digest>();
  const statements = [
    ...plan.names.flatMap(({ heads }) => heads),
    ...plan.candidates.map(({ statement }) => statement),
  ];
  for (const id of statements) {
    const { value } = await readObject(folder.objects, id, "statement", parseStatement);
    if (value.state === "trusted") found.add(value.manifest);
  }
  return found;
}

function readManifest(folder: OpenFolder, id: Digest): Promise<Stored<Manifest>> {
  return readObject(folder.objects, id, "manifest", parseManifest);
}

function partsOf(item: Item & { readonly kind: "blob" }): readonly Item[] {
  const most = LIMITS.segmentBytes;
  if (item.sizeBytes <= most) return [item];
  return Array.from({ length: Math.ceil(item.sizeBytes / most) }, (_, part) => ({
    ...item,
    part,
    sizeBytes: Math.min(most, item.sizeBytes - part * most),
  }));
}

async function* parcelsOf(
  folder: OpenFolder,
  { value }: Stored<BundleIndex>,
  wants: (item: Item) => boolean,
): AsyncGenerator<{ readonly item: Item; read(): AsyncIterable<Uint8Array> }> {
  for (const item of value.items) {
    if (wants(item)) yield { item, read: () => readItem(folder, item, value.segmentBytes) };
  }
}

const READ_BYTES = 1024 * 1024;

/** Yielded bytes are valid until the next step. */
async function* readItem({ files }: OpenFolder, item: Item, segmentBytes: number): AsyncGenerator<Uint8Array> {
  const path = pathOf(item);
  const file = await openKept(files, path);
  if (file === undefined) throw new CofferError("CORRUPT", `${path} went away while it was read`);
  try {
    const start = item.kind === "blob" ? (item.part ?? 0) * segmentBytes : 0;
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(1, item.sizeBytes)));
    for (let at = 0; at < item.sizeBytes; ) {
      const length = await file.read(buffer.subarray(0, Math.min(buffer.length, item.sizeBytes - at)), start + at);
      if (length === 0) throw new CofferError("CORRUPT", `${path}: expected ${item.sizeBytes} bytes, found ${at}`);
      yield buffer.subarray(0, length);
      at += length;
    }
  } finally {
    await file.close();
  }
}

function pathOf(item: Item): string {
  switch (item.kind) {
    case "object":
      return objectPath(item.id);
    case "signature":
      return signaturePath(item.object, item.keyId);
    case "blob":
      return blobPath(item.blob);
  }
}
