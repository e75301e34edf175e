// SPDX-License-Identifier: Apache-2.0
/**
 * What the manifests of one import say of each blob. Whoever signs a manifest may be wrong about the bytes, and a hash of them is
 * all that tells; so what several say is kept apart. Layer: repo.
 */
import type { Digest } from "../../base/digest.ts";
import { passOthers } from "../../base/errors.ts";
import type { Name } from "../../base/names.ts";
import { nameRef } from "../../base/ref-path.ts";
import type { ManifestFile } from "../../objects/documents/manifest.ts";
import type { HeadView } from "../../refs/head-view.ts";
import { readManifest, readStatement } from "../dossier.ts";
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
 * Of these blobs, those of which a manifest says the same that stands under a trusted name and has passed this store's own
 * inspection: then that was compared with the bytes. Small ones are left out: they are hashed in no time.
 */
export async function vouchedFor(store: Store, files: readonly ManifestFile[]): Promise<ReadonlySet<Digest>> {
  const vouched = new Set<Digest>();
  const large = files.filter(({ chunks }) => chunks !== undefined);
  if (large.length === 0) return vouched;
  const head = await store.head();
  const names = await openNames(store, head, { mayWrite: false });
  try {
    for (const file of large) {
      for (const name of (await names.holders(file.sha256)).slice(0, MOST_ASKED)) {
        if (!(await saysSame(store, head, name, file))) continue;
        vouched.add(file.sha256);
        break;
      }
    }
  } finally {
    await names.close();
  }
  return vouched;
}

async function saysSame(store: Store, head: HeadView, name: Name, file: ManifestFile): Promise<boolean> {
  try {
    const id = await head.readRef(nameRef("trusted", name));
    if (id === undefined) return false;
    const { value, id: manifest } = await readManifest(store, (await readStatement(store, id)).value.manifest);
    const { sha256, size, chunks } = file;
    const isSame = value.files.some((one) => one.sha256 === sha256 && one.size === size && one.chunks === chunks);
    return isSame && (await isInspected(store, head, name, manifest, "pass"));
  } catch (error) {
    passOthers(error, "CORRUPT"); // of that name, and told when somebody asks for it
    return false;
  }
}
