// SPDX-License-Identifier: Apache-2.0
/**
 * Media that people name: paths of volumes and folders become places; what lies there is looked at, checked, or cut again.
 * Layer: repo. `inspectBundles` and `verifyBundles` need no store and trust nothing. Not here: importing (import.ts).
 */

import { realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { CofferError, passOthers, systemCode } from "../base/errors.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Sealing, Unlock } from "../sync/age-header.ts";
import type { BundleIndex } from "../sync/bundle-index.ts";
import { type Checked, checkPipe, checkVolumes } from "../sync/check.ts";
import { DAMAGE } from "../sync/damage.ts";
import { type Looked, lookInto } from "../sync/look.ts";
import { openPipe } from "../sync/pipe.ts";
import type { Source } from "../sync/source.ts";
import { SEALED_ENDING } from "../sync/volume-note.ts";
import type { SignedIndex } from "../sync/volume-reader.ts";
import { type Bundle, writeVolume } from "../sync/volume-writer.ts";
import { type Fault, openBundles, openVolumes, type Place, type Volumes } from "../sync/volumes.ts";
import type { VolumeTarget } from "./bundle-files.ts";
import type { Ports } from "./ports.ts";
import type { Store } from "./store.ts";
import { makeFolders, system } from "./system.ts";

/** A path as it was typed, and where it leads from. */
export interface NamedPath {
  readonly absolute: string;
  readonly shown: string;
}

/** What a bundle is read from: paths of volumes and folders, or the bytes of a pipe. */
export type Media = (
  | { readonly kind: "paths"; readonly paths: readonly NamedPath[] }
  | { readonly kind: "pipe"; readonly stream: AsyncIterable<Uint8Array>; readonly shown: string }
) & {
  /** Opens volumes that are encrypted. */
  readonly unlock?: Unlock | undefined;
};

/** Links are followed here, by the word of who typed them, and nowhere below. @throws CofferError FILE_NOT_FOUND */
export async function findPlaces(
  ports: Ports,
  paths: readonly NamedPath[],
  unlock?: Unlock | undefined,
): Promise<readonly Place[]> {
  const places: Place[] = [];
  const opener = unlock === undefined ? {} : { unlock };
  for (const { absolute, shown } of paths) {
    const real = await followed(absolute, shown);
    const isFolder = (await system("look at the path", () => stat(real))).isDirectory();
    if (isFolder) places.push({ files: ports.openFolder(real), path: ".", what: shown, ...opener });
    else places.push({ files: ports.openFolder(dirname(real)), path: basename(real), what: shown, ...opener });
  }
  return places;
}

async function followed(absolute: string, shown: string): Promise<string> {
  try {
    return await realpath(absolute);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new CofferError("FILE_NOT_FOUND", `${shown}: no such file or folder`, { cause: error });
    throw new CofferError("IO_ERROR", `${shown}: cannot look at it (${code})`, { cause: error });
  }
}

/** What comes through a pipe has no volumes that one could look at again. */
type Piped = Source & SignedIndex & { readonly [member in "what" | "faults" | "held"]?: undefined };

/** What lies at some places or comes through a pipe: each bundle by itself. */
export interface Opened {
  readonly bundles: readonly (Volumes | Piped)[];
  /** Of bundles that nothing can be read of, one volume each. */
  readonly unread: readonly Fault[];
  /** Files that may hold a volume, and of which nobody can tell: worth a note. */
  readonly passedOver: readonly Fault[];
}

/** @throws as `openBundles`, `openPipe` */
export async function openMedia(ports: Ports, media: Media): Promise<Opened> {
  if (media.kind === "paths") return openBundles(await findPlaces(ports, media.paths, media.unlock));
  return { bundles: [await openPipe(media.stream, media.shown, media.unlock)], unread: [], passedOver: [] };
}

/** What was found out of each bundle, and the bundles of which nothing could be. */
export interface Told<T> {
  readonly bundles: readonly T[];
  readonly failed: readonly Fault[];
  readonly passedOver: readonly Fault[];
}

export interface Inspected extends Looked {
  /** What is not at hand, in words. */
  readonly missing: readonly string[];
  /** Volumes of it that are damaged or cannot be opened. */
  readonly faults: readonly Fault[];
}

/** What bundles say that they bring. @throws as `openMedia` */
export async function inspectBundles(ports: Ports, media: Media): Promise<Told<Inspected>> {
  const { bundles, unread, passedOver } = await openMedia(ports, media);
  const looked: Inspected[] = [];
  const failed = [...unread];
  for (const bundle of bundles) {
    try {
      looked.push({ ...(await lookInto(bundle)), missing: bundle.missing, faults: bundle.faults ?? [] });
    } catch (error) {
      passOthers(error, ...DAMAGE);
      failed.push({ what: bundle.what ?? "stdin", error });
    }
  }
  return { bundles: looked, failed, passedOver };
}

export interface Verified extends Checked {
  readonly index: Stored<BundleIndex>;
  /** Where its volumes begin; undefined of a pipe. */
  readonly what?: string;
  /** Some volume is encrypted; not told of a pipe. */
  readonly sealed: boolean;
}

/** Every hash and signature of each bundle, without a store; what is wrong with single volumes is in `faults`. @throws as `openMedia` */
export async function verifyBundles(
  ports: Ports,
  media: Media,
  onBytes?: (bytes: number) => void,
): Promise<Told<Verified>> {
  if (media.kind === "pipe") {
    const source = await openPipe(media.stream, media.shown, media.unlock);
    const checked = await checkPipe(source, onBytes);
    return { bundles: [{ index: source.index, sealed: false, ...checked }], failed: [], passedOver: [] };
  }
  const { bundles, unread, passedOver } = await openBundles(await findPlaces(ports, media.paths, media.unlock));
  const verified: Verified[] = [];
  for (const volumes of bundles) {
    const { index, what, sealed } = volumes;
    verified.push({ index, what, sealed, ...(await checkVolumes(volumes, onBytes)) });
  }
  return { bundles: verified, failed: unread, passedOver };
}

/** The index of the one bundle at a place that this store made, from any of its volumes or folders. @throws as `openVolumes` */
export async function indexOf(
  ports: Ports,
  path: NamedPath,
  unlock?: Unlock | undefined,
): Promise<{ index: Stored<BundleIndex>; signature: string; sealed: boolean }> {
  const { index, signature, sealed } = await openVolumes(await findPlaces(ports, [path], unlock));
  return { index, signature: signature.armored, sealed };
}

const VOLUME_ENDING = /\.tar(\.age)?$/;

/** True if a path means one volume and not a folder of them. @throws CofferError USAGE - its ending says another kind */
export function isVolumePath({ absolute, shown }: NamedPath, sealing: Sealing | undefined): boolean {
  const ending = VOLUME_ENDING.exec(absolute);
  if (ending === null || (ending[1] === undefined) === (sealing === undefined)) return ending !== null;
  const expected = sealing === undefined ? ".tar without encryption" : `.tar${SEALED_ENDING} with encryption`;
  throw new CofferError("USAGE", `${shown}: expected a file that ends in ${expected}`);
}

/**
 * Where volumes are written: a path that ends in `.tar`, or `.tar.age` if they are encrypted, is a file; anything else a
 * folder, which is made. @throws CofferError USAGE, FILE_NOT_FOUND, NO_SPACE, READ_ONLY, IO_ERROR
 */
export async function targetAt(ports: Ports, path: NamedPath, sealing: Sealing | undefined): Promise<VolumeTarget> {
  const { absolute, shown } = path;
  if (isVolumePath(path, sealing)) {
    const folder = await followed(dirname(absolute), dirname(shown));
    return { files: ports.openFolder(folder), name: basename(absolute) };
  }
  await system("make the folder for the volumes", () => makeFolders(absolute));
  return { files: ports.openFolder(await followed(absolute, shown)) };
}

/**
 * Volumes one after the other, piece by piece, to whoever takes them; encrypted, they are one age file.
 * @throws as `writeVolume`, and what `take` throws
 */
export async function streamVolumes(
  store: Store,
  bundle: Bundle,
  numbers: readonly number[],
  sealing: Sealing | undefined,
  take: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  async function* volumes(): AsyncGenerator<Uint8Array> {
    for (const number of numbers) yield* writeVolume(store, bundle, number);
  }
  for await (const piece of sealing?.seal(volumes()) ?? volumes()) await take(piece);
}
