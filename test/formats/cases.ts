// SPDX-License-Identifier: Apache-2.0
/** One small file for each rule: what breaks exactly that rule and its finding code, and good files beside them. */
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import {
  arrayEntry,
  entry,
  GGUF,
  gguf,
  message,
  piece,
  safetensors,
  stringEntry,
  tensorEntry,
  text,
  u32,
  u32Entry,
  u64,
  zipTail,
} from "./builders.ts";

/** `codes`: codes of the findings of level fail and warn, in order; no fail among them means that the file is admitted. */
export interface Case {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly format: string;
  readonly fails: readonly string[];
  readonly warns?: readonly string[];
}

const HUGE = 2n ** 60n;

const good = (name: string, path: string, format: string, bytes: Uint8Array | string, warns: string[] = []): Case => ({
  name,
  path,
  bytes: toBytes(bytes),
  format,
  fails: [],
  warns,
});
const bad = (
  name: string,
  path: string,
  format: string,
  fails: string | string[],
  bytes: Uint8Array | string,
): Case => ({
  name,
  path,
  bytes: toBytes(bytes),
  format,
  fails: typeof fails === "string" ? [fails] : fails,
});

function toBytes(bytes: Uint8Array | string): Uint8Array {
  return typeof bytes === "string" ? new Uint8Array(Buffer.from(bytes)) : new Uint8Array(bytes);
}

const badGguf = (code: string, name: string, bytes: Uint8Array): Case =>
  bad(`gguf: ${name}`, "m.gguf", "gguf", code, bytes);
const strings = (...values: string[]): Buffer => Buffer.concat(values.map((value) => text(value)));
const tokens = arrayEntry("tokenizer.ggml.tokens", GGUF.string, 2, strings("a", "b"));

function epsilon(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return entry("llama.attention.layer_norm_rms_epsilon", GGUF.f32, bytes);
}

/** 130 bytes with `count` signatures of a ZIP end record and none of what belongs to it, one of them cut by the end. */
function signatures(count: number): Buffer {
  const bytes = Buffer.alloc(130, 0xff);
  for (let index = 0; index < count; index += 1) bytes.write("PK\x05\x06", index * 5, "latin1");
  bytes.write("PK\x05\x06", 110, "latin1");
  return bytes;
}

function zip64Tail(): Buffer {
  const locator = Buffer.alloc(20);
  locator.write("PK\x06\x07", "latin1");
  const end = Buffer.alloc(22, 0xff);
  end.write("PK\x05\x06", "latin1");
  return Buffer.concat([locator, end]);
}

const GGUF_CASES: readonly Case[] = [
  good("gguf: smallest", "m.gguf", "gguf", gguf()),
  good("gguf: version 2", "m.gguf", "gguf", gguf({ version: u32(2) })),
  good("gguf: no tensors", "m.gguf", "gguf", gguf({ tensors: [] })),
  good("gguf: no extension", "blob", "gguf", gguf()),
  good(
    "gguf: last tensor without padding",
    "m.gguf",
    "gguf",
    gguf({ tensors: [tensorEntry({ shape: [3] })], data: Buffer.alloc(12) }),
  ),
  good(
    "gguf: last tensor with padding",
    "m.gguf",
    "gguf",
    gguf({ tensors: [tensorEntry({ shape: [3] })], data: Buffer.alloc(32) }),
  ),
  good(
    "gguf: a scalar has no dimensions",
    "m.gguf",
    "gguf",
    gguf({ tensors: [tensorEntry({ shape: [] })], data: Buffer.alloc(4) }),
  ),
  good(
    "gguf: quantised, two tensors",
    "m.gguf",
    "gguf",
    gguf({
      tensors: [
        tensorEntry({ name: "a", shape: [32, 2], type: 2 }),
        tensorEntry({ name: "b", shape: [256], type: 12, offset: 64 }),
      ],
      data: Buffer.alloc(64 + 160),
    }),
  ),
  good("gguf: alignment 64", "m.gguf", "gguf", gguf({ keys: [u32Entry("general.alignment", 64)], alignment: 64 })),
  good(
    "gguf: most blocks and experts",
    "m.gguf",
    "gguf",
    gguf({ keys: [u32Entry("llama.block_count", 512), u32Entry("llama.expert_count", 1024)] }),
  ),
  good("gguf: an epsilon of zero", "m.gguf", "gguf", gguf({ keys: [epsilon(0)] })),
  good(
    "gguf: two empty tokens",
    "m.gguf",
    "gguf",
    gguf({ keys: [arrayEntry("tokenizer.ggml.tokens", GGUF.string, 3, strings("", "a", ""))] }),
  ),
  good(
    "gguf: whole tokenizer",
    "m.gguf",
    "gguf",
    gguf({
      keys: [
        tokens,
        arrayEntry("tokenizer.ggml.scores", GGUF.f32, 2, Buffer.alloc(8)),
        arrayEntry("tokenizer.ggml.token_type", GGUF.i32, 2, Buffer.alloc(8)),
        arrayEntry("tokenizer.ggml.merges", GGUF.string, 1, strings("a b")),
        stringEntry("tokenizer.chat_template", "{{ messages[0].content }}"),
        arrayEntry("llama.flags", GGUF.bool, 3, Buffer.from([0, 1, 1])),
      ],
    }),
  ),
  good(
    "gguf: chat template that reaches out",
    "m.gguf",
    "gguf",
    gguf({ keys: [stringEntry("tokenizer.chat_template.tool", "{{ ''.__class__.__mro__[1].__subclasses__() }}")] }),
    ["chat-template-suspicious"],
  ),
  good(
    "gguf: second shard, without architecture",
    "m-00002-of-00002.gguf",
    "gguf",
    gguf({ architecture: entry("split.no", GGUF.u16, Buffer.from([1, 0])) }),
  ),
  good(
    "gguf: signatures of zip by chance",
    "m.gguf",
    "gguf",
    gguf({ tensors: [tensorEntry({ shape: [130], type: 24 })], data: signatures(2) }),
  ),
  badGguf(
    "gguf-architecture",
    "first shard without architecture",
    gguf({ architecture: entry("split.no", GGUF.u16, Buffer.from([0, 0])) }),
  ),
  badGguf("truncated", "header cut", gguf().subarray(0, 20)),
  badGguf("gguf-version", "version 1", gguf({ version: u32(1) })),
  badGguf("gguf-version", "version 4", gguf({ version: u32(4) })),
  badGguf("gguf-version", "version 0", gguf({ version: u32(0) })),
  badGguf("gguf-endian", "big-endian", gguf({ version: Buffer.from([0, 0, 0, 3]) })),
  badGguf("gguf-key-count", "2^60 keys", gguf({ keyCount: HUGE })),
  badGguf("gguf-key-count", "more keys than the file can hold", gguf({ keyCount: 100 })),
  badGguf("gguf-tensor-count", "2^60 tensors", gguf({ tensorCount: HUGE })),
  badGguf("gguf-tensor-count", "more tensors than the file can hold", gguf({ tensorCount: 100 })),
  badGguf("gguf-key", "empty key", gguf({ keys: [u32Entry("", 1)] })),
  badGguf("gguf-key", "key of 64 KiB", gguf({ keys: [u32Entry("k".repeat(65536), 1)] })),
  badGguf("gguf-key", "key length 2^60", gguf({ keys: [Buffer.concat([u64(HUGE), Buffer.alloc(8)])] })),
  badGguf("gguf-key", "NUL in a key", gguf({ keys: [u32Entry("general.alignment\0x", 64)] })),
  badGguf("gguf-key", "key that is not ascii", gguf({ keys: [entry(Buffer.from([0x6b, 0xff]), GGUF.u32, u32(1))] })),
  badGguf("gguf-duplicate-key", "a key twice", gguf({ keys: [u32Entry("a", 1), u32Entry("a", 1)] })),
  badGguf(
    "gguf-duplicate-key",
    "the architecture twice",
    gguf({ keys: [stringEntry("general.architecture", "qwen2")] }),
  ),
  badGguf("gguf-value-type", "value type 13", gguf({ keys: [entry("a", 13, u32(0))] })),
  badGguf("gguf-value-type", "element type 99", gguf({ keys: [arrayEntry("a", 99, 1, u32(0))] })),
  badGguf(
    "gguf-nested-array",
    "array of arrays",
    gguf({ keys: [arrayEntry("a", GGUF.array, 1, Buffer.concat([u32(0), u64(0)]))] }),
  ),
  badGguf("gguf-string-length", "string of 2^60 bytes", gguf({ keys: [entry("a", GGUF.string, u64(HUGE))] })),
  badGguf("gguf-string-length", "string past the end", gguf({ keys: [entry("a", GGUF.string, u64(10_000))] })),
  badGguf("gguf-string-length", "element past the end", gguf({ keys: [arrayEntry("a", GGUF.string, 1, u64(HUGE))] })),
  badGguf("gguf-array-length", "2^60 numbers", gguf({ keys: [arrayEntry("a", GGUF.f32, HUGE, Buffer.alloc(8))] })),
  badGguf("gguf-array-length", "2^60 strings", gguf({ keys: [arrayEntry("a", GGUF.string, HUGE, Buffer.alloc(8))] })),
  badGguf(
    "gguf-array-length",
    "count times size over 2^64",
    gguf({ keys: [arrayEntry("a", GGUF.u64, 2n ** 61n, Buffer.alloc(8))] }),
  ),
  badGguf("gguf-bool", "bool of 2", gguf({ keys: [entry("a", GGUF.bool, Buffer.from([2]))] })),
  badGguf("gguf-bool", "bool of 2 in an array", gguf({ keys: [arrayEntry("a", GGUF.bool, 2, Buffer.from([1, 2]))] })),
  badGguf("gguf-alignment", "alignment 48", gguf({ keys: [u32Entry("general.alignment", 48)] })),
  badGguf("gguf-alignment", "alignment 0", gguf({ keys: [u32Entry("general.alignment", 0)] })),
  badGguf("gguf-alignment", "alignment 2 MiB", gguf({ keys: [u32Entry("general.alignment", 2 ** 21)] })),
  badGguf("gguf-alignment", "alignment as a string", gguf({ keys: [stringEntry("general.alignment", "32")] })),
  badGguf("gguf-alignment", "alignment as uint64", gguf({ keys: [entry("general.alignment", GGUF.u64, u64(32))] })),
  badGguf("gguf-architecture", "no architecture", gguf({ architecture: null })),
  badGguf("gguf-architecture", "architecture as a number", gguf({ architecture: u32Entry("general.architecture", 1) })),
  badGguf("gguf-architecture", "empty architecture", gguf({ architecture: stringEntry("general.architecture", "") })),
  badGguf(
    "gguf-architecture",
    "architecture with escapes",
    gguf({ architecture: stringEntry("general.architecture", "\x1b[31m") }),
  ),
  badGguf(
    "gguf-architecture",
    "architecture of 65 bytes",
    gguf({ architecture: stringEntry("general.architecture", "a".repeat(65)) }),
  ),
  badGguf("gguf-block-count", "no blocks", gguf({ keys: [u32Entry("llama.block_count", 0)] })),
  badGguf("gguf-block-count", "513 blocks", gguf({ keys: [u32Entry("llama.block_count", 513)] })),
  badGguf(
    "gguf-block-count",
    "blocks as a signed number",
    gguf({ keys: [entry("llama.block_count", GGUF.i32, u32(1))] }),
  ),
  badGguf("gguf-epsilon", "negative epsilon", gguf({ keys: [epsilon(-1e-5)] })),
  badGguf("gguf-epsilon", "an epsilon that is no number", gguf({ keys: [epsilon(Number.NaN)] })),
  badGguf("gguf-expert-count", "1025 experts", gguf({ keys: [u32Entry("llama.expert_count", 1025)] })),
  badGguf("gguf-expert-count", "experts as a float", gguf({ keys: [entry("llama.expert_count", GGUF.f32, u32(0))] })),
  badGguf(
    "gguf-tokenizer",
    "tokens as numbers",
    gguf({ keys: [arrayEntry("tokenizer.ggml.tokens", GGUF.u32, 1, u32(0))] }),
  ),
  badGguf(
    "gguf-tokenizer",
    "one token twice",
    gguf({ keys: [arrayEntry("tokenizer.ggml.tokens", GGUF.string, 3, strings("a", "b", "a"))] }),
  ),
  badGguf(
    "gguf-tokenizer",
    "a token with the name that an empty one gets",
    gguf({ keys: [arrayEntry("tokenizer.ggml.tokens", GGUF.string, 2, strings("[EMPTY_1]", ""))] }),
  ),
  badGguf("gguf-tokenizer", "tokens as one string", gguf({ keys: [stringEntry("tokenizer.ggml.tokens", "a")] })),
  badGguf(
    "gguf-tokenizer",
    "scores as strings",
    gguf({ keys: [arrayEntry("tokenizer.ggml.scores", GGUF.string, 1, strings("a"))] }),
  ),
  badGguf(
    "gguf-tokenizer",
    "token types as bytes",
    gguf({ keys: [arrayEntry("tokenizer.ggml.token_type", GGUF.u8, 1, Buffer.alloc(1))] }),
  ),
  badGguf(
    "gguf-tokenizer",
    "fewer scores than tokens",
    gguf({ keys: [tokens, arrayEntry("tokenizer.ggml.scores", GGUF.f32, 1, Buffer.alloc(4))] }),
  ),
  badGguf(
    "gguf-tokenizer",
    "fewer types than tokens",
    gguf({ keys: [arrayEntry("tokenizer.ggml.token_type", GGUF.i32, 1, Buffer.alloc(4)), tokens] }),
  ),
  badGguf("gguf-chat-template", "template as a number", gguf({ keys: [u32Entry("tokenizer.chat_template", 1)] })),
  badGguf(
    "gguf-chat-template",
    "template that is not utf-8",
    gguf({ keys: [stringEntry("tokenizer.chat_template", Buffer.from([0xff]))] }),
  ),
  badGguf("gguf-tensor-name", "empty name", gguf({ tensors: [tensorEntry({ name: "" })] })),
  badGguf("gguf-tensor-name", "name of 64 bytes", gguf({ tensors: [tensorEntry({ name: "n".repeat(64) })] })),
  badGguf("gguf-tensor-name", "NUL in a name", gguf({ tensors: [tensorEntry({ name: "a\0b" })] })),
  badGguf(
    "gguf-tensor-name",
    "name that is not utf-8",
    gguf({ tensors: [tensorEntry({ name: Buffer.from([0xff]) })] }),
  ),
  badGguf(
    "gguf-duplicate-tensor",
    "a tensor twice",
    gguf({ tensors: [tensorEntry(), tensorEntry({ offset: 32 })], data: Buffer.alloc(64) }),
  ),
  badGguf("gguf-dimensions", "5 dimensions", gguf({ tensors: [tensorEntry({ shape: [1, 1, 1, 1, 8] })] })),
  badGguf("gguf-dimensions", "2^32-1 dimensions", gguf({ tensors: [tensorEntry({ dimensions: 2 ** 32 - 1 })] })),
  badGguf("gguf-dimensions", "a dimension of 0", gguf({ tensors: [tensorEntry({ shape: [8, 0] })] })),
  badGguf("gguf-tensor-type", "type 9999", gguf({ tensors: [tensorEntry({ type: 9999 })] })),
  badGguf("gguf-tensor-type", "type 4, withdrawn", gguf({ tensors: [tensorEntry({ shape: [32], type: 4 })] })),
  badGguf(
    "gguf-row",
    "row that is no whole block",
    gguf({ tensors: [tensorEntry({ shape: [33], type: 2 })], data: Buffer.alloc(64) }),
  ),
  badGguf("gguf-tensor-size", "2^80 elements", gguf({ tensors: [tensorEntry({ shape: [2n ** 40n, 2n ** 40n] })] })),
  badGguf(
    "gguf-tensor-size",
    "under 2^63 elements, over 2^63 bytes",
    gguf({ tensors: [tensorEntry({ shape: [2n ** 62n] })] }),
  ),
  badGguf(
    "gguf-tensor-size",
    "product that wraps to a small number",
    gguf({ tensors: [tensorEntry({ shape: [2n ** 63n, 2] })] }),
  ),
  badGguf(
    "gguf-offset",
    "first tensor not at 0",
    gguf({ tensors: [tensorEntry({ offset: 32 })], data: Buffer.alloc(64) }),
  ),
  badGguf("gguf-offset", "offset 2^60", gguf({ tensors: [tensorEntry({ offset: HUGE })] })),
  badGguf(
    "gguf-offset",
    "two tensors at one place",
    gguf({ tensors: [tensorEntry({ name: "a" }), tensorEntry({ name: "b" })] }),
  ),
  badGguf(
    "gguf-offset",
    "second tensor not padded",
    gguf({
      tensors: [tensorEntry({ name: "a", shape: [3] }), tensorEntry({ name: "b", offset: 12 })],
      data: Buffer.alloc(64),
    }),
  ),
  badGguf("gguf-data-end", "data cut", gguf({ data: Buffer.alloc(31) })),
  badGguf("gguf-data-end", "more data than the file has", gguf({ tensors: [tensorEntry({ shape: [2 ** 30] })] })),
  badGguf("gguf-trailing", "one byte after the data", gguf({ data: Buffer.alloc(33) })),
  badGguf(
    "gguf-padding",
    "padding that is not zero",
    gguf({ tensors: [tensorEntry({ shape: [3] })], data: Buffer.alloc(32, 1) }),
  ),
  badGguf("gguf-padding", "header padding that is not zero", gguf({ padding: 1 })),
  bad("gguf: zip after the data", "m.gguf", "gguf", ["gguf-trailing", "zip-tail"], Buffer.concat([gguf(), zipTail()])),
  badGguf(
    "zip-tail",
    "zip64 inside the last tensor",
    gguf({ tensors: [tensorEntry({ shape: [42], type: 24 })], data: zip64Tail() }),
  ),
  badGguf(
    "zip-tail",
    "too many signatures for chance",
    gguf({ tensors: [tensorEntry({ shape: [130], type: 24 })], data: signatures(17) }),
  ),
  bad(
    "gguf: zip inside the last tensor",
    "m.gguf",
    "gguf",
    "zip-tail",
    gguf({ tensors: [tensorEntry({ shape: [zipTail().length], type: 24 })], data: zipTail() }),
  ),
];

const F32 = (offsets: string, shape = "[2]"): string => `{"dtype":"F32","shape":${shape},"data_offsets":${offsets}}`;
const badSt = (code: string, name: string, bytes: Uint8Array, format = "safetensors"): Case =>
  bad(
    `safetensors: ${name}`,
    "m.safetensors",
    format,
    format === "safetensors" ? code : [code, "extension-lies"],
    bytes,
  );

const SAFETENSORS_CASES: readonly Case[] = [
  good("safetensors: smallest", "m.safetensors", "safetensors", safetensors(`{"a":${F32("[0,8]")}}`, 8)),
  good("safetensors: no tensors", "m.safetensors", "safetensors", safetensors("{}", 0)),
  good("safetensors: padded with spaces", "m.safetensors", "safetensors", safetensors(`{"a":${F32("[0,8]")}}     `, 8)),
  good(
    "safetensors: metadata",
    "m.safetensors",
    "safetensors",
    safetensors(`{"__metadata__":{"format":"pt"},"a":${F32("[0,8]")}}`, 8),
  ),
  good(
    "safetensors: scalar and empty tensor",
    "m.safetensors",
    "safetensors",
    safetensors(`{"a":${F32("[0,4]", "[]")},"b":${F32("[4,4]", "[0,3]")}}`, 4),
  ),
  good(
    "safetensors: packed 4-bit",
    "m.safetensors",
    "safetensors",
    encodeSafetensors([{ name: "a", dtype: "F4", shape: [6], data: new Uint8Array(3) }]),
  ),
  badSt("truncated", "seven bytes", new Uint8Array(7), "unknown"),
  badSt("header-too-large", "header of 2^60 bytes", safetensors("{}", 0, HUGE)),
  badSt("header-too-large", "header of 100,000,001 bytes", safetensors("{}", 0, 100_000_001)),
  badSt("truncated", "header past the end", safetensors("{}", 0, 100)),
  badSt("safetensors-header-start", "header starts with a space", safetensors(` {"a":${F32("[0,8]")}}`, 8), "unknown"),
  badSt("safetensors-header-start", "empty header", safetensors("", 0), "unknown"),
  badSt("safetensors-padding", "padded with a line feed", safetensors(`{"a":${F32("[0,8]")}}\n`, 8)),
  badSt("safetensors-padding", "padded with NUL", safetensors(`{"a":${F32("[0,8]")}}\0\0`, 8)),
  badSt("safetensors-header", "not json", safetensors("{,}", 0)),
  badSt("safetensors-header", "two values", safetensors("{}{}", 0)),
  badSt("safetensors-header", "not utf-8", safetensors(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 0)),
  badSt("safetensors-header", "a tensor twice", safetensors(`{"a":${F32("[0,8]")},"a":${F32("[0,8]")}}`, 8)),
  badSt(
    "safetensors-header",
    "a member twice",
    safetensors('{"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}}', 8),
  ),
  badSt(
    "safetensors-header",
    "nested too deep",
    safetensors('{"a":{"dtype":"U8","shape":[[8]],"data_offsets":[0,8]}}', 8),
  ),
  badSt("safetensors-metadata", "metadata with a number", safetensors('{"__metadata__":{"a":1}}', 0)),
  badSt("safetensors-metadata", "metadata as a list", safetensors('{"__metadata__":[]}', 0)),
  badSt("safetensors-tensor", "tensor as a number", safetensors('{"a":1}', 0)),
  badSt(
    "safetensors-tensor",
    "unknown member",
    safetensors('{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}}', 8),
  ),
  badSt("safetensors-dtype", "unknown dtype", safetensors('{"a":{"dtype":"Q4","shape":[8],"data_offsets":[0,8]}}', 8)),
  badSt(
    "safetensors-dtype",
    "dtype __proto__",
    safetensors('{"a":{"dtype":"__proto__","shape":[8],"data_offsets":[0,8]}}', 8),
  ),
  badSt("safetensors-dtype", "no dtype", safetensors('{"a":{"shape":[8],"data_offsets":[0,8]}}', 8)),
  badSt("safetensors-shape", "negative length", safetensors(`{"a":${F32("[0,8]", "[-2]")}}`, 8)),
  badSt("safetensors-shape", "fraction", safetensors(`{"a":${F32("[0,8]", "[2.5]")}}`, 8)),
  badSt("safetensors-shape", "length over 2^53", safetensors(`{"a":${F32("[0,8]", "[9007199254740993]")}}`, 8)),
  badSt("safetensors-shape", "no shape", safetensors('{"a":{"dtype":"U8","data_offsets":[0,8]}}', 8)),
  badSt("safetensors-offsets", "three offsets", safetensors(`{"a":${F32("[0,8,8]")}}`, 8)),
  badSt("safetensors-offsets", "end before begin", safetensors(`{"a":${F32("[8,0]")}}`, 8)),
  badSt("safetensors-offsets", "no offsets", safetensors('{"a":{"dtype":"U8","shape":[8]}}', 8)),
  badSt("safetensors-size", "shape and length disagree", safetensors(`{"a":${F32("[0,8]", "[3]")}}`, 8)),
  badSt(
    "safetensors-size",
    "4-bit tensor of odd length",
    safetensors('{"a":{"dtype":"F4","shape":[5],"data_offsets":[0,3]}}', 3),
  ),
  badSt("safetensors-size", "product over 2^63", safetensors(`{"a":${F32("[0,8]", "[4294967296,4294967296,4]")}}`, 8)),
  badSt(
    "safetensors-size",
    "product of thousands of huge lengths",
    safetensors(`{"a":${F32("[0,8]", `[${Array(5000).fill("9007199254740991").join(",")}]`)}}`, 8),
  ),
  badSt("safetensors-hole", "hole at the start", safetensors(`{"a":${F32("[8,16]")}}`, 16)),
  badSt("safetensors-hole", "hole between", safetensors(`{"a":${F32("[0,8]")},"b":${F32("[12,20]")}}`, 20)),
  badSt("safetensors-overlap", "overlap", safetensors(`{"a":${F32("[0,8]")},"b":${F32("[4,12]")}}`, 12)),
  badSt("safetensors-overlap", "two tensors at one place", safetensors(`{"a":${F32("[0,8]")},"b":${F32("[0,8]")}}`, 8)),
  badSt("truncated", "data cut", safetensors(`{"a":${F32("[0,8]")}}`, 7)),
  badSt("safetensors-trailing", "one byte after the data", safetensors(`{"a":${F32("[0,8]")}}`, 9)),
  badSt(
    "zip-tail",
    "zip inside a tensor",
    encodeSafetensors([{ name: "a", dtype: "U8", shape: [zipTail().length], data: zipTail() }]),
  ),
];

const spm = Buffer.concat([piece("<unk>", 0, 2), piece("▁the", -1.5, 1), message(2, Buffer.from([0x18, 1]))]);
const badSpm = (code: string, name: string, bytes: Uint8Array): Case =>
  bad(`sentencepiece: ${name}`, "tokenizer.model", "sentencepiece", code, Buffer.concat([piece("<unk>", 0, 2), bytes]));

const SENTENCEPIECE_CASES: readonly Case[] = [
  good("sentencepiece: small", "tokenizer.model", "sentencepiece", spm),
  good(
    "sentencepiece: extension field",
    "tokenizer.model",
    "sentencepiece",
    Buffer.concat([spm, Buffer.from([0xc2, 0x0c, 0x01, 0x00])]),
  ),
  good(
    "sentencepiece: extension fields of every wire type",
    "tokenizer.model",
    "sentencepiece",
    Buffer.concat([
      piece("<unk>", 0, 2),
      message(1, Buffer.concat([message(1, Buffer.from("a")), Buffer.from([0xc0, 0x0c, 0x01])])),
      Buffer.from([0xc0, 0x0c, 0x80, 0x01]),
      Buffer.from([0xc1, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8]),
      Buffer.from([0xc5, 0x0c, 1, 2, 3, 4]),
    ]),
  ),
  badSpm(
    "sentencepiece-piece",
    "piece over 64 KiB",
    Buffer.concat([Buffer.from([0x0a, 0x81, 0x80, 0x04]), Buffer.alloc(65537)]),
  ),
  badSpm("truncated", "piece cut", piece("abc", 0, 1).subarray(0, 6)),
  badSpm("truncated", "trainer cut", Buffer.from([0x12, 0x7f])),
  badSpm("sentencepiece-field", "field 9", message(9, Buffer.from("x"))),
  badSpm("sentencepiece-field", "trainer as a number", Buffer.from([0x10, 0x01])),
  badSpm("sentencepiece-field", "field 0", Buffer.from([0x02, 0x00])),
  badSpm("sentencepiece-field", "number over 64 bits", Buffer.from([...Array(10).fill(0xff), 0x01])),
  badSpm("sentencepiece-field", "group in an extension", Buffer.from([0xc3, 0x0c])),
  badSpm("sentencepiece-field", "unknown field in a piece", message(1, message(4, Buffer.from("x")))),
  badSpm("sentencepiece-piece", "piece without text", message(1, Buffer.from([0x18, 1]))),
  badSpm("sentencepiece-piece", "empty text", piece("", 0, 1)),
  badSpm("sentencepiece-piece", "text that is not utf-8", piece(Buffer.from([0xff]), 0, 1)),
  badSpm(
    "sentencepiece-piece",
    "text longer than its piece",
    Buffer.from([0x0a, 0x03, 0x0a, 0x04, 0x61, 0x61, 0x61, 0x61]),
  ),
  badSpm("sentencepiece-piece", "score that is no number", piece("a", Number.NaN, 1)),
  badSpm("sentencepiece-piece", "type 7", piece("a", 0, 7)),
];

const MAGIC_CASES: readonly Case[] = [
  bad("pickle protocol 4", "model.bin", "pickle", "refused-pickle", makePickle()),
  bad("pickle protocol 2", "model.pt", "pickle", "refused-pickle", Buffer.from([0x80, 2, 0x7d, 0x71, 0, 0x2e])),
  bad("pickle protocol 0", "model.pkl", "pickle", "refused-pickle", "cos\nsystem\n(S'true'\ntR."),
  bad("pickle protocol 0, a dictionary", "model.pkl", "pickle", "refused-pickle", "(dp0\nS'a'\nI1\ns."),
  bad("pickle protocol 1", "model.pkl", "pickle", "refused-pickle", "}q\0U\u0001aK\u0001s."),
  bad("pickle named .gguf", "m.gguf", "pickle", ["refused-pickle", "extension-lies"], makePickle()),
  bad("pickle named .safetensors", "m.safetensors", "pickle", ["refused-pickle", "extension-lies"], makePickle()),
  bad("pickle named .json", "config.json", "pickle", ["refused-pickle", "extension-lies"], makePickle()),
  bad("pickle named .txt", "notes.txt", "pickle", ["refused-pickle", "extension-lies"], makePickle()),
  bad("zip", "model.pt", "zip", "refused-zip", "PK\x03\x04aaaa"),
  bad("empty zip", "a.zip", "zip", "refused-zip", "PK\x05\x06"),
  bad("zip named .gguf", "m.gguf", "zip", ["refused-zip", "extension-lies"], "PK\x03\x04aaaa"),
  bad("7z", "a.7z", "7z", "refused-7z", Buffer.from([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c, 0])),
  bad("gzip", "a.tgz", "gzip", "refused-gzip", Buffer.from([0x1f, 0x8b, 8, 0])),
  bad("bzip2", "a.bz2", "bzip2", "refused-bzip2", "BZh91AY&SY"),
  bad("xz", "a.xz", "xz", "refused-xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])),
  bad("zstd", "a.zst", "zstd", "refused-zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])),
  bad("lz4", "a.lz4", "lz4", "refused-lz4", Buffer.from([0x04, 0x22, 0x4d, 0x18])),
  bad("tar", "a.tar", "tar", "refused-tar", `a${"\0".repeat(256)}ustar\0`),
  bad("rar", "a.rar", "rar", "refused-rar", "Rar!\x1a\x07\x01"),
  bad("elf", "run", "elf", "refused-elf", "\x7fELF\x02"),
  bad("elf named .gguf", "m.gguf", "elf", ["refused-elf", "extension-lies"], "\x7fELF\x02"),
  bad("pe", "run.exe", "pe", ["refused-pe", "extension-lies"], `MZ${"\0".repeat(62)}`),
  bad("mach-o", "run", "macho", "refused-macho", Buffer.from([0xcf, 0xfa, 0xed, 0xfe])),
  bad("numpy", "a.npy", "numpy", "refused-numpy", Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0])),
  bad("hdf5", "a.h5", "hdf5", "refused-hdf5", Buffer.from([0x89, 0x48, 0x44, 0x46, 13, 10, 0x1a, 10])),
  bad(
    "onnx is unknown",
    "m.onnx",
    "unknown",
    ["unknown-format", "extension-lies"],
    Buffer.from([0x08, 0x07, 0x12, 0x07]),
  ),
  bad("random bytes", "blob", "unknown", "unknown-format", Buffer.from([0xde, 0xad, 0xbe, 0xef])),
  bad("gguf named .json", "config.json", "gguf", "extension-lies", gguf()),
  bad("gguf named .safetensors", "m.safetensors", "gguf", "extension-lies", gguf()),
  bad("gguf named .bin", "m.bin", "gguf", "extension-lies", gguf()),
  bad("gguf named .tar", "m.tar", "gguf", "extension-lies", gguf()),
  bad("gguf named .md", "README.md", "gguf", "extension-lies", gguf()),
  bad("safetensors named .gguf", "m.gguf", "safetensors", "extension-lies", safetensors("{}", 0)),
  bad("text named .gguf", "m.gguf", "text", "extension-lies", "version https://git-lfs.github.com/spec/v1\n"),
  bad("text named .bin", "m.bin", "text", "extension-lies", "hello\n"),
  bad("empty .gguf", "m.gguf", "empty", ["empty", "extension-lies"], ""),
  bad("empty .bin", "m.bin", "empty", ["empty", "extension-lies"], ""),
];

const COMPANION_CASES: readonly Case[] = [
  good("json", "config.json", "json", '{"a":[1.5,null]}'),
  good("json in capitals", "CONFIG.JSON", "json", "[]"),
  good("json with a chat template", "tokenizer_config.json", "json", '{"chat_template":"{{ x }}"}'),
  good(
    "json with templates, one bad",
    "tokenizer_config.json",
    "json",
    '{"chat_template":[{"name":"a","template":"{{ cycler }}"}]}',
    ["chat-template-suspicious"],
  ),
  good(
    "json with a chat template that reaches out",
    "tokenizer_config.json",
    "json",
    '{"chat_template":"{{ x.__class__ }}"}',
    ["chat-template-suspicious"],
  ),
  good("prose with a part of a magic", "notes.txt", "text", "abcd1AY&SY\n"),
  good("markdown", "README.md", "markdown", "# Hello\n\nwörld\t\f\r\n"),
  good("license", "LICENSE", "text", "MIT\n"),
  good("license with a version", "LICENSE-APACHE", "text", "x\n"),
  good("merges", "merges.txt", "text", "#version: 0.2\nĠ t\n"),
  good("gitattributes", ".gitattributes", "text", "*.gguf filter=lfs\n"),
  good("json lines", "data.jsonl", "text", "{}\n{}\n"),
  good("template", "chat_template.jinja", "text", "{% for m in messages %}{{ m.content }}{% endfor %}"),
  good("template that reaches out", "chat_template.jinja", "text", "{{ lipsum | attr('x') }}", [
    "chat-template-suspicious",
  ]),
  good("tiktoken ranks", "tokenizer.model", "text", "IQ== 0\nIg== 1\n"),
  good("empty text", "notes.txt", "text", ""),
  good("text that turns around", "notes.txt", "text", "a\u202eb", ["bidi-control"]),
  good("byte order mark in text", "notes.txt", "text", "\ufeffhello"),
  good("prose that starts with MZ", "notes.txt", "text", "MZ is a magic\n"),
  good("prose that starts like a pickle", "notes.txt", "text", "cats\ndogs\nand more.\n"),
  bad("json that is text", "config.json", "text", ["json-invalid", "extension-lies"], "hello\n"),
  bad("json with a key twice", "config.json", "text", ["json-invalid", "extension-lies"], '{"a":1,"a":2}'),
  bad("json with a comment", "config.json", "text", ["json-invalid", "extension-lies"], "{} // no\n"),
  bad("json with a byte order mark", "config.json", "text", ["json-invalid", "extension-lies"], "\ufeff{}"),
  bad("json with a lone surrogate", "config.json", "text", ["json-invalid", "extension-lies"], '"\\ud800"'),
  bad("json, 33 deep", "config.json", "text", ["json-invalid", "extension-lies"], "[".repeat(33) + "]".repeat(33)),
  bad("empty json", "config.json", "text", ["json-invalid", "extension-lies"], ""),
  bad("json with a NUL", "config.json", "unknown", ["unknown-format", "extension-lies"], "{}\0"),
  bad("text with a NUL", "notes.txt", "unknown", "unknown-format", "a\0b"),
  bad("text with an escape", "README.md", "unknown", "unknown-format", "\x1b[2J"),
  bad("text with DEL", "notes.txt", "unknown", "unknown-format", "a\x7f"),
  bad("text with a C1 control", "notes.txt", "unknown", "unknown-format", "a\u009b31m"),
  bad("latin-1", "notes.txt", "unknown", "unknown-format", Buffer.from([0x61, 0xe9, 0x0a])),
  bad("utf-8 cut at the end", "notes.txt", "unknown", "unknown-format", Buffer.from([0x61, 0xc3])),
  bad("utf-16", "notes.txt", "unknown", "unknown-format", Buffer.from("hi", "utf16le")),
  bad("shebang", "notes.txt", "script", ["refused-script", "extension-lies"], "#!/bin/sh\necho\n"),
  bad("shebang without extension", "run", "script", "refused-script", "#!/bin/sh\n"),
  bad("shebang after a byte order mark", "run", "script", "refused-script", "\ufeff#!/bin/sh\n"),
  bad("shebang in json", "a.json", "script", ["refused-script", "extension-lies"], "#!/bin/sh\n"),
  bad("python", "modeling_x.py", "python", "refused-python", "import os\n"),
  bad("empty python", "__init__.py", "python", "refused-python", ""),
  bad("notebook", "a.ipynb", "python", "refused-python", "{}"),
  bad("shell", "x.sh", "script", "refused-script", "echo\n"),
  bad("javascript in capitals", "X.JS", "script", "refused-script", "1\n"),
  bad("library by name", "lib.so", "script", "refused-script", "x\n"),
  bad("makefile", "Makefile", "script", "refused-script", "all:\n"),
  bad("page", "index.html", "script", "refused-script", "<p>\n"),
  bad("license with code", "LICENSE.py", "python", "refused-python", "x\n"),
  bad("unknown name", "weird.xyz", "text", "name-unknown", "x\n"),
];

export const CASES: readonly Case[] = [
  ...GGUF_CASES,
  ...SAFETENSORS_CASES,
  ...SENTENCEPIECE_CASES,
  ...MAGIC_CASES,
  ...COMPANION_CASES,
];
