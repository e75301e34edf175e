// SPDX-License-Identifier: Apache-2.0
/**
 * What a volume must be, member by member: one small function for each rule. The index says beforehand which members
 * come, in which order and how long, so nothing else is ever read. Layer: sync. Format: docs/format.md, "Volumes".
 */
import type { Digest } from "../base/digest.ts";
import { short } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import { quote } from "../base/quote.ts";
import type { Rule } from "./rule.ts";
import type { TarMember } from "./tar.ts";
import { INDEX_PATH, NOTE_BYTES, NOTE_PATH, type VolumeNote } from "./volume-note.ts";

const shown = (path: string): string => quote(path, 200);

/** The first member. */
export const OPENING_RULES: Record<string, Rule<TarMember>> = {
  "index-first": ({ path }) =>
    path === INDEX_PATH ? undefined : `expected ${INDEX_PATH} as the first member, found ${shown(path)}`,
  "index-size": ({ sizeBytes }) =>
    sizeBytes <= LIMITS.bundleIndexBytes
      ? undefined
      : `expected an index of at most ${LIMITS.bundleIndexBytes} bytes, found ${sizeBytes}`,
};

/** The second: what its path must be is in the index, which is parsed when both have come. */
export const SIGNATURE_RULES: Record<string, Rule<TarMember>> = {
  "signature-size": ({ sizeBytes }) =>
    sizeBytes <= LIMITS.signatureBytes
      ? undefined
      : `expected a signature of at most ${LIMITS.signatureBytes} bytes, found ${sizeBytes}`,
};

interface Signed {
  readonly path: string;
  /** The one path that a signature by the index's store key has. */
  readonly expected: string;
  readonly isGood: boolean;
}

/** Before anything in the index is believed. */
export const INDEX_SIGNATURE_RULES: Record<string, Rule<Signed>> = {
  "signed-by-its-store": ({ path, expected }) =>
    path === expected ? undefined : `expected ${expected} after the index, found ${shown(path)}`,
  "signature-verifies": ({ isGood }) =>
    isGood ? undefined : "expected a signature over this index by its store key, found one that does not verify",
};

/** `undefined`: no volume of this bundle begins with that member. */
export const FIRST_ITEM_RULES: Record<string, Rule<number | undefined>> = {
  "begins-a-volume": (number) =>
    number === undefined ? "expected the first item of one of the bundle's volumes, found another" : undefined,
};

interface Expected {
  readonly expected: TarMember;
  readonly found: TarMember;
}

/** Each item: nothing is missing, twice, in another order, or there without being in the index. */
export const ITEM_RULES: Record<string, Rule<Expected>> = {
  "member-as-listed": ({ expected, found }) =>
    found.path === expected.path ? undefined : `expected ${expected.path}, found ${shown(found.path)}`,
  "size-as-listed": ({ expected, found }) =>
    found.sizeBytes === expected.sizeBytes
      ? undefined
      : `${expected.path}: expected ${expected.sizeBytes} bytes, found ${found.sizeBytes}`,
};

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** After each member's content, up to the next block. */
export const PADDING_RULES: Record<string, Rule<Uint8Array>> = {
  "padding-zero": (bytes) => (isZero(bytes) ? undefined : "expected zeros after a member, found other bytes"),
};

/** The member after the last item. */
export const NOTE_MEMBER_RULES: Record<string, Rule<TarMember>> = {
  "note-last": ({ path }) =>
    path === NOTE_PATH ? undefined : `expected ${NOTE_PATH} after the last item, found ${shown(path)}`,
  "note-size": ({ sizeBytes }) =>
    sizeBytes <= NOTE_BYTES ? undefined : `expected a note of at most ${NOTE_BYTES} bytes, found ${sizeBytes}`,
};

interface Noted {
  readonly note: VolumeNote;
  readonly index: Digest;
  readonly number: number;
  readonly of: number;
}

export const NOTE_RULES: Record<string, Rule<Noted>> = {
  "note-of-index": ({ note, index }) =>
    note.index === index ? undefined : `expected a note about index ${short(index)}, found ${short(note.index)}`,
  "note-number": ({ note, number, of }) =>
    note.number === number && note.of === of
      ? undefined
      : `expected a note of volume ${number} of ${of}, found ${note.number} of ${note.of}`,
};

interface Hashed {
  readonly note: VolumeNote;
  /** Of the bytes that were read; undefined where not all were. */
  readonly sha256: Digest | undefined;
}

export const HASH_RULES: Record<string, Rule<Hashed>> = {
  "volume-hash": ({ note, sha256 }) =>
    sha256 === undefined || note.sha256 === sha256
      ? undefined
      : "expected the bytes that its note was made for, found others",
};

export const END_RULES: Record<string, Rule<Uint8Array>> = {
  "end-zero": (bytes) => (isZero(bytes) ? undefined : "expected two blocks of zeros at the end, found other bytes"),
};

/** @param atEnd - of a file: whether anything follows */
export const AFTER_RULES: Record<string, Rule<{ readonly atEnd: boolean }>> = {
  "nothing-after": ({ atEnd }) => (atEnd ? undefined : "expected nothing after the end, found more bytes"),
};
