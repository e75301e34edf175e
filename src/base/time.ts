// SPDX-License-Identifier: Apache-2.0
/** Times in documents: YYYY-MM-DDTHH:MM:SSZ, years 2020 to 2199. Layer: base. Format: docs/format.md, "Times". */
import { CofferError } from "./errors.ts";
import { quote } from "./quote.ts";

/** Text form, checked; only made here. */
export type Time = string & { readonly __brand: "Time" };

const TIME =
  /^(20[2-9][0-9]|21[0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$/;

/** @throws CofferError TIME_INVALID - not that form, or no real date (30 February, leap second) */
export function parseTime(text: string): Time {
  const [, year, month, day] = TIME.exec(text) ?? refuse(text);
  return Number(day) <= daysOf(Number(year), Number(month)) ? (text as Time) : refuse(text);
}

/** How many days a month has. @param month - 1 to 12 */
function daysOf(year: number, month: number): number {
  if (month !== 2) return [4, 6, 9, 11].includes(month) ? 30 : 31;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
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
