// SPDX-License-Identifier: Apache-2.0
/**
 * Chat templates are programs that many runtimes execute: hash them, measure them, point at what smells. Never render.
 * Layer: formats. Background: CVE-2024-34359, CVE-2026-5760. A hint for approvers, not a sandbox: it only warns.
 */
import { sha256 } from "../base/digest.ts";
import { type Notes, quote } from "./findings.ts";

/** A template over this size in bytes is refused; the longest in common models are under 100 KB. */
export const TEMPLATE_BYTES = 1024 * 1024;

/** Ways out of a Jinja sandbox, and the escapes that hide them. */
const SUSPICIOUS: readonly (readonly [string, RegExp])[] = [
  ["__", /__|\\x5f|\\u005f|\\137/i],
  ["import", /\bimport\b/],
  ["attr(", /\battr\s*\(/],
  ["class", /\bclass\b/],
  ["mro", /\bmro\b/],
  ["subclasses", /subclasses/],
  ["globals", /globals/],
  ["builtins", /builtins/],
  ["lipsum", /\blipsum\b/],
  ["cycler", /\bcycler\b/],
  ["joiner", /\bjoiner\b/],
  ["namespace.init", /\bnamespace\s*\.\s*(?:init|new|code)/],
];

/**
 * Notes one template: `chat-template` (info, SHA-256 and length) and, if it smells, `chat-template-suspicious` (warn).
 *
 * @param where - the key or file that holds it
 */
export function noteTemplate(notes: Notes, where: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  notes.info("chat-template", `${quote(where)}: chat template of ${bytes.length} bytes, sha256 ${sha256(bytes)}`);
  const found = SUSPICIOUS.filter(([, pattern]) => pattern.test(text)).map(([name]) => name);
  if (found.length === 0) return;
  notes.warn(
    "chat-template-suspicious",
    `${quote(where)}: chat template reaches for ${found.join(", ")}; read it first`,
  );
}
