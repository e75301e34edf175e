// SPDX-License-Identifier: Apache-2.0
/**
 * The small things that came: objects that are what their names say, and signatures that nobody has checked yet. Nothing of
 * it is in the store. Layer: repo. Holds invariants 2 and 7. What becomes of them: adoption.ts, quarantine.ts.
 */
import { type Digest, sha256, short } from "../../base/digest.ts";
import { CofferError, type ErrorCode, isCofferError } from "../../base/errors.ts";
import { counted } from "../../base/quantity.ts";
import type { KeyId, PublicKey } from "../../keys/public-key.ts";
import { checkSshsig, type SignatureNamespace } from "../../keys/sshsig.ts";
import { parseEvidence } from "../../objects/documents/evidence.ts";
import { parseList } from "../../objects/documents/list.ts";
import { parseManifest } from "../../objects/documents/manifest.ts";
import { parsePolicy } from "../../objects/documents/policy.ts";
import { parseRefusal } from "../../objects/documents/refusal.ts";
import type { Stored } from "../../objects/documents/schema.ts";
import { parseStatement } from "../../objects/documents/statement.ts";
import type { Item, Parcel } from "../../sync/source.ts";
import type { Place, SmallFiles } from "./small-files.ts";

/** What may arrive, with its parser and the namespace in which it is signed. */
const KINDS = {
  "coffer/statement": { parse: parseStatement, namespace: "coffer-statement" },
  "coffer/manifest": { parse: parseManifest, namespace: "coffer-manifest" },
  "coffer/policy": { parse: parsePolicy, namespace: "coffer-policy" },
  "coffer/evidence": { parse: parseEvidence, namespace: "coffer-evidence" },
  "coffer/refusal": { parse: parseRefusal, namespace: "coffer-refusal" },
  "coffer/list": { parse: parseList, namespace: undefined },
} as const satisfies Record<
  string,
  { parse: (bytes: Uint8Array) => Stored<unknown>; namespace: SignatureNamespace | undefined }
>;
type Kind = keyof typeof KINDS;
type ValueOf<K extends Kind> = ReturnType<(typeof KINDS)[K]["parse"]>;

export interface GoodSignature {
  readonly publicKey: PublicKey;
  readonly armored: string;
}

export interface Refused {
  /** A name, an object by the first characters of its id, or how many more signatures. */
  readonly what: string;
  readonly code: ErrorCode;
  readonly text: string;
}

interface Arrived {
  readonly place: Place;
  /** "other": no document, as chunk lists are none. */
  readonly kind: Kind | "other";
}

/** Every document ends so: no member comes after these two. */
const ENDING = /"type":"(coffer\/[a-z]{1,20})","version":[0-9]{1,9}\}\n$/;

/** Damaged signatures that are told one by one. */
const MOST_TOLD = 100;

export class Arrivals {
  /** Items that came, whatever became of them. */
  count = 0;
  readonly #small: SmallFiles;
  readonly #objects = new Map<Digest, Arrived>();
  readonly #signatures = new Map<Digest, { readonly keyId: KeyId; readonly place: Place }[]>();
  readonly #keys = new Map<KeyId, PublicKey>();
  readonly #refused: Refused[] = [];
  readonly #damaged = new Set<string>();

  constructor(small: SmallFiles) {
    this.#small = small;
  }

  /** What was not taken, and why; of many damaged signatures, how many more there are. */
  get refused(): readonly Refused[] {
    const more = this.#damaged.size - MOST_TOLD;
    if (more <= 0) return this.#refused;
    const text = "damaged like those before: have what brought them made again, and import that";
    return [...this.#refused, { what: counted(more, "more signature"), code: "VOLUME_DAMAGED", text }];
  }

  refuse(refused: Refused): void {
    this.#refused.push(refused);
  }

  /** Keys whose signatures are looked at; all others count for nothing, and nothing of them is stored. */
  know(keys: Iterable<PublicKey>): void {
    for (const key of keys) this.#keys.set(key.keyId, key);
  }

  /** @throws CofferError OBJECT_MISMATCH - an object is not what its name says; NO_SPACE, IO_ERROR; as `parcel.read` */
  async take({ item, read }: Parcel & { readonly item: Exclude<Item, { kind: "blob" }> }): Promise<void> {
    const bytes = await allOf(read(), item.sizeBytes);
    this.count += 1;
    if (item.kind === "signature") {
      const place = await this.#small.put(bytes);
      const before = this.#signatures.get(item.object);
      if (before === undefined) this.#signatures.set(item.object, [{ keyId: item.keyId, place }]);
      else before.push({ keyId: item.keyId, place });
      return;
    }
    if (sha256(bytes) !== item.id) {
      throw new CofferError(
        "OBJECT_MISMATCH",
        `object ${short(item.id)}: the bytes that came are not those of its name`,
      );
    }
    const kind = kindOf(bytes);
    if (kind === "unknown") {
      const text = `object ${short(item.id)} is of a kind that this version does not know`;
      this.refuse({ what: short(item.id), code: "UNSUPPORTED", text });
      return;
    }
    this.#objects.set(item.id, { place: await this.#small.put(bytes), kind });
  }

  has(id: Digest): boolean {
    return this.#objects.has(id);
  }

  /** Ids of all that came of a kind, sorted. */
  idsOf(kind: Kind): Digest[] {
    return [...this.#objects].flatMap(([id, arrived]) => (arrived.kind === kind ? [id] : [])).sort();
  }

  /** Bytes of an object of any kind; undefined if it did not come. */
  async bytes(id: Digest): Promise<Uint8Array | undefined> {
    const arrived = this.#objects.get(id);
    return arrived === undefined ? undefined : this.#small.read(arrived.place);
  }

  /** The document, undefined if it did not come, or is none of that kind; one that breaks its schema is told once. */
  async document<K extends Kind>(kind: K, id: Digest): Promise<ValueOf<K> | undefined> {
    const arrived = this.#objects.get(id);
    if (arrived?.kind !== kind) return undefined;
    const bytes = await this.#small.read(arrived.place);
    try {
      // The table pairs each kind with its own parser.
      return KINDS[kind].parse(bytes) as ValueOf<K>;
    } catch (error) {
      if (!isCofferError(error)) throw error;
      this.refuse({ what: short(id), code: error.code, text: `object ${short(id)}: ${error.message}` });
      this.#objects.delete(id);
      return undefined;
    }
  }

  /** The signatures over an object that came with it and are good, by keys that are known; one that is not good is told once. */
  async signatures(kind: Kind, object: { readonly id: Digest; readonly bytes: Uint8Array }): Promise<GoodSignature[]> {
    const { namespace } = KINDS[kind];
    const good: GoodSignature[] = [];
    for (const { keyId, place } of this.#signatures.get(object.id) ?? []) {
      const publicKey = this.#keys.get(keyId);
      if (publicKey === undefined || namespace === undefined) continue;
      const armored = await this.#small.read(place);
      if (checkSshsig(armored, namespace, object.bytes, publicKey)) {
        good.push({ publicKey, armored: new TextDecoder().decode(armored) });
      } else this.#tellDamaged(object.id, keyId);
    }
    return good;
  }

  #tellDamaged(object: Digest, keyId: KeyId): void {
    const told = damagedSignature(object, keyId);
    if (this.#damaged.has(told.what)) return;
    this.#damaged.add(told.what);
    if (this.#damaged.size <= MOST_TOLD) this.refuse(told);
  }
}

/** Nobody signs like that: it was changed on its way, or where it lay. */
function damagedSignature(object: Digest, keyId: KeyId): Refused {
  const what = `signature over ${short(object)} by key ${short(keyId)}`;
  const text = "does not verify: what brought it is damaged; have it made again, and import that";
  return { what, code: "VOLUME_DAMAGED", text };
}

async function allOf(pieces: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(sizeBytes);
  let at = 0;
  for await (const piece of pieces) {
    if (at + piece.length > sizeBytes) throw new CofferError("BUNDLE_INVALID", "an item is longer than the index says");
    bytes.set(piece, at);
    at += piece.length;
  }
  if (at < sizeBytes) throw new CofferError("BUNDLE_INVALID", "an item is shorter than the index says");
  return bytes;
}

/** By its end alone: whether it really is one is for its parser to say. */
export function kindOf(bytes: Uint8Array): Kind | "other" | "unknown" {
  const type = ENDING.exec(Buffer.from(bytes.subarray(-80)).toString("latin1"))?.[1];
  if (type === undefined) return bytes.length % 32 === 0 && bytes.length > 0 ? "other" : "unknown";
  return isKind(type) ? type : "unknown";
}

function isKind(type: string): type is Kind {
  return Object.hasOwn(KINDS, type);
}
