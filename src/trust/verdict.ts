// SPDX-License-Identifier: Apache-2.0
/** The answer of `evaluate`: not a boolean but a statement of what is established and what is not. Layer: trust. */
import type { Digest } from "../base/digest.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { Label, NameText } from "../base/names.ts";
import type { Time } from "../base/time.ts";

/** Why not; the first of a verdict's reasons is its code. */
export interface Reason {
  readonly code: ErrorCode;
  readonly text: string;
}

/** One thing that is, or is not, established. `id` is stable; `text` is for people. */
export interface Fact {
  readonly id: string;
  readonly text: string;
}

export interface Verdict {
  readonly trusted: boolean;
  readonly name: NameText;
  /** Empty exactly when trusted. */
  readonly reasons: readonly Reason[];
  /** True if a trusted statement of this name ever stood here: its absence must not look like "unknown". */
  readonly everTrusted: boolean;
  /** State of the statement that decides; "none" if the name has no chain, "several" if heads disagree. */
  readonly standing: "trusted" | "revoked" | "deleted" | "several" | "none";
  /** The head that decides, where there is one. */
  readonly statement?: Digest;
  readonly manifest?: Digest;
  readonly policy: { readonly number: number; readonly id: Digest };
  readonly publisher?: Label;
  readonly approvers: readonly Label[];
  readonly threshold?: number;
  readonly established: readonly Fact[];
  readonly notEstablished: readonly Fact[];
  /** What people should see though it does not decide. */
  readonly findings: readonly Fact[];
  /** When the answer can change by time alone. */
  readonly validUntil?: Time;
}
