// SPDX-License-Identifier: Apache-2.0
/** Clients for the server's tests: whole answers over node:http, and bytes over raw sockets. */
import assert from "node:assert/strict";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { type CofferServer, createServer, type ServerOptions } from "../../src/server/server.ts";
import { makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** False if the connection ended before the announced length. */
  readonly complete: boolean;
}

export interface Running {
  readonly server: CofferServer;
  readonly port: number;
  readonly faults: unknown[];
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  send(method: string, path: string, headers?: Record<string, string>): Promise<Answer>;
}

interface Ending {
  after(act: () => unknown): void;
}

/** No test that says nothing of time fails because the machine stood still for a while. */
const PATIENT: ServerOptions = {
  ...{ headerTimeoutMs: 600_000, keepAliveMs: 600_000, stallMs: 600_000 },
  ...{ offerPatienceMs: 600_000, offerGraceMs: 600_000, offerSettleMs: 600_000 },
};

/** Runs a server over the fixture's store, opened once more as `serve` would; closed when the test ends. */
export async function serve(t: Ending, fixture: StoreFixture, options: ServerOptions = {}): Promise<Running> {
  const faults: unknown[] = [];
  const server = createServer(await fixture.open(), { onFault: (error) => faults.push(error), ...PATIENT, ...options });
  const { port } = await server.listen(0);
  t.after(() => server.close(0));
  const send: Running["send"] = (method, path, headers = {}) => ask(port, method, path, headers);
  return { server, port, faults, send, get: (path, headers) => send("GET", path, headers) };
}

export async function serveNew(
  t: TestContext,
  options: ServerOptions = {},
): Promise<{ fixture: StoreFixture; running: Running }> {
  const fixture = await makeStoreFixture(t);
  return { fixture, running: await serve(t, fixture, options) };
}

export function ask(port: number, method: string, path: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, method, path, headers, agent: false });
    request.on("error", reject);
    request.on("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", () => undefined); // an end before the length; `complete` tells
      response.on("close", () => {
        const { statusCode: status = 0, complete } = response;
        resolve({ status, headers: response.headers, body: Buffer.concat(parts), complete });
      });
    });
    request.end();
  });
}

/** Sends `bytes` as they are and gives all that comes back until the server ends the connection. */
export function raw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (part) => {
      text += part.toString("latin1");
    });
    socket.on("error", () => undefined); // a reset is one way to end it
    socket.on("close", () => resolve(text));
    socket.write(bytes);
  });
}

/** The status of the first answer in what `raw` gave; 0 if there is none. */
export function statusOf(text: string): number {
  return Number(/^HTTP\/1\.1 ([0-9]{3}) /.exec(text)?.[1] ?? 0);
}

/**
 * Starts a download and stops reading: what arrives stays in the kernel's buffers.
 * @param more - sent after the request's own lines; by default, that it is the connection's last
 */
export function slowDownload(port: number, path: string, more = "Connection: close\r\n\r\n"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", reject);
    socket.once("readable", () => resolve(socket));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${more}`);
  });
}

/** Reads what is left of a slow download until its end. @returns bytes in all, head of the answer included */
export function drain(socket: Socket): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.removeAllListeners("error");
    socket.on("error", () => undefined);
    socket.on("data", (part) => {
      bytes += part.length;
    });
    socket.on("close", () => resolve(bytes));
    socket.resume();
  });
}

export function errorOf(answer: Answer): { code: string; message: string } {
  const { error, ...more } = JSON.parse(answer.body.toString("utf8"));
  assert.deepEqual(more, {});
  assert.deepEqual(Object.keys(error), ["code", "message"]);
  return error;
}
