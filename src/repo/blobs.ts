// SPDX-License-Identifier: Apache-2.0
/** Verified bytes of the files in a manifest. Layer: repo. Holds invariant 6. */
import { short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { type BlobReader, openBlob } from "../objects/blob-store.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import { blobPath } from "../objects/layout.ts";
import { statKept } from "../objects/trash.ts";
import type { Store } from "./store.ts";

/** @throws CofferError CORRUPT - the blob or its chunk list is missing or of another size */
export async function openManifestFile(store: Store, file: ManifestFile): Promise<BlobReader> {
  const reader = await openBlob(store.files, file, await readChunkList(store, file));
  if (reader === undefined) throw missingBlob(file);
  return reader;
}

/** The bytes of a file's chunk list; undefined if it has none. @throws CofferError CORRUPT - missing or altered */
export async function readChunkList(store: Store, file: ManifestFile): Promise<Uint8Array | undefined> {
  if (file.chunks === undefined) return undefined;
  const bytes = await store.objects.read(file.chunks);
  if (bytes !== undefined) return bytes;
  throw new CofferError("CORRUPT", `chunk list ${short(file.chunks)} of ${file.path} is missing`);
}

export function missingBlob({ sha256, path }: ManifestFile): CofferError {
  return new CofferError("CORRUPT", `blob ${short(sha256)} (${path}) is missing`);
}

/** The first file of a manifest whose bytes are not here whole. */
export async function firstMissing(
  { files }: Pick<Store, "files">,
  manifest: Manifest,
): Promise<ManifestFile | undefined> {
  for (const file of manifest.files) {
    if ((await statKept(files, blobPath(file.sha256)))?.sizeBytes !== file.size) return file;
  }
  return undefined;
}
