// SPDX-License-Identifier: Apache-2.0
/**
 * What this machine has seen of one store, kept outside it: the highest log entry, and the clock floor. A store that
 * was put back to an older state is known by it.
 * Layer: refs. Format: docs/format.md, "Memory". Holds invariant 7. Not here: what follows from it (log.ts, repo).
 *
 * Each fact is the name of an empty file, `<12 digits number>.<64 hex head>` or `floor.<12 digits seconds>`, created
 * exclusively; the highest counts. So two processes can never write a fact over a higher one, and no lock is needed.
 */

import { type Digest, isDigest, short } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import type { Files } from "../objects/files.ts";
import { namesIn } from "../objects/layout.ts";
import type { SeenHead } from "./log.ts";
import { LAST_NUMBER } from "./log-entry.ts";

const HEAD = /^([0-9]{12})\.([0-9a-f]{64})$/;
const FLOOR = /^floor\.([0-9]{12})$/;
/** Of older facts so many levels stay, counted with the newest: one to fall back on when a file is lost. */
const LEVELS_KEPT = 2;

export interface Seen {
  /** undefined: nothing was ever remembered here. */
  readonly head?: SeenHead;
  /** The time before which this machine's clock cannot be right, in seconds since 1970. */
  readonly floor?: number;
}

/** A fact in the folder; `level` orders facts of one kind. */
interface Fact {
  readonly name: string;
  readonly level: number;
  readonly head?: Digest;
}

/** The memory of one store. @throws CofferError STATE_UNWRITABLE from every method when its folder fails */
export interface Memory {
  /** @throws CofferError LOG_BEHIND_MEMORY - two heads with the highest number: the log was forked */
  readMemory(): Promise<Seen>;
  /** Durable when it returns. A lower number than the remembered one changes nothing. @throws as readMemory */
  rememberHead(number: number, head: Digest): Promise<void>;
  /** Durable when it returns. A lower floor changes nothing. @param seconds - since 1970, whole */
  rememberFloor(seconds: number): Promise<void>;
  /** Every head that is on record, rising; with a fork several of one number. */
  heads(): Promise<readonly SeenHead[]>;
  /** The clock floor alone, also of a forked log. */
  floor(): Promise<number | undefined>;
  /** Moves all facts into a folder `name` beside them, where they no longer count. */
  setAside(name: string): Promise<void>;
}

/** @param files - opened on the state folder of the store; an absent folder is an empty memory until a fact is due */
export function openMemory(files: Files): Memory {
  return {
    async readMemory() {
      const names = await listNames(files);
      const head = newestHead(facts(names, HEAD));
      const floor = facts(names, FLOOR).at(-1)?.level;
      return { ...(head && { head }), ...(floor !== undefined && { floor }) };
    },
    async heads() {
      const seen = facts(await listNames(files), HEAD);
      return seen.flatMap(({ level, head }) => (head === undefined ? [] : [{ number: level, head }]));
    },
    async floor() {
      return facts(await listNames(files), FLOOR).at(-1)?.level;
    },
    async setAside(name) {
      const ours = (await listNames(files)).filter((fact) => HEAD.test(fact) || FLOOR.test(fact));
      await guarded("write to", async () => {
        await files.makeFolder(name);
        for (const fact of ours) {
          await files.rename(fact, `${name}/${fact}`);
          // A power loss may have left both names of one file, with which rename(2) does nothing.
          await files.remove(fact);
        }
        await files.fsyncFolder(name);
        await files.fsyncFolder(".");
      });
    },
    async rememberHead(number, head) {
      const name = `${twelveDigits(number)}.${head}`;
      const seen = facts(await listNames(files), HEAD);
      const behind = (seen.at(-1)?.level ?? 0) <= number;
      newestHead(behind ? await record(files, name, HEAD) : seen);
    },
    async rememberFloor(seconds) {
      const name = `floor.${twelveDigits(seconds)}`;
      const seen = facts(await listNames(files), FLOOR);
      if ((seen.at(-1)?.level ?? -1) < seconds) await record(files, name, FLOOR);
    },
  };
}

function twelveDigits(value: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value > LAST_NUMBER) {
    throw new CofferError("INTERNAL", `memory: expected a whole number of at most twelve digits, found ${value}`);
  }
  return String(value).padStart(12, "0");
}

/** Facts of one kind, rising. Names of another form are not ours and say nothing. */
function facts(names: readonly string[], pattern: RegExp): readonly Fact[] {
  const found: Fact[] = [];
  for (const name of names) {
    const [, digits, hex] = pattern.exec(name) ?? [];
    if (digits === undefined) continue;
    found.push({ name, level: Number(digits), ...(hex !== undefined && isDigest(hex) && { head: hex }) });
  }
  return found.sort((a, b) => a.level - b.level);
}

function newestHead(seen: readonly Fact[]): SeenHead | undefined {
  const newest = seen.at(-1);
  if (newest?.head === undefined) return undefined;
  const twin = seen.find((fact) => fact.level === newest.level && fact.head !== newest.head);
  if (twin?.head !== undefined) {
    const both = `${short(twin.head)} and ${short(newest.head)}`;
    throw new CofferError(
      "LOG_BEHIND_MEMORY",
      `the log was forked: expected one entry ${newest.level}, found that this machine has seen ${both}`,
    );
  }
  return { number: newest.level, head: newest.head };
}

async function listNames(files: Files): Promise<readonly string[]> {
  return (await guarded("read", () => files.list("."))) ?? [];
}

/** Makes a fact durable, then drops what it outdates. @returns the facts of its kind that were there when it was */
async function record(files: Files, name: string, pattern: RegExp): Promise<readonly Fact[]> {
  return guarded("write to", async () => {
    // There already: its maker may not have got as far as the fsync of the folder. The name is all that there is to a
    // fact, and names become durable with their folder: the file itself, being empty, needs no fsync.
    await (await files.create(name, 0o600))?.close();
    await files.fsyncFolder(".");
    const all = facts(await namesIn(files, "."), pattern);
    const levels = [...new Set(all.map((fact) => fact.level))].slice(-LEVELS_KEPT);
    for (const fact of all) if (fact.level < (levels[0] ?? 0)) await files.remove(fact.name);
    return all;
  });
}

/** A folder that fails is never "no memory". */
async function guarded<T>(doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!isCofferError(error) || error.code === "INTERNAL") throw error;
    throw new CofferError("STATE_UNWRITABLE", `memory: cannot ${doing} the state folder: ${error.message}`, {
      cause: error,
    });
  }
}
