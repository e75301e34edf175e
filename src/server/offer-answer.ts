// SPDX-License-Identifier: Apache-2.0
/**
 * What other stores pull: the index of what is trusted, the store key's signature over it, and its documents one behind the
 * other. Blobs are asked for like anybody does. Layer: server. Addresses: docs/http.md, "For other stores".
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Digest } from "../base/digest.ts";
import type { Offer, Serving } from "../repo/serving.ts";
import { COMMON_HEADERS, sendRefusal } from "./answer.ts";
import { entityTag, ifNoneMatchHits } from "./conditions.ts";
import { Pace } from "./pace.ts";
import { Places } from "./places.ts";
import { PreparedOffers } from "./prepared.ts";
import { refuse, refuseBusy, refuseFault, refusePreparing, SINCE_FIELD } from "./refusal.ts";
import type { Route } from "./target.ts";

/** Streams of documents at a time: each holds one document in memory. */
const MOST_STREAMS = 16;

const SINCE = /^[1-9][0-9]{0,14}$/;

export type OfferRoute = Extract<Route, { kind: "offer" | "offer-signature" | "offer-documents" }>;

type Offers = Pick<Serving["offers"], "asked" | "madeFor" | "newest" | "byIndex" | "document">;

export interface OfferLimits {
  /** How long a request waits for an index that is being made, or for a place. */
  readonly patienceMs: number;
  /** How far behind the least rate a client may fall. */
  readonly graceMs: number;
  /** How long one that holds a place is let be, before it may lose it to one who waits. */
  readonly settleMs: number;
  /** Told of each index that could not be made. */
  readonly onFault: (error: unknown) => void;
}

export class OfferAnswers {
  private readonly offers: Offers;
  private readonly graceMs: number;
  private readonly settleMs: number;
  private readonly prepared: PreparedOffers;
  private readonly streams: Places;
  /** Of which index something goes to whom. */
  private readonly sending = new Map<ServerResponse, Digest>();

  constructor(offers: Offers, { patienceMs, graceMs, settleMs, onFault }: OfferLimits) {
    this.offers = offers;
    this.graceMs = graceMs;
    this.settleMs = settleMs;
    this.streams = new Places(MOST_STREAMS, patienceMs);
    this.prepared = new PreparedOffers(offers, patienceMs, onFault, () => this.cutOld());
  }

  /** @throws CofferError CORRUPT, IO_ERROR …; if headers were sent by then, the caller must end the connection */
  async answer(request: IncomingMessage, response: ServerResponse, route: OfferRoute): Promise<void> {
    if (route.kind === "offer") return this.answerIndex(request, response);
    if (route.kind === "offer-documents" && request.method === "GET")
      return this.answerDocuments(response, route.index);
    const offer = this.offers.byIndex(route.index);
    if (offer === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
    if (route.kind === "offer-documents") return void response.writeHead(200, documentHeaders(offer)).end();
    const { signature } = offer;
    if (signature === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
    sendWhole(response, Buffer.from(signature), "text/plain; charset=us-ascii");
  }

  private async answerIndex(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = await this.prepared.newest(sinceOf(request));
    if (found.kind === "late") return sendRefusal(response, refusePreparing(found.since));
    if (found.kind === "fault") return sendRefusal(response, refuseFault(found.error));
    const { index } = found.offer;
    const headers = { ...COMMON_HEADERS, ETag: entityTag(index.id) };
    if (ifNoneMatchHits(request.headers["if-none-match"], index.id)) {
      response.writeHead(304, headers);
      response.end();
      return;
    }
    response.writeHead(200, { ...headers, "Content-Type": "application/json", "Content-Length": index.bytes.length });
    if (request.method === "HEAD") return void response.end();
    const pace = new Pace(response, this.graceMs);
    await this.send(response, index.id, () => pace.write(index.bytes));
  }

  /** @param write - to return false if the client is gone, or was too slow */
  private async send(response: ServerResponse, id: Digest, write: () => Promise<boolean>): Promise<void> {
    this.sending.set(response, id);
    try {
      if (await write()) response.end();
    } finally {
      this.sending.delete(response);
    }
  }

  /** Slow clients must not hold more indexes in memory, each with what it lists, than can be asked for. */
  private cutOld(): void {
    for (const [response, id] of this.sending) if (this.offers.byIndex(id) === undefined) response.destroy();
  }

  /** Who waits for a place holds no offer: it may be gone by then. */
  private async answerDocuments(response: ServerResponse, index: Digest): Promise<void> {
    if (this.offers.byIndex(index) === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
    const pace = new Pace(response, this.graceMs, this.settleMs);
    const isPlaced = await this.streams.use(response, pace, async () => {
      const offer = this.offers.byIndex(index);
      if (offer === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
      response.writeHead(200, documentHeaders(offer));
      await this.send(response, index, () => this.writeDocuments(pace, offer));
    });
    if (!isPlaced && !response.destroyed) sendRefusal(response, refuseBusy());
  }

  private async writeDocuments(pace: Pace, { documents }: Offer): Promise<boolean> {
    for (const item of documents) {
      if (!(await pace.write(await this.offers.document(item)))) return false;
    }
    return true;
  }
}

/** What cannot be read asks for the newest. */
function sinceOf({ headers }: IncomingMessage): number | undefined {
  const field = headers[SINCE_FIELD.toLowerCase()];
  return typeof field === "string" && SINCE.test(field) ? Number(field) : undefined;
}

function documentHeaders({ documentBytes }: Offer): OutgoingHttpHeaders {
  return { ...COMMON_HEADERS, "Content-Type": "application/octet-stream", "Content-Length": documentBytes };
}

function sendWhole(response: ServerResponse, bytes: Uint8Array, type: string): void {
  response.writeHead(200, { ...COMMON_HEADERS, "Content-Type": type, "Content-Length": bytes.length });
  response.end(bytes);
}
