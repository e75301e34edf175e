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
import { LIMITS } from "../base/limits.ts";
import { signSshsig } from "../keys/sshsig.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { BundleIndex } from "../sync/bundle-index.ts";
import { joinSnapshot } from "../sync/snapshot.ts";
import { type Item, MOST_PARTS } from "../sync/source.ts";
import { smallItemBytes } from "../sync/volume-writer.ts";
import { Aftermath } from "./serving-aftermath.ts";
import { Probe } from "./serving-cache.ts";
import { ServingDraft } from "./serving-draft.ts";
import { clockOf, isInTime, type Span } from "./serving-time.ts";
import type { Store } from "./store.ts";

/** What is lost of a blob when its download is interrupted, at most. */
const PART_BYTES = 64 * 1024 * 1024;
/** Offers that can be asked for: who began with one is not sent away by the next entry of the log. */
const KEPT = 3;
/** While a store's names are read its log may move: so often what moved meanwhile is read as well. */
const CATCHING_UP = 3;
/** Work in one turn of the event loop: downloads that have to be cut wait no longer. */
const TURN_MS = 4;

type SmallItem = Extract<Item, { kind: "object" | "signature" }>;

export interface Offer {
  readonly index: Stored<BundleIndex>;
  /** Of the store key; undefined if this account does not hold it. */
  readonly signature?: string;
  /** In the order of the index. */
  readonly documents: readonly SmallItem[];
  readonly documentBytes: number;
}

/** The moment at which somebody asked for an offer. */
export interface Asked {
  /** The newest at that moment. */
  readonly head: HeadView;
  /** The entry of the log that is new enough for whoever asked, but for what was denied after it. */
  readonly since: number;
}

interface Current extends Span {
  readonly head: HeadView;
  readonly offer: Offer;
  readonly aftermath: Aftermath;
}

export class ServingOffers {
  private readonly store: Store;
  private readonly head: () => Promise<HeadView>;
  private readonly breath = new Breath();
  private readonly draft: ServingDraft;
  private readonly kept: Offer[] = [];
  private readonly making = new Probe(() => this.make());
  private current: Current | undefined;

  /** @param head - the newest, looked for after the call was made */
  constructor(store: Store, head: () => Promise<HeadView>) {
    this.store = store;
    this.head = head;
    this.draft = new ServingDraft(store, () => this.breath.take());
  }

  /** @param since - an entry that is new enough; without it, the newest. @throws CofferError CORRUPT, LOG_BEHIND_MEMORY */
  async asked(since?: number): Promise<Asked> {
    const head = await this.head();
    return { head, since: Math.min(since ?? head.number, head.number) };
  }

  /**
   * The newest offer that was made, unless it lacks something that was committed up to `since`, or denied up to the moment of
   * asking, or time has changed it. @throws CofferError CORRUPT
   */
  async madeFor({ head, since }: Asked): Promise<Offer | undefined> {
    const known = this.current;
    if (known === undefined || known.head.number < since || !isInTime(known, clockOf(this.store))) return undefined;
    return (await known.aftermath.isQuiet(head)) ? known.offer : undefined;
  }

  /**
   * The offer at the newest head. One is made at a time, however many ask, and whoever asks meanwhile shares the next.
   * @throws CofferError CORRUPT, UNSUPPORTED, IO_ERROR; Closed
   */
  newest(): Promise<Offer> {
    return this.making.ask();
  }

  /** One of the newest offers, by the id of its index. */
  byIndex(id: Digest): Offer | undefined {
    return this.kept.find(({ index }) => index.id === id);
  }

  /** An object or a signature of an offer, checked against its name and size. @throws CofferError CORRUPT, IO_ERROR */
  document(item: SmallItem): Promise<Uint8Array> {
    return smallItemBytes(this.store, item);
  }

  /** Ends what is being made, at its next step; nothing is made any more. */
  async close(): Promise<void> {
    this.breath.stop();
    await this.making.settled();
  }

  /** How many names were judged and read so far. */
  get reads(): number {
    return this.draft.reads;
  }

  private async make(): Promise<Offer> {
    this.breath.check();
    let head = await this.head();
    const known = this.current;
    if (known?.head.id === head.id && isInTime(known, clockOf(this.store))) return known.offer;
    let draft = await this.draft.follow(head);
    for (let more = 0; more < CATCHING_UP; more += 1) {
      const newer = await this.head();
      if (newer.id === head.id && isInTime(draft, clockOf(this.store))) break;
      head = newer;
      draft = await this.draft.follow(head);
    }
    const index = await joinSnapshot(this.store, head, draft, partBytes, () => this.breath.take());
    const offer = this.byIndex(index.id) ?? (await this.offerOf(index));
    if (!this.kept.includes(offer)) this.kept.unshift(offer);
    this.kept.splice(KEPT);
    const { from, untilS } = draft;
    const aftermath = new Aftermath(this.store, head, offer.documents, () => this.breath.take());
    this.current = { head, from, untilS, offer, aftermath };
    return offer;
  }

  private async offerOf(index: Stored<BundleIndex>): Promise<Offer> {
    const documents = index.value.items.filter((item): item is SmallItem => item.kind !== "blob");
    const documentBytes = documents.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (this.store.readOnly) return { index, documents, documentBytes };
    const signature = await signSshsig(await this.store.needSigner(), "coffer-bundle", index.bytes);
    return { index, signature, documents, documentBytes };
  }
}

/** What ends an offer that is being made when the server closes: no fault of anything. */
export class Closed extends Error {}

/** Lets others have their turn between two steps: reading a store's files alone does not. */
class Breath {
  private sinceMs = performance.now();
  private isStopped = false;

  stop(): void {
    this.isStopped = true;
  }

  check(): void {
    if (this.isStopped) throw new Closed("closed");
  }

  take(): Promise<void> | undefined {
    this.check();
    if (performance.now() - this.sinceMs < TURN_MS) return undefined;
    return new Promise((go) => {
      setImmediate(() => {
        this.sinceMs = performance.now();
        go();
      });
    });
  }
}

/** More for a file that would have more parts than may be. */
function partBytes(largestBytes: number): number {
  const least = Math.ceil(largestBytes / MOST_PARTS / LIMITS.chunkBytes) * LIMITS.chunkBytes;
  return Math.max(PART_BYTES, least);
}
