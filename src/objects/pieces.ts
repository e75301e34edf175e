// SPDX-License-Identifier: Apache-2.0
/** The bytes of an open file, front to back, each read while the caller works on those before. Layer: objects. */
import type { OpenFile } from "./files.ts";
import { isLarge } from "./hash-thread.ts";
import { BUFFER_BYTES, giveBuffer, takeBuffer } from "./shared-buffers.ts";

/** Of a small file, so that reading and hashing still take turns. */
const SMALL_PIECE_BYTES = 1024 * 1024;

/**
 * The whole of an open file. The yielded bytes are valid until the next step only: two buffers take turns.
 * @param sizeBytes - how long it is, as far as is known: it is read to its end
 */
export async function* readPieces(file: OpenFile, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const pieceBytes = isLarge(sizeBytes) ? BUFFER_BYTES : SMALL_PIECE_BYTES;
  yield* readRange(file, 0, Number.POSITIVE_INFINITY, pieceBytes);
}

/**
 * Bytes from `start` on, up to `end` or the end of the file.
 * The yielded bytes are valid until the next step only; each piece but the last has `pieceBytes`.
 */
export async function* readRange(
  file: OpenFile,
  start: number,
  end: number,
  pieceBytes: number,
): AsyncGenerator<Uint8Array> {
  const buffers: [Uint8Array, Uint8Array] = [takeBuffer(), takeBuffer()];
  const read = (turn: 0 | 1, position: number): Promise<number> =>
    readAhead(file, buffers[turn].subarray(0, Math.min(pieceBytes, end - position)), position);
  let position = start;
  let ahead = read(0, position);
  try {
    for (let turn: 0 | 1 = 0; ; turn = turn === 0 ? 1 : 0) {
      const length = await ahead;
      if (length === 0) return;
      position += length;
      ahead = read(turn === 0 ? 1 : 0, position);
      yield buffers[turn].subarray(0, length);
    }
  } finally {
    // However it ends, also where the caller wants no more: the read must end before its buffer is used again, and should
    // it fail, then what ended the work is the one to tell.
    await ahead.catch(() => 0);
    buffers.forEach(giveBuffer);
  }
}

/** It may fail while the caller is busy with the piece before: that is told when its turn comes, or not at all. */
function readAhead(file: OpenFile, buffer: Uint8Array, position: number): Promise<number> {
  if (buffer.length === 0) return Promise.resolve(0);
  const reading = file.read(buffer, position);
  reading.catch(() => 0);
  return reading;
}
