// SPDX-License-Identifier: Apache-2.0
/**
 * Answers that say no: the closed table of what the edge itself refuses, and how faults of a store become answers.
 * Layer: server. docs/http.md mirrors REFUSALS; test/server/docs.test.ts compares them. Not here: who may have what.
 */
import { type CofferError, type ErrorCode, isCofferError } from "../base/errors.ts";

interface RefusalEntry {
  readonly status: number;
  readonly text: string;
}

const refusalEntry = (status: number, text: string): RefusalEntry => ({ status, text });

/** What is refused before any store is asked, and the one answer for all that is not known here. */
export const REFUSALS = {
  BAD_REQUEST: refusalEntry(400, "the request is not one that this server reads"),
  NOT_FOUND: refusalEntry(404, "nothing trusted is known here by that address"),
  METHOD_NOT_ALLOWED: refusalEntry(405, "this server is read-only: use GET or HEAD"),
  REQUEST_TIMEOUT: refusalEntry(408, "the request took too long to arrive"),
  PRECONDITION_FAILED: refusalEntry(412, "the bytes are not those that If-Match names"),
  BODY_REFUSED: refusalEntry(413, "this server is read-only: send no body"),
  TARGET_TOO_LONG: refusalEntry(414, "the address is too long"),
  RANGE_UNSATISFIABLE: refusalEntry(416, "the range begins after the last byte"),
  HOST_REFUSED: refusalEntry(421, "this server does not answer for that host"),
  HEADERS_TOO_LARGE: refusalEntry(431, "the headers are too many or too long"),
  BUSY: refusalEntry(503, "as many clients as this server takes are being served: try again"),
  PREPARING: refusalEntry(503, "what is trusted here is being gone through: try again"),
  VERSION_REFUSED: refusalEntry(505, "expected HTTP/1.1 or HTTP/1.0"),
} as const satisfies Record<string, RefusalEntry>;

export type RefusalCode = keyof typeof REFUSALS;

export interface Refusal {
  readonly kind: "refusal";
  readonly status: number;
  readonly code: RefusalCode | ErrorCode;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** @param message - in place of the table's text, where more can be said */
export function refuse(code: RefusalCode, message?: string, headers: Readonly<Record<string, string>> = {}): Refusal {
  const { status, text } = REFUSALS[code];
  const allow = status === 405 ? { Allow: "GET, HEAD" } : {};
  return { kind: "refusal", status, code, message: message ?? text, headers: { ...allow, ...headers } };
}

/** A client may be told to come back after this long. */
const RETRY_AFTER_S = 2;

/** All places are taken; unlike other answers of 503, nothing is wrong. */
export function refuseBusy(): Refusal {
  return refuse("BUSY", undefined, { "Retry-After": String(RETRY_AFTER_S) });
}

/** Going through a store's names takes longer than a client, or a proxy before it, waits for an answer. */
export const PREPARED_AFTER_S = 5;

/** Of a request for the index, and of its refusal: the entry of the log that is new enough for whoever asks. */
export const SINCE_FIELD = "Coffer-Since";

/** The work goes on; unlike other answers of 503, nothing is wrong. @param since - who sends it back may have what is made now */
export function refusePreparing(since: number): Refusal {
  return refuse("PREPARING", undefined, { "Retry-After": String(PREPARED_AFTER_S), [SINCE_FIELD]: String(since) });
}

/**
 * 503 for what a store's damage, its disk or this machine's memory of it keep from being answered; 500 for a bug, of
 * which only the operator is told more.
 */
export function refuseFault(error: unknown): Refusal {
  if (isCofferError(error) && error.code !== "INTERNAL") return unavailable(error);
  return { kind: "refusal", status: 500, code: "INTERNAL", message: "a fault of the server itself", headers: {} };
}

function unavailable({ code, message }: CofferError): Refusal {
  return { kind: "refusal", status: 503, code, message, headers: {} };
}

/** A name that was trusted once and is not now. Damage is no reason to forget it: the store may be mended. */
export function refuseGone(code: ErrorCode, message: string): Refusal {
  return { kind: "refusal", status: code === "CORRUPT" ? 503 : 410, code, message, headers: {} };
}

/** The one form of every refusal's body. */
export function refusalBody({ code, message }: Refusal): string {
  return `${JSON.stringify({ error: { code, message } })}\n`;
}
