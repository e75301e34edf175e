// SPDX-License-Identifier: Apache-2.0
/**
 * How answers leave: the headers that all of them have, and JSON bodies. Layer: server.
 * Text from outside goes into bodies through JSON.stringify only, and into no header.
 */
import type { ServerResponse } from "node:http";
import { type Refusal, refusalBody } from "./refusal.ts";

/**
 * Nothing here is a page, and nothing may be shown in one. No answer may be kept: all of them can be taken back by the
 * next log entry.
 */
export const COMMON_HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
} as const;

const JSON_TYPE = "application/json";

/** A body that was decided on; members in the order in which they are to be written. */
export interface JsonAnswer {
  readonly kind: "json";
  readonly body: object;
}

/** Ends `response`; for HEAD, node:http leaves the body out and keeps its length. */
export function sendJson(response: ServerResponse, { body }: JsonAnswer): void {
  sendText(response, 200, `${JSON.stringify(body)}\n`, {});
}

export function sendRefusal(response: ServerResponse, refusal: Refusal): void {
  sendText(response, refusal.status, refusalBody(refusal), refusal.headers);
}

function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>>,
): void {
  const bytes = Buffer.from(text);
  response.writeHead(status, {
    ...COMMON_HEADERS,
    ...headers,
    "Content-Type": JSON_TYPE,
    "Content-Length": bytes.length,
  });
  response.end(bytes);
}

/** A whole answer as bytes, for a connection on which node:http could read no request. The connection ends with it. */
export function rawRefusal(refusal: Refusal, reason: string): string {
  const body = refusalBody(refusal);
  const headers = {
    ...COMMON_HEADERS,
    ...refusal.headers,
    "Content-Type": JSON_TYPE,
    "Content-Length": Buffer.byteLength(body),
    Connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${refusal.status} ${reason}\r\n${lines.join("")}\r\n${body}`;
}
