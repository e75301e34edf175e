// SPDX-License-Identifier: Apache-2.0
/**
 * What a store holds, as sorted digests: the part of a delivery receipt that a machine reads. MessagePack, since it is
 * some hundred thousand binary digests. Layer: repo. Format: docs/format.md, "Delivery receipts".
 * It comes from outside: nothing is unpacked before its SHA-256 was compared with the signed one, and what was unpacked must
 * be the one encoding of what it says.
 */
import { type Digest, digestBytes, digestFromBytes, sha256 } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";

/** A blob that a trusted name needs and that is not whole. */
export interface MissingBlob {
  readonly blob: Digest;
  readonly sizeBytes: number;
}

/** Each list sorted, without repeats. */
export interface Inventory {
  /** Statements that revoke or delete. */
  readonly denials: readonly Digest[];
  readonly refusals: readonly Digest[];
  /** Statements that stand: the heads of all names. */
  readonly heads: readonly Digest[];
  /** Of names that stand, and of those in quarantine. */
  readonly manifests: readonly Digest[];
  /** Whole ones. */
  readonly blobs: readonly Digest[];
  readonly missing: readonly MissingBlob[];
}

const LISTS = ["denials", "refusals", "heads", "manifests", "blobs"] as const;
const VERSION = 1;
const ID_BYTES = 32;

export async function encodeInventory(inventory: Inventory): Promise<Uint8Array> {
  // Not the package's main entry: that one would load a native helper, if somebody has one installed.
  const { Packr } = await import("msgpackr/pack");
  const lists = LISTS.map((list) => Buffer.concat([...inventory[list]].sort().map((id) => digestBytes(id))));
  const missing = [...inventory.missing].sort((a, b) => (a.blob < b.blob ? -1 : 1));
  const rows = missing.map(({ blob, sizeBytes }) => [Buffer.from(digestBytes(blob)), sizeBytes]);
  return new Packr({ useRecords: false }).pack([VERSION, ...lists, rows]);
}

/**
 * @param expected - SHA-256 that was signed
 * @throws CofferError OBJECT_MISMATCH - other bytes; UNSUPPORTED - a newer form; DOCUMENT_INVALID
 */
export async function decodeInventory(bytes: Uint8Array, expected: Digest): Promise<Inventory> {
  if (sha256(bytes) !== expected) throw new CofferError("OBJECT_MISMATCH", "inventory: not the bytes that were signed");
  checkCount(bytes);
  const { Packr } = await import("msgpackr/pack");
  let unpacked: unknown;
  try {
    unpacked = new Packr({ useRecords: false }).unpack(bytes);
  } catch (error) {
    throw invalid("MessagePack", error);
  }
  if (!Array.isArray(unpacked)) throw invalid("a list");
  const [version, ...rest] = unpacked as unknown[];
  if (version !== VERSION) throw new CofferError("UNSUPPORTED", "inventory: expected version 1, found another");
  if (rest.length !== LISTS.length + 1) throw invalid(`${LISTS.length + 2} members`);
  const lists = LISTS.map((list, at) => idsOf(rest[at], list));
  const [denials = [], refusals = [], heads = [], manifests = [], blobs = []] = lists;
  const inventory = { denials, refusals, heads, manifests, blobs, missing: missingOf(rest[LISTS.length]) };
  if (Buffer.compare(await encodeInventory(inventory), bytes) !== 0) throw invalid("the one encoding of what it says");
  return inventory;
}

/** Besides one for each row of `missing`: whatever says nothing. */
const FEW_VALUES = 16;
/** A row of `missing` is three values: a list, a digest and a size. */
const LEAST_BYTES_OF_VALUE = 12;

/** Before anything is made of them: an empty list takes one byte here and fifty in memory. @throws CofferError DOCUMENT_INVALID */
function checkCount(bytes: Uint8Array): void {
  let left = FEW_VALUES + Math.floor(bytes.length / LEAST_BYTES_OF_VALUE);
  for (let at = 0; at < bytes.length; at += valueBytes(bytes, at)) {
    left -= 1;
    if (left < 0) throw invalid("lists of digests and sizes");
  }
}

/** Of values that begin with 0xc0 to 0xdf: all their bytes but those whose number the value itself says. */
const HEAD_BYTES = [
  ...[1, 1, 1, 1, 2, 3, 5, 3, 4, 6, 5, 9, 2, 3, 5, 9],
  ...[2, 3, 5, 9, 3, 4, 6, 10, 18, 2, 3, 5, 3, 5, 3, 5],
];
/** Behind the first byte: how many say how many more come, of bytes, extensions and texts. */
const LENGTH_BYTES: ReadonlyMap<number, number> = new Map([
  ...[0xc4, 0xc7, 0xd9].map((first): [number, number] => [first, 1]),
  ...[0xc5, 0xc8, 0xda].map((first): [number, number] => [first, 2]),
  ...[0xc6, 0xc9, 0xdb].map((first): [number, number] => [first, 4]),
]);

/** Of one value of MessagePack; of a list or map without what is in it, which are values of their own. */
function valueBytes(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first >= 0xa0 && first < 0xc0) return 1 + (first & 0x1f);
  if (first < 0xc0 || first >= 0xe0) return 1;
  let more = 0;
  for (const byte of bytes.subarray(at + 1, at + 1 + (LENGTH_BYTES.get(first) ?? 0))) more = more * 256 + byte;
  return (HEAD_BYTES[first - 0xc0] ?? 1) + more;
}

function idsOf(value: unknown, list: string): readonly Digest[] {
  if (!(value instanceof Uint8Array) || value.length % ID_BYTES !== 0) throw invalid(`${list}: digests`);
  const ids = Array.from({ length: value.length / ID_BYTES }, (_, at) =>
    digestFromBytes(value.subarray(at * ID_BYTES, (at + 1) * ID_BYTES)),
  );
  ids.forEach((id, at) => {
    const before = ids[at - 1];
    if (before !== undefined && before >= id) throw invalid(`${list}: sorted digests, each once`);
  });
  return ids;
}

function missingOf(value: unknown): readonly MissingBlob[] {
  if (!Array.isArray(value)) throw invalid("missing: a list");
  return (value as unknown[]).map((row) => {
    const [id, sizeBytes] = Array.isArray(row) ? (row as unknown[]) : [];
    const [blob, ...others] = idsOf(id, "missing");
    if (blob !== undefined && others.length === 0 && isSize(sizeBytes)) return { blob, sizeBytes };
    throw invalid("missing: a digest and a size each");
  });
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function invalid(expected: string, cause?: unknown): CofferError {
  const message = `inventory: expected ${expected}, found something else`;
  return new CofferError("DOCUMENT_INVALID", message, cause === undefined ? undefined : { cause });
}
