// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves of the ref tree: their entries, and reading the form that nearly every leaf has.
 * Layer: refs. Format: docs/format.md, "The ref tree". Not here: inner nodes, and what is wrong with a node (ref-node.ts).
 *
 * A verdict reads several leaves of up to 64 refs for one ref each, so their parsing is most of its cost in a large store.
 * Here one pass over the text takes the place of JSON, canonical form and schema; it knows one spelling and no other. What is
 * kept of such a leaf is its bytes: an object for each ref of each leaf in a cache is what the garbage collector would be
 * busy with.
 */
import { type Digest, sha256OfText } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import { COMMON_REF, groupOf, hasShortParts, type RefPath } from "../base/ref-path.ts";

/** One ref, what it holds, and the SHA-256 of its group. */
export interface RefEntry {
  readonly ref: RefPath;
  readonly id: Digest;
  /** Worked out when it is first asked for: who looks for one ref in a leaf needs no other's. */
  readonly place: Digest;
}

/** All refs of a subtree of at most LIMITS.leafRefs, sorted by path. */
export interface RefLeaf {
  readonly kind: "leaf";
  readonly entries: readonly RefEntry[];
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
/** Of an entry `["<ref>","<id>"]`, before its ref, between the two, and at the end. */
const [OPEN, BETWEEN, CLOSE] = ['["', '","', '"]'];
const AFTER_REF = BETWEEN.length + 64 + CLOSE.length;
const ENTRY = new RegExp(`\\["${COMMON_REF}","[0-9a-f]{64}"\\]`, "y");
const COMMA = ",".charCodeAt(0);
/** No leaf of common refs is so long; what is longer would only be work for the pattern. */
const MOST_BYTES = LIMITS.leafRefs * 512;

/** A leaf in the form that nearly every leaf has, as its bytes; its entries are made when somebody asks for all of them. */
class PlainLeaf implements RefLeaf {
  readonly kind = "leaf";
  /** The first entry, and the last if it is another. */
  readonly ends: readonly RefEntry[];
  readonly #bytes: Buffer;
  #entries: readonly RefEntry[] | undefined;

  /** @param lastAt - where the last entry starts */
  constructor(bytes: Buffer, lastAt: number) {
    this.#bytes = bytes;
    this.ends = [...new Set([HEAD.length, lastAt])].map((at) => this.#entryAt(at));
  }

  get entries(): readonly RefEntry[] {
    this.#entries ??= this.#readAll();
    return this.#entries;
  }

  idOf(ref: RefPath): Digest | undefined {
    // No ref holds a quote, so this is found nowhere but at its own entry.
    const at = this.#bytes.indexOf(OPEN + ref + BETWEEN, HEAD.length, "latin1");
    return at < 0 ? undefined : this.#idAt(at + OPEN.length + ref.length);
  }

  #readAll(): readonly RefEntry[] {
    const entries: RefEntry[] = [];
    for (let at = HEAD.length; this.#bytes[at] === OPEN.charCodeAt(0); ) {
      const entry = this.#entryAt(at);
      entries.push(entry);
      at += OPEN.length + entry.ref.length + AFTER_REF + 1;
    }
    return entries;
  }

  #entryAt(at: number): RefEntry {
    const from = at + OPEN.length;
    const quote = this.#bytes.indexOf('"', from, "latin1");
    return refEntry(this.#bytes.toString("latin1", from, quote) as RefPath, this.#idAt(quote));
  }

  /** @param quote - where the ref ends */
  #idAt(quote: number): Digest {
    const from = quote + BETWEEN.length;
    return this.#bytes.toString("latin1", from, from + 64) as Digest;
  }
}

/** What `ref` holds by a leaf. */
export function idIn(leaf: RefLeaf, ref: RefPath): Digest | undefined {
  return leaf instanceof PlainLeaf ? leaf.idOf(ref) : leaf.entries.find((entry) => entry.ref === ref)?.id;
}

/** The first and the last entry of a leaf, if it has so many. */
export function endsOf(leaf: RefLeaf): readonly RefEntry[] {
  return leaf instanceof PlainLeaf ? leaf.ends : [...leaf.entries.slice(0, 1), ...leaf.entries.slice(-1)];
}

/**
 * A leaf from its bytes, which nobody changes from then on. Whatever comes from here is what the general parser makes of
 * the same bytes, by a property test.
 * @returns undefined for bytes that the general parser has to judge: an inner node, an empty leaf, a long name, damage
 */
export function readPlainLeaf(bytes: Uint8Array): RefLeaf | undefined {
  if (bytes.length > MOST_BYTES) return undefined;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // One character a byte: what is not ASCII matches nothing below.
  const text = buffer.toString("latin1");
  if (!text.startsWith(HEAD) || !text.endsWith(TAIL)) return undefined;
  const end = text.length - TAIL.length;
  let before = "";
  let at = HEAD.length;
  for (let count = 1; count <= LIMITS.leafRefs; count += 1) {
    ENTRY.lastIndex = at;
    if (!ENTRY.test(text)) return undefined;
    const next = ENTRY.lastIndex;
    const ref = text.slice(at + OPEN.length, next - AFTER_REF);
    if (ref <= before || !hasShortParts(ref)) return undefined;
    if (next === end) return new PlainLeaf(buffer, at);
    if (text.charCodeAt(next) !== COMMA) return undefined;
    before = ref;
    at = next + 1;
  }
  return undefined;
}
