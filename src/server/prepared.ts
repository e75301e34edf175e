// SPDX-License-Identifier: Apache-2.0
/**
 * Offers for those who do not wait for ever. Each gets one that lacks nothing of what was committed before the request, or
 * before the first request if it was sent away since, and never lacks what was denied. What is not made in time is made all
 * the same, and how that failed is kept for a while, so that it is told to whoever asks next. Layer: server.
 */
import { type Asked, Closed, type Offer, type Serving } from "../repo/serving.ts";
import { PREPARED_AFTER_S } from "./refusal.ts";

type Ended = { readonly kind: "offer"; readonly offer: Offer } | Fault;

interface Fault {
  readonly kind: "fault";
  readonly error: unknown;
}

export type Prepared = Ended | { readonly kind: "late"; readonly since: number };

export class PreparedOffers {
  private readonly offers: Pick<Serving["offers"], "asked" | "madeFor" | "newest">;
  private readonly patienceMs: number;
  private readonly onFault: (error: unknown) => void;
  private readonly onMade: () => void;
  /** What is being made, and how it ends. */
  private making: Promise<Ended> | undefined;
  /** Until then somebody who was sent away may ask again. */
  private awaitedUntilMs = 0;
  private failed: { readonly fault: Fault; readonly untilMs: number } | undefined;

  /**
   * @param onFault - told once of each that fails
   * @param onMade - called for each that does not, also if nobody waits for it any more
   */
  constructor(
    offers: Pick<Serving["offers"], "asked" | "madeFor" | "newest">,
    patienceMs: number,
    onFault: (error: unknown) => void,
    onMade: () => void,
  ) {
    this.offers = offers;
    this.patienceMs = patienceMs;
    this.onFault = onFault;
    this.onMade = onMade;
  }

  /**
   * @param since - the entry that was given to whoever was sent away before
   * @throws CofferError CORRUPT, LOG_BEHIND_MEMORY - of the log or the ref tree
   */
  async newest(since?: number): Promise<Prepared> {
    if (this.failed !== undefined && performance.now() < this.failed.untilMs) return this.failed.fault;
    const asked = await this.offers.asked(since);
    const kept = await this.offers.madeFor(asked);
    if (kept !== undefined) return { kind: "offer", offer: kept };
    const found = await within(this.patienceMs, this.prepare(asked));
    if (found !== undefined) return found;
    this.awaitedUntilMs = this.afterPatience();
    return { kind: "late", since: asked.since };
  }

  /** What is being made already may do; if not, the next one does, since it begins after the request came. */
  private async prepare(asked: Asked): Promise<Ended> {
    if (this.making !== undefined) {
      await this.making;
      const offer = await this.offers.madeFor(asked);
      if (offer !== undefined) return { kind: "offer", offer };
    }
    this.making ??= this.make();
    return this.making;
  }

  private async make(): Promise<Ended> {
    try {
      const offer = await this.offers.newest();
      this.failed = undefined;
      this.onMade();
      return { kind: "offer", offer };
    } catch (error) {
      if (!(error instanceof Closed)) this.onFault(error);
      const fault: Fault = { kind: "fault", error };
      if (performance.now() < this.awaitedUntilMs) this.failed = { fault, untilMs: this.afterPatience() };
      return fault;
    } finally {
      this.making = undefined;
    }
  }

  /** Who was sent away comes again before that, and may then wait once more. */
  private afterPatience(): number {
    return performance.now() + this.patienceMs + 2 * PREPARED_AFTER_S * 1000;
  }
}

/** undefined if it takes longer; always if there is no time, however fast it is. */
async function within<T>(ms: number, made: Promise<T>): Promise<T | undefined> {
  if (ms === 0) return Promise.race([undefined, made]);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([made, late]);
  } finally {
    clearTimeout(timer);
  }
}
