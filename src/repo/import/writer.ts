// SPDX-License-Identifier: Apache-2.0
/**
 * Verified objects and signatures, made durable a slice at a time, so that memory does not grow with what comes. They are
 * named by nothing until the commit. Layer: repo. Holds invariant 1.
 */
import { type Digest, short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import type { KeyId } from "../../keys/public-key.ts";
import type { SignatureNamespace } from "../../keys/sshsig.ts";
import { objectPath, signaturePath } from "../../objects/layout.ts";
import { planSignature } from "../../objects/signatures.ts";
import { hasTrash, putBack } from "../../objects/trash.ts";
import type { WriteBatch } from "../../objects/write-batch.ts";
import type { Store } from "../store.ts";
import type { GoodSignature } from "./arrivals.ts";

const SLICE = { files: 512, bytes: 8 * 1024 * 1024 };

interface Bytes {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

export class Writer {
  readonly #store: Store;
  #batch: WriteBatch;
  #files = 0;
  #bytes = 0;
  readonly #written = new Map<Digest, KeyId[]>();

  constructor(store: Store) {
    this.#store = store;
    this.#batch = store.batch();
  }

  has(id: Digest): boolean {
    return this.#written.has(id);
  }

  async add(object: Bytes): Promise<void> {
    if (!this.#written.has(object.id)) this.#written.set(object.id, []);
    this.#batch.addObject(object);
    await this.#count(object.bytes.length);
  }

  /** @param signatures - over these bytes, in `namespace`, and checked */
  async addSigned(object: Bytes, namespace: SignatureNamespace, signatures: readonly GoodSignature[]): Promise<void> {
    await this.add(object);
    for (const signature of signatures) {
      await planSignature(this.#store.files, this.#batch, object, namespace, signature);
      this.#written.get(object.id)?.push(signature.publicKey.keyId);
      await this.#count(signature.armored.length);
    }
  }

  async #count(bytes: number): Promise<void> {
    this.#files += 1;
    this.#bytes += bytes;
    if (this.#files >= SLICE.files || this.#bytes >= SLICE.bytes) await this.flush();
  }

  /** @throws CofferError NO_SPACE, IO_ERROR */
  async flush(): Promise<void> {
    await this.#batch.flush();
    this.#batch = this.#store.batch();
    this.#files = 0;
    this.#bytes = 0;
  }

  /**
   * After the commit that names them: a gc that began before it may have taken some for garbage.
   * @throws CofferError CORRUPT - one is in neither place
   */
  async confirm(): Promise<void> {
    if (!(await hasTrash(this.#store.files))) return;
    for (const [id, keys] of this.#written) {
      const paths = [objectPath(id), ...keys.map((key) => signaturePath(id, key))];
      for (const path of paths) {
        if ((await putBack(this.#store.files, path)) !== "gone") continue;
        throw new CofferError("CORRUPT", `object ${short(id)} went away while it was imported; import it again`);
      }
    }
  }
}
