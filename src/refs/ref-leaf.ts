// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves of the ref tree: their entries, and reading the form that nearly every leaf has.
 * Layer: refs. Format: docs/format.md, "The ref tree". Not here: inner nodes, and what is wrong with a node (ref-node.ts).
 *
 * A verdict reads several leaves of up to 64 refs for one ref each, so their parsing is most of its cost in a large store.
 * Here one pass over the text takes the place of JSON, canonical form and schema; it knows one spelling and no other.
 */
import { type Digest, isDigest, sha256OfText } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import { groupOf, isCommonRef, type RefPath } from "../base/ref-path.ts";

/** One ref, what it holds, and the SHA-256 of its group. */
export interface RefEntry {
  readonly ref: RefPath;
  readonly id: Digest;
  /** Worked out when it is first asked for: who looks for one ref in a leaf needs no other's. */
  readonly place: Digest;
}

class Entry implements RefEntry {
  readonly ref: RefPath;
  readonly id: Digest;
  #place: Digest | undefined;

  constructor(ref: RefPath, id: Digest) {
    this.ref = ref;
    this.id = id;
  }

  get place(): Digest {
    this.#place ??= placeOf(this.ref);
    return this.#place;
  }
}

export function refEntry(ref: RefPath, id: Digest): RefEntry {
  return new Entry(ref, id);
}

/** Where a ref stands in the tree: SHA-256 of its group, so that all refs of one name stand together. */
export function placeOf(ref: RefPath): Digest {
  return sha256OfText(groupOf(ref));
}

const HEAD = '{"entries":[';
const TAIL = '],"type":"coffer/refs","version":1}\n';
/**
 * The entries of a leaf. Whatever comes from here is what the general parser makes of the same bytes, by a property test.
 * @returns undefined for bytes that the general parser has to judge: an inner node, an empty leaf, a long name, damage
 */
export function readPlainLeaf(bytes: Uint8Array): readonly RefEntry[] | undefined {
  // One character a byte: what is not ASCII matches nothing below.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!text.startsWith(HEAD) || !text.endsWith(TAIL)) return undefined;
  const end = text.length - TAIL.length;
  const entries: RefEntry[] = [];
  let before = "";
  // Each is `["<ref>","<id>"]`, with a comma before the next.
  for (let at = HEAD.length; text.startsWith('["', at); at += 1) {
    const quote = text.indexOf('"', at + 2);
    const [ref, id] = [text.slice(at + 2, quote), text.slice(quote + 3, quote + 67)];
    if (!text.startsWith('","', quote) || !text.startsWith('"]', quote + 67)) return undefined;
    if (!isCommonRef(ref) || !isDigest(id) || ref <= before) return undefined;
    entries.push(refEntry(ref, id));
    before = ref;
    at = quote + 69;
    if (at === end) return entries.length <= LIMITS.leafRefs ? entries : undefined;
    if (text[at] !== ",") return undefined;
  }
  return undefined;
}
