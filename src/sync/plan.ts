// SPDX-License-Identifier: Apache-2.0
/**
 * What is to travel: from a head and the names that were chosen to the objects, signatures and blobs, small before large.
 * The policy chain, every revocation and every refusal always travel whole, whatever was asked for.
 * Layer: sync. Reads only; a pure function of the head, the files that it reaches and the request: no time, no chance.
 * Not here: reading what each name brings (plan-parts.ts), cutting into volumes (cut.ts), which names a pattern means (repo).
 */
import type { Digest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import type { Name } from "../base/names.ts";
import type { BlobClaim } from "../objects/blob-store.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { BundleIndex, BundleName } from "./bundle-index.ts";
import {
  type DenialPart,
  mayDeny,
  type NamePart,
  PartReader,
  type PlanRequest,
  type PolicyPart,
  readPolicyPart,
  type Sender,
  type Shelf,
} from "./plan-parts.ts";
import type { Item } from "./source.ts";
import type { Spare } from "./spare.ts";

export type { PlanRequest, Sender };

type Listed = "root" | "policies" | "names" | "candidates" | "revocations" | "refusals" | "evidence";

/** What an index says of its documents, the items in travelling order with blobs still whole, and how blobs are read. */
export interface Plan extends Pick<BundleIndex, Listed> {
  readonly items: readonly Item[];
  readonly claims: ReadonlyMap<Digest, BlobClaim>;
  /** Chunks of these blobs that need not travel. */
  readonly spare: Spare;
}

/** What is put together: whoever hands it in has read it at one head. */
export interface Parts {
  readonly policies: PolicyPart;
  readonly denials: Iterable<DenialPart>;
  /** In the order of their names. */
  readonly names: Iterable<NamePart>;
}

/** Lets others have their turn between two steps, where there are others. */
export type Breathe = () => Promise<void> | undefined;

/**
 * @throws CofferError NAME_NOT_FOUND - a name without chain, quarantine or (where these are asked for) candidate;
 *   CORRUPT - something that the head reaches is missing or damaged; OBJECT_NOT_FOUND - the bytes of a blob are not here
 */
export async function planBundle(sender: Sender, head: HeadView, request: PlanRequest): Promise<Plan> {
  const policies = await readPolicyPart(sender, head);
  const reader = new PartReader(sender, head, request, policies.keys);
  const denials = await readDenials(reader, head);
  const names: NamePart[] = [];
  for (const name of sortedNames(request.names)) {
    const part = await reader.namePart(name);
    if (part.entry === undefined && part.candidate === undefined) throw notThere(name, request.candidates);
    names.push(part);
  }
  return joinParts({ policies, denials, names });
}

/** Every statement that revokes or deletes, and every refusal: the whole tree is walked, so that none is left out. */
export async function readDenials(reader: PartReader, head: HeadView): Promise<readonly DenialPart[]> {
  const found: DenialPart[] = [];
  for await (const [ref, id] of head.listRefs()) if (mayDeny(ref)) found.push(await reader.denialPart(ref, id));
  return found;
}

/** The same parts, in whatever way they were come by, make the same plan. */
export async function joinParts({ policies, denials, names }: Parts, breathe: Breathe = noBreath): Promise<Plan> {
  const denied = new Map<Digest, readonly Item[]>();
  const [refusals, statements, manifests, evidence, opaque]: Shelves = [
    new Map(),
    new Map(),
    new Map(),
    new Map(),
    new Map(),
  ];
  for (const part of denials) {
    await breathe();
    addAll(denied, part.denials);
    addAll(refusals, part.refusals);
  }
  const entries: BundleName[] = [];
  const candidates: { name: Name["text"]; statement: Digest }[] = [];
  const claims = new Map<Digest, BlobClaim>();
  const spare = new Map<Digest, ReadonlySet<number>>();
  for (const part of names) {
    await breathe();
    if (part.entry !== undefined) entries.push(part.entry);
    if (part.candidate !== undefined) candidates.push({ name: part.name.text, statement: part.candidate });
    for (const [id, items] of part.statements) if (!denied.has(id)) statements.set(id, items);
    addAll(manifests, part.manifests);
    addAll(evidence, part.evidence);
    addAll(opaque, part.opaque);
    for (const [blob, claim] of part.claims) {
      if (claims.has(blob)) continue;
      claims.set(blob, claim);
      const chunks = part.spare.get(blob);
      if (chunks !== undefined) spare.set(blob, chunks);
    }
  }
  const items: Item[] = [...policies.items];
  for (const shelf of [denied, refusals, statements, manifests, evidence, opaque]) {
    for (const id of await sortedIds(shelf, breathe)) {
      await breathe();
      items.push(...(shelf.get(id) ?? []));
    }
  }
  for (const item of blobItems(claims)) items.push(item);
  return {
    ...{ root: policies.root, policies: policies.policies, names: entries, candidates },
    revocations: await sortedIds(denied, breathe),
    refusals: await sortedIds(refusals, breathe),
    evidence: await sortedIds(evidence, breathe),
    ...{ items, claims, spare },
  };
}

type Filling = Map<Digest, readonly Item[]>;
type Shelves = [Filling, Filling, Filling, Filling, Filling];

export const noBreath: Breathe = () => undefined;

function addAll(to: Filling, from: Shelf): void {
  for (const [id, items] of from) to.set(id, items);
}

/** In 256 steps: to sort all of a large store's at once takes longer than others should wait. */
export async function sortedIds(shelf: ReadonlyMap<Digest, unknown>, breathe: Breathe): Promise<Digest[]> {
  const byStart = new Map<string, Digest[]>();
  for (const id of shelf.keys()) {
    const start = id.slice(0, 2);
    const bucket = byStart.get(start);
    if (bucket === undefined) byStart.set(start, [id]);
    else bucket.push(id);
  }
  const sorted: Digest[] = [];
  for (const start of [...byStart.keys()].sort()) {
    await breathe();
    for (const id of (byStart.get(start) ?? []).sort()) sorted.push(id);
  }
  return sorted;
}

/** Smaller ones first: what is cut short has brought the more whole files. */
function blobItems(claims: ReadonlyMap<Digest, BlobClaim>): readonly Item[] {
  const sorted = [...claims.values()].sort((a, b) => a.size - b.size || (a.sha256 < b.sha256 ? -1 : 1));
  return sorted.map(({ sha256, size }) => ({ kind: "blob", blob: sha256, sizeBytes: size }));
}

/** Each once, in the order of their text. */
export function sortedNames(names: readonly Name[]): readonly Name[] {
  const byText = new Map(names.map((name) => [name.text, name]));
  return [...byText.values()].sort((a, b) => (a.text < b.text ? -1 : 1));
}

function notThere(name: Name, candidates: boolean): CofferError {
  const what = candidates ? "a chain, a quarantined manifest or a candidate" : "a chain or a quarantined manifest";
  return new CofferError("NAME_NOT_FOUND", `${name.text}: expected ${what}, found none`);
}
