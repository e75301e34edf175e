// SPDX-License-Identifier: Apache-2.0
/**
 * JSON Schema 2020-12, the few keywords that docs/schemas/ uses; any other keyword is an error. Stricter than the
 * standard in one thing: a member that no schema names is refused unless `additionalProperties` speaks of it. Readers must
 * let further members pass, since they may be added; we must not print one that is not described.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const FOLDER = new URL("../../docs/schemas/", import.meta.url);

interface Schema {
  readonly [keyword: string]: unknown;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function schemaOf(value: unknown, at: string): Schema {
  return isObject(value) ? value : assert.fail(`${at}: expected a schema`);
}

const files = new Map<string, Schema>();

export function readSchema(file: string): Schema {
  const known = files.get(file) ?? schemaOf(JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")), file);
  files.set(file, known);
  return known;
}

/** `common.json#/$defs/name`, or `#/$defs/name` in the same file. */
function follow(ref: string, from: string): readonly [schema: Schema, file: string] {
  const [file = "", pointer = ""] = ref.split("#");
  const home = file === "" ? from : file;
  let found: unknown = readSchema(home);
  for (const step of pointer.split("/").slice(1)) found = schemaOf(found, ref)[step];
  return [schemaOf(found, `${home}${pointer}`), home];
}

type Check = (limit: unknown, value: unknown, at: string, file: string, schema: Schema) => string[];

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: Number.isSafeInteger,
};

const no = (at: string, text: string): string[] => [`${at}: ${text}`];
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : assert.fail("expected a list"));

const KEYWORDS: Readonly<Record<string, Check>> = {
  type: (type, value, at) => ((TYPES[String(type)] ?? assert.fail(`type ${type}`))(value) ? [] : no(at, `no ${type}`)),
  const: (only, value, at) => (isDeepStrictEqual(only, value) ? [] : no(at, `not ${JSON.stringify(only)}`)),
  enum: (all, value, at) => (list(all).includes(value) ? [] : no(at, `none of ${list(all).join(", ")}`)),
  minimum: (least, value, at) => (typeof value === "number" && value < Number(least) ? no(at, `below ${least}`) : []),
  minItems: (least, value, at) => (Array.isArray(value) && value.length < Number(least) ? no(at, "too few") : []),
  maxItems: (most, value, at) => (Array.isArray(value) && value.length > Number(most) ? no(at, "too many") : []),
  pattern: (pattern, value, at) =>
    typeof value === "string" && !new RegExp(String(pattern), "u").test(value) ? no(at, `not ${pattern}`) : [],
  items: (items, value, at, file) =>
    Array.isArray(value) ? value.flatMap((item, index) => faults(items, item, `${at}[${index}]`, file)) : [],
  required: (names, value, at) =>
    list(names).flatMap((name) => (isObject(value) && !(String(name) in value) ? no(at, `lacks ${name}`) : [])),
  properties: (_known, value, at, file, schema) => members(value, at, file, schema),
  // Members that `properties` does not name; where that stands too, it does both.
  additionalProperties: (_rest, value, at, file, schema) =>
    "properties" in schema ? [] : members(value, at, file, schema),
  $ref: (ref, value, at, file) => {
    const [schema, home] = follow(String(ref), file);
    return faults(schema, value, at, home);
  },
  oneOf: (choices, value, at, file) => {
    const each = list(choices).map((choice) => faults(choice, value, at, file));
    const right = each.filter((found) => found.length === 0).length;
    if (right === 1) return [];
    return no(at, right === 0 ? `fits none: ${each.map((found) => found.join(", ")).join(" | ")}` : "fits several");
  },
};

/** Words about a schema; $defs are reached by $ref. */
const ABOUT: ReadonlySet<string> = new Set(["$schema", "$defs", "title", "description"]);

function members(value: unknown, at: string, file: string, schema: Schema): string[] {
  if (!isObject(value)) return [];
  const known = schemaOf(schema["properties"] ?? {}, at);
  const rest = schema["additionalProperties"] ?? false;
  return Object.entries(value).flatMap(([name, member]) => {
    if (Object.hasOwn(known, name)) return faults(known[name], member, `${at}.${name}`, file);
    if (rest === true) return [];
    return rest === false ? no(at, `has ${name}, which is not described`) : faults(rest, member, `${at}.${name}`, file);
  });
}

/** What is wrong with `value`; nothing if it fits. */
function faults(given: unknown, value: unknown, at: string, file: string): string[] {
  const schema = schemaOf(given, at);
  return Object.entries(schema).flatMap(([keyword, limit]) => {
    if (ABOUT.has(keyword)) return [];
    const check = KEYWORDS[keyword] ?? assert.fail(`${file}: keyword ${keyword} is not understood here`);
    return check(limit, value, at, file, schema);
  });
}

export function faultsOf(file: string, value: unknown): string[] {
  return faults(readSchema(file), value, "$", file);
}
