// SPDX-License-Identifier: Apache-2.0
/** Time: from when to when a statement holds, and how old it may grow. Layer: trust. */
import { LIMITS } from "../base/limits.ts";
import { formatTime, parseTime, type Time, timeSeconds } from "../base/time.ts";
import type { Rule } from "../objects/documents/policy.ts";
import type { Statement } from "../objects/documents/statement.ts";
import type { Fact, Reason } from "./verdict.ts";

export const DAY_S = 24 * 3600;

/** What this machine takes for the time, in seconds: a statement must not be early by `nowS` nor late by `laterS`. */
export interface Clock {
  /** Local time. */
  readonly nowS: number;
  /** The later of local time and clock floor. */
  readonly laterS: number;
}

export interface Validity {
  readonly reasons: readonly Reason[];
  readonly findings: readonly Fact[];
  readonly ageS: number;
  /** Local times, in seconds, at which this answer may still change. */
  readonly turns: readonly number[];
}

/** Issued no more than the allowed skew ago in the future, not ended, not too old for its rule. */
export function judgeTime(rule: Rule, statement: Statement, { nowS, laterS }: Clock): Validity {
  const issuedS = timeSeconds(statement.issuedAt);
  const startS = issuedS - LIMITS.clockSkewS;
  const endS = statement.expiresAt === undefined ? Number.POSITIVE_INFINITY : timeSeconds(statement.expiresAt);
  const ageS = Math.max(0, laterS - issuedS);
  const denyDays = rule.freshness?.denyDays ?? LIMITS.defaultDenyDays;
  const staleS = issuedS + denyDays * DAY_S;
  const warnS = rule.freshness === undefined ? Number.POSITIVE_INFINITY : issuedS + rule.freshness.warnDays * DAY_S;
  const reasons: Reason[] = [];
  if (nowS < startS) {
    const text = `issued at ${statement.issuedAt}, ${issuedS - nowS} s ahead of this machine's clock`;
    reasons.push({ code: "NOT_YET_VALID", text });
  }
  if (laterS >= endS) reasons.push({ code: "EXPIRED", text: `ended at ${statement.expiresAt}` });
  if (laterS >= staleS) {
    reasons.push({ code: "STALE", text: `issued ${inDays(ageS)} ago; the limit is ${denyDays} days` });
  }
  const findings =
    laterS >= warnS ? [{ id: "old", text: `issued ${inDays(ageS)} ago; denied after ${denyDays} days` }] : [];
  // The start is held against local time alone: with a floor ahead of it, it may still lie in the future.
  const turns = [endS, staleS, warnS].filter((at) => at > laterS);
  // It lies before all of these.
  return { reasons, findings, ageS, turns: nowS < startS ? [startS] : turns };
}

export function inDays(seconds: number): string {
  const count = Math.floor(seconds / DAY_S);
  return count === 1 ? "1 day" : `${count} days`;
}

const FIRST: Time = parseTime("2020-01-01T00:00:00Z");
const LAST: Time = parseTime("2199-12-31T23:59:59Z");

/**
 * A time to be shown, drawn to the nearest end of the range that documents have: a clock that has lost its date, or an
 * age limit that reaches past 2199, must end in an answer and not in an error.
 * @param seconds - since 1970
 */
export function nearestTime(seconds: number): Time {
  if (seconds < timeSeconds(FIRST)) return FIRST;
  return seconds > timeSeconds(LAST) ? LAST : formatTime(Math.floor(seconds));
}
