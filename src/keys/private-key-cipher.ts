// SPDX-License-Identifier: Apache-2.0
/**
 * How openssh-key-v1 files hide their private part: bcrypt-pbkdf for the key, one of three AES-256 modes.
 * Layer: keys. Source: OpenSSH PROTOCOL.key and cipher.c. Not here: the fields of the file (private-key.ts).
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import bcrypt from "bcrypt-pbkdf";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { concatBytes, shown } from "./ssh-wire.ts";

/** Sizes in bytes; `tagBytes` follow the ciphertext outside its length prefix. */
export interface Cipher {
  readonly nodeName: "aes-256-ctr" | "aes-256-cbc" | "aes-256-gcm";
  readonly keyBytes: number;
  readonly ivBytes: number;
  readonly tagBytes: number;
}

const CIPHERS: ReadonlyMap<string, Cipher> = new Map([
  ["aes256-ctr", { nodeName: "aes-256-ctr", keyBytes: 32, ivBytes: 16, tagBytes: 0 }],
  ["aes256-cbc", { nodeName: "aes-256-cbc", keyBytes: 32, ivBytes: 16, tagBytes: 0 }],
  ["aes256-gcm@openssh.com", { nodeName: "aes-256-gcm", keyBytes: 32, ivBytes: 12, tagBytes: 16 }],
]);

/** What the KDF is asked for. */
export interface KdfOptions {
  readonly salt: Uint8Array;
  readonly rounds: number;
}

/** @throws CofferError UNSUPPORTED - a cipher that is not read */
export function cipherOf(name: string): Cipher {
  const cipher = CIPHERS.get(name);
  if (cipher !== undefined) return cipher;
  const known = [...CIPHERS.keys()].join(", ");
  throw new CofferError("UNSUPPORTED", `private key: expected cipher none, ${known}, found ${shown(name)}`);
}

/** @throws CofferError LIMIT_EXCEEDED - rounds that would take no or too much time */
export function checkRounds(rounds: number): void {
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= LIMITS.kdfRounds) return;
  throw new CofferError("LIMIT_EXCEEDED", `private key: rounds: expected 1 to ${LIMITS.kdfRounds}, found ${rounds}`);
}

/** Key and IV from the passphrase. Blocks: about 50 ms a round. */
function deriveKey(cipher: Cipher, passphrase: Uint8Array, { salt, rounds }: KdfOptions): [Uint8Array, Uint8Array] {
  const out = new Uint8Array(cipher.keyBytes + cipher.ivBytes);
  if (bcrypt.pbkdf(passphrase, passphrase.length, salt, salt.length, out, out.length, rounds) !== 0) {
    throw new CofferError("KEY_INVALID", "private key: expected a passphrase and a salt, found an empty one");
  }
  return [out.subarray(0, cipher.keyBytes), out.subarray(cipher.keyBytes)];
}

/**
 * The plain private part. With CTR and CBC a wrong passphrase gives noise, which the check-ints then show.
 *
 * @param sealed - ciphertext (whole blocks)
 * @param tag - `cipher.tagBytes` bytes
 * @throws CofferError PASSPHRASE_WRONG - the GCM tag does not match
 */
export function openSealed(
  cipher: Cipher,
  passphrase: Uint8Array,
  kdf: KdfOptions,
  sealed: Uint8Array,
  tag: Uint8Array,
): Uint8Array {
  const [key, iv] = deriveKey(cipher, passphrase, kdf);
  if (cipher.nodeName === "aes-256-gcm") {
    const gcm = createDecipheriv(cipher.nodeName, key, iv, { authTagLength: cipher.tagBytes });
    gcm.setAuthTag(tag);
    const plain = gcm.update(sealed);
    try {
      return concatBytes(plain, gcm.final());
    } catch (error) {
      throw new CofferError("PASSPHRASE_WRONG", "private key: the passphrase does not open it", { cause: error });
    }
  }
  const decipher = createDecipheriv(cipher.nodeName, key, iv).setAutoPadding(false);
  return concatBytes(decipher.update(sealed), decipher.final());
}

/** Hides `plain` (whole blocks) with aes256-ctr, the mode that ssh-keygen itself writes. */
export function seal(passphrase: Uint8Array, kdf: KdfOptions, plain: Uint8Array): Uint8Array {
  const [key, iv] = deriveKey(cipherOf("aes256-ctr"), passphrase, kdf);
  const encipher = createCipheriv("aes-256-ctr", key, iv);
  return concatBytes(encipher.update(plain), encipher.final());
}
