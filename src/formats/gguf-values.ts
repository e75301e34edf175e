// SPDX-License-Identifier: Apache-2.0
/**
 * The key-value section of a GGUF file: every rule about keys, values and what well-known keys must hold.
 * Layer: formats. The tensor section and the layout of the data are gguf.ts. Of arrays only the tokens are kept.
 */
import { noteTemplate, TEMPLATE_BYTES } from "./chat-template.ts";
import { Malformed, type Notes, quote } from "./findings.ts";
import { SCALARS, UNSIGNED, VALUE } from "./gguf-types.ts";
import type { Cursor } from "./reader.ts";

const KEY_BYTES = 65_535;
/** Smallest entry: a length, one byte of key, a type, one byte of value. */
export const MIN_ENTRY_BYTES = 8 + 1 + 4 + 1;
const PRINTABLE = /^[\x20-\x7e]+$/;
const ARCHITECTURE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MAX_ALIGNMENT = 1024 * 1024;
const DEFAULT_ALIGNMENT = 32;
/** llama.cpp keeps per-layer tables of these sizes (src/llama-hparams.h). */
const MAX_BLOCKS = 512n;
const MAX_EXPERTS = 1024n;
/** Four times the largest vocabulary known; each token is kept while the file is walked. */
const MAX_TOKENS = 1024 * 1024;
const TOKENS = "tokenizer.ggml.tokens";

/** Keys that hold arrays, and the element types that llama.cpp takes for them. */
const TOKENIZER_ARRAYS: ReadonlyMap<string, readonly number[]> = new Map([
  [TOKENS, [VALUE.string]],
  ["tokenizer.ggml.merges", [VALUE.string]],
  ["tokenizer.ggml.added_tokens", [VALUE.string]],
  ["tokenizer.chat_templates", [VALUE.string]],
  ["tokenizer.ggml.scores", [VALUE.float32, VALUE.int32]],
  ["tokenizer.ggml.token_type", [VALUE.int32]],
  ["tokenizer.ggml.suppress_tokens", [VALUE.int32]],
  ["tokenizer.ggml.precompiled_charsmap", [VALUE.uint8, VALUE.int8]],
]);

/** What the rest of the walk needs to know from the keys. */
export interface GgufFacts {
  /** Absent only in the second and later shards of a split model, which llama.cpp writes without it. */
  readonly architecture?: string;
  readonly alignment: number;
}

/**
 * Walks `count` key-value pairs.
 *
 * @throws Malformed - with the code of the first rule that is broken
 */
export async function readValues(cursor: Cursor, count: number, notes: Notes): Promise<GgufFacts> {
  const section = new ValueSection(cursor, notes);
  for (let index = 0; index < count; index += 1) await section.entry();
  return section.facts();
}

class ValueSection {
  private readonly cursor: Cursor;
  private readonly notes: Notes;
  private readonly seen = new Set<string>();
  private readonly arrayLengths = new Map<string, number>();
  private architecture: string | undefined;
  private alignment = DEFAULT_ALIGNMENT;
  private laterShard = false;

  constructor(cursor: Cursor, notes: Notes) {
    this.cursor = cursor;
    this.notes = notes;
  }

  async entry(): Promise<void> {
    const key = await this.key();
    await this.cursor.fill(4);
    const type = this.cursor.u32();
    this.expectType(key, type);
    if (type === VALUE.array) return this.array(key);
    if (type === VALUE.string) return this.string(key);
    return this.scalar(key, type);
  }

  facts(): GgufFacts {
    const tokens = this.arrayLengths.get(TOKENS) ?? 0;
    for (const key of ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"]) {
      const length = this.arrayLengths.get(key) ?? tokens;
      if (length < tokens) {
        throw new Malformed(
          "gguf-tokenizer",
          `${key}: expected an entry for each of ${tokens} tokens, found ${length}`,
        );
      }
    }
    if (this.architecture !== undefined) return { architecture: this.architecture, alignment: this.alignment };
    if (this.laterShard) return { alignment: this.alignment };
    throw new Malformed("gguf-architecture", "expected the key general.architecture, found none");
  }

  private async key(): Promise<string> {
    await this.cursor.fill(8);
    const length = this.cursor.u64();
    if (length < 1n || length > BigInt(KEY_BYTES)) {
      throw new Malformed("gguf-key", `expected a key of 1 to ${KEY_BYTES} bytes, found ${length} bytes`);
    }
    await this.cursor.fill(Number(length));
    const key = Buffer.from(this.cursor.take(Number(length))).toString("latin1");
    // A NUL would end the key early for readers in C, and so hide one key behind another.
    if (!PRINTABLE.test(key)) throw new Malformed("gguf-key", `expected a key in printable ascii, found ${quote(key)}`);
    if (this.seen.has(key))
      throw new Malformed("gguf-duplicate-key", `expected each key once, found ${quote(key)} again`);
    this.seen.add(key);
    return key;
  }

  /** Rules about the type alone; the value comes after. */
  private expectType(key: string, type: number): void {
    if (type !== VALUE.array && type !== VALUE.string && !SCALARS.has(type)) {
      throw new Malformed("gguf-value-type", `${quote(key)}: expected a value type of 0 to 12, found ${type}`);
    }
    const wrong = (code: string, expected: string): never => {
      throw new Malformed(code, `${quote(key)}: expected ${expected}, found value type ${type}`);
    };
    if (key === "general.alignment" && type !== VALUE.uint32) wrong("gguf-alignment", "a uint32");
    if (key === "general.architecture" && type !== VALUE.string) wrong("gguf-architecture", "a string");
    if (key.endsWith(".block_count") && !UNSIGNED.has(type)) wrong("gguf-block-count", "an unsigned number");
    if (key.endsWith(".expert_count") && !UNSIGNED.has(type)) wrong("gguf-expert-count", "an unsigned number");
    if (isTemplateKey(key) && type !== VALUE.string) wrong("gguf-chat-template", "a string");
    if (TOKENIZER_ARRAYS.has(key) && type !== VALUE.array) wrong("gguf-tokenizer", "an array");
  }

  private async scalar(key: string, type: number): Promise<void> {
    const size = SCALARS.get(type)?.sizeBytes ?? 0;
    await this.cursor.fill(size);
    const bytes = this.cursor.take(size);
    if (type === VALUE.bool && (bytes[0] ?? 0) > 1) {
      throw new Malformed("gguf-bool", `${quote(key)}: expected a bool of 0 or 1, found ${bytes[0]}`);
    }
    if (type === VALUE.float32 && key.endsWith("_epsilon")) this.epsilon(key, Buffer.from(bytes).readFloatLE());
    if (!UNSIGNED.has(type)) return;
    let value = 0n;
    for (let index = size - 1; index >= 0; index -= 1) value = value * 256n + BigInt(bytes[index] ?? 0);
    this.number(key, value);
  }

  private number(key: string, value: bigint): void {
    if (key === "general.alignment") {
      const power = value >= 8n && (value & (value - 1n)) === 0n;
      if (!power || value > BigInt(MAX_ALIGNMENT)) {
        throw new Malformed("gguf-alignment", `expected an alignment of 8 to 1048576, a power of two, found ${value}`);
      }
      this.alignment = Number(value);
    }
    if (key === "split.no") this.laterShard = value > 0n;
    // llama.cpp ends the whole process at none (GGML_ASSERT in src/llama-model.cpp).
    if (key.endsWith(".block_count") && (value < 1n || value > MAX_BLOCKS)) {
      throw new Malformed("gguf-block-count", `${quote(key)}: expected 1 to ${MAX_BLOCKS} blocks, found ${value}`);
    }
    if (key.endsWith(".expert_count") && value > MAX_EXPERTS) {
      throw new Malformed(
        "gguf-expert-count",
        `${quote(key)}: expected at most ${MAX_EXPERTS} experts, found ${value}`,
      );
    }
  }

  /** llama.cpp ends the whole process at one that is negative or no number (GGML_ASSERT in ggml-cpu/ops.cpp). */
  private epsilon(key: string, value: number): void {
    if (Number.isFinite(value) && value >= 0) return;
    throw new Malformed("gguf-epsilon", `${quote(key)}: expected a number of at least 0, found ${value}`);
  }

  private async string(key: string): Promise<void> {
    const length = await this.length(key);
    if (key === "general.architecture") this.architecture = await this.readArchitecture(length);
    else if (isTemplateKey(key)) await this.template(key, length);
    else this.cursor.skip(length);
  }

  private async readArchitecture(length: number): Promise<string> {
    const text = length <= 64 ? await this.text(length) : undefined;
    if (text === undefined || !ARCHITECTURE.test(text)) {
      throw new Malformed("gguf-architecture", "general.architecture: expected a name of letters, digits, . _ and -");
    }
    return text;
  }

  private async template(key: string, length: number): Promise<void> {
    if (length > TEMPLATE_BYTES) {
      throw new Malformed(
        "gguf-chat-template",
        `${quote(key)}: expected at most ${TEMPLATE_BYTES} bytes, found ${length}`,
      );
    }
    const text = await this.text(length);
    if (text === undefined)
      throw new Malformed("gguf-chat-template", `${quote(key)}: expected utf-8, found other bytes`);
    noteTemplate(this.notes, key, text);
  }

  private async text(length: number): Promise<string | undefined> {
    await this.cursor.fill(length);
    return strictUtf8(this.cursor.take(length));
  }

  /** A string length, checked against what is left before anything is read or skipped. */
  private async length(key: string): Promise<number> {
    if (this.cursor.buffered < 8) await this.cursor.fill(8);
    const length = this.cursor.u64();
    if (length > BigInt(this.cursor.fileRemaining)) {
      throw new Malformed(
        "gguf-string-length",
        `${quote(key)}: expected a string within the ${this.cursor.fileRemaining} bytes left, found ${length} bytes`,
      );
    }
    return Number(length);
  }

  private async array(key: string): Promise<void> {
    await this.cursor.fill(12);
    const type = this.cursor.u32();
    const count = this.cursor.u64();
    if (type === VALUE.array)
      throw new Malformed("gguf-nested-array", `${quote(key)}: expected no array inside an array`);
    const minBytes = type === VALUE.string ? 8 : SCALARS.get(type)?.sizeBytes;
    if (minBytes === undefined) {
      throw new Malformed("gguf-value-type", `${quote(key)}: expected an element type of 0 to 12, found ${type}`);
    }
    const allowed = TOKENIZER_ARRAYS.get(key);
    if (allowed !== undefined && !allowed.includes(type)) {
      throw new Malformed("gguf-tokenizer", `${key}: expected element type ${allowed.join(" or ")}, found ${type}`);
    }
    if (count * BigInt(minBytes) > BigInt(this.cursor.fileRemaining)) {
      throw new Malformed(
        "gguf-array-length",
        `${quote(key)}: expected an array within the ${this.cursor.fileRemaining} bytes left, found ${count} elements`,
      );
    }
    this.arrayLengths.set(key, Number(count));
    await this.elements(key, type, Number(count));
  }

  private async elements(key: string, type: number, count: number): Promise<void> {
    if (key === TOKENS) {
      await this.tokens(count);
    } else if (type === VALUE.string) {
      for (let index = 0; index < count; index += 1) this.cursor.skip(await this.length(key));
    } else if (type === VALUE.bool) {
      await this.bools(key, count);
    } else {
      this.cursor.skip(count * (SCALARS.get(type)?.sizeBytes ?? 0));
    }
  }

  /** llama.cpp ends the whole process when two tokens are one (GGML_ASSERT in src/llama-vocab.cpp). */
  private async tokens(count: number): Promise<void> {
    if (count > MAX_TOKENS) {
      throw new Malformed("gguf-tokenizer", `${TOKENS}: expected at most ${MAX_TOKENS} tokens, found ${count}`);
    }
    const seen = new Set<string>();
    for (let index = 0; index < count; index += 1) {
      const length = await this.length(TOKENS);
      await this.cursor.fill(length);
      const text = Buffer.from(this.cursor.take(length)).toString("latin1");
      // The name that llama.cpp gives to an empty one.
      const token = text === "" ? `[EMPTY_${index}]` : text;
      if (seen.has(token)) {
        throw new Malformed("gguf-tokenizer", `${TOKENS}: expected each token once, found ${quote(token)} again`);
      }
      seen.add(token);
    }
  }

  private async bools(key: string, count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      await this.cursor.fill(1);
      const part = this.cursor.take(Math.min(left, this.cursor.buffered));
      const wrong = part.find((byte) => byte > 1);
      if (wrong !== undefined) {
        throw new Malformed("gguf-bool", `${quote(key)}: expected bools of 0 or 1, found ${wrong}`);
      }
      left -= part.length;
    }
  }
}

function isTemplateKey(key: string): boolean {
  return key === "tokenizer.chat_template" || key.startsWith("tokenizer.chat_template.");
}

/** The text of strict UTF-8 `bytes`, or undefined when they are not UTF-8. */
export function strictUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
