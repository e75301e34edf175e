// SPDX-License-Identifier: Apache-2.0
/** Times in documents: YYYY-MM-DDTHH:MM:SSZ, years 2020 to 2199. Layer: base. Format: docs/format.md, "Times". */
import { CofferError } from "./errors.ts";
import { quote } from "./quote.ts";

/** Text form, checked; only made here. */
export type Time = string & { readonly __brand: "Time" };

const TIME = /^(?:20[2-9][0-9]|21[0-9]{2})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/;

/** @throws CofferError TIME_INVALID - not that form, or no real date (30 February, leap second) */
export function parseTime(text: string): Time {
  if (!TIME.test(text)) return refuse(text);
  const ms = Date.parse(text);
  // A date that does not exist is moved by the parser, or refused: either way it does not print the same.
  return Number.isNaN(ms) || print(ms) !== text ? refuse(text) : (text as Time);
}

function refuse(text: string): never {
  throw new CofferError(
    "TIME_INVALID",
    `time: expected YYYY-MM-DDTHH:MM:SSZ from 2020 to 2199, found ${quote(text, 40)}`,
  );
}

/** Seconds since 1970 of a checked time. */
export function timeSeconds(time: Time): number {
  return Date.parse(time) / 1000;
}

/** @param seconds - since 1970, whole. @throws CofferError TIME_INVALID - outside 2020 to 2199 */
export function formatTime(seconds: number): Time {
  return parseTime(Number.isSafeInteger(seconds) && Math.abs(seconds) < 8.64e12 ? print(seconds * 1000) : "");
}

function print(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
