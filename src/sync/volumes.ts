// SPDX-License-Identifier: Apache-2.0
/**
 * A bundle as it lies on media: volume files in any order, from several folders or sticks, or the folder into which they
 * were untarred. Layer: sync. Format: docs/format.md, "Volumes".
 * Each bundle at the places is one by itself. A volume that is damaged is set apart with the reason, and counts as missing.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { OpenFile } from "../objects/files.ts";
import { itemsOfVolume } from "./cut.ts";
import { DAMAGE, untilDamage } from "./damage.ts";
import { fileInput } from "./input.ts";
import { ofBundle } from "./malformed.ts";
import { fromMedium, mediumFile } from "./medium.ts";
import { type Bounds, type Fault, noVolumes, overTogether, type Place, UNTARRED, volumesAt } from "./places.ts";
import { type Unsealed, unsealFile } from "./sealed.ts";
import type { Item, Parcel, Source } from "./source.ts";
import { folderParcel, lostItems } from "./untarred.ts";
import { INDEX_PATH, indexSignaturePath, VOLUME_FILE } from "./volume-note.ts";
import { checkIndex, readIndex, readItems, readNothingAfter, readOpening, type SignedIndex } from "./volume-reader.ts";

export type { Fault, Place } from "./places.ts";

/** Where the items of one volume are to be had. */
interface Held {
  readonly place: Place;
  readonly number: number;
  readonly bodyAt: number;
}

export interface Volumes extends Source {
  /** How people call the first of them. */
  readonly what: string;
  readonly signature: SignedIndex["signature"];
  /** Volumes whose files are at hand, by number; several where there are copies. */
  readonly held: ReadonlyMap<number, readonly Place[]>;
  /** Folders into which volumes were untarred. */
  readonly folders: readonly Place[];
  readonly faults: readonly Fault[];
  /** Some volume is encrypted. */
  readonly sealed: boolean;
}

/** What keeps a volume shut that is encrypted. */
const LOCKED = ["IDENTITY_NEEDED", "IDENTITY_WRONG", "IDENTITY_INVALID", "KEY_MODE"] as const;

/** What lies at some places. */
export interface OnMedia {
  /** Each with its own volumes, in the order in which they were met. */
  readonly bundles: readonly Volumes[];
  /** Of bundles that nothing can be read of, one volume each. */
  readonly unread: readonly Fault[];
  /** Files by other names than volumes have that cannot be read, or opened, or hold no volume: worth a note, and no fault of any bundle. */
  readonly passedOver: readonly Fault[];
}

/**
 * Looks at every place; reads of each volume no more than tells which one it is, and of which bundle.
 * @throws CofferError FILE_NOT_FOUND - a place is not there, or a folder holds no volume; IO_ERROR - a folder cannot be read;
 *   LIMIT_EXCEEDED - there are too many
 */
export async function openBundles(places: readonly Place[], bounds: Bounds = LIMITS): Promise<OnMedia> {
  const shelves = new Shelves(bounds);
  const { volumes, unreadable } = await volumesAt(places, bounds);
  for (const place of volumes) await shelves.take(place);
  const { bundles, unread, passedOver } = await shelves.close();
  const all = [...unreadable, ...passedOver];
  const isNothing = bundles.length + unread.length === 0 && all.length > 0;
  if (isNothing) throw noVolumes(places.map(({ what }) => what).join(", "), all);
  return { bundles, unread, passedOver: all };
}

/**
 * The one bundle at the places.
 * @throws CofferError USAGE - there are several; BUNDLE_INVALID, SIGNATURE_INVALID … - there is no volume that can be
 *   used (of the first fault); IDENTITY_NEEDED, IDENTITY_WRONG - a volume is encrypted, and not for who reads it; as `openBundles`
 */
export async function openVolumes(places: readonly Place[]): Promise<Volumes> {
  const { bundles, unread } = await openBundles(places);
  const [only, ...others] = bundles;
  const locked = unread.find(({ error }) => isCofferError(error, ...LOCKED));
  if (only === undefined) throw unread[0]?.error ?? new CofferError("USAGE", "expected volumes, found none");
  if (locked !== undefined) throw locked.error;
  if (others.length === 0) return { ...only, faults: [...only.faults, ...unread] };
  const firsts = bundles.map(({ what }) => what).join(", ");
  const text = `expected volumes of one bundle, found ${bundles.length} bundles: name the volumes of one; they begin with ${firsts}`;
  throw new CofferError("USAGE", text);
}

/** A place that could not be read. */
interface Stray {
  readonly place: Place;
  readonly error: CofferError;
}

const fileNameOf = ({ path }: Place): string => path.slice(path.lastIndexOf("/") + 1);

/** The bundle that a volume's file name claims; undefined if it is another's name. Decides only where damage is told. */
function claimed(place: Place): string | undefined {
  const name = fileNameOf(place);
  return VOLUME_FILE.test(name) ? name.slice(0, 12).toLowerCase() : undefined;
}

/** The number that it claims; NaN if it is another's name. */
function claimedNumber(place: Place): number {
  const name = fileNameOf(place);
  return VOLUME_FILE.test(name) ? Number(name.slice(13, 17)) : Number.NaN;
}

/** One shelf for each bundle. */
class Shelves {
  readonly #shelves = new Map<Digest, Shelf>();
  readonly #strays: Stray[] = [];
  readonly #passedOver: Fault[] = [];
  readonly #bounds: Bounds;
  #indexBytes = 0;
  /** Volumes of one bundle mostly come one after the other. */
  #last: SignedIndex | undefined;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  async take(place: Place): Promise<void> {
    try {
      const stat = await fromMedium(place.what, () => place.files.stat(place.path));
      if (stat?.kind === "folder") await this.#takeFolder(place);
      else await this.#takeFile(place);
    } catch (error) {
      if (!isCofferError(error, ...DAMAGE, ...LOCKED)) throw error;
      if (place.isGuess) this.#passedOver.push({ what: place.what, error });
      else this.#strays.push({ place, error });
    }
    this.#needFew(place);
  }

  /** @throws CofferError LIMIT_EXCEEDED - more than memory and patience are for; no place is left out in silence */
  #needFew({ what }: Place): void {
    const { mediaBundles, mediaIndexBytes } = this.#bounds;
    if (this.#shelves.size > mediaBundles) throw overTogether(what, mediaBundles, "bundles together", "more");
    if (this.#indexBytes > mediaIndexBytes)
      throw overTogether(what, mediaIndexBytes, "bytes of indexes together", this.#indexBytes);
  }

  async #takeFile(place: Place): Promise<void> {
    const { file, sealed } = await openEither(place);
    try {
      const { number, bodyAt, index, signature } = await readOpening(
        fileInput(file, place.what),
        place.what,
        this.#last,
      );
      this.#shelfOf({ index, signature }, place).takeFile({ place, number, bodyAt }, sealed);
    } finally {
      await file.close();
    }
  }

  /** @param place - the folder `bundle` of the one where volumes were untarred */
  async #takeFolder(place: Place): Promise<void> {
    const { files, path, what } = place;
    if (claimed(place) !== undefined)
      throw new CofferError("VOLUME_DAMAGED", `${what}: expected a volume, found a folder`);
    const root = path.slice(0, -UNTARRED.length);
    const read = async (at: string, limitBytes: number): Promise<Uint8Array> => {
      try {
        return (await fromMedium(what, () => files.read(`${root}${at}`, limitBytes))) ?? new Uint8Array();
      } catch (error) {
        throw ofBundle(error);
      }
    };
    const bytes = await read(INDEX_PATH, LIMITS.bundleIndexBytes);
    const index = readIndex(bytes, this.#last);
    const signaturePath = indexSignaturePath(index.value.storeKey.keyId);
    const armored = await read(signaturePath, LIMITS.signatureBytes);
    const signed = checkIndex(index, { path: signaturePath, armored }, what);
    this.#shelfOf(signed, place).takeFolder({ files, path: root, what });
  }

  #shelfOf(signed: SignedIndex, { what }: Place): Shelf {
    const { id } = signed.index;
    const known = this.#shelves.get(id);
    const shelf = known ?? new Shelf(signed, what);
    if (known === undefined) this.#indexBytes += signed.index.bytes.length;
    this.#shelves.set(id, shelf);
    this.#last = shelf.signed;
    return shelf;
  }

  /** Damage is told of the bundle that a file's name claims, or of the only one there is if its name claims none. */
  #ownerOf({ place }: Stray): Shelf | undefined {
    const shelves = [...this.#shelves.values()];
    const prefix = claimed(place);
    if (prefix === undefined) return shelves.length === 1 ? shelves[0] : undefined;
    return shelves.find(({ signed }) => short(signed.index.id) === prefix);
  }

  async close(): Promise<OnMedia> {
    const unread = new Map<string | Place, Fault>();
    for (const stray of this.#strays) {
      const { place, error } = stray;
      const fault = { what: place.what, error };
      const owner = this.#ownerOf(stray);
      if (owner?.holdsCopyOf(stray) === true) this.#passedOver.push(fault);
      else if (owner !== undefined) owner.faults.push(fault);
      else if (!unread.has(claimed(place) ?? place)) unread.set(claimed(place) ?? place, fault);
    }
    const [first] = unread.values();
    const [together, { mediaBundles }] = [this.#shelves.size + unread.size, this.#bounds];
    if (first !== undefined && together > mediaBundles)
      throw overTogether(first.what, mediaBundles, "bundles together, with those that cannot be read", together);
    const bundles: Volumes[] = [];
    for (const shelf of this.#shelves.values()) bundles.push(await shelf.close());
    return { bundles, unread: [...unread.values()], passedOver: this.#passedOver };
  }
}

/** The volumes of one bundle. */
class Shelf {
  readonly signed: SignedIndex;
  readonly faults: Fault[] = [];
  readonly #what: string;
  readonly #held = new Map<number, Held[]>();
  readonly #folders: Place[] = [];
  /** Copies that were looked through, and are not. */
  readonly #damaged = new Map<number, Held[]>();
  /** Volumes whose first copy was looked through, and is good. */
  readonly #whole = new Set<number>();
  #sealed = false;

  constructor(signed: SignedIndex, what: string) {
    this.signed = signed;
    this.#what = what;
  }

  takeFile(held: Held, sealed: boolean): void {
    this.#sealed ||= sealed;
    const copies = this.#held.get(held.number);
    if (copies === undefined) this.#held.set(held.number, [held]);
    else copies.push(held);
  }

  takeFolder(folder: Place): void {
    this.#folders.push(folder);
  }

  /** A volume that is shut, of which there is one that is open: it is for somebody else. */
  holdsCopyOf({ place, error }: Stray): boolean {
    return isCofferError(error, ...LOCKED) && this.#held.has(claimedNumber(place));
  }

  /** Of several copies the first that is whole, else the last; the others' damage is told. Of one alone its reader finds out. */
  async #goodCopy(number: number): Promise<Held | undefined> {
    const copies = this.#held.get(number) ?? [];
    for (let [first] = copies; first !== undefined && copies.length > 1 && !this.#whole.has(number); [first] = copies) {
      const fault = await faultOf(this.signed, first);
      if (fault === undefined) this.#whole.add(number);
      else {
        this.faults.push(fault);
        this.#damaged.set(number, [...(this.#damaged.get(number) ?? []), first]);
        copies.shift();
      }
    }
    return copies[0];
  }

  /** Copies that were set aside, if `good` is damaged as well: each may hold what all others lack. */
  async #asideOf(good: Held): Promise<readonly Held[]> {
    const damaged = this.#damaged.get(good.number) ?? [];
    if (damaged.length === 0 || this.#whole.has(good.number)) return [];
    if ((await faultOf(this.signed, good)) !== undefined) return damaged;
    this.#whole.add(good.number);
    return [];
  }

  async close(): Promise<Volumes> {
    const { signed } = this;
    const { index, signature } = signed;
    const [held, folders] = [this.#held, this.#folders];
    const all = index.value.volumes.map((_, at) => at + 1);
    const lost = all.filter((number) => !held.has(number));
    const missing =
      folders.length === 0
        ? lost.map((number) => `volume ${number} of ${all.length}`)
        : await lostItems(
            folders,
            lost.flatMap((number) => itemsOfVolume(index.value, number)),
          );
    const goodCopy = (number: number) => this.#goodCopy(number);
    const asideOf = (good: Held) => this.#asideOf(good);
    return {
      ...{ what: this.#what, index, signature, folders, faults: this.faults, sealed: this.#sealed },
      held: new Map([...held].map(([number, copies]) => [number, copies.map(({ place }) => place)])),
      missing,
      ...(folders.length === 0 ? { missingVolumes: lost } : {}),
      async *parcels(wants, onDamage) {
        for (const number of all) {
          const copy = await goodCopy(number);
          // Who goes on behind damage wants what can be had.
          const aside = copy === undefined || onDamage === undefined ? [] : await asideOf(copy);
          const isSmall = (item: Item): boolean => item.kind !== "blob" && wants(item);
          for (const other of aside) yield* untilDamage(fileParcels(signed, other, isSmall), onDamage);
          if (copy !== undefined) yield* untilDamage(fileParcels(signed, copy, wants), onDamage);
          else
            for (const item of itemsOfVolume(index.value, number))
              if (wants(item)) yield* untilDamage(folderParcel(folders, item), onDamage);
        }
      },
    };
  }
}

/** Why a copy of a volume cannot be used, by all of its bytes; undefined if it can. */
export async function faultOf(
  signed: SignedIndex,
  { place, number }: Pick<Held, "place" | "number">,
): Promise<Fault | undefined> {
  const { what } = place;
  try {
    const file = await openPlace(place);
    try {
      const input = fileInput(file, what, 0, (await file.stat()).sizeBytes);
      const { firstMember } = await readOpening(input, what, signed);
      for await (const { item } of readItems(input, signed.index, number, what, () => false, firstMember)) void item;
      await readNothingAfter(input, what);
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    passOthers(error, ...DAMAGE);
    return { what, error };
  }
}

async function openEither({ files, path, what, unlock }: Place): Promise<Unsealed> {
  const file = await fromMedium(what, () => files.open(path));
  // It was there when the places were looked at.
  if (file === undefined) throw new CofferError("VOLUME_DAMAGED", `${what}: expected a file, found that it went away`);
  try {
    return await unsealFile(mediumFile(file, what), what, unlock);
  } catch (error) {
    await Promise.allSettled([file.close()]); // what led here is what is told
    throw error;
  }
}

/** A volume, the clear bytes of it if it is encrypted. @throws CofferError VOLUME_DAMAGED, and as `unsealFile` */
export async function openPlace(place: Place): Promise<OpenFile> {
  return (await openEither(place)).file;
}

async function* fileParcels(
  { index }: SignedIndex,
  { place, number, bodyAt }: Held,
  wants: (item: Item) => boolean,
): AsyncGenerator<Parcel> {
  const file = await openPlace(place);
  try {
    const input = fileInput(file, place.what, bodyAt);
    yield* readItems(input, index, number, place.what, wants);
    await readNothingAfter(input, place.what);
  } finally {
    await file.close();
  }
}
