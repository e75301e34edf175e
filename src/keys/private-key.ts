// SPDX-License-Identifier: Apache-2.0
/**
 * OpenSSH private key files, openssh-key-v1, for Ed25519: read and written so that ssh-keygen and we agree.
 * Layer: keys. Source: OpenSSH PROTOCOL.key. Not here: files and their modes (cli), asking for passphrases (cli).
 */
import nacl from "tweetnacl";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import { decodeArmor, encodeArmor } from "./armor.ts";
import { publicFromSeed } from "./ed25519.ts";
import { checkRounds, cipherOf, type KdfOptions, openSealed, seal } from "./private-key-cipher.ts";
import {
  checkComment,
  KEY_TYPE,
  type PublicKey,
  parsePublicKeyBlob,
  publicKeyBlob,
  publicKeyFromRaw,
} from "./public-key.ts";
import { concatBytes, SshReader, sameBytes, shown, wireString, wireU32 } from "./ssh-wire.ts";

export interface PrivateKey {
  readonly publicKey: PublicKey;
  /** The 32 secret bytes of RFC 8032 section 5.1.5; never printed. */
  readonly seed: Uint8Array;
  readonly comment: string;
}

const LABEL = "OPENSSH PRIVATE KEY";
const MAGIC = "openssh-key-v1\0";
const WHAT = "private key";
/** The block that the private part is padded to when nothing hides it, and otherwise (AES). */
const PLAIN_BLOCK_BYTES = 8;
const AES_BLOCK_BYTES = 16;
const SALT_BYTES = 16;
const MAX_SALT_BYTES = 64;

/** The file as it stands, before any passphrase. */
interface Envelope {
  readonly cipherName: string;
  readonly kdfName: string;
  readonly kdfOptions: Uint8Array;
  readonly publicBlob: Uint8Array;
  readonly privatePart: Uint8Array;
  /** What follows the private part: the tag of an authenticated cipher, or nothing. */
  readonly rest: Uint8Array;
}

const invalid = (problem: string): CofferError => new CofferError("KEY_INVALID", `${WHAT}: ${problem}`);

function readEnvelope(text: string): Envelope {
  if (text.length > LIMITS.keyFileBytes) {
    const problem = `expected at most ${LIMITS.keyFileBytes} characters, found ${text.length}`;
    throw new CofferError("LIMIT_EXCEEDED", `${WHAT}: ${problem}`);
  }
  const reader = new SshReader(decodeArmor(LABEL, text, WHAT, "KEY_INVALID"), WHAT, "KEY_INVALID");
  reader.expectMagic(MAGIC);
  const cipherName = reader.text("cipher");
  const kdfName = reader.text("kdf");
  const kdfOptions = reader.string("kdf options");
  const keys = reader.u32("number of keys");
  if (keys !== 1) throw invalid(`expected one key, found ${keys}`);
  const publicBlob = reader.string("public part");
  const privatePart = reader.string("private part");
  return { cipherName, kdfName, kdfOptions, publicBlob, privatePart, rest: reader.rest() };
}

function readKdf({ kdfName, kdfOptions }: Envelope): KdfOptions {
  if (kdfName !== "bcrypt") throw invalid(`expected kdf bcrypt for an encrypted key, found ${shown(kdfName)}`);
  const reader = new SshReader(kdfOptions, `${WHAT}: kdf options`, "KEY_INVALID");
  const salt = reader.string("salt");
  const rounds = reader.u32("rounds");
  reader.end();
  if (salt.length < 1 || salt.length > MAX_SALT_BYTES) {
    throw invalid(`kdf salt: expected 1 to ${MAX_SALT_BYTES} bytes, found ${salt.length}`);
  }
  checkRounds(rounds);
  return { salt, rounds };
}

function checkLengths(envelope: Envelope, blockBytes: number, tagBytes: number): void {
  const { length } = envelope.privatePart;
  if (length === 0 || length % blockBytes !== 0) {
    throw invalid(`private part: expected whole blocks of ${blockBytes} bytes, found ${length}`);
  }
  if (envelope.rest.length !== tagBytes) {
    throw invalid(`expected ${tagBytes} bytes after the private part, found ${envelope.rest.length}`);
  }
}

/** The private part in the clear; whether a passphrase was right is for its check-ints to say. */
function openEnvelope(envelope: Envelope, passphrase: Uint8Array | undefined): Uint8Array {
  if (envelope.cipherName === "none") {
    if (envelope.kdfName !== "none" || envelope.kdfOptions.length !== 0) {
      throw invalid("expected no kdf for a key that is not encrypted, found one");
    }
    checkLengths(envelope, PLAIN_BLOCK_BYTES, 0);
    return envelope.privatePart;
  }
  const cipher = cipherOf(envelope.cipherName);
  const kdf = readKdf(envelope);
  checkLengths(envelope, AES_BLOCK_BYTES, cipher.tagBytes);
  if (passphrase === undefined)
    throw new CofferError("PASSPHRASE_NEEDED", `${WHAT}: it is encrypted, no passphrase given`);
  if (passphrase.length === 0) throw new CofferError("PASSPHRASE_WRONG", `${WHAT}: the passphrase is empty`);
  return openSealed(cipher, passphrase, kdf, envelope.privatePart, envelope.rest);
}

/** Refuses padding other than 1, 2, 3 …; some writers add a whole block where none was needed. */
function checkPadding(padding: Uint8Array, blockBytes: number): void {
  if (padding.length > blockBytes || padding.some((byte, at) => byte !== at + 1)) {
    throw invalid(`padding: expected bytes 1, 2, 3 up to ${blockBytes}, found something else`);
  }
}

function decodeComment(bytes: Uint8Array): string {
  try {
    return checkComment(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new CofferError("KEY_INVALID", `${WHAT}: comment: expected one line of UTF-8, found something else`, {
      cause: error,
    });
  }
}

/** Reads the private part: check-ints, the one key, comment, padding; the public key stands in it twice more. */
function readPrivatePart(plain: Uint8Array, publicKey: PublicKey, encrypted: boolean): PrivateKey {
  const reader = new SshReader(plain, WHAT, "KEY_INVALID");
  if (reader.u32("first check-int") !== reader.u32("second check-int")) {
    if (encrypted) throw new CofferError("PASSPHRASE_WRONG", `${WHAT}: the passphrase does not open it`);
    throw invalid("expected equal check-ints, found two values");
  }
  reader.expectText(KEY_TYPE, "key type");
  const innerPublic = reader.stringOf(32, "public key");
  const secret = reader.stringOf(64, "secret key");
  const comment = decodeComment(reader.string("comment"));
  checkPadding(reader.rest(), encrypted ? AES_BLOCK_BYTES : PLAIN_BLOCK_BYTES);
  const seed = Uint8Array.from(secret.subarray(0, 32));
  const derived = publicFromSeed(seed);
  for (const stated of [publicKey.raw, innerPublic, secret.subarray(32)]) {
    if (!sameBytes(stated, derived))
      throw invalid("expected the public key of its seed in three places, found another");
  }
  return { publicKey, seed, comment };
}

/** True when reading the key takes a passphrase. @throws CofferError KEY_INVALID, LIMIT_EXCEEDED - no such key file */
export function isEncrypted(text: string): boolean {
  return readEnvelope(text).cipherName !== "none";
}

/**
 * Reads an openssh-key-v1 file. With a passphrase it blocks for about 50 ms a round (24 rounds are usual).
 *
 * @param passphrase - its bytes; not looked at when the key is not encrypted
 * @throws CofferError KEY_INVALID - not such a file, not one Ed25519 key, or its parts contradict each other
 * @throws CofferError UNSUPPORTED - a cipher that is not read, or a hardware security key
 * @throws CofferError PASSPHRASE_NEEDED, PASSPHRASE_WRONG - encrypted, and none or not this one
 * @throws CofferError KEY_WEAK, LIMIT_EXCEEDED - a weak public key; too many bytes or KDF rounds
 */
export function parsePrivateKey(text: string, passphrase?: Uint8Array): PrivateKey {
  const envelope = readEnvelope(text);
  const publicKey = parsePublicKeyBlob(envelope.publicBlob);
  return readPrivatePart(openEnvelope(envelope, passphrase), publicKey, envelope.cipherName !== "none");
}

/** Makes a key through tweetnacl. @param random - gives the 32 bytes of the seed */
export function generatePrivateKey(random: Random, comment: string): PrivateKey {
  const seed = Uint8Array.from(random(32));
  const publicKey = publicKeyFromRaw(nacl.sign.keyPair.fromSeed(seed).publicKey);
  return { publicKey, seed, comment: checkComment(comment) };
}

function encodePrivatePart(key: PrivateKey, random: Random, blockBytes: number): Uint8Array {
  const check = random(4);
  const { raw } = key.publicKey;
  const secret = wireString(concatBytes(key.seed, raw));
  const comment = wireString(checkComment(key.comment));
  const body = concatBytes(check, check, wireString(KEY_TYPE), wireString(raw), secret, comment);
  const paddingBytes = (blockBytes - (body.length % blockBytes)) % blockBytes;
  return concatBytes(
    body,
    Uint8Array.from({ length: paddingBytes }, (_, at) => at + 1),
  );
}

/**
 * The key as an openssh-key-v1 file: aes256-ctr under bcrypt-pbkdf, or in the clear without a passphrase.
 *
 * @param random - gives check-ints and salt
 * @param rounds - of bcrypt-pbkdf, about 50 ms each here and whenever the key is opened
 * @throws CofferError KEY_INVALID - the comment is not one line
 * @throws CofferError PASSPHRASE_NEEDED - an empty passphrase
 * @throws CofferError LIMIT_EXCEEDED - rounds, or a comment that makes the file too large to be read
 */
export function encodePrivateKey(key: PrivateKey, random: Random, passphrase?: Uint8Array, rounds = 24): string {
  const text = encodeArmor(LABEL, encodeEnvelope(key, random, passphrase, rounds));
  if (text.length > LIMITS.keyFileBytes) {
    const problem = `expected a file of at most ${LIMITS.keyFileBytes} characters, found ${text.length}`;
    throw new CofferError("LIMIT_EXCEEDED", `${WHAT}: ${problem}`);
  }
  return text;
}

function encodeEnvelope(
  key: PrivateKey,
  random: Random,
  passphrase: Uint8Array | undefined,
  rounds: number,
): Uint8Array {
  const magic = new TextEncoder().encode(MAGIC);
  const publicPart = concatBytes(wireU32(1), wireString(publicKeyBlob(key.publicKey.raw)));
  if (passphrase === undefined) {
    const plain = wireString(encodePrivatePart(key, random, PLAIN_BLOCK_BYTES));
    return concatBytes(magic, wireString("none"), wireString("none"), wireString(""), publicPart, plain);
  }
  if (passphrase.length === 0) {
    throw new CofferError("PASSPHRASE_NEEDED", `${WHAT}: expected a passphrase of at least one byte, found none`);
  }
  checkRounds(rounds);
  const salt = random(SALT_BYTES);
  const options = wireString(concatBytes(wireString(salt), wireU32(rounds)));
  const sealed = wireString(seal(passphrase, { salt, rounds }, encodePrivatePart(key, random, AES_BLOCK_BYTES)));
  return concatBytes(magic, wireString("aes256-ctr"), wireString("bcrypt"), options, publicPart, sealed);
}
