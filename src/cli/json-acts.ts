// SPDX-License-Identifier: Apache-2.0
/**
 * What the commands that change what stands print with --json: add, propose, approve, promote, revoke, delete, reject. One
 * function for each document; docs/schemas/ holds the shapes. Layer: cli.
 */
import type { Name } from "../base/names.ts";
import type { Added } from "../repo/add.ts";
import type { Candidate } from "../repo/candidates.ts";
import type { Deleted, DeletePlan, RemovedBytes } from "../repo/delete.ts";
import type { Promoted } from "../repo/promote.ts";
import type { Rejected } from "../repo/reject.ts";
import type { Revoked, RevokePlan } from "../repo/revoke.ts";
import type { Verdict } from "../repo/verdict.ts";
import { findingJson, reasonJson } from "./format.ts";
import type { WrittenForSigning } from "./signing.ts";

type Reason = Verdict["reasons"][number];

export function addedJson(added: Added, leftOut: readonly string[], blocked: Reason | undefined) {
  const { name, state, manifest, moved, files, findings } = added;
  return {
    ...{ name: name.text, state, manifest, moved, files, leftOut },
    findings: findings.map(findingJson),
    ...(blocked === undefined ? {} : { blocked: reasonJson(blocked) }),
  };
}

/** A candidate as every document has it. */
export function candidateJson({ statement, manifest, verdict, void: isVoid }: Candidate) {
  return {
    ...{ statement: statement.id, manifest: manifest.id, void: isVoid },
    ready: verdict.trusted && !isVoid,
    reasons: verdict.reasons.map(reasonJson),
  };
}

export function proposedJson(candidate: Candidate) {
  return { name: candidate.name.text, candidate: candidateJson(candidate) };
}

/** @param approvedBy - who has signed in this run */
export function approvedJson(approvedBy: readonly string[], candidate: Candidate) {
  return { name: candidate.name.text, approvedBy, candidate: candidateJson(candidate) };
}

/** `--out` of approve and reject. */
export function writtenJson(name: Name, { document, summary, namespace }: WrittenForSigning) {
  return { name: name.text, written: { document, summary, namespace } };
}

export function promotedJson(promoted: readonly Promoted[], waiting: readonly (readonly [Name, Reason])[]) {
  return {
    promoted: promoted.map(({ name, statement, manifest, verdict, entry }) => {
      const { publisher, approvers } = verdict;
      return { ...{ name: name.text, statement, manifest, entry }, publisher, approvers };
    }),
    waiting: waiting.map(([name, reason]) => ({ name: name.text, ...reasonJson(reason) })),
  };
}

function revokePlanJson({ name, revokes, falls, kept, threshold, revokers }: RevokePlan) {
  return {
    ...{ name: name.text, manifests: revokes.manifests, blobs: revokes.blobs },
    falls: falls.map(({ text }) => text),
    kept: kept.map(({ blob, heldBy }) => ({ blob, heldBy: heldBy.text })),
    ...{ threshold, revokers },
  };
}

/** Before anything is signed: `planned` of a dry run, `already` where nothing is left to do. */
export function plannedRevokeJson(plan: RevokePlan) {
  const statement = plan.already ?? plan.waiting?.id;
  return {
    outcome: plan.already === undefined ? "planned" : "already",
    ...revokePlanJson(plan),
    ...(statement === undefined ? {} : { statement }),
  };
}

export function revokedJson(done: Revoked) {
  return {
    outcome: done.entry === undefined ? "waiting" : "revoked",
    ...revokePlanJson(done),
    ...signedJson(done),
  };
}

/** Before anything is signed, as `plannedRevokeJson`. @param removed - of what was deleted before */
export function plannedDeleteJson(plan: DeletePlan, removed?: RemovedBytes) {
  const { name, manifests, blobs, threshold, revokers, already, waiting } = plan;
  const statement = already ?? waiting?.id;
  return {
    outcome: already === undefined ? "planned" : "already",
    ...{ name: name.text, manifests, blobs, threshold, revokers },
    ...(statement === undefined ? {} : { statement }),
    ...(removed === undefined ? {} : { removed: removedJson(removed) }),
  };
}

interface DeleteResult {
  readonly plan: DeletePlan;
  /** Where it was revoked in the same run, or others must sign that first: then nothing was deleted. */
  readonly revoked?: Revoked | undefined;
  readonly deleted?: Deleted;
  readonly removed?: RemovedBytes;
}

export function deletedJson({ plan, revoked, deleted, removed }: DeleteResult) {
  return {
    ...plannedDeleteJson(deleted ?? plan, removed),
    outcome: deleteOutcome(deleted),
    ...(revoked === undefined ? {} : { revocation: signedJson(revoked) }),
    ...(deleted === undefined ? {} : signedJson(deleted)),
  };
}

function deleteOutcome(deleted: Deleted | undefined): string {
  if (deleted === undefined) return "revocation-waiting";
  if (deleted.entry !== undefined) return "deleted";
  return deleted.already === undefined ? "waiting" : "already";
}

function signedJson({ statement, signed, entry }: Revoked | Deleted) {
  return { statement, signed, ...(entry === undefined ? {} : { entry }) };
}

function removedJson({ blobs, bytes, held, left }: RemovedBytes) {
  return { blobs, bytes, held, left };
}

/** One for each refusal that was signed; without `entry` that person had refused it before. */
export function rejectedJson(name: Name, rejected: readonly Rejected[]) {
  return {
    name: name.text,
    refusals: rejected.map(({ refusal, refuser, statement, manifest, state, stopped, entry }) => ({
      ...{ refusal, refuser, statement: statement.id, manifest: manifest.id, state, stopped },
      ...(entry === undefined ? {} : { entry }),
    })),
  };
}
