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
import type { ManifestFile } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { blobPath } from "../objects/layout.ts";
import { statKept } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Log } from "../refs/log.ts";
import { type BundleIndex, type LogPoint, makeLargeBundleIndex } from "./bundle-index.ts";
import { partsOf } from "./cut.ts";
import { earlierNumbers } from "./log-points.ts";
import { type Breathe, joinParts, noBreath, type Parts, readDenials, sortedIds, sortedNames } from "./plan.ts";
import { type NamePart, PartReader, readPolicyPart, type Sender } from "./plan-parts.ts";
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

/** What one name brings, with the bytes of what stands, or is proposed, under it. */
export interface SnapshotPart extends NamePart {
  readonly files: readonly FilePart[];
}

/** A blob that lies here: its chunk list, and itself unless it need not come. */
interface FilePart {
  readonly sha256: Digest;
  readonly chunkList?: Item & { readonly kind: "object" };
  readonly blob?: BlobItem;
}

/** @throws CofferError CORRUPT - what the head reaches is damaged; as `planBundle` */
export async function snapshotIndex(
  sender: OpenSender,
  head: HeadView,
  request: SnapshotRequest,
): Promise<Stored<BundleIndex>> {
  const policies = await readPolicyPart(sender, head);
  const reader = new PartReader(sender, head, { candidates: request.candidates, blobs: "none" }, policies.keys);
  const denials = await readDenials(reader, head);
  const names: SnapshotPart[] = [];
  for (const name of sortedNames(request.names)) {
    names.push(await snapshotPart(sender, reader, name, request.withBlobs(name.text) ? request.without : undefined));
  }
  return joinSnapshot(sender, head, { policies, denials, names }, request.partBytes);
}

/**
 * @param reader - of parts without blobs
 * @param without - undefined where no bytes come along. @throws CofferError CORRUPT - of its chain or its bytes
 */
export async function snapshotPart(
  sender: Sender,
  reader: PartReader,
  name: Name,
  without: SnapshotRequest["without"] | undefined,
): Promise<SnapshotPart> {
  const part = await reader.namePart(name);
  if (without === undefined) return { ...part, files: [] };
  const files = new Map<Digest, FilePart>();
  for (const id of [...(part.entry?.heads ?? []), ...(part.candidate === undefined ? [] : [part.candidate])]) {
    const { value } = await reader.statement(id);
    if (value.state !== "trusted") continue;
    for (const file of (await reader.manifest(value.manifest)).value.files) {
      const found = files.has(file.sha256) ? undefined : await filePart(sender, file, without);
      if (found !== undefined) files.set(file.sha256, found);
    }
  }
  return { ...part, files: [...files.values()] };
}

/** undefined where nobody could read it. */
async function filePart(
  { files, objects }: Sender,
  { sha256, size, chunks }: ManifestFile,
  without: SnapshotRequest["without"],
): Promise<FilePart | undefined> {
  if ((await statKept(files, blobPath(sha256)))?.sizeBytes !== size) return undefined;
  const bytes = chunks === undefined ? undefined : await objects.read(chunks);
  if (chunks !== undefined && bytes === undefined) return undefined;
  return {
    sha256,
    ...(chunks && bytes && { chunkList: { kind: "object", id: chunks, sizeBytes: bytes.length } as const }),
    ...((await without(sha256, size)) ? {} : { blob: { kind: "blob", blob: sha256, sizeBytes: size } as const }),
  };
}

/**
 * The index that these parts make. The same parts make the same index, byte for byte, whenever each was read.
 * @throws CofferError BUNDLE_INVALID, LIMIT_EXCEEDED
 */
export async function joinSnapshot(
  sender: OpenSender,
  head: HeadView,
  parts: Parts & { readonly names: Iterable<SnapshotPart> },
  partBytes: SnapshotRequest["partBytes"],
  breathe: Breathe = noBreath,
): Promise<Stored<BundleIndex>> {
  const plan = await joinParts(parts, breathe);
  const { chunkLists, blobs } = await joinFiles(parts.names, breathe);
  const segmentBytes = partBytes(blobs.at(-1)?.sizeBytes ?? 0);
  const items = [...plan.items, ...chunkLists];
  for (const item of blobs) {
    await breathe();
    for (const part of partsOf(item, segmentBytes)) items.push(part);
  }
  return makeLargeBundleIndex(
    {
      ...{ store: sender.log.storeId, storeKey: sender.storeKey, log: await logPoints(sender.log, head) },
      ...{ root: plan.root, policies: plan.policies, names: plan.names, candidates: plan.candidates },
      ...{ revocations: plan.revocations, refusals: plan.refusals, evidence: plan.evidence, items },
      ...{ segmentBytes, volumes: items.length > 0 ? [items.length] : [], blobs: "all" },
    },
    breathe,
  );
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

type BlobItem = Item & { readonly kind: "blob" };

/** Chunk lists, and blobs with smaller ones first. */
async function joinFiles(
  names: Iterable<SnapshotPart>,
  breathe: Breathe,
): Promise<{ readonly chunkLists: readonly Item[]; readonly blobs: readonly BlobItem[] }> {
  const chunkLists = new Map<Digest, Item>();
  const blobs = new Map<Digest, BlobItem>();
  const bySize = new Map<number, Map<Digest, BlobItem>>();
  for (const { files } of names) {
    await breathe();
    for (const { sha256, chunkList, blob } of files) {
      if (blobs.has(sha256)) continue;
      if (chunkList !== undefined) chunkLists.set(chunkList.id, chunkList);
      if (blob === undefined) continue;
      blobs.set(sha256, blob);
      const others = bySize.get(blob.sizeBytes);
      if (others === undefined) bySize.set(blob.sizeBytes, new Map([[sha256, blob]]));
      else others.set(sha256, blob);
    }
  }
  const sorted: BlobItem[] = [];
  for (const size of [...bySize.keys()].sort((a, b) => a - b)) {
    for (const blob of await sortedValues(bySize.get(size) ?? new Map<Digest, BlobItem>(), breathe)) sorted.push(blob);
  }
  return { chunkLists: await sortedValues(chunkLists, breathe), blobs: sorted };
}

async function sortedValues<T>(byId: ReadonlyMap<Digest, T>, breathe: Breathe): Promise<T[]> {
  return (await sortedIds(byId, breathe)).flatMap((id) => byId.get(id) ?? []);
}
