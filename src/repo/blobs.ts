// SPDX-License-Identifier: Apache-2.0
/** Verified bytes of the files in a manifest, and which trusted name holds a blob. Layer: repo. Holds invariant 6. */
import { type Digest, short } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import { type BlobReader, openBlob } from "../objects/blob-store.ts";
import type { ManifestFile } from "../objects/documents/manifest.ts";
import type { HeadView } from "../refs/head-view.ts";
import { diffTrees } from "../refs/ref-tree.ts";
import { readManifest, readStatement } from "./dossier.ts";
import type { Store } from "./store.ts";

/** @throws CofferError CORRUPT - the blob or its chunk list is missing or of another size */
export async function openManifestFile(store: Store, file: ManifestFile): Promise<BlobReader> {
  const reader = await openBlob(store.files, file, await readChunkList(store, file));
  if (reader === undefined) throw missingBlob(file);
  return reader;
}

/** The bytes of a file's chunk list; undefined if it has none. @throws CofferError CORRUPT - missing or altered */
export async function readChunkList(store: Store, file: ManifestFile): Promise<Uint8Array | undefined> {
  if (file.chunks === undefined) return undefined;
  const bytes = await store.objects.read(file.chunks);
  if (bytes !== undefined) return bytes;
  throw new CofferError("CORRUPT", `chunk list ${short(file.chunks)} of ${file.path} is missing`);
}

export function missingBlob({ sha256, path }: ManifestFile): CofferError {
  return new CofferError("CORRUPT", `blob ${short(sha256)} (${path}) is missing`);
}

interface Held {
  readonly file: ManifestFile;
  readonly name: Name;
}

/**
 * From a blob to the trusted refs whose manifests hold it. It says where to look and decides nothing: the caller still
 * asks for a verdict on the name. Follows the head by the difference of ref trees.
 */
export class BlobHolders {
  private readonly store: Store;
  private root: Digest | undefined;
  private readonly holders = new Map<Digest, Map<string, Held>>();
  /** Names whose statement or manifest could not be read, with why. */
  private readonly damaged = new Map<string, CofferError>();

  constructor(store: Store) {
    this.store = store;
  }

  /**
   * Names that hold `blob` under refs/trusted at `head`, with the file's entry in their manifest.
   * @throws CofferError CORRUPT - none is found, and some name could not be read: it may be the one
   */
  async find(head: HeadView, blob: Digest): Promise<Held[]> {
    if (this.root !== head.root) await this.follow(head);
    const found = [...(this.holders.get(blob)?.values() ?? [])];
    const [damage] = this.damaged.values();
    if (found.length === 0 && damage !== undefined) throw damage;
    return found;
  }

  private async follow(head: HeadView): Promise<void> {
    if (this.root === undefined) {
      for await (const [ref, id] of head.listRefs("refs/trusted/")) await this.note(ref, undefined, id);
    } else {
      for await (const { ref, from, to } of diffTrees(this.store.objects, this.root, head.root)) {
        await this.note(ref, from, to);
      }
    }
    this.root = head.root;
  }

  private async note(ref: string, from: Digest | undefined, to: Digest | undefined): Promise<void> {
    const parsed = parseRefPath(ref);
    if (parsed.family !== "trusted") return;
    const { name } = parsed;
    this.damaged.delete(name.text);
    try {
      if (from !== undefined) for (const file of await this.filesOf(from)) this.drop(file.sha256, name);
      if (to !== undefined) for (const file of await this.filesOf(to)) this.hold({ file, name });
    } catch (error) {
      if (!isCofferError(error, "CORRUPT")) throw error;
      this.damaged.set(name.text, error); // one damaged name must not take the others' blobs away
    }
  }

  private hold(held: Held): void {
    const names = this.holders.get(held.file.sha256) ?? new Map<string, Held>();
    names.set(held.name.text, held);
    this.holders.set(held.file.sha256, names);
  }

  private drop(blob: Digest, name: Name): void {
    const names = this.holders.get(blob);
    names?.delete(name.text);
    if (names?.size === 0) this.holders.delete(blob);
  }

  private async filesOf(statement: Digest): Promise<readonly ManifestFile[]> {
    const { value } = await readStatement(this.store, statement);
    return (await readManifest(this.store, value.manifest)).value.files;
  }
}
