// SPDX-License-Identifier: Apache-2.0
/** One thing to try: volumes, how they arrive, and which store they are given to; and the file that it is kept in. Layer: test support. */
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { isCofferError } from "../../../src/base/errors.ts";
import type { Source } from "../../../src/sync/source.ts";
import { volumeFileName } from "../../../src/sync/volume-note.ts";
import { openPipe, openVolumes, type Place, type Volumes } from "../../../src/sync/volumes.ts";
import { MemoryFiles } from "../../support/memory-files.ts";
import { membersOf } from "./loose.ts";
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
}

const PIECE_BYTES = 4099;

async function* piped(volumes: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  const all = Buffer.concat(volumes);
  for (let at = 0; at < all.length; at += PIECE_BYTES) yield all.subarray(at, at + PIECE_BYTES);
}

function placesOf({ medium, volumes }: Input): Place[] {
  const files = new MemoryFiles();
  if (medium === "files") {
    const names = volumes.map((_, at) => volumeFileName("ab".repeat(32) as never, at + 1, volumes.length));
    volumes.forEach((bytes, at) => void files.plant(names[at] ?? "", bytes));
    return names.map((path) => ({ files, path, what: path }));
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
  if (input.medium === "pipe") return openPipe(piped(input.volumes), "stdin");
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
  for (const volume of input.volumes) hash.update(volume);
  return `${input.receiver}-${input.medium}-${hash.digest("hex").slice(0, 12)}.gz`;
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
