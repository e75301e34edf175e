// SPDX-License-Identifier: Apache-2.0
/**
 * Walks a SentencePiece model (tokenizer.model): a protobuf ModelProto, its pieces and its top-level fields.
 * Layer: formats. Source: google/sentencepiece, src/sentencepiece_model.proto. Fields that it does not define are refused.
 */
import { Malformed, type Notes } from "./findings.ts";
import { strictUtf8 } from "./gguf-values.ts";
import { type ByteReader, Cursor, type InspectLimits } from "./reader.ts";

const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const PIECES = 1;
/** trainer_spec, normalizer_spec, self_test_data, denormalizer_spec: all messages. */
const LAST_FIELD = 5;
/** Numbers from here on are extensions, in the model and in its pieces. */
const FIRST_EXTENSION = 200;
const PIECE_BYTES = 65_536;
/** NORMAL to BYTE. */
const LAST_TYPE = 6;

/** @throws Malformed - with the code of the first rule that is broken; what the reader throws passes through */
export async function walkSentencePiece(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<void> {
  const cursor = new Cursor(reader, limits);
  let pieces = 0;
  while (cursor.position < reader.sizeBytes) {
    const { field, wire } = await readTag(cursor);
    if (field === PIECES && wire === WIRE.bytes) {
      await readPiece(cursor);
      pieces += 1;
    } else {
      const known = field > PIECES && field <= LAST_FIELD && wire === WIRE.bytes;
      if (!known && field < FIRST_EXTENSION) throw unknownField(field, wire);
      await skipField(cursor, wire);
    }
  }
  if (pieces === 0) throw new Malformed("sentencepiece-piece", "expected at least one piece, found none");
  notes.info("sentencepiece", `sentencepiece model with ${pieces} pieces`);
}

async function readPiece(cursor: Cursor): Promise<void> {
  const length = await readLength(cursor);
  if (length > PIECE_BYTES) {
    throw new Malformed("sentencepiece-piece", `expected a piece of at most ${PIECE_BYTES} bytes, found ${length}`);
  }
  await cursor.fill(length);
  const end = cursor.position + length;
  let text: string | undefined;
  while (cursor.position < end) {
    const { field, wire } = await readTag(cursor);
    if (field === 1 && wire === WIRE.bytes) text = await readText(cursor, end);
    else if (field === 2 && wire === WIRE.fixed32) await readScore(cursor);
    else if (field === 3 && wire === WIRE.varint) await readType(cursor);
    else if (field >= FIRST_EXTENSION) await skipField(cursor, wire);
    else throw unknownField(field, wire);
  }
  if (cursor.position !== end || text === undefined) {
    throw new Malformed("sentencepiece-piece", "expected a piece with a text, within its own length");
  }
}

async function readText(cursor: Cursor, end: number): Promise<string> {
  const length = await readLength(cursor);
  if (cursor.position + length > end) throw new Malformed("sentencepiece-piece", "expected a text within its piece");
  await cursor.fill(length);
  const text = strictUtf8(cursor.take(length));
  if (text === undefined || text === "")
    throw new Malformed("sentencepiece-piece", "expected a text in utf-8, not empty");
  return text;
}

async function readScore(cursor: Cursor): Promise<void> {
  await cursor.fill(4);
  const score = cursor.f32();
  if (!Number.isFinite(score)) throw new Malformed("sentencepiece-piece", `expected a finite score, found ${score}`);
}

async function readType(cursor: Cursor): Promise<void> {
  const type = await readVarint(cursor);
  if (type < 1n || type > BigInt(LAST_TYPE)) {
    throw new Malformed("sentencepiece-piece", `expected a piece type of 1 to ${LAST_TYPE}, found ${type}`);
  }
}

async function readTag(cursor: Cursor): Promise<{ field: number; wire: number }> {
  const tag = await readVarint(cursor);
  if (tag > 0xffff_ffffn || tag >> 3n === 0n) {
    throw new Malformed("sentencepiece-field", `expected a field tag of 32 bits, found ${tag}`);
  }
  return { field: Number(tag >> 3n), wire: Number(tag & 7n) };
}

async function readVarint(cursor: Cursor): Promise<bigint> {
  let value = 0n;
  for (let shift = 0n; shift < 64n; shift += 7n) {
    if (cursor.buffered < 1) await cursor.fill(1);
    const byte = cursor.u8();
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw new Malformed("sentencepiece-field", "expected a number of at most 64 bits, found a longer one");
}

/** A length, checked against what is left before anything is read or skipped. */
async function readLength(cursor: Cursor): Promise<number> {
  const length = await readVarint(cursor);
  if (length > BigInt(cursor.fileRemaining)) {
    throw new Malformed(
      "truncated",
      `expected ${length} more bytes at byte ${cursor.position}, found ${cursor.fileRemaining}`,
    );
  }
  return Number(length);
}

async function skipField(cursor: Cursor, wire: number): Promise<void> {
  if (wire === WIRE.varint) await readVarint(cursor);
  else if (wire === WIRE.fixed64) cursor.skip(8);
  else if (wire === WIRE.fixed32) cursor.skip(4);
  else if (wire === WIRE.bytes) cursor.skip(await readLength(cursor));
  else throw new Malformed("sentencepiece-field", `expected a wire type of 0, 1, 2 or 5, found ${wire}`);
}

function unknownField(field: number, wire: number): Malformed {
  return new Malformed(
    "sentencepiece-field",
    `expected a field of ModelProto, found field ${field} of wire type ${wire}`,
  );
}
