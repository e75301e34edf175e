// SPDX-License-Identifier: Apache-2.0
/** What stands in a store, name by name. Layer: repo. */
import type { Digest } from "../base/digest.ts";
import { CofferError, type ErrorCode, isCofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import { NAME_FAMILIES, type NameFamily, nameRef, parseRefPath } from "../base/ref-path.ts";
import type { HeadView } from "../refs/head-view.ts";
import { type Policies, readPolicies, readStatement } from "./dossier.ts";
import { judge } from "./resolve.ts";
import type { Store } from "./store.ts";

/** `denied`: once promoted and still the head, but not trusted now. */
export type ListedState = "trusted" | "denied" | "revoked" | "deleted" | "proposed" | "quarantined" | "acquired";

export interface Listed {
  readonly name: Name;
  readonly state: ListedState;
  readonly manifest?: Digest;
  /** Why a `denied` name is not trusted. */
  readonly code?: ErrorCode;
  readonly why?: string;
  /** True if a candidate waits beside what stands. */
  readonly proposed: boolean;
}

/** Names with their families, sorted by name. */
export async function listNames(head: HeadView) {
  const found = new Map<string, { name: Name; families: Set<NameFamily> }>();
  for await (const [ref] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (!("name" in parsed) || !NAME_FAMILIES.includes(parsed.family)) continue;
    const entry = found.get(parsed.name.text) ?? { name: parsed.name, families: new Set() };
    entry.families.add(parsed.family);
    found.set(parsed.name.text, entry);
  }
  return [...found.values()].sort((a, b) => (a.name.text < b.name.text ? -1 : 1));
}

/** Every name with its state, sorted. @throws CofferError CORRUPT - the ref tree is damaged */
export async function list(store: Store, at?: HeadView): Promise<Listed[]> {
  const head = at ?? (await store.head());
  const policies = await readPolicies(store, head);
  const listed: Listed[] = [];
  for (const { name, families } of await listNames(head)) {
    listed.push(await describeName(store, head, policies, name, families));
  }
  return listed;
}

async function describeName(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
  families: ReadonlySet<NameFamily>,
): Promise<Listed> {
  const proposed = families.has("proposed");
  if (families.has("trusted") || families.has("chain"))
    return { name, proposed, ...(await describeChain(store, head, policies, name)) };
  for (const family of ["proposed", "quarantined", "acquired"] as const) {
    const id = await head.readRef(nameRef(family, name));
    if (id === undefined) continue;
    const manifest = family === "proposed" ? (await readStatement(store, id)).value.manifest : id;
    return { name, state: family, manifest, proposed };
  }
  throw new CofferError("CORRUPT", `${name.text}: expected a chain beside its refs, found none`);
}

async function describeChain(store: Store, head: HeadView, policies: Policies, name: Name) {
  try {
    const verdict = await judge(store, head, name, policies);
    const [reason] = verdict.reasons;
    const manifest = verdict.manifest === undefined ? {} : { manifest: verdict.manifest };
    if (reason === undefined) return { state: "trusted" as const, ...manifest };
    const why = { code: reason.code, why: reason.text };
    if (verdict.standing === "revoked" || verdict.standing === "deleted")
      return { state: verdict.standing, ...manifest, ...why };
    return { state: "denied" as const, ...manifest, ...why };
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return { state: "denied" as const, code: error.code, why: error.message };
  }
}
