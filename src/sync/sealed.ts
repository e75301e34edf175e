// SPDX-License-Identifier: Apache-2.0
/**
 * Volumes that are encrypted with age, read as if they were not: a file in which one can go ahead, or a pipe.
 * Layer: sync. Only bytes whose chunk was found whole are handed on; they are then checked by all rules as any others.
 */
import { CofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { quote } from "../base/quote.ts";
import type { FilePlace, FileStat, OpenFile } from "../objects/files.ts";
import { AGE_MAGIC, headerEnd, payloadKey, recipientKinds, type Unlock } from "./age-header.ts";
import { CHUNK_BYTES, clearSize, NONCE_BYTES, openChunk, openChunks, SEALED_CHUNK_BYTES } from "./age-stream.ts";

const ANY_VERSION = "age-encryption.org/";
const ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----";
const FIRST_BYTES = 64;
const CHUNKS_TOGETHER = 16;

/** True of the first bytes of an age file in any form. So many tell: `FIRST_BYTES`. */
export function beginsSealed(first: Uint8Array): boolean {
  const text = Buffer.from(first.subarray(0, FIRST_BYTES)).toString("latin1");
  return text.startsWith(ANY_VERSION) || text.startsWith(ARMOR);
}

/** @throws CofferError UNSUPPORTED - age in a form that is not read here */
function isAge(first: Uint8Array, what: string): boolean {
  const text = Buffer.from(first).toString("latin1");
  if (text.startsWith(ARMOR)) {
    throw new CofferError(
      "UNSUPPORTED",
      `${what}: expected a binary age file, found armor: decrypt it with \`age -d\``,
    );
  }
  if (text.startsWith(AGE_MAGIC)) return true;
  if (!text.startsWith(ANY_VERSION)) return false;
  const found = quote(text.split("\n")[0] ?? "", 40);
  throw new CofferError("UNSUPPORTED", `${what}: expected ${quote(AGE_MAGIC.trim())}, found ${found}`);
}

interface Opened {
  readonly key: Uint8Array;
  /** Where the chunks begin. */
  readonly bodyAt: number;
}

/** @param front - the beginning of the file, as much as a header may have, or all of it */
async function openFront(front: Uint8Array, what: string, unlock: Unlock | undefined): Promise<Opened> {
  const end = headerEnd(front);
  if ((end ?? front.length) > LIMITS.ageHeaderBytes) {
    const text = `${what}: expected an age header of at most ${LIMITS.ageHeaderBytes} bytes, found a longer one`;
    throw new CofferError("BUNDLE_INVALID", text);
  }
  if (end === undefined || front.length < end + NONCE_BYTES) throw endsEarly(what, "its header");
  const header = front.subarray(0, end);
  if (unlock === undefined) {
    const text = `${what}: is encrypted (${recipientKinds(header)}): expected an identity that can open it, found none`;
    throw new CofferError("IDENTITY_NEEDED", text);
  }
  const fileKey = await unlock(header, what);
  return { key: payloadKey(fileKey, front.subarray(end, end + NONCE_BYTES)), bodyAt: end + NONCE_BYTES };
}

/** Enough for the longest header, the nonce, and to see that a header is longer than that. */
const FRONT_BYTES = LIMITS.ageHeaderBytes + NONCE_BYTES + 1;

function endsEarly(what: string, where: string): CofferError {
  return new CofferError("VOLUME_DAMAGED", `${what}: the encrypted file ends within ${where}`);
}

function badChunk(what: string, key: Uint8Array, number: number, isLast: boolean, sealed: Uint8Array): CofferError {
  const other = openChunk(key, number, !isLast, sealed);
  if (other === undefined) {
    const text = `chunk ${number + 1} of the encrypted file is not what was encrypted`;
    return new CofferError("VOLUME_DAMAGED", `${what}: ${text}: changed, cut short or added to`);
  }
  const text = isLast
    ? `expected more of the encrypted file after chunk ${number + 1}, found its end`
    : `expected the end of the encrypted file after chunk ${number + 1}, found more`;
  return new CofferError("VOLUME_DAMAGED", `${what}: ${text}`);
}

/** The clear bytes of an encrypted file, at any position; one read at a time. */
class SealedFile implements OpenFile {
  readonly #file: OpenFile;
  readonly #what: string;
  readonly #opened: Opened;
  readonly #clearBytes: number;
  readonly #chunks: number;
  readonly #sealed = new Uint8Array(CHUNKS_TOGETHER * SEALED_CHUNK_BYTES);

  constructor(file: OpenFile, what: string, opened: Opened, clearBytes: number) {
    this.#file = file;
    this.#what = what;
    this.#opened = opened;
    this.#clearBytes = clearBytes;
    this.#chunks = Math.max(1, Math.ceil(clearBytes / CHUNK_BYTES));
  }

  /** A file that was cut short or added to is so noticed before any of it is used. @throws CofferError VOLUME_DAMAGED */
  async checkEnd(): Promise<void> {
    const last = this.#chunks - 1;
    this.#open(last, await this.#readSealed(last, 1));
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    const wanted = Math.min(buffer.length, this.#clearBytes - position);
    let done = 0;
    while (done < wanted) {
      const first = Math.floor((position + done) / CHUNK_BYTES);
      const last = Math.floor((position + wanted - 1) / CHUNK_BYTES);
      const sealed = await this.#readSealed(first, Math.min(last - first + 1, CHUNKS_TOGETHER));
      for (let at = 0, number = first; at < sealed.length; at += SEALED_CHUNK_BYTES, number += 1) {
        const clear = this.#open(number, sealed.subarray(at, at + SEALED_CHUNK_BYTES));
        const from = position + done - number * CHUNK_BYTES;
        const some = clear.subarray(from, from + wanted - done);
        buffer.set(some, done);
        done += some.length;
      }
    }
    return Math.max(0, done);
  }

  /** As many of `count` chunks as there are. */
  async #readSealed(first: number, count: number): Promise<Uint8Array> {
    const from = this.#opened.bodyAt + first * SEALED_CHUNK_BYTES;
    const buffer = this.#sealed.subarray(0, count * SEALED_CHUNK_BYTES);
    const length = await this.#file.read(buffer, from);
    if (length === 0) throw endsEarly(this.#what, `chunk ${first + 1}`); // it was longer when it was opened
    return buffer.subarray(0, length);
  }

  #open(number: number, sealed: Uint8Array): Uint8Array {
    const { key } = this.#opened;
    const isLast = number === this.#chunks - 1;
    const clear = openChunk(key, number, isLast, sealed);
    if (clear === undefined) throw badChunk(this.#what, key, number, isLast, sealed);
    return clear;
  }

  async stat(): Promise<FileStat> {
    return { ...(await this.#file.stat()), sizeBytes: this.#clearBytes };
  }

  place(): Promise<FilePlace | undefined> {
    return this.#file.place();
  }

  fsync(): Promise<void> {
    return this.#file.fsync();
  }

  setMode(mode: number): Promise<void> {
    return this.#file.setMode(mode);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

export interface Unsealed {
  readonly file: OpenFile;
  readonly sealed: boolean;
}

/**
 * @param file - open; the caller closes it, or what comes back
 * @returns the same file if it is not encrypted
 * @throws CofferError IDENTITY_NEEDED, IDENTITY_WRONG, VOLUME_DAMAGED, BUNDLE_INVALID, UNSUPPORTED
 */
export async function unsealFile(file: OpenFile, what: string, unlock: Unlock | undefined): Promise<Unsealed> {
  const first = new Uint8Array(FIRST_BYTES);
  if (!isAge(first.subarray(0, await file.read(first, 0)), what)) return { file, sealed: false };
  const front = new Uint8Array(FRONT_BYTES);
  const opened = await openFront(front.subarray(0, await file.read(front, 0)), what, unlock);
  const clearBytes = clearSize((await file.stat()).sizeBytes - opened.bodyAt);
  if (clearBytes === undefined) throw endsEarly(what, "the seal of its last chunk");
  const unsealed = new SealedFile(file, what, opened, clearBytes);
  await unsealed.checkEnd();
  return { file: unsealed, sealed: true };
}

/** @throws CofferError as `unsealFile`, some of them only while it is read */
export async function* unsealStream(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  unlock: Unlock | undefined,
): AsyncGenerator<Uint8Array> {
  const pieces = stream[Symbol.asyncIterator]();
  let front = await readFront(pieces, new Uint8Array(), FIRST_BYTES);
  if (!isAge(front, what)) {
    yield* following(front, pieces);
    return;
  }
  front = await readFront(pieces, front, FRONT_BYTES, headerEnd);
  const { key, bodyAt } = await openFront(front, what, unlock);
  yield* openChunks(following(front.subarray(bodyAt), pieces), key, (number, isLast, sealed) =>
    badChunk(what, key, number, isLast, sealed),
  );
}

/** `front` and what follows, until there are `bytes` of it, or a header and its nonce, or the end. */
async function readFront(
  pieces: AsyncIterator<Uint8Array>,
  front: Uint8Array,
  bytes: number,
  end: (bytes: Uint8Array) => number | undefined = () => undefined,
): Promise<Uint8Array> {
  let all = front;
  while (all.length < Math.min(bytes, (end(all) ?? bytes) + NONCE_BYTES)) {
    const { value, done } = await pieces.next();
    if (done === true) return all;
    all = Buffer.concat([all, value]); // a copy: a piece is valid until the next one only
  }
  return all;
}

async function* following(first: Uint8Array, pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  for (;;) {
    const { value, done } = await pieces.next();
    if (done === true) return;
    yield value;
  }
}
