// SPDX-License-Identifier: Apache-2.0
/** Everything that is known of one name. Layer: repo. */
import type { Digest } from "../base/digest.ts";
import type { Name } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import type { Evidence } from "../objects/documents/evidence.ts";
import type { Manifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Verdict } from "../trust/verdict.ts";
import { type Candidate, readCandidate } from "./candidates.ts";
import { Dossier, readManifest, readPolicies } from "./dossier.ts";
import { denialOf, type ListedState } from "./list.ts";
import { judge, refusal } from "./resolve.ts";
import type { Store } from "./store.ts";

export interface Shown {
  readonly name: Name;
  readonly state: ListedState;
  readonly verdict: Verdict;
  readonly refs: readonly { readonly ref: string; readonly id: Digest }[];
  readonly manifest?: Stored<Manifest>;
  readonly evidence: readonly { readonly id: Digest; readonly value: Evidence }[];
  readonly candidate?: Candidate;
}

const FAMILIES = [
  "trusted",
  "revoked",
  "deleted",
  "proposed",
  "revoking",
  "deleting",
  "quarantined",
  "acquired",
  "chain",
  "waiting",
] as const;

/** @throws CofferError NAME_NOT_FOUND, CORRUPT */
export async function show(store: Store, name: Name, at?: HeadView): Promise<Shown> {
  const head = at ?? (await store.head());
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
    state: stateOf(verdict, refs),
    verdict,
    refs,
    evidence,
    ...(manifest === undefined ? {} : { manifest }),
    ...(candidate === undefined ? {} : { candidate }),
  };
}

/** As `list` calls it. */
function stateOf(verdict: Verdict, refs: Shown["refs"]): ListedState {
  if (verdict.trusted) return "trusted";
  const denial = denialOf(verdict);
  if (denial !== "denied" || refs.some(({ ref }) => /^refs\/(?:trusted|chain)\//.test(ref))) return denial;
  const waiting = (["proposed", "quarantined", "acquired"] as const).find((family) =>
    refs.some(({ ref }) => ref.startsWith(`refs/${family}/`)),
  );
  return waiting ?? "denied";
}
