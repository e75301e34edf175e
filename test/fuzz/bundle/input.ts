// SPDX-License-Identifier: Apache-2.0
/** One thing to try: volumes, how they arrive, and which store they are given to; and the file that it is kept in. Layer: test support. */
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { isCofferError } from "../../../src/base/errors.ts";
import { openPipe } from "../../../src/sync/pipe.ts";
import type { Source } from "../../../src/sync/source.ts";
import { volumeFileName } from "../../../src/sync/volume-note.ts";
import { openVolumes, type Place, type Volumes } from "../../../src/sync/volumes.ts";
import { MemoryFiles } from "../../support/memory-files.ts";
import { membersOf } from "./loose.ts";
import { type Key, sealAll, unlockOf } from "./sealed.ts";
import type { SeedBundle } from "./world.ts";

export const MEDIA = ["pipe", "files", "folder"] as const;

export interface Input {
  readonly receiver: string;
  readonly medium: (typeof MEDIA)[number];
  /** A person of the policy has signed it, so it may be trusted. */
  readonly insider: boolean;
  /** The sender's key, or a stranger's, has signed the index anew. */
  readonly resigned: boolean;
  readonly volumes: readonly Buffer[];
  /** The volumes are age files, or were before they were changed. */
  readonly sealed?: {
    /** Nobody without the key had a hand in it but by changing ciphertext: what is read was encrypted so. */
    readonly byOutsider: boolean;
    readonly key: Key;
  };
}

const PIECE_BYTES = 4099;

async function* piped(volumes: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  const all = Buffer.concat(volumes);
  for (let at = 0; at < all.length; at += PIECE_BYTES) yield all.subarray(at, at + PIECE_BYTES);
}

function placesOf({ medium, volumes, sealed }: Input): Place[] {
  const unlock = unlockOf(sealed?.key ?? "none");
  const opener = unlock === undefined ? {} : { unlock };
  const files = new MemoryFiles();
  if (medium === "files") {
    const names = volumes.map((_, at) => volumeFileName("ab".repeat(32) as never, at + 1, volumes.length));
    volumes.forEach((bytes, at) => void files.plant(names[at] ?? "", bytes));
    return names.map((path) => ({ files, path, what: path, ...opener }));
  }
  for (const { path, bytes } of volumes.flatMap(membersOf)) {
    try {
      files.plant(path, bytes);
    } catch (error) {
      if (!isCofferError(error)) throw error; // no path that tar would write to
    }
  }
  return [{ files, path: ".", what: "the folder" }];
}

/** @throws CofferError as `openPipe`, `openVolumes` */
export async function openInput(input: Input): Promise<Source | Volumes> {
  if (input.medium === "pipe") return openPipe(piped(input.volumes), "stdin", unlockOf(input.sealed?.key ?? "none"));
  return openVolumes(placesOf(input));
}

export function pack({ volumes, ...head }: Input, level = 9): Buffer {
  const line = Buffer.from(`${JSON.stringify({ ...head, sizes: volumes.map(({ length }) => length) })}\n`);
  return gzipSync(Buffer.concat([line, ...volumes]), { level });
}

export function unpack(packed: Buffer): Input {
  const bytes = gunzipSync(packed);
  const end = bytes.indexOf("\n") + 1;
  const { sizes, ...head } = JSON.parse(bytes.toString("utf8", 0, end)) as Omit<Input, "volumes"> & { sizes: number[] };
  const volumes: Buffer[] = [];
  let at = end;
  for (const size of sizes) {
    volumes.push(bytes.subarray(at, at + size));
    at += size;
  }
  return { ...head, volumes };
}

export function nameOf(input: Input): string {
  const hash = createHash("sha256").update(JSON.stringify([input.receiver, input.medium]));
  if (input.sealed !== undefined) hash.update(JSON.stringify(input.sealed));
  for (const volume of input.volumes) hash.update(volume);
  return `${input.receiver}-${input.medium}${input.sealed === undefined ? "" : "-sealed"}-${hash.digest("hex").slice(0, 12)}.gz`;
}

export function plainInputs(seeds: readonly SeedBundle[], receivers: readonly { readonly name: string }[]): Input[] {
  return seeds.flatMap(({ volumes, large }) =>
    (large ? receivers.slice(0, 1) : receivers).flatMap(({ name }) =>
      (large ? MEDIA.slice(0, 1) : MEDIA).map((medium) => ({
        ...{ receiver: name, medium, insider: false, resigned: false, volumes },
      })),
    ),
  );
}

/** The small ones, encrypted; a folder of what was untarred is not. */
export function sealedInputs(seeds: readonly SeedBundle[], receivers: readonly { readonly name: string }[]): Input[] {
  return seeds
    .filter(({ large }) => !large)
    .flatMap(({ volumes }, at) =>
      (["pipe", "files"] as const).map((medium) => ({
        ...{ receiver: receivers[at % receivers.length]?.name ?? "", medium, insider: false, resigned: false },
        ...{ volumes: sealAll(volumes, medium), sealed: { byOutsider: true, key: "right" as const } },
      })),
    );
}
