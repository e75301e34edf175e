// SPDX-License-Identifier: Apache-2.0
/**
 * Ranges and preconditions of a blob, whose entity tag is its SHA-256: it never changes and is always strong.
 * Layer: server. Source: RFC 9110 sections 8.8.3, 13 and 14.
 */
import type { Digest } from "../base/digest.ts";

/** Bytes `start` (inclusive) to `end` (exclusive). */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/** What a Range field comes to: nothing that need be heeded, a part, or one that lies past the end. */
export type RangeChoice = "whole" | "unsatisfiable" | ByteSpan;

/** The units' name is case-insensitive; one range only: several are answered with the whole, as section 14.2 allows. */
const RANGE = /^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$/i;
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

export function entityTag(blob: Digest): string {
  return `"${blob}"`;
}

/** @param sizeBytes - of the whole blob */
export function chooseRange(field: string | undefined, sizeBytes: number): RangeChoice {
  const found = field === undefined ? null : RANGE.exec(field);
  if (found === null) return "whole";
  const [, first, last, suffix] = found;
  if (suffix !== undefined) return chooseSuffix(Number(suffix), sizeBytes);
  const start = Number(first);
  const end = last === undefined || last === "" ? sizeBytes : Number(last) + 1;
  if (end <= start && last !== "") return "whole"; // last before first: not a range at all
  if (start >= sizeBytes) return "unsatisfiable";
  return { start, end: Math.min(end, sizeBytes) };
}

function chooseSuffix(length: number, sizeBytes: number): RangeChoice {
  if (length === 0) return "unsatisfiable";
  // No Content-Range can say "all zero bytes of zero".
  if (sizeBytes === 0) return "whole";
  return { start: Math.max(0, sizeBytes - length), end: sizeBytes };
}

/** Only the very tag lets a Range through: dates are not kept here, and a weak tag never matches (section 13.1.5). */
export function ifRangeHolds(field: string | undefined, blob: Digest): boolean {
  return field === undefined || field === entityTag(blob);
}

/** Weak comparison (section 13.1.2). A field that cannot be read matches nothing. */
export function ifNoneMatchHits(field: string | undefined, blob: Digest): boolean {
  return listHits(field, (tag) => tag === entityTag(blob) || tag === `W/${entityTag(blob)}`);
}

/** Strong comparison (section 13.1.1); true without the field. */
export function ifMatchHolds(field: string | undefined, blob: Digest): boolean {
  return field === undefined || listHits(field, (tag) => tag === entityTag(blob));
}

/** A comma may stand inside a tag; splitting there gives pieces that are no tags, which then match nothing. */
function listHits(field: string | undefined, hits: (tag: string) => boolean): boolean {
  if (field === undefined) return false;
  if (field.trim() === "*") return true;
  const tags = field.split(",").map((tag) => tag.trim());
  return tags.every((tag) => tag === "" || ENTITY_TAG.test(tag)) && tags.some(hits);
}
