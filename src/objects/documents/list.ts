// SPDX-License-Identifier: Apache-2.0
/** List: a sorted set of ids, unsigned; what refs with several values hold. Layer: objects. Format: docs/format.md, "List". */
import type { Digest } from "../../base/digest.ts";
import { digest, documentOf, makeDocument, readDocument, required, type Schema, type Stored, setOf } from "./schema.ts";

export interface IdList {
  readonly ids: readonly Digest[];
}

const schema: Schema<IdList> = documentOf("coffer/list", { ids: required(setOf(digest, 1_000_000)) });

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseList(bytes: Uint8Array): Stored<IdList> {
  return readDocument(schema, bytes, "list");
}

/** Sorts, drops repeats and writes the one encoding. */
export function makeList(ids: Iterable<Digest>): Stored<IdList> {
  return makeDocument(schema, { type: "coffer/list", version: 1, ids: [...new Set(ids)].sort() }, "list");
}
