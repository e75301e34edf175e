// SPDX-License-Identifier: Apache-2.0
/**
 * What travels between stores, whatever carries it: items, each with the one path that it has inside a volume, and the
 * source that hands them over. Layer: sync. Format: docs/format.md, "Bundles". Holds invariant 9.
 * Not here: tar (tar.ts), volumes (volumes.ts), what is to be sent (plan.ts).
 */
import { type Digest, isDigest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { type KeyId, type PublicKey, parseKeyId } from "../keys/public-key.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { BundleIndex } from "./bundle-index.ts";

/** One file of a store as it travels; its path inside a volume is made from this, and parsed into it, strictly. */
export type Item =
  | { readonly kind: "object"; readonly id: Digest; readonly sizeBytes: number }
  | { readonly kind: "signature"; readonly object: Digest; readonly keyId: KeyId; readonly sizeBytes: number }
  | { readonly kind: "blob"; readonly blob: Digest; readonly part?: number; readonly sizeBytes: number };

/** An item and its bytes; read at most once, before the next parcel is asked for. */
export interface Parcel {
  readonly item: Item;
  /** Exactly `item.sizeBytes` bytes, not yet checked against any name. @throws CofferError VOLUME_DAMAGED, IO_ERROR */
  read(): AsyncIterable<Uint8Array>;
}

/** What it throws ends the parcels. */
export type OnDamage = (error: CofferError) => void;

export interface Source {
  /** What the sender says it brings: a claim for planning; no number in it enters memory. */
  readonly index: Stored<BundleIndex>;
  /** The store key's signature over the index, which verified; undefined where the source is a store's own folder. */
  readonly signature?: { readonly publicKey: PublicKey; readonly armored: string };
  /** Nobody has shown that the index is of the store that it names: nothing of it is remembered of that store. */
  readonly unproven?: true;
  /** What half-arrived blobs are kept by until another try; the index's id when left out. */
  readonly stagedBy?: Digest;
  /** What is not at hand, in words for people ("volume 2 of 3"); empty when everything is. */
  readonly missing: readonly string[];
  /** The numbers of the volumes of which no file is at hand, where nothing but volume files brings any of it. */
  readonly missingVolumes?: readonly number[];
  /**
   * In the order of `index.value.items`, what is missing left out: small before large, a signature directly after its
   * object, the parts of a blob in order. `wants` false = skipped, without reading where the medium can.
   *
   * @param onDamage - told of damage on the way, but for what `read` throws; the volume ends there, as if its rest were
   *   missing, and the next one comes. Without it, or where the medium cannot go on, damage is thrown
   */
  parcels(wants: (item: Item) => boolean, onDamage?: OnDamage): AsyncIterable<Parcel>;
}

/** Digits of a part's number, so that `cat blobs/ab/<hex>.part-*` puts the parts together in order. */
const PART_DIGITS = 5;
/** Parts that one blob may have: 100 TB in parts of 1 GiB. */
export const MOST_PARTS = 10 ** PART_DIGITS;

const DIGEST = "([0-9a-f]{2})/([0-9a-f]{62})";
const OBJECT = new RegExp(`^objects/${DIGEST}$`);
const SIGNATURE = new RegExp(`^signatures/${DIGEST}/([0-9a-f]{64})\\.sig$`);
const BLOB = new RegExp(`^blobs/${DIGEST}(?:\\.part-([0-9]{${PART_DIGITS}}))?$`);

const fanned = (id: Digest): string => `${id.slice(0, 2)}/${id.slice(2)}`;

/**
 * Where an item lies in a volume: its path in a store, but for signatures, which have a folder for each object (a name in
 * a tar header has at most 100 bytes), and for the parts of large blobs.
 */
export function itemPath(item: Item): string {
  switch (item.kind) {
    case "object":
      return `objects/${fanned(item.id)}`;
    case "signature":
      return `signatures/${fanned(item.object)}/${item.keyId}.sig`;
    case "blob": {
      const part = item.part === undefined ? "" : `.part-${String(item.part).padStart(PART_DIGITS, "0")}`;
      return `blobs/${fanned(item.blob)}${part}`;
    }
  }
}

/** The digest that two groups of a match spell. */
function joined(first: string | undefined, rest: string | undefined): Digest {
  const text = `${first}${rest}`;
  if (!isDigest(text)) throw new CofferError("INTERNAL", "path of an item: the pattern let something else through");
  return text;
}

/** @throws CofferError BUNDLE_INVALID - not the path of an item in its one spelling */
export function parseItem(path: string, sizeBytes: number): Item {
  const object = path.startsWith("objects/") ? OBJECT.exec(path) : null;
  if (object !== null) return { kind: "object", id: joined(object[1], object[2]), sizeBytes };
  const signature = path.startsWith("signatures/") ? SIGNATURE.exec(path) : null;
  if (signature !== null) {
    const [, first, rest, keyId = ""] = signature;
    return { kind: "signature", object: joined(first, rest), keyId: parseKeyId(keyId), sizeBytes };
  }
  const blob = BLOB.exec(path);
  if (blob === null) {
    const expected = "a path under objects/, signatures/ or blobs/, made from digests";
    throw new CofferError("BUNDLE_INVALID", `item: expected ${expected}, found ${quote(path, 200)}`);
  }
  const [, first, rest, part] = blob;
  return { kind: "blob", blob: joined(first, rest), ...(part === undefined ? {} : { part: Number(part) }), sizeBytes };
}
