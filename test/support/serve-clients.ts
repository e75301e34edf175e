// SPDX-License-Identifier: Apache-2.0
/** Clients for the soak and the bench of the server: slow ones, idle ones, and one that asks at a steady rate. */
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** The `part`-th of sorted values; 0 of none. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

const TICK_MS = 500;
const DRAIN_TICK_MS = 10;
const END_OF_HEAD = "\r\n\r\n";

/** Downloads from `start` on, so many bytes a second, and compares what it gets. */
export class SlowReader {
  private readonly socket: Socket;
  private readonly expected: Uint8Array;
  private readonly rate: number;
  private readonly tick: NodeJS.Timeout;
  private head: string | undefined = "";
  private position: number;
  private stopped = false;
  private draining = false;
  readonly faults: string[] = [];
  /** Until the first byte of the answer. */
  firstMs = 0;
  readBytes = 0;
  /** The connection is gone, and not because of this client. */
  ended = false;

  constructor(port: number, path: string, expected: Uint8Array, start: number, bytesPerSecond: number) {
    this.expected = expected;
    this.position = start;
    this.rate = bytesPerSecond;
    this.socket = connect({ port, host: "127.0.0.1" });
    const range = start === 0 ? "" : `Range: bytes=${start}-\r\n`;
    const began = performance.now();
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${range}\r\n`);
    this.socket.once("readable", () => {
      this.firstMs = performance.now() - began;
    });
    this.socket.on("error", (error) => this.noteEnd(error.message));
    this.socket.on("close", () => this.noteEnd("closed"));
    this.tick = setInterval(() => this.take((this.rate * TICK_MS) / 1000), TICK_MS);
  }

  private noteEnd(why: string): void {
    clearInterval(this.tick);
    if (this.stopped || this.ended) return;
    this.ended = true;
    if (!this.draining) this.faults.push(`ended at ${this.position}: ${why}`);
  }

  private take(bytes: number): void {
    const length = Math.min(bytes, this.socket.readableLength);
    const part: Buffer | null = length > 0 ? this.socket.read(length) : this.socket.read(0);
    if (part !== null && part.length > 0) this.compare(part);
  }

  private compare(part: Buffer): void {
    const body = this.head === undefined ? part : this.afterHead(part);
    const good = this.expected.subarray(this.position, this.position + body.length);
    if (Buffer.compare(body, good) !== 0) this.faults.push(`wrong bytes after ${this.position}`);
    this.position += body.length;
    this.readBytes += body.length;
  }

  private afterHead(part: Buffer): Buffer {
    const head = (this.head ?? "") + part.toString("latin1");
    const end = head.indexOf(END_OF_HEAD);
    this.head = end < 0 ? head : undefined;
    if (end < 0) return part.subarray(part.length);
    if (!/^HTTP\/1\.1 20[06] /.test(head)) this.faults.push(head.slice(0, end));
    return Buffer.from(head.slice(end + END_OF_HEAD.length), "latin1");
  }

  /**
   * Takes all that still comes: what the system holds in a few seconds, all of a large file in ten, so that a server which is
   * about to end it has its time. @returns true if that was all of the file
   */
  drain(): Promise<boolean> {
    this.draining = true;
    clearInterval(this.tick);
    return new Promise((resolve) => {
      const end = (): void => {
        clearInterval(tick);
        resolve(this.position === this.expected.length);
      };
      const tick = setInterval(() => {
        this.take(this.socket.readableLength);
        if (this.position === this.expected.length) end();
      }, DRAIN_TICK_MS);
      if (this.ended) return end();
      this.socket.once("close", end);
    });
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.tick);
    this.socket.destroy();
  }
}

/** A connection that is kept, and asks once in a while. */
export class KeptClient {
  private readonly socket: Socket;
  private readonly text: string;
  private readonly start: NodeJS.Timeout;
  private tick: NodeJS.Timeout | undefined;
  private answer = "";
  private askedMs: number | undefined;
  private stopped = false;
  readonly took: number[] = [];
  readonly faults: string[] = [];
  open = true;

  /** @param phase - 0 to 1: where in `everyMs` it asks */
  constructor(port: number, path: string, everyMs: number, phase: number) {
    this.text = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
    this.socket = connect({ port, host: "127.0.0.1" });
    this.socket.on("data", (part: Buffer) => this.note(part));
    this.socket.on("error", (error) => this.faults.push(error.message));
    this.socket.on("close", () => this.noteClose());
    this.ask();
    this.start = setTimeout(() => {
      this.ask();
      this.tick = setInterval(() => this.ask(), everyMs);
    }, everyMs * phase);
  }

  private ask(): void {
    if (this.askedMs !== undefined) return; // the last answer is still awaited, and its time is counted
    this.askedMs = performance.now();
    this.socket.write(this.text);
  }

  private note(part: Buffer): void {
    this.answer += part.toString("latin1");
    const end = this.answer.indexOf(END_OF_HEAD);
    const length = Number(/content-length: ([0-9]+)/i.exec(this.answer)?.[1]);
    if (end < 0 || this.answer.length < end + END_OF_HEAD.length + length) return;
    if (!/^HTTP\/1\.1 (200|404) /.test(this.answer)) this.faults.push(this.answer.slice(0, end));
    this.took.push(performance.now() - (this.askedMs ?? Number.NaN));
    this.askedMs = undefined;
    this.answer = "";
  }

  private noteClose(): void {
    this.open = false;
    clearTimeout(this.start);
    clearInterval(this.tick);
    if (!this.stopped) this.faults.push("closed by the server");
  }

  stop(): void {
    this.stopped = true;
    this.socket.destroy();
  }
}

export interface Ask {
  readonly path: string;
  readonly range?: string;
}

/** Asks at a steady rate, whether answers come or not, so that a wait is counted for all whom it would have hit. */
export class Asking {
  private readonly port: number;
  private readonly asks: readonly Ask[];
  readonly took: number[] = [];
  readonly faults: string[] = [];

  constructor(port: number, asks: readonly Ask[]) {
    this.port = port;
    this.asks = asks;
  }

  async run(perSecond: number, forMs: number): Promise<void> {
    const agent = new Agent({ keepAlive: true });
    const running: Promise<void>[] = [];
    const began = performance.now();
    for (let count = 0; performance.now() - began < forMs; count += 1) {
      const ask = this.asks[count % this.asks.length];
      if (ask !== undefined) running.push(this.one(agent, ask));
      await sleep(Math.max(0, began + ((count + 1) * 1000) / perSecond - performance.now()));
    }
    await Promise.all(running);
    agent.destroy();
  }

  private one(agent: Agent, { path, range }: Ask): Promise<void> {
    const began = performance.now();
    const headers = range === undefined ? {} : { Range: range };
    return new Promise((resolve) => {
      const request = httpRequest({ host: "127.0.0.1", port: this.port, path, headers, agent });
      request.on("error", (error) => {
        this.faults.push(`${path}: ${error.message}`);
        resolve();
      });
      request.on("response", (response) => {
        response.resume();
        response.on("close", () => {
          this.took.push(performance.now() - began);
          const { statusCode = 0, complete } = response;
          if (!complete || ![200, 206, 404].includes(statusCode)) this.faults.push(`${path}: ${statusCode}`);
          resolve();
        });
      });
      request.end();
    });
  }
}
