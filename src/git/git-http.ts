// SPDX-License-Identifier: Apache-2.0
/**
 * The HTTP that isomorphic-git speaks through: one request, no redirects, bounded in size and in silence. Layer: git.
 * Not here: what is asked (git-remote.ts).
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { GitHttpRequest, GitHttpResponse, HttpClient } from "isomorphic-git";
import { CofferError, systemCode } from "../base/errors.ts";

export interface HttpLimits {
  /** Of one answer. */
  readonly answerBytes: number;
  /** Without a byte from the other side. */
  readonly silenceMs: number;
}

/** The host without what may be a secret in front of it. */
export function shownUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

/** What a request asks for: a service, or what lies there. */
export function gitHttp(limits: HttpLimits): HttpClient {
  return { request: (request) => askGit(request, limits) };
}

/** An answer as the library takes it, and its whole body. */
export interface GitAnswer extends GitHttpResponse {
  readonly bytes: Uint8Array;
}

/** @throws CofferError REMOTE_FAILED */
export async function askGit(request: GitHttpRequest, limits: HttpLimits): Promise<GitAnswer> {
  const url = new URL(request.url);
  const body: Uint8Array[] = [];
  if (request.body !== undefined) for await (const piece of request.body) body.push(piece);
  const answer = await send(url, request, Buffer.concat(body), limits);
  const statusCode = Number(answer.statusCode);
  if (statusCode >= 300 && statusCode < 400) {
    answer.destroy();
    throw failed(request.url, `it answered ${statusCode}, which leads elsewhere; give the address that it leads to`);
  }
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as const);
  const bytes = await collect(answer, request.url, limits);
  return {
    ...{ url: request.url, method: request.method, statusCode, statusMessage: String(answer.statusMessage) },
    headers: Object.fromEntries(headers),
    ...{ bytes, body: oneOf(bytes) },
  };
}

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(bytes);
}

function send(url: URL, request: GitHttpRequest, body: Buffer, limits: HttpLimits): Promise<IncomingMessage> {
  const open = url.protocol === "https:" ? httpsRequest : httpRequest;
  const headers = { ...request.headers, "content-length": String(body.length) };
  return new Promise((resolve, reject) => {
    const asked = open(url, { method: request.method, headers, agent: false }, resolve);
    asked.on("error", (error) => {
      const why = systemCode(error) ?? error.message;
      reject(failed(request.url, `cannot be reached (${why})`, error));
    });
    asked.setTimeout(limits.silenceMs, () => asked.destroy(new Error(`nothing came for ${limits.silenceMs} ms`)));
    asked.end(body);
  });
}

/** The whole answer, which is then handed over in one piece: the library takes a stream that fails for one that ends. */
async function collect(answer: IncomingMessage, url: string, limits: HttpLimits): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > limits.answerBytes) throw failed(url, `its answer is over ${limits.answerBytes} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof CofferError) throw error;
    throw failed(url, "its answer broke off", error);
  } finally {
    answer.destroy();
  }
  return Buffer.concat(pieces);
}

export function failed(url: string, what: string, cause?: unknown): CofferError {
  return new CofferError("REMOTE_FAILED", `${shownUrl(url)}: ${what}`, cause === undefined ? undefined : { cause });
}
