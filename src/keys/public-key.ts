// SPDX-License-Identifier: Apache-2.0
/**
 * OpenSSH Ed25519 public keys (RFC 4253 section 6.6, RFC 8709 section 4) and their ids.
 * Layer: keys. A PublicKey comes only from here, so it has passed the weakness rules. Not here: who holds it (trust).
 */
import { digestBytes, isDigest, sha256 } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { decodeBase64, encodeBase64 } from "./armor.ts";
import { keyWeakness } from "./ed25519-rules.ts";
import { concatBytes, SshReader, wireString } from "./ssh-wire.ts";

/** The only key type that is taken. */
export const KEY_TYPE = "ssh-ed25519";

/** Lower-case hex of the SHA-256 of a key's SSH wire form. */
export type KeyId = string & { readonly __brand: "KeyId" };

export interface PublicKey {
  readonly keyId: KeyId;
  /** The 32 bytes of RFC 8032; not to be changed. */
  readonly raw: Uint8Array;
  /** `ssh-ed25519 <base64>`, without a comment. */
  readonly text: string;
  /** What the key file said after the key; shown, never trusted. */
  readonly comment?: string;
}

const TYPE_WORD = /^(?:webauthn-)?(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}$/;
const SECURITY_KEY = /^(?:webauthn-)?sk-ssh-ed25519(?:-cert-v01)?@openssh\.com$/;
// Control characters, line separators and direction overrides could forge lines in a key file or on a terminal.
const NOT_IN_COMMENTS = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** @throws CofferError KEY_INVALID - `text` is not 64 lower-case hex characters */
export function parseKeyId(text: string): KeyId {
  if (!isDigest(text)) throw new CofferError("KEY_INVALID", "key id: expected 64 lower-case hex characters");
  return text as string as KeyId;
}

/** The SSH wire form: string key type, string 32 bytes. */
export function publicKeyBlob(raw: Uint8Array): Uint8Array {
  return concatBytes(wireString(KEY_TYPE), wireString(raw));
}

/** The id of the key with these 32 raw bytes. */
export function keyIdOf(raw: Uint8Array): KeyId {
  return parseKeyId(sha256(publicKeyBlob(raw)));
}

/** The form that `ssh-keygen -l` shows: `SHA256:` and base64 without padding. */
export function fingerprint(key: PublicKey): string {
  return `SHA256:${encodeBase64(digestBytes(sha256(publicKeyBlob(key.raw)))).replace(/=+$/, "")}`;
}

/**
 * @throws CofferError KEY_INVALID - not 32 bytes
 * @throws CofferError KEY_WEAK - small order, or y not reduced (ed25519-rules.ts)
 */
export function publicKeyFromRaw(raw: Uint8Array): PublicKey {
  if (raw.length !== 32) throw new CofferError("KEY_INVALID", `public key: expected 32 bytes, found ${raw.length}`);
  const weakness = keyWeakness(raw);
  if (weakness !== undefined) {
    throw new CofferError("KEY_WEAK", `public key: expected a point of large order, found ${weakness}`);
  }
  const text = `${KEY_TYPE} ${encodeBase64(publicKeyBlob(raw))}`;
  return { keyId: keyIdOf(raw), raw: Uint8Array.from(raw), text };
}

/** @throws CofferError KEY_INVALID - not printable in one line */
export function checkComment(comment: string): string {
  if (NOT_IN_COMMENTS.test(comment)) {
    throw new CofferError("KEY_INVALID", "key comment: expected one line without control characters, found some");
  }
  return comment;
}

/** @throws CofferError UNSUPPORTED for security keys, KEY_INVALID for any other type than ssh-ed25519 */
function checkType(found: string): void {
  if (found === KEY_TYPE) return;
  if (SECURITY_KEY.test(found)) {
    throw new CofferError("UNSUPPORTED", `public key: expected ${KEY_TYPE}, found the security key type ${found}`);
  }
  // Anything else is not echoed: it may be a piece of a private key that went into the wrong place.
  const what = TYPE_WORD.test(found) ? found : "no known key type";
  throw new CofferError("KEY_INVALID", `public key: expected ${KEY_TYPE}, found ${what}`);
}

/**
 * Reads the SSH wire form of a key; nothing may trail.
 *
 * @throws CofferError KEY_INVALID, KEY_WEAK, UNSUPPORTED - as parsePublicKey
 */
export function parsePublicKeyBlob(blob: Uint8Array): PublicKey {
  const reader = new SshReader(blob, "public key", "KEY_INVALID");
  checkType(reader.text("key type"));
  const raw = reader.stringOf(32, "point");
  reader.end();
  return publicKeyFromRaw(raw);
}

/** The text before the first run of blanks, and what comes after it. */
function cutWord(text: string): [word: string, rest: string] {
  const at = text.search(/[ \t]/);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at).replace(/^[ \t]+/, "")];
}

/**
 * Reads one line `ssh-ed25519 <base64> [comment]`, as in a `.pub` file; one line end may follow.
 *
 * @throws CofferError KEY_INVALID - not such a line, another key type, base64 that is not canonical
 * @throws CofferError KEY_WEAK - a key for which anyone can sign, or one with a second encoding
 * @throws CofferError UNSUPPORTED - a hardware security key (`sk-ssh-ed25519@openssh.com` and its variants)
 * @throws CofferError LIMIT_EXCEEDED - over LIMITS.keyFileBytes
 */
export function parsePublicKey(text: string): PublicKey {
  if (text.length > LIMITS.keyFileBytes) {
    const problem = `expected at most ${LIMITS.keyFileBytes} characters, found ${text.length}`;
    throw new CofferError("LIMIT_EXCEEDED", `public key: ${problem}`);
  }
  if (text.startsWith("-----BEGIN ")) {
    throw new CofferError("KEY_INVALID", "public key: expected one line, found an armored file (a private key?)");
  }
  const [type, afterType] = cutWord(text.replace(/\r?\n$/, ""));
  checkType(type);
  const [base64, tail] = cutWord(afterType);
  const blob = decodeBase64(base64);
  if (blob === undefined) throw new CofferError("KEY_INVALID", "public key: expected canonical base64 after the type");
  const key = parsePublicKeyBlob(blob);
  const comment = checkComment(tail).trim();
  return comment === "" ? key : { ...key, comment };
}
