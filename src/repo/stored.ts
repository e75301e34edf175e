// SPDX-License-Identifier: Apache-2.0
/** One document or blob by the beginning of its digest, and the names that hold it. Layer: repo. */

import { type Digest, isDigest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { quote } from "../base/quote.ts";
import { type NameFamily, parseRefPath } from "../base/ref-path.ts";
import { parseManifest } from "../objects/documents/manifest.ts";
import { blobPath, namesIn } from "../objects/layout.ts";
import { readManifest, readStatement } from "./dossier.ts";
import type { Store } from "./store.ts";

export interface FoundStored {
  readonly id: Digest;
  readonly kind: "object" | "manifest" | "blob";
  readonly sizeBytes: number;
  /** The bytes of a document; those of a blob are not read. */
  readonly document?: Uint8Array;
}

/**
 * The one object or blob whose digest starts with `prefix` (12 characters or more).
 * @throws CofferError DIGEST_INVALID, DIGEST_AMBIGUOUS, OBJECT_NOT_FOUND; CORRUPT - not the bytes of its name
 */
export async function findStored(store: Store, prefix: string): Promise<FoundStored> {
  if (!/^[0-9a-f]{12,64}$/.test(prefix)) {
    throw new CofferError("DIGEST_INVALID", `expected 12 to 64 lower-case hex characters, found ${quote(prefix)}`);
  }
  const [objects, blobs] = [await idsIn(store, "objects", prefix), await idsIn(store, "blobs", prefix)];
  const [id, ...others] = new Set([...objects, ...blobs]);
  if (others.length > 0) throw new CofferError("DIGEST_AMBIGUOUS", `${prefix} begins ${others.length + 1} digests`);
  if (id !== undefined && objects.includes(id)) {
    const document = await store.objects.read(id);
    if (document !== undefined)
      return { id, kind: isManifest(document) ? "manifest" : "object", sizeBytes: document.length, document };
  } else if (id !== undefined) {
    const stat = await store.files.stat(blobPath(id));
    if (stat?.kind === "file") return { id, kind: "blob", sizeBytes: stat.sizeBytes };
  }
  throw new CofferError("OBJECT_NOT_FOUND", `no object or blob has a digest that begins with ${prefix.slice(0, 12)}`);
}

async function idsIn(store: Store, folder: "objects" | "blobs", prefix: string): Promise<Digest[]> {
  const first = prefix.slice(0, 2);
  const names = await namesIn(store.files, `${folder}/${first}`);
  return names
    .map((rest) => `${first}${rest}`)
    .filter(isDigest)
    .filter((id) => id.startsWith(prefix));
}

function isManifest(document: Uint8Array): boolean {
  try {
    parseManifest(document);
    return true;
  } catch (error) {
    passOthers(error);
    return false;
  }
}

export interface HeldBy {
  readonly name: Name;
  /** The refs by which the name holds it. */
  readonly families: readonly NameFamily[];
  /** Of a blob: its path in the manifest. */
  readonly path?: string;
}

/** Refs that hold a manifest, themselves or by a statement. */
const HOLDING: readonly NameFamily[] = [
  "trusted",
  "revoked",
  "deleted",
  "proposed",
  "revoking",
  "quarantined",
  "acquired",
];

/** The names whose refs hold a manifest, or a blob through one; sorted. Reads every manifest that a ref holds. */
export async function holdersOf(store: Store, kind: "manifest" | "blob", id: Digest): Promise<HeldBy[]> {
  const head = await store.head();
  const found = new Map<string, { name: Name; families: NameFamily[]; path?: string }>();
  for await (const [ref, held] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (!("name" in parsed) || !HOLDING.includes(parsed.family)) continue;
    const isPlain = parsed.family === "quarantined" || parsed.family === "acquired";
    const manifest = isPlain ? held : (await readStatement(store, held)).value.manifest;
    const file = kind === "manifest" ? undefined : await fileIn(store, manifest, id);
    if (kind === "manifest" ? manifest !== id : file === undefined) continue;
    const entry = found.get(parsed.name.text) ?? { name: parsed.name, families: [] };
    entry.families.push(parsed.family);
    found.set(parsed.name.text, { ...entry, ...(file === undefined ? {} : { path: file }) });
  }
  return [...found.values()]
    .map((entry) => ({ ...entry, families: entry.families.sort() }))
    .sort((a, b) => (a.name.text < b.name.text ? -1 : 1));
}

async function fileIn(store: Store, manifest: Digest, blob: Digest): Promise<string | undefined> {
  return (await readManifest(store, manifest)).value.files.find((file) => file.sha256 === blob)?.path;
}
