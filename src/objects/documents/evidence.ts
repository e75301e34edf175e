// SPDX-License-Identifier: Apache-2.0
/** Evidence: what a tool found out about a manifest. Layer: objects. Format: docs/format.md, "Evidence". */
import type { Digest } from "../../base/digest.ts";
import type { Label } from "../../base/names.ts";
import type { Time } from "../../base/time.ts";
import {
  arrayOf,
  digest,
  documentOf,
  label,
  makeDocument,
  oneOf,
  optional,
  readDocument,
  record,
  required,
  type Schema,
  type Stored,
  text,
  time,
} from "./schema.ts";

/** Codes of what a manifest says wrongly of a blob, once its store has hashed that: another size, another chunk list. */
export const SIZE_DIFFERS = "size-differs";
export const CHUNKS_DIFFER = "chunks-differ";

export interface EvidenceFinding {
  readonly code: Label;
  readonly level: "info" | "warn" | "fail";
  /** The file in the manifest that it concerns. */
  readonly path?: string;
  readonly text: string;
}

export interface Evidence {
  readonly manifest: Digest;
  /** `inspection` is Coffer's own. */
  readonly kind: Label;
  readonly tool: { readonly name: Label; readonly version: string; readonly digest?: Digest };
  readonly result: "pass" | "fail" | "info";
  readonly findings: readonly EvidenceFinding[];
  /** Id of a longer report kept as an object. */
  readonly report?: Digest;
  readonly issuedAt: Time;
}

const schema: Schema<Evidence> = documentOf("coffer/evidence", {
  manifest: required(digest),
  kind: required(label),
  tool: required(record({ name: required(label), version: required(text), digest: optional(digest) })),
  result: required(oneOf("pass", "fail", "info")),
  findings: required(
    arrayOf(
      record({
        code: required(label),
        level: required(oneOf("info", "warn", "fail")),
        path: optional(text),
        text: required(text),
      }),
      10_000,
    ),
  ),
  report: optional(digest),
  issuedAt: required(time),
});

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseEvidence(bytes: Uint8Array): Stored<Evidence> {
  return readDocument(schema, bytes, "evidence");
}

/** @throws as `parseEvidence` */
export function makeEvidence(evidence: Evidence): Stored<Evidence> {
  const findings = evidence.findings.map((finding) => ({ ...finding }));
  return makeDocument(schema, { type: "coffer/evidence", version: 1, ...evidence, findings }, "evidence");
}
