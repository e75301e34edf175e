// SPDX-License-Identifier: Apache-2.0
/** What an import tells: one line for each name, and what was not taken. Layer: repo. */
import type { Digest } from "../../base/digest.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { NameText } from "../../base/names.ts";
import type { Refused } from "./arrivals.ts";

export type Outcome =
  /** What came of it moved something here. */
  | "adopted"
  /** All of it was here. */
  | "already"
  /** Its bytes wait in quarantine. */
  | "quarantined"
  /** A candidate came that collects approvals here too. */
  | "proposed"
  | "refused"
  /** Several promotions stand, and are for different manifests. */
  | "diverged"
  /** Its newest version is known, and the bytes of it are not here; no older one takes its place. */
  | "superseded";

export interface ImportedName {
  readonly name: NameText;
  readonly outcome: Outcome;
  /** What stands under it now, as in a verdict; "none" if nothing does. */
  readonly standing: "trusted" | "revoked" | "deleted" | "several" | "none";
  readonly manifest?: Digest;
  /** Why it was refused, or cannot be used though it was taken over. */
  readonly code?: ErrorCode;
  readonly text?: string;
}

/** A blob that lay here with other bytes than those of its name. */
export interface DamagedBlob {
  readonly blob: Digest;
  /** As a manifest calls it; left out where none that came names it. */
  readonly path?: string;
}

export interface ImportReport {
  readonly store: Digest;
  readonly log: { readonly number: number; readonly head: Digest };
  /** True if both stores have the same policy root, so that statements count on their own merits. */
  readonly sameRoot: boolean;
  /** Sorted by name. */
  readonly names: readonly ImportedName[];
  /** Objects that were not stored, and names that were refused, each with why. */
  readonly refused: readonly Refused[];
  /** Worth knowing: a candidate that was left alone, a revocation at the sender that binds nobody here. */
  readonly notes: readonly string[];
  /** Revocations, deletions and refusals that came and count here. */
  readonly denials: number;
  readonly blobs: { readonly count: number; readonly bytes: number };
  /** Damaged blobs that were replaced by what came; they are not among the new ones. */
  readonly mended: readonly DamagedBlob[];
  /** Damaged blobs that did not come, so that they are damaged still. */
  readonly damaged: readonly DamagedBlob[];
  /** Numbers of the log entries that it made; none if nothing moved. */
  readonly entries: readonly number[];
}
