// SPDX-License-Identifier: Apache-2.0
/**
 * Inner nodes of the ref tree: reading the one form that they have, when nothing is wrong with it.
 * Layer: refs. Format: docs/format.md, "The ref tree". Not here: leaves (ref-leaf.ts), and what is wrong with a node
 * (ref-node.ts).
 *
 * In a large store there are more inner nodes than a cache holds, and each lookup meets some: as with leaves, one pass over
 * the text takes the place of JSON, canonical form and schema.
 */
import type { Digest } from "../base/digest.ts";

/** A subtree of more refs than a leaf holds; `children` by the next hex digit of the place, empty ones absent. */
export interface RefInner {
  readonly kind: "inner";
  readonly children: ReadonlyMap<string, Digest>;
}

/** The digits that a walk can take, in order. */
export const DIGITS: readonly string[] = [..."0123456789abcdef"];

const HEAD = '{"children":{';
const TAIL = '},"type":"coffer/refs","version":1}\n';
/** `"<digit>":"<id>"`, and what follows it. */
const CHILD = /"([0-9a-f])":"([0-9a-f]{64})"([,}])/y;
const CHILD_BYTES = '"0":"",'.length + 64;
const MOST_BYTES = HEAD.length + DIGITS.length * CHILD_BYTES + TAIL.length;

/** @returns undefined for bytes that the general parser has to judge: a leaf, damage */
export function readPlainInner(bytes: Uint8Array): RefInner | undefined {
  if (bytes.length > MOST_BYTES) return undefined;
  // One character a byte: what is not ASCII matches nothing below.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!text.startsWith(HEAD)) return undefined;
  const children = new Map<string, Digest>();
  let before = "";
  for (let at = HEAD.length; ; at += CHILD_BYTES) {
    CHILD.lastIndex = at;
    const [, digit = "", id, next] = CHILD.exec(text) ?? [];
    if (digit <= before) return undefined;
    children.set(digit, id as Digest);
    if (next === "}") return text.slice(at + CHILD_BYTES - 1) === TAIL ? { kind: "inner", children } : undefined;
    before = digit;
  }
}
