// SPDX-License-Identifier: Apache-2.0
/**
 * `log`: the transactions of a store, newest first, in words: which name went from what to what, and who signed for it.
 * Layer: repo. Walks back over the ids that each entry names, so it costs what it passes, not what the store holds.
 *
 * Who signed is read from the signatures that are there today: of a candidate some may have come after its entry. An
 * approval alone commits nothing and is no entry.
 */
import type { Digest } from "../base/digest.ts";
import { passOthers } from "../base/errors.ts";
import type { Label, Name, NameText } from "../base/names.ts";
import { type NameFamily, type ParsedRef, parseRefPath } from "../base/ref-path.ts";
import type { Time } from "../base/time.ts";
import type { KeyId } from "../keys/public-key.ts";
import type { Statement } from "../objects/documents/statement.ts";
import { signersOf } from "../objects/signatures.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { LogLine } from "../refs/log-entry.ts";
import type { Move } from "../refs/ref-tree.ts";
import { keysOf, ruleFor, signedBy } from "../trust/roles.ts";
import {
  Dossier,
  newestPolicy,
  type Policies,
  readList,
  readManifest,
  readPolicies,
  readStatement,
} from "./dossier.ts";
import type { Store } from "./store.ts";

/** What a name can have become; the later ones win where an entry moved several of its refs. */
const STATES = [
  "acquired",
  "quarantined",
  "revoking",
  "deleting",
  "proposed",
  "trusted",
  "revoked",
  "deleted",
] as const satisfies readonly NameFamily[];
type State = (typeof STATES)[number];

/** One thing that an entry did. */
export interface Event {
  readonly name?: NameText;
  /** What it was before; absent if it was nothing. */
  readonly from?: string;
  /** What it became, `refused` for a statement, `policy`, or `refs` for what this version has no word for. */
  readonly to: State | "refused" | "policy" | "refs";
  /** What the ref held after the entry: a manifest, a statement or a list. */
  readonly id?: Digest;
  readonly signedBy: readonly Label[];
  readonly reason?: string;
  /** Why the rest is not told. */
  readonly damage?: string;
}

export interface LogRecord {
  readonly number: number;
  readonly id: Digest;
  readonly time: Time;
  readonly note?: string;
  /** Refs that it moved. */
  readonly moves: readonly Move[];
  /** At most EVENTS of them, in the order of names. */
  readonly events: readonly Event[];
  readonly moreEvents: number;
}

/** Things of one entry that are told: an import may move thousands. */
export const EVENTS = 50;

export interface HistoryRequest {
  /** Only entries that moved something of this name; all are walked through until enough are found. */
  readonly name?: Name;
  /** The entry to start at; else the newest. */
  readonly from?: number;
}

/** Newest first. @throws CofferError ENTRY_NOT_FOUND; CORRUPT - the chain of entries is broken */
export async function* history(store: Store, request: HistoryRequest): AsyncGenerator<LogRecord> {
  const first = await store.entryAt(request.from ?? (await store.head()).number);
  for await (const line of store.log.entriesBack(first)) {
    const events = await plannedEvents(store, line, request.name);
    if (request.name === undefined || events.length > 0) yield tell(store, line, events);
  }
}

interface Planned {
  readonly name?: Name;
  /** The statement that a refusal is about. */
  readonly refused?: Digest;
  readonly to: Event["to"];
  readonly move: Move;
  /** Everything else that the entry did to the same name. */
  readonly beside: readonly { readonly family: NameFamily; readonly move: Move }[];
}

/** What an entry did, without reading who signed. */
async function plannedEvents(store: Store, { facts }: LogLine, only: Name | undefined): Promise<Planned[]> {
  const byName = new Map<string, { name: Name; first: Move; moved: { family: NameFamily; move: Move }[] }>();
  const others: Planned[] = [];
  for (const move of facts.moves) {
    const parsed = parseRefPath(move.ref);
    if ("name" in parsed) {
      if (only !== undefined && parsed.name.text !== only.text) continue;
      const entry = byName.get(parsed.name.text) ?? { name: parsed.name, first: move, moved: [] };
      entry.moved.push({ family: parsed.family, move });
      byName.set(parsed.name.text, entry);
    } else others.push(...(await otherEvents(store, parsed, move, only)));
  }
  const inOrder = [...byName].sort(([a], [b]) => (a < b ? -1 : 1));
  const named = inOrder.map(([, { name, first, moved }]): Planned => {
    const set = STATES.toReversed().flatMap((to) => {
      const found = moved.find(({ family, move }) => family === to && move.to !== undefined);
      return found === undefined ? [] : [{ to, move: found.move }];
    });
    const [shown] = set;
    return { name, ...(shown ?? { to: "refs", move: first }), beside: moved };
  });
  return [...others, ...named];
}

async function otherEvents(store: Store, parsed: ParsedRef, move: Move, only: Name | undefined): Promise<Planned[]> {
  if (parsed.family === "policy") return only === undefined ? [{ to: "policy", move, beside: [] }] : [];
  if (parsed.family !== "refused") return [];
  const name = await nameOf(store, parsed.digest);
  if (only !== undefined && name?.text !== only.text) return [];
  return [{ ...(name === undefined ? {} : { name }), to: "refused", refused: parsed.digest, move, beside: [] }];
}

/** undefined if the statement cannot be read: then who asks for one name is not shown it. */
async function nameOf(store: Store, statement: Digest): Promise<Name | undefined> {
  try {
    return (await readStatement(store, statement)).value.name;
  } catch (error) {
    passOthers(error);
    return undefined;
  }
}

async function tell(store: Store, line: LogLine, planned: readonly Planned[]): Promise<LogRecord> {
  const view = store.viewOf(line);
  const events: Event[] = [];
  for (const entry of planned.slice(0, EVENTS)) events.push(await tellEvent(store, view, entry));
  const { number, time, note, moves } = line.facts;
  const moreEvents = Math.max(0, planned.length - EVENTS);
  return { number, id: line.id, time, ...(note === undefined ? {} : { note }), moves, events, moreEvents };
}

/** A log is there to be read when things are broken: what cannot be read any more is said, and the rest told. */
async function tellEvent(store: Store, view: HeadView, planned: Planned): Promise<Event> {
  const { name, to, move } = planned;
  const base = {
    ...(name === undefined ? {} : { name: name.text }),
    to,
    ...(move.to === undefined ? {} : { id: move.to }),
  };
  try {
    return { ...base, ...(await detailsOf(store, view, planned)) };
  } catch (error) {
    passOthers(error);
    return { ...base, signedBy: [], damage: `${error.message} [${error.code}]` };
  }
}

type Details = Pick<Event, "from" | "signedBy" | "reason">;

async function detailsOf(store: Store, view: HeadView, { name, refused, to, move, beside }: Planned): Promise<Details> {
  if (name === undefined || move.to === undefined || to === "policy" || to === "refs") return { signedBy: [] };
  const again = move.from === undefined || to === "refused" ? {} : { from: to };
  if (to === "quarantined" || to === "acquired") return { signedBy: [], ...again };
  const policies = await readPolicies(store, view);
  const dossier = new Dossier(store, view, policies, name);
  if (refused !== undefined) return refusalDetails(store, dossier, policies, refused, move.from);
  const { value, signers, previous } = await dossier.member(move.to);
  if (to === "proposed") return { signedBy: await publishersOf(store, policies, value), ...again };
  const states = new Set(previous.flatMap((parent) => (parent === undefined ? [] : [parent.state])));
  const left = LEFT.find((family) => beside.some((other) => other.family === family && other.move.to === undefined));
  const from = states.size > 0 ? [...states].sort().join(", ") : left;
  return {
    signedBy: everybodyOf(policies, signers),
    ...(from === undefined ? {} : { from }),
    ...(value.reason === undefined ? {} : { reason: value.reason }),
  };
}

/** What a first statement of a name took the place of. */
const LEFT = ["proposed", "quarantined", "acquired"] as const;

function everybodyOf(policies: Policies, signers: ReadonlySet<KeyId>): Label[] {
  const policy = newestPolicy(policies);
  return signedBy(policy, [...policy.principals.keys()], signers);
}

/** The refusals that the entry added to the list. */
async function refusalDetails(
  store: Store,
  dossier: Dossier,
  policies: Policies,
  statement: Digest,
  from: Digest | undefined,
): Promise<Details> {
  const before = new Set(await readList(store, from, "list of refusals"));
  const added = (await dossier.refusals(statement)).filter(({ id }) => !before.has(id));
  const signers = new Set(added.flatMap((refusal) => [...refusal.signers]));
  const reason = added.map(({ value }) => value.reason).join("; ");
  return { signedBy: everybodyOf(policies, signers), ...(reason === "" ? {} : { reason }) };
}

async function publishersOf(store: Store, policies: Policies, { name, manifest }: Statement): Promise<Label[]> {
  const policy = newestPolicy(policies);
  const publishers = ruleFor(policy, name)?.publishers ?? [];
  const stored = await readManifest(store, manifest);
  const signers = await signersOf(store.files, stored, "coffer-manifest", keysOf(policy, publishers));
  return signedBy(policy, publishers, signers);
}
