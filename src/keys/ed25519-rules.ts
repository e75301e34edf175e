// SPDX-License-Identifier: Apache-2.0
/**
 * What Ed25519 libraries let through and Coffer does not: weak public keys, and a second S for the same signature.
 * Layer: keys. Sources: RFC 8032 sections 5.1, 5.1.3 and 5.1.7; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs"
 * (IACR ePrint 2020/1244), table 1; libsodium, ge25519_has_small_order. Not here: the curve arithmetic (node:crypto).
 */

/** The prime of the field, 2^255 - 19. */
export const P = 2n ** 255n - 19n;
/** The order of the base point. */
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/**
 * The y of every point of order 1, 2, 4 or 8, in each encoding below 2^255 (32 bytes, least significant first).
 * The last bit of an encoding is the sign of x, so each stands for two encodings: 14 in all.
 */
const SMALL_ORDER_Y = [
  "0000000000000000000000000000000000000000000000000000000000000000", // y = 0, order 4
  "0100000000000000000000000000000000000000000000000000000000000000", // y = 1, order 1
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p - 1, order 2
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p, read as 0, order 4
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 1, read as 1, order 1
] as const;

const SIGN_BIT = 0x80;

function withSign(hex: string): string {
  const bytes = Buffer.from(hex, "hex");
  bytes.writeUInt8(bytes.readUInt8(31) | SIGN_BIT, 31);
  return bytes.toString("hex");
}

/** The 14 encodings, as hex, of keys for which anyone can make a signature. */
export const SMALL_ORDER_KEYS: ReadonlySet<string> = new Set(SMALL_ORDER_Y.flatMap((hex) => [hex, withSign(hex)]));

/** `bytes` as an integer, least significant byte first. */
export function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

/** Why these 32 bytes must not be enrolled as a key; undefined when nothing speaks against them. */
export function keyWeakness(raw: Uint8Array): string | undefined {
  if (SMALL_ORDER_KEYS.has(Buffer.from(raw).toString("hex"))) return "one of the 14 small-order encodings";
  const y = littleEndian(raw) & ((1n << 255n) - 1n);
  return y >= P ? "a y that is not below 2^255 - 19" : undefined;
}

/** True when the S half (the last 32 bytes) of a 64-byte signature is below the group order (RFC 8032 5.1.7). */
export function hasCanonicalS(signature: Uint8Array): boolean {
  // Nearly every S is below 2^252, and so below L.
  return Number(signature[63]) < 0x10 || littleEndian(signature.subarray(32)) < L;
}
