// SPDX-License-Identifier: Apache-2.0
/**
 * Durable write of many small files at once: temporary files, fsync of all, renames, fsync of each folder once.
 * Layer: objects. Holds invariant 1. Locking: none; writers of the same object all succeed.
 * Crash: leaves at most files under local/tmp (leftovers.ts) and complete objects that nothing names yet.
 */
import { type Digest, sha256 } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Files, NewFile } from "./files.ts";
import { createTemp, ensureFolders, objectPath, parentFolder, signaturePath, tempPath } from "./layout.ts";
import { hasTrash } from "./trash.ts";

interface Pending {
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface Written {
  readonly temp: string;
  readonly path: string;
}

/** Handles open at one time: many systems give a process 256 of them, some fewer. */
const OPEN_AT_ONCE = 64;

export class WriteBatch {
  private readonly files: Files;
  private readonly random: Random;
  private readonly pending = new Map<string, Pending>();
  /** What is on disk: written, or found there and renewed. */
  private readonly flushed = new Map<string, Pending>();
  private readonly pendingObjects = new Map<Digest, Uint8Array>();

  constructor(files: Files, random: Random) {
    this.files = files;
    this.random = random;
  }

  /** Objects that `flush` will write, by id: a reader laid over the store sees them already. */
  get objects(): ReadonlyMap<Digest, Uint8Array> {
    return this.pendingObjects;
  }

  /** @throws CofferError OBJECT_MISMATCH - `bytes` are not those of `id` */
  addObject(object: { readonly id: Digest; readonly bytes: Uint8Array }): void {
    if (sha256(object.bytes) !== object.id) throw new CofferError("OBJECT_MISMATCH", "object: bytes and id differ");
    this.pendingObjects.set(object.id, object.bytes);
    this.add(objectPath(object.id), object.bytes);
  }

  /** The caller has checked that the signature verifies (signatures.ts). */
  addSignature(object: Digest, keyId: KeyId, armored: string): void {
    this.add(signaturePath(object, keyId), new TextEncoder().encode(armored));
  }

  private add(path: string, bytes: Uint8Array): void {
    this.pending.set(path, { path, bytes });
  }

  /**
   * Makes all of it durable; may be called again after more was added.
   * @throws CofferError NO_SPACE, IO_ERROR - what was renamed by then stays: complete, and named by nothing
   */
  async flush(): Promise<void> {
    const entries = [...this.pending.values()];
    if (entries.length === 0) return;
    const folders = new Set(entries.map((entry) => parentFolder(entry.path)));
    await ensureFolders(this.files, folders);
    const fresh: Pending[] = [];
    for (const entry of entries) if (!(await this.isThere(entry))) fresh.push(entry);
    await this.writeFresh(fresh);
    // A file that was there already may be another writer's, renamed but not yet durable: its folder counts too.
    for (const slice of slices([...folders])) {
      await Promise.all(slice.map((folder) => this.files.fsyncFolder(folder)));
    }
    for (const entry of entries) this.flushed.set(entry.path, entry);
    this.pending.clear();
  }

  /**
   * After the commit that names what was flushed: a gc that started before it may have taken some of it for garbage, and
   * that is written again. (One that starts after it sees that it is reached.)
   * @throws CofferError as `flush`
   */
  async confirm(): Promise<void> {
    if (!(await hasTrash(this.files))) return;
    for (const entry of this.flushed.values()) {
      if ((await this.files.stat(entry.path)) === undefined) this.pending.set(entry.path, entry);
    }
    await this.flush();
  }

  /** True if the very bytes are there, and are young again: gc leaves alone what is young. */
  private async isThere(entry: Pending): Promise<boolean> {
    const stat = await this.files.stat(entry.path);
    if (stat === undefined || stat.kind !== "file" || stat.sizeBytes !== entry.bytes.length) return false;
    const found = await this.files.read(entry.path, entry.bytes.length);
    if (found === undefined || Buffer.compare(found, entry.bytes) !== 0) return false;
    try {
      return await this.files.touch(entry.path);
    } catch (error) {
      if (isCofferError(error, "IO_ERROR")) return false; // another account's: a copy of our own takes its place
      throw error;
    }
  }

  /** No file gets its name before all are durable. */
  private async writeFresh(entries: readonly Pending[]): Promise<void> {
    const written: Written[] = [];
    try {
      for (const slice of slices(entries)) await this.writeSlice(slice, written);
      for (const { temp, path } of written) await this.files.rename(temp, path);
    } catch (error) {
      // The first error is the one to tell; what was renamed already is complete and stays.
      await Promise.allSettled(written.map(({ temp }) => this.files.remove(temp)));
      throw error;
    }
  }

  /** Writes, fsyncs and closes; each temporary file is in `written` from the moment that it exists. */
  private async writeSlice(entries: readonly Pending[], written: Written[]): Promise<void> {
    const open: NewFile[] = [];
    try {
      for (const { path, bytes } of entries) {
        const temp = tempPath(this.files, this.random);
        const file = await createTemp(this.files, temp, 0o444);
        written.push({ temp, path });
        open.push(file);
        await file.write(bytes);
      }
      await Promise.all(open.map((file) => file.fsync()));
      for (const file of open) await file.close();
    } catch (error) {
      await Promise.allSettled(open.map((file) => file.close()));
      throw error;
    }
  }
}

function* slices<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += OPEN_AT_ONCE) yield items.slice(at, at + OPEN_AT_ONCE);
}
