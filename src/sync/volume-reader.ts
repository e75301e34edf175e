// SPDX-License-Identifier: Apache-2.0
/**
 * Reads one volume strictly front to back: the index and its signature, the items that the index lists, the note, the end.
 * What comes is untrusted: nothing is read that was not announced, nothing is announced that was not signed.
 * Layer: sync. Format: docs/format.md, "Volumes". Not here: whether an item is what its name says (its reader), several
 * volumes (volumes.ts).
 */
import { type Digest, sha256 } from "../base/digest.ts";
import type { PublicKey } from "../keys/public-key.ts";
import { checkSshsig } from "../keys/sshsig.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { type BundleIndex, parseBundleIndex } from "./bundle-index.ts";
import { itemsOfVolume } from "./cut.ts";
import type { Input } from "./input.ts";
import { enforce } from "./rule.ts";
import { type Item, itemPath, type Parcel } from "./source.ts";
import { BLOCK_BYTES, END_BYTES, memberBytes, paddingBytes, readTarHeader, type TarMember } from "./tar.ts";
import { indexSignaturePath, parseVolumeNote } from "./volume-note.ts";
import {
  AFTER_RULES,
  END_RULES,
  FIRST_ITEM_RULES,
  HASH_RULES,
  INDEX_SIGNATURE_RULES,
  ITEM_RULES,
  NOTE_MEMBER_RULES,
  NOTE_RULES,
  OPENING_RULES,
  PADDING_RULES,
  SIGNATURE_RULES,
} from "./volume-rules.ts";

/** An index whose signature verified. */
export interface SignedIndex {
  readonly index: Stored<BundleIndex>;
  readonly signature: { readonly publicKey: PublicKey; readonly armored: string };
}

/** What stands in front of every volume, and which one it is. */
export interface Opening extends SignedIndex {
  readonly number: number;
  /** Where the first item's header begins. */
  readonly bodyAt: number;
  /** That header: it was read to tell which volume it is. */
  readonly firstMember: TarMember;
}

async function takeHeader(input: Input, what: string): Promise<TarMember> {
  return readTarHeader(await input.take(BLOCK_BYTES), what);
}

async function takePadding(input: Input, sizeBytes: number, what: string): Promise<void> {
  enforce(PADDING_RULES, await input.take(paddingBytes(sizeBytes)), what);
}

async function takeContent(input: Input, { sizeBytes }: TarMember, what: string): Promise<Uint8Array> {
  const bytes = await input.take(sizeBytes);
  await takePadding(input, sizeBytes, what);
  return bytes;
}

/**
 * @param known - an index that was verified before: its bytes need not be parsed again
 * @throws CofferError BUNDLE_INVALID, SIGNATURE_INVALID, VOLUME_DAMAGED, UNSUPPORTED
 */
export async function readOpening(input: Input, what: string, known?: SignedIndex): Promise<Opening> {
  const indexMember = await takeHeader(input, what);
  enforce(OPENING_RULES, indexMember, what);
  const indexBytes = await takeContent(input, indexMember, what);
  const signatureMember = await takeHeader(input, what);
  enforce(SIGNATURE_RULES, signatureMember, what);
  const armored = await takeContent(input, signatureMember, what);
  const signed = checkIndex(readIndex(indexBytes, known), { path: signatureMember.path, armored }, what);
  const firstMember = await takeHeader(input, what);
  const number = volumeThatBegins(signed.index.value, firstMember.path);
  enforce(FIRST_ITEM_RULES, number, what);
  const bodyAt = memberBytes(indexMember.sizeBytes) + memberBytes(signatureMember.sizeBytes);
  return { ...signed, number: number ?? 0, bodyAt, firstMember };
}

/** @param known - verified before; the same bytes need not be parsed again. @throws as `parseBundleIndex` */
export function readIndex(bytes: Uint8Array, known?: SignedIndex): Stored<BundleIndex> {
  return known !== undefined && sha256(bytes) === known.index.id ? known.index : parseBundleIndex(bytes);
}

/** @throws CofferError SIGNATURE_INVALID - not a signature over the index by the key of the store that it names */
export function checkIndex(
  index: Stored<BundleIndex>,
  { path, armored }: { readonly path: string; readonly armored: Uint8Array },
  what: string,
): SignedIndex {
  const publicKey = index.value.storeKey;
  const isGood = checkSshsig(armored, "coffer-bundle", index.bytes, publicKey);
  const expected = indexSignaturePath(publicKey.keyId);
  enforce(INDEX_SIGNATURE_RULES, { path, expected, isGood }, what, "SIGNATURE_INVALID");
  return { index, signature: { publicKey, armored: new TextDecoder().decode(armored) } };
}

/** The items of each volume are another set, so the first one tells which volume it is. */
function volumeThatBegins({ items, volumes }: BundleIndex, path: string): number | undefined {
  let at = 0;
  for (const [index, count] of volumes.entries()) {
    const item = items[at];
    if (item !== undefined && itemPath(item) === path) return index + 1;
    at += count;
  }
  return undefined;
}

/**
 * The items of a volume whose opening was read, then its end.
 *
 * @param firstMember - the header of the first item, if it was read
 * @throws CofferError BUNDLE_INVALID, VOLUME_DAMAGED
 */
export async function* readItems(
  input: Input,
  { value, id }: Stored<BundleIndex>,
  number: number,
  what: string,
  wants: (item: Item) => boolean,
  firstMember?: TarMember,
): AsyncGenerator<Parcel> {
  let found = firstMember;
  for (const item of itemsOfVolume(value, number)) {
    found ??= await takeHeader(input, what);
    enforce(ITEM_RULES, { expected: { path: itemPath(item), sizeBytes: item.sizeBytes }, found }, what);
    found = undefined;
    if (wants(item)) yield* parcel(input, item);
    else await input.skip(item.sizeBytes);
    await takePadding(input, item.sizeBytes, what);
  }
  await readEnd(input, { index: id, number, of: value.volumes.length }, what);
}

/** One item; what its reader leaves is passed over. */
async function* parcel(input: Input, item: Item): AsyncGenerator<Parcel> {
  let left = item.sizeBytes;
  async function* read(): AsyncGenerator<Uint8Array> {
    for await (const piece of input.pieces(item.sizeBytes)) {
      left -= piece.length;
      yield piece;
    }
  }
  yield { item, read };
  await input.skip(left);
}

async function readEnd(
  input: Input,
  expected: { readonly index: Digest; readonly number: number; readonly of: number },
  what: string,
): Promise<void> {
  const soFar = await input.hashSoFar();
  const member = await takeHeader(input, what);
  enforce(NOTE_MEMBER_RULES, member, what);
  const note = parseVolumeNote(await takeContent(input, member, what)).value;
  enforce(NOTE_RULES, { note, ...expected }, what);
  enforce(END_RULES, await input.take(END_BYTES), what);
  enforce(HASH_RULES, { note, sha256: soFar }, what, "VOLUME_DAMAGED");
}

/** Of a file, and of the last volume in a pipe. @throws CofferError BUNDLE_INVALID */
export async function readNothingAfter(input: Input, what: string): Promise<void> {
  enforce(AFTER_RULES, { atEnd: await input.atEnd() }, what);
}
