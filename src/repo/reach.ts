// SPDX-License-Identifier: Apache-2.0
/**
 * What a store still needs: the objects that any log entry reaches, and the blobs that the newest head does.
 * Layer: repo. docs/architecture.md, "What gc takes". Not here: what becomes of the rest (gc.ts).
 *
 * Every object is read once, however many entries reach it: a node, and all below it, is passed over where it was met
 * before, so an entry costs what it changed. In memory: 27 to 53 bytes an object.
 */
import { type Digest, short } from "../base/digest.ts";
import { DigestSet } from "../base/digest-set.ts";
import { CofferError } from "../base/errors.ts";
import { parseRefPath, type RefPath } from "../base/ref-path.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import type { HeadView } from "../refs/head-view.ts";
import { EMPTY_TREE } from "../refs/ref-node.ts";
import { diffTrees } from "../refs/ref-tree.ts";
import { readList, readManifest, readNamed, readStatement } from "./dossier.ts";
import { LINKS, type Link } from "./links.ts";
import type { Store } from "./store.ts";

export class Reach {
  private readonly store: Store;
  /** Objects whose own links were followed. */
  private readonly followed = new DigestSet();
  /** Statements that were followed where not all that they name need be here; somebody may yet ask for all of it. */
  private readonly tolerated = new DigestSet();
  /** Objects that are named where nothing is to be followed: chunk lists, and what is not of the kind it is named as. */
  private readonly named = new DigestSet();
  private readonly blobs = new DigestSet();
  /** Statements and manifests whose blobs are in `blobs`. */
  private readonly counted = new DigestSet();
  private entries = 0;
  private root: Digest = EMPTY_TREE.id;

  constructor(store: Store) {
    this.store = store;
    this.followed.add(EMPTY_TREE.id); // known without a file, and kept where init wrote one
  }

  /** True if an entry followed so far reaches the object. */
  hasObject(id: Digest): boolean {
    return this.followed.has(id) || this.tolerated.has(id) || this.named.has(id);
  }

  /** True if a head followed so far needs the blob. */
  hasBlob(id: Digest): boolean {
    return this.blobs.has(id);
  }

  /**
   * Adds all that was committed since the last call; nothing is ever taken out.
   * @throws CofferError CORRUPT - something that must be here is missing or damaged, so what it reaches is not known;
   *   UNSUPPORTED - a newer version wrote it
   */
  async follow(): Promise<void> {
    const head = await this.store.head();
    for await (const { facts } of this.store.log.entries(this.entries + 1)) {
      await this.mark({ id: facts.refs, kind: "node", must: true });
      this.entries = facts.number;
    }
    await this.followBlobs(head);
  }

  private async mark(first: Link): Promise<void> {
    const open = [first];
    for (let link = open.pop(); link !== undefined; link = open.pop()) {
      if (this.wasFollowed(link)) continue;
      const links = await this.linksOf(link);
      if (links === undefined) {
        this.named.add(link.id); // somebody may yet name it as what it is, so it is not passed over then
        continue;
      }
      (link.kind === "early-statement" ? this.tolerated : this.followed).add(link.id);
      for (const next of links) if (!this.wasFollowed(next)) open.push(next);
    }
  }

  private wasFollowed({ id, kind }: Link): boolean {
    return this.followed.has(id) || (kind === "early-statement" && this.tolerated.has(id));
  }

  /** undefined: there is nothing to follow, or it is not here and need not be. */
  private async linksOf({ id, kind, must }: Link): Promise<readonly Link[] | undefined> {
    // Whether a chunk list is there, and right, is for fsck.
    if (kind === "opaque") return undefined;
    const bytes = await this.store.objects.read(id);
    if (bytes === undefined) {
      if (!must) return undefined;
      throw new CofferError("CORRUPT", `${kind} ${short(id)} is missing, so what it reaches is not known`);
    }
    try {
      return LINKS[kind](bytes);
    } catch (error) {
      if (!(error instanceof CofferError)) throw error;
      if (!must) return undefined; // a document from outside may name anything as anything
      if (error.code === "UNSUPPORTED") throw error;
      throw new CofferError("CORRUPT", `${kind} ${short(id)}: ${error.message}`, { cause: error });
    }
  }

  /** As `follow`, for what `hasBlob` and `needsManifest` tell of the newest head alone. */
  async followHead(): Promise<void> {
    await this.followBlobs(await this.store.head());
  }

  /** True if a head followed so far needs the manifest's blobs. */
  needsManifest(id: Digest): boolean {
    return this.counted.has(id);
  }

  private async followBlobs(head: HeadView): Promise<void> {
    for await (const { ref, to } of diffTrees(this.store.objects, this.root, head.root)) {
      if (to === undefined) continue;
      for (const id of await manifestsBehind(this.store, ref, to, this.counted)) await this.countBlobs(id);
    }
    this.root = head.root;
  }

  private async countBlobs(manifest: Digest): Promise<void> {
    if (!this.counted.add(manifest)) return;
    for (const file of (await readManifest(this.store, manifest)).value.files) this.blobs.add(file.sha256);
  }
}

/**
 * The manifests whose bytes one ref keeps: what waits under a name, and all that its chain ever trusted, back to the
 * last statement that deleted it.
 *
 * @param seen - statements to pass over; those that are met are added
 */
export async function manifestsBehind(
  store: Store,
  ref: RefPath,
  id: Digest,
  seen: DigestSet = new DigestSet(),
): Promise<readonly Digest[]> {
  switch (parseRefPath(ref).family) {
    case "acquired":
    case "quarantined":
      return [id];
    case "proposed":
    case "revoking":
      return [(await readStatement(store, id)).value.manifest];
    case "trusted":
      return manifestsOfChain(store, [id], seen, true); // the name's one head
    case "chain":
      return manifestsOfChain(store, await readList(store, id, "chain"), seen, true);
    case "waiting":
      return manifestsOfChain(store, await readList(store, id, "list of waiting"), seen, false);
    // All others are named, so that a new family cannot be forgotten here.
    case "policy":
    case "deleting": // its name's chain keeps the bytes until then
    case "revoked":
    case "deleted":
    case "revoked-bytes":
    case "refused":
    case "evidence":
    case "signers":
    case "remotes":
      return [];
  }
}

/** The manifests of a name's statements from `heads` back to the last one that deleted it, which is left out. */
export function manifestsBackFrom(store: Store, heads: readonly Digest[]): Promise<readonly Digest[]> {
  return manifestsOfChain(store, heads, new DigestSet(), true);
}

/** @param whole - every ancestor must be here */
async function manifestsOfChain(
  store: Store,
  heads: readonly Digest[],
  seen: DigestSet,
  whole: boolean,
): Promise<readonly Digest[]> {
  const found = new Set<Digest>();
  const open = [...heads];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (!seen.add(id)) continue;
    const statement = whole ? await readStatement(store, id) : await readNamed(store, id, parseStatement);
    if (statement === undefined || statement.value.state === "deleted") continue;
    const { value } = statement;
    const must = whole && value.state === "trusted"; // of what a denial is about, nothing need have come here
    if (must || (await store.objects.read(value.manifest)) !== undefined) found.add(value.manifest);
    open.push(...value.previous);
  }
  return [...found];
}
