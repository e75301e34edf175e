// SPDX-License-Identifier: Apache-2.0
/**
 * Detached signatures on disk: signatures/ab/cdef….<key id>.sig, armored SSHSIG over the stored bytes of an object.
 * Readers ask for the keys that a rule names and never list; a file that does not verify counts as absent.
 * Layer: objects. Format: docs/format.md, "Signatures". Holds invariant 2.
 */
import type { Digest } from "../base/digest.ts";
import { isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { KeyId, PublicKey } from "../keys/public-key.ts";
import { checkSshsig, type SignatureNamespace } from "../keys/sshsig.ts";
import type { Files } from "./files.ts";
import { signaturePath } from "./layout.ts";
import { readKept, statKept } from "./trash.ts";
import type { WriteBatch } from "./write-batch.ts";

export interface SignedBytes {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

/** The armored text at a key's place, undefined if absent or over the size of any signature. */
async function readSignature(files: Files, object: Digest, keyId: KeyId): Promise<Uint8Array | undefined> {
  const path = signaturePath(object, keyId);
  // Most keys that a rule names have not signed: to ask first costs a tenth of an error that is thrown and caught.
  if ((await statKept(files, path)) === undefined) return undefined;
  try {
    return await readKept(files, path, LIMITS.signatureBytes);
  } catch (error) {
    if (isCofferError(error, "LIMIT_EXCEEDED")) return undefined;
    throw error;
  }
}

/** Which of `keys` have a good signature over `object` in `namespace`. */
export async function signersOf(
  files: Files,
  object: SignedBytes,
  namespace: SignatureNamespace,
  keys: Iterable<PublicKey>,
): Promise<ReadonlySet<KeyId>> {
  const found = new Set<KeyId>();
  for (const key of keys) {
    if (found.has(key.keyId)) continue;
    const armored = await readSignature(files, object.id, key.keyId);
    if (armored !== undefined && isGood(files, armored, namespace, object, key)) found.add(key.keyId);
  }
  return found;
}

/** Signatures that were found good of late, through each port: who judges a name and then sends it asks twice. */
const lastGood = new WeakMap<Files, Map<string, Uint8Array>>();
const MOST_GOOD = 64;

/** As `checkSshsig`, which costs more than all else that is done with a document. The id stands for the bytes of the object. */
function isGood(
  files: Files,
  armored: Uint8Array,
  namespace: SignatureNamespace,
  { id, bytes }: SignedBytes,
  key: PublicKey,
): boolean {
  const good = lastGood.get(files) ?? new Map<string, Uint8Array>();
  lastGood.set(files, good);
  const what = `${namespace} ${id} ${key.keyId}`;
  const known = good.get(what);
  if (known !== undefined && Buffer.compare(known, armored) === 0) return true;
  if (!checkSshsig(armored, namespace, bytes, key)) return false;
  good.set(what, armored);
  const [oldest] = good.keys();
  if (good.size > MOST_GOOD && oldest !== undefined) good.delete(oldest);
  return true;
}

/**
 * Adds a signature to a batch, or the good one with smaller or equal bytes that is there: so the union of stores is one
 * set, and what is there is renewed like all that a batch finds in its place.
 * @returns true if it is the new one
 */
export async function planSignature(
  files: Files,
  batch: WriteBatch,
  object: SignedBytes,
  namespace: SignatureNamespace,
  signature: { readonly publicKey: PublicKey; readonly armored: string },
): Promise<boolean> {
  const { publicKey, armored } = signature;
  const there = await readSignature(files, object.id, publicKey.keyId);
  if (there !== undefined && checkSshsig(there, namespace, object.bytes, publicKey)) {
    if (Buffer.compare(there, new TextEncoder().encode(armored)) <= 0) {
      batch.addSignature(object.id, publicKey.keyId, new TextDecoder().decode(there));
      return false;
    }
  }
  batch.addSignature(object.id, publicKey.keyId, armored);
  return true;
}
