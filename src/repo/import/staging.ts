// SPDX-License-Identifier: Apache-2.0
/**
 * Blobs on their way in: local/tmp/import-<index digest>/, where what an interrupted import got stays for the next one, which
 * checks it again. Layer: repo. Format: docs/format.md, "Importing". Holds invariant 1. What a blob is for: adoption.ts.
 *
 * A file of a blob is named `<writer>-<32 hex>.<blob>.<part>` and holds the blob from that part on, as far as it goes; with `.<count>`
 * behind, only so many parts of it are right. Who begins takes over the files of writers that are gone by renaming them; what a
 * writer at work has is left to it.
 */
import { type Digest, isDigest, short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import type { Random } from "../../base/ports.ts";
import { discardBlobs, type StagedBlob } from "../../objects/blob-store.ts";
import { ChunkHasher, hashFile } from "../../objects/chunk-hasher.ts";
import type { Files, NewFile, OpenFile } from "../../objects/files.ts";
import { IMPORT_PREFIX, TEMP_FOLDER, tempName } from "../../objects/layout.ts";
import { writerStates } from "../../objects/leftovers.ts";
import { readPieces, readRange } from "../../objects/pieces.ts";
import { BUFFER_BYTES } from "../../objects/shared-buffers.ts";
import type { Item, Parcel } from "../../sync/source.ts";
import { PartCheck } from "./part-check.ts";
import { SmallFiles } from "./small-files.ts";

export type BlobItem = Extract<Item, { kind: "blob" }>;

/** What must come true of a blob. */
export interface BlobWanted {
  readonly blob: Digest;
  readonly sizeBytes: number;
}

/** Parts of a blob, one behind another in one file, as they came or were found. */
interface Run {
  path: string;
  readonly from: number;
  /** Parts that are whole. */
  count: number;
  /** Parts before one that was found wrong: no more count, whoever looks by size alone. In the name of the file. */
  most?: number | undefined;
}

/** A file that is being written, with the hash of all of it so far. */
interface Open {
  readonly blob: Digest;
  readonly run: Run;
  readonly file: NewFile;
  readonly hasher: ChunkHasher;
}

export class Staging {
  readonly #files: Files;
  readonly #random: Random;
  readonly #folder: string;
  readonly #segmentBytes: number;
  readonly #runs = new Map<Digest, Run[]>();
  readonly #whole = new Map<Digest, StagedBlob>();
  #open: Open | undefined;
  #smallPath: string | undefined;
  readonly small = new SmallFiles(async () => {
    const { path, file } = await this.#create("");
    this.#smallPath = path;
    return file;
  });

  private constructor(files: Files, random: Random, index: Digest, segmentBytes: number) {
    this.#files = files;
    this.#random = random;
    this.#folder = `${TEMP_FOLDER}/${IMPORT_PREFIX}${index}`;
    this.#segmentBytes = segmentBytes;
  }

  /** Takes over what an import of the same index left; nothing is written before something comes. */
  static async open(files: Files, random: Random, index: Digest, segmentBytes: number): Promise<Staging> {
    const staging = new Staging(files, random, index, segmentBytes);
    await staging.#takeOver();
    return staging;
  }

  /** A fresh file of this import, which goes when it ends. */
  async #create(name: string, sizeBytes = 0): Promise<{ readonly path: string; readonly file: NewFile }> {
    const path = `${this.#folder}/${tempName(this.#files.writer, this.#random)}${name}`;
    const file = await this.#createIn(path, sizeBytes);
    if (file === undefined) throw new CofferError("IO_ERROR", "temporary name taken; expected a fresh one");
    return { path, file };
  }

  async #createIn(path: string, sizeBytes: number): Promise<NewFile | undefined> {
    await this.#files.makeFolder(this.#folder);
    try {
      return await this.#files.create(path, 0o444, sizeBytes);
    } catch (error) {
      if ((await this.#files.stat(this.#folder)) !== undefined) throw error;
      // A gc saw it empty; it does not see that twice, as the next thing here is a file of ours.
      await this.#files.makeFolder(this.#folder);
      return this.#files.create(path, 0o444, sizeBytes);
    }
  }

  async #takeOver(): Promise<void> {
    const stateOf = writerStates(this.#files);
    for (const name of (await this.#files.list(this.#folder)) ?? []) {
      const [whose = "", blob = "", part = "", good] = name.split(".");
      if (stateOf(whose) === "living") continue;
      const path = `${this.#folder}/${name}`;
      if (!isDigest(blob) || !isNumber(part) || (good !== undefined && !isNumber(good))) {
        await this.#files.remove(path);
        continue;
      }
      const run: Run = { path, from: Number(part), count: 0, most: good === undefined ? undefined : Number(good) };
      run.path = this.#ownPath(blob, run);
      if (await this.#renamed(path, run.path)) this.#runs.set(blob, [...(this.#runs.get(blob) ?? []), run]);
    }
  }

  #ownPath(blob: Digest, { from, most }: Run): string {
    return `${this.#folder}/${tempName(this.#files.writer, this.#random)}${nameOf(blob, from, most)}`;
  }

  /** False if a gc, or another import, was faster. */
  async #renamed(path: string, own: string): Promise<boolean> {
    try {
      await this.#files.rename(path, own);
      return true;
    } catch (error) {
      if ((await this.#files.stat(path)) !== undefined) throw error;
      return false;
    }
  }

  #createFor(blob: Digest, part: number, sizeBytes: number) {
    return this.#create(nameOf(blob, part), sizeBytes);
  }

  #partsOf(sizeBytes: number): number {
    return Math.max(1, Math.ceil(sizeBytes / this.#segmentBytes));
  }

  #partBytes(sizeBytes: number, part: number): number {
    return Math.min(this.#segmentBytes, sizeBytes - part * this.#segmentBytes);
  }

  /**
   * Checks what an earlier import left of a blob, chunk by chunk, and keeps the parts that are right.
   * @param chunks - its chunk list; undefined where it has none
   */
  async recheck({ blob, sizeBytes }: BlobWanted, chunks: Uint8Array | undefined): Promise<void> {
    const kept: Run[] = [];
    for (const run of this.#runs.get(blob) ?? []) {
      run.count = await this.#goodParts(run, blob, sizeBytes, chunks);
      if (run.count === 0) await this.#files.remove(run.path);
      else {
        await this.#limit(run, blob, sizeBytes);
        kept.push(run);
      }
    }
    this.#runs.set(blob, kept);
  }

  /** What is wrong in a file cannot be cut off: its name says from now on how much of it is right. */
  async #limit(run: Run, blob: Digest, sizeBytes: number): Promise<void> {
    if ((await this.#partsBySize(run, sizeBytes)) === run.count) return;
    run.most = run.count;
    const path = this.#ownPath(blob, run);
    await this.#files.rename(run.path, path);
    run.path = path;
  }

  /** Takes what lies here of a blob by its size alone, while nothing is known to check it by: it will be. */
  async assume({ blob, sizeBytes }: BlobWanted): Promise<void> {
    for (const run of this.#runs.get(blob) ?? []) run.count = await this.#partsBySize(run, sizeBytes);
  }

  async #partsBySize({ path, from, most }: Run, sizeBytes: number): Promise<number> {
    const found = (await this.#files.stat(path))?.sizeBytes ?? 0;
    return Math.min(this.#partsIn(found, from, sizeBytes), most ?? Number.POSITIVE_INFINITY);
  }

  /** Whole parts in so many bytes from part `from` on. */
  #partsIn(bytes: number, from: number, sizeBytes: number): number {
    let count = 0;
    for (let left = bytes; from + count < this.#partsOf(sizeBytes); count += 1) {
      left -= this.#partBytes(sizeBytes, from + count);
      if (left < 0) break;
    }
    return count;
  }

  async #goodParts(run: Run, blob: Digest, sizeBytes: number, chunks: Uint8Array | undefined): Promise<number> {
    const file = await this.#files.open(run.path);
    if (file === undefined) return 0;
    try {
      const check = new PartCheck(blob, run.from * this.#segmentBytes, chunks);
      let held = 0;
      for await (const piece of readPieces(file, sizeBytes)) {
        held += piece.length;
        if (!check.update(piece)) break;
      }
      const reached = run.from * this.#segmentBytes + held;
      if (reached > sizeBytes) return 0;
      return this.#partsIn(check.end(reached === sizeBytes), run.from, sizeBytes);
    } finally {
      await file.close();
    }
  }

  /** True if the part lies here, right. */
  has(item: BlobItem): boolean {
    if (this.#whole.has(item.blob)) return true;
    const part = item.part ?? 0;
    return (this.#runs.get(item.blob) ?? []).some(({ from, count }) => part >= from && part < from + count);
  }

  /** Forgets what lies here of a blob. */
  async drop(blob: Digest): Promise<void> {
    for (const { path } of this.#runs.get(blob) ?? []) await this.#files.remove(path);
    this.#runs.delete(blob);
    const whole = this.#whole.get(blob);
    if (whole !== undefined) await discardBlobs(this.#files, [whole]);
    this.#whole.delete(blob);
  }

  /** Writes what a parcel brings, hashing it on the way. @throws CofferError NO_SPACE, IO_ERROR; as `parcel.read` */
  async take(parcel: Parcel & { readonly item: BlobItem }): Promise<void> {
    const open = await this.#openFor(parcel.item);
    for await (const piece of parcel.read()) await Promise.all([open.file.write(piece), open.hasher.update(piece)]);
    open.run.count += 1;
  }

  async #openFor({ blob, part = 0, sizeBytes }: BlobItem): Promise<Open> {
    const { run, blob: current } = this.#open ?? {};
    if (this.#open !== undefined && current === blob && run !== undefined && run.from + run.count === part)
      return this.#open;
    await this.#close();
    const { path, file } = await this.#createFor(blob, part, sizeBytes);
    const fresh = { path, from: part, count: 0 };
    this.#runs.set(blob, [...(this.#runs.get(blob) ?? []), fresh]);
    this.#open = { blob, run: fresh, file, hasher: new ChunkHasher(sizeBytes) };
    return this.#open;
  }

  /** Leaves what came of a blob to whoever comes next, this process included. */
  async #release(blob: Digest): Promise<void> {
    const whole = this.#whole.get(blob);
    const runs: Run[] = [...(this.#runs.get(blob) ?? [])];
    if (whole !== undefined) runs.push({ path: whole.temp, from: 0, count: 0 });
    for (const { path, from, most } of runs) {
      const free = Buffer.from(this.#random(16)).toString("hex");
      await this.#files.rename(path, `${this.#folder}/${free}${nameOf(blob, from, most)}`);
    }
  }

  async #close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.file.close();
  }

  /**
   * The whole blob, if all of it came: its bytes hashed, durable, without a name yet.
   * @throws CofferError OBJECT_MISMATCH - they are other bytes than the name says; what lay here of it is gone then
   */
  async whole(wanted: BlobWanted): Promise<StagedBlob | undefined> {
    const { blob, sizeBytes } = wanted;
    const known = this.#whole.get(blob);
    if (known !== undefined) return known;
    const runs = this.#cover(blob, this.#partsOf(sizeBytes));
    if (runs === undefined) return undefined;
    const [only, ...others] = runs;
    const staged =
      only !== undefined && others.length === 0 ? await this.#single(wanted, only) : await this.#joined(wanted, runs);
    if (staged.sha256 !== blob || staged.sizeBytes !== sizeBytes) {
      await discardBlobs(this.#files, [staged]);
      await this.drop(blob);
      throw new CofferError("OBJECT_MISMATCH", `blob ${short(blob)}: the bytes that came are not those of its name`);
    }
    for (const { path } of this.#runs.get(blob) ?? []) if (path !== staged.temp) await this.#files.remove(path);
    this.#runs.delete(blob);
    this.#whole.set(blob, staged);
    return staged;
  }

  /** Runs that have all parts together, in order; undefined if one is missing. */
  #cover(blob: Digest, parts: number): Run[] | undefined {
    const found: Run[] = [];
    for (let next = 0; next < parts; ) {
      const runs = this.#runs.get(blob) ?? [];
      const best = runs.find(({ from, count }) => from <= next && from + count > next);
      if (best === undefined) return undefined;
      found.push(best);
      next = best.from + best.count;
    }
    return found;
  }

  /** One file has all of it: hashed while it was written, or hashed now if it was found. */
  async #single({ blob }: BlobWanted, run: Run): Promise<StagedBlob> {
    const open = this.#open;
    if (open !== undefined && open.blob === blob && open.run === run) {
      this.#open = undefined;
      await this.#makeDurable(open.file, blob, run);
      return { temp: run.path, ...(await open.hasher.digest()) };
    }
    const file = await this.#files.open(run.path);
    if (file === undefined) throw new CofferError("IO_ERROR", "a staged file went away while it was in use");
    try {
      const hashed = await hashFile(file);
      await this.#makeDurable(file, blob, run);
      return { temp: run.path, ...hashed };
    } finally {
      await file.close();
    }
  }

  /** A file whose fsync failed is given up: the system has forgotten what it could not write, and would not say so again. */
  async #makeDurable(file: OpenFile, blob: Digest, run: Run): Promise<void> {
    try {
      await file.fsync();
    } catch (error) {
      this.#runs.set(
        blob,
        (this.#runs.get(blob) ?? []).filter((other) => other !== run),
      );
      await Promise.allSettled([this.#files.remove(run.path)]); // the failure that led here is the one to tell
      throw error;
    } finally {
      await file.close();
    }
  }

  async #joined({ blob, sizeBytes }: BlobWanted, runs: readonly Run[]): Promise<StagedBlob> {
    await this.#close();
    const { path, file: target } = await this.#createFor(blob, 0, sizeBytes);
    const hasher = new ChunkHasher(sizeBytes);
    try {
      for (const { path: from, from: first, count } of runs) {
        const start = hasher.sizeBytes - first * this.#segmentBytes;
        const end = Math.min(sizeBytes, (first + count) * this.#segmentBytes) - first * this.#segmentBytes;
        await this.#copy(from, start, end, target, hasher);
      }
      const hashed = await hasher.digest();
      await target.fsync();
      return { temp: path, ...hashed };
    } catch (error) {
      await Promise.allSettled([target.close()]); // the failure that led here is the one to tell
      await Promise.allSettled([this.#files.remove(path)]);
      throw error;
    } finally {
      await target.close();
    }
  }

  async #copy(from: string, start: number, end: number, target: NewFile, hasher: ChunkHasher): Promise<void> {
    const file = await this.#files.open(from);
    if (file === undefined) throw new CofferError("IO_ERROR", "a staged file went away while it was in use");
    try {
      let at = start;
      for await (const piece of readRange(file, start, end, BUFFER_BYTES)) {
        await Promise.all([target.write(piece), hasher.update(piece)]);
        at += piece.length;
      }
      if (at < end) throw new CofferError("IO_ERROR", "a staged file became shorter while it was in use");
    } finally {
      await file.close();
    }
  }

  /** It has a name in the store now. */
  published(blob: Digest): void {
    this.#whole.delete(blob);
  }

  /**
   * Ends the work on the folder. @param keep - what came of blobs stays for the next import of the same index
   */
  async end(keep: boolean): Promise<void> {
    await this.#close();
    await this.small.close();
    if (this.#smallPath !== undefined) await this.#files.remove(this.#smallPath);
    for (const blob of [...this.#runs.keys(), ...this.#whole.keys()]) {
      if (keep) await this.#release(blob);
      else await this.drop(blob);
    }
    const left = await this.#files.list(this.#folder);
    if (left !== undefined && left.length === 0) await this.#files.removeFolder(this.#folder);
  }
}

const isNumber = (text: string): boolean => /^[0-9]{5}$/.test(text);

/** @param most - how many parts are right, where what follows is not */
function nameOf(blob: Digest, part: number, most?: number): string {
  const numbers = most === undefined ? [part] : [part, most];
  return [`.${blob}`, ...numbers.map((number) => String(number).padStart(5, "0"))].join(".");
}
