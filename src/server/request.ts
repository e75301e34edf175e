// SPDX-License-Identifier: Apache-2.0
/**
 * What is checked of every request before anything is looked up: one host, no body, few headers, a known method.
 * Layer: server. Source: RFC 9110 sections 7.2, 9 and 15, RFC 9112 sections 3.2 and 6. What node:http's strict parser
 * refuses by itself (repeated or contradicting lengths, folded headers, bare line ends) never gets here.
 */
import type { IncomingMessage } from "node:http";
import type { HostList } from "./hosts.ts";
import { type Refusal, refuse } from "./refusal.ts";
import { parseTarget, type Route } from "./target.ts";

/** Header fields of one request. */
export const MOST_HEADERS = 100;
/** Request line and header fields together, in bytes. */
export const HEADER_BYTES = 16 * 1024;

export function checkRequest(request: IncomingMessage, hosts: HostList): Route | Refusal {
  if (request.httpVersion !== "1.1" && request.httpVersion !== "1.0") return refuse("VERSION_REFUSED");
  if (request.rawHeaders.length > 2 * MOST_HEADERS) return refuse("HEADERS_TOO_LARGE");
  const [host, ...more] = fieldsOf(request, "host");
  if (host === undefined || host === "" || more.length > 0) return refuse("BAD_REQUEST", "host: expected exactly one");
  if (!hosts.allows(host)) return refuse("HOST_REFUSED");
  if (request.method !== "GET" && request.method !== "HEAD") return refuse("METHOD_NOT_ALLOWED");
  if (fieldsOf(request, "transfer-encoding").length > 0) {
    return refuse("BAD_REQUEST", "transfer-encoding: expected none");
  }
  if (hasBody(request)) return refuse("BODY_REFUSED");
  return parseTarget(request.url ?? "", hosts);
}

/** True if bytes of a body follow that nobody will read: the connection cannot be used again. */
export function hasBody(request: IncomingMessage): boolean {
  const announced = fieldsOf(request, "content-length").some((length) => !/^0+$/.test(length));
  return announced || fieldsOf(request, "transfer-encoding").length > 0;
}

/** Every value as it came: node:http drops repeated fields from its own table. */
function fieldsOf(request: IncomingMessage, name: string): string[] {
  const raw = request.rawHeaders;
  return raw.filter((_, at) => at % 2 === 1 && raw[at - 1]?.toLowerCase() === name);
}
