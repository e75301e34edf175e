// SPDX-License-Identifier: Apache-2.0
/**
 * What the manifests of one import say of each blob. Whoever signs a manifest may be wrong about the bytes, and a hash of them is
 * all that tells; so what several say is kept apart. Layer: repo.
 */
import type { Digest } from "../../base/digest.ts";
import { passOthers } from "../../base/errors.ts";
import type { Name } from "../../base/names.ts";
import { evidenceRef, nameRef } from "../../base/ref-path.ts";
import { parseEvidence, SIZE_DIFFERS } from "../../objects/documents/evidence.ts";
import type { ManifestFile } from "../../objects/documents/manifest.ts";
import { parseStatement } from "../../objects/documents/statement.ts";
import { readObject } from "../../objects/object-store.ts";
import { signersOf } from "../../objects/signatures.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { readList, readManifest, readNamed } from "../dossier.ts";
import { isInspected } from "../inspection.ts";
import { openNames } from "../names.ts";
import type { Store } from "../store.ts";

/** Of one blob at most so many are looked at, the first ones: what people have promoted comes before what waits. */
const MOST = 16;

export class Claims {
  readonly #said = new Map<Digest, Map<string, ManifestFile>>();

  add(file: ManifestFile): void {
    const said = this.#said.get(file.sha256) ?? new Map<string, ManifestFile>();
    const key = `${file.size} ${file.chunks ?? ""}`;
    if (said.size < MOST && !said.has(key)) said.set(key, file);
    this.#said.set(file.sha256, said);
  }

  /** Each size and chunk list once. @param sizeBytes - only what says that; what is said at all when left out */
  of(blob: Digest, sizeBytes?: number): readonly ManifestFile[] {
    const said = [...(this.#said.get(blob)?.values() ?? [])];
    return sizeBytes === undefined ? said : said.filter(({ size }) => size === sizeBytes);
  }
}

/** Holders that are asked for one blob: the first nearly always tells. */
const MOST_ASKED = 16;

/**
 * Of these blobs, those of which a manifest says the same that stands under a trusted name, or waits under this one, and has
 * passed this store's own inspection: then that was compared with the bytes. Small ones are left out: they are hashed in no time.
 */
export async function vouchedFor(
  store: Store,
  name: Name,
  files: readonly ManifestFile[],
): Promise<ReadonlySet<Digest>> {
  const vouched = new Set<Digest>();
  const large = files.filter(({ chunks }) => chunks !== undefined);
  if (large.length === 0) return vouched;
  const head = await store.head();
  const waiting = await head.readRef(nameRef("quarantined", name));
  const names = await openNames(store, head, { mayWrite: false });
  try {
    for (const file of large) {
      if (waiting !== undefined && (await saysSame(store, head, name, waiting, file))) vouched.add(file.sha256);
      else if (await isHeldAlike(store, head, await names.holders(file.sha256), file)) vouched.add(file.sha256);
    }
  } finally {
    await names.close();
  }
  return vouched;
}

async function isHeldAlike(
  store: Store,
  head: HeadView,
  holders: readonly Name[],
  file: ManifestFile,
): Promise<boolean> {
  for (const holder of holders.slice(0, MOST_ASKED)) {
    const id = await head.readRef(nameRef("trusted", holder));
    const statement = id === undefined ? undefined : await readNamed(store, id, parseStatement);
    if (statement !== undefined && (await saysSame(store, head, holder, statement.value.manifest, file))) return true;
  }
  return false;
}

async function saysSame(
  store: Store,
  head: HeadView,
  name: Name,
  id: Digest,
  { sha256, size, chunks }: ManifestFile,
): Promise<boolean> {
  try {
    const { value } = await readManifest(store, id);
    const isSame = value.files.some((one) => one.sha256 === sha256 && one.size === size && one.chunks === chunks);
    return isSame && (await isInspected(store, head, name, id, "pass"));
  } catch (error) {
    passOthers(error, "CORRUPT"); // of that name, and told when somebody asks for it
    return false;
  }
}

/** True if this store has found before that a manifest says another size of a file's bytes than they have. */
export async function isFoundFalse(store: Store, manifest: Digest, path: string): Promise<boolean> {
  const head = await store.head();
  try {
    for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
      const evidence = await readObject(store.objects, id, "evidence", parseEvidence);
      const isSaid = evidence.value.findings.some((one) => one.code === SIZE_DIFFERS && one.path === path);
      if (isSaid && (await signersOf(store.files, evidence, "coffer-evidence", [store.storeKey])).size > 0) return true;
    }
  } catch (error) {
    passOthers(error, "CORRUPT"); // then the bytes tell once more
  }
  return false;
}
