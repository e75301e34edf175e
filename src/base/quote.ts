// SPDX-License-Identifier: Apache-2.0
/** Untrusted text in error messages: short, in quotes, unable to steer a terminal or to pass for other text. Layer: base. */

/**
 * `text` as a JSON string literal of printable ASCII: its first `limitChars` UTF-16 units, everything else as \uXXXX.
 * JSON.stringify alone leaves DEL, C1 controls and bidirectional marks as they are.
 */
export function quote(text: string, limitChars = 120): string {
  const literal = JSON.stringify(text.slice(0, limitChars));
  return literal.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
