// SPDX-License-Identifier: Apache-2.0
/**
 * Canonical JSON: the one way to write a document. RFC 8785 restricted to objects, arrays, strings, booleans and
 * integers 0..2^53-1, then one newline. Layer: base. Format: docs/format.md, "Canonical JSON". Holds invariant 2.
 *
 * Parsed objects have no prototype. Do not rely on the order of their keys: engines put "9" and "10" first, as numbers.
 */
import { CofferError } from "./errors.ts";
import { decodeUtf8 } from "./json-reader.ts";
import { LIMITS } from "./limits.ts";
import { quote } from "./quote.ts";

export type CanonicalValue = boolean | number | string | readonly CanonicalValue[] | CanonicalObject;
export interface CanonicalObject {
  readonly [key: string]: CanonicalValue | undefined;
}

const KEY = /^[A-Za-z0-9][A-Za-z0-9_./@:-]*$/;
/** Category Cc: C0, DEL and C1. Such text could steer a terminal. */
const CONTROL = /\p{Cc}/u;

const encoder = new TextEncoder();

/**
 * The canonical bytes of `value`: sorted keys, no spaces, one newline at the end. Members that are undefined are left out.
 *
 * @throws CofferError JSON_INVALID - a value outside the subset (null, fraction, negative, control character, bad key, depth)
 */
export function encodeCanonical(value: CanonicalValue): Uint8Array {
  return encoder.encode(`${write(value, 0)}\n`);
}

/**
 * Reads canonical bytes; anything that `encodeCanonical` would write differently is refused.
 *
 * @param what - how error texts call the input
 * @throws CofferError JSON_INVALID, or LIMIT_EXCEEDED over `limitBytes`
 */
export function parseCanonical(
  bytes: Uint8Array,
  what = "document",
  limitBytes: number = LIMITS.documentBytes,
): CanonicalValue {
  if (bytes.length > limitBytes) {
    throw new CofferError("LIMIT_EXCEEDED", `${what}: expected at most ${limitBytes} bytes, found ${bytes.length}`);
  }
  const text = decodeUtf8(bytes, what);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new CofferError("JSON_INVALID", `${what}: not json`, { cause });
  }
  const value = adopt(parsed, what, 0);
  // One comparison covers order, spaces, escapes, repeated keys, number forms and the final newline.
  if (`${write(value, 0)}\n` !== text) {
    throw new CofferError("JSON_INVALID", `${what}: expected canonical json (sorted keys, no spaces, one newline)`);
  }
  return value;
}

function refuse(what: string, fault: string): never {
  throw new CofferError("JSON_INVALID", `${what}: ${fault}`);
}

/** Checks a parsed value against the subset and copies objects without a prototype. */
function adopt(value: unknown, what: string, depth: number): CanonicalValue {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value !== "object" || value === null) return refuse(what, "expected no null");
  if (depth >= LIMITS.jsonDepth) return refuse(what, `nested deeper than ${LIMITS.jsonDepth}`);
  if (Array.isArray(value)) return value.map((member) => adopt(member, what, depth + 1));
  const copy: Record<string, CanonicalValue> = Object.create(null);
  for (const [key, member] of Object.entries(value)) copy[key] = adopt(member, what, depth + 1);
  return copy;
}

function write(value: CanonicalValue, depth: number): string {
  switch (typeof value) {
    case "string":
      return writeString(value);
    case "boolean":
      return value ? "true" : "false";
    case "number":
      return writeNumber(value);
    case "object":
      return writeNested(value, depth);
    default:
      return refuse("value", `expected json, found ${typeof value}`);
  }
}

function writeNumber(value: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
    return refuse("number", `expected an integer from 0 to 2^53-1, found ${value}`);
  }
  return String(value);
}

/** Text that JSON writes as it stands. */
const PLAIN = /^[ !#-[\]-~]*$/;

function writeString(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`;
  if (CONTROL.test(value)) return refuse("string", "found a control character");
  if (!value.isWellFormed()) return refuse("string", "found a lone surrogate");
  // Without control characters JSON.stringify escapes only '"' and '\', as RFC 8785 section 3.2.2.2 asks.
  return JSON.stringify(value);
}

function writeNested(value: readonly CanonicalValue[] | CanonicalObject | null, depth: number): string {
  if (value === null) return refuse("value", "expected no null");
  if (depth >= LIMITS.jsonDepth) return refuse("value", `nested deeper than ${LIMITS.jsonDepth}`);
  if (isArray(value)) return `[${value.map((member) => write(member, depth + 1)).join(",")}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    if (!KEY.test(key) || key in Object.prototype) return refuse("key", `not allowed: ${quote(key)}`);
    members.push(`"${key}":${write(member, depth + 1)}`);
  }
  return `{${members.join(",")}}`;
}

function isArray(value: readonly CanonicalValue[] | CanonicalObject): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
