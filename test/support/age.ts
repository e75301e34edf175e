// SPDX-License-Identifier: Apache-2.0
/** People to whom bundles are encrypted, and age files made from raw parts. Layer: test support. */
import { createCipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { type Sealing, sealingTo, type Unlock, unlockBy } from "../../src/repo/sealing.ts";
import { collect } from "./bundles.ts";

export interface Reader {
  readonly identity: string;
  readonly recipient: string;
  readonly sealing: Sealing;
  readonly unlock: Unlock;
}

export async function makeReader(): Promise<Reader> {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  const sealing = await sealingTo([{ text: recipient, what: "recipient 1" }]);
  return { identity, recipient, sealing, unlock: unlockBy(() => [{ text: identity, what: "id.txt" }]) };
}

/** Pieces of at most `step` bytes. */
export async function* piped(bytes: Uint8Array, step = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

export const sealTo = (sealing: Sealing, bytes: Uint8Array): Promise<Buffer> => collect(sealing.seal(piped(bytes)));

/** Where the payload of an age file begins, behind its nonce. */
export function payloadAt(file: Uint8Array): number {
  const bytes = Buffer.from(file);
  return bytes.indexOf("\n", bytes.indexOf("\n--- ") + 1) + 1 + 16;
}

/** One chunk of a payload as its key's holder may make it by hand. */
export function sealByHand(key: Uint8Array, number: number, isLast: boolean, clear: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(number, 7);
  nonce[11] = isLast ? 1 : 0;
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
  return Buffer.concat([cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

/** A file with a header of these lines and a good MAC: what the holder of a file key may make. */
export function ageFile(fileKey: Uint8Array, stanzas: string, clear: Uint8Array): Buffer {
  const head = `age-encryption.org/v1\n${stanzas}---`;
  const mac = createHmac("sha256", Buffer.from(hkdfSync("sha256", fileKey, "", "header", 32))).update(head);
  const nonce = randomBytes(16);
  const key = Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32));
  const text = `${head} ${mac.digest("base64").replaceAll("=", "")}\n`;
  return Buffer.concat([Buffer.from(text), nonce, sealByHand(key, 0, true, clear)]);
}
