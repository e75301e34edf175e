// SPDX-License-Identifier: Apache-2.0
/** `log`: what was done to a store, when, and who signed for it. Layer: cli. */
import { short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import { type Name, parseName } from "../../base/names.ts";
import { type Event, history, type LogRecord } from "../../repo/history.ts";
import { parseCount } from "../at.ts";
import { type Context, open, storeFlag } from "../context.ts";
import { counted, storeJson, table } from "../format.ts";
import { recordJson } from "../json-reading.ts";

export interface LogOptions {
  readonly limit?: string;
  readonly at?: string;
  readonly entry?: string;
  readonly verify?: boolean;
}

const LIMIT = 20;

export async function runLog(context: Context, text: string | undefined, options: LogOptions): Promise<void> {
  const one = options.entry !== undefined;
  if (options.verify === true) {
    const others = [text, options.limit, options.at, options.entry].some((given) => given !== undefined);
    if (others) throw new CofferError("USAGE", "log: --verify checks the whole log and takes no other choice");
    return verifyLog(context);
  }
  if (one && [text, options.limit, options.at].some((given) => given !== undefined)) {
    throw new CofferError("USAGE", "log: --entry shows one entry and takes no name, --limit or --at");
  }
  const name = text === undefined ? undefined : parseName(text);
  const from = parseCount(options.entry ?? options.at, one ? "--entry" : "--at");
  const limit = one ? 1 : (parseCount(options.limit, "--limit") ?? LIMIT);
  return showLog(context, name, from, limit, one);
}

async function showLog(
  context: Context,
  name: Name | undefined,
  from: number | undefined,
  limit: number,
  one: boolean,
): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const request = { ...(name === undefined ? {} : { name }), ...(from === undefined ? {} : { from }) };
  const records: LogRecord[] = [];
  let more = false;
  for await (const record of history(store, request)) {
    more = records.length === limit && !one;
    if (records.length === limit) break;
    records.push(record);
  }
  if (ui.inJson) {
    const entries = records.map((record) => recordJson(record, one));
    return ui.json({ store: storeJson(store, await store.head()), entries, more });
  }
  if (records.length === 0 && name !== undefined)
    throw new CofferError("NAME_NOT_FOUND", `no entry moved ${name.text}`);
  for (const line of table(records.flatMap(rowsOf))) ui.data(line);
  for (const { number, events } of records) {
    for (const { damage } of events) if (damage !== undefined) ui.warn(`entry ${number}: ${damage}`);
  }
  const [last] = records.slice(-1);
  if (one && last !== undefined) sayMoves(context, last);
  else if (more && last !== undefined) {
    const rest = name === undefined ? "" : ` ${name.text}`;
    ui.next(`coffer log${storeFlag(context)}${rest} --at ${last.number - 1}`);
  }
}

/** An entry's first line carries its number; further names stand below it. */
function rowsOf({ number, id, time, note, events, moreEvents }: LogRecord): string[][] {
  const told = events.map((event) => [event.name ?? "-", whatOf(event), whoOf(event)]);
  if (told.length === 0) told.push(["-", "-", "-"]);
  if (moreEvents > 0) told.push([`… and ${counted(moreEvents, "more name")}`, "", ""]);
  return told.map((cells, at) => {
    const first = at === 0 ? [String(number), short(id), time] : ["", "", ""];
    const reason = events[at]?.reason;
    const last = reason === undefined ? (at === 0 ? [note] : []) : [note, reason];
    return [...first, ...cells, last.filter((text) => text !== undefined).join(": ")];
  });
}

const WORDS: Readonly<Record<Event["to"], string>> = {
  acquired: "kept apart",
  quarantined: "quarantined",
  proposed: "proposed",
  revoking: "revocation waits",
  deleting: "deletion waits",
  trusted: "trusted",
  revoked: "revoked",
  deleted: "deleted",
  refused: "refused",
  policy: "policy",
  refs: "refs moved",
};

function whatOf({ from, to }: Event): string {
  return from === undefined ? WORDS[to] : `${from} -> ${WORDS[to]}`;
}

function whoOf({ signedBy }: Event): string {
  return signedBy.length === 0 ? "-" : signedBy.join(", ");
}

/** Every ref that one entry moved. */
function sayMoves({ ui }: Context, { id, moves }: LogRecord): void {
  ui.say(`entry ${id} moved ${counted(moves.length, "ref")}:`);
  for (const { ref, from, to } of moves) {
    ui.say(`  ${ref}  ${from === undefined ? "(none)" : short(from)} -> ${to === undefined ? "(none)" : short(to)}`);
  }
}

/** Every entry from the first to the newest: its signature, its number, and that it names the one before. */
async function verifyLog(context: Context): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  let last: { readonly number: number; readonly id: string } = { number: 0, id: "" };
  for await (const { facts, id } of store.log.entries()) {
    last = { number: facts.number, id };
    if (facts.number % 1000 === 0) ui.progress(`verified ${facts.number} entries`);
  }
  ui.json({ store: storeJson(store, last), verified: last.number });
  ui.data(`${last.number}  ${last.id}`);
  const entries = last.number === 1 ? "1 entry" : `${last.number} entries`;
  ui.say(`verified ${entries}: each signed by the store key, each following the one before`);
}
