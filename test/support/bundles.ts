// SPDX-License-Identifier: Apache-2.0
/** Bundles for tests: volumes as bytes and as files, and what a source hands over. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseName } from "../../src/base/names.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { type BundleRequest, makeBundle } from "../../src/repo/bundle.ts";
import type { Arrived } from "../../src/repo/incoming.ts";
import type { Store } from "../../src/repo/store.ts";
import { itemPath, type Source } from "../../src/sync/source.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { type Bundle, writeVolume } from "../../src/sync/volume-writer.ts";
import type { Place } from "../../src/sync/volumes.ts";

export interface MadeBundle {
  readonly bundle: Bundle;
  readonly volumes: readonly Buffer[];
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(Buffer.from(piece)); // a copy: it is valid until the next step only
  return Buffer.concat(pieces);
}

/** @param volumeBytes - may be smaller than what people may ask for */
export async function volumesOf(
  store: Store,
  names: readonly string[],
  volumeBytes?: number,
  more: Partial<BundleRequest> = {},
): Promise<MadeBundle> {
  const size = volumeBytes === undefined ? {} : { volumeBytes };
  const request = { names: names.map(parseName), patterns: [], candidates: false, blobs: true, ...size, ...more };
  const bundle = await makeBundle(store, request);
  const volumes: Buffer[] = [];
  for (const at of bundle.index.value.volumes.keys()) volumes.push(await collect(writeVolume(store, bundle, at + 1)));
  return { bundle, volumes };
}

/** A new folder below `parent` with these volumes under their usual names. */
export function folderOf(
  parent: string,
  { bundle, volumes }: MadeBundle,
  which = volumes.map((_, at) => at + 1),
): string {
  const folder = mkdtempSync(join(parent, "volumes-"));
  for (const number of which) {
    const name = volumeFileName(bundle.index.id, number, volumes.length);
    writeFileSync(join(folder, name), volumes[number - 1] ?? "");
  }
  return folder;
}

export const placeOf = (folder: string, path = "."): Place => ({
  files: openRealFiles(folder),
  path,
  what: path === "." ? "the folder" : path,
});

/** The one bundle that is there. @throws what is wrong with it */
export function sourceOf({ bundles: [first], unread: [fault] }: Arrived): Source {
  if (fault !== undefined) throw fault.error;
  return first?.source ?? assert.fail("no bundle is there");
}

/** All that a source hands over, by path. */
export async function everything(source: Source): Promise<ReadonlyMap<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const parcel of source.parcels(() => true)) found.set(itemPath(parcel.item), await collect(parcel.read()));
  return found;
}

/** Lays volumes over each other with tar itself. */
export function emptyFolder(parent: string, name: string): string {
  const folder = join(parent, name);
  mkdirSync(folder);
  return folder;
}

/** Pieces that are valid until the next one only, as a pipe keeps them. */
export async function* copied(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) yield Uint8Array.from(piece);
}
