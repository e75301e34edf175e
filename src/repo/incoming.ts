// SPDX-License-Identifier: Apache-2.0
/** Where what other stores send lies: volumes, folders with volumes, another store's folder, a server. Layer: repo. */
import { join } from "node:path";
import type { Digest } from "../base/digest.ts";
import type { CofferError } from "../base/errors.ts";
import { blobPath } from "../objects/layout.ts";
import type { Unlock } from "../sync/age-header.ts";
import { folderSource } from "../sync/folder-source.ts";
import { type HttpOptions, httpSource } from "../sync/http-source.ts";
import type { Source } from "../sync/source.ts";
import { openVolumes } from "../sync/volumes.ts";
import { findPlaces, type Media, type NamedPath, openMedia } from "./bundle-media.ts";
import type { Ports } from "./ports.ts";
import { kindOf } from "./remotes.ts";
import { openStore, type Store } from "./store.ts";
import { STORE_FILE } from "./store-file.ts";

/** A source, and what of it cannot be used. */
export interface Incoming {
  readonly source: Source;
  /** Volumes that are damaged or of another bundle, in words. */
  readonly faults: readonly string[];
}

/** The message of an error about `what`; those that readers of media raise begin with it already. */
export function messageWith(what: string, { message }: CofferError): string {
  return message.startsWith(`${what}: `) ? message : `${what}: ${message}`;
}

/** A bundle on media or from a pipe. @throws CofferError FILE_NOT_FOUND, BUNDLE_INVALID, SIGNATURE_INVALID */
export async function openBundle(ports: Ports, media: Media): Promise<Incoming> {
  if (media.kind === "pipe") return { source: await openMedia(ports, media), faults: [] };
  const volumes = await openVolumes(await findPlaces(ports, media.paths, media.unlock));
  return { source: volumes, faults: volumes.faults.map(({ what, error }) => messageWith(what, error)) };
}

/**
 * The store at `root` as a source. It is read only: neither its key nor this machine's memory of it is looked at, for an
 * older state of it is no more than an older bundle.
 *
 * @param receiver - whose blobs need not be read again
 * @throws CofferError STORE_NOT_FOUND, CORRUPT, UNSUPPORTED
 */
export async function openFolderSource(root: string, ports: Ports, receiver?: Store): Promise<Source> {
  const nobody = join(root, "local", "no-secrets");
  const other = await openStore({ root, stateHome: nobody, memory: false }, ports);
  const has = async (blob: Digest, sizeBytes: number): Promise<boolean> =>
    (await receiver?.files.stat(blobPath(blob)))?.sizeBytes === sizeBytes;
  const { files, objects, storeKey, log } = other;
  return folderSource({ files, objects, storeKey, log, has }, await other.head());
}

/** What some of the places need before anything can be read there. */
export interface Means {
  /** For servers. */
  readonly http?: HttpOptions;
  /** Opens volumes that are encrypted. */
  readonly unlock?: Unlock | undefined;
}

/** A server, another store's folder, or the volumes of a bundle at one path. */
export async function openAny(path: NamedPath, ports: Ports, { http = {}, unlock }: Means = {}): Promise<Incoming> {
  if (/^https?:/i.test(path.shown)) {
    kindOf(path.shown); // refuses what is no address
    return { source: await httpSource(path.shown, http), faults: [] };
  }
  const [place] = await findPlaces(ports, [path]);
  const isStore = place?.path === "." && (await place.files.stat(STORE_FILE))?.kind === "file";
  if (isStore) return { source: await openFolderSource(path.absolute, ports), faults: [] };
  return openBundle(ports, { kind: "paths", paths: [path], unlock });
}
