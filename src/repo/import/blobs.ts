// SPDX-License-Identifier: Apache-2.0
/**
 * The blobs that an import asks for: which are here, which came, which still lack; and how what came is looked into.
 * Layer: repo. Holds invariants 1 and 6. Not here: the bytes on their way in (staging.ts).
 */
import { type Digest, short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import { LIMITS } from "../../base/limits.ts";
import type { Name } from "../../base/names.ts";
import { type ByteReader, type Finding, inspect } from "../../formats/inspect.ts";
import { checkChunkList, confirmBlobs, publishBlobs } from "../../objects/blob-store.ts";
import type { HashedBlob } from "../../objects/chunk-hasher.ts";
import { CHUNKS_DIFFER, SIZE_DIFFERS } from "../../objects/documents/evidence.ts";
import { type Manifest, type ManifestFile, parseManifest } from "../../objects/documents/manifest.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { blobPath } from "../../objects/layout.ts";
import type { BundleIndex } from "../../sync/bundle-index.ts";
import type { Item } from "../../sync/source.ts";
import { openManifestFile } from "../blobs.ts";
import { readNamed } from "../dossier.ts";
import { findingsOf, type InspectedFile, stagedReader } from "../inspection.ts";
import type { Store } from "../store.ts";
import type { Arrivals } from "./arrivals.ts";
import { Claims, isFoundFalse, vouchedFor } from "./claims.ts";
import { Damage, type WholeBlobs } from "./damage.ts";
import { type Gapped, Gaps } from "./gaps.ts";
import type { BlobItem, Staging } from "./staging.ts";
import type { Writer } from "./writer.ts";

interface Wanted {
  /** Without end where nothing says it yet. */
  sizeBytes: number;
  /** Get the blob its name as soon as it is whole; else only once its model was looked into. */
  publish: boolean;
}

export class Blobs {
  readonly #store: Store;
  readonly #staging: Staging;
  readonly #arrivals: Arrivals;
  readonly #writer: Writer;
  readonly #gaps: Gaps;
  readonly #items: BundleIndex["items"];
  #listed: ReadonlyMap<Digest, number> | undefined;
  readonly #wanted = new Map<Digest, Wanted>();
  /** Blobs that lay here before, or have their name by now. */
  readonly #here = new Set<Digest>();
  /** How large their files are. */
  readonly #sizes = new Map<Digest, number>();
  /** Blobs that came whole with this import. */
  readonly #hashed = new Set<Digest>();
  /** What this store has found by hashing all of a blob, as it came or as it lies here. */
  readonly #found = new Map<Digest, HashedBlob>();
  readonly #claims = new Claims();
  readonly damage: Damage;
  /** Blobs that came with this import and were new here, and their bytes. */
  taken = 0;
  takenBytes = 0;

  constructor(parts: {
    readonly store: Store;
    readonly staging: Staging;
    readonly arrivals: Arrivals;
    readonly writer: Writer;
    readonly index: BundleIndex;
    /** Hash the blobs that lie here, to replace those that are damaged. */
    readonly mend: boolean;
    readonly whole?: WholeBlobs | undefined;
  }) {
    this.#store = parts.store;
    this.#staging = parts.staging;
    this.#arrivals = parts.arrivals;
    this.#writer = parts.writer;
    this.damage = new Damage(parts.store.files, parts.mend, parts.whole);
    this.#gaps = new Gaps({ ...parts, damage: this.damage });
    this.#items = parts.index.items;
  }

  /** A manifest that came or lies here. */
  async manifest(id: Digest): Promise<Stored<Manifest> | undefined> {
    const arrived = await this.#arrivals.document("coffer/manifest", id);
    if (arrived !== undefined) return arrived;
    return readNamed(this.#store, id, parseManifest);
  }

  /** Asks for all blobs of a manifest; then `settle`. @param publish - they are needed whatever is found in them */
  async want({ id, value }: Stored<Manifest>, publish: boolean): Promise<void> {
    for (const file of value.files) {
      this.#claims.add(file);
      const known = this.#wanted.get(file.sha256);
      if (known !== undefined) known.publish ||= publish;
      else if (!(await this.#isHere(file, id))) {
        // One that is damaged has its name by now, whatever is found in it.
        this.#wanted.set(file.sha256, { sizeBytes: file.size, publish: publish || this.damage.has(file.sha256) });
      }
    }
  }

  /** Once all manifests have asked: how much is to come of each blob, and what of it an earlier import left. */
  async settle(): Promise<void> {
    for (const [blob, wanted] of this.#wanted) {
      // The index is the sender's, who has the bytes; a manifest may be of people who never had them.
      const listed = this.#listedBytes().get(blob) ?? Number.POSITIVE_INFINITY;
      if (Number.isFinite(listed)) wanted.sizeBytes = listed;
      const { sizeBytes } = wanted;
      const [file, ...others] = this.#filesOf(blob);
      const chunks = file && (await this.#chunkList(file));
      // Where they disagree, or the list has not come, nothing but the hash of all of it tells.
      const isOpen = file === undefined || others.length > 0 || (file.chunks !== undefined && chunks === undefined);
      if (isOpen) await this.#staging.assume({ blob, sizeBytes });
      else await this.#staging.recheck({ blob, sizeBytes }, chunks);
    }
  }

  /** As manifests name a blob that is asked for, of the size that is to come. */
  #filesOf(blob: Digest): readonly ManifestFile[] {
    const wanted = this.#wanted.get(blob);
    return wanted === undefined ? [] : this.#claims.of(blob, wanted.sizeBytes);
  }

  /**
   * True if it lies here, by its size unless this import mends. One of another size is damaged, or the manifest says what is
   * not so: its bytes tell.
   */
  async #isHere({ sha256, size, path: called }: ManifestFile, manifest: Digest): Promise<boolean> {
    if (this.#found.has(sha256) || (this.#here.has(sha256) && this.#sizes.get(sha256) === size)) return true;
    const path = blobPath(sha256);
    const stat = await this.#store.files.stat(path);
    if (stat?.kind !== "file") return false;
    const isDoubtful =
      this.damage.hashAll || (stat.sizeBytes !== size && !(await isFoundFalse(this.#store, manifest, called)));
    if (isDoubtful && !(await this.#hash(sha256, called))) {
      this.#here.delete(sha256); // if another manifest says the size that the damage has
      return false;
    }
    await this.#store.files.touch(path); // gc leaves alone what is young
    this.#here.add(sha256);
    this.#sizes.set(sha256, stat.sizeBytes);
    return true;
  }

  /** Hashes a blob that lies here. @returns false if it is damaged */
  async #hash(blob: Digest, called: string): Promise<boolean> {
    const hashed = await this.damage.look(blob, called);
    if (hashed === undefined) return false;
    this.#found.set(blob, hashed);
    return true;
  }

  /** Sizes of blobs that the bundle brings, as it says; without end where chunks of one may be left out. */
  #listedBytes(): ReadonlyMap<Digest, number> {
    if (this.#listed !== undefined) return this.#listed;
    const sizes = new Map<Digest, number>();
    for (const item of this.#items) {
      if (item.kind !== "blob") continue;
      const known = this.#gaps.mayHave(item) ? Number.POSITIVE_INFINITY : (sizes.get(item.blob) ?? 0);
      sizes.set(item.blob, known + item.sizeBytes);
    }
    this.#listed = sizes;
    return sizes;
  }

  /**
   * Asks for what an index lists, while the manifests that name it are on a medium that is not here: it is staged, and
   * checked when they come.
   */
  async wantListed(): Promise<void> {
    for (const [blob, sizeBytes] of this.#listedBytes()) {
      if (this.#wanted.has(blob) || this.#here.has(blob)) continue;
      const isThere = (await this.#store.files.stat(blobPath(blob)))?.sizeBytes === sizeBytes;
      if (isThere && (!this.damage.hashAll || (await this.damage.look(blob)) !== undefined)) continue;
      this.#wanted.set(blob, { sizeBytes, publish: isThere });
      await this.#staging.assume({ blob, sizeBytes });
    }
  }

  /** True if a blob that an item brings is asked for, and not all of it has come. */
  lacks(item: Item): boolean {
    return item.kind === "blob" && this.#wanted.has(item.blob) && !this.#hashed.has(item.blob);
  }

  /** The bytes of a file's chunk list, if they came or lie here and have the right length. */
  async #chunkList(file: ManifestFile): Promise<Uint8Array | undefined> {
    if (file.chunks === undefined) return undefined;
    const bytes = (await this.#arrivals.bytes(file.chunks)) ?? (await this.#store.objects.read(file.chunks));
    if (bytes === undefined) return undefined;
    const isRight = bytes.length === Math.ceil(file.size / LIMITS.chunkBytes) * 32;
    return isRight ? bytes : undefined;
  }

  /** Writes the chunk lists that a manifest names and that came with it. */
  async keepChunkLists(manifest: Manifest): Promise<void> {
    for (const file of manifest.files) {
      if (file.chunks === undefined || this.#writer.has(file.chunks)) continue;
      const bytes = await this.#arrivals.bytes(file.chunks);
      if (bytes === undefined) continue;
      try {
        checkChunkList(file, bytes);
      } catch (error) {
        if (!(error instanceof CofferError)) throw error;
        continue; // of another length than the blob's: told with the name, when its blob is looked for
      }
      await this.#writer.add({ id: file.chunks, bytes });
    }
  }

  wants(item: BlobItem): boolean {
    return this.#wanted.has(item.blob) && !this.#staging.has(item);
  }

  /** Before a part is taken: what was left out before it, as it lies here. @throws CofferError CORRUPT, NO_SPACE, IO_ERROR */
  async fillBefore(item: BlobItem): Promise<void> {
    const from = this.#gaps.gapBefore(item);
    if (from === undefined) return;
    for (const file of this.#filesOf(item.blob))
      await this.#gaps.fill(await this.#gapped(file), from, item.part ?? 0, () => this.#allGapped());
  }

  /** After a part was taken. @throws CofferError as `fillBefore` and `complete` */
  async took(item: BlobItem): Promise<void> {
    if (this.#gaps.isLast(item)) await this.#fillRest(item.blob);
    await this.complete(item.blob);
  }

  async #fillRest(blob: Digest): Promise<void> {
    if (this.#hashed.has(blob) || !this.#gaps.mayBeAny) return;
    for (const file of this.#filesOf(blob))
      await this.#gaps.fillRest(await this.#gapped(file), () => this.#allGapped());
  }

  async #gapped(file: ManifestFile): Promise<Gapped> {
    return { blob: file.sha256, sizeBytes: file.size, chunks: await this.#chunkList(file) };
  }

  async #allGapped(): Promise<readonly Gapped[]> {
    const all: Gapped[] = [];
    for (const blob of this.#wanted.keys()) for (const file of this.#filesOf(blob)) all.push(await this.#gapped(file));
    return all;
  }

  /** @throws CofferError BUNDLE_INCOMPLETE - chunks of a blob were left out, and do not lie here */
  refuseGaps(): void {
    for (const [blob, { sizeBytes }] of this.#wanted) {
      const [file] = this.#filesOf(blob);
      if (file === undefined || this.#hashed.has(blob) || this.damage.has(blob)) continue; // damage is told by itself
      if (!this.#gaps.has({ blob, sizeBytes, chunks: undefined })) continue;
      const text = `blob ${short(blob)} (${file.path}): chunks were left out that are not here`;
      throw new CofferError("BUNDLE_INCOMPLETE", `${text}; have the bundle made without --for, or by a new receipt`);
    }
  }

  /** Once all of it may have come. @throws CofferError OBJECT_MISMATCH, NO_SPACE, IO_ERROR */
  async complete(blob: Digest): Promise<void> {
    const wanted = this.#wanted.get(blob);
    if (wanted === undefined || this.#hashed.has(blob)) return;
    const staged = await this.#staging.whole({ blob, sizeBytes: wanted.sizeBytes });
    if (staged === undefined) return;
    this.#hashed.add(blob);
    this.#found.set(blob, staged);
    if (!this.damage.has(blob)) {
      this.taken += 1;
      this.takenBytes += staged.sizeBytes;
    }
    if (staged.chunks !== undefined) await this.#writer.add(staged.chunks);
    if (wanted.publish) await this.publish([blob]);
  }

  /** What an earlier import of the same index got whole. */
  async completeAll(): Promise<void> {
    for (const blob of [...this.#wanted.keys()]) {
      await this.#fillRest(blob);
      await this.complete(blob);
    }
  }

  async publish(blobs: Iterable<Digest>): Promise<void> {
    for (const blob of blobs) {
      const wanted = this.#wanted.get(blob);
      if (wanted === undefined) continue;
      const staged = await this.#staging.whole({ blob, sizeBytes: wanted.sizeBytes });
      if (staged === undefined) continue;
      await this.#writer.flush(); // its chunk list is there before it is
      await publishBlobs(this.#store.files, [staged]);
      this.#staging.published(blob);
      this.damage.replaced(blob);
      this.#wanted.delete(blob);
      this.#here.add(blob);
    }
  }

  /** True if all bytes of a manifest are at hand, by this store's own hash or from before. */
  isWhole(manifest: Manifest): boolean {
    return manifest.files.every(({ sha256 }) => this.#here.has(sha256) || this.#hashed.has(sha256));
  }

  /** True if this import brought bytes of the manifest that were not here before, be it damaged. */
  brought(manifest: Manifest): boolean {
    return manifest.files.some(({ sha256 }) => this.#hashed.has(sha256) && !this.damage.has(sha256));
  }

  /** What one pass over the files of a manifest finds; all bytes of it are at hand. */
  async inspect(manifest: Manifest, name: Name): Promise<readonly Finding[]> {
    const files: InspectedFile[] = [];
    const more: Finding[] = [];
    await this.#needFound(manifest, name);
    for (const file of manifest.files) {
      const differs = this.#differs(file);
      if (differs !== undefined) {
        const [code, what] = differs;
        more.push({
          code,
          level: "fail",
          text: `the manifest says another ${what} than the blob has`,
          path: file.path,
        });
        continue;
      }
      const reader = await this.#reader(file);
      const inspection = await inspect(file.path, reader);
      files.push({ path: file.path, reader, inspection });
      if (inspection.format !== file.format) {
        const text = `the manifest says ${file.format}, the content is ${inspection.format}`;
        more.push({ code: "format-differs", level: "fail", text, path: file.path });
      }
    }
    return [...more, ...(await findingsOf(files))];
  }

  /**
   * What a manifest says of a blob that lies here is compared with its bytes, unless this store has found the same said before:
   * nobody is found right, or wrong, by the size of a file.
   * @throws CofferError CORRUPT - a blob is damaged
   */
  async #needFound(manifest: Manifest, name: Name): Promise<void> {
    const open = manifest.files.filter(({ sha256 }) => !this.#found.has(sha256));
    const vouched = await vouchedFor(this.#store, name, open);
    for (const { sha256, path } of open) {
      if (vouched.has(sha256) || this.#found.has(sha256) || (await this.#hash(sha256, path))) continue;
      throw new CofferError("CORRUPT", `blob ${short(sha256)} (${path}): its bytes are not those of its name`);
    }
  }

  /** In what a manifest is wrong about a blob at hand, as a code of findings and in words. */
  #differs({ sha256, size, chunks }: ManifestFile): readonly [code: string, what: string] | undefined {
    const found = this.#found.get(sha256);
    if (found === undefined) return undefined; // vouched for
    if (found.sizeBytes !== size) return [SIZE_DIFFERS, "size"];
    return found.chunks?.id === chunks ? undefined : [CHUNKS_DIFFER, "chunk list"];
  }

  async #reader(file: ManifestFile): Promise<ByteReader> {
    if (this.#here.has(file.sha256)) return storedReader(this.#store, file);
    const staged = await this.#staging.whole({ blob: file.sha256, sizeBytes: file.size });
    if (staged === undefined) throw new CofferError("INTERNAL", "a blob is looked into that did not come");
    return stagedReader(this.#store.files, staged);
  }

  /** After the commit. @throws CofferError CORRUPT - a gc took one meanwhile */
  async confirm(): Promise<void> {
    await confirmBlobs(this.#store.files, this.#here);
  }
}

/** Bytes in the store, each chunk checked before anything of it is looked at; the last one is kept. */
function storedReader(store: Store, file: ManifestFile): ByteReader {
  let last: { readonly index: number; readonly bytes: Uint8Array } | undefined;
  const chunk = async (index: number): Promise<Uint8Array> => {
    if (last?.index === index) return last.bytes;
    const blob = await openManifestFile(store, file);
    try {
      const start = index * LIMITS.chunkBytes;
      const pieces: Uint8Array[] = [];
      const end = Math.min(file.size, start + LIMITS.chunkBytes);
      for await (const piece of blob.stream(start, end)) pieces.push(Uint8Array.from(piece));
      last = { index, bytes: new Uint8Array(Buffer.concat(pieces)) };
      return last.bytes;
    } finally {
      await blob.close();
    }
  };
  return {
    sizeBytes: file.size,
    async read(position, length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const index = Math.floor((position + at) / LIMITS.chunkBytes);
        const from = position + at - index * LIMITS.chunkBytes;
        const piece = (await chunk(index)).subarray(from, from + length - at);
        if (piece.length === 0) throw new CofferError("IO_ERROR", `expected ${length} bytes at ${position}`);
        bytes.set(piece, at);
        at += piece.length;
      }
      return bytes;
    },
  };
}
