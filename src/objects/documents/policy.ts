// SPDX-License-Identifier: Apache-2.0
/**
 * Policy: who may do what to which names, with thresholds. This version reads a chain of one: number 1, active keys.
 * Layer: objects. Format: docs/format.md, "Policy". What a policy decides: trust/.
 */
import type { Digest } from "../../base/digest.ts";
import { LIMITS } from "../../base/limits.ts";
import { type Label, type NamePattern, parsePattern } from "../../base/names.ts";
import type { Time } from "../../base/time.ts";
import type { KeyId, PublicKey } from "../../keys/public-key.ts";
import {
  arrayOf,
  asObject,
  digest,
  documentOf,
  flag,
  integer,
  label,
  makeDocument,
  mapOf,
  oneOf,
  optional,
  parsed,
  publicKey,
  readDocument,
  record,
  refuseAt,
  required,
  type Schema,
  type Stored,
  setOf,
  sortedBy,
  time,
} from "./schema.ts";

export interface Role {
  readonly principals: readonly Label[];
  readonly threshold: number;
}
export interface ApproverRole extends Role {
  /** The approvals are counted without the publisher whose signature is used. */
  readonly notPublisher?: boolean;
}
export interface EvidenceRequirement {
  readonly kind: Label;
  /** Principals whose evidence counts; this store's key alone when absent. */
  readonly signers?: readonly Label[];
  readonly maxAgeDays?: number;
}
export interface Rule {
  readonly names: NamePattern;
  readonly publishers?: readonly Label[];
  readonly approvers?: ApproverRole;
  readonly revokers: Role;
  /** Weight formats that the rule admits; every format that passes inspection when absent. */
  readonly formats?: readonly Label[];
  readonly evidence?: readonly EvidenceRequirement[];
  readonly freshness?: { readonly warnDays: number; readonly denyDays: number };
}
export interface Policy {
  readonly number: number;
  /** 32 random bytes of version 1, hex: what a statement names as its root. */
  readonly root: Digest;
  readonly issuedAt: Time;
  readonly principals: ReadonlyMap<Label, readonly PublicKey[]>;
  readonly rootRole: Role;
  readonly rules: readonly Rule[];
}

const status: Schema<"active"> = (value, at) =>
  value === "retired" || value === "compromised" || typeof value === "object"
    ? refuseAt(at, 'the status "active": this version knows no other', "UNSUPPORTED")
    : oneOf("active")(value, at);

const keys: Schema<readonly PublicKey[]> = (value, at) => {
  const entry = record({ key: required(publicKey), status: required(status) });
  return sortedBy(entry, ({ key }) => key.text, LIMITS.keysPerPrincipal)(value, at).map(({ key }) => key);
};

const labels = setOf(label, LIMITS.principals);
const role = record({ principals: required(labels), threshold: required(integer(1, LIMITS.principals)) });
const days = integer(1, 36_500);

const rule = record({
  names: required(parsed(parsePattern, "a pattern of names")),
  publishers: optional(labels),
  approvers: optional(
    record({
      principals: required(labels),
      threshold: required(integer(1, LIMITS.principals)),
      notPublisher: optional(flag),
    }),
  ),
  revokers: required(role),
  formats: optional(setOf(label, 100)),
  evidence: optional(
    arrayOf(record({ kind: required(label), signers: optional(labels), maxAgeDays: optional(days) }), 100),
  ),
  freshness: optional(record({ warnDays: required(days), denyDays: required(days) })),
});

const shape = documentOf("coffer/policy", {
  number: required(integer(1)),
  root: required(digest),
  issuedAt: required(time),
  principals: required(mapOf(record({ keys: required(keys) }), LIMITS.principals)),
  rootRole: required(role),
  rules: required(arrayOf(rule, 10_000)),
});

const schema: Schema<Policy> = (value, at) => {
  const number = asObject(value, at)["number"];
  if (typeof number === "number" && number > 1)
    refuseAt(`${at}.number`, "1: this version reads no later policy", "UNSUPPORTED");
  const { principals: entries, ...rest } = shape(value, at);
  const principals = new Map([...entries].map(([name, principal]) => [name, principal.keys]));
  const policy: Policy = { ...rest, principals };
  checkPrincipals(policy, at);
  checkRole(policy, policy.rootRole, `${at}.rootRole`);
  for (const [index, entry] of policy.rules.entries()) checkRule(policy, entry, `${at}.rules[${index}]`);
  return policy;
};

function invalid(at: string, expected: string): never {
  return refuseAt(at, expected, "POLICY_INVALID");
}

function checkPrincipals(policy: Policy, at: string): void {
  const owners = new Map<KeyId, Label>();
  for (const [name, ownKeys] of policy.principals) {
    if (ownKeys.length === 0) invalid(`${at}.principals.${name}.keys`, "at least one key");
    for (const key of ownKeys) {
      const owner = owners.get(key.keyId);
      if (owner !== undefined) invalid(`${at}.principals.${name}.keys`, `keys of its own: one is also ${owner}'s`);
      owners.set(key.keyId, name);
    }
  }
}

function checkRole(policy: Policy, entry: Role, at: string): void {
  checkKnown(policy, entry.principals, `${at}.principals`);
  if (entry.threshold > entry.principals.length) {
    invalid(`${at}.threshold`, `1 to ${entry.principals.length}, the number of principals in the role`);
  }
}

function checkKnown(policy: Policy, names: readonly Label[], at: string): void {
  for (const name of names) if (!policy.principals.has(name)) invalid(at, `known principals; ${name} is none`);
}

function checkRule(policy: Policy, entry: Rule, at: string): void {
  checkKnown(policy, entry.publishers ?? [], `${at}.publishers`);
  if (entry.approvers !== undefined) checkRole(policy, entry.approvers, `${at}.approvers`);
  checkRole(policy, entry.revokers, `${at}.revokers`);
  for (const need of entry.evidence ?? []) checkKnown(policy, need.signers ?? [], `${at}.evidence`);
  if (entry.freshness !== undefined && entry.freshness.warnDays > entry.freshness.denyDays) {
    invalid(`${at}.freshness.warnDays`, "no more than denyDays");
  }
}

/**
 * @throws CofferError JSON_INVALID, DOCUMENT_INVALID, POLICY_INVALID (roles, thresholds, principals),
 *   UNSUPPORTED (a later version, another key type or status, an unknown member), LIMIT_EXCEEDED
 */
export function parsePolicy(bytes: Uint8Array): Stored<Policy> {
  return readDocument(schema, bytes, "policy", LIMITS.policyBytes);
}

/** The members of a policy as JSON values, sets sorted; `type` and `version` are put in. @throws as `parsePolicy` */
export function makePolicy(members: Parameters<typeof makeDocument>[1]): Stored<Policy> {
  const stored = makeDocument(schema, { type: "coffer/policy", version: 1, ...members }, "policy");
  return parsePolicy(stored.bytes);
}
