// SPDX-License-Identifier: Apache-2.0
/** Everything that is known of one name, or of one object. Layer: repo. */
import { type Digest, isDigest, short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import type { Evidence } from "../objects/documents/evidence.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Verdict } from "../trust/verdict.ts";
import { type Candidate, readCandidate } from "./candidates.ts";
import { Dossier, readManifest, readPolicies } from "./dossier.ts";
import { judge, refusal } from "./resolve.ts";
import type { Store } from "./store.ts";

export interface Shown {
  readonly name: Name;
  readonly verdict: Verdict;
  readonly refs: readonly { readonly ref: string; readonly id: Digest }[];
  readonly manifest?: Stored<Manifest>;
  readonly evidence: readonly { readonly id: Digest; readonly value: Evidence }[];
  readonly candidate?: Candidate;
}

const FAMILIES = ["trusted", "revoked", "deleted", "proposed", "revoking", "quarantined", "acquired", "chain"] as const;

/** @throws CofferError NAME_NOT_FOUND, CORRUPT */
export async function show(store: Store, name: Name): Promise<Shown> {
  const head = await store.head();
  const policies = await readPolicies(store, head);
  const refs: { ref: string; id: Digest }[] = [];
  for (const family of FAMILIES) {
    const ref = nameRef(family, name);
    const id = await head.readRef(ref);
    if (id !== undefined) refs.push({ ref, id });
  }
  const verdict = await judge(store, head, name, policies);
  if (refs.length === 0) throw await refusal(head, name, verdict);
  const candidate = await readCandidate(store, head, policies, name);
  const waiting = refs.find(({ ref }) => ref.startsWith("refs/quarantined/") || ref.startsWith("refs/acquired/"))?.id;
  const id = verdict.manifest ?? candidate?.manifest.id ?? waiting;
  const manifest = id === undefined ? undefined : await readManifest(store, id);
  const evidence = id === undefined ? [] : await new Dossier(store, head, policies, name).evidence(id);
  return {
    name,
    verdict,
    refs,
    evidence,
    ...(manifest === undefined ? {} : { manifest }),
    ...(candidate === undefined ? {} : { candidate }),
  };
}

/**
 * The one object whose digest starts with `prefix` (12 characters or more).
 * @throws CofferError DIGEST_INVALID, DIGEST_AMBIGUOUS, OBJECT_NOT_FOUND
 */
export async function findObject(
  store: Store,
  prefix: string,
): Promise<{ readonly id: Digest; readonly bytes: Uint8Array }> {
  if (!/^[0-9a-f]{12,64}$/.test(prefix)) {
    throw new CofferError(
      "DIGEST_INVALID",
      `expected 12 to 64 lower-case hex characters, found ${JSON.stringify(prefix.slice(0, 70))}`,
    );
  }
  const names = (await store.files.list(`objects/${prefix.slice(0, 2)}`)) ?? [];
  const ids = names.map((name) => `${prefix.slice(0, 2)}${name}`).filter((id) => id.startsWith(prefix) && isDigest(id));
  const [id, ...others] = ids;
  if (others.length > 0) throw new CofferError("DIGEST_AMBIGUOUS", `${prefix} begins ${ids.length} digests`);
  const bytes = id !== undefined && isDigest(id) ? await store.objects.read(id) : undefined;
  if (id === undefined || bytes === undefined || !isDigest(id)) {
    throw new CofferError("OBJECT_NOT_FOUND", `no object has a digest that begins with ${short(prefix)}`);
  }
  return { id, bytes };
}
