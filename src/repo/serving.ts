// SPDX-License-Identifier: Apache-2.0
/**
 * What a server asks of a store: the head, verdicts, the trusted names in pages, a trusted holder of a blob. Layer: repo.
 * What is kept here is kept by log head, or is named by what it is (a digest).
 * Holds invariants 4 and 6. Writes nothing to the store.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import type { Name, NameText } from "../base/names.ts";
import { ChunkCache } from "../objects/chunk-cache.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { PIECE_BYTES, type SharedBlob, SharedBlobs } from "../objects/shared-blob.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Verdict } from "../trust/verdict.ts";
import { missingBlob, readChunkList } from "./blobs.ts";
import { readManifest } from "./dossier.ts";
import { LeastRecent, Probe } from "./serving-cache.ts";
import { ServingNames } from "./serving-names.ts";
import { type Asked, Closed, type Offer, ServingOffers } from "./serving-offer.ts";
import { ServingReceipts } from "./serving-receipts.ts";
import { ServingVerdicts } from "./serving-verdicts.ts";
import type { Store } from "./store.ts";

export type { Asked, HeadView, ManifestFile, Offer, SharedBlob, Verdict };
export { Closed, PIECE_BYTES };

/** Files in all manifests that are kept parsed; one larger manifest is kept alone. */
const MANIFEST_FILES = 200_000;
/** Chunks of blobs in memory, for all downloads together. */
const CHUNK_BYTES = 64 * 1024 * 1024;
/** Chunk lists in memory: 32 bytes for each 8 MiB of a blob. */
const CHUNK_LIST_BYTES = 16 * 1024 * 1024;

/** A manifest with its files by blob. */
export interface KnownManifest extends Stored<Manifest> {
  readonly sizeBytes: number;
  readonly byBlob: ReadonlyMap<Digest, ManifestFile>;
}

export interface TrustedModel {
  readonly name: NameText;
  readonly manifest: KnownManifest;
}

export interface TrustedPage {
  readonly models: readonly TrustedModel[];
  /** The name to go on after; undefined on the last page. */
  readonly next?: NameText;
}

export class Serving {
  private readonly store: Store;
  private readonly names: ServingNames;
  private readonly probe: Probe<HeadView>;
  private readonly verdicts: ServingVerdicts;
  private readonly manifests = new LeastRecent<KnownManifest>(MANIFEST_FILES, ({ value }) => value.files.length);
  private readonly chunkLists = new LeastRecent<Uint8Array>(CHUNK_LIST_BYTES, (bytes) => bytes.length);
  private readonly blobs: SharedBlobs;
  private readonly receipts: ServingReceipts | undefined;
  /** What other stores are offered. */
  readonly offers: ServingOffers;

  /** @param onFault - makes receipts and goes by them, where this account can; told what goes wrong beside the work */
  constructor(store: Store, onFault?: (error: unknown) => void) {
    this.store = store;
    this.names = new ServingNames(store);
    const { files, receipts, ports } = store;
    if (onFault !== undefined && receipts !== undefined) {
      this.receipts = new ServingReceipts(files, receipts, ports.clock, onFault);
    }
    this.verdicts = new ServingVerdicts(store);
    this.offers = new ServingOffers(store, () => this.head());
    this.blobs = new SharedBlobs(store.files, new ChunkCache(CHUNK_BYTES));
    this.probe = new Probe(() => store.head());
  }

  get storeId(): Digest {
    return this.store.id;
  }

  /** The newest head, looked for after the call was made. @throws CofferError CORRUPT, LOG_BEHIND_MEMORY */
  head(): Promise<HeadView> {
    return this.probe.ask();
  }

  /** The verdict on a name at `head`. @throws CofferError CORRUPT, UNSUPPORTED, IO_ERROR */
  verdict(head: HeadView, name: Name): Promise<Verdict> {
    return this.verdicts.at(head, name);
  }

  /** @throws CofferError CORRUPT - missing or altered */
  async manifest(id: Digest): Promise<KnownManifest> {
    const kept = this.manifests.get(id);
    if (kept !== undefined) return kept;
    const stored = await readManifest(this.store, id);
    const { files } = stored.value;
    const known = {
      ...stored,
      sizeBytes: files.reduce((sum, file) => sum + file.size, 0),
      byBlob: new Map(files.map((file) => [file.sha256, file])),
    };
    this.manifests.set(id, known);
    return known;
  }

  /**
   * The entry of `blob` in the manifest of a name that is trusted now; undefined if no such name holds it.
   * @throws CofferError CORRUPT, IO_ERROR - damage keeps a name that should hold it from being judged, and no other does
   */
  async trustedFile(head: HeadView, blob: Digest): Promise<ManifestFile | undefined> {
    let fault: CofferError | undefined;
    for (const name of await this.names.holders(head, blob)) {
      try {
        const verdict = await this.verdict(head, name);
        if (verdict.trusted && verdict.manifest !== undefined) {
          const file = (await this.manifest(verdict.manifest)).byBlob.get(blob);
          if (file !== undefined) return file;
        }
        const [reason] = verdict.reasons;
        if (reason?.code === "CORRUPT") fault ??= new CofferError("CORRUPT", reason.text);
      } catch (error) {
        passOthers(error);
        fault ??= error;
      }
    }
    if (fault !== undefined) throw fault;
    return undefined;
  }

  /** Closes what stays open between requests, and ends an offer that is being made. */
  async close(): Promise<void> {
    await this.offers.close();
    await this.names.close();
  }

  /** Opens the blob of a file for one of many readers; must be closed. @throws CofferError CORRUPT, IO_ERROR */
  async openFile(file: ManifestFile): Promise<SharedBlob> {
    const blob = await this.blobs.open(file, await this.chunkList(file), await this.receipts?.vouch(file));
    if (blob === undefined) throw missingBlob(file);
    return blob;
  }

  private async chunkList(file: ManifestFile): Promise<Uint8Array | undefined> {
    const kept = file.chunks && this.chunkLists.get(file.chunks);
    if (kept !== undefined) return kept;
    const bytes = await readChunkList(this.store, file);
    if (file.chunks !== undefined && bytes !== undefined) this.chunkLists.set(file.chunks, bytes);
    return bytes;
  }

  /**
   * Names trusted now, sorted, after `after`. Judges at most `limit` names, so a page may hold fewer while `next` says
   * that there are more. A name that damage keeps from being judged is left out: it is not trusted now.
   */
  async trustedPage(head: HeadView, after: Name | undefined, limit: number): Promise<TrustedPage> {
    const found = await this.names.trusted(head, after, limit + 1);
    const page = found.slice(0, limit);
    const models: TrustedModel[] = [];
    for (const name of page) {
      const model = await this.trustedModel(head, name);
      if (model !== undefined) models.push(model);
    }
    const last = page.at(-1);
    return last !== undefined && found.length > limit ? { models, next: last.text } : { models };
  }

  private async trustedModel(head: HeadView, name: Name): Promise<TrustedModel | undefined> {
    try {
      const verdict = await this.verdict(head, name);
      if (!verdict.trusted || verdict.manifest === undefined) return undefined;
      return { name: name.text, manifest: await this.manifest(verdict.manifest) };
    } catch (error) {
      passOthers(error, "CORRUPT");
      return undefined;
    }
  }
}
