// SPDX-License-Identifier: Apache-2.0
/**
 * Closed schemas over canonical JSON: a schema turns a parsed value into a typed one, or refuses it.
 * An unknown member is refused; optional means absent; sets are sorted by bytes without repeats.
 * Layer: objects. Format: docs/format.md, "Documents". Holds invariants 2 and 7.
 */
import {
  type CanonicalObject,
  type CanonicalValue,
  encodeCanonical,
  parseCanonical,
} from "../../base/canonical-json.ts";
import { type Digest, isDigest, sha256 } from "../../base/digest.ts";
import { CofferError, type ErrorCode, passOthers } from "../../base/errors.ts";
import { LIMITS } from "../../base/limits.ts";
import { type Label, type ManifestPath, parseLabel, parseManifestPath } from "../../base/names.ts";
import { asRefPath, type RefPath } from "../../base/ref-path.ts";
import { parseTime, type Time } from "../../base/time.ts";
import { type PublicKey, parsePublicKey } from "../../keys/public-key.ts";

/** `at`: where in the document the value stands, for error texts. */
export type Schema<T> = (value: CanonicalValue, at: string) => T;

/** A document with the bytes that name it. */
export interface Stored<T> {
  readonly id: Digest;
  readonly bytes: Uint8Array;
  readonly value: T;
}

export function refuseAt(at: string, expected: string, code: ErrorCode = "DOCUMENT_INVALID"): never {
  throw new CofferError(code, `${at}: expected ${expected}`);
}

/**
 * Reads one document from its exact bytes.
 * @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED (unknown version), LIMIT_EXCEEDED
 */
export function readDocument<T>(
  schema: Schema<T>,
  bytes: Uint8Array,
  what: string,
  limitBytes?: number,
  limitValues?: number,
): Stored<T> {
  return { id: sha256(bytes), bytes, value: schema(parseCanonical(bytes, what, limitBytes, limitValues), what) };
}

/** Writes a value canonically and reads it back through its schema, so nothing is written that would not be read. */
export function makeDocument<T>(
  schema: Schema<T>,
  value: CanonicalObject,
  what: string,
  limitBytes?: number,
  limitValues?: number,
): Stored<T> {
  return readDocument(schema, encodeCanonical(value), what, limitBytes, limitValues);
}

export const text: Schema<string> = (value, at) => {
  if (typeof value !== "string") return refuseAt(at, "a string");
  if (value.length === 0 || value.length > LIMITS.textChars) return refuseAt(at, `1 to ${LIMITS.textChars} characters`);
  return value;
};

export const flag: Schema<boolean> = (value, at) =>
  typeof value === "boolean" ? value : refuseAt(at, "true or false");

export const anything: Schema<CanonicalObject> = (value, at) => asObject(value, at);

export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): Schema<number> {
  return (value, at) =>
    typeof value === "number" && value >= least && value <= most
      ? value
      : refuseAt(at, `an integer from ${least} to ${most}`);
}

export const digest: Schema<Digest> = (value, at) =>
  typeof value === "string" && isDigest(value) ? value : refuseAt(at, "64 lower-case hex characters");

/** Runs a parser of `base` on a string and reports its refusal with the place in the document. */
export function parsed<T>(parse: (input: string) => T, expected: string): Schema<T> {
  return (value, at) => {
    if (typeof value !== "string") return refuseAt(at, expected);
    try {
      return parse(value);
    } catch (error) {
      passOthers(error);
      throw new CofferError(
        error.code === "UNSUPPORTED" ? "UNSUPPORTED" : "DOCUMENT_INVALID",
        `${at}: ${error.message}`,
        {
          cause: error,
        },
      );
    }
  };
}

export const time: Schema<Time> = parsed(parseTime, "a time");
export const label: Schema<Label> = parsed((input) => parseLabel(input), "a short name");
export const manifestPath: Schema<ManifestPath> = parsed(parseManifestPath, "a path");
export const refPath: Schema<RefPath> = parsed(asRefPath, "a ref");

/** An OpenSSH public key in its one spelling. */
export const publicKey: Schema<PublicKey> = parsed((line) => {
  const key = parsePublicKey(line);
  if (key.text !== line) throw new CofferError("KEY_INVALID", "expected a key type and its base64, without a comment");
  return key;
}, "an OpenSSH public key");

export function oneOf<const T extends string>(...choices: readonly T[]): Schema<T> {
  return (value, at) =>
    choices.find((choice) => choice === value) ?? refuseAt(at, choices.map((choice) => `"${choice}"`).join(" or "));
}

export function arrayOf<T>(member: Schema<T>, most: number): Schema<readonly T[]> {
  return (value, at) => {
    if (!isList(value)) return refuseAt(at, "an array");
    if (value.length > most) return refuseAt(at, `at most ${most} members, found ${value.length}`, "LIMIT_EXCEEDED");
    return value.map((entry, index) => member(entry, `${at}[${index}]`));
  };
}

/** An array whose members have a key, strictly rising: sorted by bytes, no repeats. Keys are ASCII or digests. */
export function sortedBy<T>(member: Schema<T>, key: (entry: T) => string, most: number): Schema<readonly T[]> {
  const list = arrayOf(member, most);
  return (value, at) => {
    const entries = list(value, at);
    for (let index = 1; index < entries.length; index += 1) {
      const [before, here] = [entries[index - 1], entries[index]];
      if (before === undefined || here === undefined || key(before) >= key(here)) {
        return refuseAt(`${at}[${index}]`, "members sorted by bytes, each once");
      }
    }
    return entries;
  };
}

export function setOf<T extends string>(member: Schema<T>, most: number): Schema<readonly T[]> {
  return sortedBy(member, (entry) => entry, most);
}

/** An object whose keys are labels: returned as a Map, since an attacker may choose them. */
export function mapOf<T>(member: Schema<T>, most: number): Schema<ReadonlyMap<Label, T>> {
  return (value, at) => {
    const entries = Object.entries(asObject(value, at));
    if (entries.length > most)
      return refuseAt(at, `at most ${most} members, found ${entries.length}`, "LIMIT_EXCEEDED");
    return new Map(entries.map(([key, entry]) => [label(key, `${at} key`), member(entry ?? "", `${at}.${key}`)]));
  };
}

interface Member<T> {
  readonly schema: Schema<T>;
  readonly optional: boolean;
}
export function required<T>(schema: Schema<T>): Member<T> & { readonly optional: false } {
  return { schema, optional: false };
}
export function optional<T>(schema: Schema<T>): Member<T> & { readonly optional: true } {
  return { schema, optional: true };
}

type Members = Readonly<Record<string, Member<unknown>>>;
type RequiredKeys<M extends Members> = { [K in keyof M]: M[K] extends { optional: false } ? K : never }[keyof M];
type OptionalKeys<M extends Members> = Exclude<keyof M, RequiredKeys<M>>;
type ValueOf<T> = T extends Member<infer V> ? V : never;
export type RecordOf<M extends Members> = { readonly [K in RequiredKeys<M>]: ValueOf<M[K]> } & {
  readonly [K in OptionalKeys<M>]?: ValueOf<M[K]>;
};

/** An object with exactly these members. */
export function record<M extends Members>(members: M): Schema<RecordOf<M>> {
  const all = Object.entries(members);
  return (value, at) => {
    const source = asObject(value, at);
    for (const key of Object.keys(source)) {
      if (!Object.hasOwn(members, key)) return refuseAt(`${at}.${key.slice(0, 80)}`, "no such member", "UNSUPPORTED");
    }
    const result: Record<string, unknown> = Object.create(null);
    for (const [key, member] of all) {
      const entry = source[key];
      if (entry !== undefined) result[key] = member.schema(entry, `${at}.${key}`);
      else if (!member.optional) return refuseAt(`${at}.${key}`, "this member, found none");
    }
    return result as RecordOf<M>;
  };
}

/** A whole document: `record` with `type` and `version` checked first, so another kind is called by its name. */
export function documentOf<M extends Members>(type: string, members: M): Schema<RecordOf<M>> {
  const body = record({ type: required(oneOf(type)), version: required(integer(1, 1)), ...members });
  return (value, at) => {
    const source = asObject(value, at);
    if (source["type"] !== type) return refuseAt(`${at}.type`, `"${type}"`);
    if (source["version"] !== 1) return refuseAt(`${at}.version`, "1", "UNSUPPORTED");
    return body(value, at) as unknown as RecordOf<M>;
  };
}

export function asObject(value: CanonicalValue, at: string): CanonicalObject {
  return typeof value === "object" && !isList(value) ? value : refuseAt(at, "an object");
}

function isList(value: CanonicalValue): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
