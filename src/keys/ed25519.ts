// SPDX-License-Identifier: Apache-2.0
/**
 * Ed25519 (RFC 8032) through node:crypto, with our own strictness on top.
 * Layer: keys. Not here: which keys are refused (public-key.ts), what is signed (sshsig.ts).
 */
import { createPrivateKey, createPublicKey, type KeyObject, verify } from "node:crypto";
import { hasCanonicalS } from "./ed25519-rules.ts";
import type { KeyId, PublicKey } from "./public-key.ts";
import { concatBytes } from "./ssh-wire.ts";

// The DER that RFC 8410 sections 4 and 7 put before the 32 bytes of a public key (SPKI) and of a seed (PKCS #8).
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

// Making a KeyObject costs more than the check itself; the bound keeps a hostile policy from filling memory.
const CACHED_KEYS = 1024;
const keyObjects = new Map<KeyId, KeyObject>();

function keyObjectOf(key: PublicKey): KeyObject {
  const cached = keyObjects.get(key.keyId);
  if (cached !== undefined) return cached;
  const made = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, key.raw]), format: "der", type: "spki" });
  if (keyObjects.size >= CACHED_KEYS) keyObjects.clear();
  keyObjects.set(key.keyId, made);
  return made;
}

/** The node:crypto form of a 32-byte seed. */
export function privateKeyObject(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
}

/** The 32 public bytes that belong to a 32-byte seed (RFC 8032 section 5.1.5). */
export function publicFromSeed(seed: Uint8Array): Uint8Array {
  const spki = createPublicKey(privateKeyObject(seed)).export({ format: "der", type: "spki" });
  return concatBytes(spki.subarray(SPKI_PREFIX.length));
}

/**
 * True when `signature` is the signature of `message` by `key`, in its only encoding: 64 bytes, S below the group
 * order. OpenSSH and tweetnacl also take S + L. `key` has passed the weakness rules of its parser.
 */
export function verifyEd25519(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || !hasCanonicalS(signature)) return false;
  return verify(null, message, keyObjectOf(key), signature);
}
