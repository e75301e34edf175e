// SPDX-License-Identifier: Apache-2.0
/**
 * A strict walker over GGUF files: header, tensor section, layout of the data. It looks and never loads.
 * Layer: formats. The rules are those of llama.cpp (ggml/src/gguf.cpp), and tighter where that is safe:
 * no zero dimensions, alignment of at most 1 MiB, tensor data inside the file, nothing after it but padding.
 * The key-value section is gguf-values.ts. Reads the header and the padding; tensor data is never read.
 */
import { Malformed, type Notes, quote } from "./findings.ts";
import { TENSOR_TYPES } from "./gguf-types.ts";
import { MIN_ENTRY_BYTES, readValues, strictUtf8 } from "./gguf-values.ts";
import { type ByteReader, Cursor, type InspectLimits, isZero } from "./reader.ts";

const HEADER_BYTES = 4 + 4 + 8 + 8;
const MAX_VALUES = 100_000;
const MAX_TENSORS = 1_000_000;
/** Smallest tensor entry: a name of one byte, no dimensions. */
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8;
const NAME_BYTES = 63;
const MAX_DIMENSIONS = 4;
const LIMIT = 2n ** 63n;
// biome-ignore lint/suspicious/noControlCharactersInRegex: names must not steer terminals or end early in C
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

interface Tensor {
  readonly name: string;
  readonly items: bigint;
  readonly sizeBytes: bigint;
  readonly offset: bigint;
}

/** Where the tensor data lies, relative to its own start. */
interface Layout {
  readonly count: number;
  readonly items: bigint;
  /** End of the last tensor, without and with its padding. */
  readonly end: bigint;
  readonly paddedEnd: bigint;
}

/**
 * Walks a file that starts with `GGUF`.
 *
 * @throws Malformed - with the code of the first rule that is broken; what the reader throws passes through
 */
export async function walkGguf(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<void> {
  const cursor = new Cursor(reader, limits);
  const { version, tensors, values } = await readHeader(cursor);
  const facts = await readValues(cursor, values, notes);
  const layout = await readTensors(cursor, tensors, BigInt(facts.alignment));
  await checkData(reader, cursor.position, layout, facts.alignment, limits.windowBytes);
  const what = facts.architecture === undefined ? "a later shard" : `architecture ${quote(facts.architecture)}`;
  notes.info("gguf", `gguf version ${version}, ${what}, ${values} keys, ${tensors} tensors, ${layout.items} elements`);
}

async function readHeader(cursor: Cursor): Promise<{ version: number; tensors: number; values: number }> {
  await cursor.fill(HEADER_BYTES);
  cursor.take(4);
  const version = cursor.u32();
  if ((version & 0xffff) === 0 && version !== 0) {
    throw new Malformed("gguf-endian", "expected a little-endian gguf file, found a big-endian one");
  }
  if (version !== 2 && version !== 3) throw new Malformed("gguf-version", `expected version 2 or 3, found ${version}`);
  const tensors = boundCount(cursor.u64(), MAX_TENSORS, MIN_TENSOR_BYTES, cursor, "gguf-tensor-count", "tensors");
  const values = boundCount(cursor.u64(), MAX_VALUES, MIN_ENTRY_BYTES, cursor, "gguf-key-count", "keys");
  return { version, tensors, values };
}

/** A count, once the rest of the file can hold that many of the smallest entries. */
function boundCount(
  count: bigint,
  most: number,
  entryBytes: number,
  cursor: Cursor,
  code: string,
  what: string,
): number {
  const room = Math.max(0, Math.floor(cursor.fileRemaining / entryBytes));
  const limit = Math.min(most, room);
  if (count > BigInt(limit)) throw new Malformed(code, `expected at most ${limit} ${what}, found ${count}`);
  return Number(count);
}

async function readTensors(cursor: Cursor, count: number, alignment: bigint): Promise<Layout> {
  const seen = new Set<string>();
  let items = 0n;
  let end = 0n;
  let paddedEnd = 0n;
  for (let index = 0; index < count; index += 1) {
    const tensor = await readTensor(cursor);
    if (seen.has(tensor.name)) {
      throw new Malformed("gguf-duplicate-tensor", `expected each tensor once, found ${quote(tensor.name)} again`);
    }
    seen.add(tensor.name);
    if (tensor.offset !== paddedEnd) {
      throw new Malformed(
        "gguf-offset",
        `tensor ${quote(tensor.name)}: expected offset ${paddedEnd}, found ${tensor.offset}`,
      );
    }
    items += tensor.items;
    end = paddedEnd + tensor.sizeBytes;
    paddedEnd = padded(end, alignment);
  }
  return { count, items, end, paddedEnd };
}

async function readTensor(cursor: Cursor): Promise<Tensor> {
  const name = await readName(cursor);
  await cursor.fill(4);
  const dimensions = cursor.u32();
  if (dimensions > MAX_DIMENSIONS) {
    throw new Malformed("gguf-dimensions", `tensor ${quote(name)}: expected at most 4 dimensions, found ${dimensions}`);
  }
  await cursor.fill(dimensions * 8 + 4 + 8);
  const shape: bigint[] = [];
  for (let index = 0; index < dimensions; index += 1) shape.push(cursor.u64());
  const { items, sizeBytes } = measure(name, shape, cursor.u32());
  return { name, items, sizeBytes, offset: cursor.u64() };
}

async function readName(cursor: Cursor): Promise<string> {
  await cursor.fill(8);
  const length = cursor.u64();
  if (length < 1n || length > BigInt(NAME_BYTES)) {
    throw new Malformed(
      "gguf-tensor-name",
      `expected a tensor name of 1 to ${NAME_BYTES} bytes, found ${length} bytes`,
    );
  }
  await cursor.fill(Number(length));
  const name = strictUtf8(cursor.take(Number(length)));
  if (name === undefined || CONTROL.test(name)) {
    throw new Malformed("gguf-tensor-name", "expected a tensor name in utf-8 without control characters");
  }
  return name;
}

function measure(name: string, shape: readonly bigint[], typeId: number): { items: bigint; sizeBytes: bigint } {
  if (shape.some((length) => length < 1n)) {
    throw new Malformed("gguf-dimensions", `tensor ${quote(name)}: expected dimensions of at least 1, found 0`);
  }
  const items = shape.reduce((product, length) => product * length, 1n);
  const type = TENSOR_TYPES.get(typeId);
  if (type === undefined) {
    throw new Malformed("gguf-tensor-type", `tensor ${quote(name)}: expected a known tensor type, found ${typeId}`);
  }
  const row = shape[0] ?? 1n;
  if (row % type.blockItems !== 0n) {
    throw new Malformed(
      "gguf-row",
      `tensor ${quote(name)}: expected rows of whole ${type.name} blocks of ${type.blockItems}, found ${row} elements`,
    );
  }
  const sizeBytes = (items / type.blockItems) * type.blockBytes;
  if (items >= LIMIT || sizeBytes >= LIMIT) {
    throw new Malformed(
      "gguf-tensor-size",
      `tensor ${quote(name)}: expected under 2^63 elements and bytes, found more`,
    );
  }
  return { items, sizeBytes };
}

/** The data must lie inside the file; header padding and what follows the data must be zeros, and only padding. */
async function checkData(
  reader: ByteReader,
  headerEnd: number,
  layout: Layout,
  alignment: number,
  windowBytes: number,
): Promise<void> {
  const size = BigInt(reader.sizeBytes);
  const start = layout.count === 0 ? BigInt(headerEnd) : padded(BigInt(headerEnd), BigInt(alignment));
  const end = start + layout.end;
  const limit = layout.count === 0 ? padded(start, BigInt(alignment)) : start + layout.paddedEnd;
  if (end > size) {
    throw new Malformed("gguf-data-end", `expected tensor data up to byte ${end}, found a file of ${size} bytes`);
  }
  if (size > limit) {
    throw new Malformed("gguf-trailing", `expected the file to end at byte ${limit}, found ${size - limit} bytes more`);
  }
  const clean =
    (await isZero(reader, headerEnd, Number(start), windowBytes)) &&
    (await isZero(reader, Number(end), reader.sizeBytes, windowBytes));
  if (!clean) throw new Malformed("gguf-padding", "expected zeros as padding, found other bytes");
}

function padded(value: bigint, alignment: bigint): bigint {
  return ((value + alignment - 1n) / alignment) * alignment;
}
