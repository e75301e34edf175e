// SPDX-License-Identifier: Apache-2.0
/**
 * A `coffer serve` as a source: its index, all documents in one stream, and blobs in ranges. Layer: sync.
 * Addresses: docs/http.md, "For other stores". Every byte proves itself to the importer; nothing here is believed.
 *
 * The server's store may move meanwhile. Documents of an index stay as they are; a blob whose trust has ended is not given
 * out any more, and denials that were added since the index was made are asked for once all has come: both end in
 * REMOTE_CHANGED, so that a revocation wins over the pull that it overtakes.
 */
import { setTimeout } from "node:timers/promises";
import { type Digest, short } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { quote } from "../base/quote.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { type BundleIndex, parseBundleIndex } from "./bundle-index.ts";
import { type Asked, type HttpAnswer, type HttpOptions, HttpReader } from "./http-reader.ts";
import { streamInput } from "./input.ts";
import type { Item, Parcel, Source } from "./source.ts";
import { indexSignaturePath } from "./volume-note.ts";
import { checkIndex } from "./volume-reader.ts";
import { Waiting } from "./waiting.ts";

export type { HttpOptions };

type BlobItem = Extract<Item, { kind: "blob" }>;

/** Of the body of a refusal. */
const REFUSAL_BYTES = 4096;

/** Servers of older versions look at all their names before they say anything. */
const INDEX_MS = 300_000;

/** What a server says with `Retry-After` while nothing is wrong with it, and what that means. */
const WAITS: ReadonlyMap<string | undefined, string> = new Map([
  ["BUSY", "all its places are taken"],
  ["PREPARING", "it goes through its names"],
]);
const LONGEST_WAIT_S = 60;

/** Sent back as it came: an index that is made from that entry of the log on will do, if nothing was denied after it. */
const SINCE_FIELD = "coffer-since";
const SINCE = /^[1-9][0-9]{0,14}$/;

/** Where a server offers its index. */
export const OFFER_PATH = "/v1/bundle";

/**
 * Asks for the index, and nothing else yet.
 * @throws CofferError REMOTE_FAILED, REMOTE_DENIED; BUNDLE_INVALID, SIGNATURE_INVALID - what it offers is no good
 */
export async function httpSource(address: string, options: HttpOptions = {}): Promise<Source> {
  const reader = new HttpReader(address, options);
  try {
    const offer = new Offer(reader, options);
    const index = await offer.readIndex();
    if (index === undefined) throw reader.failed("expected an index, found none");
    return await offer.sourceOf(index);
  } finally {
    reader.close();
  }
}

class Offer {
  readonly #reader: HttpReader;
  readonly #onWait: HttpOptions["onWait"];
  readonly #waiting: Waiting;
  readonly #told = new Set<string>();

  constructor(reader: HttpReader, { onWait, waiting = new Waiting() }: HttpOptions) {
    this.#reader = reader;
    this.#onWait = onWait;
    this.#waiting = waiting;
  }

  /** Asks again as long as the server says that nothing is wrong but the moment. */
  async #get(asked: Asked, what: string): Promise<HttpAnswer> {
    let since: Readonly<Record<string, string>> = {};
    for (;;) {
      const beganMs = performance.now();
      const answer = await this.#reader.get({ ...asked, headers: { ...asked.headers, ...since } });
      if (answer.status !== 503) return answer;
      const waitS = Number(/^[1-9][0-9]{0,3}$/.exec(answer.field("retry-after") ?? "")?.[0] ?? Number.NaN);
      const field = answer.field(SINCE_FIELD);
      if (field !== undefined && SINCE.test(field)) since = { [SINCE_FIELD]: field };
      const code = await codeOf(answer);
      const reason = WAITS.get(code);
      if (reason === undefined || !(waitS <= LONGEST_WAIT_S)) throw this.#refusal(503, code, what);
      if (!this.#waiting.take(performance.now() - beganMs, waitS * 1000))
        throw this.#reader.failed(`${what}: ${reason}, and it was asked again for as long as one pull may wait`);
      if (!this.#told.has(reason))
        this.#onWait?.(`${this.#reader.shown}: ${reason}; it is asked again every ${waitS} s`);
      this.#told.add(reason);
      await setTimeout(waitS * 1000);
      this.#waiting.take(waitS * 1000, 0);
    }
  }

  /**
   * @param known - undefined is returned if it is still this one
   * @param since - the entry of the log after which only denials matter; without it, the newest is asked for
   */
  async readIndex(known?: Digest, since?: number): Promise<Stored<BundleIndex> | undefined> {
    const headers = {
      ...(known === undefined ? {} : { "if-none-match": `"${known}"` }),
      ...(since === undefined ? {} : { [SINCE_FIELD]: String(since) }),
    };
    const asked = { path: OFFER_PATH, headers, mostBytes: LIMITS.bundleIndexBytes, answerMs: INDEX_MS };
    const answer = await this.#get(asked, "its index");
    if (answer.status === 304 && known !== undefined) {
      answer.end();
      return undefined;
    }
    if (answer.status !== 200) throw await this.#refused(answer, "its index");
    const index = parseBundleIndex(await collect(answer));
    return index.id === known ? undefined : index;
  }

  async sourceOf(index: Stored<BundleIndex>): Promise<Source> {
    const armored = await this.#readSignature(index);
    const path = indexSignaturePath(index.value.storeKey.keyId);
    const { signature } = armored === undefined ? {} : checkIndex(index, { path, armored }, this.#reader.shown);
    return {
      ...{ index, missing: [], stagedBy: index.value.store },
      ...(signature === undefined ? { unproven: true } : { signature }),
      parcels: (wants) => this.#parcels(index, wants),
    };
  }

  /** undefined: the server has no store key at hand. */
  async #readSignature({ id }: Stored<BundleIndex>): Promise<Uint8Array | undefined> {
    const asked = { path: `${OFFER_PATH}/${id}/signature`, mostBytes: LIMITS.signatureBytes };
    const answer = await this.#get(asked, "the signature of its index");
    if (answer.status === 200) return collect(answer);
    if (answer.status !== 404) throw await this.#refused(answer, "the signature of its index");
    answer.end();
    return undefined;
  }

  async *#parcels(index: Stored<BundleIndex>, wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    try {
      yield* this.#documents(index, wants);
      yield* this.#blobs(index, wants);
      await this.#refuseChange(index);
    } finally {
      this.#reader.close();
    }
  }

  async *#documents(index: Stored<BundleIndex>, wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    const small = index.value.items.filter(({ kind }) => kind !== "blob");
    const sizeBytes = small.reduce((sum, item) => sum + item.sizeBytes, 0);
    const answer = await this.#get({ path: `${OFFER_PATH}/${index.id}/documents`, sizeBytes }, "its documents");
    if (answer.status === 404) throw this.#changed(answer, "it offers another index by now");
    if (answer.status !== 200) throw await this.#refused(answer, "its documents");
    const body = this.#unlessGone(index, answer);
    const input = streamInput(body, this.#reader.shown);
    try {
      for (const item of small) {
        let isRead = false;
        const read = (): AsyncIterable<Uint8Array> => {
          isRead = true;
          return input.pieces(item.sizeBytes);
        };
        if (wants(item)) yield { item, read };
        if (!isRead) await input.skip(item.sizeBytes);
      }
      if (!(await input.atEnd())) throw this.#reader.failed("its documents are longer than its index says");
    } finally {
      await body.return(undefined);
    }
  }

  /** A server cuts who takes the documents of an index that is gone: that is no fault of the network. */
  async *#unlessGone({ id }: Stored<BundleIndex>, answer: HttpAnswer): AsyncGenerator<Uint8Array> {
    try {
      yield* answer.body();
    } catch (error) {
      if (isCofferError(error, "REMOTE_FAILED") && (await this.readIndex(id)) !== undefined)
        throw this.#changed(answer, "it offers another index by now");
      throw error;
    }
  }

  async *#blobs(index: Stored<BundleIndex>, wants: (item: Item) => boolean): AsyncGenerator<Parcel> {
    const { items, segmentBytes } = index.value;
    const sizes = new Map<Digest, number>();
    for (const item of items)
      if (item.kind === "blob") sizes.set(item.blob, (sizes.get(item.blob) ?? 0) + item.sizeBytes);
    for (const item of items) {
      if (item.kind !== "blob" || !wants(item)) continue;
      const span = item.part === undefined ? undefined : { start: item.part * segmentBytes, of: sizes.get(item.blob) };
      yield { item, read: () => this.#bytes(index, item, span) };
    }
  }

  async *#bytes(index: Stored<BundleIndex>, item: BlobItem, span: Span | undefined): AsyncGenerator<Uint8Array> {
    const end = (span?.start ?? 0) + item.sizeBytes - 1;
    const headers = span === undefined ? {} : { range: `bytes=${span.start}-${end}` };
    const asked: Asked = { path: `/v1/blobs/sha256/${item.blob}`, headers, sizeBytes: item.sizeBytes };
    const what = `blob ${short(item.blob)}`;
    const answer = await this.#get(asked, what);
    if (answer.status === 404 || answer.status === 410)
      throw this.#changed(answer, `${what} is not given out any more`);
    if (answer.status !== (span === undefined ? 200 : 206)) throw await this.#refused(answer, what);
    const range = answer.field("content-range");
    if (span !== undefined && range !== `bytes ${span.start}-${end}/${span.of}`) {
      answer.end();
      throw this.#reader.failed(`${what}: expected the range that was asked for, found ${quote(range ?? "none", 80)}`);
    }
    try {
      yield* answer.body();
    } catch (error) {
      // A server cuts what is revoked while it is sent: that is no fault of the network.
      if (isCofferError(error, "REMOTE_FAILED")) await this.#refuseChange(index);
      throw error;
    }
  }

  /** @throws CofferError REMOTE_CHANGED - the server knows of denials, signatures over them, or a policy that the index does not have */
  async #refuseChange({ id, value }: Stored<BundleIndex>): Promise<void> {
    const newer = await this.readIndex(id, value.log.number);
    if (newer === undefined) return;
    const known = new Set(denyingIn(value));
    if ([...denyingIn(newer.value)].every((one) => known.has(one))) return;
    throw new CofferError("REMOTE_CHANGED", `${this.#reader.shown}: something was denied there during the pull`);
  }

  #changed(answer: HttpAnswer, what: string): CofferError {
    answer.end();
    return new CofferError("REMOTE_CHANGED", `${this.#reader.shown}: ${what}`);
  }

  async #refused(answer: HttpAnswer, what: string): Promise<CofferError> {
    return this.#refusal(answer.status, await codeOf(answer), what);
  }

  #refusal(status: number, code: string | undefined, what: string): CofferError {
    const more = status === 421 ? "; a proxy before a server has to name its host: see docs/http.md" : "";
    return this.#reader.failed(`${what}: it answered ${status}${code === undefined ? "" : ` ${code}`}${more}`);
  }
}

/** Policies, denials, and whose signatures are over these: one more may make a denial reach further. */
function* denyingIn({ policies, revocations, refusals, items }: BundleIndex): Generator<string> {
  const denials = new Set([...revocations, ...refusals]);
  yield* policies;
  yield* denials;
  for (const item of items)
    if (item.kind === "signature" && denials.has(item.object)) yield `${item.object} ${item.keyId}`;
}

/** Where a part lies in its blob. */
interface Span {
  readonly start: number;
  readonly of: number | undefined;
}

async function collect(answer: HttpAnswer, mostBytes?: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body(mostBytes)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The code that a refusal of a coffer server gives, if it is one; what else it says is not for terminals. */
async function codeOf(answer: HttpAnswer): Promise<string | undefined> {
  const text = (await collect(answer, REFUSAL_BYTES)).toString("latin1");
  return /^\{"error":\{"code":"([A-Z_]{1,40})"/.exec(text)?.[1];
}
