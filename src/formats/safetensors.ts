// SPDX-License-Identifier: Apache-2.0
/**
 * A strict walker over safetensors files. Layer: formats.
 * Source: huggingface/safetensors, safetensors/src/tensor.rs (header cap, dtypes and their bits, whole coverage), and
 * tighter: repeated keys, unknown members and any padding but spaces are refused. Tensor data is never read.
 */
import { passOthers } from "../base/errors.ts";
import { type JsonObject, type JsonValue, readJson } from "../base/json-reader.ts";
import { Malformed, type Notes, quote } from "./findings.ts";
import { type ByteReader, countContainers, type InspectLimits } from "./reader.ts";

/** Bits of one element. F4 and F6 kinds are packed, so a tensor of them must come out at whole bytes. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["BOOL", 8],
  ["U8", 8],
  ["I8", 8],
  ["F8_E4M3", 8],
  ["F8_E5M2", 8],
  ["F8_E8M0", 8],
  ["F8_E4M3FNUZ", 8],
  ["F8_E5M2FNUZ", 8],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["C64", 64],
  ["F64", 64],
  ["I64", 64],
  ["U64", 64],
]);

const MEMBERS: ReadonlySet<string> = new Set(["dtype", "shape", "data_offsets"]);
/** Root, tensor, shape. */
const MAX_DEPTH = 3;
const MAX_ITEMS = 2n ** 63n;
const OPEN_BRACE = 0x7b;
const SPACE = 0x20;

interface Range {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

/**
 * Walks a safetensors file and gives the names of its tensors.
 *
 * @throws Malformed - with the code of the first rule that is broken; what the reader throws passes through
 */
export async function walkSafetensors(reader: ByteReader, limits: InspectLimits): Promise<readonly string[]> {
  const { header, dataBytes } = await readHeader(reader, limits);
  const ranges: Range[] = [];
  for (const [name, value] of header) {
    if (name === "__metadata__") checkMetadata(value);
    else ranges.push(readTensor(name, value));
  }
  checkCoverage(ranges, dataBytes);
  return ranges.map((range) => range.name);
}

/** As `walkSafetensors`, and notes what was seen. */
export async function noteSafetensors(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<void> {
  const names = await walkSafetensors(reader, limits);
  notes.info("safetensors", `safetensors with ${names.length} tensors`);
}

async function readHeader(
  reader: ByteReader,
  limits: InspectLimits,
): Promise<{ header: JsonObject; dataBytes: number }> {
  if (reader.sizeBytes < 8) throw new Malformed("truncated", `expected 8 bytes of length, found ${reader.sizeBytes}`);
  const lengthBytes = await reader.read(0, 8);
  const length = new DataView(lengthBytes.buffer, lengthBytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(limits.safetensorsHeaderBytes)) {
    throw new Malformed(
      "header-too-large",
      `expected a header of at most ${limits.safetensorsHeaderBytes} bytes, found ${length}`,
    );
  }
  const headerBytes = Number(length);
  const dataBytes = reader.sizeBytes - 8 - headerBytes;
  if (dataBytes < 0) {
    throw new Malformed("truncated", `expected a header of ${length} bytes, found ${reader.sizeBytes - 8} in the file`);
  }
  const bytes = headerBytes === 0 ? new Uint8Array(0) : await reader.read(8, headerBytes);
  const containers = countContainers(bytes);
  if (containers > limits.jsonContainers) {
    throw new Malformed(
      "header-too-large",
      `expected at most ${limits.jsonContainers} objects and lists in the header, found ${containers}`,
    );
  }
  return { header: parseHeader(bytes), dataBytes };
}

function parseHeader(bytes: Uint8Array): JsonObject {
  if (bytes[0] !== OPEN_BRACE) {
    throw new Malformed("safetensors-header-start", `expected a header that starts with {, found byte ${bytes[0]}`);
  }
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === SPACE) end -= 1;
  if (bytes[end - 1] !== 0x7d) {
    throw new Malformed("safetensors-padding", "expected } and then only spaces at the end of the header");
  }
  const value = parseJson(bytes.subarray(0, end));
  if (!isObject(value)) throw new Malformed("safetensors-header", "expected an object as header");
  return value;
}

function parseJson(bytes: Uint8Array): JsonValue {
  try {
    return readJson(bytes, { maxDepth: MAX_DEPTH, what: "header" });
  } catch (error) {
    passOthers(error);
    throw new Malformed("safetensors-header", `expected strict json: ${quote(error.message)}`);
  }
}

function checkMetadata(value: JsonValue): void {
  if (isObject(value) && [...value.values()].every((text) => typeof text === "string")) return;
  throw new Malformed("safetensors-metadata", "__metadata__: expected an object of strings");
}

function readTensor(name: string, value: JsonValue): Range {
  const where = `tensor ${quote(name)}`;
  if (!isObject(value)) throw new Malformed("safetensors-tensor", `${where}: expected an object`);
  for (const member of value.keys()) {
    if (!MEMBERS.has(member)) {
      throw new Malformed(
        "safetensors-tensor",
        `${where}: expected dtype, shape and data_offsets, found ${quote(member)}`,
      );
    }
  }
  const dtype = value.get("dtype");
  const bits = typeof dtype === "string" ? DTYPE_BITS.get(dtype) : undefined;
  if (bits === undefined) {
    const found = typeof dtype === "string" ? quote(dtype) : "none";
    throw new Malformed("safetensors-dtype", `${where}: expected a known dtype, found ${found}`);
  }
  const shape = naturals(value.get("shape"));
  if (shape === undefined) throw new Malformed("safetensors-shape", `${where}: expected a shape of whole numbers`);
  const [begin, end, ...more] = naturals(value.get("data_offsets")) ?? [];
  if (begin === undefined || end === undefined || more.length > 0 || end < begin) {
    throw new Malformed("safetensors-offsets", `${where}: expected data_offsets as [begin, end]`);
  }
  checkSize(where, shape, bits, end - begin);
  return { name, begin, end };
}

function checkSize(where: string, shape: readonly number[], bits: number, found: number): void {
  const totalBits = product(where, shape) * BigInt(bits);
  if (totalBits === BigInt(found) * 8n) return;
  const expected = totalBits % 8n === 0n ? `${totalBits / 8n} bytes` : "whole bytes";
  throw new Malformed("safetensors-size", `${where}: expected ${expected} by shape and dtype, found ${found} bytes`);
}

/** Stops at 2^63: a shape of a million huge numbers must not make a number of a million digits. */
function product(where: string, shape: readonly number[]): bigint {
  let items = 1n;
  for (const length of shape) {
    items *= BigInt(length);
    if (items >= MAX_ITEMS)
      throw new Malformed("safetensors-size", `${where}: expected under 2^63 elements, found more`);
  }
  return items;
}

/** Sorted by place, the tensors must cover the data from 0 to its end: no hole, no overlap, nothing after. */
function checkCoverage(ranges: readonly Range[], dataBytes: number): void {
  const sorted = ranges.toSorted((left, right) => left.begin - right.begin || left.end - right.end);
  let at = 0;
  for (const range of sorted) {
    if (range.begin !== at) {
      const code = range.begin > at ? "safetensors-hole" : "safetensors-overlap";
      throw new Malformed(code, `tensor ${quote(range.name)}: expected data from byte ${at}, found ${range.begin}`);
    }
    at = range.end;
  }
  if (at > dataBytes) throw new Malformed("truncated", `expected ${at} bytes of tensor data, found ${dataBytes}`);
  if (at < dataBytes) {
    throw new Malformed(
      "safetensors-trailing",
      `expected ${at} bytes of tensor data, found ${dataBytes - at} bytes more`,
    );
  }
}

function naturals(value: JsonValue | undefined): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const numbers: number[] = [];
  for (const item of value) {
    if (typeof item !== "number" || !Number.isSafeInteger(item) || item < 0) return undefined;
    numbers.push(item);
  }
  return numbers;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map;
}
