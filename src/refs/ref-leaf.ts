// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves of the ref tree: their entries, and reading the form that nearly every leaf has.
 * Layer: refs. Format: docs/format.md, "The ref tree". Not here: inner nodes, and what is wrong with a node (ref-node.ts).
 *
 * A verdict reads several leaves of up to 64 refs for one ref each, so their parsing is most of its cost in a large store.
 * Here one pass over the text takes the place of JSON, canonical form and schema; it knows one spelling and no other.
 */
import { type Digest, sha256OfText } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import { groupOf, isCommonRef, type RefPath } from "../base/ref-path.ts";

/** One ref, what it holds, and the SHA-256 of its group. */
export interface RefEntry {
  readonly ref: RefPath;
  readonly id: Digest;
  readonly place: Digest;
}

/** Where a ref stands in the tree: SHA-256 of its group, so that all refs of one name stand together. */
export function placeOf(ref: RefPath): Digest {
  return sha256OfText(groupOf(ref));
}

const HEAD = '{"entries":[';
const TAIL = '],"type":"coffer/refs","version":1}\n';
/** `["<ref>","<id>"]`, and the comma before a further one. */
const ENTRY = /\["([a-z0-9_./-]+)","([0-9a-f]{64})"\](,?)/y;

/**
 * The entries of a leaf. Whatever comes from here is what the general parser makes of the same bytes, by a property test.
 * @returns undefined for bytes that the general parser has to judge: an inner node, an empty leaf, a long name, damage
 */
export function readPlainLeaf(bytes: Uint8Array): readonly RefEntry[] | undefined {
  // One character a byte: what is not ASCII matches nothing below.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!text.startsWith(HEAD) || !text.endsWith(TAIL)) return undefined;
  const entries: RefEntry[] = [];
  let before = "";
  let at = HEAD.length;
  for (let more = true; more; ) {
    ENTRY.lastIndex = at;
    const [all, ref, id, comma] = ENTRY.exec(text) ?? [];
    if (all === undefined || ref === undefined || id === undefined) return undefined;
    if (!isCommonRef(ref) || ref <= before) return undefined;
    entries.push({ ref, id: id as Digest, place: placeOf(ref) });
    before = ref;
    at += all.length;
    more = comma !== "";
  }
  return at + TAIL.length === text.length && entries.length <= LIMITS.leafRefs ? entries : undefined;
}
