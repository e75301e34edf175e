// SPDX-License-Identifier: Apache-2.0
/** Refusal: its signer takes back, for ever, the approval of one statement. Layer: objects. Format: docs/format.md, "Refusal". */
import type { Digest } from "../../base/digest.ts";
import type { Time } from "../../base/time.ts";
import {
  digest,
  documentOf,
  makeDocument,
  readDocument,
  required,
  type Schema,
  type Stored,
  text,
  time,
} from "./schema.ts";

export interface Refusal {
  readonly statement: Digest;
  readonly reason: string;
  readonly issuedAt: Time;
}

const schema: Schema<Refusal> = documentOf("coffer/refusal", {
  statement: required(digest),
  reason: required(text),
  issuedAt: required(time),
});

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseRefusal(bytes: Uint8Array): Stored<Refusal> {
  return readDocument(schema, bytes, "refusal");
}

/** @throws as `parseRefusal` */
export function makeRefusal(refusal: Refusal): Stored<Refusal> {
  return makeDocument(schema, { type: "coffer/refusal", version: 1, ...refusal }, "refusal");
}
