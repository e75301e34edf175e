// SPDX-License-Identifier: Apache-2.0
/**
 * Names for what an act does to a disk, taken from the calls that it made and where they led: the steps of docs/crash.md.
 * Calls that change nothing have none. Layer: test support.
 */
import { MEDIA, NEW_STATE, NEW_STORE, STATE, STORE } from "./machine.ts";
import type { TracedCall } from "./memory-files.ts";

/** What each place of a store is called. */
const PLACES: readonly (readonly [RegExp, string])[] = [
  [/^local\/tmp(\/|$)/, "temporary file"],
  [/^local\/reserve(\/|$)/, "reserve"],
  [/^local\/trash(\/|$)/, "trash"],
  [/^(local\/adopt|former)(\/|$)/, "new log"],
  [/^local\/head$/, "hint"],
  [/^local\/turn$/, "turn"],
  [/^blobs\/../, "blob"],
  [/^(objects|signatures)\/../, "objects"],
  [/^log\/[0-9]+/, "entry"],
  [/^refs\//, "views"],
  [/^git(\/|$)/, "projection"],
  [/^coffer\.json$/, "store file"],
];

interface Place {
  /** Whose folder: a store, one that is being made, this machine's state, or the folder that holds them all. */
  readonly area: "store" | "building" | "state" | "above";
  readonly path: string;
  readonly kind: string;
}

function placeOf(path: string): Place {
  const [first = "", ...rest] = path.split("/");
  const inner = rest.join("/");
  if (first === STATE || first === NEW_STATE) {
    return { area: "state", path: inner, kind: inner.endsWith("store_key") ? "store key" : "memory" };
  }
  if (first === MEDIA) return { area: "store", path: path === MEDIA ? "volumes" : inner, kind: "volume" };
  const area = first.startsWith(`.${NEW_STORE}.`)
    ? "building"
    : first === STORE || first === NEW_STORE
      ? "store"
      : "above";
  if (area === "above") return { area, path, kind: "above" };
  return { area, path: inner, kind: PLACES.find(([pattern]) => pattern.test(inner))?.[1] ?? "folders" };
}

/** The step of each call; undefined for calls that only read. */
export function stepsOf(trace: readonly TracedCall[]): readonly (string | undefined)[] {
  const fates = new Map<string, string>();
  const created = new Set<string>();
  for (const { call, path, other } of trace) {
    if (call === "create") created.add(path);
    if (call === "rename" && other !== undefined) fates.set(path, placeOf(other).kind);
    if (call === "link" && other !== undefined) fates.set(other, placeOf(path).kind);
  }
  let committed = false;
  return trace.map(({ call, path, other }) => {
    if (call === "link" && placeOf(path).kind === "entry") committed = true;
    const isOurs = created.has(path);
    return isWriting(call, isOurs) ? stepOf(call, path, other, { fates, isOurs, committed }) : undefined;
  });
}

function isWriting(call: string, isOurs: boolean): boolean {
  if (["read", "open", "stat", "list", "isEmpty", "file.read", "file.stat", "file.place"].includes(call)) return false;
  return call !== "file.close" || isOurs;
}

interface Told {
  readonly fates: ReadonlyMap<string, string>;
  readonly isOurs: boolean;
  readonly committed: boolean;
}

function stepOf(call: string, path: string, other: string | undefined, { fates, isOurs, committed }: Told): string {
  const place = placeOf(path);
  if (place.kind === "store key") return "write store key";
  if (place.area === "state") return "remember head";
  if (place.area === "above") return call === "rename" ? "take the place" : "fsync the folder above";
  if (place.path === "")
    return call === "rename" ? "take the place" : call === "makeFolder" ? "make folders" : "fsync folders";
  const kind = place.kind === "temporary file" ? (fates.get(path) ?? "temporary file") : place.kind;
  if (call === "remove" && place.kind === "volume" && !isOurs) return "sweep volumes";
  if (call === "remove" && place.kind === "temporary file" && !isOurs && !fates.has(path)) return "sweep leftovers";
  if (call === "rename" && other !== undefined) {
    const to = placeOf(other).kind;
    if (to === "trash") return "move to the trash";
    if (to === "new log" || place.kind === "new log") return "swap the logs";
  }
  if (place.kind === "new log") return "build the new log";
  if (place.kind === "trash") return call === "remove" ? "empty the trash" : "make the trash durable";
  if (call === "touch" && place.kind === "objects") return "touch objects";
  if (call === "touch" && place.kind === "blob") return "move to the trash"; // its day begins
  if (/link-probe/.test(path)) return "probe links";
  if (call === "removeFolder" && place.path.startsWith("local/tmp/import-")) return "end the staging";
  if (kind === "temporary file")
    return call === "makeFolder" ? "make folders" : call === "fsyncFolder" ? "fsync folders" : "ask the time";
  if (kind === "projection" && call === "remove") return "withdraw from the projection";
  if (kind === "reserve") return call === "remove" ? "give up the reserve" : "fill the reserve";
  if (kind === "views" || kind === "hint") return `write ${kind}`;
  if (kind === "store file") return "write store file";
  if (kind === "folders") return call === "makeFolder" ? "make folders" : "fsync folders";
  if (call === "fsyncFolder" && kind === "entry") return committed ? "fsync the log folder" : "settle the head";
  if (call === "fsyncFolder") return `fsync the folders of ${kind}`;
  if (call === "makeFolder") return "make folders";
  if (call === "remove") return `drop the temporary name of the ${kind}`;
  if (call === "file.fsync") return `fsync ${kind}`;
  if (call === "rename") return `name ${kind}`;
  if (call === "link") return `link ${kind}`;
  return other === undefined ? `write ${kind}` : call;
}
