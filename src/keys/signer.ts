// SPDX-License-Identifier: Apache-2.0
/**
 * The signer port, and its two implementations: tweetnacl for people's keys, node:crypto for the store's own.
 * Layer: keys. Both give the same bytes (RFC 8032 is deterministic); test/keys/signer.test.ts holds them to it.
 */
import { sign } from "node:crypto";
import nacl from "tweetnacl";
import { privateKeyObject } from "./ed25519.ts";
import type { PrivateKey } from "./private-key.ts";
import type { PublicKey } from "./public-key.ts";
import { concatBytes } from "./ssh-wire.ts";

/** Whatever can sign with one key: a key in memory, an agent, a token. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** The 64-byte Ed25519 signature of `message` itself; nothing is hashed or framed here. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** Signs with tweetnacl, about 5 ms a signature. */
export function tweetnaclSigner(key: PrivateKey): Signer {
  const secret = concatBytes(key.seed, key.publicKey.raw);
  return { publicKey: key.publicKey, sign: async (message) => nacl.sign.detached(message, secret) };
}

/** Signs with node:crypto, under 0.1 ms a signature. */
export function nodeSigner(key: PrivateKey): Signer {
  const secret = privateKeyObject(key.seed);
  return { publicKey: key.publicKey, sign: async (message) => concatBytes(sign(null, message, secret)) };
}
