// SPDX-License-Identifier: Apache-2.0
/**
 * Version 1 of a policy: from a person, from a team, or from a file that people wrote.
 * Layer: repo. Format: docs/format.md, "Policy".
 */
import type { CanonicalObject, CanonicalValue } from "../base/canonical-json.ts";
import { CofferError } from "../base/errors.ts";
import { type JsonObject, type JsonValue, readJson } from "../base/json-reader.ts";
import { LIMITS } from "../base/limits.ts";
import { type Label, parseLabel } from "../base/names.ts";
import type { Random } from "../base/ports.ts";
import { formatTime } from "../base/time.ts";
import type { PublicKey } from "../keys/public-key.ts";
import { makePolicy, type Policy } from "../objects/documents/policy.ts";
import type { Stored } from "../objects/documents/schema.ts";

export interface TeamMember {
  readonly name: Label;
  readonly keys: readonly PublicKey[];
}

/** Filled in here, not by the person: what makes a document version 1 of a new chain. */
function headMembers(random: Random, nowS: number): CanonicalObject {
  return { number: 1, root: Buffer.from(random(32)).toString("hex"), issuedAt: formatTime(nowS) };
}

/**
 * One rule for all names: everybody publishes, approves (with the threshold) and revokes (alone).
 * @throws CofferError POLICY_INVALID - no members, threshold over their number, a key that two share
 */
export function teamPolicy(
  team: readonly TeamMember[],
  threshold: number,
  separate: boolean,
  random: Random,
  nowS: number,
): Stored<Policy> {
  const names = team.map((member) => member.name).sort();
  const twice = names.find((name, index) => names[index + 1] === name);
  if (twice !== undefined) throw new CofferError("POLICY_INVALID", `team: ${twice} is named twice`);
  if (names.length === 0) throw new CofferError("POLICY_INVALID", "team: expected at least one person");
  const principals = Object.fromEntries(team.map((member) => [member.name, { keys: keyEntries(member.keys) }]));
  const approvers = { principals: names, threshold, ...(separate ? { notPublisher: true } : {}) };
  return makePolicy({
    ...headMembers(random, nowS),
    principals,
    rootRole: { principals: names, threshold },
    rules: [
      {
        names: "*/*@*",
        publishers: names,
        approvers,
        revokers: { principals: names, threshold: 1 },
        evidence: [{ kind: "inspection" }],
      },
    ],
  });
}

function keyEntries(keys: readonly PublicKey[]): CanonicalValue {
  const lines = [...new Set(keys.map((key) => key.text))].sort();
  return lines.map((key) => ({ key, status: "active" }));
}

/** Members whose arrays are sets: a person need not sort them. */
const SETS = new Set(["publishers", "principals", "formats", "signers"]);

/**
 * A policy that people wrote as JSON: `principals`, `rootRole` and `rules`; the rest is filled in if left out.
 * @throws CofferError JSON_INVALID, DOCUMENT_INVALID, POLICY_INVALID, UNSUPPORTED, LIMIT_EXCEEDED
 */
export function policyFromFile(bytes: Uint8Array, random: Random, nowS: number): Stored<Policy> {
  if (bytes.length > LIMITS.policyBytes) {
    throw new CofferError(
      "LIMIT_EXCEEDED",
      `policy: expected at most ${LIMITS.policyBytes} bytes, found ${bytes.length}`,
    );
  }
  const draft = readJson(bytes, { what: "policy" });
  if (!(draft instanceof Map)) throw new CofferError("DOCUMENT_INVALID", "policy: expected an object");
  const members = plain(draft, "policy") as CanonicalObject;
  return makePolicy({ ...headMembers(random, nowS), ...members });
}

function plain(value: JsonValue, at: string): CanonicalValue {
  if (value === null) throw new CofferError("DOCUMENT_INVALID", `${at}: expected no null`);
  if (typeof value !== "object") return value;
  if (isObject(value)) {
    const copy: Record<string, CanonicalValue> = Object.create(null);
    for (const [key, member] of value) {
      const inner = plain(member, `${at}.${key}`);
      copy[key] = SETS.has(key) && isTextList(inner) ? [...inner].sort() : inner;
      if (key === "keys" && Array.isArray(inner)) copy[key] = [...inner].sort(byKeyText);
    }
    return copy;
  }
  return value.map((member, index) => plain(member, `${at}[${index}]`));
}

function isObject(value: JsonObject | readonly JsonValue[]): value is JsonObject {
  return value instanceof Map;
}

function isTextList(value: CanonicalValue): value is readonly string[] {
  return Array.isArray(value) && value.every((member) => typeof member === "string");
}

function byKeyText(a: CanonicalValue, b: CanonicalValue): number {
  const text = (value: CanonicalValue): string =>
    typeof value === "object" && "key" in value && typeof value.key === "string" ? value.key : "";
  return text(a) < text(b) ? -1 : 1;
}

/** What a careful person would want to know about a policy before using it. */
export function policyWarnings(policy: Policy): string[] {
  const warnings: string[] = [];
  const { principals, threshold } = policy.rootRole;
  if (policy.principals.size === 1) warnings.push("one person holds everything: add a second, or nobody checks them");
  else if (threshold * 2 <= principals.length)
    warnings.push(`${threshold} of ${principals.length} may change the policy: half or fewer`);
  else if (threshold === principals.length) {
    warnings.push(`all ${threshold} must sign to change the policy: one lost key stops that for ever`);
  }
  return warnings;
}

/** @throws CofferError NAME_INVALID */
export function principalName(text: string): Label {
  return parseLabel(text, "principal");
}
