// SPDX-License-Identifier: Apache-2.0
/**
 * Pages of the local index, in MessagePack: leaves of sorted entries, and inner pages that name pages below them with
 * their SHA-256. A page is unpacked only after its bytes were compared with that. Layer: repo.
 * Format: docs/format.md, "The local index".
 */
import { type Digest, digestBytes, digestFromBytes, sha256 } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import type { Entry } from "./keys.ts";

/** Where a page lies in its file, and what its bytes are. */
export interface PageRef {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly sha256: Digest;
}
/** A page below an inner one, by the first key in it. */
export interface PageChild extends PageRef {
  readonly firstKey: string;
}
export type Page =
  | { readonly kind: "leaf"; readonly entries: readonly Entry[] }
  | { readonly kind: "inner"; readonly children: readonly PageChild[] };

const LEAF = 0;
const INNER = 1;

/** From values to bytes and back. */
export interface PageCodec {
  encode(page: Page): Uint8Array;
  /** @throws CofferError CORRUPT - the bytes are not those of `ref`, or no page */
  decode(bytes: Uint8Array, ref: PageRef): Page;
}

/** The package is loaded by the first use of an index: `resolve` must start without it. */
export async function loadPageCodec(): Promise<PageCodec> {
  // Not the package's main entry: that one would load a native helper, if somebody has one installed.
  const { Packr } = await import("msgpackr/pack");
  const packr = new Packr({ useRecords: false });
  return {
    encode: (page) => packr.pack(page.kind === "leaf" ? packLeaf(page.entries) : packInner(page.children)),
    decode(bytes, ref) {
      if (bytes.length !== ref.sizeBytes || sha256(bytes) !== ref.sha256) {
        throw new CofferError("CORRUPT", "index page: expected the bytes that the page above names, found others");
      }
      const values: unknown = packr.unpack(bytes);
      return parsePage(values);
    },
  };
}

/** Keys share their beginnings: how many characters are those of the key before, then the rest. */
function packLeaf(entries: readonly Entry[]): unknown[] {
  const packed: unknown[] = [LEAF];
  let before = "";
  for (const { key, present } of entries) {
    let shared = 0;
    while (shared < before.length && before.charCodeAt(shared) === key.charCodeAt(shared)) shared += 1;
    packed.push(present ? shared : -1 - shared, key.slice(shared));
    before = key;
  }
  return packed;
}

function packInner(children: readonly PageChild[]): unknown[] {
  return [INNER, ...children.flatMap((one) => [one.firstKey, one.offset, one.sizeBytes, digestBytes(one.sha256)])];
}

const bad = (): CofferError =>
  new CofferError("CORRUPT", "index page: expected entries or pages, found something else");

function parsePage(values: unknown): Page {
  if (!Array.isArray(values)) throw bad();
  const [kind, ...rest]: unknown[] = values;
  if (kind === LEAF) return { kind: "leaf", entries: parseLeaf(rest) };
  if (kind === INNER) return { kind: "inner", children: parseInner(rest) };
  throw bad();
}

function parseLeaf(values: readonly unknown[]): Entry[] {
  const entries: Entry[] = [];
  let before = "";
  for (let at = 0; at < values.length; at += 2) {
    const [shared, suffix] = [values[at], values[at + 1]];
    if (typeof shared !== "number" || typeof suffix !== "string") throw bad();
    const present = shared >= 0;
    before = before.slice(0, present ? shared : -1 - shared) + suffix;
    entries.push({ key: before, present });
  }
  return entries;
}

function parseInner(values: readonly unknown[]): PageChild[] {
  const children: PageChild[] = [];
  for (let at = 0; at < values.length; at += 4) {
    const [firstKey, offset, sizeBytes, digest] = values.slice(at, at + 4);
    if (typeof firstKey !== "string" || typeof offset !== "number" || typeof sizeBytes !== "number") throw bad();
    if (!(digest instanceof Uint8Array)) throw bad();
    children.push({ firstKey, offset, sizeBytes, sha256: digestFromBytes(digest) });
  }
  return children;
}
