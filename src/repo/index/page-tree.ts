// SPDX-License-Identifier: Apache-2.0
/**
 * A tree of pages in one file, written front to back from sorted entries and read from any key on with a few reads.
 * Layer: repo. The root vouches for every page below it. Not here: what the root is bound to (run-file.ts).
 */
import { sha256 } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import type { NewFile, OpenFile } from "../../objects/files.ts";
import { LeastRecent } from "../serving-cache.ts";
import type { Entry } from "./keys.ts";
import type { Page, PageChild, PageCodec, PageRef } from "./pages.ts";

const PAGE_BYTES = 4096;
/** What an entry takes beside its key: roughly. */
const ENTRY_BYTES = 3;
const CHILD_BYTES = 48;
/** No page comes near this: a key has at most some 250 characters. */
const MOST_PAGE_BYTES = 64 * 1024;
/** Pages kept of one file: about a megabyte. */
const KEPT_PAGES = 128;

interface Level {
  children: PageChild[];
  bytes: number;
}

export class PageTreeWriter {
  readonly #file: NewFile;
  readonly #codec: PageCodec;
  #entries: Entry[] = [];
  #bytes = 0;
  #offset = 0;
  readonly #levels: Level[] = [];

  constructor(file: NewFile, codec: PageCodec) {
    this.#file = file;
    this.#codec = codec;
  }

  /** Where the next byte goes. */
  get offset(): number {
    return this.#offset;
  }

  /** Keys must rise; the promise, if there is one, must be awaited before the next call. */
  add(entry: Entry): Promise<void> | undefined {
    this.#entries.push(entry);
    this.#bytes += entry.key.length + ENTRY_BYTES;
    return this.#bytes < PAGE_BYTES ? undefined : this.#endLeaf();
  }

  /** Writes what is left. @returns the root; of no entries, an empty leaf */
  async finish(): Promise<PageRef> {
    if (this.#entries.length > 0 || this.#levels.length === 0) await this.#endLeaf();
    for (let level = 0; ; level += 1) {
      const { children } = this.#levels[level] ?? { children: [] };
      const [only, ...others] = children;
      if (only !== undefined && others.length === 0 && level === this.#levels.length - 1) return only;
      if (children.length > 0) await this.#endLevel(level);
    }
  }

  async #endLeaf(): Promise<void> {
    const entries = this.#entries;
    this.#entries = [];
    this.#bytes = 0;
    await this.#put({ kind: "leaf", entries }, entries[0]?.key ?? "", 0);
  }

  async #endLevel(level: number): Promise<void> {
    const children = this.#levels[level]?.children ?? [];
    this.#levels[level] = { children: [], bytes: 0 };
    await this.#put({ kind: "inner", children }, children[0]?.firstKey ?? "", level + 1);
  }

  async #put(page: Page, firstKey: string, level: number): Promise<void> {
    const bytes = this.#codec.encode(page);
    const child = { firstKey, offset: this.#offset, sizeBytes: bytes.length, sha256: sha256(bytes) };
    this.#offset += bytes.length;
    await this.#file.write(bytes);
    const above = this.#levels[level] ?? { children: [], bytes: 0 };
    this.#levels[level] = above;
    above.children.push(child);
    above.bytes += firstKey.length + CHILD_BYTES;
    if (above.bytes >= PAGE_BYTES) await this.#endLevel(level);
  }
}

/** Reads of one file's pages. Whoever opened the file closes it. */
export class PageTree {
  readonly #file: OpenFile;
  readonly #codec: PageCodec;
  readonly #root: PageRef;
  readonly #kept = new LeastRecent<Page>(KEPT_PAGES);

  constructor(file: OpenFile, codec: PageCodec, root: PageRef) {
    this.#file = file;
    this.#codec = codec;
    this.#root = root;
  }

  /** Entries from the key `from` on. @throws CofferError CORRUPT - a page is not what was written */
  entries(from = ""): AsyncGenerator<readonly Entry[]> {
    return this.#below(this.#root, from);
  }

  async *#below(ref: PageRef, from: string): AsyncGenerator<readonly Entry[]> {
    const page = await this.#page(ref);
    if (page.kind === "leaf") {
      const first = page.entries.findIndex((entry) => entry.key >= from);
      if (first >= 0) yield first === 0 ? page.entries : page.entries.slice(first);
      return;
    }
    for (const [at, child] of page.children.entries()) {
      const next = page.children[at + 1];
      if (next !== undefined && next.firstKey <= from) continue;
      yield* this.#below(child, from);
    }
  }

  async #page(ref: PageRef): Promise<Page> {
    const key = String(ref.offset);
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    if (ref.sizeBytes > MOST_PAGE_BYTES) throw new CofferError("CORRUPT", `index page: ${ref.sizeBytes} bytes`);
    const bytes = new Uint8Array(ref.sizeBytes);
    const found = await this.#file.read(bytes, ref.offset);
    const page = this.#codec.decode(bytes.subarray(0, found), ref);
    this.#kept.set(key, page);
    return page;
  }
}
