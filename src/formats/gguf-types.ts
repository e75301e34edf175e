// SPDX-License-Identifier: Apache-2.0
/**
 * The tables of the GGUF format: value types of keys, and tensor types with their block sizes.
 * Layer: formats. Source: llama.cpp of September 2026, ggml/include/ggml.h, ggml/include/gguf.h, ggml/src/ggml-common.h.
 */

/** Fixed-size value types by number: name and bytes. Strings (8) and arrays (9) have no fixed size. */
export const SCALARS: ReadonlyMap<number, { readonly name: string; readonly sizeBytes: number }> = new Map(
  (
    [
      [0, "uint8", 1],
      [1, "int8", 1],
      [2, "uint16", 2],
      [3, "int16", 2],
      [4, "uint32", 4],
      [5, "int32", 4],
      [6, "float32", 4],
      [7, "bool", 1],
      [10, "uint64", 8],
      [11, "int64", 8],
      [12, "float64", 8],
    ] as const
  ).map(([id, name, sizeBytes]) => [id, { name, sizeBytes }]),
);

export const VALUE = {
  uint8: 0,
  int8: 1,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
} as const;

/** Value types that hold a whole number without a sign. */
export const UNSIGNED: ReadonlySet<number> = new Set([0, 2, VALUE.uint32, VALUE.uint64]);

/** A tensor type: `blockItems` elements take `blockBytes` bytes; rows are whole blocks. */
export interface TensorType {
  readonly name: string;
  readonly blockItems: bigint;
  readonly blockBytes: bigint;
}

/** Tensor types by number. Numbers that were withdrawn (4, 5, 31 to 33, 36 to 38) are absent, so refused. */
export const TENSOR_TYPES: ReadonlyMap<number, TensorType> = new Map(
  (
    [
      [0, "F32", 1, 4],
      [1, "F16", 1, 2],
      [2, "Q4_0", 32, 18],
      [3, "Q4_1", 32, 20],
      [6, "Q5_0", 32, 22],
      [7, "Q5_1", 32, 24],
      [8, "Q8_0", 32, 34],
      [9, "Q8_1", 32, 36],
      [10, "Q2_K", 256, 84],
      [11, "Q3_K", 256, 110],
      [12, "Q4_K", 256, 144],
      [13, "Q5_K", 256, 176],
      [14, "Q6_K", 256, 210],
      [15, "Q8_K", 256, 292],
      [16, "IQ2_XXS", 256, 66],
      [17, "IQ2_XS", 256, 74],
      [18, "IQ3_XXS", 256, 98],
      [19, "IQ1_S", 256, 50],
      [20, "IQ4_NL", 32, 18],
      [21, "IQ3_S", 256, 110],
      [22, "IQ2_S", 256, 82],
      [23, "IQ4_XS", 256, 136],
      [24, "I8", 1, 1],
      [25, "I16", 1, 2],
      [26, "I32", 1, 4],
      [27, "I64", 1, 8],
      [28, "F64", 1, 8],
      [29, "IQ1_M", 256, 56],
      [30, "BF16", 1, 2],
      [34, "TQ1_0", 256, 54],
      [35, "TQ2_0", 256, 66],
      [39, "MXFP4", 32, 17],
      [40, "NVFP4", 64, 36],
      [41, "Q1_0", 128, 18],
      [42, "Q2_0", 64, 18],
    ] as const
  ).map(([id, name, items, bytes]) => [id, { name, blockItems: BigInt(items), blockBytes: BigInt(bytes) }]),
);
