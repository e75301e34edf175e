// SPDX-License-Identifier: Apache-2.0
/**
 * SHA-256 digests as typed values: 64 lower-case hex characters, made only here.
 * Layer: base. Format: docs/format.md, "Digests". Holds invariant 9.
 */
import { hash } from "node:crypto";
import { CofferError } from "./errors.ts";

/** 64 lower-case hex characters: the SHA-256 of some bytes. */
export type Digest = string & { readonly __brand: "Digest" };

const DIGEST = /^[0-9a-f]{64}$/;

/** True when `text` has the form of a digest. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws CofferError DIGEST_INVALID - `text` is not 64 lower-case hex characters */
export function parseDigest(text: string, what = "digest"): Digest {
  if (!isDigest(text)) throw new CofferError("DIGEST_INVALID", `${what}: expected 64 lower-case hex characters`);
  return text;
}

/** The SHA-256 of `bytes`, as `sha256sum` prints it. */
export function sha256(bytes: Uint8Array): Digest {
  return hash("sha256", bytes) as Digest;
}

/** The SHA-256 of the UTF-8 bytes of `text`. */
export function sha256OfText(text: string): Digest {
  return hash("sha256", text) as Digest;
}

/** Turns 32 raw bytes of SHA-256 output into a digest. */
export function digestFromBytes(raw: Uint8Array): Digest {
  if (raw.length !== 32) throw new CofferError("DIGEST_INVALID", `digest: expected 32 bytes, found ${raw.length}`);
  return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("hex") as Digest;
}

/** The 32 raw bytes of `digest`. */
export function digestBytes(digest: Digest): Uint8Array {
  return new Uint8Array(Buffer.from(digest, "hex"));
}

/** The first 12 characters: what people are shown. */
export function short(digest: string): string {
  return digest.slice(0, 12);
}
