// SPDX-License-Identifier: Apache-2.0
/**
 * Going on after a restore from an older backup: a new log, with a store id of its own, that begins with what the
 * restored one held and names what was lost. Layer: repo. Format: docs/format.md, "After a restore".
 * It revokes nothing and un-revokes nothing by itself; it tells which revocations may be gone and wants that confirmed.
 */

import { type Digest, digestFromBytes, isDigest, short } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { NameText } from "../base/names.ts";
import { POLICY_REF } from "../base/ref-path.ts";
import type { Time } from "../base/time.ts";
import { makeList } from "../objects/documents/list.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { parseStatement, type Statement } from "../objects/documents/statement.ts";
import { namesIn } from "../objects/layout.ts";
import { readStored } from "../objects/object-store.ts";
import { subFolder } from "../objects/sub-folder.ts";
import { applyTargets, type Target } from "../refs/apply-moves.ts";
import type { HeadView } from "../refs/head-view.ts";
import { Log, type SeenHead } from "../refs/log.ts";
import { type LogEntry, makeFirstEntry, makeNextEntry, parseEntryLine } from "../refs/log-entry.ts";
import { entryPath } from "../refs/log-layout.ts";
import { type Memory, openMemory } from "../refs/memory.ts";
import { EMPTY_TREE } from "../refs/ref-node.ts";
import { authorisedDenial } from "../trust/revocation.ts";
import { Dossier, readHeadIds, readPolicies, readStatement } from "./dossier.ts";
import { readIndex } from "./import/remotes.ts";
import { prepareStage, STAGE, swapLog } from "./log-swap.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { copyStoreKey } from "./secrets.ts";
import { openFolder, openStore, type Store, secretsFolder, stateFolder } from "./store.ts";

/** A denial whose bytes and signatures are here, and which the restored log does not know. */
export interface LooseDenial {
  readonly name: NameText;
  readonly state: "revoked" | "deleted";
  readonly statement: Digest;
  readonly issuedAt: Time;
  readonly reason?: string;
}

export interface Restore {
  readonly storeId: Digest;
  /** The head that the restored log has. */
  readonly restored: SeenHead & { readonly time: Time };
  /** Heads that this machine remembers and the restored log lacks. */
  readonly lost: readonly SeenHead[];
  readonly loose: readonly LooseDenial[];
}

export interface Confirmation {
  /** The restored head, by 12 or more characters: what is to be gone on from. */
  readonly head?: string;
  /** The operator knows that revocations in the lost entries no longer hold here. */
  readonly acceptLostRevocations: boolean;
}

export interface Adopted extends Restore {
  readonly newStoreId: Digest;
  /** Where the log that was there went. */
  readonly former: string;
}

/** Looks; changes nothing. @throws CofferError USAGE - nothing is known that the log lacks */
export async function examineRestore(location: StoreLocation, ports: Ports): Promise<Restore> {
  const store = await openStore({ ...location, memory: false }, ports);
  return examine(store, await memoryOf(location, ports, store.id));
}

async function memoryOf(location: StoreLocation, ports: Ports, id: Digest): Promise<Memory> {
  return openMemory(await openFolder(ports, stateFolder(location, id), 0o700));
}

async function examine(store: Store, memory: Memory): Promise<Restore> {
  const head = await store.head();
  const lost: SeenHead[] = [];
  for (const seen of [...(await memory.heads()), ...(await shownTo(store, head))])
    if (!(await store.log.holds(seen)) && !lost.some((one) => one.head === seen.head)) lost.push(seen);
  lost.sort((one, other) => one.number - other.number);
  if (lost.length === 0) {
    throw new CofferError("USAGE", "the log holds all that this machine remembers: there is no restore to adopt");
  }
  const restored = { number: head.number, head: head.id, time: head.time };
  return { storeId: store.id, restored, lost, loose: await looseDenials(store, head) };
}

/** By an index of the store's own that came from elsewhere: where all memory is lost, this is what is left of it. */
async function shownTo(store: Store, head: HeadView): Promise<readonly SeenHead[]> {
  const log = (await readIndex(store, head, store.id))?.value.log;
  return log === undefined ? [] : [{ number: log.number, head: log.head }];
}

/** Every object is looked at: what a restore brought back more of than of the log is all that is known of the loss. */
async function looseDenials(store: Store, head: HeadView): Promise<LooseDenial[]> {
  const policies = await readPolicies(store, head);
  const found: LooseDenial[] = [];
  for (const first of await namesIn(store.files, "objects")) {
    for (const rest of await namesIn(store.files, `objects/${first}`)) {
      const id = `${first}${rest}`;
      const statement = isDigest(id) ? await denialAt(store, id) : undefined;
      if (statement === undefined) continue;
      const { name, state, issuedAt, reason } = statement.value;
      const signers = await new Dossier(store, head, policies, name).signersOfNew(statement);
      if (!authorisedDenial(policies, { ...statement, signers }) || (await inChain(store, head, statement))) continue;
      if (state === "trusted") continue;
      found.push({ name: name.text, state, statement: statement.id, issuedAt, ...(reason && { reason }) });
    }
  }
  return found;
}

async function denialAt(store: Store, id: Digest): Promise<Stored<Statement> | undefined> {
  const bytes = await store.objects.read(id);
  if (bytes === undefined || !Buffer.from(bytes).includes('"type":"coffer/statement"')) return undefined;
  try {
    const statement = parseStatement(bytes);
    return statement.value.state === "trusted" ? undefined : statement;
  } catch (error) {
    passOthers(error);
    return undefined; // another document that holds these words
  }
}

/** True if the name's chain, back to its beginning, has the statement. */
async function inChain(store: Store, head: HeadView, { id, value }: Stored<Statement>): Promise<boolean> {
  const left = [...(await readHeadIds(store, head, value.name))];
  const seen = new Set<Digest>();
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (next === id) return true;
    if (seen.has(next)) continue;
    seen.add(next);
    left.push(...(await readStatement(store, next)).value.previous);
  }
  return false;
}

/**
 * Begins a new log with the state that the restored one holds. The store has another id from then on, so its log and the
 * one that went on elsewhere are two stores, and no fork. The log that was there is kept under `former/`.
 *
 * @throws CofferError RESTORE_UNCONFIRMED - with what is lost as details; USAGE - there is nothing to adopt
 * @throws CofferError NO_STORE_KEY, CORRUPT, NO_SPACE, IO_ERROR - the store is as it was, or adopted
 */
export async function adoptRestore(
  location: StoreLocation,
  confirmation: Confirmation,
  ports: Ports,
): Promise<Adopted> {
  const store = await openStore({ ...location, memory: false }, ports);
  await store.needSigner();
  await store.sweep();
  const memory = await memoryOf(location, ports, store.id);
  const restore = await examine(store, memory);
  const before = await adoptedBefore(store, restore);
  if (before !== undefined) return { ...restore, ...before, newStoreId: await takeOver(store, memory) };
  confirm(restore, confirmation);
  const files = store.files;
  await prepareStage(files);
  const head = await store.head();
  const { first, last } = await buildLog(store, head, noteOf(restore));
  const floor = await memory.floor();
  const shared = stateFolder(location, first.id) === stateFolder(location, store.id);
  if (secretsFolder(location, first.id) !== secretsFolder(location, store.id)) {
    const target = await openFolder(ports, secretsFolder(location, first.id), 0o700);
    await copyStoreKey(ports.openFolder(secretsFolder(location, store.id)), target);
  }
  // Known before it is there: nobody opens the new log without a memory of it.
  if (!shared) await remember(await memoryOf(location, ports, first.id), last, floor);
  const former = formerName(store.id, head.number);
  await swapLog(files, former);
  if (shared) {
    await memory.setAside(`former-${short(first.id)}`);
    await remember(memory, last, floor);
  }
  return { ...restore, newStoreId: first.id, former: `former/${former}` };
}

/**
 * A state folder of its own remembers the log that was there until the very end. If the run was stopped before that, or
 * ran with another state folder, then all that is missing there is told in entry 1 or kept under `former/`.
 */
async function adoptedBefore(store: Store, { lost }: Restore): Promise<{ readonly former: string } | undefined> {
  const note = (await store.log.readEntry(1))?.facts.note ?? "";
  const [, id, number] = NOTE.exec(note) ?? [];
  if (id === undefined || number === undefined || !isDigest(id)) return undefined;
  const former = `former/${formerName(id, Number(number))}`;
  for (const seen of lost) {
    if (note.includes(`${seen.number} ${seen.head}`)) continue;
    const bytes = await readStored(store.files, `${former}${entryPath(seen.number).slice(3)}`, LIMITS.logEntryBytes);
    if (bytes === undefined || parseEntryLine(bytes).id !== seen.head) return undefined;
  }
  return { former };
}

async function takeOver(store: Store, memory: Memory): Promise<Digest> {
  const floor = await memory.floor();
  const head = await store.log.findHead();
  await memory.setAside(`former-${short(store.id)}`);
  await remember(memory, head, floor);
  return store.id;
}

function formerName(store: Digest, number: number): string {
  return `${short(store)}-${String(number).padStart(12, "0")}`;
}

function confirm({ restored, lost, loose }: Restore, { head, acceptLostRevocations }: Confirmation): void {
  const right = head !== undefined && head.length >= 12 && restored.head.startsWith(head);
  if (right && acceptLostRevocations) return;
  const highest = lost.at(-1)?.number ?? 0;
  const problem =
    head !== undefined && !right
      ? `expected --head to name the restored head ${short(restored.head)}`
      : "what was revoked in lost entries will no longer be known here";
  throw new CofferError("RESTORE_UNCONFIRMED", problem, {
    details: [
      `the restored log ends with entry ${restored.number}, ${restored.head}, of ${restored.time}`,
      ...lost.map((seen) => `this machine has seen entry ${seen.number}, ${seen.head}, which it lacks`),
      highest > restored.number
        ? `lost: entries ${restored.number + 1} to ${highest}, and whatever came after; every revocation in them`
        : "lost: what the other log did since the two parted; every revocation in it",
      ...loose.map((one) => `${one.name} was ${one.state} at ${one.issuedAt}: signed and here, but not in the log`),
      ...(loose.length > 0 ? ["revoke these again once the restore is adopted"] : []),
    ],
  });
}

const NOTE = /^adopt-restore: follows store ([0-9a-f]{64}) at entry ([0-9]{1,12}) /;

/** Signed with entry 1: which log this one follows, from where, and what of it was known to be lost. */
function noteOf({ storeId, restored, lost }: Restore): string {
  const gone = lost.slice(-8).map((seen) => `${seen.number} ${seen.head}`);
  return `adopt-restore: follows store ${storeId} at entry ${restored.number} ${restored.head}; lost: ${gone.join(", ")}`;
}

/** Entry 1 names policy 1, as in every store; what else the head holds follows in as few entries as it fits in. */
async function buildLog(
  store: Store,
  head: HeadView,
  note: string,
): Promise<{ readonly first: LogEntry; readonly last: LogEntry }> {
  const { ports, objects } = store;
  const signing = { signer: await store.needSigner(), now: ports.clock() };
  const batch = store.batch();
  const pin = makeList([store.pin]);
  batch.addObject(pin);
  let root = EMPTY_TREE.id;
  const apply = async (targets: readonly Target[]) => {
    const tree = await applyTargets(objects, root, targets);
    for (const node of tree.nodes) batch.addObject(node);
    await batch.flush();
    root = tree.root;
    return { refs: tree.root, moves: tree.moves, note };
  };
  const nonce = digestFromBytes(ports.random(32));
  const first = await makeFirstEntry(await apply([{ ref: POLICY_REF, to: pin.id }]), nonce, signing);
  const log = new Log(subFolder(store.files, STAGE), store.storeKey, first);
  await append(log, first, ports);
  let last = first;
  for await (const targets of slices(head)) {
    const input = await apply(targets);
    if (input.moves.length === 0) continue;
    last = await makeNextEntry(input, last, signing);
    await append(log, last, ports);
  }
  if (root !== head.root)
    throw new CofferError("INTERNAL", "the new log ends with another state than the restored one");
  return { first, last };
}

async function* slices(head: HeadView): AsyncGenerator<readonly Target[]> {
  let targets: Target[] = [];
  for await (const [ref, to] of head.listRefs()) {
    targets.push({ ref, to });
    if (targets.length < LIMITS.movesPerEntry) continue;
    yield targets;
    targets = [];
  }
  if (targets.length > 0) yield targets;
}

async function append(log: Log, entry: LogEntry, { random }: Ports): Promise<void> {
  if (await log.append(entry, random)) return;
  throw new CofferError("EXISTS", `${STAGE}: another process is adopting the restore as well`);
}

async function remember(memory: Memory, { facts, id }: LogEntry, floor: number | undefined): Promise<void> {
  await memory.rememberHead(facts.number, id);
  if (floor !== undefined) await memory.rememberFloor(floor);
}
