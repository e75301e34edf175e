// SPDX-License-Identifier: Apache-2.0
/** How slowly a client may take an answer that holds one of few places, or much memory. Layer: server. Not here: downloads. */
import type { ServerResponse } from "node:http";
import { writeBytes } from "./write-bytes.ts";

const LEAST_BYTES_PER_S = 8 * 1024;
const PIECE_BYTES = 64 * 1024;

export class Pace {
  private readonly response: ServerResponse;
  private readonly graceMs: number;
  private readonly settleMs: number;
  private leftMs: number;
  private takenBytes = 0;
  /** Time that the client took, but for the piece that it takes now. */
  private takenMs = 0;
  private sinceMs: number | undefined;

  /**
   * @param graceMs - how far behind the least rate a client may fall
   * @param settleMs - time before its rate is looked at
   */
  constructor(response: ServerResponse, graceMs: number, settleMs = 0) {
    this.response = response;
    this.graceMs = graceMs;
    this.settleMs = settleMs;
    this.leftMs = graceMs;
  }

  /** From its first byte on, in the time that the client takes; infinite as long as that is short. */
  get bytesPerS(): number {
    const passedMs = this.takenMs + (this.sinceMs === undefined ? 0 : performance.now() - this.sinceMs);
    return passedMs <= this.settleMs ? Number.POSITIVE_INFINITY : (this.takenBytes / passedMs) * 1000;
  }

  get isEnded(): boolean {
    return this.response.destroyed;
  }

  end(): void {
    this.response.destroy();
  }

  /** Ends the connection of a client that is too slow. @returns false once the client is gone */
  async write(bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      if (!(await this.writePiece(bytes.subarray(at, at + PIECE_BYTES)))) return false;
    }
    return true;
  }

  /** Only the time that the client takes counts, not what is done for it. */
  private async writePiece(piece: Uint8Array): Promise<boolean> {
    const sinceMs = performance.now();
    this.sinceMs = sinceMs;
    const late = setTimeout(() => this.end(), Math.max(1, this.leftMs));
    try {
      return await writeBytes(this.response, piece);
    } finally {
      clearTimeout(late);
      const passedMs = performance.now() - sinceMs;
      this.sinceMs = undefined;
      this.takenMs += passedMs;
      this.takenBytes += piece.length;
      const earnedMs = (piece.length / LEAST_BYTES_PER_S) * 1000;
      this.leftMs = Math.min(this.graceMs, this.leftMs - passedMs + earnedMs);
    }
  }
}
