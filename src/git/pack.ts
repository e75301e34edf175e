// SPDX-License-Identifier: Apache-2.0
/**
 * Packs and their indexes: many objects in one file that appears whole or not at all. Written without deltas, so that
 * the same objects are the same bytes. Layer: git. Format: gitformat-pack(5), pack version 2, index version 2.
 */
import { createHash } from "node:crypto";
import { constants, crc32, deflateSync } from "node:zlib";
import { CofferError } from "../base/errors.ts";
import type { GitId, GitObject } from "./git-object.ts";

export interface Pack {
  /** `pack-<SHA-1>`: the file names are this with `.pack` and `.idx`. */
  readonly name: string;
  readonly pack: Uint8Array;
  readonly index: Uint8Array;
}

const KIND_BITS = { commit: 1, tree: 2, blob: 3 } as const;
/** Level is part of the bytes; one window for all makes them the same everywhere that zlib is the same. */
const DEFLATE = { level: constants.Z_DEFAULT_COMPRESSION };

/**
 * A pack of these objects; under 2 GiB, which metadata never reaches (the caller bounds their number).
 * @param objects - each once, in any order
 */
export function makePack(objects: readonly GitObject[]): Pack {
  const sorted = [...objects].sort((a, b) => (a.id < b.id ? -1 : 1));
  const header = Buffer.alloc(12);
  header.write("PACK");
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(sorted.length, 8);
  const parts: Buffer[] = [header];
  const rows: Row[] = [];
  let offset = header.length;
  for (const { id, kind, content } of sorted) {
    const entry = Buffer.concat([entryHeader(KIND_BITS[kind], content.length), deflateSync(content, DEFLATE)]);
    rows.push({ id, offset, crc: crc32(entry) });
    parts.push(entry);
    offset += entry.length;
  }
  const body = Buffer.concat(parts);
  const trailer = sha1(body);
  return {
    name: `pack-${trailer.toString("hex")}`,
    pack: Buffer.concat([body, trailer]),
    index: makeIndex(rows, trailer),
  };
}

interface Row {
  readonly id: GitId;
  readonly offset: number;
  readonly crc: number;
}

/** Size in 4 bits and then 7 at a time, small end first; the kind is in the first byte. */
function entryHeader(kind: number, size: number): Buffer {
  const bytes: number[] = [];
  let rest = Math.floor(size / 16);
  let byte = (kind << 4) | (size % 16);
  while (rest > 0) {
    bytes.push(byte | 0x80);
    byte = rest % 128;
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, byte]);
}

function makeIndex(rows: readonly Row[], packTrailer: Buffer): Buffer {
  const header = Buffer.from([0xff, 0x74, 0x4f, 0x63, 0, 0, 0, 2]);
  const fan = Buffer.alloc(256 * 4);
  const counts = new Array<number>(256).fill(0);
  for (const { id } of rows) {
    const first = Number.parseInt(id.slice(0, 2), 16);
    counts[first] = (counts[first] ?? 0) + 1;
  }
  let sum = 0;
  counts.forEach((count, at) => {
    sum += count;
    fan.writeUInt32BE(sum, at * 4);
  });
  const ids = Buffer.concat(rows.map(({ id }) => Buffer.from(id, "hex")));
  const numbers = Buffer.alloc(rows.length * 8);
  rows.forEach(({ crc, offset }, at) => {
    numbers.writeUInt32BE(crc, at * 4);
    numbers.writeUInt32BE(offset, (rows.length + at) * 4);
  });
  const body = Buffer.concat([header, fan, ids, numbers, packTrailer]);
  return Buffer.concat([body, sha1(body)]);
}

/**
 * Ids of the objects in a pack, from its index.
 * @throws CofferError CORRUPT - not an index of version 2, or its own checksum is wrong
 */
export function idsInIndex(index: Uint8Array): readonly GitId[] {
  const bytes = Buffer.from(index.buffer, index.byteOffset, index.byteLength);
  const refuse = (): never => {
    throw new CofferError("CORRUPT", "expected a pack index of version 2 with its checksum");
  };
  if (bytes.length < 8 + 1024 + 40 || bytes.readUInt32BE(0) !== 0xff744f63 || bytes.readUInt32BE(4) !== 2) refuse();
  if (!sha1(bytes.subarray(0, -20)).equals(bytes.subarray(-20))) refuse();
  const count = bytes.readUInt32BE(8 + 255 * 4);
  if (bytes.length < 8 + 1024 + count * 28 + 40) refuse();
  return Array.from({ length: count }, (_, at) => bytes.toString("hex", 1032 + at * 20, 1052 + at * 20) as GitId);
}

function sha1(bytes: Uint8Array): Buffer {
  return createHash("sha1").update(bytes).digest();
}
