// SPDX-License-Identifier: Apache-2.0
/**
 * What other stores pull: the index of what is trusted, the store key's signature over it, and its documents one behind the
 * other. Blobs are asked for like anybody does. Layer: server. Addresses: docs/http.md, "For other stores".
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Digest } from "../base/digest.ts";
import type { Offer, Serving } from "../repo/serving.ts";
import { COMMON_HEADERS, sendRefusal } from "./answer.ts";
import { entityTag, ifNoneMatchHits } from "./conditions.ts";
import { refuse, refuseBusy } from "./refusal.ts";
import type { Route } from "./target.ts";
import { writeBytes } from "./write-bytes.ts";

/** Streams of documents at a time: each holds one document in memory. */
const MOST_STREAMS = 16;

export type OfferRoute = Extract<Route, { kind: "offer" | "offer-signature" | "offer-documents" }>;

export class OfferAnswers {
  private readonly serving: Serving;
  private streams = 0;

  constructor(serving: Serving) {
    this.serving = serving;
  }

  /** @throws CofferError CORRUPT, IO_ERROR …; if headers were sent by then, the caller must end the connection */
  async answer(request: IncomingMessage, response: ServerResponse, route: OfferRoute): Promise<void> {
    if (route.kind === "offer") return this.answerIndex(request, response);
    const offer = this.serving.offers.byIndex(route.index);
    if (offer === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
    if (route.kind === "offer-documents") return this.answerDocuments(request, response, offer);
    const { signature } = offer;
    if (signature === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
    sendWhole(response, Buffer.from(signature), "text/plain; charset=us-ascii");
  }

  private async answerIndex(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { index } = await this.serving.offers.at(await this.serving.head());
    if (ifNoneMatchHits(request.headers["if-none-match"], index.id)) {
      response.writeHead(304, { ...COMMON_HEADERS, ETag: entityTag(index.id) });
      response.end();
      return;
    }
    sendWhole(response, index.bytes, "application/json", index.id);
  }

  private async answerDocuments(request: IncomingMessage, response: ServerResponse, offer: Offer): Promise<void> {
    if (this.streams >= MOST_STREAMS) return sendRefusal(response, refuseBusy());
    this.streams += 1;
    try {
      response.writeHead(200, {
        ...COMMON_HEADERS,
        "Content-Type": "application/octet-stream",
        "Content-Length": offer.documentBytes,
      });
      if (request.method === "GET") {
        for (const item of offer.documents) {
          if (!(await writeBytes(response, await this.serving.offers.document(item)))) return;
        }
      }
      response.end();
    } finally {
      this.streams -= 1;
    }
  }
}

function sendWhole(response: ServerResponse, bytes: Uint8Array, type: string, tag?: Digest): void {
  response.writeHead(200, {
    ...COMMON_HEADERS,
    "Content-Type": type,
    "Content-Length": bytes.length,
    ...(tag === undefined ? {} : { ETag: entityTag(tag) }),
  });
  response.end(bytes);
}
