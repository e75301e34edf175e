// SPDX-License-Identifier: Apache-2.0
/**
 * What this store has found out about a manifest's files, and how it puts that on record: the same for what `add` takes in
 * and for what arrives by import. Layer: repo. Format: docs/format.md, "Evidence". Not here: looking into one file (formats).
 */
import { type Digest, parseDigest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Label, type Name, parseLabel } from "../base/names.ts";
import { evidenceRef, type RefPath, signersRef } from "../base/ref-path.ts";
import { printable } from "../base/text.ts";
import { formatTime } from "../base/time.ts";
import { type ByteReader, type Finding, type Inspection, inspectTree } from "../formats/inspect.ts";
import { capFindings } from "../formats/tree.ts";
import type { StagedBlob } from "../objects/blob-store.ts";
import { type Evidence, makeEvidence } from "../objects/documents/evidence.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Files } from "../objects/files.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import { Dossier, readList, readPolicies } from "./dossier.ts";
import type { Store } from "./store.ts";
import { TOOL_VERSION } from "./version.ts";

/** Findings over all files that are told and put on record; evidence could hold ten times as many. */
const MAX_FINDINGS = 1000;

export const INSPECTION = parseLabel("inspection");
const TOOL = parseLabel("coffer");

/** One file of a model that was looked into by itself. */
export interface InspectedFile {
  readonly path: string;
  readonly reader: ByteReader;
  readonly inspection: Inspection;
}

/** Opens the staged file for each read: a folder of any number of files needs one handle. */
export function stagedReader(files: Files, { temp, sizeBytes }: StagedBlob): ByteReader {
  return {
    sizeBytes,
    async read(position, length) {
      const file = await files.open(temp);
      if (file === undefined) throw new CofferError("IO_ERROR", "a temporary file went away while it was in use");
      try {
        const buffer = new Uint8Array(length);
        const read = await file.read(buffer, position);
        if (read !== length)
          throw new CofferError("IO_ERROR", `expected ${length} bytes at ${position}, found ${read}`);
        return buffer;
      } finally {
        await file.close();
      }
    },
  };
}

/** The findings about each file, and those about all of them together. */
export async function findingsOf(files: readonly InspectedFile[]): Promise<readonly Finding[]> {
  const single = files.flatMap(({ path, inspection }) =>
    inspection.findings.map((finding) => ({ ...finding, path: finding.path ?? path })),
  );
  return capFindings([...single, ...(await inspectTree(files))], MAX_FINDINGS);
}

/** The same tool version has said the same about the same bytes, and its signature is still good. */
export async function isInspected(
  store: Store,
  head: HeadView,
  name: Name,
  manifest: Digest,
  result: Evidence["result"],
): Promise<boolean> {
  const dossier = new Dossier(store, head, await readPolicies(store, head), name);
  return (await dossier.evidence(manifest)).some(
    ({ value, signers }) =>
      value.kind === INSPECTION &&
      value.tool.version === TOOL_VERSION &&
      value.result === result &&
      signers.has(store.storeKey.keyId),
  );
}

export function inspectionEvidence(manifest: Digest, findings: readonly Finding[], nowS: number): Stored<Evidence> {
  const failed = findings.some((finding) => finding.level === "fail");
  return ownEvidence(INSPECTION, manifest, failed ? "fail" : "pass", findings, nowS);
}

/** Evidence that this store is to sign. */
export function ownEvidence(
  kind: Label,
  manifest: Digest,
  result: Evidence["result"],
  findings: readonly Finding[],
  nowS: number,
): Stored<Evidence> {
  return makeEvidence({
    manifest,
    kind,
    tool: { name: TOOL, version: TOOL_VERSION },
    result,
    findings: findings.map(({ code, level, path, text }) => ({
      code: parseLabel(code, "finding"),
      level,
      text: printable(text, LIMITS.textChars),
      ...(path === undefined ? {} : { path }),
    })),
    issuedAt: formatTime(nowS),
  });
}

export interface SignedByStore {
  readonly evidence: Stored<Evidence>;
  /** The store key's signature. */
  readonly armored: string;
}

/** Puts evidence of this store on record; a `fail` with its signer, so that the loss of the signature is noticed. */
export async function evidenceMoves(
  store: Store,
  head: HeadView,
  batch: WriteBatch,
  signed: readonly SignedByStore[],
): Promise<{ ref: RefPath; to: Digest }[]> {
  const moves: { ref: RefPath; to: Digest }[] = [];
  const lists = new Map<RefPath, Digest[]>();
  for (const { evidence, armored } of signed) {
    batch.addObject(evidence);
    batch.addSignature(evidence.id, store.storeKey.keyId, armored);
    const ref = evidenceRef(evidence.value.manifest);
    const before = lists.get(ref) ?? (await readList(store, await head.readRef(ref), "list of evidence"));
    lists.set(ref, [...before, evidence.id]);
    if (evidence.value.result === "fail") lists.set(signersRef(evidence.id), [parseDigest(store.storeKey.keyId)]);
  }
  for (const [ref, ids] of lists) {
    const list = makeList(ids);
    batch.addObject(list);
    moves.push({ ref, to: list.id });
  }
  return moves;
}
