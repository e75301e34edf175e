// SPDX-License-Identifier: Apache-2.0
/**
 * The folder of another store as a source: what its log's head says (snapshot.ts), read straight from its files.
 * Its log is verified where it lies, so the index that is made of it is signed by nobody. Layer: sync. Reads only.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Name, type NameText, parseName } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { blobPath, objectPath, signaturePath } from "../objects/layout.ts";
import { openKept } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { type OpenSender, snapshotIndex } from "./snapshot.ts";
import type { Item, Source } from "./source.ts";

/** A store that lies in a folder here, open and verified. */
export interface OpenFolder extends OpenSender {
  /** True if the receiver has a blob: it is not read then. */
  readonly has: (blob: Digest, sizeBytes: number) => Promise<boolean>;
}

/** @throws CofferError CORRUPT - what the head reaches is damaged; as `planBundle` */
export async function folderSource(folder: OpenFolder, head: HeadView): Promise<Source> {
  const index = await snapshotIndex(folder, head, {
    ...{ names: await namesAt(head), candidates: true, withBlobs: () => true },
    ...{ without: folder.has, partBytes: () => LIMITS.segmentBytes },
  });
  // Not by the index, which is another one once a blob of it lies here, or that store went on.
  return { index, missing: [], stagedBy: index.value.store, parcels: (wants) => parcelsOf(folder, index, wants) };
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
