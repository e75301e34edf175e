// SPDX-License-Identifier: Apache-2.0
/**
 * The two things that a volume has beside the items: the index with its signature in front, and a note at its end that
 * says which volume it is and what its bytes hash to. Layer: sync. Format: docs/format.md, "Volumes".
 */
import type { Digest } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import type { KeyId } from "../keys/public-key.ts";
import {
  digest,
  documentOf,
  integer,
  makeDocument,
  readDocument,
  required,
  type Schema,
  type Stored,
} from "../objects/documents/schema.ts";
import { fromBundle } from "./malformed.ts";

export const INDEX_PATH = "bundle/index.json";
export const NOTE_PATH = "bundle/volume.json";
/** More than any note has: it is one block of a tar file. */
export const NOTE_BYTES = 512;

export function indexSignaturePath(keyId: KeyId): string {
  return `${INDEX_PATH}.${keyId}.sig`;
}

/** Unsigned: it finds damage on the way, and says nothing about trust. */
export interface VolumeNote {
  readonly index: Digest;
  readonly number: number;
  readonly of: number;
  /** Of all bytes of the volume before the header of this note. */
  readonly sha256: Digest;
}

const position = integer(1, LIMITS.bundleVolumes);
const schema: Schema<VolumeNote> = documentOf("coffer/volume", {
  index: required(digest),
  number: required(position),
  of: required(position),
  sha256: required(digest),
});
const WHAT = NOTE_PATH;

/** @throws CofferError BUNDLE_INVALID, UNSUPPORTED */
export function parseVolumeNote(bytes: Uint8Array): Stored<VolumeNote> {
  return fromBundle(() => readDocument(schema, bytes, WHAT, NOTE_BYTES));
}

export function makeVolumeNote(note: VolumeNote): Stored<VolumeNote> {
  return makeDocument(schema, { type: "coffer/volume", version: 1, ...note }, WHAT);
}

/** `<first 12 characters of the index>-0001-of-0003.tar` */
export function volumeFileName(index: Digest, number: number, of: number): string {
  const digits = (value: number): string => String(value).padStart(4, "0");
  return `${index.slice(0, 12)}-${digits(number)}-of-${digits(of)}.tar`;
}

/** What an encrypted volume's name has behind that. */
export const SEALED_ENDING = ".age";
/**
 * What `volumeFileName` makes, and that with `SEALED_ENDING`, as media and people alter it: in capitals, with " (1)" before
 * the ending. The name is a help and decides nothing.
 */
export const VOLUME_FILE = /^[0-9a-f]{12}-[0-9]{4}-of-[0-9]{4}[^/]*\.tar(?:\.age)?$/i;

/** True of the first bytes of a volume that is not encrypted, whatever it is called: a tar archive that begins with the index. */
export function beginsVolume(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.subarray(0, INDEX_PATH.length + 1)).toString("latin1");
  return text === `${INDEX_PATH}\0`;
}
/** So many tell. */
export const BEGINNING_BYTES = 512;
