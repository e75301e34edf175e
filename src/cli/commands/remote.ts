// SPDX-License-Identifier: Apache-2.0
/** `remote`: the other stores that this one trades with, and what is known to have arrived there. Layer: cli. */
import { resolve } from "node:path";
import { parseDigest, short } from "../../base/digest.ts";
import { CofferError, EXIT, passOthers } from "../../base/errors.ts";
import { fingerprint } from "../../keys/public-key.ts";
import { compareReceipt, type Delivered, type Delivery } from "../../repo/delivery.ts";
import { forgetStore } from "../../repo/forget.ts";
import {
  addRemote,
  keepReceipt,
  kindOf,
  lastReceipt,
  listRemotes,
  needRemote,
  type Remote,
  removeRemote,
} from "../../repo/remotes.ts";
import type { Store } from "../../repo/store.ts";
import { type Context, open, showLate, storeFlag } from "../context.ts";
import { counted, table } from "../format.ts";
import { readReceiptFile } from "./receipt.ts";

/** Folders are kept whole, so that the remote is the same from wherever one calls. */
function addressOf({ io }: Context, text: string): string {
  return /^[a-z+]+:/i.test(text) ? text : resolve(io.cwd, text);
}

export async function runRemoteAdd(context: Context, name: string, address: string): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const remote = await addRemote(store, name, addressOf(context, address));
  ui.json(remoteJson(remote));
  ui.data(`${remote.name}  ${remote.url}`);
  ui.next(`coffer pull${storeFlag(context)} ${remote.name}`);
}

export async function runRemoteRemove(context: Context, name: string): Promise<void> {
  const store = await open(context);
  await removeRemote(store, name);
  context.ui.json({ removed: name });
}

export async function runRemoteList(context: Context): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const remotes = await listRemotes(store);
  const listed: object[] = [];
  for (const remote of remotes) listed.push({ ...remoteJson(remote), ...(await receiverOf(store, remote)) });
  showLate(context, store);
  ui.json({ remotes: listed });
  for (const line of table(remotes.map(({ name, url, store }) => [name, url, store === undefined ? "" : short(store)])))
    ui.data(line);
}

/** Whose receipts come from there. One that is damaged says nothing, which `remote status` refuses to pass over. */
async function receiverOf(store: Store, { name }: Remote): Promise<object> {
  try {
    const delivery = await lastReceipt(store, name);
    return delivery === undefined ? {} : { receiver: receiverJson(delivery) };
  } catch (error) {
    passOthers(error, "CORRUPT");
    store.warnings.push(error.message);
    return {};
  }
}

function receiverJson({ receipt: { value } }: Delivery) {
  return { store: value.store, storeKey: value.storeKey.text };
}

/** The whole id, as the error that tells of another key gives it by its first characters: nothing is forgotten by a slip. */
export async function runRemoteForget(context: Context, text: string): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const of = parseDigest(text.toLowerCase());
  const { storeKey, log, entry } = await forgetStore(store, of);
  showLate(context, store);
  ui.json({ store: of, storeKey: storeKey.text, keyId: storeKey.keyId, log, entry: entry.number });
  ui.data(of);
  ui.say(`forgot that it was known by the key ${fingerprint(storeKey)}, at entry ${log.number}`);
  ui.say("whoever comes next under this id is taken for it: compare the key with the people who keep that store");
  ui.say(`log entry ${entry.number}`);
}

function remoteJson({ name, url, store, commit }: Remote) {
  return {
    ...{ name, url, kind: kindOf(url) },
    ...(store === undefined ? {} : { store }),
    ...(commit === undefined ? {} : { commit }),
  };
}

interface Status {
  readonly remote: Remote;
  readonly delivery?: Delivery;
  readonly delivered?: Delivered;
}

async function statusOf(store: Store, remote: Remote): Promise<Status> {
  const delivery = await lastReceipt(store, remote.name);
  return delivery === undefined ? { remote } : { remote, delivery, delivered: await compareReceipt(store, delivery) };
}

export interface StatusOptions {
  readonly receipt?: string;
}

/** @returns 0 if every revocation and refusal is known to have arrived at each remote that can be sent to, else 9 */
export async function runRemoteStatus(
  context: Context,
  name: string | undefined,
  options: StatusOptions,
): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const remotes = name === undefined ? await listRemotes(store) : [await needRemote(store, name)];
  if (options.receipt !== undefined) await takeReceipt(context, store, name, options.receipt);
  showLate(context, store);
  const all: Status[] = [];
  for (const remote of remotes) all.push(await statusOf(store, remote));
  const exit = all.some(isBehind) ? EXIT.incomplete : EXIT.ok;
  ui.json({ remotes: all.map(statusJson), exit });
  for (const status of all) for (const line of statusLines(status)) ui.data(line);
  const behind = all.find(isBehind);
  if (behind !== undefined) tellNext(context, behind);
  return exit;
}

/** Nothing can be sent to a server: until a receipt says otherwise, it owes nothing. */
function isBehind({ remote, delivered }: Status): boolean {
  return delivered === undefined ? kindOf(remote.url) !== "http" : delivered.undelivered.length > 0;
}

function tellNext(context: Context, { remote: { name, url, commit }, delivery }: Status): void {
  const kind = kindOf(url);
  // Through a git host no receipt comes back by itself.
  if (kind === "git" && commit !== undefined && delivery === undefined)
    context.ui.next(
      `coffer remote status${storeFlag(context)} ${name} --receipt FILE    (by \`coffer receipt create\` there)`,
    );
  else if (kind !== "http") context.ui.next(`coffer push${storeFlag(context)} ${name}`);
}

async function takeReceipt(context: Context, store: Store, name: string | undefined, file: string): Promise<void> {
  if (name === undefined) throw new CofferError("USAGE", "--receipt: say of which remote");
  await keepReceipt(store, await needRemote(store, name), readReceiptFile(context, file));
}

function statusJson({ remote, delivery, delivered }: Status) {
  if (delivery === undefined || delivered === undefined) return { ...remoteJson(remote) };
  const { issuedAt, log } = delivery.receipt.value;
  const { sameRoot, denials, undelivered, missing } = delivered;
  return {
    ...remoteJson(remote),
    receipt: { ...receiverJson(delivery), log, issuedAt },
    sameRoot,
    ours: denials,
    undelivered,
    missing,
  };
}

function statusLines({ remote, delivery, delivered }: Status): string[] {
  if (delivery === undefined || delivered === undefined) {
    const is = kindOf(remote.url) === "http" ? "a server, which is only pulled from" : "no receipt has come from there";
    return [`${remote.name}: ${is}`];
  }
  const { issuedAt, log, store, storeKey } = delivery.receipt.value;
  const { sameRoot, denials, undelivered, missing } = delivered;
  return [
    `${remote.name}: store ${short(store)} at entry ${log.number}, ${issuedAt} by its clock`,
    `  store ${store}`,
    `  key ${fingerprint(storeKey)}`,
    ...(sameRoot
      ? []
      : ["  its policy root is another: what is delivered is known there, and binds only what came from here"]),
    `  delivered: ${denials - undelivered.length} of ${denials} revocations and refusals`,
    ...undelivered.map((id) => `  not delivered: ${id}`),
    ...(missing.length === 0 ? [] : [`  lacks ${counted(missing.length, "blob")} of what it trusts`]),
  ];
}
