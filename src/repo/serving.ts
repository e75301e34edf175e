// SPDX-License-Identifier: Apache-2.0
/**
 * What a server asks of a store: the head, verdicts, the trusted names in pages, a trusted holder of a blob. Layer: repo.
 * What is kept here is kept by log head, or is named by what it is (a digest).
 * Holds invariants 4 and 6. Writes nothing to the store.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import type { Name, NameText } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import { ChunkCache } from "../objects/chunk-cache.ts";
import type { Manifest, ManifestFile } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { PIECE_BYTES, type SharedBlob, SharedBlobs } from "../objects/shared-blob.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Verdict } from "../trust/verdict.ts";
import { BlobHolders, missingBlob, readChunkList } from "./blobs.ts";
import { readManifest } from "./dossier.ts";
import { LeastRecent, Probe } from "./serving-cache.ts";
import { ServingReceipts } from "./serving-receipts.ts";
import { ServingVerdicts } from "./serving-verdicts.ts";
import type { Store } from "./store.ts";

export type { HeadView, ManifestFile, SharedBlob, Verdict };
export { PIECE_BYTES };

/** Files in all manifests that are kept parsed; one larger manifest is kept alone. */
const MANIFEST_FILES = 200_000;
/** Heads whose names are kept: a request that began on the head before still finds its own. */
const HEADS = 2;
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
  private readonly holders: BlobHolders;
  private readonly probe: Probe<HeadView>;
  private readonly verdicts: ServingVerdicts;
  private readonly manifests = new LeastRecent<KnownManifest>(MANIFEST_FILES, ({ value }) => value.files.length);
  private readonly names = new LeastRecent<readonly Name[]>(HEADS);
  private readonly chunkLists = new LeastRecent<Uint8Array>(CHUNK_LIST_BYTES, (bytes) => bytes.length);
  private readonly blobs: SharedBlobs;
  private readonly receipts: ServingReceipts | undefined;
  private following: Promise<unknown> = Promise.resolve();

  /** @param onFault - makes receipts and goes by them, where this account can; told what goes wrong beside the work */
  constructor(store: Store, onFault?: (error: unknown) => void) {
    this.store = store;
    const { files, receipts, ports } = store;
    if (onFault !== undefined && receipts !== undefined) {
      this.receipts = new ServingReceipts(files, receipts, ports.clock, onFault);
    }
    this.holders = new BlobHolders(store);
    this.verdicts = new ServingVerdicts(store);
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
    for (const name of await this.holdersOf(head, blob)) {
      try {
        const verdict = await this.verdict(head, name);
        if (verdict.trusted && verdict.manifest !== undefined) {
          const file = (await this.manifest(verdict.manifest)).byBlob.get(blob);
          if (file !== undefined) return file;
        }
        const [reason] = verdict.reasons;
        if (reason?.code === "CORRUPT") fault ??= new CofferError("CORRUPT", reason.text);
      } catch (error) {
        if (!isCofferError(error)) throw error;
        fault ??= error;
      }
    }
    if (fault !== undefined) throw fault;
    return undefined;
  }

  /** One at a time: the index of holders follows one head after the other. */
  private async holdersOf(head: HeadView, blob: Digest): Promise<readonly Name[]> {
    const found = this.following.then(() => this.holders.find(head, blob));
    this.following = Promise.allSettled([found]);
    return (await found).map(({ name }) => name);
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
    const names = await this.namesAt(head);
    const from = after === undefined ? 0 : names.findIndex((name) => name.text > after.text);
    const page = from < 0 ? [] : names.slice(from, from + limit);
    const models: TrustedModel[] = [];
    for (const name of page) {
      const model = await this.trustedModel(head, name);
      if (model !== undefined) models.push(model);
    }
    const last = page.at(-1);
    if (last === undefined || from + limit >= names.length) return { models };
    return { models, next: last.text };
  }

  private async trustedModel(head: HeadView, name: Name): Promise<TrustedModel | undefined> {
    try {
      const verdict = await this.verdict(head, name);
      if (!verdict.trusted || verdict.manifest === undefined) return undefined;
      return { name: name.text, manifest: await this.manifest(verdict.manifest) };
    } catch (error) {
      if (!isCofferError(error, "CORRUPT")) throw error;
      return undefined;
    }
  }

  private async namesAt(head: HeadView): Promise<readonly Name[]> {
    const kept = this.names.get(head.id);
    if (kept !== undefined) return kept;
    const names: Name[] = [];
    for await (const [ref] of head.listRefs("refs/trusted/")) {
      const parsed = parseRefPath(ref);
      if (parsed.family === "trusted") names.push(parsed.name);
    }
    names.sort((a, b) => (a.text < b.text ? -1 : 1));
    this.names.set(head.id, names);
    return names;
  }
}
