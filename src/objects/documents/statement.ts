// SPDX-License-Identifier: Apache-2.0
/**
 * Statement: this ref holds this manifest, from then to then, under this policy version, after those statements.
 * Layer: objects. Format: docs/format.md, "Statement". Holds invariant 3.
 */
import type { Digest } from "../../base/digest.ts";
import { LIMITS } from "../../base/limits.ts";
import type { Name } from "../../base/names.ts";
import { parseRefPath, type RefPath } from "../../base/ref-path.ts";
import { type Time, timeSeconds } from "../../base/time.ts";
import {
  digest,
  documentOf,
  integer,
  makeDocument,
  optional,
  readDocument,
  record,
  refPath,
  refuseAt,
  required,
  type Schema,
  type Stored,
  setOf,
  text,
  time,
} from "./schema.ts";

export type State = "trusted" | "revoked" | "deleted";

/** What a revocation takes out of use beyond its own name; sorted digests. */
export interface Revokes {
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Digest[];
  readonly statements: readonly Digest[];
}

/** Of a statement without `revokes`. */
export const NOTHING_REVOKED: Revokes = { manifests: [], blobs: [], statements: [] };

/** The members as they are signed. */
export interface StatementBody {
  readonly root: Digest;
  readonly ref: RefPath;
  readonly manifest: Digest;
  /** Digest of the policy version that the statement is made under. */
  readonly policy: Digest;
  /** 1 + the largest of the previous statements'; 1 for the first. */
  readonly sequence: number;
  /** The heads of the name that were known when it was made, 0 to 8. */
  readonly previous: readonly Digest[];
  readonly issuedAt: Time;
  readonly expiresAt?: Time;
  /** The evidence that the approvers saw: a record, not what is judged. */
  readonly evidence: readonly Digest[];
  readonly reason?: string;
  readonly revokes?: Revokes;
}

/** A statement with what its `ref` says, parsed. */
export interface Statement extends StatementBody {
  readonly state: State;
  readonly name: Name;
}

const LISTED = LIMITS.manifestFiles;
const shape = documentOf("coffer/statement", {
  root: required(digest),
  ref: required(refPath),
  manifest: required(digest),
  policy: required(digest),
  sequence: required(integer(1)),
  previous: required(setOf(digest, LIMITS.previous)),
  issuedAt: required(time),
  expiresAt: optional(time),
  evidence: required(setOf(digest, LIMITS.evidencePerStatement)),
  reason: optional(text),
  revokes: optional(
    record({
      manifests: required(setOf(digest, LISTED)),
      blobs: required(setOf(digest, LISTED)),
      statements: required(setOf(digest, LISTED)),
    }),
  ),
});

const schema: Schema<Statement> = (value, at) => {
  const body = shape(value, at);
  const ref = parseRefPath(body.ref);
  if (ref.family !== "trusted" && ref.family !== "revoked" && ref.family !== "deleted") {
    return refuseAt(`${at}.ref`, "a ref under refs/trusted, refs/revoked or refs/deleted");
  }
  if (body.previous.length === 0 && body.sequence !== 1) refuseAt(`${at}.sequence`, "1 for a first statement");
  if (body.previous.length > 0 && body.sequence === 1)
    refuseAt(`${at}.sequence`, "more than 1 after another statement");
  if (ref.family === "deleted" && body.previous.length === 0)
    refuseAt(`${at}.previous`, "a revoked statement to follow");
  if (ref.family !== "trusted" && body.expiresAt !== undefined) refuseAt(`${at}.expiresAt`, "no end on a denial");
  if (ref.family !== "revoked" && body.revokes !== undefined) refuseAt(`${at}.revokes`, "none, but in a revocation");
  if (body.expiresAt !== undefined && timeSeconds(body.expiresAt) <= timeSeconds(body.issuedAt)) {
    refuseAt(`${at}.expiresAt`, "a time after issuedAt");
  }
  return { ...body, state: ref.family, name: ref.name };
};

/** @throws CofferError JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED, LIMIT_EXCEEDED */
export function parseStatement(bytes: Uint8Array): Stored<Statement> {
  return readDocument(schema, bytes, "statement");
}

/** Writes the one encoding; sorts the sets. @throws as `parseStatement` */
export function makeStatement(body: StatementBody): Stored<Statement> {
  const sorted = {
    ...body,
    previous: [...body.previous].sort(),
    evidence: [...body.evidence].sort(),
    revokes: body.revokes && {
      manifests: [...body.revokes.manifests].sort(),
      blobs: [...body.revokes.blobs].sort(),
      statements: [...body.revokes.statements].sort(),
    },
  };
  return makeDocument(schema, { type: "coffer/statement", version: 1, ...sorted }, "statement");
}
