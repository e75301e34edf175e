// SPDX-License-Identifier: Apache-2.0
/**
 * Volumes as files: each under a temporary name beside its place, fsynced, then renamed. Layer: repo.
 * The folder need not know links, so that it may be a stick. What a stopped run left is removed by the next one.
 */
import { CofferError } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import type { Files } from "../objects/files.ts";
import type { Sealing } from "../sync/age-header.ts";
import type { Sender } from "../sync/plan.ts";
import { SEALED_ENDING, volumeFileName } from "../sync/volume-note.ts";
import { type Bundle, volumeBytesOf, writeVolume } from "../sync/volume-writer.ts";
import { partName, sweepParts } from "./outside-file.ts";

export interface VolumeTarget {
  readonly files: Files;
  /** In place of the usual name, for a bundle of one volume; never one that is taken. */
  readonly name?: string;
}

export interface WrittenVolume {
  readonly number: number;
  readonly file: string;
  readonly bytes: number;
}

export interface WriteOptions {
  readonly random: Random;
  /** Encrypts each volume; in clear they then touch no disk. */
  readonly sealing?: Sealing | undefined;
  /** Told after each piece, for progress. */
  readonly onBytes?: (volume: number, done: number, of: number) => void;
}

/** The numbers of all volumes, or the one that is asked for. @throws CofferError USAGE */
export function volumeNumbers({ index }: Bundle, only?: number): readonly number[] {
  const count = index.value.volumes.length;
  if (only === undefined) return Array.from({ length: count }, (_, at) => at + 1);
  if (only >= 1 && only <= count) return [only];
  throw new CofferError("USAGE", `--only-volume: expected one from 1 to ${count}, found ${only}`);
}

/**
 * Writes volumes one after the other. Each takes its name only when it is whole and durable; one of that name that is
 * there is replaced, since the name says what is in it.
 *
 * @throws CofferError CORRUPT - something that is to be sent is damaged; EXISTS, NO_SPACE, READ_ONLY, IO_ERROR
 */
export async function writeVolumes(
  sender: Sender,
  bundle: Bundle,
  numbers: readonly number[],
  target: VolumeTarget,
  options: WriteOptions,
): Promise<readonly WrittenVolume[]> {
  const { files } = target;
  if (target.name !== undefined && (await files.stat(target.name)) !== undefined) {
    throw new CofferError("EXISTS", `${target.name}: expected a file that is not there yet`);
  }
  await sweepParts(files);
  const of = bundle.index.value.volumes.length;
  const written: WrittenVolume[] = [];
  for (const number of numbers) {
    const usual = `${volumeFileName(bundle.index.id, number, of)}${options.sealing === undefined ? "" : SEALED_ENDING}`;
    const file = target.name ?? usual;
    written.push({ number, file, bytes: await writeOne(sender, bundle, number, files, file, options) });
  }
  return written;
}

/** @returns how many bytes it has */
async function writeOne(
  sender: Sender,
  bundle: Bundle,
  number: number,
  files: Files,
  place: string,
  { random, sealing, onBytes }: WriteOptions,
): Promise<number> {
  const temp = partName(files, random);
  const clearBytes = volumeBytesOf(bundle.index, number);
  const all = sealing?.sealedBytes(clearBytes) ?? clearBytes;
  const file = await files.create(temp, 0o644, all);
  if (file === undefined) throw new CofferError("IO_ERROR", "temporary name taken; expected a fresh one");
  const clear = writeVolume(sender, bundle, number);
  let done = 0;
  try {
    for await (const piece of sealing?.seal(clear) ?? clear) {
      await file.write(piece);
      done += piece.length;
      onBytes?.(number, done, all);
    }
    await file.fsync();
    await file.close();
    await files.rename(temp, place);
  } catch (error) {
    // What ended the work is the one to tell; the next run removes what this cannot.
    await Promise.allSettled([file.close()]);
    await Promise.allSettled([files.remove(temp)]);
    throw error;
  }
  await files.fsyncFolder(".");
  return done;
}
