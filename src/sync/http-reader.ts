// SPDX-License-Identifier: Apache-2.0
/**
 * GET requests to one server that nobody vouches for: no redirects, no proxies, no cookies, no compression, bounded in size,
 * in silence and in slowness. Layer: sync. Not here: what is asked, and what the bytes mean (http-source.ts).
 */
import { type Agent, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { CofferError, systemCode } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { checkAuthorities, denied, isDenied, type Login, loginFields, slowness } from "../base/web.ts";
import type { Waiting } from "./waiting.ts";

export interface HttpOptions {
  /** Certificate authorities in PEM, in place of those that Node.js knows. */
  readonly authorities?: string;
  /** Sent over https, and to this machine itself; nowhere else. */
  readonly login?: Login;
  /** How long the other side may say nothing. */
  readonly silenceMs?: number;
  /** Told, for people, what is being waited for. */
  readonly onWait?: (text: string) => void;
  /** Of one pull, also where it begins anew; one of its own for each source when left out. */
  readonly waiting?: Waiting;
}

/** What is asked for, and how much of it is put up with. */
export interface Asked {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Exactly so many bytes. */
  readonly sizeBytes?: number;
  /** At most so many, where nothing says how many. */
  readonly mostBytes?: number;
  /** Until the answer begins, where that takes its time; as long as any silence when left out. */
  readonly answerMs?: number;
}

/** An answer whose body is read, or thrown away by `end`. */
export interface HttpAnswer {
  readonly status: number;
  /** A field that came once, or undefined. */
  field(name: string): string | undefined;
  /**
   * The bytes, as many as were asked for. @param mostBytes - of another answer than that
   * @throws CofferError REMOTE_FAILED
   */
  body(mostBytes?: number): AsyncGenerator<Uint8Array>;
  /** Ends the connection, unless the body was read to its end. */
  end(): void;
}

/** What the other side has had of it. */
interface Patience {
  waitedMs: number;
  bytes: number;
}

const SILENCE_MS = 60_000;
const HEADER_BYTES = 16 * 1024;

export class HttpReader {
  /** The address as it may be shown. */
  readonly shown: string;
  readonly #base: URL;
  readonly #silenceMs: number;
  readonly #agent: Agent;
  readonly #login: Readonly<Record<string, string>>;

  /** @param address - http(s)://host[:port][/path], which the caller has checked. @throws CofferError USAGE - authorities that are none */
  constructor(address: string, options: HttpOptions = {}) {
    this.#base = new URL(address);
    this.#login = loginFields(this.#base, options.login);
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    const { protocol, host, pathname } = this.#base;
    this.shown = `${protocol}//${host}${pathname.replace(/\/+$/, "")}`;
    const kept = { keepAlive: true, maxSockets: 1, maxFreeSockets: 1 };
    const { authorities } = options;
    if (authorities !== undefined) checkAuthorities(authorities);
    this.#agent =
      protocol === "https:"
        ? // Said here, an environment that turns verification off does not reach it.
          new HttpsAgent({
            ...kept,
            rejectUnauthorized: true,
            ...(authorities === undefined ? {} : { ca: authorities }),
          })
        : new HttpAgent(kept);
  }

  /** @throws CofferError REMOTE_FAILED, REMOTE_DENIED - it cannot be reached, or wants a login, or leads elsewhere */
  async get(asked: Asked): Promise<HttpAnswer> {
    const message = await this.#send(asked);
    const status = message.statusCode ?? 0;
    const answer: HttpAnswer = {
      status,
      field: (name) => fieldOf(message, name),
      body: (mostBytes) => this.#body(message, mostBytes === undefined ? asked : { mostBytes }),
      end: () => void message.destroy(),
    };
    try {
      if (isDenied(status)) throw this.#denied(status);
      if (status >= 300 && status < 400 && status !== 304) {
        throw this.failed(`it answered ${status}, which leads elsewhere; give the address that it leads to`);
      }
      if (status >= 200 && status < 300) this.#checkForm(message, asked);
      return answer;
    } catch (error) {
      answer.end();
      throw error;
    }
  }

  failed(what: string, cause?: unknown): CofferError {
    return new CofferError("REMOTE_FAILED", `${this.shown}: ${what}`, cause === undefined ? undefined : { cause });
  }

  /** Ends the connection that is kept; a later request opens another. */
  close(): void {
    this.#agent.destroy();
  }

  #send({ path, headers, answerMs = this.#silenceMs }: Asked): Promise<IncomingMessage> {
    const open = this.#base.protocol === "https:" ? httpsRequest : httpRequest;
    const options = {
      headers: { accept: "*/*", "accept-encoding": "identity", ...this.#login, ...headers },
      agent: this.#agent,
      maxHeaderSize: HEADER_BYTES,
      insecureHTTPParser: false,
    };
    return new Promise((resolve, reject) => {
      const asked = open(new URL(`${this.shown}${path}`), options);
      // Headers that come a byte at a time are no answer either, so this is for all of them together.
      const late = setTimeout(() => asked.destroy(new Error(`no answer for ${answerMs} ms`)), answerMs);
      asked.on("response", (message) => {
        clearTimeout(late);
        resolve(message);
      });
      asked.on("error", (error) => {
        clearTimeout(late);
        reject(this.failed(`cannot be reached (${systemCode(error) ?? error.message})`, error));
      });
      asked.end();
    });
  }

  #denied(status: number): CofferError {
    const sent = Object.keys(this.#login).length > 0;
    return denied(this.shown, status, sent, "COFFER_HTTP_USER and COFFER_HTTP_PASSWORD");
  }

  /** Before a byte of the body is read. */
  #checkForm(message: IncomingMessage, { sizeBytes, mostBytes }: Asked): void {
    const encoding = fieldOf(message, "content-encoding") ?? "identity";
    if (encoding !== "identity") throw this.failed(`expected bytes as they are, found ${quote(encoding, 40)}`);
    const told = fieldOf(message, "content-length");
    if (told === undefined) return;
    const most = sizeBytes ?? mostBytes ?? 0;
    const isFit = sizeBytes === undefined ? Number(told) <= most : Number(told) === most;
    const expected = sizeBytes === undefined ? `at most ${most}` : `${most}`;
    if (!isFit) throw this.failed(`expected ${expected} bytes, found ${quote(told, 20)} announced`);
  }

  async *#body(message: IncomingMessage, { sizeBytes, mostBytes }: Omit<Asked, "path">): AsyncGenerator<Uint8Array> {
    const most = sizeBytes ?? mostBytes ?? 0;
    const pieces: AsyncIterator<Uint8Array> = message[Symbol.asyncIterator]();
    const patience: Patience = { waitedMs: 0, bytes: 0 };
    try {
      for (;;) {
        const { done, value } = await this.#next(pieces, patience);
        if (done === true) break;
        patience.bytes += value.length;
        const slow = slowness(patience, this.#silenceMs);
        if (slow !== undefined) throw this.failed(slow);
        if (patience.bytes > most) throw this.failed(`expected at most ${most} bytes, found more`);
        yield value;
      }
      if (!message.complete || (sizeBytes !== undefined && patience.bytes !== sizeBytes)) {
        throw this.failed(`its answer broke off after ${patience.bytes} bytes`);
      }
    } catch (error) {
      if (error instanceof CofferError) throw error;
      throw this.failed(`its answer broke off after ${patience.bytes} bytes`, error);
    } finally {
      if (!message.complete || patience.bytes > most) message.destroy();
    }
  }

  /** Only the time that is waited for the other side counts, not what is done with its bytes. */
  async #next(pieces: AsyncIterator<Uint8Array>, patience: Patience): Promise<IteratorResult<Uint8Array>> {
    const sinceMs = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.failed(`nothing came for ${this.#silenceMs} ms`)), this.#silenceMs);
    });
    try {
      return await Promise.race([pieces.next(), silence]);
    } finally {
      clearTimeout(timer);
      patience.waitedMs += performance.now() - sinceMs;
    }
  }
}

function fieldOf(message: IncomingMessage, name: string): string | undefined {
  const values = message.headersDistinct[name];
  return values?.length === 1 ? values[0] : undefined;
}
