// SPDX-License-Identifier: Apache-2.0
/** Offers of a store, and the same put together in the plainest way. Layer: test support. */
import type { Name } from "../../src/base/names.ts";
import { parseRefPath } from "../../src/base/ref-path.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { judge } from "../../src/repo/resolve.ts";
import { type Offer, ServingOffers } from "../../src/repo/serving-offer.ts";
import type { Store } from "../../src/repo/store.ts";
import { snapshotIndex } from "../../src/sync/snapshot.ts";
import { ruleFor } from "./store-fixture.ts";

export const DAY_S = 86_400;
const PART_BYTES = 64 * 1024 * 1024;
/** A name is too old after three days, so that time is felt. */
export const RULES = [ruleFor("*/*@*", { freshness: { warnDays: 1, denyDays: 3 } })];

export const offersOf = (store: Store): ServingOffers => new ServingOffers(store, () => store.head());

/** The same put together in the plainest way: every name judged, nothing kept. */
export async function plainly(store: Store): Promise<Buffer> {
  const head = await store.head();
  const found = new Map<string, Name>();
  for await (const [ref] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (parsed.family === "trusted" || parsed.family === "chain") found.set(parsed.name.text, parsed.name);
  }
  const [names, trusted]: [Name[], Set<string>] = [[], new Set()];
  for (const name of found.values()) {
    const verdict = await judge(store, head, name);
    if (verdict.everTrusted && verdict.reasons[0]?.code !== "CORRUPT") names.push(name);
    if (verdict.trusted) trusted.add(name.text);
  }
  const index = await snapshotIndex(store, head, {
    ...{ names, candidates: false, withBlobs: (name) => trusted.has(name), partBytes: () => PART_BYTES },
    without: async (blob) => (await store.files.stat(blobPath(blob))) === undefined,
  });
  return Buffer.from(index.bytes);
}

export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** What a first offer at this head would say against anything. */
export const denialsIn = ({ index: { value } }: Offer) => [value.policies, value.revocations, value.refusals];
