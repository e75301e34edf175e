// SPDX-License-Identifier: Apache-2.0
/**
 * Receipts for the blobs that a server hands out: what vouches for an open one, and making those that are missing, one
 * blob at a time beside the work. Layer: repo. Holds invariant 6. What a receipt is and when it holds: receipts.ts.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { hashFile } from "../objects/chunk-hasher.ts";
import type { ManifestFile } from "../objects/documents/manifest.ts";
import type { Files, OpenFile } from "../objects/files.ts";
import { blobPath } from "../objects/layout.ts";
import type { Vouch } from "../objects/shared-blob.ts";
import { blobTopic, type Receipt, type ReceiptSet, type Receipts, sameState } from "./receipts.ts";
import { LeastRecent } from "./serving-cache.ts";

/** Blobs whose receipts are kept in memory, and those that are not tried again for a while. */
const KEPT = 4096;
/** A blob that could not have a receipt, being too fresh perhaps, is tried again after this long. */
const TRY_AGAIN_S = 60;

export class ServingReceipts {
  private readonly files: Files;
  private readonly receipts: Receipts;
  private readonly clock: () => number;
  private readonly onFault: (error: unknown) => void;
  private readonly sets = new LeastRecent<ReceiptSet>(KEPT);
  private readonly triedS = new LeastRecent<number>(KEPT);
  private making: Promise<void> | undefined;

  constructor(files: Files, receipts: Receipts, clock: () => number, onFault: (error: unknown) => void) {
    this.files = files;
    this.receipts = receipts;
    this.clock = clock;
    this.onFault = onFault;
  }

  /** What to ask after each piece that was read of `file`; undefined for small ones, which are hashed. */
  async vouch(file: ManifestFile): Promise<Vouch | undefined> {
    if (file.size <= LIMITS.chunkBytes) return undefined;
    const set = this.sets.get(file.sha256) ?? (await this.receipts.read(blobTopic(file.sha256)));
    this.sets.set(file.sha256, set);
    let held: Receipt | undefined;
    return async (open) => {
      // The mount of an open file stays as it is: it is looked at once, and the file's state each time.
      if (held !== undefined && sameState(await open.stat(), held)) return true;
      held = await set.vouchesFor(open, file.sha256);
      if (held === undefined) this.make(file.sha256);
      return held !== undefined;
    };
  }

  /** Resolves when no receipt is being made. */
  async settled(): Promise<void> {
    await this.making;
  }

  private make(blob: Digest): void {
    const nowS = this.clock();
    if (this.making !== undefined || nowS < (this.triedS.get(blob) ?? 0) + TRY_AGAIN_S) return;
    this.triedS.set(blob, nowS);
    this.making = this.hash(blob)
      .catch((error: unknown) => {
        // What cannot be kept is hashed again: for the operator to know, and nothing else follows.
        this.onFault(error);
      })
      .finally(() => {
        this.making = undefined;
      });
  }

  private async hash(blob: Digest): Promise<void> {
    const open = await this.files.open(blobPath(blob));
    if (open === undefined) return; // whoever downloads it is told
    try {
      await this.issue(open, blob);
    } finally {
      await open.close();
    }
  }

  private async issue(open: OpenFile, blob: Digest): Promise<void> {
    const before = await this.receipts.sight(open);
    if (before === undefined) return;
    if ((await hashFile(open)).sha256 !== blob) {
      throw new CofferError("CORRUPT", `blob ${short(blob)}: the bytes are not those of its name`);
    }
    const receipt = await this.receipts.issue(open, blob, before);
    if (receipt === undefined) return;
    await this.receipts.write(blobTopic(blob), [receipt]);
    this.sets.set(blob, await this.receipts.read(blobTopic(blob)));
  }
}
