// SPDX-License-Identifier: Apache-2.0
/**
 * The bytes of one volume, front to back, made while they are sent: nothing but the index is held in memory.
 * Layer: sync. Format: docs/format.md, "Volumes". Holds invariant 6: what is sent was checked in the buffer that is sent.
 */
import { createHash, type Hash } from "node:crypto";
import { digestFromBytes, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type BlobClaim, openBlob } from "../objects/blob-store.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { signaturePath } from "../objects/layout.ts";
import { readObject } from "../objects/object-store.ts";
import { readKept } from "../objects/trash.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { itemsOfVolume, overheadBytes } from "./cut.ts";
import type { Plan, Sender } from "./plan.ts";
import { type Item, itemPath } from "./source.ts";
import { END_BYTES, encodeTarHeader, memberBytes, paddingBytes } from "./tar.ts";
import { INDEX_PATH, indexSignaturePath, makeVolumeNote, NOTE_PATH } from "./volume-note.ts";

/** A bundle that is signed and ready to be cut. */
export interface Bundle {
  readonly index: Stored<BundleIndex>;
  /** Armored, by the store key. */
  readonly signature: string;
  readonly claims: Plan["claims"];
}

/** Exactly how many bytes volume `number` has. */
export function volumeBytesOf({ value, bytes }: Stored<BundleIndex>, number: number): number {
  const items = itemsOfVolume(value, number).reduce((sum, item) => sum + memberBytes(item.sizeBytes), 0);
  return overheadBytes(value, bytes.length) + items;
}

/**
 * @yields bytes that are valid until the next step only
 * @throws CofferError CORRUPT - what is to be sent is missing here, or is not what its name says; nothing of it was yielded
 */
export async function* writeVolume(sender: Sender, bundle: Bundle, number: number): AsyncGenerator<Uint8Array> {
  const { index, signature } = bundle;
  const hash = createHash("sha256");
  const opening = [
    member(INDEX_PATH, index.bytes),
    member(indexSignaturePath(index.value.storeKey.keyId), Buffer.from(signature)),
  ];
  for (const bytes of opening) yield* hashed(hash, bytes);
  for (const item of itemsOfVolume(index.value, number)) {
    yield* hashed(hash, [encodeTarHeader({ path: itemPath(item), sizeBytes: item.sizeBytes })]);
    for await (const piece of itemBytes(sender, bundle, item)) {
      const hashed = hashSoon(hash, piece);
      yield piece;
      await hashed;
    }
    yield* hashed(hash, [new Uint8Array(paddingBytes(item.sizeBytes))]);
  }
  const sha256 = digestFromBytes(hash.digest());
  const note = makeVolumeNote({ index: index.id, number, of: index.value.volumes.length, sha256 });
  yield* member(NOTE_PATH, note.bytes);
  yield new Uint8Array(END_BYTES);
}

function member(path: string, bytes: Uint8Array): readonly Uint8Array[] {
  const header = encodeTarHeader({ path, sizeBytes: bytes.length });
  return [header, bytes, new Uint8Array(paddingBytes(bytes.length))];
}

function* hashed(hash: Hash, pieces: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    hash.update(piece);
    yield piece;
  }
}

const WORTH_WAITING_BYTES = 1024 * 1024;

/** What is large is hashed once whoever takes it has begun to write it, so that both go on at the same time. */
async function hashSoon(hash: Hash, piece: Uint8Array): Promise<void> {
  if (piece.length >= WORTH_WAITING_BYTES) await new Promise((turn) => setImmediate(turn));
  hash.update(piece);
}

async function* itemBytes(sender: Sender, { index, claims }: Bundle, item: Item): AsyncGenerator<Uint8Array> {
  if (item.kind === "blob") {
    const from = (item.part ?? 0) * index.value.segmentBytes;
    yield* blobBytes(sender, claims.get(item.blob), item, from);
    return;
  }
  yield await smallItemBytes(sender, item);
}

/**
 * An object or a signature that a bundle names, whole.
 * @throws CofferError CORRUPT - it is missing here, or of another size
 */
export async function smallItemBytes(
  sender: Sender,
  item: Item & { kind: "object" | "signature" },
): Promise<Uint8Array> {
  const bytes = await smallBytes(sender, item);
  if (bytes?.length === item.sizeBytes) return bytes;
  const found = bytes === undefined ? "none" : `${bytes.length}`;
  throw new CofferError("CORRUPT", `${itemPath(item)}: expected ${item.sizeBytes} bytes, found ${found}`);
}

function smallBytes(sender: Sender, item: Item & { kind: "object" | "signature" }): Promise<Uint8Array | undefined> {
  if (item.kind === "object") return sender.objects.read(item.id);
  return readKept(sender.files, signaturePath(item.object, item.keyId), LIMITS.signatureBytes);
}

/** Each chunk is hashed before any of it is sent, so a damaged blob is noticed where it is damaged. */
async function* blobBytes(
  sender: Sender,
  claim: BlobClaim | undefined,
  { blob, sizeBytes }: Item & { kind: "blob" },
  from: number,
): AsyncGenerator<Uint8Array> {
  if (claim === undefined) throw new CofferError("CORRUPT", `blob ${short(blob)}: no manifest of the bundle names it`);
  const chunks = claim.chunks && (await readObject(sender.objects, claim.chunks, "chunk list", (bytes) => bytes));
  const reader = await openBlob(sender.files, claim, chunks);
  if (reader === undefined) throw new CofferError("CORRUPT", `blob ${short(blob)} is missing`);
  try {
    yield* reader.stream(from, from + sizeBytes);
  } finally {
    await reader.close();
  }
}
