// SPDX-License-Identifier: Apache-2.0
/** A server that offers a source as `coffer serve` does, but for what a test makes of single answers. Layer: test support. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Stored } from "../../src/objects/documents/schema.ts";
import type { BundleIndex } from "../../src/sync/bundle-index.ts";
import { type Item, itemPath } from "../../src/sync/source.ts";

export interface Offered {
  readonly index: Stored<BundleIndex>;
  readonly signature?: string;
  /** By the paths of the items. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** @returns true if it has answered itself */
export type Twist = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface Offering {
  readonly url: string;
  /** `path` or `path range` of all requests so far. */
  readonly asked: string[];
}

interface Ending {
  after(act: () => unknown): void;
}

/** Any server on a free port of the loopback, ended with the test. */
export async function listenOn(ending: Ending, server: Server): Promise<number> {
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ending.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** @param offered - asked for anew with each request */
export async function startOffering(
  ending: Ending,
  offered: () => Offered,
  twist: Twist = () => false,
): Promise<Offering> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { range } = request.headers;
    asked.push(`${request.url}${range === undefined ? "" : ` ${range}`}`);
    if (!twist(request, response)) answer(offered(), request, response);
  });
  return { url: `http://127.0.0.1:${await listenOn(ending, server)}`, asked };
}

function answer(offered: Offered, request: IncomingMessage, response: ServerResponse): void {
  const { index, signature } = offered;
  const path = request.url ?? "";
  if (path === "/v1/bundle") answerIndex(index, request, response);
  else if (path === `/v1/bundle/${index.id}/signature` && signature !== undefined)
    whole(response, Buffer.from(signature));
  else if (path === `/v1/bundle/${index.id}/documents`) whole(response, documentsOf(offered));
  else answerBlob(offered, path, request, response);
}

function answerIndex(index: Offered["index"], { headers }: IncomingMessage, response: ServerResponse): void {
  if (headers["if-none-match"] === `"${index.id}"`) response.writeHead(304).end();
  else whole(response, index.bytes);
}

function answerBlob(
  { index, files }: Offered,
  path: string,
  { headers }: IncomingMessage,
  response: ServerResponse,
): void {
  const blob = /^\/v1\/blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  const parts = index.value.items.filter((item) => item.kind === "blob" && item.blob === blob);
  const bytes = joined(parts, files);
  const [, start, end] = /^bytes=([0-9]+)-([0-9]+)$/.exec(headers.range ?? "") ?? [];
  if (parts.length === 0) response.writeHead(404).end();
  else if (start === undefined || end === undefined) whole(response, bytes);
  else {
    const part = bytes.subarray(Number(start), Number(end) + 1);
    const range = `bytes ${start}-${end}/${bytes.length}`;
    response.writeHead(206, { "Content-Length": part.length, "Content-Range": range }).end(part);
  }
}

/** All small things of an offer, one behind the other. */
export function documentsOf({ index, files }: Offered): Buffer {
  return joined(
    index.value.items.filter(({ kind }) => kind !== "blob"),
    files,
  );
}

function joined(items: readonly Item[], files: Offered["files"]): Buffer {
  return Buffer.concat(items.map((item) => files.get(itemPath(item)) ?? new Uint8Array()));
}

export function whole(response: ServerResponse, bytes: Uint8Array): void {
  response.writeHead(200, { "Content-Length": bytes.length });
  response.end(bytes);
}
