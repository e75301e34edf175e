// SPDX-License-Identifier: Apache-2.0
/**
 * SHA-256 of large things on a thread of their own: bytes that need two digests get them in the time of one.
 * Layer: objects. Holds invariant 6: the thread is handed bytes, never paths, and looks at the very memory of its caller.
 *
 * One thread for the process, started when the first large thing comes; while it has nothing to do it keeps no process
 * alive. It costs some 50 ms to start, so small things are hashed where they are. A thread that dies is an error of all
 * who wait for it, and of whoever goes on with a hash that it had begun; the next hash gets a new one.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import { type Digest, digestFromBytes } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";

/** A hash of bytes that come piece by piece, here or on the other thread. */
export interface StreamHash {
  /** `bytes` must not change until it settles. Calls may overlap and keep the order they were made in. @throws CofferError IO_ERROR */
  update(bytes: Uint8Array): Promise<void>;
  /** Of all bytes; nothing can be added then. @throws CofferError IO_ERROR */
  digest(): Promise<Digest>;
  /** 32 bytes, of what came so far; more may come. Left out on the other thread. */
  soFar?(): Uint8Array;
}

/** From this size on a second thread is worth its start. */
const LARGE_BYTES = 64 * 1024 * 1024;

/** True if so many bytes are hashed on the other thread. */
export function isLarge(sizeBytes: number): boolean {
  return sizeBytes >= LARGE_BYTES && availableParallelism() > 1;
}

/** @param sizeBytes - how much will come, as far as is known; it decides where, and nothing else */
export function streamHash(sizeBytes: number): StreamHash {
  if (!isLarge(sizeBytes)) return new HashHere();
  if (thread === undefined || thread.isDead) thread = new HashThread();
  return new HashThere(thread);
}

class HashHere implements StreamHash {
  readonly #hash = createHash("sha256");

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  async digest(): Promise<Digest> {
    return digestFromBytes(this.#hash.digest());
  }

  soFar(): Uint8Array {
    return this.#hash.copy().digest();
  }
}

class HashThere implements StreamHash {
  readonly #thread: HashThread;
  readonly #id: number;

  constructor(thread: HashThread) {
    this.#thread = thread;
    this.#id = thread.begin();
  }

  update(bytes: Uint8Array): Promise<void> {
    // What is shared is looked at where it lies; of anything else the thread gets a copy of its own.
    const isShared = bytes.buffer instanceof SharedArrayBuffer;
    const done = this.#thread.ask({ id: this.#id, bytes: isShared ? bytes : bytes.slice() }).then(() => undefined);
    done.catch(() => undefined); // it may fail while the caller is busy: that is told when the caller asks
    return done;
  }

  async digest(): Promise<Digest> {
    const raw = await this.#thread.ask({ id: this.#id });
    if (raw === undefined) throw new CofferError("INTERNAL", "the hashing thread gave no digest");
    return digestFromBytes(raw);
  }
}

/** One piece, or without bytes the end. The thread answers each in turn: with nothing, or with a digest. */
interface Request {
  readonly id: number;
  readonly bytes?: Uint8Array;
}

/** A text, since the command is bundled into one file, beside which no other has to be found. */
const THREAD_SOURCE = `
const { createHash } = require("node:crypto");
const { parentPort } = require("node:worker_threads");
const hashes = new Map();
parentPort.on("message", ({ id, bytes }) => {
  const hash = hashes.get(id) ?? createHash("sha256");
  if (bytes !== undefined) {
    hashes.set(id, hash.update(bytes));
    parentPort.postMessage(undefined);
  } else {
    hashes.delete(id);
    parentPort.postMessage(hash.digest());
  }
});`;

interface Waiting {
  readonly settle: (answer: Uint8Array | undefined) => void;
  readonly fail: (error: unknown) => void;
}

/** The module is loaded here: it would take a tenth of the start of a command that hashes nothing large. */
function startWorker(): Worker {
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  return new Worker(THREAD_SOURCE, { eval: true, execArgv: [], env: {}, name: "sha256" });
}

let thread: HashThread | undefined;

/** A hash that is given up leaves some hundred bytes in the thread. */
class HashThread {
  readonly #worker = startWorker();
  readonly #waiting: Waiting[] = [];
  #begun = 0;
  #failure: CofferError | undefined;

  constructor() {
    this.#worker.unref();
    this.#worker.on("message", (answer: Uint8Array | undefined) => this.#answer(answer));
    this.#worker.on("error", (cause) => this.#die(cause));
    this.#worker.on("exit", () => this.#die());
  }

  get isDead(): boolean {
    return this.#failure !== undefined;
  }

  begin(): number {
    this.#begun += 1;
    return this.#begun;
  }

  ask(request: Request): Promise<Uint8Array | undefined> {
    return new Promise((settle, fail) => {
      if (this.#failure !== undefined) return fail(this.#failure);
      if (this.#waiting.length === 0) this.#worker.ref();
      this.#waiting.push({ settle, fail });
      this.#worker.postMessage(request);
    });
  }

  #answer(answer: Uint8Array | undefined): void {
    this.#waiting.shift()?.settle(answer);
    if (this.#waiting.length === 0) this.#worker.unref();
  }

  #die(cause?: unknown): void {
    this.#failure ??= new CofferError("IO_ERROR", "the thread that hashes ended before its work", { cause });
    for (const { fail } of this.#waiting.splice(0)) fail(this.#failure);
  }
}
