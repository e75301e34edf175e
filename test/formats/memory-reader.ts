// SPDX-License-Identifier: Apache-2.0
/** A ByteReader over bytes in memory that fails the test on any read out of bounds and counts what is read. */
import assert from "node:assert/strict";
import type { ByteReader } from "../../src/formats/inspect.ts";

export interface CountingReader extends ByteReader {
  readonly bytesRead: () => number;
}

/** @param sizeBytes - a larger size than `bytes` makes a sparse file whose missing bytes are zeros */
export function memoryReader(bytes: Uint8Array, sizeBytes = bytes.length): CountingReader {
  let total = 0;
  return {
    sizeBytes,
    bytesRead: () => total,
    async read(position, length) {
      assert.ok(Number.isSafeInteger(position) && Number.isSafeInteger(length), `read(${position}, ${length})`);
      assert.ok(position >= 0 && length > 0 && position + length <= sizeBytes, `read(${position}, ${length})`);
      total += length;
      const found = new Uint8Array(length);
      found.set(bytes.subarray(position, position + length));
      return found;
    },
  };
}
