// SPDX-License-Identifier: Apache-2.0
/**
 * What a stored document names: how one goes from a log entry to everything that it reaches. Layer: repo.
 * Each is read through its closed schema, so a document that a newer version wrote ends the walk as UNSUPPORTED instead
 * of hiding what it names. Not here: walking (reach.ts).
 */
import type { Digest } from "../base/digest.ts";
import { type ParsedRef, parseRefPath } from "../base/ref-path.ts";
import { parseEvidence } from "../objects/documents/evidence.ts";
import { parseList } from "../objects/documents/list.ts";
import { parseManifest } from "../objects/documents/manifest.ts";
import { parsePolicy } from "../objects/documents/policy.ts";
import { parseRefusal } from "../objects/documents/refusal.ts";
import { parseStatement } from "../objects/documents/statement.ts";
import { parseRefNode } from "../refs/ref-node.ts";

/** `opaque`: what it names, if anything, is no object. `early…`: of what it names, not all need be here. */
type Kind =
  | "node"
  | "policy"
  | "manifest"
  | "statement"
  | "early-statement"
  | "evidence"
  | "refusal"
  | "policies"
  | "statements"
  | "early-statements"
  | "evidences"
  | "refusals"
  | "kept"
  | "opaque";

export interface Link {
  readonly id: Digest;
  readonly kind: Kind;
  /** Whether its absence is damage. */
  readonly must: boolean;
}

const KIND_OF_REF: Readonly<Record<ParsedRef["family"], Kind>> = {
  policy: "policies",
  acquired: "manifest",
  quarantined: "manifest",
  proposed: "statement",
  revoking: "statement",
  deleting: "statement",
  trusted: "statement",
  revoked: "early-statement", // a denial counts before what it follows is here
  deleted: "early-statement",
  chain: "statements",
  waiting: "early-statements",
  "revoked-bytes": "early-statements",
  refused: "refusals",
  evidence: "evidences",
  signers: "opaque", // a list of key ids
  remotes: "kept",
};

function kindOf(ref: ParsedRef): Kind {
  // What another store's index names may be anywhere.
  return ref.family === "remotes" && ref.kind === "index" ? "opaque" : KIND_OF_REF[ref.family];
}

const members =
  (kind: Kind) =>
  (bytes: Uint8Array): Link[] =>
    parseList(bytes).value.ids.map((id) => ({ id, kind, must: true }));

const may = (ids: readonly (Digest | undefined)[], kind: Kind): Link[] =>
  ids.flatMap((id) => (id === undefined ? [] : [{ id, kind, must: false }]));

function linksOfNode(bytes: Uint8Array): Link[] {
  const node = parseRefNode(bytes);
  if (node.kind === "inner") return [...node.children.values()].map((id) => ({ id, kind: "node", must: true }));
  return node.entries.map(({ ref, id }) => ({ id, kind: kindOf(parseRefPath(ref)), must: true }));
}

function linksOfStatement(bytes: Uint8Array, must: boolean): Link[] {
  const { manifest, previous, policy, evidence, revokes, state } = parseStatement(bytes).value;
  return [
    // A denial may have come without the bytes that it denies, from a store that has them.
    { id: manifest, kind: "manifest", must: must && state === "trusted" },
    ...previous.map((id): Link => ({ id, kind: must ? "statement" : "early-statement", must })),
    ...may([policy], "policy"),
    ...may(evidence, "evidence"),
    ...may(revokes?.manifests ?? [], "manifest"),
    ...may(revokes?.statements ?? [], "early-statement"),
  ];
}

function linksOfManifest(bytes: Uint8Array): Link[] {
  const { files, lineage } = parseManifest(bytes).value;
  return [
    ...may(
      files.map((file) => file.chunks),
      "opaque",
    ),
    ...may(
      (lineage ?? []).map((entry) => entry.manifest),
      "manifest",
    ),
  ];
}

function linksOfEvidence(bytes: Uint8Array): Link[] {
  const { manifest, report } = parseEvidence(bytes).value;
  return [...may([manifest], "manifest"), ...may([report], "opaque")];
}

/** It is read all the same: a later version may name the one before. */
function linksOfPolicy(bytes: Uint8Array): Link[] {
  parsePolicy(bytes);
  return [];
}

/** What the document of a kind names. @throws CofferError as its parser: JSON_INVALID, DOCUMENT_INVALID, UNSUPPORTED */
export const LINKS: Readonly<Record<Exclude<Kind, "opaque">, (bytes: Uint8Array) => readonly Link[]>> = {
  node: linksOfNode,
  policy: linksOfPolicy,
  manifest: linksOfManifest,
  statement: (bytes) => linksOfStatement(bytes, true),
  "early-statement": (bytes) => linksOfStatement(bytes, false),
  evidence: linksOfEvidence,
  refusal: (bytes) => may([parseRefusal(bytes).value.statement], "early-statement"),
  policies: members("policy"),
  statements: members("statement"),
  "early-statements": members("early-statement"),
  evidences: members("evidence"),
  refusals: members("refusal"),
  kept: members("opaque"),
};
