// SPDX-License-Identifier: Apache-2.0
/**
 * The index of a store that is at hand, made anew from a head: what a folder offers to the store beside it, and a server to
 * those that pull from it. Layer: sync. Reads only. Signed by nobody here.
 *
 * Blobs that do not lie there are left out, as their names then are without bytes at the receiver too.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name, NameText } from "../base/names.ts";
import { type Manifest, parseManifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import { blobPath } from "../objects/layout.ts";
import { readObject } from "../objects/object-store.ts";
import { statKept } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Log } from "../refs/log.ts";
import { type BundleIndex, type LogPoint, makeBundleIndex } from "./bundle-index.ts";
import { partsOf } from "./cut.ts";
import { earlierNumbers } from "./log-points.ts";
import { type Plan, planBundle, type Sender } from "./plan.ts";
import type { Item } from "./source.ts";

/** A store that is open, its log verified. */
export interface OpenSender extends Sender {
  readonly log: Log;
}

export interface SnapshotRequest {
  /** Their chains travel whole, with manifests and evidence. */
  readonly names: readonly Name[];
  /** What is proposed under them as well. */
  readonly candidates: boolean;
  /** Whether the blobs of what stands, or is proposed, under a name come along. */
  readonly withBlobs: (name: NameText) => boolean;
  /** True of a blob that need not come. */
  readonly without: (blob: Digest, sizeBytes: number) => Promise<boolean>;
  /** In parts of which size blobs travel. @param largestBytes - of the largest blob */
  readonly partBytes: (largestBytes: number) => number;
}

/** @throws CofferError CORRUPT - what the head reaches is damaged; as `planBundle` */
export async function snapshotIndex(
  sender: OpenSender,
  head: HeadView,
  request: SnapshotRequest,
): Promise<Stored<BundleIndex>> {
  const { names, candidates, partBytes } = request;
  const plan = await planBundle(sender, head, { names, candidates, blobs: "none" });
  const { chunkLists, blobs } = await bytesOf(sender, plan, request);
  const segmentBytes = partBytes(blobs.at(-1)?.sizeBytes ?? 0);
  const items = [...plan.items, ...chunkLists, ...blobs.flatMap((item) => partsOf(item, segmentBytes))];
  return makeBundleIndex({
    ...{ store: sender.log.storeId, storeKey: sender.storeKey, log: await logPoints(sender.log, head) },
    ...{ root: plan.root, policies: plan.policies, names: plan.names, candidates: plan.candidates },
    ...{ revocations: plan.revocations, refusals: plan.refusals, evidence: plan.evidence, items },
    ...{ segmentBytes, volumes: items.length > 0 ? [items.length] : [], blobs: "all" },
  });
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

/** Chunk lists and blobs of what stands or is proposed, as far as they lie there and are asked for; smaller ones first. */
async function bytesOf(
  sender: OpenSender,
  plan: Plan,
  request: SnapshotRequest,
): Promise<{ readonly chunkLists: readonly Item[]; readonly blobs: readonly Item[] }> {
  const chunkLists = new Map<Digest, Item>();
  const blobs = new Map<Digest, Item & { readonly kind: "blob" }>();
  for (const id of await manifestsOf(sender, plan, request)) {
    const { value } = await readManifest(sender, id);
    for (const { sha256, size, chunks } of value.files) {
      if (blobs.has(sha256) || (await statKept(sender.files, blobPath(sha256)))?.sizeBytes !== size) continue;
      if (chunks !== undefined) {
        const bytes = await sender.objects.read(chunks);
        if (bytes === undefined) continue; // without it nobody can read the blob
        chunkLists.set(chunks, { kind: "object", id: chunks, sizeBytes: bytes.length });
      }
      if (!(await request.without(sha256, size))) blobs.set(sha256, { kind: "blob", blob: sha256, sizeBytes: size });
    }
  }
  const byId = (a: string, b: string): number => (a < b ? -1 : 1);
  return {
    chunkLists: [...chunkLists].sort(([a], [b]) => byId(a, b)).map(([, item]) => item),
    blobs: [...blobs.values()].sort((a, b) => a.sizeBytes - b.sizeBytes || byId(a.blob, b.blob)),
  };
}

async function manifestsOf(
  sender: OpenSender,
  plan: Plan,
  { withBlobs }: SnapshotRequest,
): Promise<ReadonlySet<Digest>> {
  const found = new Set<Digest>();
  const statements = [
    ...plan.names.filter(({ name }) => withBlobs(name)).flatMap(({ heads }) => heads),
    ...plan.candidates.filter(({ name }) => withBlobs(name)).map(({ statement }) => statement),
  ];
  for (const id of statements) {
    const { value } = await readObject(sender.objects, id, "statement", parseStatement);
    if (value.state === "trusted") found.add(value.manifest);
  }
  return found;
}

function readManifest(sender: OpenSender, id: Digest): Promise<Stored<Manifest>> {
  return readObject(sender.objects, id, "manifest", parseManifest);
}
