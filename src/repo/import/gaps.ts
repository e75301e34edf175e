// SPDX-License-Identifier: Apache-2.0
/**
 * Parts of blobs that the sender left out because this store said to have their chunks, inside older blobs: found here by
 * their hashes, and copied. Layer: repo. Format: docs/format.md, "Importing". Holds invariants 1 and 6.
 * Reads blobs that lie here, each chunk verified; the whole is hashed like any other (staging.ts).
 */
import type { Digest } from "../../base/digest.ts";
import { LIMITS } from "../../base/limits.ts";
import type { BlobReader } from "../../objects/blob-store.ts";
import type { ManifestFile } from "../../objects/documents/manifest.ts";
import { blobPath } from "../../objects/layout.ts";
import { statKept } from "../../objects/trash.ts";
import type { BundleIndex } from "../../sync/bundle-index.ts";
import { chunkHashes } from "../../sync/spare.ts";
import { openManifestFile } from "../blobs.ts";
import type { Store } from "../store.ts";
import type { Arrivals } from "./arrivals.ts";
import type { Damage } from "./damage.ts";
import type { BlobItem, Staging } from "./staging.ts";

/** A blob that is asked for. */
export interface Gapped {
  readonly blob: Digest;
  readonly sizeBytes: number;
  /** The bytes of its chunk list; undefined where it has none, or none came. */
  readonly chunks: Uint8Array | undefined;
}

/** A chunk of a blob that lies here. */
interface Found {
  readonly file: ManifestFile;
  readonly chunk: number;
}

export class Gaps {
  readonly #store: Store;
  readonly #staging: Staging;
  readonly #arrivals: Arrivals;
  readonly #damage: Damage;
  readonly #segmentBytes: number;
  /** Parts that the index lists; undefined where no part was left out. */
  readonly #listed: ReadonlyMap<Digest, ReadonlySet<number>> | undefined;
  readonly #last = new Map<Digest, number>();
  #found: ReadonlyMap<Digest, Found> | undefined;
  #open: { readonly blob: Digest; readonly reader: BlobReader } | undefined;

  constructor(parts: { store: Store; staging: Staging; arrivals: Arrivals; index: BundleIndex; damage: Damage }) {
    this.#store = parts.store;
    this.#staging = parts.staging;
    this.#arrivals = parts.arrivals;
    this.#damage = parts.damage;
    this.#segmentBytes = parts.index.segmentBytes;
    this.#listed = parts.index.blobs === "missing" ? listedParts(parts.index) : undefined;
    for (const item of parts.index.items) if (item.kind === "blob") this.#last.set(item.blob, item.part ?? 0);
  }

  /** False where no part of any blob was left out. */
  get mayBeAny(): boolean {
    return this.#listed !== undefined;
  }

  /** True if a part of a blob that comes in parts may have been left out: its size cannot be told by the index then. */
  mayHave({ part }: BlobItem): boolean {
    return part !== undefined && this.#listed !== undefined;
  }

  /** True if some parts of a blob are listed and others are not. */
  has({ blob, sizeBytes }: Gapped): boolean {
    const listed = this.#listed?.get(blob);
    return listed !== undefined && listed.size < this.#count(sizeBytes);
  }

  /** True if nothing but gaps can be left of a blob once this part has come. */
  isLast({ blob, part = 0 }: BlobItem): boolean {
    return this.mayBeAny && this.#last.get(blob) === part;
  }

  /** The first part of the gap that ends where this part begins; undefined if there is none. */
  gapBefore({ blob, part = 0 }: BlobItem): number | undefined {
    const listed = this.#listed?.get(blob);
    let first = part;
    while (listed !== undefined && first > 0 && !listed.has(first - 1)) first -= 1;
    return first < part ? first : undefined;
  }

  /**
   * Fills the parts of a gap, as far as their chunks lie here.
   * @param all - everything that is asked for, with the same chunk lists from the first call on
   */
  async fill(wanted: Gapped, from: number, to: number, all: () => Promise<readonly Gapped[]>): Promise<void> {
    const listed = this.#listed?.get(wanted.blob);
    const found = await this.#find(all);
    try {
      for (let part = from; part < to; part += 1) {
        const item = this.#item(wanted, part);
        if (listed?.has(part) === true || this.#staging.has(item)) continue;
        const chunks = this.#chunksOf(wanted, part, found);
        if (chunks !== undefined) await this.#staging.take({ item, read: () => this.#read(chunks) });
      }
    } finally {
      await this.#close();
    }
  }

  /** Fills whatever lacks, once all listed parts lie here, if all of it can be filled. */
  async fillRest(wanted: Gapped, all: () => Promise<readonly Gapped[]>): Promise<void> {
    if (wanted.chunks === undefined) return;
    const listed = this.#listed?.get(wanted.blob) ?? new Set();
    const count = this.#count(wanted.sizeBytes);
    const lacks = (part: number): boolean => !this.#staging.has(this.#item(wanted, part));
    for (const part of listed) if (lacks(part)) return;
    const found = await this.#find(all);
    for (let part = 0; part < count; part += 1)
      if (!listed.has(part) && lacks(part) && this.#chunksOf(wanted, part, found) === undefined) return;
    await this.fill(wanted, 0, count, all);
  }

  #count(sizeBytes: number): number {
    return Math.max(1, Math.ceil(sizeBytes / this.#segmentBytes));
  }

  #item({ blob, sizeBytes }: Gapped, part: number): BlobItem {
    const bytes = Math.min(this.#segmentBytes, sizeBytes - part * this.#segmentBytes);
    return { kind: "blob", blob, part, sizeBytes: bytes };
  }

  /** Where the chunks of a part lie; undefined if one lies nowhere. */
  #chunksOf({ chunks }: Gapped, part: number, found: ReadonlyMap<Digest, Found>): readonly Found[] | undefined {
    if (chunks === undefined) return undefined;
    const bytes = (this.#segmentBytes / LIMITS.chunkBytes) * 32;
    const places: Found[] = [];
    for (const hash of chunkHashes(chunks.subarray(part * bytes, (part + 1) * bytes))) {
      const place = found.get(hash);
      if (place === undefined) return undefined;
      places.push(place);
    }
    return places;
  }

  async *#read(chunks: readonly Found[]): AsyncGenerator<Uint8Array> {
    for (const { file, chunk } of chunks) {
      const reader = await this.#readerOf(file);
      const start = chunk * LIMITS.chunkBytes;
      yield* reader.stream(start, Math.min(file.size, start + LIMITS.chunkBytes));
    }
  }

  /** Chunks that follow each other mostly come from one blob: it stays open meanwhile. */
  async #readerOf(file: ManifestFile): Promise<BlobReader> {
    if (this.#open?.blob === file.sha256) return this.#open.reader;
    await this.#close();
    const reader = await openManifestFile(this.#store, file);
    this.#open = { blob: file.sha256, reader };
    return reader;
  }

  async #close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.reader.close();
  }

  /**
   * Chunks that lack, where they lie here: in blobs of the manifests that came, which are those of all versions of each name.
   * Only what lacks is kept in memory.
   */
  async #find(all: () => Promise<readonly Gapped[]>): Promise<ReadonlyMap<Digest, Found>> {
    if (this.#found !== undefined) return this.#found;
    const asked = new Set((await all()).flatMap((wanted) => this.#lacking(wanted)));
    const found = new Map<Digest, Found>();
    for (const id of asked.size === 0 ? [] : this.#arrivals.idsOf("coffer/manifest")) {
      const manifest = await this.#arrivals.document("coffer/manifest", id);
      for (const file of manifest?.value.files ?? []) {
        const list = await this.#listOf(file);
        if (list === undefined) continue;
        let chunk = 0;
        for (const hash of chunkHashes(list)) {
          if (asked.has(hash) && !found.has(hash)) found.set(hash, { file, chunk });
          chunk += 1;
        }
      }
    }
    this.#found = found;
    return found;
  }

  /** The chunk list of a blob that lies here with the size that the manifest says. */
  async #listOf({ sha256, size, chunks }: ManifestFile): Promise<Uint8Array | undefined> {
    if (chunks === undefined || this.#damage.has(sha256)) return undefined;
    if ((await statKept(this.#store.files, blobPath(sha256)))?.sizeBytes !== size) return undefined;
    return this.#store.objects.read(chunks);
  }

  /** Hashes of the chunks that no listed part brings. */
  #lacking({ blob, chunks }: Gapped): readonly Digest[] {
    if (chunks === undefined) return [];
    const listed = this.#listed?.get(blob);
    const perPart = this.#segmentBytes / LIMITS.chunkBytes;
    return [...chunkHashes(chunks)].filter((_, chunk) => listed?.has(Math.floor(chunk / perPart)) !== true);
  }
}

function listedParts({ items }: BundleIndex): ReadonlyMap<Digest, ReadonlySet<number>> {
  const listed = new Map<Digest, Set<number>>();
  for (const item of items) {
    if (item.kind !== "blob") continue;
    const parts = listed.get(item.blob) ?? new Set();
    listed.set(item.blob, parts.add(item.part ?? 0));
  }
  return listed;
}
