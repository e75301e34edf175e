// SPDX-License-Identifier: Apache-2.0
/**
 * Revocations: who may make one, and how far one reaches. It is absolute for every name whose own rule's revokers its
 * signers meet, and a visible finding for all others. Layer: trust.
 */
import { type Digest, short } from "../base/digest.ts";
import type { Name } from "../base/names.ts";
import type { RevokedKind } from "../base/ref-path.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Policy } from "../objects/documents/policy.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { meets, ruleFor } from "./roles.ts";
import type { Fact, Reason } from "./verdict.ts";

interface SignedStatement {
  readonly id: Digest;
  readonly value: Statement;
  readonly signers: ReadonlySet<KeyId>;
}
type Policies = readonly { readonly id: Digest; readonly value: Policy }[];

/** A statement that stands on the list of a manifest, blob or statement that it revokes. */
export interface ByteRevocation {
  readonly kind: RevokedKind;
  readonly digest: Digest;
  readonly statement: SignedStatement;
}

/** Versions that may answer for a denial: its own and all later ones; the newest alone if its own is unknown. */
function answering(policies: Policies, statement: Statement): Policies {
  const own = policies.findIndex((policy) => policy.id === statement.policy);
  return own < 0 ? policies.slice(-1) : policies.slice(own);
}

function reaches(policies: Policies, revocation: SignedStatement, name: Name): boolean {
  return answering(policies, revocation.value).some(({ value: policy }) => {
    const rule = ruleFor(policy, name);
    return rule !== undefined && meets(policy, rule.revokers, revocation.signers);
  });
}

/** True if a revoked or deleted statement, made under this root, carries the signatures that its own name's rule asks for. */
export function authorisedDenial(policies: Policies, statement: SignedStatement): boolean {
  const ours = policies.every(({ value }) => value.root === statement.value.root);
  return ours && reaches(policies, statement, statement.value.name);
}

const LISTS = { manifest: "manifests", blob: "blobs", statement: "statements" } as const;

/**
 * What the revocations on record mean for one head of `name`.
 * @param manifest - undefined if it is not here, which the caller reports
 */
export function byteRevocations(
  policies: Policies,
  name: Name,
  head: { readonly id: Digest; readonly value: Statement },
  manifest: Manifest | undefined,
  revocations: readonly ByteRevocation[],
): { readonly reasons: readonly Reason[]; readonly findings: readonly Fact[] } {
  const blobs = new Map(manifest?.files.map((file) => [file.sha256, file.path]));
  const reasons: Reason[] = [];
  const findings: Fact[] = [];
  for (const { kind, digest, statement } of revocations) {
    const concerned = {
      manifest: digest === head.value.manifest,
      blob: blobs.has(digest),
      statement: digest === head.id,
    }[kind];
    if (!concerned) continue;
    const what = kind === "blob" ? `blob ${short(digest)} (${blobs.get(digest)})` : `${kind} ${short(digest)}`;
    const by = `revocation ${short(statement.id)} of ${statement.value.name.text}`;
    // Only a revoked statement can have such lists: the schema of statements sees to that.
    const listed = statement.value.revokes?.[LISTS[kind]].includes(digest) === true;
    if (!listed || !authorisedDenial(policies, statement)) {
      reasons.push({
        code: "CORRUPT",
        text: `${by} stands against ${what} but does not carry it, or lacks its signatures`,
      });
    } else if (reaches(policies, statement, name)) {
      reasons.push({ code: "REVOKED", text: `${what} was revoked by ${by}${because(statement.value)}` });
    } else {
      findings.push({
        id: "revoked-elsewhere",
        text: `${what} was revoked by ${by}, whose signers do not rule ${name.text}`,
      });
    }
  }
  return { reasons, findings };
}

function because(statement: Statement): string {
  return statement.reason === undefined ? "" : `: ${statement.reason}`;
}
