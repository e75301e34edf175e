// SPDX-License-Identifier: Apache-2.0
/** Builds GGUF, safetensors and SentencePiece files by hand, right or wrong on purpose. */

export const GGUF = { u8: 0, i8: 1, u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** Length and bytes. */
export function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

export function entry(key: string | Buffer, type: number, value: Buffer): Buffer {
  return Buffer.concat([text(key), u32(type), value]);
}

export const stringEntry = (key: string, value: string | Buffer): Buffer => entry(key, GGUF.string, text(value));
export const u32Entry = (key: string, value: number): Buffer => entry(key, GGUF.u32, u32(value));

export function arrayEntry(key: string, elementType: number, count: number | bigint, elements: Buffer): Buffer {
  return entry(key, GGUF.array, Buffer.concat([u32(elementType), u64(count), elements]));
}

export interface TensorSpec {
  readonly name?: string | Buffer;
  readonly shape?: readonly (number | bigint)[];
  readonly dimensions?: number;
  readonly type?: number;
  readonly offset?: number | bigint;
}

export function tensorEntry(spec: TensorSpec = {}): Buffer {
  const shape = spec.shape ?? [8];
  return Buffer.concat([
    text(spec.name ?? "t"),
    u32(spec.dimensions ?? shape.length),
    ...shape.map(u64),
    u32(spec.type ?? 0),
    u64(spec.offset ?? 0),
  ]);
}

export interface GgufSpec {
  readonly magic?: string;
  readonly version?: Buffer;
  readonly keyCount?: number | bigint;
  readonly tensorCount?: number | bigint;
  readonly architecture?: Buffer | null;
  readonly keys?: readonly Buffer[];
  readonly tensors?: readonly Buffer[];
  readonly alignment?: number;
  readonly padding?: number;
  /** Bytes after the padded header; 32 zeros when left out (the one default tensor). */
  readonly data?: Buffer;
}

/** Without arguments: a good file with one F32 tensor of 8 elements. */
export function gguf(spec: GgufSpec = {}): Uint8Array {
  const architecture =
    spec.architecture === undefined ? stringEntry("general.architecture", "llama") : spec.architecture;
  const keys = [...(architecture === null ? [] : [architecture]), ...(spec.keys ?? [])];
  const tensors = spec.tensors ?? [tensorEntry()];
  const head = Buffer.concat([
    Buffer.from(spec.magic ?? "GGUF"),
    spec.version ?? u32(3),
    u64(spec.tensorCount ?? tensors.length),
    u64(spec.keyCount ?? keys.length),
    ...keys,
    ...tensors,
  ]);
  const alignment = spec.alignment ?? 32;
  const padding = tensors.length === 0 ? 0 : (alignment - (head.length % alignment)) % alignment;
  const data = spec.data ?? Buffer.alloc(tensors.length === 0 ? 0 : 32);
  return new Uint8Array(Buffer.concat([head, Buffer.alloc(padding, spec.padding ?? 0), data]));
}

/** A safetensors file around `header` as it stands. */
export function safetensors(header: string | Buffer, dataBytes: number, length?: number | bigint): Uint8Array {
  const bytes = Buffer.from(header);
  return new Uint8Array(Buffer.concat([u64(length ?? bytes.length), bytes, Buffer.alloc(dataBytes)]));
}

/** A protobuf field of wire type 2 with a payload under 128 bytes. */
export function message(field: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2, payload.length]), payload]);
}

export function piece(value: string | Buffer, score: number, type: number): Buffer {
  const scoreBytes = Buffer.alloc(5);
  scoreBytes.writeUInt8(0x15);
  scoreBytes.writeFloatLE(score, 1);
  return message(1, Buffer.concat([message(1, Buffer.from(value)), scoreBytes, Buffer.from([0x18, type])]));
}

/** An empty-named but real ZIP central directory with its end record: what a ZIP reader looks for. */
export function zipTail(): Buffer {
  const directory = Buffer.alloc(46 + 1);
  directory.write("PK\x01\x02", "latin1");
  directory.writeUInt16LE(1, 28);
  directory.write("a", 46);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(directory.length, 12);
  return Buffer.concat([directory, end]);
}
