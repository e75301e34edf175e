// SPDX-License-Identifier: Apache-2.0
/**
 * Blobs that lie here by a name whose bytes they do not have, as an import finds and mends them. Layer: repo.
 * Holds invariant 1. Not here: how their bytes come (staging.ts), damage of what no import asks for (fsck.ts).
 */
import type { Digest } from "../../base/digest.ts";
import { isCofferError, systemCode } from "../../base/errors.ts";
import { type HashedBlob, hashFile } from "../../objects/chunk-hasher.ts";
import type { Files } from "../../objects/files.ts";
import { blobPath } from "../../objects/layout.ts";
import type { DamagedBlob } from "./report.ts";

/** Blobs whose bytes here were found to be those of their names, and what they are. */
export type WholeBlobs = Map<Digest, HashedBlob>;

export class Damage {
  readonly #files: Files;
  /** Every blob that is asked for is hashed; else only one whose size is wrong. */
  readonly hashAll: boolean;
  readonly #found = new Map<Digest, DamagedBlob>();
  readonly #mended = new Set<Digest>();
  readonly #whole: WholeBlobs;

  /** @param whole - as the same act found them before; grows */
  constructor(files: Files, hashAll: boolean, whole: WholeBlobs = new Map()) {
    this.#files = files;
    this.hashAll = hashAll;
    this.#whole = whole;
  }

  /**
   * Hashes a blob that lies here, unless this act has, and remembers it if it is damaged. What an act found whole it takes for
   * whole to its end: the act itself renews the times of such files, so they tell nothing.
   * @param path - as a manifest calls it. @returns what its bytes are, undefined if it is damaged
   */
  async look(blob: Digest, path?: string): Promise<HashedBlob | undefined> {
    const known = this.#whole.get(blob);
    if (known !== undefined && (await this.#files.stat(blobPath(blob)))?.sizeBytes === known.sizeBytes) return known;
    const hashed = await this.#hashed(blob);
    if (hashed?.sha256 === blob) {
      this.#whole.set(blob, hashed);
      return hashed;
    }
    this.#found.set(blob, { blob, ...(path === undefined ? {} : { path }) });
    return undefined;
  }

  async #hashed(blob: Digest): Promise<HashedBlob | undefined> {
    try {
      const file = await this.#files.open(blobPath(blob));
      if (file === undefined) return undefined;
      try {
        return await hashFile(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      // A bad sector: other bytes take its place. What this account may not read is no damage.
      if (this.hashAll && isCofferError(error, "IO_ERROR") && systemCode(error.cause) === "EIO") return undefined;
      throw error;
    }
  }

  has(blob: Digest): boolean {
    return this.#found.has(blob);
  }

  /** The right bytes have its name now. */
  replaced(blob: Digest): void {
    if (this.#found.has(blob)) this.#mended.add(blob);
  }

  get mended(): readonly DamagedBlob[] {
    return [...this.#found.values()].filter(({ blob }) => this.#mended.has(blob));
  }

  /** Those whose bytes did not come. */
  get left(): readonly DamagedBlob[] {
    return [...this.#found.values()].filter(({ blob }) => !this.#mended.has(blob));
  }
}
