// SPDX-License-Identifier: Apache-2.0
/**
 * SSHSIG signatures (OpenSSH PROTOCOL.sshsig), Ed25519 and SHA-512 only: one signature, one encoding.
 * Layer: keys. Holds invariant 2 with its callers: they hand in stored bytes. Not here: whose signature counts (trust).
 */
import { hash } from "node:crypto";
import { CofferError, isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { decodeArmor, encodeArmor } from "./armor.ts";
import { verifyEd25519 } from "./ed25519.ts";
import { hasCanonicalS } from "./ed25519-rules.ts";
import { KEY_TYPE, type PublicKey, parsePublicKeyBlob, publicKeyBlob } from "./public-key.ts";
import type { Signer } from "./signer.ts";
import { concatBytes, SshReader, shown, wireString, wireU32 } from "./ssh-wire.ts";

/** What a signature may be for. One made for one kind is worth nothing for another. */
export const SIGNATURE_NAMESPACES = [
  "coffer-manifest",
  "coffer-statement",
  "coffer-policy",
  "coffer-evidence",
  "coffer-refusal",
  "coffer-heartbeat",
  "coffer-log",
  "coffer-bundle",
  "coffer-receipt",
  "coffer-index",
] as const;

export type SignatureNamespace = (typeof SIGNATURE_NAMESPACES)[number];

/** What an SSHSIG blob says, before anything is verified. */
export interface Sshsig {
  readonly publicKey: PublicKey;
  /** Printable ASCII, not empty; not necessarily one of ours. */
  readonly namespace: string;
  /** 64 bytes, S below the group order. */
  readonly signature: Uint8Array;
}

const LABEL = "SSH SIGNATURE";
const MAGIC = "SSHSIG";
const VERSION = 1;
const HASH = "sha512";
const WHAT = "signature";

const invalid = (problem: string, options?: ErrorOptions): CofferError =>
  new CofferError("SIGNATURE_INVALID", `${WHAT}: ${problem}`, options);

/** The bytes that the key signs for `message` (PROTOCOL.sshsig section 3). */
function signedBytes(namespace: string, message: Uint8Array): Uint8Array {
  return concatBytes(signedHead(namespace), hash(HASH, message, "buffer"));
}

/** Everything before the 64 bytes of the hash; the same for all messages of a kind. */
function signedHead(namespace: string): Uint8Array {
  const known = signedHeads.get(namespace);
  if (known !== undefined) return known;
  const magic = new TextEncoder().encode(MAGIC);
  const head = concatBytes(magic, wireString(namespace), wireString(""), wireString(HASH), wireU32(64));
  if (isOurs(namespace)) signedHeads.set(namespace, head);
  return head;
}
const signedHeads = new Map<string, Uint8Array>();

function isOurs(namespace: string): boolean {
  return SIGNATURE_NAMESPACES.some((one) => one === namespace);
}

/** The key inside a signature; whatever is wrong with it is a fault of the signature. */
function readPublicKey(blob: Uint8Array): PublicKey {
  try {
    return parsePublicKeyBlob(blob);
  } catch (error) {
    if (isCofferError(error)) throw invalid(error.message, { cause: error });
    /* c8 ignore next 2 -- only a fault in the parser itself comes here, and it must not look like a verdict */
    throw error;
  }
}

function readSignature(blob: Uint8Array): Uint8Array {
  const reader = new SshReader(blob, WHAT, "SIGNATURE_INVALID");
  reader.expectText(KEY_TYPE, "signature type");
  const signature = Uint8Array.from(reader.stringOf(64, "signature bytes"));
  reader.end();
  if (!hasCanonicalS(signature)) throw invalid("expected S below the group order, found a second form of a signature");
  return signature;
}

/** Reads a blob (PROTOCOL.sshsig section 2) to its end. */
function readBlob(blob: Uint8Array): Sshsig {
  const reader = new SshReader(blob, WHAT, "SIGNATURE_INVALID");
  reader.expectMagic(MAGIC);
  const version = reader.u32("version");
  if (version !== VERSION) throw invalid(`expected version ${VERSION}, found ${version}`);
  const keyBlob = reader.string("public key");
  const namespace = reader.text("namespace");
  if (namespace === "") throw invalid("expected a namespace, found an empty one");
  const reserved = reader.string("reserved");
  if (reserved.length !== 0) throw invalid(`expected nothing in the reserved field, found ${reserved.length} bytes`);
  reader.expectText(HASH, "hash algorithm");
  const signatureBlob = reader.string("signature");
  reader.end();
  return { publicKey: readPublicKey(keyBlob), namespace, signature: readSignature(signatureBlob) };
}

/**
 * Reads an armored SSHSIG: any layout of the armor, but one exact form of what is inside. Verifies nothing.
 *
 * @throws CofferError SIGNATURE_INVALID - not such a signature, over LIMITS.signatureBytes, or by a weak key
 */
export function parseSshsig(text: string | Uint8Array): Sshsig {
  if (text.length > LIMITS.signatureBytes) {
    throw invalid(`expected a file of at most ${LIMITS.signatureBytes} bytes, found ${text.length}`);
  }
  return readBlob(decodeArmor(LABEL, asText(text), WHAT, "SIGNATURE_INVALID"));
}

// One character per byte: a byte outside ASCII stays one, and the armor refuses it.
function asText(text: string | Uint8Array): string {
  return typeof text === "string" ? text : Buffer.from(text).toString("latin1");
}

/** The one text form of a signature: as ssh-keygen writes it (70 columns, LF, a final newline). */
export function armorSshsig({ publicKey, namespace, signature }: Sshsig): string {
  return encodeArmor(LABEL, concatBytes(blobHead(publicKey, namespace), signature));
}

/** Everything before the 64 bytes of the signature; the same for all signatures of a key and a kind. */
function blobHead(publicKey: PublicKey, namespace: string): Uint8Array {
  const which = `${publicKey.keyId} ${namespace}`;
  const known = blobHeads.get(which);
  if (known !== undefined) return known;
  const type = wireString(KEY_TYPE);
  const head = concatBytes(
    ...[new TextEncoder().encode(MAGIC), wireU32(VERSION), wireString(publicKeyBlob(publicKey.raw))],
    ...[wireString(namespace), wireString(""), wireString(HASH)],
    ...[wireU32(type.length + 4 + 64), type, wireU32(64)],
  );
  if (blobHeads.size >= KEPT_HEADS) blobHeads.clear();
  if (isOurs(namespace)) blobHeads.set(which, head);
  return head;
}
const blobHeads = new Map<string, Uint8Array>();
/** About 200 bytes each; the bound keeps a hostile policy from filling memory. */
const KEPT_HEADS = 4096;

/**
 * Signs `message` for `namespace` and checks the result, so that a faulty signer never leaves a bad file behind.
 *
 * @returns the armored signature, as `ssh-keygen -Y sign` would write it
 * @throws CofferError SIGNATURE_INVALID - the signer gave something else than a signature by its key
 */
export async function signSshsig(signer: Signer, namespace: SignatureNamespace, message: Uint8Array): Promise<string> {
  const { publicKey } = signer;
  const bytes = signedBytes(namespace, message);
  const signature = await signer.sign(bytes);
  if (!verifyEd25519(publicKey, bytes, signature)) {
    throw invalid(`expected the signer to sign with key ${publicKey.keyId}, found bytes that do not verify`);
  }
  return armorSshsig({ publicKey, namespace, signature });
}

/**
 * True only for the canonical text of a signature of exactly `message` by exactly `publicKey` for exactly
 * `namespace`. For stored signature files: false means the same as an absent file.
 *
 * @param message - the stored bytes, not a value encoded again
 */
export function checkSshsig(
  text: string | Uint8Array,
  namespace: SignatureNamespace,
  message: Uint8Array,
  publicKey: PublicKey,
): boolean {
  if (text.length > LIMITS.signatureBytes) return false;
  // Key and namespace are given, so 64 bytes are all that a good file can add, and they are its last: whatever stands
  // there, the one text that holds them must be this one.
  const found = asText(text);
  const signature = lastBytes(found, 64);
  return (
    signature.length === 64 &&
    armorSshsig({ publicKey, namespace, signature }) === found &&
    verifyEd25519(publicKey, signedBytes(namespace, message), signature)
  );
}

/** The last `length` bytes inside an armor, if it is one; checks nothing. */
function lastBytes(armored: string, length: number): Uint8Array {
  // Line ends are skipped by the decoder; what else it would skip is in no text that compares equal.
  const body = armored.slice(armored.indexOf("\n"), armored.lastIndexOf("\n-"));
  return Buffer.from(body, "base64").subarray(-length);
}

/**
 * Takes a signature file from outside, as `ssh-keygen -Y sign` or an agent made it.
 *
 * @returns the key that made it (whether that key counts is for the caller) and the text to store
 * @throws CofferError SIGNATURE_INVALID - says what was expected and found: namespace, hash, key type, message …
 */
export function importSshsig(
  text: string | Uint8Array,
  namespace: SignatureNamespace,
  message: Uint8Array,
): { readonly publicKey: PublicKey; readonly armored: string } {
  const parsed = parseSshsig(text);
  if (parsed.namespace !== namespace) {
    throw invalid(`expected namespace "${namespace}", found "${shown(parsed.namespace)}"`);
  }
  if (!verifyEd25519(parsed.publicKey, signedBytes(namespace, message), parsed.signature)) {
    throw invalid(
      `expected a signature of these bytes by key ${parsed.publicKey.keyId}, found one that does not verify`,
    );
  }
  return { publicKey: parsed.publicKey, armored: armorSshsig(parsed) };
}
