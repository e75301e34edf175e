// SPDX-License-Identifier: Apache-2.0
/**
 * The log on disk: entries 1, 2, 3 …, each created once, each signed by the store key; the newest is the state.
 * Layer: refs. Format: docs/format.md, "The log". Holds invariants 1, 4 and 7. Not here: what goes into an entry
 * (transaction.ts), what this machine remembers (memory.ts).
 *
 * Locking: none. `link` links a finished file to the next number, which only one writer can do.
 */
import { type Digest, short } from "../base/digest.ts";
import { CofferError, isCofferError, systemCode } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import type { PublicKey } from "../keys/public-key.ts";
import type { FileStat, Files } from "../objects/files.ts";
import { tempPath } from "../objects/layout.ts";
import { readStored } from "../objects/object-store.ts";
import { type LogEntry, type LogLine, parseEntry, parseEntryLine, storeIdOf } from "./log-entry.ts";
import { entryExists, entryFolder, entryPath, highestEntry } from "./log-layout.ts";
import { discard, isOneFile, writeTemp } from "./temp-file.ts";

const HINT = "local/head";
const HINT_BYTES = 13; // twelve digits and a newline

/** The highest log number and its entry's id that somebody has seen. */
export interface SeenHead {
  readonly number: number;
  readonly head: Digest;
}

/**
 * Opens the log of a store and checks that no entry is missing below the highest in its newest folder.
 *
 * @param storeKey - from coffer.json; every entry must be signed by it
 * @throws CofferError CORRUPT - no entry 1, a gap, or an entry that does not verify
 */
export async function openLog(files: Files, storeKey: PublicKey): Promise<Log> {
  const first = await readEntryFile(files, storeKey, 1);
  if (first === undefined) throw new CofferError("CORRUPT", "log: expected entry 1, found none");
  const log = new Log(files, storeKey, first);
  const highest = await highestEntry(files);
  const newest = highest > 1 ? await log.readEntry(highest) : first;
  if (newest === undefined) throw new CofferError("CORRUPT", `log entry ${highest}: listed, but not there`);
  log.noteHead(newest);
  return log;
}

/** A number's entry, its signature and number checked; undefined if absent. @throws CofferError CORRUPT, UNSUPPORTED */
async function readEntryFile(files: Files, storeKey: PublicKey, number: number): Promise<LogEntry | undefined> {
  const bytes = await readEntryBytes(files, number);
  if (bytes === undefined) return undefined;
  const entry = corruptUnless(number, () => parseEntry(bytes, storeKey));
  checkNumber(entry, number);
  return entry;
}

function readEntryBytes(files: Files, number: number): Promise<Uint8Array | undefined> {
  return readStored(files, entryPath(number), LIMITS.logEntryBytes);
}

function corruptUnless<T>(number: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof CofferError) || error.code === "UNSUPPORTED") throw error;
    throw new CofferError("CORRUPT", `log entry ${number}: ${error.message}`, { cause: error });
  }
}

function checkNumber({ facts }: LogLine, number: number): void {
  if (facts.number === number) return;
  throw new CofferError("CORRUPT", `log entry ${number}: expected its own number, found ${facts.number}`);
}

/** An open log. Holds no descriptors: nothing to close. */
export class Log {
  readonly files: Files;
  readonly storeKey: PublicKey;
  readonly storeId: Digest;
  /** The newest entry that this process has seen. */
  #known: LogEntry;
  /** The entry before the newest one that was linked here: its file was compared just before that. */
  #builtOn: LogEntry | undefined;
  /** How its file looked when its bytes were last compared. */
  #knownForm: { readonly entry: LogEntry; readonly form: string } | undefined;
  /** The hint as it was last read, and how its file looked. */
  #hint: { readonly form: string; readonly number: number | undefined } | undefined;
  /** Up to here this process made sure that the folder entries are on disk. */
  #durable = 0;

  /** `first` is entry 1, verified, whether on disk yet or not. For all but new stores: `openLog`. */
  constructor(files: Files, storeKey: PublicKey, first: LogEntry) {
    this.files = files;
    this.storeKey = storeKey;
    this.storeId = storeIdOf(first);
    this.#known = first;
  }

  /** Takes `entry` as seen; `findHead` starts there. */
  noteHead(entry: LogEntry): void {
    if (entry.facts.number >= this.#known.facts.number) this.#known = entry;
  }

  /**
   * Entry `number`, verified: signed by the store key, of this store, with its own number; undefined if absent.
   * @throws CofferError CORRUPT - there, but not that; UNSUPPORTED - signed, but of a newer version
   */
  async readEntry(number: number): Promise<LogEntry | undefined> {
    const entry = await readEntryFile(this.files, this.storeKey, number);
    if (entry !== undefined && storeIdOf(entry) !== this.storeId) {
      throw new CofferError("CORRUPT", `log entry ${number}: expected one of this store, found another store's`);
    }
    return entry;
  }

  /** True if the log has that entry. @throws CofferError as `readEntry` */
  async holds({ number, head }: SeenHead): Promise<boolean> {
    return (await this.readEntry(number))?.id === head;
  }

  /**
   * The highest entry, found upward from the newest that this process has seen, each checked to follow the one before.
   *
   * @throws CofferError LOG_BEHIND_MEMORY - the entry seen before is gone or another
   * @throws CofferError CORRUPT - an entry does not verify or does not follow, or the hint points past a gap
   */
  async findHead(): Promise<LogEntry> {
    // Read before the walk: an entry that it names was there before, so the walk must get at least that far.
    const hint = await this.readHint();
    let head = await this.#recheckKnown();
    for (;;) {
      const number = head.facts.number + 1;
      // Mostly there is none, and to ask costs a tenth of an error that is thrown and caught.
      const next = (await entryExists(this.files, number)) ? await this.readEntry(number) : undefined;
      if (next === undefined) break;
      checkFollows(next, head);
      head = next;
    }
    const { number } = head.facts;
    if (hint !== undefined && hint > number && (await entryExists(this.files, hint))) {
      throw new CofferError("CORRUPT", `log entry ${number + 1} is missing below entry ${hint}`);
    }
    this.#known = head;
    return head;
  }

  /** Entries are never rewritten: while size, inode and time are those of the last comparison, so are the bytes. */
  async #recheckKnown(): Promise<LogEntry> {
    const known = this.#known;
    const { number } = known.facts;
    const stat = await this.files.stat(entryPath(number));
    const form = stat && formOf(stat);
    if (form !== undefined && this.#knownForm?.entry === known && this.#knownForm.form === form) return known;
    const found = await readEntryBytes(this.files, number);
    if (form !== undefined && found !== undefined && Buffer.compare(found, known.bytes) === 0) {
      this.#knownForm = { entry: known, form };
      return known;
    }
    throw notAsBefore(number, found);
  }

  /**
   * Proves that `head` extends what was seen earlier, over the `previous` ids.
   *
   * @throws CofferError LOG_BEHIND_MEMORY - the log is shorter, or went another way
   * @throws CofferError CORRUPT - an entry between the two is missing or is not what the next one names
   */
  async extendsFrom(seen: SeenHead, head: LogEntry): Promise<void> {
    const { number } = head.facts;
    if (seen.number > number) {
      throw new CofferError("LOG_BEHIND_MEMORY", `log: expected entry ${seen.number} or later, found ${number}`);
    }
    let line: LogLine = head;
    while (line.facts.number > seen.number) line = await this.#readPrevious(line);
    if (line.id === seen.head) return;
    const found = `expected ${short(seen.head)} as remembered, found ${short(line.id)}`;
    throw new CofferError("LOG_BEHIND_MEMORY", `log entry ${seen.number}: ${found}`);
  }

  /** The entry that `line` names as the one before. Its id vouches for it, so its signature is not checked. */
  async #readPrevious(line: LogLine): Promise<LogLine> {
    const number = line.facts.number - 1;
    if (this.#builtOn !== undefined && this.#builtOn.id === line.facts.previous) return this.#builtOn;
    const bytes = await readEntryBytes(this.files, number);
    if (bytes === undefined) throw new CofferError("CORRUPT", `log entry ${number} is missing`);
    const previous = corruptUnless(number, () => parseEntryLine(bytes));
    checkNumber(previous, number);
    checkFollows(line, previous);
    return previous;
  }

  /**
   * Entries from `from` to the head that is found at the start, each verified and checked to follow the one before.
   * @throws CofferError CORRUPT - one is missing, does not verify or does not follow
   */
  async *entries(from = 1): AsyncGenerator<LogEntry> {
    const last = (await this.findHead()).facts.number;
    let before: LogEntry | undefined;
    for (let number = from; number <= last; number += 1) {
      const entry = await this.readEntry(number);
      if (entry === undefined) throw new CofferError("CORRUPT", `log entry ${number} is missing below entry ${last}`);
      if (before !== undefined) checkFollows(entry, before);
      yield entry;
      before = entry;
    }
  }

  /**
   * The entry that was read before and has that id, which vouches for it.
   * @throws CofferError LOG_BEHIND_MEMORY - it is gone or another; CORRUPT - it is no entry
   */
  async readKnown({ number, head }: SeenHead): Promise<LogLine> {
    const bytes = await readEntryBytes(this.files, number);
    const line = bytes && corruptUnless(number, () => parseEntryLine(bytes));
    if (line?.id === head) return line;
    throw notAsBefore(number, line);
  }

  /**
   * `from` and all entries before it, newest first. Each is vouched for by the id that the one after it names.
   * @throws CofferError CORRUPT - one is missing or is not what the next one names
   */
  async *entriesBack(from: LogLine): AsyncGenerator<LogLine> {
    for (let line = from; ; line = await this.#readPrevious(line)) {
      yield line;
      if (line.facts.number === 1) return;
    }
  }

  /**
   * Entry `number`, verified, and named by the one after it as the one before; undefined if absent.
   * @throws CofferError CORRUPT, UNSUPPORTED
   */
  async readPast(number: number): Promise<LogEntry | undefined> {
    const entry = await this.readEntry(number);
    const next = entry && (await this.readEntry(number + 1));
    if (entry !== undefined && next !== undefined) checkFollows(next, entry);
    return entry;
  }

  /** Takes entries up to `number` as durable: they were before this machine remembered that one. */
  noteDurable(number: number): void {
    this.#durable = Math.max(this.#durable, number);
  }

  /** Makes durable that entries up to `number` are there: before one builds on an entry, or remembers it. */
  async settle(number: number): Promise<void> {
    if (number <= this.#durable) return;
    await this.files.fsyncFolder(entryFolder(number));
    this.#durable = number;
  }

  /**
   * Writes `entry` durably under a temporary name: it is not part of the log yet, and nothing that it reaches need be
   * durable yet. @returns that name, for `link` or `discard`
   */
  async stage(entry: LogEntry, random: Random): Promise<string> {
    const temp = tempPath(this.files, random);
    await writeTemp(this.files, temp, entry.bytes, 0o444);
    return temp;
  }

  /**
   * Commits `entry`: the one step by which the state changes. All that it reaches is durable already.
   *
   * @param temp - of `stage`; gone when this returns
   * @returns false if another entry has that number
   * @throws CofferError LOG_BEHIND_MEMORY - the entry that it follows is gone or another; nothing is committed
   * @throws CofferError NO_SPACE, IO_ERROR - after the link as well: then the entry may stand
   */
  async link(entry: LogEntry, temp: string): Promise<boolean> {
    const { number } = entry.facts;
    let ours = false;
    try {
      const base = this.#known.id === entry.facts.previous ? await this.#recheckKnown() : undefined;
      await this.#makeFolder(number);
      // The entry before may be another writer's, linked but not yet durable: a power loss must not leave a gap.
      if (number > 1) await this.settle(number - 1);
      // NFS may lose the answer to a link that was done, ask again and hear EEXIST. The bytes do not tell it: another writer
      // who does the same in the same second makes the same entry, and that one did it.
      ours =
        (await linkEntry(this.files, temp, entryPath(number))) ||
        (await isOneFile(this.files, temp, entryPath(number)));
      if (ours) this.#builtOn = base;
      if (ours) await this.settle(number);
    } finally {
      await discard(this.files, temp);
    }
    if (ours) this.noteHead(entry);
    return ours;
  }

  /** `stage` and `link`. */
  async append(entry: LogEntry, random: Random): Promise<boolean> {
    return this.link(entry, await this.stage(entry, random));
  }

  async #makeFolder(number: number): Promise<void> {
    if (number !== 1 && number % LIMITS.entriesPerFolder !== 0) return;
    // Also when they are there: whoever made them may have lost its power before the fsync.
    if (number === 1) {
      await this.files.makeFolder("log");
      await this.files.fsyncFolder(".");
    }
    await this.files.makeFolder(entryFolder(number));
    await this.files.fsyncFolder("log");
  }

  /** Leaves the head's number for the next process; not durable, and nothing is lost with it. */
  async writeHint(number: number, random: Random): Promise<void> {
    const temp = tempPath(this.files, random);
    await writeTemp(this.files, temp, new TextEncoder().encode(`${number}\n`), 0o644, "not durable");
    try {
      await this.files.rename(temp, HINT);
    } catch (error) {
      await discard(this.files, temp);
      throw error;
    }
  }

  /** undefined if there is none, or none that could be right: a hint is never trusted. */
  async readHint(): Promise<number | undefined> {
    const stat = await this.files.stat(HINT);
    if (stat?.kind !== "file" || stat.sizeBytes > HINT_BYTES) return undefined;
    const form = formOf(stat);
    if (this.#hint?.form === form) return this.#hint.number;
    const bytes = await this.files.read(HINT, LIMITS.signatureBytes);
    const digits = /^([1-9][0-9]{0,11})\n$/.exec(Buffer.from(bytes ?? []).toString("latin1"));
    const number = digits === null ? undefined : Number(digits[1]);
    this.#hint = { form, number };
    return number;
  }
}

function notAsBefore(number: number, found: unknown): CofferError {
  const problem = `expected the one that was read before, found ${found === undefined ? "none" : "another"}`;
  return new CofferError("LOG_BEHIND_MEMORY", `log entry ${number}: ${problem}`);
}

function formOf({ kind, device, inode, sizeBytes, mtimeNs }: FileStat): string {
  return `${kind} ${device} ${inode} ${sizeBytes} ${mtimeNs}`;
}

/** @throws CofferError FILE_SYSTEM_UNFIT - a store that was copied to where there are no hard links */
async function linkEntry(files: Files, temp: string, path: string): Promise<boolean> {
  try {
    return await files.link(temp, path);
  } catch (error) {
    if (!isCofferError(error) || !NO_LINKS.has(systemCode(error.cause) ?? "")) throw error;
    throw new CofferError("FILE_SYSTEM_UNFIT", `hard links do not work here: ${error.message}`, { cause: error });
  }
}
/** What link(2) says on FAT, exFAT and some shares; of our own new file it is never a question of rights. */
const NO_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

function checkFollows(line: LogLine, previous: LogLine): void {
  if (line.facts.previous === previous.id) return;
  const { number } = line.facts;
  throw new CofferError(
    "CORRUPT",
    `log entry ${number}: expected to follow entry ${number - 1}, found another as previous`,
  );
}
