// SPDX-License-Identifier: Apache-2.0
/**
 * An open store: its log, objects, key and this machine's memory of it. Every act starts from here.
 * Layer: repo. Format: docs/format.md, "The store on disk". Holds invariants 4 and 7. Holds no descriptors: nothing to close.
 */
import { join } from "node:path";
import type { Digest } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers, systemCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import { POLICY_REF } from "../base/ref-path.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { Signer } from "../keys/signer.ts";
import { parseList } from "../objects/documents/list.ts";
import type { Files } from "../objects/files.ts";
import { ensureFolders, TEMP_FOLDER } from "../objects/layout.ts";
import { sweepLeftovers } from "../objects/leftovers.ts";
import { type ObjectReader, openObjects, readObject } from "../objects/object-store.ts";
import { WriteBatch } from "../objects/write-batch.ts";
import { areViewsBehind, followWithViews } from "../refs/follow.ts";
import { type HeadView, viewOf } from "../refs/head-view.ts";
import { type Log, openLog } from "../refs/log.ts";
import type { LogEntry, LogLine } from "../refs/log-entry.ts";
import { type Memory, openMemory, type Seen } from "../refs/memory.ts";
import { EMPTY_TREE, NodeCache } from "../refs/ref-node.ts";
import { diffTrees, type Move } from "../refs/ref-tree.ts";
import { type Act, commit } from "../refs/transaction.ts";
import { finishAdoption } from "./log-swap.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { Receipts } from "./receipts.ts";
import { keepReserve } from "./reserve.ts";
import { findStoreKey, type StoreSecret } from "./secrets.ts";
import { readStoreFile } from "./store-file.ts";
import { makeFolders } from "./system.ts";

/** The floor is moved in steps: not a write for every statement that is read. */
const FLOOR_STEP_S = 3600;

/** A commit of so many moves, or with a number that this divides, adds what is new to the local index. */
const INDEX_EVERY = 32;
const INDEX_MOVES = 1000;

export interface CommittedEntry {
  readonly number: number;
  readonly id: Digest;
}

export class Store {
  /** Absolute path of the store's folder. */
  readonly root: string;
  readonly files: Files;
  readonly objects: ObjectReader;
  readonly log: Log;
  readonly storeKey: PublicKey;
  /** Id of policy version 1: entry 1 of the log names it, and the store id names entry 1. */
  readonly pin: Digest;
  readonly ports: Ports;
  /** What went wrong beside an act that stands, such as a view or the hint after its commit. For people. */
  readonly warnings: string[] = [];
  /** True if local/tmp was missing and was made again when the store was opened. */
  readonly mendedTemp: boolean;
  /** What spares reading a big file again; undefined without the store key, or where the machine has no boot id. */
  readonly receipts: Receipts | undefined;
  readonly #secret: StoreSecret | undefined;
  readonly #memory: Memory | undefined;
  readonly #cache = new NodeCache();
  #seen: Seen;
  readonly #knownBefore: boolean;
  #swept = false;
  #memoryMayWait = false;

  /** For `openStore` only. */
  constructor(parts: {
    root: string;
    files: Files;
    objects: ObjectReader;
    log: Log;
    pin: Digest;
    ports: Ports;
    secret: StoreSecret | undefined;
    memory: Memory | undefined;
    seen: Seen;
    mendedTemp: boolean;
  }) {
    this.root = parts.root;
    this.files = parts.files;
    this.objects = parts.objects;
    this.log = parts.log;
    this.storeKey = parts.log.storeKey;
    this.pin = parts.pin;
    this.ports = parts.ports;
    this.mendedTemp = parts.mendedTemp;
    this.receipts = receiptsOf(parts);
    this.#secret = parts.secret;
    this.#memory = parts.memory;
    this.#seen = parts.seen;
    this.#knownBefore = parts.seen.head !== undefined;
  }

  get id(): Digest {
    return this.log.storeId;
  }

  get readOnly(): boolean {
    return this.#secret === undefined;
  }

  /** What `evaluate` is told of this machine's memory. */
  memoryFacts(): { readonly known: boolean; readonly floorS?: number } {
    const { floor } = this.#seen;
    return { known: this.#knownBefore, ...(floor === undefined ? {} : { floorS: floor }) };
  }

  /**
   * Every act that writes asks for it before it does anything.
   * @throws CofferError NO_STORE_KEY - this account opens the store read-only; KEY_INVALID - its key is another one
   */
  async needSigner(): Promise<Signer> {
    if (this.#secret !== undefined) return (await this.#secret.open()).signer;
    throw new CofferError(
      "NO_STORE_KEY",
      "this account does not hold the store key, or may not read it, so it opens the store to read only",
    );
  }

  /**
   * Before the first thing that this process writes: removes what stopped writers left. What cannot be removed is
   * told, and stops nothing.
   */
  async sweep(): Promise<void> {
    if (this.#swept) return;
    this.#swept = true;
    try {
      await sweepLeftovers(this.files, this.ports.random);
    } catch (error) {
      passOthers(error);
      this.warnings.push(`files that a stopped act left stay in ${TEMP_FOLDER}: ${error.message}`);
    }
  }

  /** Writes the views that a stopped process did not. What cannot be written is told, and stops nothing. */
  async mendViews(): Promise<void> {
    const entry = await this.log.findHead();
    await this.#remember(entry);
    try {
      if (!(await areViewsBehind(this.log, entry.facts.number))) return;
      await followWithViews(this.log, entry, { random: this.ports.random, readHead: () => this.head() });
    } catch (error) {
      passOthers(error);
      this.warnings.push(`views under refs/ stay behind the log: ${error.message}`);
    }
  }

  /** A new batch of durable writes into this store. */
  batch(): WriteBatch {
    return new WriteBatch(this.files, this.ports.random);
  }

  /** The newest state. @throws CofferError CORRUPT, LOG_BEHIND_MEMORY */
  async head(): Promise<HeadView> {
    const entry = await this.log.findHead();
    await this.#remember(entry);
    return viewOf(entry, this.objects, this.#cache);
  }

  /** The state after entry `number` of the log. @throws CofferError ENTRY_NOT_FOUND; as `head` */
  async viewAt(number: number): Promise<HeadView> {
    return this.viewOf(await this.entryAt(number));
  }

  /** @throws CofferError ENTRY_NOT_FOUND - the log is shorter; as `head` */
  async entryAt(number: number): Promise<LogEntry> {
    const head = await this.head();
    const entry = number > head.number ? undefined : await this.log.readPast(number);
    if (entry !== undefined) return entry;
    throw new CofferError("ENTRY_NOT_FOUND", `log entry ${number}: expected one from 1 to ${head.number}`);
  }

  /** The state after an entry that was read from the log. */
  viewOf(entry: LogLine): HeadView {
    return { ...viewOf(entry, this.objects, this.#cache), past: true };
  }

  /** What moved from the ref tree `root` to that of `head`. @throws CofferError CORRUPT - a node of either is damaged */
  moves(root: Digest, head: HeadView): AsyncIterable<Move> {
    return diffTrees(this.objects, root, head.root, this.#cache);
  }

  /** Runs a transaction. @returns the entry, undefined if there was nothing to do. @throws as `commit` of refs */
  async commit(act: Act): Promise<CommittedEntry | undefined> {
    const { clock, random, sleep } = this.ports;
    const signer = await this.needSigner();
    await this.sweep();
    await this.mendViews();
    const remember = (entry: LogEntry): Promise<void> => this.#remember(entry);
    const ports = { signer, clock, random, sleep, cache: this.#cache, remember };
    const done = await commit(this.log, this.objects, act, ports);
    if (done === undefined) return undefined;
    const late = (error: CofferError): void => void this.warnings.push(`after the commit: ${error.message}`);
    done.late.forEach(late);
    try {
      await this.#tendIndex(done.entry);
    } catch (error) {
      passOthers(error);
      late(error); // the commit stands all the same
    }
    const unkept = await keepReserve(this.files, random);
    if (unkept !== undefined) late(unkept);
    return { number: done.entry.facts.number, id: done.entry.id };
  }

  /** Now and then, so that readers of the local index have little to read beside it. */
  async #tendIndex(entry: LogEntry): Promise<void> {
    const { number, moves } = entry.facts;
    if (number % INDEX_EVERY !== 0 && moves.length < INDEX_MOVES) return;
    const { tendIndex } = await import("./names.ts"); // most acts do without it
    await tendIndex(this, viewOf(entry, this.objects, this.#cache));
  }

  /** Only an entry that is durable, and extends what was seen before, is remembered. */
  async #remember(entry: LogEntry): Promise<void> {
    const { number } = entry.facts;
    if (this.#memory === undefined || this.#seen.head?.number === number) return;
    if (this.#seen.head !== undefined) await this.log.extendsFrom(this.#seen.head, entry);
    await this.log.settle(number);
    try {
      await this.#memory.rememberHead(number, entry.id);
    } catch (error) {
      if (!this.#memoryMayWait || !isCofferError(error, "STATE_UNWRITABLE")) throw error;
      this.warnings.push(`entry ${number} is not remembered by this machine: ${error.message}`);
    }
    this.#seen = { ...this.#seen, head: { number, head: entry.id } };
  }

  /**
   * For acts that deny: from now on a head that cannot be remembered is told, and stops nothing. Whatever it was compared
   * with before still holds. @returns false if that was so already
   */
  letMemoryWait(): boolean {
    const news = !this.#memoryMayWait;
    this.#memoryMayWait = true;
    return news;
  }

  /** A time that somebody entitled has signed: the clock cannot be earlier. @param seconds - since 1970 */
  async noteTime(seconds: number): Promise<void> {
    const floor = Math.min(seconds, this.ports.clock() + LIMITS.clockFloorAheadS);
    if (this.#memory === undefined || floor < (this.#seen.floor ?? 0) + FLOOR_STEP_S) return;
    await this.#memory.rememberFloor(floor);
    this.#seen = { ...this.#seen, floor };
  }
}

function receiptsOf(parts: {
  readonly files: Files;
  readonly ports: Ports;
  readonly secret: StoreSecret | undefined;
}): Receipts | undefined {
  const { files, ports, secret } = parts;
  if (secret === undefined || ports.machine === undefined) return undefined;
  const key = async (): Promise<Uint8Array> => (await secret.open()).receipts;
  return new Receipts({ files, key, machine: ports.machine, random: ports.random });
}

/** Opens what an absolute path leads to, made with its parents if `mode` is given. */
export async function openFolder(ports: Ports, path: string, mode?: number): Promise<Files> {
  if (mode !== undefined) {
    try {
      await makeFolders(path, mode);
    } catch (error) {
      throw new CofferError("STATE_UNWRITABLE", `cannot make the state folder (${systemCode(error)})`, {
        cause: error,
      });
    }
  }
  return ports.openFolder(path);
}

export function stateFolder(location: StoreLocation, id: Digest): string {
  return location.state ?? join(location.stateHome, id);
}

export function secretsFolder(location: StoreLocation, id: Digest): string {
  return location.secrets ?? join(location.stateHome, id);
}

/**
 * Opens a store for all acts that this account may do.
 *
 * @throws CofferError STORE_NOT_FOUND, CORRUPT, UNSUPPORTED, LOG_BEHIND_MEMORY, STATE_UNWRITABLE, KEY_MODE
 */
export async function openStore(location: StoreLocation, ports: Ports): Promise<Store> {
  const files = ports.openFolder(location.root);
  const storeKey = await readStoreFile(files);
  const objects = withEmptyTree(openObjects(files));
  await finishAdoption(files);
  const log = await openLog(files, storeKey);
  const pin = await readPin(log, objects);
  const secret = await findStoreKey(ports.openFolder(secretsFolder(location, log.storeId)), storeKey);
  const memory = location.memory
    ? openMemory(await openFolder(ports, stateFolder(location, log.storeId), 0o700))
    : undefined;
  const seen = (await memory?.readMemory()) ?? {};
  const mendedTemp = secret !== undefined && (await mendTemp(files));
  const store = new Store({ root: location.root, files, objects, log, pin, ports, secret, memory, seen, mendedTemp });
  if (seen.head !== undefined) {
    await log.extendsFrom(seen.head, await log.findHead());
    log.noteDurable(seen.head.number);
  }
  return store;
}

/**
 * A copy of a store may have lost its empty folders, and every write starts in local/tmp.
 * Should it fail, the store opens all the same: it can still be read, and the first write tells what is wrong.
 *
 * @returns true if it was missing and is there now
 */
async function mendTemp(files: Files): Promise<boolean> {
  try {
    if ((await files.stat(TEMP_FOLDER)) !== undefined) return false;
    await ensureFolders(files, [TEMP_FOLDER]);
    return true;
  } catch (error) {
    if (isCofferError(error, "IO_ERROR", "READ_ONLY", "NO_SPACE", "CORRUPT")) return false;
    throw error;
  }
}

/** The empty tree need not lie on disk to be known. */
function withEmptyTree(objects: ObjectReader): ObjectReader {
  return { read: async (id) => (id === EMPTY_TREE.id ? EMPTY_TREE.bytes : objects.read(id)) };
}

async function readPin(log: Log, objects: ObjectReader): Promise<Digest> {
  const first = await log.readEntry(1);
  const list = first?.facts.moves.find((move) => move.ref === POLICY_REF)?.to;
  if (list === undefined) throw new CofferError("CORRUPT", "log entry 1 names no policy");
  const [pin, ...others] = (await readObject(objects, list, "first list of policies", parseList)).value.ids;
  if (pin === undefined || others.length > 0) throw new CofferError("CORRUPT", "log entry 1 must name one policy");
  return pin;
}
