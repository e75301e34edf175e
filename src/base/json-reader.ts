// SPDX-License-Identifier: Apache-2.0
/**
 * A strict reader of RFC 8259 JSON for text that people or other tools wrote: model headers, policy drafts.
 * Unlike JSON.parse it refuses repeated keys, lone surrogates, bad UTF-8 and deep nesting, and objects become Maps.
 * Not here: Coffer's own documents, which must be canonical (canonical-json.ts). Layer: base.
 */
import { CofferError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { quote } from "./quote.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = ReadonlyMap<string, JsonValue>;

export interface JsonOptions {
  /** Nesting of arrays and objects; LIMITS.jsonDepth when left out. */
  readonly maxDepth?: number;
  /** How error texts call the input. */
  readonly what?: string;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 section 7 refuses them, so this must name them
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["/", "/"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

/**
 * Reads one JSON text.
 *
 * @param bytes - UTF-8 without a byte order mark
 * @returns the value; objects as Maps in the order of the text; numbers as IEEE doubles (finite)
 * @throws CofferError JSON_INVALID - with the character offset of the first fault
 */
export function readJson(bytes: Uint8Array, options: JsonOptions = {}): JsonValue {
  const what = options.what ?? "json";
  return new Reader(decodeUtf8(bytes, what), what, options.maxDepth ?? LIMITS.jsonDepth).document();
}

/** Decodes strict UTF-8; a byte order mark is a fault. @throws CofferError JSON_INVALID */
export function decodeUtf8(bytes: Uint8Array, what: string): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CofferError("JSON_INVALID", `${what}: expected utf-8, found other bytes`, { cause });
  }
  if (text.startsWith("\ufeff")) throw new CofferError("JSON_INVALID", `${what}: found a byte order mark`);
  return text;
}

class Reader {
  private readonly text: string;
  private readonly what: string;
  private readonly maxDepth: number;
  private at = 0;

  constructor(text: string, what: string, maxDepth: number) {
    this.text = text;
    this.what = what;
    this.maxDepth = maxDepth;
  }

  document(): JsonValue {
    const value = this.value(0);
    this.space();
    if (this.at !== this.text.length) this.fail("the end");
    return value;
  }

  private fail(expected: string): never {
    const found = this.at < this.text.length ? quote(this.text.charAt(this.at)) : "the end";
    throw new CofferError("JSON_INVALID", `${this.what}: expected ${expected} at character ${this.at}, found ${found}`);
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  private space(): void {
    this.match(SPACE);
  }

  private take(literal: string): boolean {
    if (!this.text.startsWith(literal, this.at)) return false;
    this.at += literal.length;
    return true;
  }

  private value(depth: number): JsonValue {
    this.space();
    if (this.take("{")) return this.object(depth + 1);
    if (this.take("[")) return this.array(depth + 1);
    if (this.take('"')) return this.string();
    if (this.take("true")) return true;
    if (this.take("false")) return false;
    if (this.take("null")) return null;
    return this.number();
  }

  private number(): number {
    const found = this.match(NUMBER);
    if (found === undefined) return this.fail("a value");
    const value = Number(found);
    if (!Number.isFinite(value)) return this.fail("a number within the range of a double");
    return value;
  }

  private enter(depth: number): void {
    if (depth > this.maxDepth) this.fail(`nesting of at most ${this.maxDepth}`);
    this.space();
  }

  private array(depth: number): JsonValue[] {
    this.enter(depth);
    const values: JsonValue[] = [];
    if (this.take("]")) return values;
    for (;;) {
      values.push(this.value(depth));
      this.space();
      if (this.take("]")) return values;
      if (!this.take(",")) this.fail("',' or ']'");
    }
  }

  private object(depth: number): JsonObject {
    this.enter(depth);
    const members = new Map<string, JsonValue>();
    if (this.take("}")) return members;
    for (;;) {
      this.space();
      if (!this.take('"')) this.fail("a key");
      const key = this.string();
      if (members.has(key)) this.fail(`each key once, and ${quote(key)} came before,`);
      this.space();
      if (!this.take(":")) this.fail("':'");
      members.set(key, this.value(depth));
      this.space();
      if (this.take("}")) return members;
      if (!this.take(",")) this.fail("',' or '}'");
    }
  }

  private string(): string {
    const start = this.at;
    let value = this.match(PLAIN) ?? "";
    while (!this.take('"')) {
      if (!this.take("\\")) this.fail("'\"'");
      value += this.escape() + (this.match(PLAIN) ?? "");
    }
    if (!value.isWellFormed()) {
      this.at = start;
      this.fail("a string without lone surrogates");
    }
    return value;
  }

  private escape(): string {
    if (this.take("u")) {
      const hex = /[0-9a-fA-F]{4}/y;
      const digits = this.match(hex);
      return digits === undefined ? this.fail("four hex digits") : String.fromCharCode(Number.parseInt(digits, 16));
    }
    const plain = ESCAPES.get(this.text[this.at] ?? "");
    if (plain === undefined) return this.fail("an escape");
    this.at += 1;
    return plain;
  }
}
