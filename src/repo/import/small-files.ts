// SPDX-License-Identifier: Apache-2.0
/**
 * Objects and signatures that arrived and are not verified yet: the first 16 MiB in memory, all others one after another
 * in a single file of the staging folder, so that a denial needs no disk and a hundred thousand of them one file.
 * Layer: repo. Gone when the import ends.
 */
import { CofferError } from "../../base/errors.ts";
import type { NewFile } from "../../objects/files.ts";

const MEMORY_BYTES = 16 * 1024 * 1024;

/** Where bytes lie. */
export interface Place {
  readonly at: number;
  readonly sizeBytes: number;
}

export class SmallFiles {
  readonly #create: () => Promise<NewFile>;
  readonly #memoryBytes: number;
  readonly #held = new Map<number, Uint8Array>();
  #file: NewFile | undefined;
  #end = 0;
  #heldEnd = 0;

  /** @param create - makes the file once it is needed */
  constructor(create: () => Promise<NewFile>, memoryBytes: number = MEMORY_BYTES) {
    this.#create = create;
    this.#memoryBytes = memoryBytes;
  }

  /** `bytes` must not change afterwards. @throws CofferError NO_SPACE, IO_ERROR */
  async put(bytes: Uint8Array): Promise<Place> {
    const place = { at: this.#end, sizeBytes: bytes.length };
    if (this.#file === undefined && place.at + bytes.length <= this.#memoryBytes) {
      this.#held.set(place.at, bytes);
      this.#heldEnd = place.at + bytes.length;
    } else {
      this.#file ??= await this.#create();
      await this.#file.write(bytes);
    }
    this.#end += bytes.length;
    return place;
  }

  async read({ at, sizeBytes }: Place): Promise<Uint8Array> {
    const held = this.#held.get(at);
    if (held !== undefined) return held;
    const bytes = new Uint8Array(sizeBytes);
    const read = (await this.#file?.read(bytes, at - this.#heldEnd)) ?? 0;
    if (read !== sizeBytes) throw new CofferError("IO_ERROR", `expected ${sizeBytes} staged bytes, found ${read}`);
    return bytes;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}
