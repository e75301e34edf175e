// SPDX-License-Identifier: Apache-2.0
/**
 * Canonical JSON: the one way to write a document. RFC 8785 restricted to objects, arrays, strings, booleans and
 * integers 0..2^53-1, then one newline. Layer: base. Format: docs/format.md, "Canonical JSON". Holds invariant 2.
 *
 * Parsed objects have no prototype. Do not rely on the order of their keys: engines put "9" and "10" first, as numbers.
 */
import { CofferError } from "./errors.ts";
import { decodeUtf8 } from "./json-reader.ts";
import { checkJsonSize } from "./json-size.ts";
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
  return encoder.encode(`${written(value, 0)}\n`);
}

function written(value: CanonicalValue, depth: number): string {
  const pieces: string[] = [];
  write(value, depth, (piece) => void pieces.push(piece));
  return pieces.join("");
}

/** A member of a large document: a value, or a list that is gone through when its turn comes. */
export type LargeMember = CanonicalValue | undefined | (() => Iterable<CanonicalValue>);

/** Members of a list in one piece. */
const PIECE_MEMBERS = 256;

/**
 * What `encodeCanonical` makes of an object, in pieces, for whoever must not be kept from other work for long.
 * @throws CofferError JSON_INVALID - as `encodeCanonical`
 */
export function* encodeInPieces(value: Readonly<Record<string, LargeMember>>): Generator<Uint8Array> {
  let before = "{";
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    if (typeof member !== "function") {
      yield encoder.encode(before + writtenKey(key) + written(member, 1));
    } else {
      yield encoder.encode(`${before}${writtenKey(key)}[`);
      yield* listPieces(member());
    }
    before = ",";
  }
  yield encoder.encode(before === "{" ? "{}\n" : "}\n");
}

function* listPieces(members: Iterable<CanonicalValue>): Generator<Uint8Array> {
  let piece: string[] = [];
  let before = "";
  for (const member of members) {
    piece.push(written(member, 2));
    if (piece.length < PIECE_MEMBERS) continue;
    yield encoder.encode(before + piece.join(","));
    piece = [];
    before = ",";
  }
  yield encoder.encode(`${piece.length === 0 ? "" : before}${piece.join(",")}]`);
}

/**
 * Reads canonical bytes; anything that `encodeCanonical` would write differently is refused.
 *
 * @param what - how error texts call the input
 * @param limitValues - of all kinds together, at any depth; counted before anything is made of them
 * @throws CofferError JSON_INVALID, or LIMIT_EXCEEDED over `limitBytes` or `limitValues`
 */
export function parseCanonical(
  bytes: Uint8Array,
  what = "document",
  limitBytes: number = LIMITS.documentBytes,
  limitValues: number = LIMITS.jsonValues,
): CanonicalValue {
  if (bytes.length > limitBytes) {
    throw new CofferError("LIMIT_EXCEEDED", `${what}: expected at most ${limitBytes} bytes, found ${bytes.length}`);
  }
  checkJsonSize(bytes, what, limitValues);
  const text = decodeUtf8(bytes, what);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new CofferError("JSON_INVALID", `${what}: not json`, { cause });
  }
  const value = adopt(parsed, what, 0);
  // One comparison covers order, spaces, escapes, repeated keys, number forms and the final newline.
  if (!isWritten(value, text)) {
    throw new CofferError("JSON_INVALID", `${what}: expected canonical json (sorted keys, no spaces, one newline)`);
  }
  return value;
}

/** True if `text` is what `encodeCanonical` writes. Compared piece by piece: nothing of the size of `text` is made. */
function isWritten(value: CanonicalValue, text: string): boolean {
  let [at, same] = [0, true];
  write(value, 0, (piece) => {
    same &&= text.startsWith(piece, at);
    at += piece.length;
  });
  return same && at === text.length - 1 && text.endsWith("\n");
}

function refuse(what: string, fault: string): never {
  throw new CofferError("JSON_INVALID", `${what}: ${fault}`);
}

/** Checks a parsed value against the subset and takes the prototype from its objects, which nobody else has. */
function adopt(value: unknown, what: string, depth: number): CanonicalValue {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value !== "object" || value === null) return refuse(what, "expected no null");
  if (depth >= LIMITS.jsonDepth) return refuse(what, `nested deeper than ${LIMITS.jsonDepth}`);
  const members = Array.isArray(value) ? value : Object.values(Object.setPrototypeOf(value, null));
  for (const member of members) adopt(member, what, depth + 1);
  return value as CanonicalObject;
}

/** Hands the pieces that a value is written as to `emit`, in order. */
function write(value: CanonicalValue, depth: number, emit: (piece: string) => void): void {
  switch (typeof value) {
    case "string":
      emit(writeString(value));
      break;
    case "boolean":
      emit(value ? "true" : "false");
      break;
    case "number":
      emit(writeNumber(value));
      break;
    case "object":
      writeNested(value, depth, emit);
      break;
    default:
      refuse("value", `expected json, found ${typeof value}`);
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

function writeNested(
  value: readonly CanonicalValue[] | CanonicalObject | null,
  depth: number,
  emit: (piece: string) => void,
): void {
  if (value === null) refuse("value", "expected no null");
  if (depth >= LIMITS.jsonDepth) refuse("value", `nested deeper than ${LIMITS.jsonDepth}`);
  let separator = "";
  if (isArray(value)) {
    emit("[");
    for (const member of value) {
      if (separator !== "") emit(separator);
      write(member, depth + 1, emit);
      separator = ",";
    }
    emit("]");
    return;
  }
  emit("{");
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    emit(`${separator}${writtenKey(key)}`);
    write(member, depth + 1, emit);
    separator = ",";
  }
  emit("}");
}

function writtenKey(key: string): string {
  if (!KEY.test(key) || key in Object.prototype) return refuse("key", `not allowed: ${quote(key)}`);
  return `"${key}":`;
}

function isArray(value: readonly CanonicalValue[] | CanonicalObject): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
