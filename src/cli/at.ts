// SPDX-License-Identifier: Apache-2.0
/** `--at N`: asking what a store said after an entry of its log. An answer about the past, never for use. Layer: cli. */
import { short } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import type { HeadView } from "../repo/serving.ts";
import type { Store } from "../repo/store.ts";
import type { Context } from "./context.ts";

/** A number of an entry, or how many. @throws CofferError USAGE */
export function parseCount(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9][0-9]{0,11}$/.test(text)) return Number(text);
  throw new CofferError("USAGE", `${option}: expected a number from 1, found ${quote(text)}`);
}

/** The past state that is asked for; undefined for now. @throws CofferError USAGE, ENTRY_NOT_FOUND, CORRUPT */
export async function pastView(store: Store, at: string | undefined): Promise<HeadView | undefined> {
  const number = parseCount(at, "--at");
  return number === undefined ? undefined : store.viewAt(number);
}

/** Said before any answer about the past. */
export function sayAsOf({ ui }: Context, view: HeadView | undefined): void {
  if (view !== undefined) ui.say(`as of log entry ${view.number} (${short(view.id)}), ${view.time}:`);
}

export function asOfJson(view: HeadView | undefined) {
  return view === undefined ? {} : { asOf: { number: view.number, id: view.id, time: view.time } };
}
