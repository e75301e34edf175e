// SPDX-License-Identifier: Apache-2.0
/** Where what other stores send lies: volumes, folders with volumes, another store's folder, a server. Layer: repo. */
import { join } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, ERRORS, isCofferError, passOthers, worstOf } from "../base/errors.ts";
import type { Files } from "../objects/files.ts";
import { blobPath } from "../objects/layout.ts";
import type { Unlock } from "../sync/age-header.ts";
import { folderSource } from "../sync/folder-source.ts";
import { type HttpOptions, httpSource } from "../sync/http-source.ts";
import { aheadOf } from "../sync/read-ahead.ts";
import type { Source } from "../sync/source.ts";
import type { Fault, Volumes } from "../sync/volumes.ts";
import { findPlaces, type Media, type NamedPath, type Opened, openMedia } from "./bundle-media.ts";
import type { Ports } from "./ports.ts";
import { kindOf } from "./remotes.ts";
import { openStore, type Store } from "./store.ts";
import { STORE_FILE } from "./store-file.ts";

export type { Fault };

/** A source, and what of it cannot be used. */
export interface Incoming {
  /** How people call it: the first of its volumes, or where it comes from. */
  readonly what: string;
  readonly source: Source;
  /** Volumes that are damaged. */
  readonly faults: readonly Fault[];
  /** The source itself, if it is volumes that can be looked at again. */
  readonly volumes?: Volumes | undefined;
}

/** All that lies at some places, each bundle by itself; of those that nothing can be read of, one volume each. */
export interface Arrived {
  readonly bundles: readonly Incoming[];
  readonly unread: readonly Fault[];
  /** Files that may hold a volume, and of which nobody can tell: worth a note. */
  readonly passedOver: readonly Fault[];
}

/** The message of an error about `what`; those that readers of media raise begin with it already. */
export function messageWith(what: string, { message }: CofferError): string {
  return message.startsWith(`${what}: `) ? message : `${what}: ${message}`;
}

export const failedText = ({ what, error }: Fault): string => `${messageWith(what, error)} [${error.code}]`;

/** What to say where none of several bundles can be used: the worst, and the others beside it. */
export function failedAll(failed: readonly Fault[]): CofferError {
  const exitOf = ({ error }: Fault): number => ERRORS[error.code].exit;
  const worst = failed.find((one) => exitOf(one) === worstOf(failed.map(exitOf)));
  if (worst === undefined) return new CofferError("USAGE", "expected a bundle, found none");
  if (failed.length === 1) return worst.error;
  const details = failed.flatMap((one) => [...(one === worst ? [] : [failedText(one)]), ...one.error.details]);
  return new CofferError(worst.error.code, messageWith(worst.what, worst.error), { cause: worst.error, details });
}

/** The bundles on media or from a pipe, the oldest state of a log first. @throws CofferError FILE_NOT_FOUND; of a pipe BUNDLE_INVALID, SIGNATURE_INVALID … */
export async function openArrived(ports: Ports, media: Media): Promise<Arrived> {
  return oldestFirst(await openMedia(ports, media));
}

/** In the order in which bundles are taken over. */
export function oldestFirst({ bundles, unread, passedOver }: Opened): Arrived {
  const incoming = bundles.map((source) => {
    const volumes = source.held === undefined ? undefined : source;
    return { what: source.what ?? "stdin", source, faults: source.faults ?? [], volumes };
  });
  const number = ({ source }: Incoming): number => source.index.value.log.number;
  return { bundles: incoming.sort((one, other) => number(one) - number(other)), unread, passedOver };
}

/** What comes through a pipe, for `clone`, which looks at the policy first: see `aheadOf`. */
export function readAhead(arrived: Arrived): Arrived {
  return { ...arrived, bundles: arrived.bundles.map((one) => ({ ...one, source: aheadOf(one.source) })) };
}

/**
 * The store at `root` as a source. It is read only: neither its key nor this machine's memory of it is looked at, for an
 * older state of it is no more than an older bundle.
 *
 * @param receiver - whose blobs need not be read again; left out where they are to be mended, and it says itself which
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

/** All that is at a place which has one source. */
export function alone({ shown }: NamedPath, source: Source): Arrived {
  return { bundles: [{ what: shown, source, faults: [] }], unread: [], passedOver: [] };
}

/** @param files - of a folder. True if another store is there, be it one that cannot be read. */
export async function isStoreIn(files: Files): Promise<boolean> {
  return (await files.stat(STORE_FILE))?.kind === "file";
}

/** What `openArrived` finds at one path; where no volume lies there, the error that says so. */
export async function findVolumes(
  ports: Ports,
  path: NamedPath,
  unlock: Unlock | undefined,
): Promise<Arrived | CofferError> {
  try {
    return await openArrived(ports, { kind: "paths", paths: [path], unlock });
  } catch (error) {
    passOthers(error, "FILE_NOT_FOUND");
    return error;
  }
}

/** Volumes, and the store in whose folder they lie: if it cannot be read, that is one fault among those of the volumes. */
export async function withStore(arrived: Arrived, path: NamedPath, ports: Ports, receiver?: Store): Promise<Arrived> {
  const { bundles, unread, passedOver } = arrived;
  try {
    const { bundles: store } = alone(path, await openFolderSource(path.absolute, ports, receiver));
    return { bundles: [...store, ...bundles], unread, passedOver };
  } catch (error) {
    passOthers(error);
    return { bundles, unread: [...unread, { what: path.shown, error }], passedOver };
  }
}

/** A server, another store's folder, the volumes of bundles at one path, or a store with volumes in its folder. */
export async function openAny(path: NamedPath, ports: Ports, { http = {}, unlock }: Means = {}): Promise<Arrived> {
  if (/^https?:/i.test(path.shown)) {
    kindOf(path.shown); // refuses what is no address
    return alone(path, await httpSource(path.shown, http));
  }
  const [place] = await findPlaces(ports, [path]);
  const hasStore = place?.path === "." && (await isStoreIn(place.files));
  if (!hasStore) return openArrived(ports, { kind: "paths", paths: [path], unlock });
  const volumes = await findVolumes(ports, path, unlock);
  if (isCofferError(volumes)) return alone(path, await openFolderSource(path.absolute, ports));
  return withStore(volumes, path, ports);
}
