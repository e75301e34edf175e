// SPDX-License-Identifier: Apache-2.0
/**
 * The text form of OpenSSH files: BEGIN and END lines around base64, and canonical base64 itself.
 * Layer: keys. Lenient in layout (line ends, columns, blank lines), strict in the base64 (RFC 4648 sections 3.5 and 4).
 */
import { CofferError, type ErrorCode } from "../base/errors.ts";

const COLUMNS = 70;

/** The bytes of `text`; undefined unless it is padded base64 that encodes back to the same text. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? new Uint8Array(bytes) : undefined;
}

/** Padded base64 of `bytes`, in one line. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** The armor that ssh-keygen writes: 70 columns, LF, a final newline. `label` is as in `SSH SIGNATURE`. */
export function encodeArmor(label: string, bytes: Uint8Array): string {
  const text = encodeBase64(bytes);
  const lines = [`-----BEGIN ${label}-----`];
  for (let at = 0; at < text.length; at += COLUMNS) lines.push(text.slice(at, at + COLUMNS));
  lines.push(`-----END ${label}-----`, "");
  return lines.join("\n");
}

/**
 * The bytes inside an armor, whatever its columns, line ends and the blanks around it; nothing may stand before
 * BEGIN or after END.
 *
 * @param what - names the file in error texts
 * @throws CofferError `code` - no such armor, or its base64 is not canonical
 */
export function decodeArmor(label: string, text: string, what: string, code: ErrorCode): Uint8Array {
  const lines = text.trim().split(/\r?\n/);
  if (lines.shift() !== `-----BEGIN ${label}-----`) {
    throw new CofferError(code, `${what}: expected a first line "-----BEGIN ${label}-----", found none`);
  }
  if (lines.pop() !== `-----END ${label}-----`) {
    throw new CofferError(code, `${what}: expected a last line "-----END ${label}-----", found none`);
  }
  const bytes = decodeBase64(lines.join("").replace(/[ \t\r]/g, ""));
  if (bytes === undefined) {
    throw new CofferError(code, `${what}: expected canonical base64 in one armor, found something else`);
  }
  return bytes;
}
