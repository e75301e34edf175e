// SPDX-License-Identifier: Apache-2.0
/**
 * The header of an age file: to whom it is encrypted. Wrapping and unwrapping the file key is done by the package
 * age-encryption, loaded when the first header is made or read. Layer: sync. Format: https://c2sp.org/age.
 * Encryption keeps bytes from others and says nothing of who made them. Not here: the payload (age-stream.ts).
 */
import { hkdfSync, randomBytes } from "node:crypto";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { quote } from "../base/quote.ts";
import { mostClear, NONCE_BYTES, sealChunks, sealedSize } from "./age-stream.ts";

/** How every age file of the one version begins. */
export const AGE_MAGIC = "age-encryption.org/v1\n";
/** One chunk without content, which ends what age-encryption makes of nothing. */
const EMPTY_PAYLOAD_BYTES = 16;

/** Encrypts to fixed recipients, with a new key each time. */
export interface Sealing {
  /** Each once, as they were given. */
  readonly recipients: readonly string[];
  /** @yields bytes that are valid until the next step only */
  seal(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
  /** What so many clear bytes become. */
  sealedBytes(clearBytes: number): number;
  /** The most that fits so many bytes once it is sealed. @throws CofferError USAGE - not even the header does */
  room(sealedBytes: number): number;
}

/** The key of a file, from its header. @throws CofferError IDENTITY_WRONG, VOLUME_DAMAGED */
export type Unlock = (header: Uint8Array, what: string) => Promise<Uint8Array>;

export function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", fileKey, nonce, "payload", 32));
}

interface Header {
  readonly bytes: Uint8Array;
  readonly fileKey: Uint8Array;
}

async function makeHeader(recipients: readonly string[]): Promise<Header> {
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  let fileKey: Uint8Array | undefined;
  // One more recipient, which adds nothing to the header: it is how the package shows the key to whoever seals the payload.
  encrypter.addRecipient({
    wrapFileKey: (key) => {
      fileKey = key;
      return [];
    },
  });
  const file = await encrypter.encrypt(new Uint8Array());
  if (fileKey === undefined) throw new CofferError("INTERNAL", "age: a header without a file key");
  return { bytes: file.subarray(0, file.length - NONCE_BYTES - EMPTY_PAYLOAD_BYTES), fileKey };
}

/**
 * @param recipients - checked by `parseRecipients`
 * @throws CofferError LIMIT_EXCEEDED - too many for a header
 */
export async function openSealing(recipients: readonly string[]): Promise<Sealing> {
  // All headers to the same recipients have one size.
  const headerBytes = (await makeHeader(recipients)).bytes.length;
  if (headerBytes > LIMITS.ageHeaderBytes) {
    const text = `recipients: expected a header of at most ${LIMITS.ageHeaderBytes} bytes, found ${headerBytes}`;
    throw new CofferError("LIMIT_EXCEEDED", text);
  }
  const front = headerBytes + NONCE_BYTES;
  return {
    recipients,
    async *seal(pieces) {
      const { bytes, fileKey } = await makeHeader(recipients);
      if (bytes.length !== headerBytes) throw new CofferError("INTERNAL", "age: a header of another size");
      const nonce = randomBytes(NONCE_BYTES);
      yield Buffer.concat([bytes, nonce]);
      yield* sealChunks(pieces, payloadKey(fileKey, nonce));
    },
    sealedBytes: (clearBytes) => front + sealedSize(clearBytes),
    room(sealedBytes) {
      const most = mostClear(sealedBytes - front);
      if (sealedBytes > front && most > 0) return most;
      throw new CofferError("USAGE", `volume size: expected room for a header of ${front} bytes and more`);
    },
  };
}

/** Where the header in front of `bytes` ends; undefined if it does not end within them. */
export function headerEnd(bytes: Uint8Array): number | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const mac = text.indexOf("\n--- ");
  const end = mac === -1 ? -1 : text.indexOf("\n", mac + 1);
  return end === -1 ? undefined : end + 1;
}

const MOST_KINDS = 4;

/** To what kinds of recipients a header says that it is, for people. */
export function recipientKinds(header: Uint8Array): string {
  const lines = Buffer.from(header).toString("latin1").split("\n");
  const kinds = new Set(lines.filter((line) => line.startsWith("-> ")).map((line) => line.split(" ")[1] ?? ""));
  const shown = [...kinds].slice(0, MOST_KINDS).map((kind) => quote(kind, 40));
  return `${shown.join(", ")}${kinds.size > MOST_KINDS ? " and others" : ""}`;
}

/**
 * @param read - the identities, checked by `parseIdentities`; called when the first header is met, and once
 */
export function unlockWith(read: () => Promise<readonly string[]>): Unlock {
  let identities: Promise<readonly string[]> | undefined;
  return async (header, what) => {
    identities ??= read();
    const all = await identities;
    const { Decrypter } = await import("age-encryption");
    const decrypter = new Decrypter();
    for (const identity of all) decrypter.addIdentity(identity);
    let noneFits = false;
    // Asked last, and only of a header that could be read.
    decrypter.addIdentity({
      unwrapFileKey: () => {
        noneFits = true;
        return null;
      },
    });
    try {
      return await decrypter.decryptHeader(Uint8Array.from(header));
    } catch (error) {
      if (!noneFits) throw new CofferError("VOLUME_DAMAGED", `${what}: its age header was changed`, { cause: error });
      const text = `${what}: expected to be encrypted to one of the identities given, found other recipients`;
      throw new CofferError("IDENTITY_WRONG", `${text} (${recipientKinds(header)})`, { cause: error });
    }
  };
}
