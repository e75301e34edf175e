// SPDX-License-Identifier: Apache-2.0
/**
 * A bundle as it lies on media: volume files in any order, from several folders or sticks, or the folder into which they
 * were untarred; or as it comes through a pipe. Layer: sync. Format: docs/format.md, "Volumes".
 * A volume that is damaged or of another bundle is set apart with the reason, and counts as missing.
 */
import { short } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Files, OpenFile } from "../objects/files.ts";
import type { Unlock } from "./age-header.ts";
import { itemsOfVolume } from "./cut.ts";
import { fileInput, streamInput } from "./input.ts";
import { type Unsealed, unsealFile, unsealStream } from "./sealed.ts";
import { type Item, itemPath, type Parcel, type Source } from "./source.ts";
import { INDEX_PATH, indexSignaturePath, VOLUME_FILE } from "./volume-note.ts";
import { checkIndex, readIndex, readItems, readNothingAfter, readOpening, type SignedIndex } from "./volume-reader.ts";

/** A file or a folder that somebody named. */
export interface Place {
  readonly files: Files;
  /** Within `files`; "." for the folder itself. */
  readonly path: string;
  /** How people call it. */
  readonly what: string;
  /** Opens volumes that are encrypted. */
  readonly unlock?: Unlock;
}

/** A volume that cannot be used. */
export interface Fault {
  readonly what: string;
  readonly error: CofferError;
}

/** Where the items of one volume are to be had. */
interface Held {
  readonly place: Place;
  readonly number: number;
  readonly bodyAt: number;
}

export interface Volumes extends Source {
  readonly signature: SignedIndex["signature"];
  /** Volumes whose files are at hand, by number; several where there are copies. */
  readonly held: ReadonlyMap<number, readonly Place[]>;
  /** Folders into which volumes were untarred. */
  readonly folders: readonly Place[];
  readonly faults: readonly Fault[];
  /** Some volume is encrypted. */
  readonly sealed: boolean;
}

/** The folder in a volume that holds its index. */
const UNTARRED = "bundle";

/** What makes a volume one that cannot be used. */
export const DAMAGE = [
  "BUNDLE_INVALID",
  "VOLUME_DAMAGED",
  "SIGNATURE_INVALID",
  "UNSUPPORTED",
  "LIMIT_EXCEEDED",
] as const;

/**
 * Looks at every place; reads of each volume no more than tells which one it is.
 * @throws CofferError BUNDLE_INVALID, SIGNATURE_INVALID … - there is no volume that can be used (of the first fault);
 *   IDENTITY_NEEDED, IDENTITY_WRONG - a volume is encrypted, and not for who reads it; FILE_NOT_FOUND - a place is not there, or a folder holds no volume
 */
export async function openVolumes(places: readonly Place[]): Promise<Volumes> {
  const shelf = new Shelf();
  for (const place of await spread(places)) await shelf.take(place);
  return shelf.close();
}

/** Folders become the volumes in them. */
async function spread(places: readonly Place[]): Promise<readonly Place[]> {
  const found: Place[] = [];
  for (const place of places) {
    const stat = await place.files.stat(place.path);
    if (stat === undefined) throw new CofferError("FILE_NOT_FOUND", `${place.what}: no such file or folder`);
    if (stat.kind === "folder") found.push(...(await volumesIn(place)));
    else found.push(place);
  }
  return found;
}

async function volumesIn(place: Place): Promise<readonly Place[]> {
  const within = (name: string): string => (place.path === "." ? name : `${place.path}/${name}`);
  const names = ((await place.files.list(place.path)) ?? []).filter((name) => VOLUME_FILE.test(name));
  const found = names.map((name) => ({ ...place, path: within(name), what: name }));
  const isUntarred = (await place.files.stat(within(INDEX_PATH))) !== undefined;
  if (found.length === 0 && !isUntarred) {
    throw new CofferError("FILE_NOT_FOUND", `${place.what}: expected volumes of a bundle in this folder, found none`);
  }
  return isUntarred ? [...found, { ...place, path: within(UNTARRED) }] : found;
}

class Shelf {
  #signed: SignedIndex | undefined;
  readonly #held = new Map<number, Held[]>();
  readonly #folders: Place[] = [];
  readonly #faults: Fault[] = [];
  #sealed = false;

  async take(place: Place): Promise<void> {
    try {
      const stat = await place.files.stat(place.path);
      if (stat?.kind === "folder") await this.#takeFolder(place);
      else await this.#takeFile(place);
    } catch (error) {
      if (!isCofferError(error, ...DAMAGE)) throw error;
      this.#faults.push({ what: place.what, error });
    }
  }

  async #takeFile(place: Place): Promise<void> {
    const { file, sealed } = await openEither(place);
    this.#sealed ||= sealed;
    try {
      const { number, bodyAt, ...signed } = await readOpening(fileInput(file, place.what), place.what, this.#signed);
      this.#same(signed, place.what);
      this.#held.set(number, [...(this.#held.get(number) ?? []), { place, number, bodyAt }]);
    } finally {
      await file.close();
    }
  }

  /** @param place - the folder `bundle` of the one where volumes were untarred */
  async #takeFolder({ files, path, what }: Place): Promise<void> {
    const root = path.slice(0, -UNTARRED.length);
    const bytes = (await files.read(`${root}${INDEX_PATH}`, LIMITS.bundleIndexBytes)) ?? new Uint8Array();
    const index = readIndex(bytes, this.#signed);
    const signaturePath = indexSignaturePath(index.value.storeKey.keyId);
    const armored = (await files.read(`${root}${signaturePath}`, LIMITS.signatureBytes)) ?? new Uint8Array();
    this.#same(checkIndex(index, { path: signaturePath, armored }, what), what);
    this.#folders.push({ files, path: root, what });
  }

  #same(signed: SignedIndex, what: string): void {
    this.#signed ??= signed;
    if (this.#signed.index.id === signed.index.id) return;
    const [here, other] = [short(this.#signed.index.id), short(signed.index.id)];
    throw new CofferError("BUNDLE_INVALID", `${what}: expected a volume of bundle ${here}, found one of ${other}`);
  }

  async close(): Promise<Volumes> {
    if (this.#signed === undefined)
      throw this.#faults[0]?.error ?? new CofferError("USAGE", "expected volumes, found none");
    const signed = this.#signed;
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
    return {
      ...{ index, signature, folders, faults: this.#faults, sealed: this.#sealed },
      held: new Map([...held].map(([number, copies]) => [number, copies.map(({ place }) => place)])),
      missing,
      async *parcels(wants) {
        for (const number of all) {
          const [copy] = held.get(number) ?? [];
          if (copy !== undefined) yield* fileParcels(signed, copy, wants);
          else yield* folderParcels(folders, itemsOfVolume(index.value, number), wants);
        }
      },
    };
  }
}

async function openEither({ files, path, what, unlock }: Place): Promise<Unsealed> {
  const file = await files.open(path);
  if (file === undefined) throw new CofferError("FILE_NOT_FOUND", `${what}: no such file`);
  try {
    return await unsealFile(file, what, unlock);
  } catch (error) {
    await Promise.allSettled([file.close()]); // what led here is what is told
    throw error;
  }
}

/** A volume, the clear bytes of it if it is encrypted. @throws CofferError FILE_NOT_FOUND, and as `unsealFile` */
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

/** Items that lie side by side; each is taken from the first folder that has it. */
async function* folderParcels(
  folders: readonly Place[],
  items: readonly Item[],
  wants: (item: Item) => boolean,
): AsyncGenerator<Parcel> {
  for (const item of items) {
    if (!wants(item)) continue;
    const file = await openItem(folders, item);
    if (file === undefined) continue;
    try {
      yield { item, read: () => wholeFile(file, item) };
    } finally {
      await file.close();
    }
  }
}

/** Paths of items that lie in none of the folders. */
async function lostItems(folders: readonly Place[], items: readonly Item[]): Promise<readonly string[]> {
  const lost: string[] = [];
  for (const item of items) {
    const path = itemPath(item);
    let isThere = false;
    for (const folder of folders) isThere ||= (await folder.files.stat(`${folder.path}${path}`)) !== undefined;
    if (!isThere) lost.push(path);
  }
  return lost;
}

async function openItem(folders: readonly Place[], item: Item): Promise<OpenFile | undefined> {
  for (const { files, path } of folders) {
    const file = await files.open(`${path}${itemPath(item)}`);
    if (file !== undefined) return file;
  }
  return undefined;
}

async function* wholeFile(file: OpenFile, item: Item): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = await file.stat();
  if (sizeBytes !== item.sizeBytes) {
    const text = `${itemPath(item)}: expected ${item.sizeBytes} bytes, found ${sizeBytes}`;
    throw new CofferError("VOLUME_DAMAGED", text);
  }
  yield* fileInput(file, itemPath(item)).pieces(item.sizeBytes);
}

/**
 * A bundle that comes through a pipe: its volumes one after the other, from the first on, all of them. Read once.
 * Encrypted, they are one age file together.
 * @throws CofferError as `openVolumes`
 */
export async function openPipe(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  unlock?: Unlock,
): Promise<Source & SignedIndex> {
  const input = streamInput(unsealStream(stream, what, unlock), what);
  const { number, firstMember, bodyAt: _, ...signed } = await readOpening(input, what);
  const of = signed.index.value.volumes.length;
  return {
    ...signed,
    missing: [],
    async *parcels(wants) {
      expectVolume(number, 1, what);
      yield* readItems(input, signed.index, 1, what, wants, firstMember);
      for (let next = 2; next <= of; next += 1) {
        if (await input.atEnd())
          throw new CofferError("BUNDLE_INCOMPLETE", `${what}: ended before volume ${next} of ${of}`);
        const opening = await readOpening(input, what, signed);
        if (opening.index.id !== signed.index.id) {
          throw new CofferError(
            "BUNDLE_INVALID",
            `${what}: expected volume ${next} of the same bundle, found another's`,
          );
        }
        expectVolume(opening.number, next, what);
        yield* readItems(input, signed.index, next, what, wants, opening.firstMember);
      }
      await readNothingAfter(input, what);
    },
  };
}

function expectVolume(found: number, expected: number, what: string): void {
  if (found === expected) return;
  throw new CofferError("BUNDLE_INVALID", `${what}: expected volume ${expected}, found volume ${found}`);
}
