// SPDX-License-Identifier: Apache-2.0
/**
 * Checks parts of a blob whose other parts were left out for the receiver, by the chunk list that a manifest of the bundle
 * names: the hash of the whole cannot be made. Layer: sync. Where no chunk list is known, nothing can be told.
 */
import { createHash } from "node:crypto";
import { type Digest, digestFromBytes } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { parseManifest } from "../objects/documents/manifest.ts";
import { typeOf } from "./document-type.ts";
import type { Item } from "./source.ts";

const ID_BYTES = 32;

export interface Range {
  update(bytes: Uint8Array): void;
  /** After the last byte of the part. */
  isGood(): boolean;
}

export class RangeCheck {
  readonly #segmentBytes: number;
  readonly #inParts: { has(blob: Digest): boolean };
  /** Chunk lists by blob, as manifests name them; and those of them that came. */
  readonly #listOf = new Map<Digest, Digest>();
  readonly #lists = new Map<Digest, Uint8Array>();

  /** @param inParts - blobs of which parts travel */
  constructor(segmentBytes: number, inParts: { has(blob: Digest): boolean }) {
    this.#segmentBytes = segmentBytes;
    this.#inParts = inParts;
  }

  /** An object that is what its name says. */
  learn(id: Digest, bytes: Uint8Array): void {
    if (typeOf(bytes) === "coffer/manifest") this.#learnManifest(bytes);
    else if (bytes.length % ID_BYTES === 0) this.#lists.set(id, bytes);
  }

  #learnManifest(bytes: Uint8Array): void {
    try {
      for (const { sha256, chunks } of parseManifest(bytes).value.files)
        if (chunks !== undefined && this.#inParts.has(sha256)) this.#listOf.set(sha256, chunks);
    } catch (error) {
      if (!(error instanceof CofferError)) throw error; // one that is no good names nothing; the importer tells
    }
  }

  /** undefined where nothing is known to check it by. */
  begin({ blob, part }: Item & { readonly kind: "blob" }): Range | undefined {
    const list = this.#listOf.get(blob);
    const hashes = list === undefined ? undefined : this.#lists.get(list);
    if (part === undefined || hashes === undefined) return undefined;
    return rangeOf(hashes, (part * this.#segmentBytes) / LIMITS.chunkBytes);
  }
}

function rangeOf(hashes: Uint8Array, first: number): Range {
  let [chunk, inChunk, good, hash] = [first, 0, true, createHash("sha256")];
  const end = (): void => {
    const expected = hashes.subarray(chunk * ID_BYTES, (chunk + 1) * ID_BYTES);
    good &&= expected.length === ID_BYTES && hash.digest("hex") === digestFromBytes(expected);
    [chunk, inChunk, hash] = [chunk + 1, 0, createHash("sha256")];
  };
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(bytes.length - at, LIMITS.chunkBytes - inChunk);
        hash.update(bytes.subarray(at, at + length));
        inChunk += length;
        at += length;
        if (inChunk === LIMITS.chunkBytes) end();
      }
    },
    isGood() {
      if (inChunk > 0) end();
      return good;
    },
  };
}
