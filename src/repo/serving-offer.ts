// SPDX-License-Identifier: Apache-2.0
/**
 * What a server offers to other stores: an index of what is trusted at a head, and the documents that it names. Layer: repo.
 * Holds invariants 4 and 6. Writes nothing. Format: docs/http.md, "For other stores".
 *
 * In it is every policy, revocation and refusal, and of each name that was ever trusted its chain with manifests and
 * evidence; blobs only of what is trusted now. What waits in quarantine, is proposed, or came from elsewhere and counts
 * for nothing here is in none of these, and what is not in an index cannot be asked for.
 */
import type { Digest } from "../base/digest.ts";
import { passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { type Name, type NameText, parseName } from "../base/names.ts";
import { parseRefPath } from "../base/ref-path.ts";
import { timeSeconds } from "../base/time.ts";
import { signSshsig } from "../keys/sshsig.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { blobPath } from "../objects/layout.ts";
import type { ObjectReader } from "../objects/object-store.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { BundleIndex } from "../sync/bundle-index.ts";
import { snapshotIndex } from "../sync/snapshot.ts";
import { type Item, MOST_PARTS } from "../sync/source.ts";
import { smallItemBytes } from "../sync/volume-writer.ts";
import type { Verdict } from "../trust/verdict.ts";
import type { Store } from "./store.ts";

/** What is lost of a blob when its download is interrupted, at most. */
const PART_BYTES = 64 * 1024 * 1024;
/** Offers that can be asked for: who began with one is not sent away by the next entry of the log. */
const KEPT = 3;
/** An offer is made anew after this long even where nothing moved: ends of trust come by time, too. */
const LONGEST_S = 600;
/** Work in one turn of the event loop: downloads that have to be cut wait no longer. */
const TURN_MS = 10;

type SmallItem = Extract<Item, { kind: "object" | "signature" }>;

export interface Offer {
  readonly index: Stored<BundleIndex>;
  /** Of the store key; undefined if this account does not hold it. */
  readonly signature?: string;
  /** In the order of the index. */
  readonly documents: readonly SmallItem[];
  readonly documentBytes: number;
}

interface Current {
  readonly head: Digest;
  readonly fromS: number;
  readonly untilS: number;
  readonly offer: Offer;
}

export class ServingOffers {
  private readonly store: Store;
  private readonly verdict: (head: HeadView, name: Name) => Promise<Verdict>;
  private readonly kept: Offer[] = [];
  private current: Current | undefined;
  private making: Promise<unknown> = Promise.resolve();

  /** @param verdict - of a name at a head, now */
  constructor(store: Store, verdict: (head: HeadView, name: Name) => Promise<Verdict>) {
    this.store = store;
    this.verdict = verdict;
  }

  /** The offer at a head. One is made at a time, however many ask. @throws CofferError CORRUPT, UNSUPPORTED, IO_ERROR */
  async at(head: HeadView): Promise<Offer> {
    const made = this.making.then(async () => {
      const nowS = this.store.ports.clock();
      const { current } = this;
      if (current?.head === head.id && current.fromS <= nowS && nowS < current.untilS) return current.offer;
      return this.make(head, nowS);
    });
    this.making = Promise.allSettled([made]);
    return made;
  }

  /** One of the newest offers, by the id of its index. */
  byIndex(id: Digest): Offer | undefined {
    return this.kept.find(({ index }) => index.id === id);
  }

  /** An object or a signature of an offer, checked against its name and size. @throws CofferError CORRUPT, IO_ERROR */
  document(item: SmallItem): Promise<Uint8Array> {
    return smallItemBytes(this.store, item);
  }

  private async make(head: HeadView, fromS: number): Promise<Offer> {
    const breath = new Breath();
    const { names, trusted, untilS } = await this.look(head, fromS, breath);
    const { files, storeKey, log } = this.store;
    const objects: ObjectReader = {
      read: async (id) => {
        await breath.take();
        return this.store.objects.read(id);
      },
    };
    const index = await snapshotIndex({ files, objects, storeKey, log }, head, {
      ...{ names, candidates: false, withBlobs: (name) => trusted.has(name) },
      // What lies in the trash alone is not handed out.
      without: async (blob, sizeBytes) => (await files.stat(blobPath(blob)))?.sizeBytes !== sizeBytes,
      partBytes,
    });
    const offer = this.byIndex(index.id) ?? (await this.offerOf(index));
    if (!this.kept.includes(offer)) this.kept.unshift(offer);
    this.kept.splice(KEPT);
    this.current = { head: head.id, fromS, untilS, offer };
    return offer;
  }

  private async offerOf(index: Stored<BundleIndex>): Promise<Offer> {
    const documents = index.value.items.filter((item): item is SmallItem => item.kind !== "blob");
    const documentBytes = documents.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (this.store.readOnly) return { index, documents, documentBytes };
    const signature = await signSshsig(await this.store.needSigner(), "coffer-bundle", index.bytes);
    return { index, signature, documents, documentBytes };
  }

  /** Which names were ever trusted, and which are now. */
  private async look(head: HeadView, fromS: number, breath: Breath) {
    const names: Name[] = [];
    const trusted = new Set<NameText>();
    let untilS = fromS + LONGEST_S;
    for (const name of await promotedAt(head)) {
      await breath.take();
      const verdict = await this.judge(head, name);
      if (verdict === undefined || !verdict.everTrusted) continue;
      names.push(name);
      if (verdict.trusted) trusted.add(name.text);
      if (verdict.validUntil !== undefined) untilS = Math.min(untilS, timeSeconds(verdict.validUntil));
    }
    return { names, trusted, untilS };
  }

  /** undefined where damage keeps it from being judged: such a name is on no page either. */
  private async judge(head: HeadView, name: Name): Promise<Verdict | undefined> {
    try {
      const verdict = await this.verdict(head, name);
      return verdict.reasons[0]?.code === "CORRUPT" ? undefined : verdict;
    } catch (error) {
      passOthers(error, "CORRUPT");
      return undefined;
    }
  }
}

/** Lets others have their turn between two steps: reading a store's files alone does not. */
class Breath {
  private sinceMs = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.sinceMs < TURN_MS) return;
    await new Promise((go) => setImmediate(go));
    this.sinceMs = performance.now();
  }
}

/** More for a file that would have more parts than may be. */
function partBytes(largestBytes: number): number {
  const least = Math.ceil(largestBytes / MOST_PARTS / LIMITS.chunkBytes) * LIMITS.chunkBytes;
  return Math.max(PART_BYTES, least);
}

async function promotedAt(head: HeadView): Promise<readonly Name[]> {
  const found = new Set<NameText>();
  for await (const [ref] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (parsed.family === "trusted" || parsed.family === "chain") found.add(parsed.name.text);
  }
  return [...found].sort().map((text) => parseName(text));
}
