// SPDX-License-Identifier: Apache-2.0
/** Making untrusted text safe to show and to store. Layer: base. */

/** Controls, lone surrogates, and the invisible marks that reorder or hide text (Unicode TR 36, bidi). */
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

/** `text` with every character that could steer a terminal shown as `?`, cut to `most` characters; never empty. */
export function printable(text: string, most = 4096): string {
  const safe = text.toWellFormed().replace(UNSAFE, "?");
  if (safe.length === 0) return "(empty)";
  return safe.length <= most ? safe : `${safe.slice(0, most - 1).toWellFormed()}…`;
}
