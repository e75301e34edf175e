// SPDX-License-Identifier: Apache-2.0
/**
 * The bare repository under `git/` in a store: packs, branches, and the files that git-lfs fetches. Layer: repo.
 * It is made from the store and never read back as truth, so anything found there may be thrown away and made again.
 * Crash: packs and files that no branch names yet; the branches change by one rename.
 */
import type { Digest } from "../base/digest.ts";
import { passOthers } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import { type GitId, type GitObject, gitBlob } from "../git/git-object.ts";
import { idsInIndex, makePack } from "../git/pack.ts";
import { GIT_CONFIG, lfsPath, METADATA_BRANCH, packedRefs } from "../git/projection.ts";
import { type ManifestFile, parseManifest } from "../objects/documents/manifest.ts";
import type { Files } from "../objects/files.ts";
import { createTemp, ensureFolders, namesIn, parentFolder, tempPath } from "../objects/layout.ts";
import { discard, isSameFile, writeTemp } from "../refs/temp-file.ts";
import { openManifestFile } from "./blobs.ts";
import { readNamed } from "./dossier.ts";
import type { Store } from "./store.ts";

export const GIT_FOLDER = "git";
const PACKS = `${GIT_FOLDER}/objects/pack`;
const LFS_OBJECTS = `${GIT_FOLDER}/lfs/objects`;
/** A pack of so many objects takes some 20 MB of memory to make. */
const OBJECTS_PER_PACK = 20_000;
const INDEX_LIMIT_BYTES = 1024 ** 3;

export class GitFiles {
  private readonly files: Files;
  private readonly random: Random;

  constructor({ files, ports }: Pick<Store, "files" | "ports">) {
    this.files = files;
    this.random = ports.random;
  }

  /** Makes what a bare repository has before its first branch; what is there already stays. */
  async prepare(): Promise<void> {
    await ensureFolders(this.files, [PACKS, `${GIT_FOLDER}/refs`, LFS_OBJECTS]);
    await this.write(`${GIT_FOLDER}/config`, GIT_CONFIG, 0o644);
    await this.write(`${GIT_FOLDER}/HEAD`, `ref: refs/heads/${METADATA_BRANCH}\n`, 0o644);
  }

  /** Ids of all objects in packs; a pack without its index, or the reverse, is as if it were not there. */
  async packed(): Promise<Set<GitId>> {
    const names = new Set(await namesIn(this.files, PACKS));
    const ids = new Set<GitId>();
    for (const name of names) {
      if (!name.endsWith(".idx") || !names.has(name.replace(/idx$/, "pack"))) continue;
      const index = await this.files.read(`${PACKS}/${name}`, INDEX_LIMIT_BYTES);
      if (index !== undefined) for (const id of idsInIndex(index)) ids.add(id);
    }
    return ids;
  }

  /** Makes objects durable, in packs that appear whole. @param objects - each id once */
  async addObjects(objects: readonly GitObject[]): Promise<void> {
    for (let at = 0; at < objects.length; at += OBJECTS_PER_PACK) {
      const { name, pack, index } = makePack(objects.slice(at, at + OBJECTS_PER_PACK));
      await this.write(`${PACKS}/${name}.pack`, pack, 0o444);
      await this.write(`${PACKS}/${name}.idx`, index, 0o444);
    }
  }

  /** Puts all branches in place at once; what somebody else set there is gone. */
  async setBranches(branches: ReadonlyMap<string, GitId>): Promise<void> {
    for (const path of await this.below(`${GIT_FOLDER}/refs`)) await this.files.remove(path);
    await this.write(`${GIT_FOLDER}/packed-refs`, packedRefs(branches), 0o644);
  }

  /**
   * Copies a file to where git-lfs looks for it, each byte checked on the way.
   * @returns false if it is there. @throws CofferError CORRUPT, NO_SPACE, IO_ERROR
   */
  async addLfs(store: Store, file: ManifestFile): Promise<boolean> {
    const path = `${GIT_FOLDER}/${lfsPath(file.sha256)}`;
    const there = await this.files.stat(path);
    if (there?.kind === "file" && there.sizeBytes === file.size) return false;
    const temp = tempPath(this.files, this.random);
    const blob = await openManifestFile(store, file);
    try {
      await this.copy(blob.stream(0, blob.sizeBytes), temp);
    } finally {
      await blob.close();
    }
    await this.place(temp, path);
    return true;
  }

  private async copy(bytes: AsyncIterable<Uint8Array>, temp: string): Promise<void> {
    const copy = await createTemp(this.files, temp, 0o444);
    try {
      for await (const piece of bytes) await copy.write(piece);
      await copy.fsync();
      await copy.close();
    } catch (error) {
      await Promise.allSettled([copy.close()]);
      await discard(this.files, temp);
      throw error;
    }
  }

  /** Removes every file that git-lfs could fetch and that is not wanted. @returns how many */
  async keepLfs(wanted: ReadonlySet<Digest>): Promise<number> {
    const keep = new Set([...wanted].map((blob) => `${GIT_FOLDER}/${lfsPath(blob)}`));
    let removed = 0;
    for (const path of await this.below(LFS_OBJECTS)) {
      if (!keep.has(path) && (await this.files.remove(path))) removed += 1;
    }
    return removed;
  }

  private async write(path: string, content: Uint8Array | string, mode: number): Promise<void> {
    const { content: bytes } = gitBlob(content);
    if (await isSameFile(this.files, path, bytes)) return;
    const temp = tempPath(this.files, this.random);
    await writeTemp(this.files, temp, bytes, mode);
    await this.place(temp, path);
  }

  private async place(temp: string, path: string): Promise<void> {
    try {
      await ensureFolders(this.files, [parentFolder(path)]);
      await this.files.rename(temp, path);
    } catch (error) {
      await discard(this.files, temp);
      throw error;
    }
    await this.files.fsyncFolder(parentFolder(path));
  }

  /** Files at any depth, but no deeper than git itself makes them. */
  private async below(folder: string, depth = 6): Promise<string[]> {
    const found: string[] = [];
    for (const name of await namesIn(this.files, folder)) {
      const path = `${folder}/${name}`;
      const stat = await this.files.stat(path);
      if (stat?.kind === "folder" && depth > 0) found.push(...(await this.below(path, depth - 1)));
      else if (stat !== undefined && stat.kind !== "folder") found.push(path);
    }
    return found;
  }
}

/** What a denial takes away. */
export interface Withdrawn {
  readonly manifests: Iterable<Digest>;
  readonly blobs: Iterable<Digest>;
  /** Of these manifests, what a trusted name holds as well. */
  readonly kept: Iterable<Digest>;
}

/**
 * Takes files out of the projection before what trusted them falls, so that git-lfs gives none of it in between. The
 * next export puts back what another name needs. Nothing happens where there is no projection; what cannot be removed is
 * told, and stops no revocation.
 */
export async function withdrawLfs(store: Store, { manifests, blobs, kept }: Withdrawn): Promise<void> {
  const keep = new Set(kept);
  const gone = new Set(blobs);
  const orTell = async (step: () => Promise<unknown>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      passOthers(error);
      store.warnings.push(`revoked files stay in ${GIT_FOLDER}/: ${error.message}; run \`coffer git export\``);
    }
  };
  let isThere = false;
  await orTell(async () => {
    isThere = (await store.files.stat(LFS_OBJECTS)) !== undefined;
  });
  if (!isThere) return;
  // Each by itself: what cannot be read or removed keeps nothing else there.
  for (const id of new Set(manifests)) {
    await orTell(async () => {
      const manifest = await readNamed(store, id, parseManifest);
      for (const { sha256 } of manifest?.value.files ?? []) if (!keep.has(sha256)) gone.add(sha256);
    });
  }
  for (const blob of gone) await orTell(() => store.files.remove(`${GIT_FOLDER}/${lfsPath(blob)}`));
}
