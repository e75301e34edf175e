// SPDX-License-Identifier: Apache-2.0
/**
 * What the commands that ask print with --json: show, log, resolve, path, checkout, gc, doctor. `resolve` and `path` load this at
 * every start: it imports little. docs/schemas/ holds the shapes. Layer: cli.
 */
import type { Diagnosis } from "../repo/doctor.ts";
import type { GcReport } from "../repo/gc.ts";
import type { LogRecord } from "../repo/history.ts";
import type { CheckedOut, VerifiedPath } from "../repo/materialise.ts";
import type { HeadView } from "../repo/serving.ts";
import type { Shown } from "../repo/show.ts";
import type { FoundStored, HeldBy } from "../repo/stored.ts";
import type { Verdict } from "../repo/verdict.ts";
import { asOfJson } from "./at.ts";
import { verdictJson } from "./format.ts";
import { candidateJson } from "./json-acts.ts";

/** An answer about the past has other members: no script takes it for one about now. */
export function verdictMember(verdict: Verdict, view: HeadView | undefined) {
  if (view === undefined) return { verdict: verdictJson(verdict) };
  const { trusted, ...past } = verdictJson(verdict);
  return { ...asOfJson(view), past: { wasTrusted: trusted, ...past } };
}

export function resolvedJson(verdict: Verdict, manifest: CheckedOut["manifest"] | undefined, view?: HeadView) {
  const found = manifest === undefined ? {} : { manifest: { id: manifest.id, files: manifest.value.files } };
  return { ...verdictMember(verdict, view), ...found };
}

export function shownJson({ name, state, verdict, refs, manifest, evidence, candidate }: Shown, view?: HeadView) {
  return {
    ...{ name: name.text, state, ...verdictMember(verdict, view), refs },
    ...(manifest === undefined ? {} : { manifest: { id: manifest.id, ...manifest.value } }),
    evidence: evidence.map(({ id, value }) => ({ id, ...value })),
    ...(candidate === undefined ? {} : { candidate: candidateJson(candidate) }),
  };
}

export function storedJson({ id, kind, sizeBytes }: FoundStored, holders: readonly HeldBy[]) {
  const heldBy = holders.map(({ name, families, path }) => ({ name: name.text, refs: families, path }));
  return { id, kind, size: sizeBytes, heldBy };
}

/** @param one - with every ref that it moved, not only how many */
export function recordJson({ moves, ...record }: LogRecord, one: boolean) {
  return one ? { ...record, moves } : { ...record, moves: moves.length };
}

export function pathJson({ path, verdict, mended, unkept }: VerifiedPath) {
  return {
    ...{ name: verdict.name, manifest: verdict.manifest, path, mended },
    ...(unkept === undefined ? {} : { unkept: { code: unkept.code, text: unkept.message } }),
  };
}

export function checkedOutJson({ folder, verdict, manifest }: CheckedOut) {
  return { name: verdict.name, folder, manifest: { id: manifest.id, files: manifest.value.files } };
}

export function collectedJson(report: GcReport, dryRun: boolean) {
  const { moved, removed, waiting, young, staging, stagingKept, restored, foreign, strange } = report;
  return { dryRun, moved, removed, waiting, young, staging, stagingKept, restored, foreign, strange };
}

/** @param store - whether there was one to look at */
export function diagnosedJson(checks: readonly Diagnosis[], store: boolean, exit: number) {
  return { store, checks, exit };
}
