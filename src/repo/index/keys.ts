// SPDX-License-Identifier: Apache-2.0
/**
 * The keys of the local index, and which of them a move of the log sets or takes away. Layer: repo.
 * Format: docs/format.md, "The local index". A key only says where to look: what it yields is read anew through the ref tree.
 *
 * All keys are ASCII, so that JavaScript's order of strings is that of bytes.
 */
import type { Digest } from "../../base/digest.ts";
import { passOthers } from "../../base/errors.ts";
import { type Name, parseName } from "../../base/names.ts";
import { NAME_FAMILIES, type NameFamily, parseRefPath, type RefPath } from "../../base/ref-path.ts";
import type { Move } from "../../refs/ref-tree.ts";
import { type Reading, readManifest, readStatement } from "../dossier.ts";

/** A key that is there, or one that an older run may hold and that is gone. */
export interface Entry {
  readonly key: string;
  readonly present: boolean;
}

/**
 * What can be listed in the order of names. n: every name that has refs; t: those with a trusted ref; p: those with a
 * proposed one; x: those with a trusted ref whose statement or manifest could not be read.
 */
export type NameList = "n" | "t" | "p" | "x";

/** Enough of a digest that no two meet by chance; one more name to look at would be all that came of it. */
const DIGEST_CHARS = 32;
/** Below every character of a name, and above none: ends a name in a key. */
const END = " ";

function nameKey(list: NameList, name: Name, family?: NameFamily): string {
  return family === undefined ? `${list}${name.text}` : `${list}${name.text}${END}${family}`;
}

/** Keys of the names under refs/trusted whose manifest is, or holds, `digest` start with this. */
export function holderPrefix(digest: Digest): string {
  return `h${digest.slice(0, DIGEST_CHARS)}`;
}

export function nameOfHolder(key: string): Name {
  return parseName(key.slice(1 + DIGEST_CHARS));
}

export function nameOfList(key: string): Name {
  const end = key.indexOf(END);
  return parseName(key.slice(1, end < 0 ? undefined : end));
}

/** The first key that can belong to a name over `after`. */
export function keyAfter(list: NameList, after: string): string {
  return `${list}${after}!`; // the character after END
}

/** What is asked: names alone (then no statement and no manifest is read), or also who holds which bytes. */
export type Depth = "names" | "all";

/** What the tree says at a ref, as keys; for refs that are not of names, nothing. */
export async function keysOfRef(reading: Reading, ref: RefPath, id: Digest, depth: Depth = "all"): Promise<string[]> {
  const changes = await changesOf(reading, { ref, to: id }, depth);
  return changes.filter(({ present }) => present).map(({ key }) => key);
}

/**
 * In the order in which they take effect: a key may be taken away and set again.
 * What was trusted before and cannot be read any more leaves its keys behind; they name one candidate too many.
 */
export async function changesOf(reading: Reading, { ref, from, to }: Move, depth: Depth = "all"): Promise<Entry[]> {
  const parsed = parseRefPath(ref);
  if (!("name" in parsed) || !NAME_FAMILIES.includes(parsed.family)) return [];
  const { family, name } = parsed;
  const present = to !== undefined;
  const changes: Entry[] = [{ key: nameKey("n", name, family), present }];
  if (family === "proposed") changes.push({ key: nameKey("p", name), present });
  if (family !== "trusted") return changes;
  changes.push({ key: nameKey("t", name), present });
  if (depth === "names") return changes;
  const before = from === undefined ? undefined : await digestsOf(reading, from);
  const after = to === undefined ? undefined : await digestsOf(reading, to);
  const mark = (present: boolean) => (digest: Digest) => ({ key: holderPrefix(digest) + name.text, present });
  changes.push(...(before ?? []).map(mark(false)), ...(after ?? []).map(mark(true)));
  changes.push({ key: nameKey("x", name), present: present && after === undefined });
  return changes;
}

/** Of a trusted statement: its manifest and the files in it; undefined if damage keeps them from being read. */
async function digestsOf(reading: Reading, statement: Digest): Promise<Digest[] | undefined> {
  try {
    const { manifest } = (await readStatement(reading, statement)).value;
    const { files } = (await readManifest(reading, manifest)).value;
    return [manifest, ...new Set(files.map((file) => file.sha256))];
  } catch (error) {
    passOthers(error, "CORRUPT");
    return undefined; // told by the key "x" that says so, and by whoever asks for that name
  }
}
