// SPDX-License-Identifier: Apache-2.0
/**
 * The HTTP that isomorphic-git speaks through: one request, no redirects, bounded in size, in silence and in
 * slowness. Layer: git.
 * Not here: what is asked (git-remote.ts).
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { GitHttpRequest, GitHttpResponse, HttpClient } from "isomorphic-git";
import { CofferError, systemCode } from "../base/errors.ts";
import { denied, isDenied, slowestMs, slowness } from "../base/web.ts";

export interface HttpLimits {
  /** Of one answer. */
  readonly answerBytes: number;
  /** Without a byte from the other side. */
  readonly silenceMs: number;
  /** With next to nothing from there: while a host's hooks look at a push, git sends only now and then that it is alive. */
  readonly workMs: number;
}

/** How a host is spoken to. */
export interface HttpWays extends HttpLimits {
  /** Certificate authorities in PEM, in place of those that Node.js knows. */
  readonly authorities?: string;
}

/** The host without what may be a secret in front of it. */
function shownUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

/** What a request asks for: a service, or what lies there. */
export function gitHttp(ways: HttpWays): HttpClient {
  return { request: (request) => askGit(request, ways) };
}

/** An answer as the library takes it, and its whole body. */
export interface GitAnswer extends GitHttpResponse {
  readonly bytes: Uint8Array;
}

/** @throws CofferError REMOTE_FAILED; REMOTE_DENIED - it wants a login, or refuses the one that it got */
export async function askGit(request: GitHttpRequest, ways: HttpWays): Promise<GitAnswer> {
  const url = new URL(request.url);
  const body: Uint8Array[] = [];
  if (request.body !== undefined) for await (const piece of request.body) body.push(piece);
  const answer = await send(url, request, Buffer.concat(body), ways);
  const statusCode = Number(answer.statusCode);
  if (statusCode >= 300 && statusCode < 400) {
    answer.destroy();
    throw failed(request.url, `it answered ${statusCode}, which leads elsewhere; give the address that it leads to`);
  }
  if (isDenied(statusCode)) {
    answer.destroy();
    const sent = request.headers?.["authorization"] !== undefined;
    throw denied(shownUrl(request.url), statusCode, sent, "COFFER_GIT_USER and COFFER_GIT_PASSWORD");
  }
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as const);
  const bytes = await collect(answer, request.url, ways);
  return {
    ...{ url: request.url, method: request.method, statusCode, statusMessage: String(answer.statusMessage) },
    headers: Object.fromEntries(headers),
    ...{ bytes, body: oneOf(bytes) },
  };
}

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(bytes);
}

function send(url: URL, request: GitHttpRequest, body: Buffer, ways: HttpWays): Promise<IncomingMessage> {
  const open = url.protocol === "https:" ? httpsRequest : httpRequest;
  const headers = { ...request.headers, "content-length": String(body.length) };
  // Said here, an environment that turns verification off does not reach it.
  const tls = { rejectUnauthorized: true, ...(ways.authorities === undefined ? {} : { ca: ways.authorities }) };
  return new Promise((resolve, reject) => {
    const asked = open(url, { method: request.method, headers, agent: false, ...tls }, resolve);
    asked.on("error", (error) => {
      const why = systemCode(error) ?? error.message;
      reject(failed(request.url, `cannot be reached (${why})`, error));
    });
    const endAfter = (ms: number) => () => void asked.destroy(new Error(`no answer for ${ms} ms`));
    asked.setTimeout(ways.silenceMs, endAfter(ways.silenceMs));
    // A head that comes a byte at a time is never silent, nor is who takes what is sent a byte at a time.
    const mostMs = ways.silenceMs + slowestMs(body.length);
    const late = setTimeout(endAfter(mostMs), mostMs);
    asked.on("close", () => clearTimeout(late));
    asked.on("response", () => {
      clearTimeout(late);
      asked.setTimeout(0);
    });
    asked.end(body);
  });
}

/** The whole answer, which is then handed over in one piece: the library takes a stream that fails for one that ends. */
async function collect(answer: IncomingMessage, url: string, limits: HttpLimits): Promise<Uint8Array> {
  const { answerBytes, silenceMs, workMs } = limits;
  // Not a list of pieces: of one byte each, they would take many times what came.
  let room = Buffer.allocUnsafe(64 * 1024);
  let bytes = 0;
  const beganMs = performance.now();
  // What belongs to the form of an answer breaks no silence here, as it does for the socket.
  const silence = setTimeout(() => answer.destroy(failed(url, `nothing came for ${silenceMs} ms`)), silenceMs);
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) {
      silence.refresh();
      if (bytes + piece.length > answerBytes) throw failed(url, `its answer is over ${answerBytes} bytes`);
      if (bytes + piece.length > room.length) {
        const more = Buffer.allocUnsafe(Math.min(2 * (bytes + piece.length), answerBytes));
        room.copy(more, 0, 0, bytes);
        room = more;
      }
      bytes += piece.copy(room, bytes);
      const slow = slowness({ waitedMs: performance.now() - beganMs, bytes }, workMs);
      if (slow !== undefined) throw failed(url, slow);
    }
  } catch (error) {
    if (error instanceof CofferError) throw error;
    throw failed(url, "its answer broke off", error);
  } finally {
    clearTimeout(silence);
    answer.destroy();
  }
  return room.subarray(0, bytes);
}

export function failed(url: string, what: string, cause?: unknown): CofferError {
  return new CofferError("REMOTE_FAILED", `${shownUrl(url)}: ${what}`, cause === undefined ? undefined : { cause });
}
