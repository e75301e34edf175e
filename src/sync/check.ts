// SPDX-License-Identifier: Apache-2.0
/**
 * Checks volumes without a store: every hash, and every signature by the key that it names. It says that nothing was lost
 * or changed since the sender signed the index; whether anybody trusts that sender is for `evaluate`, in a store.
 * Layer: sync. Holds invariants 2 and 6. Reads every byte once.
 */
import { createHash, type Hash } from "node:crypto";
import { type Digest, digestFromBytes, sha256, short } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import type { KeyId } from "../keys/public-key.ts";
import { checkSshsig, parseSshsig, type SignatureNamespace } from "../keys/sshsig.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { DAMAGE } from "./damage.ts";
import { typeOf } from "./document-type.ts";
import { fileInput } from "./input.ts";
import { RangeCheck } from "./range-check.ts";
import { type Item, itemPath, type Parcel, type Source } from "./source.ts";
import { readItems, readNothingAfter, readOpening, type SignedIndex } from "./volume-reader.ts";
import { type Fault, openPlace, type Place, type Volumes } from "./volumes.ts";

export interface Checked {
  /** Volumes of which no good copy is here, or folders' items; in words. */
  readonly missing: readonly string[];
  /** Numbers of the volumes to bring again: missing or damaged. */
  readonly wanted: readonly number[];
  /** Files that are damaged, or of another bundle, with the reason; copies of good ones too. */
  readonly faults: readonly Fault[];
  readonly objects: number;
  readonly signatures: number;
  /** Blobs whose every byte was here and hashed to their name. */
  readonly blobs: number;
  /** Blobs of which some part is missing, or was left out for the receiver; of the latter each part that is here was good. */
  readonly blobsInPart: number;
  readonly bytes: number;
  /** By how many objects each key's signature is good. */
  readonly signers: ReadonlyMap<KeyId, number>;
}

/** @param onBytes - told of what was read, for progress */
export async function checkVolumes(volumes: Volumes, onBytes?: (bytes: number) => void): Promise<Checked> {
  const checker = new Checker(volumes.index.value, volumes.folders.length > 0, onBytes);
  const faults: Fault[] = [...volumes.faults];
  const wanted: number[] = [];
  for (const number of volumes.index.value.volumes.map((_, at) => at + 1)) {
    const copies = volumes.held.get(number) ?? [];
    let isGood = false;
    for (const place of copies) {
      const fault = await checkCopy(volumes, number, place, checker, isGood);
      if (fault === undefined) isGood = true;
      else faults.push(fault);
    }
    if (!isGood && volumes.folders.length === 0) wanted.push(number);
  }
  if (volumes.folders.length > 0) faults.push(...(await checkFolders(volumes, checker)));
  return { ...checker.result(), missing: volumes.missing, wanted, faults };
}

/** What comes through a pipe: the first fault ends it. @throws CofferError VOLUME_DAMAGED, SIGNATURE_INVALID; as the source */
export async function checkPipe(source: Source, onBytes?: (bytes: number) => void): Promise<Checked> {
  const checker = new Checker(source.index.value, false, onBytes);
  for await (const parcel of source.parcels(() => true)) await checker.check(parcel);
  return { ...checker.result(), missing: [], wanted: [], faults: [] };
}

/** @param again - of a volume that was found good: only whether this copy is */
async function checkCopy(
  signed: SignedIndex,
  number: number,
  place: Place,
  checker: Checker,
  again: boolean,
): Promise<Fault | undefined> {
  const before = checker.mark();
  try {
    await readCopy(signed, number, place, checker, again);
    return undefined;
  } catch (error) {
    if (!isCofferError(error, ...DAMAGE)) throw error;
    checker.backTo(before);
    return { what: place.what, error };
  }
}

async function readCopy(
  signed: SignedIndex,
  number: number,
  place: Place,
  checker: Checker,
  again: boolean,
): Promise<void> {
  const file = await openPlace(place);
  try {
    const input = fileInput(file, place.what, 0, (await file.stat()).sizeBytes);
    const { firstMember } = await readOpening(input, place.what, signed);
    for await (const parcel of readItems(input, signed.index, number, place.what, () => !again, firstMember)) {
      await checker.check(parcel);
    }
    await readNothingAfter(input, place.what);
  } finally {
    await file.close();
  }
}

/** Of what lies side by side, whatever no volume file brings; each damaged item is a fault of its own. */
async function checkFolders(volumes: Volumes, checker: Checker): Promise<readonly Fault[]> {
  const faults: Fault[] = [];
  for await (const parcel of volumes.parcels((item) => !checker.has(item))) {
    try {
      await checker.check(parcel);
    } catch (error) {
      if (!isCofferError(error, ...DAMAGE)) throw error;
      faults.push({ what: itemPath(parcel.item), error });
    }
  }
  return faults;
}

/** What the checker knew at some point, to go back to where a copy of a volume turns out damaged. */
interface Mark {
  readonly counts: Counts;
  readonly signers: ReadonlyMap<KeyId, number>;
  readonly whole: Whole | undefined;
  readonly seen: number;
}

interface Counts {
  readonly objects: number;
  readonly signatures: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** A blob whose parts came so far, in order. */
interface Whole {
  readonly blob: Digest;
  readonly next: number;
  readonly hash: Hash;
}

class Checker {
  readonly #lastParts = new Map<Digest, number>();
  readonly #ranges: RangeCheck | undefined;
  readonly #blobsListed: number;
  readonly #onBytes: ((bytes: number) => void) | undefined;
  #counts: Counts = { objects: 0, signatures: 0, blobs: 0, bytes: 0 };
  #signers = new Map<KeyId, number>();
  /** Paths, where anybody will ask. */
  #seen: Set<string> | undefined;
  #object: { readonly id: Digest; readonly bytes: Uint8Array } | undefined;
  #whole: Whole | undefined;

  /** @param remembers - `has` will be asked */
  constructor(index: BundleIndex, remembers: boolean, onBytes?: (bytes: number) => void) {
    this.#seen = remembers ? new Set() : undefined;
    const blobs = new Set<Digest>();
    for (const item of index.items) {
      if (item.kind !== "blob") continue;
      blobs.add(item.blob);
      if (item.part !== undefined) this.#lastParts.set(item.blob, item.part);
    }
    this.#blobsListed = blobs.size;
    this.#ranges = index.blobs === "missing" ? new RangeCheck(index.segmentBytes, this.#lastParts) : undefined;
    this.#onBytes = onBytes;
  }

  has(item: Item): boolean {
    return this.#seen?.has(itemPath(item)) === true;
  }

  mark(): Mark {
    return {
      counts: this.#counts,
      signers: new Map(this.#signers),
      whole: this.#whole && { ...this.#whole, hash: this.#whole.hash.copy() },
      seen: this.#seen?.size ?? 0,
    };
  }

  backTo({ counts, signers, whole, seen }: Mark): void {
    this.#counts = counts;
    this.#signers = new Map(signers);
    this.#whole = whole;
    this.#seen &&= new Set([...this.#seen].slice(0, seen));
  }

  result(): Omit<Checked, "missing" | "wanted" | "faults"> {
    return { ...this.#counts, blobsInPart: this.#blobsListed - this.#counts.blobs, signers: this.#signers };
  }

  /** @throws CofferError VOLUME_DAMAGED, SIGNATURE_INVALID */
  async check(parcel: Parcel): Promise<void> {
    const { item } = parcel;
    if (item.kind === "object") await this.#checkObject(item, parcel);
    else if (item.kind === "signature") await this.#checkSignature(item, parcel);
    else await this.#checkBlob(item, parcel);
    this.#counts = { ...this.#counts, bytes: this.#counts.bytes + item.sizeBytes };
    this.#seen?.add(itemPath(item));
    this.#onBytes?.(item.kind === "blob" ? 0 : item.sizeBytes);
  }

  async #checkObject(item: Item & { kind: "object" }, parcel: Parcel): Promise<void> {
    const bytes = await readWhole(parcel);
    if (sha256(bytes) !== item.id) throw otherBytes(item);
    this.#object = { id: item.id, bytes };
    this.#ranges?.learn(item.id, bytes);
    this.#counts = { ...this.#counts, objects: this.#counts.objects + 1 };
  }

  /** It comes directly after its object. */
  async #checkSignature(item: Item & { kind: "signature" }, parcel: Parcel): Promise<void> {
    const armored = await readWhole(parcel);
    const object = this.#object;
    if (object?.id !== item.object) throw invalid(item, "its object, which is not here or is damaged");
    const namespace = namespaceOf(object.bytes);
    if (namespace === undefined) throw invalid(item, "an object of a kind that is signed");
    const { publicKey } = parseSshsig(armored);
    if (publicKey.keyId !== item.keyId) throw invalid(item, `a signature by that key, found one by ${publicKey.keyId}`);
    if (!checkSshsig(armored, namespace, object.bytes, publicKey)) throw invalid(item, "a signature that verifies");
    this.#counts = { ...this.#counts, signatures: this.#counts.signatures + 1 };
    this.#signers.set(item.keyId, (this.#signers.get(item.keyId) ?? 0) + 1);
  }

  async #checkBlob(item: Item & { kind: "blob" }, parcel: Parcel): Promise<void> {
    const part = item.part ?? 0;
    const before = this.#whole?.blob === item.blob && this.#whole.next === part ? this.#whole.hash : undefined;
    // Of a blob whose earlier parts are missing nothing can be told but what the volume's own hash says.
    const hash = part === 0 ? createHash("sha256") : before;
    const range = this.#ranges?.begin(item);
    for await (const piece of parcel.read()) {
      hash?.update(piece);
      range?.update(piece);
      this.#onBytes?.(piece.length);
    }
    if (range?.isGood() === false) throw otherBytes(item);
    this.#whole = hash && { blob: item.blob, next: part + 1, hash };
    if (hash === undefined || part !== (this.#lastParts.get(item.blob) ?? 0)) return;
    this.#whole = undefined;
    if (digestFromBytes(hash.digest()) !== item.blob) {
      if (this.#ranges !== undefined && item.part !== undefined) return; // its end may have been left out
      throw otherBytes(item);
    }
    this.#counts = { ...this.#counts, blobs: this.#counts.blobs + 1 };
  }
}

/** Objects and signatures: the index's rules bound their sizes. */
export async function readWhole({ item, read }: Parcel): Promise<Uint8Array> {
  const bytes = new Uint8Array(item.sizeBytes);
  let at = 0;
  for await (const piece of read()) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function otherBytes(item: Item): CofferError {
  return new CofferError("VOLUME_DAMAGED", `${itemPath(item)}: the bytes are not those of its name`);
}

function invalid(item: Item & { kind: "signature" }, expected: string): CofferError {
  const what = `signature over ${short(item.object)} by key ${short(item.keyId)}`;
  return new CofferError("SIGNATURE_INVALID", `${what}: expected ${expected}`);
}

const NAMESPACES: Readonly<Record<string, SignatureNamespace>> = {
  "coffer/manifest": "coffer-manifest",
  "coffer/statement": "coffer-statement",
  "coffer/policy": "coffer-policy",
  "coffer/evidence": "coffer-evidence",
  "coffer/refusal": "coffer-refusal",
};

function namespaceOf(bytes: Uint8Array): SignatureNamespace | undefined {
  const type = typeOf(bytes);
  return type === undefined ? undefined : NAMESPACES[type];
}
