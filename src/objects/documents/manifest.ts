// SPDX-License-Identifier: Apache-2.0
/**
 * Manifest: the files of one model version. No name and no time in it: the same content is the same manifest anywhere.
 * Layer: objects. Format: docs/format.md, "Manifest".
 */
import type { Digest } from "../../base/digest.ts";
import { LIMITS } from "../../base/limits.ts";
import type { Label, ManifestPath } from "../../base/names.ts";
import {
  anything,
  arrayOf,
  digest,
  documentOf,
  integer,
  label,
  makeDocument,
  manifestPath,
  optional,
  readDocument,
  record,
  refuseAt,
  required,
  type Schema,
  type Stored,
  sortedBy,
  text,
} from "./schema.ts";

export interface ManifestFile {
  readonly path: ManifestPath;
  /** Bytes. */
  readonly size: number;
  readonly sha256: Digest;
  readonly format: Label;
  /** Id of the chunk list; exactly when `size` is over one chunk (8 MiB). */
  readonly chunks?: Digest;
}

export interface Manifest {
  readonly files: readonly ManifestFile[];
  readonly source?: { readonly url: string; readonly revision: string };
  readonly license?: string;
  readonly lineage?: readonly { readonly relation: Label; readonly manifest: Digest }[];
}

/** The formats that hold weights: what a rule's `formats` speaks of and what a revocation lists by itself. */
export const WEIGHT_FORMATS: ReadonlySet<string> = new Set(["gguf", "safetensors"]);

const file = record({
  path: required(manifestPath),
  size: required(integer(0)),
  sha256: required(digest),
  format: required(label),
  chunks: optional(digest),
});

const shape = documentOf("coffer/manifest", {
  files: required(arrayOf(file, LIMITS.manifestFiles)),
  source: optional(record({ url: required(text), revision: required(text) })),
  license: optional(text),
  lineage: optional(
    sortedBy(
      record({ relation: required(label), manifest: required(digest) }),
      (entry) => `${entry.relation} ${entry.manifest}`,
      1000,
    ),
  ),
  annotations: optional(anything),
});

const schema: Schema<Manifest> = (value, at) => {
  const manifest = shape(value, at);
  if (manifest.files.length === 0) refuseAt(`${at}.files`, "at least one file");
  checkPaths(manifest.files, at);
  manifest.files.forEach((entry, index) => {
    if (entry.size > LIMITS.chunkBytes !== (entry.chunks !== undefined)) {
      refuseAt(`${at}.files[${index}].chunks`, `a chunk list exactly when size is over ${LIMITS.chunkBytes}`);
    }
  });
  checkOneSizePerBlob(manifest.files, at);
  return manifest;
};

/** Sorted by bytes; unique when case-folded; no path is another's folder. */
function checkPaths(files: readonly ManifestFile[], at: string): void {
  const folded = new Set<string>();
  files.forEach(({ path }, index) => {
    const before = files[index - 1]?.path;
    if (before !== undefined && before >= path)
      refuseAt(`${at}.files[${index}].path`, "files sorted by path, each once");
    const lower = path.toLowerCase();
    if (folded.has(lower)) refuseAt(`${at}.files[${index}].path`, "paths that differ in more than case");
    folded.add(lower);
  });
  for (const lower of folded) {
    for (let slash = lower.indexOf("/"); slash >= 0; slash = lower.indexOf("/", slash + 1)) {
      if (folded.has(lower.slice(0, slash))) refuseAt(`${at}.files`, `no path that is both file and folder (${lower})`);
    }
  }
}

function checkOneSizePerBlob(files: readonly ManifestFile[], at: string): void {
  const seen = new Map<Digest, ManifestFile>();
  files.forEach((entry, index) => {
    const other = seen.get(entry.sha256);
    if (other !== undefined && (other.size !== entry.size || other.chunks !== entry.chunks)) {
      refuseAt(`${at}.files[${index}]`, "one size and one chunk list per blob");
    }
    seen.set(entry.sha256, entry);
  });
}

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseManifest(bytes: Uint8Array): Stored<Manifest> {
  return readDocument(schema, bytes, "manifest");
}

/** Sorts the files by path and writes the one encoding. @throws as `parseManifest` */
export function makeManifest(manifest: Manifest): Stored<Manifest> {
  const files = [...manifest.files].sort((a, b) => (a.path < b.path ? -1 : 1)).map((entry) => ({ ...entry }));
  const { source, license, lineage } = manifest;
  return makeDocument(schema, { type: "coffer/manifest", version: 1, files, source, license, lineage }, "manifest");
}
