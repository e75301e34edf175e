// SPDX-License-Identifier: Apache-2.0
/**
 * Media that people name: paths of volumes and folders become places; what lies there is looked at, checked, or cut again.
 * Layer: repo. `inspectBundle` and `verifyBundle` need no store and trust nothing. Not here: importing (import.ts).
 */

import { realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { CofferError, systemCode } from "../base/errors.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { BundleIndex } from "../sync/bundle-index.ts";
import { type Checked, checkPipe, checkVolumes } from "../sync/check.ts";
import { type Looked, lookInto } from "../sync/look.ts";
import type { Source } from "../sync/source.ts";
import type { SignedIndex } from "../sync/volume-reader.ts";
import { type Bundle, writeVolume } from "../sync/volume-writer.ts";
import { openPipe, openVolumes, type Place } from "../sync/volumes.ts";
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
export type Media =
  | { readonly kind: "paths"; readonly paths: readonly NamedPath[] }
  | { readonly kind: "pipe"; readonly stream: AsyncIterable<Uint8Array>; readonly shown: string };

/** Links are followed here, by the word of who typed them, and nowhere below. @throws CofferError FILE_NOT_FOUND */
export async function findPlaces(ports: Ports, paths: readonly NamedPath[]): Promise<readonly Place[]> {
  const places: Place[] = [];
  for (const { absolute, shown } of paths) {
    const real = await followed(absolute, shown);
    const isFolder = (await system("look at the path", () => stat(real))).isDirectory();
    if (isFolder) places.push({ files: ports.openFolder(real), path: ".", what: shown });
    else places.push({ files: ports.openFolder(dirname(real)), path: basename(real), what: shown });
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

/** The source that import reads. @throws as `openVolumes`, `openPipe` */
export async function openMedia(ports: Ports, media: Media): Promise<Source & SignedIndex> {
  if (media.kind === "pipe") return openPipe(media.stream, media.shown);
  return openVolumes(await findPlaces(ports, media.paths));
}

export interface Inspected extends Looked {
  /** What is not at hand, in words. */
  readonly missing: readonly string[];
}

/** What a bundle says that it brings. @throws as `openMedia` */
export async function inspectBundle(ports: Ports, media: Media): Promise<Inspected> {
  const source = await openMedia(ports, media);
  return { ...(await lookInto(source)), missing: source.missing };
}

export interface Verified extends Checked {
  readonly index: Stored<BundleIndex>;
}

/** Every hash and signature, without a store. @throws as `openMedia`, but for single volumes: these are in `faults` */
export async function verifyBundle(ports: Ports, media: Media, onBytes?: (bytes: number) => void): Promise<Verified> {
  if (media.kind === "pipe") {
    const source = await openPipe(media.stream, media.shown);
    return { index: source.index, ...(await checkPipe(source, onBytes)) };
  }
  const volumes = await openVolumes(await findPlaces(ports, media.paths));
  return { index: volumes.index, ...(await checkVolumes(volumes, onBytes)) };
}

/** The index of a bundle that this store made, from any of its volumes or folders. @throws as `openVolumes` */
export async function indexOf(
  ports: Ports,
  path: NamedPath,
): Promise<{ index: Stored<BundleIndex>; signature: string }> {
  const { index, signature } = await openVolumes(await findPlaces(ports, [path]));
  return { index, signature: signature.armored };
}

/**
 * Where volumes are written: a path that ends in `.tar` is a file, anything else a folder, which is made.
 * @throws CofferError FILE_NOT_FOUND, NO_SPACE, READ_ONLY, IO_ERROR
 */
export async function targetAt(ports: Ports, { absolute, shown }: NamedPath): Promise<VolumeTarget> {
  if (absolute.endsWith(".tar")) {
    const folder = await followed(dirname(absolute), dirname(shown));
    return { files: ports.openFolder(folder), name: basename(absolute) };
  }
  await system("make the folder for the volumes", () => makeFolders(absolute));
  return { files: ports.openFolder(await followed(absolute, shown)) };
}

/** One volume, piece by piece, to whoever takes it. @throws as `writeVolume`, and what `take` throws */
export async function streamVolume(
  store: Store,
  bundle: Bundle,
  number: number,
  take: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  for await (const piece of writeVolume(store, bundle, number)) await take(piece);
}
