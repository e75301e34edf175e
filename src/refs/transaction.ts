// SPDX-License-Identifier: Apache-2.0
/**
 * Transactions: an act decides on a head what is to move; it is linked as the next log entry, or decides anew.
 * Layer: refs. Format: docs/format.md, "The log". Holds invariants 1 and 4. Not here: who may (trust), what the acts
 * are (repo).
 */
import { digestFromBytes } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Clock, Random } from "../base/ports.ts";
import type { Signer } from "../keys/signer.ts";
import type { Files } from "../objects/files.ts";
import type { ObjectReader } from "../objects/object-store.ts";
import { WriteBatch } from "../objects/write-batch.ts";
import { applyTargets, type Target } from "./apply-moves.ts";
import { followWithViews } from "./follow.ts";
import { type HeadView, viewOf } from "./head-view.ts";
import { Log } from "./log.ts";
import { type LogEntry, makeFirstEntry, makeNextEntry } from "./log-entry.ts";
import { EMPTY_TREE, type NodeCache } from "./ref-node.ts";
import { discard } from "./temp-file.ts";
import { Turn } from "./turn.ts";

/** After so many lost races a writer asks the others to let it go first. */
const PATIENT_ATTEMPTS = 4;

/** What an act wants; what a ref held before is filled in from the head. */
export interface Draft {
  /** In any order, each ref once; one that changes nothing is left out of the entry. */
  readonly moves: readonly Target[];
  /** Objects and signatures that must be durable first. */
  readonly batch?: WriteBatch;
  readonly note?: string;
}

/**
 * Decides what to move, on this head alone: it runs again on the next head when another writer was first, so it must
 * hold all evaluation and keep nothing from the run before. undefined: nothing to do.
 */
export type Act = (head: HeadView) => Promise<Draft | undefined>;

/** What a transaction takes from outside. */
export interface CommitPorts {
  /** The store key. */
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  /** Waits between two attempts. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly cache?: NodeCache;
  /** Told of the new head once it is durable. */
  readonly remember?: (entry: LogEntry) => Promise<void>;
}

/** A transaction that stands. */
export interface Committed {
  readonly entry: LogEntry;
  /** How often the act ran: 1 without rivals. */
  readonly attempts: number;
  /** What failed afterwards: memory, hint or views. The commit stands all the same; callers must show these. */
  readonly late: readonly CofferError[];
}

/**
 * Runs `act` on the head and commits what it drafts, atomically; with other writers, again on each new head.
 * A crash leaves the head before or the head after, and objects that nothing names.
 *
 * @returns undefined if there was nothing to move; then what the draft wrote is durable, and so is the head
 * @throws CofferError REF_MOVED - others were first LIMITS.commitAttempts times
 * @throws CofferError LIMIT_EXCEEDED - over LIMITS.movesPerEntry moves
 * @throws CofferError NO_STORE_KEY - the signer is not the store's
 * @throws CofferError as `act`, `Log.findHead`, `applyTargets`, `WriteBatch.flush` and `Log.append`
 */
export async function commit(
  log: Log,
  reader: ObjectReader,
  act: Act,
  ports: CommitPorts,
): Promise<Committed | undefined> {
  if (ports.signer.publicKey.keyId !== log.storeKey.keyId) {
    throw new CofferError("NO_STORE_KEY", "expected the store's own key to sign the entry, found another");
  }
  const turn = new Turn(log.files, ports.sleep);
  try {
    for (let attempt = 1; attempt <= LIMITS.commitAttempts; attempt += 1) {
      if (attempt > PATIENT_ATTEMPTS) await turn.ask();
      if (attempt > 1) await ports.sleep(backoffMs(attempt, ports.random));
      await turn.letPass();
      const head = await log.findHead();
      const draft = await act(viewOf(head, reader, ports.cache));
      if (draft === undefined) return undefined;
      const batch = draft.batch ?? new WriteBatch(log.files, ports.random);
      const ready = await prepare(log, reader, head, { ...draft, batch }, ports);
      if (ready === undefined) return undefined;
      const { entry, temp } = ready;
      if (await log.link(entry, temp)) {
        await turn.end();
        return { entry, attempts: attempt, late: await follow(log, reader, entry, ports, batch) };
      }
    }
  } finally {
    await turn.end();
  }
  throw new CofferError("REF_MOVED", `other writers were first ${LIMITS.commitAttempts} times`);
}

/** Waits of 1 to 2 ms at first, doubling up to 256 ms; spread out so that rivals do not meet again. */
function backoffMs(attempt: number, random: Random): number {
  const [low = 0, high = 0] = random(2);
  const share = (low + 256 * high) / 65_536;
  return Math.ceil(2 ** Math.min(attempt - 2, 8) * (1 + share)) / 2;
}

/** All that the entry reaches is durable, and the entry itself is under `temp`; undefined if the draft changes nothing. */
async function prepare(
  log: Log,
  reader: ObjectReader,
  head: LogEntry,
  draft: Draft & { readonly batch: WriteBatch },
  ports: CommitPorts,
): Promise<{ readonly entry: LogEntry; readonly temp: string } | undefined> {
  const tree = await applyTargets(reader, head.facts.refs, checkCount(draft.moves), ports.cache);
  const { batch } = draft;
  for (const node of tree.nodes) batch.addObject(node);
  if (tree.moves.length === 0) {
    await batch.flush();
    await log.settle(head.facts.number);
    return undefined;
  }
  const input = { refs: tree.root, moves: tree.moves, note: draft.note };
  const entry = await makeNextEntry(input, head, { signer: ports.signer, now: ports.clock() });
  const temp = await sideBySide(batch.flush(), log.stage(entry, ports.random), (name) => discard(log.files, name));
  for (const { id, value } of tree.nodes) ports.cache?.set(id, value);
  return { entry, temp };
}

/**
 * Waits for both, so that the disk does their fsyncs in one go.
 * @param undo - of what `staging` made, should `flushing` fail
 * @throws what the first of them threw
 */
async function sideBySide<T>(
  flushing: Promise<void>,
  staging: Promise<T>,
  undo: (made: T) => Promise<void>,
): Promise<T> {
  const [flushed, staged] = await Promise.allSettled([flushing, staging]);
  if (flushed.status === "rejected") {
    if (staged.status === "fulfilled") await undo(staged.value);
    throw flushed.reason;
  }
  if (staged.status === "rejected") throw staged.reason;
  return staged.value;
}

function checkCount<T>(moves: readonly T[]): readonly T[] {
  const most = LIMITS.movesPerEntry;
  if (moves.length <= most) return moves;
  throw new CofferError("LIMIT_EXCEEDED", `transaction: expected at most ${most} moves, found ${moves.length}`);
}

/** What comes after the commit. It stands whatever fails here, so failures are handed back, not thrown. */
async function follow(
  log: Log,
  reader: ObjectReader,
  entry: LogEntry,
  { random, cache, remember }: CommitPorts,
  batch: WriteBatch,
): Promise<readonly CofferError[]> {
  const confirmed = await failureOf(() => batch.confirm());
  const readHead = async (): Promise<HeadView> => viewOf(await log.findHead(), reader, cache);
  // While the disk makes the memory durable there is time for what need not be.
  const ends = await Promise.allSettled([
    failureOf(async () => remember?.(entry)),
    (async () => [await failureOf(() => followWithViews(log, entry, { random, readHead }))])(),
  ]);
  const late = ends.flatMap((end) => {
    if (end.status === "rejected") throw end.reason;
    return end.value;
  });
  return [confirmed, ...late].filter((failure) => failure !== undefined);
}

async function failureOf(step: () => Promise<void>): Promise<CofferError | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    passOthers(error);
    return error;
  }
}

/**
 * Writes entry 1 of a new store. The folders of the store are there, and no log.
 *
 * @throws CofferError EXISTS - the store has an entry 1 already
 * @throws CofferError as `commit`
 */
export async function createLog(
  files: Files,
  reader: ObjectReader,
  draft: Draft,
  ports: CommitPorts,
): Promise<{ readonly log: Log; readonly committed: Committed }> {
  const tree = await applyTargets(reader, EMPTY_TREE.id, checkCount(draft.moves), ports.cache);
  const batch = draft.batch ?? new WriteBatch(files, ports.random);
  for (const node of [EMPTY_TREE, ...tree.nodes]) batch.addObject(node);
  await batch.flush();
  const input = { refs: tree.root, moves: tree.moves, note: draft.note };
  const signing = { signer: ports.signer, now: ports.clock() };
  const entry = await makeFirstEntry(input, digestFromBytes(ports.random(32)), signing);
  const log = new Log(files, ports.signer.publicKey, entry);
  if (!(await log.append(entry, ports.random))) throw new CofferError("EXISTS", "the store has a log already");
  return { log, committed: { entry, attempts: 1, late: await follow(log, reader, entry, ports, batch) } };
}
