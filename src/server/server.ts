// SPDX-License-Identifier: Apache-2.0
/**
 * The read-only HTTP server over one store, on this machine's loopback. It asks repo and decides nothing.
 * Layer: server. Addresses and answers: docs/http.md.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { CofferError, systemCode } from "../base/errors.ts";
import { Serving } from "../repo/serving.ts";
import type { Store } from "../repo/store.ts";
import { type JsonAnswer, rawRefusal, sendJson, sendRefusal } from "./answer.ts";
import { answerBlob } from "./blob-answer.ts";
import { Connections } from "./connections.ts";
import { Downloads } from "./downloads.ts";
import { checkHosts, type HostList, hostList } from "./hosts.ts";
import { answerHealth, answerModel, answerPage, answerResolve } from "./model-answers.ts";
import { OfferAnswers } from "./offer-answer.ts";
import { type Refusal, refuse, refuseFault } from "./refusal.ts";
import { checkRequest, HEADER_BYTES, hasBody, MOST_HEADERS } from "./request.ts";
import type { Route } from "./target.ts";

const LOOPBACK = ["127.0.0.1", "::1"];
const DEFAULTS = {
  headerTimeoutMs: 10_000,
  stallMs: 300_000,
  keepAliveMs: 60_000,
  maxConnections: 2048,
  maxDownloads: 256,
  offerPatienceMs: 20_000,
  offerGraceMs: 120_000,
  offerSettleMs: 10_000,
};
/** Connections over the limit that may be told so at the same time; more are dropped without a word. */
const TURNED_AWAY = 64;

export interface ServerOptions {
  /** Hosts to answer for beside the loopback names, each with its port where clients send one. */
  readonly hosts?: readonly string[];
  /** Time for a request to arrive whole. */
  readonly headerTimeoutMs?: number;
  /** A connection over which nothing moves for this long, either way, is dropped. */
  readonly stallMs?: number;
  /** How long a connection stays open for a next request. */
  readonly keepAliveMs?: number;
  /** Idle ones give way to new ones. */
  readonly maxConnections?: number;
  /** Blobs being sent at the same time; each holds one piece of 256 KiB in memory. */
  readonly maxDownloads?: number;
  /** How long a request waits for an index being made, or for a place, before it is told to ask again; 0: not at all. */
  readonly offerPatienceMs?: number;
  /** How far a client that takes an index or its documents may fall behind 8 KiB a second. */
  readonly offerGraceMs?: number;
  /** How long a client that takes documents is let be, before a place is taken from it if it is slow and others wait. */
  readonly offerSettleMs?: number;
  /** Makes receipts for blobs and goes by them; only where the store's account and disk allow it. */
  readonly receipts?: boolean;
  /** Told of damage, disk faults and bugs, for the operator; clients are told by their answers. */
  readonly onFault?: (error: unknown) => void;
}

export interface CofferServer {
  /**
   * @param port - 0 for any free one
   * @param host - 127.0.0.1 (the default) or ::1
   * @throws CofferError USAGE - another host, or no port number; ADDRESS_IN_USE; IO_ERROR
   */
  listen(port: number, host?: string): Promise<{ readonly port: number }>;
  /** Stops accepting, lets running answers end within `graceMs`, then cuts them. @returns how many were cut */
  close(graceMs: number): Promise<number>;
}

/** @throws CofferError USAGE - `hosts` holds something that is no host */
export function createServer(store: Store, options: ServerOptions = {}): CofferServer {
  const extraHosts = options.hosts ?? [];
  checkHosts(extraHosts);
  const settings = { ...DEFAULTS, ...options };
  const onFault = options.onFault ?? (() => undefined);
  const serving = new Serving(store, options.receipts === true ? onFault : undefined);
  const context: Context = {
    serving,
    hosts: hostList(0, extraHosts),
    connections: new Connections(settings.maxConnections),
    downloads: new Downloads(serving, settings.maxDownloads, onFault),
    offers: new OfferAnswers(serving.offers, {
      patienceMs: settings.offerPatienceMs,
      graceMs: settings.offerGraceMs,
      settleMs: settings.offerSettleMs,
      onFault,
    }),
    onFault,
  };
  const server = makeHttpServer(context, settings);
  return {
    async listen(port, host = "127.0.0.1") {
      checkAddress(port, host);
      await bind(server, port, host);
      server.on("error", context.onFault);
      const address = server.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      context.hosts = hostList(bound, extraHosts);
      return { port: bound };
    },
    async close(graceMs) {
      if (!server.listening) return 0;
      const closed = new Promise((resolve) => server.close(resolve));
      const cut = context.connections.end(graceMs);
      await closed;
      clearTimeout(cut);
      await context.serving.close();
      return context.connections.cut;
    },
  };
}

interface Context {
  readonly serving: Serving;
  readonly connections: Connections;
  readonly downloads: Downloads;
  readonly offers: OfferAnswers;
  readonly onFault: (error: unknown) => void;
  /** Known once the port is. */
  hosts: HostList;
}

function makeHttpServer(context: Context, settings: typeof DEFAULTS): Server {
  const { headerTimeoutMs, stallMs, keepAliveMs, maxConnections } = settings;
  const server = createHttpServer({
    maxHeaderSize: HEADER_BYTES,
    headersTimeout: headerTimeoutMs,
    // Ends with the request; bodies are refused, so a long answer is not touched by it.
    requestTimeout: headerTimeoutMs,
    connectionsCheckingInterval: Math.min(1000, headerTimeoutMs),
    keepAliveTimeout: keepAliveMs,
    insecureHTTPParser: false,
    requireHostHeader: false, // checkRequest refuses it with this server's own answer
  });
  server.maxConnections = maxConnections + TURNED_AWAY;
  // node:http drops what is over; one more than allowed lets checkRequest see that there are too many.
  server.maxHeadersCount = MOST_HEADERS + 1;
  server.timeout = stallMs;
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    context.connections
      .run(request.socket, response, () => answer(context, request, response))
      .catch((error: unknown) => {
        context.onFault(error);
        request.socket.destroy();
      });
  };
  server.on("connection", (socket) => context.connections.track(socket));
  server.on("request", handle);
  server.on("checkContinue", handle);
  server.on("checkExpectation", handle);
  server.on("connect", (_, socket) => {
    socket.end(rawRefusal(refuse("METHOD_NOT_ALLOWED"), "Method Not Allowed"), () => socket.destroy());
  });
  server.on("clientError", (error, socket) => context.connections.refuseBroken(error, socket));
  return server;
}

function checkAddress(port: number, host: string): void {
  if (!LOOPBACK.includes(host)) {
    throw new CofferError("USAGE", `host: expected 127.0.0.1 or ::1, found ${JSON.stringify(host)}`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new CofferError("USAGE", `port: expected a number from 0 to 65535, found ${port}`);
  }
}

function bind(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      const code = systemCode(error);
      const kind = code === "EADDRINUSE" ? "ADDRESS_IN_USE" : "IO_ERROR";
      reject(new CofferError(kind, `cannot listen on ${host} port ${port} (${code})`, { cause: error }));
    };
    server.once("error", failed);
    server.listen({ port, host, exclusive: true }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

async function answer(context: Context, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (hasBody(request)) response.shouldKeepAlive = false;
  const route = checkRequest(request, context.hosts);
  if (route.kind === "refusal") return sendRefusal(response, route);
  try {
    switch (route.kind) {
      case "blob":
        return await answerBlob(context.serving, context.downloads, request, response, route.blob);
      case "offer":
      case "offer-signature":
      case "offer-documents":
        return await context.offers.answer(request, response, route);
    }
    const body = await answerJson(context.serving, route);
    if (body.kind === "json") return sendJson(response, body);
    if (body.status >= 500) context.onFault(new CofferError("CORRUPT", body.message));
    sendRefusal(response, body);
  } catch (error) {
    context.onFault(error);
    // What was announced cannot be finished: the client must not take what it has for the whole.
    if (response.headersSent) response.destroy();
    else sendRefusal(response, refuseFault(error));
  }
}

type JsonRoute = Extract<Route, { kind: "health" | "models" | "model" | "resolve" }>;

function answerJson(serving: Serving, route: JsonRoute): Promise<Refusal | JsonAnswer> {
  switch (route.kind) {
    case "health":
      return answerHealth(serving);
    case "models":
      return answerPage(serving, route.after, route.limit);
    case "model":
      return answerModel(serving, route.name);
    case "resolve":
      return answerResolve(serving, route.name);
  }
}
