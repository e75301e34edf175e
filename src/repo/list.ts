// SPDX-License-Identifier: Apache-2.0
/** What stands in a store, name by name, in pages. Layer: repo. */
import type { Digest } from "../base/digest.ts";
import { type ErrorCode, passOthers } from "../base/errors.ts";
import type { Name, NamePattern } from "../base/names.ts";
import { NAME_FAMILIES, nameRef } from "../base/ref-path.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Verdict } from "../trust/verdict.ts";
import { type Policies, readPolicies, readStatement } from "./dossier.ts";
import { type Names, openNames } from "./names.ts";
import { judge, setAsideText } from "./resolve.ts";
import type { Store } from "./store.ts";

/**
 * `denied`: once promoted and still the head, but not trusted now; or its statements wait for what they follow.
 * `revoked`, `deleted`: by its head, or by a denial that came without what it follows.
 */
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

export interface ListRequest {
  /** Only names that match. */
  readonly pattern?: NamePattern;
  /** Only names after this one. */
  readonly after?: Name;
  /** Names on the page; DEFAULT_PAGE when left out. */
  readonly limit?: number;
  /** As it was then; the newest state when left out. */
  readonly at?: HeadView | undefined;
}

export interface ListPage {
  readonly head: HeadView;
  readonly names: readonly Listed[];
  /** The name to go on after; undefined on the last page. */
  readonly next?: Name;
  /** Why the local index was not used, where it was not; for people. */
  readonly notes: readonly string[];
}

export const DEFAULT_PAGE = 100;
/** Names that are looked at together for a pattern. */
const LOOKED_AT = 1000;

/**
 * A page of names with their states, sorted. What it costs depends on the page, not on the store.
 * @throws CofferError CORRUPT - the log, the policy or the ref tree is damaged
 */
export async function list(store: Store, request: ListRequest = {}): Promise<ListPage> {
  const head = request.at ?? (await store.head());
  const policies = await readPolicies(store, head);
  const names = await openNames(store, head, { mayWrite: request.at === undefined });
  try {
    const { page, more } = await namesOf(names, request);
    const listed: Listed[] = [];
    for (const name of page) {
      const one = await describeName(store, head, policies, name);
      if (one !== undefined) listed.push(one);
    }
    const last = page.at(-1);
    return {
      head,
      names: listed,
      ...(more && last !== undefined ? { next: last } : {}),
      notes: [...names.notes],
    };
  } finally {
    await names.close();
  }
}

/** The first names that begin with `prefix`, whatever stands under them. Writes nothing. */
export async function namesWith(store: Store, prefix: string, limit: number): Promise<readonly Name[]> {
  const names = await openNames(store, await store.head(), { mayWrite: false });
  try {
    return await names.list("n", { prefix, limit });
  } finally {
    await names.close();
  }
}

async function namesOf(names: Names, { pattern, after, limit = DEFAULT_PAGE }: ListRequest) {
  const page: Name[] = [];
  let from = after?.text;
  for (;;) {
    const many = pattern === undefined ? limit + 1 : LOOKED_AT;
    const prefix = pattern === undefined ? {} : { prefix: pattern.prefix };
    const found = await names.list("n", { limit: many, ...prefix, ...(from === undefined ? {} : { after: from }) });
    page.push(...found.filter((name) => pattern === undefined || pattern.matches(name)));
    if (page.length > limit) return { page: page.slice(0, limit), more: true };
    if (found.length < many) return { page, more: false };
    from = found.at(-1)?.text;
  }
}

/** undefined if the tree has nothing of that name: the index only says where to look. */
async function describeName(store: Store, head: HeadView, policies: Policies, name: Name): Promise<Listed | undefined> {
  const candidate = await head.readRef(nameRef("proposed", name));
  const proposed = candidate !== undefined;
  for (const family of ["trusted", "chain"] as const) {
    if ((await head.readRef(nameRef(family, name))) === undefined) continue;
    return { name, proposed, ...(await describeChain(store, head, policies, name)) };
  }
  // A denial that came alone denies at once; a promotion that came alone says nothing yet.
  const waits = (await head.readRef(nameRef("waiting", name))) !== undefined;
  const waiting = waits ? await describeChain(store, head, policies, name) : undefined;
  if (waiting !== undefined && waiting.code !== "NOT_TRUSTED") return { name, proposed, ...waiting };
  if (candidate !== undefined) {
    return { name, state: "proposed", manifest: (await readStatement(store, candidate)).value.manifest, proposed };
  }
  for (const family of ["quarantined", "acquired"] as const) {
    const manifest = await head.readRef(nameRef(family, name));
    if (manifest !== undefined) return { name, state: family, manifest, proposed };
  }
  if (waiting !== undefined) return { name, proposed, ...waiting };
  for (const family of NAME_FAMILIES) {
    if ((await head.readRef(nameRef(family, name))) === undefined) continue;
    // Damage of one name hides no other.
    const why = `${name.text}: expected a chain beside its refs, found none`;
    return { name, state: "denied", code: "CORRUPT", why, proposed };
  }
  return undefined;
}

async function describeChain(
  store: Store,
  head: HeadView,
  policies: Policies,
  name: Name,
): Promise<Pick<Listed, "state" | "manifest" | "code" | "why">> {
  try {
    const verdict = await judge(store, head, name, policies);
    const state = denialOf(verdict);
    const last = state === "deleted" ? verdict.reasons.find(({ code }) => code === "DELETED") : undefined;
    const reason = last ?? verdict.reasons[0];
    const manifest = verdict.manifest === undefined ? {} : { manifest: verdict.manifest };
    if (reason === undefined) return { state: "trusted", ...manifest };
    return { state, ...manifest, code: reason.code, why: setAsideText(verdict) ?? reason.text };
  } catch (error) {
    passOthers(error);
    return { state: "denied", code: error.code, why: error.message };
  }
}

/** What a name is called that has a chain, or statements that wait, and is not trusted. */
export function denialOf({ standing, reasons }: Verdict): "denied" | "revoked" | "deleted" {
  if (standing === "revoked" || standing === "deleted") return standing;
  if (standing !== "none") return "denied";
  const codes = new Set(reasons.map(({ code }) => code));
  return codes.has("DELETED") ? "deleted" : codes.has("REVOKED") ? "revoked" : "denied";
}
