// SPDX-License-Identifier: Apache-2.0
/**
 * The files under refs/: what the log's head says, one file a ref, 64 hex and a newline, for people and scripts.
 * Layer: refs. Format: docs/format.md, "Views". Holds invariants 4 and 9: nothing here is ever read for a decision.
 *
 * Written after the commit, without fsync. Links are not followed: a folder of a view must be a folder.
 */
import { type Digest, isDigest } from "../base/digest.ts";
import { CofferError, isCofferError, passOthers } from "../base/errors.ts";
import type { Random } from "../base/ports.ts";
import { asRefPath, type RefPath } from "../base/ref-path.ts";
import type { Files } from "../objects/files.ts";
import { namesIn, parentFolder, tempPath } from "../objects/layout.ts";
import type { HeadView } from "./head-view.ts";
import { discard, writeTemp } from "./temp-file.ts";

/** Times that a view is written anew because the head moved meanwhile; what is left is for `repairViews`. */
const ROUNDS = 20;
/** Times that a folder is made again because another writer just removed it, empty. */
const TRIES = 20;
/** More parts than any ref has; deeper folders are not entered. */
const DEEPEST = 10;
const VIEW_BYTES = 65;

export interface ViewFiles {
  readonly files: Files;
  readonly random: Random;
}

/**
 * Writes the views of `refs` as the head has them, until the head stands still: a slower writer that comes last still
 * leaves what the newest entry says. Those of refs that are gone go first, and one that fails keeps no other back: where
 * the disk is full, what was revoked is no longer shown all the same.
 *
 * @param readHead - finds the newest head
 * @throws CofferError CORRUPT - something else lies in the way; NO_SPACE, IO_ERROR; the first of them
 */
export async function updateViews(
  target: ViewFiles,
  refs: readonly RefPath[],
  readHead: () => Promise<HeadView>,
): Promise<void> {
  const written: Written = { ids: new Map(), made: new Set(), failures: new Map() };
  let head = await readHead();
  for (let round = 0; round < ROUNDS; round += 1) {
    const gone: RefPath[] = [];
    const standing: [RefPath, Digest][] = [];
    for (const ref of refs) {
      const id = await head.readRef(ref);
      if (written.ids.has(ref) && written.ids.get(ref) === id) continue;
      if (id === undefined) gone.push(ref);
      else standing.push([ref, id]);
    }
    for (const ref of gone) await writeOne(written, ref, undefined, () => removeView(target.files, ref));
    for (const [ref, id] of standing) await writeOne(written, ref, id, () => placeView(target, ref, id, written.made));
    const next = await readHead();
    if (next.number === head.number) break;
    head = next;
  }
  for (const failure of written.failures.values()) throw failure;
}

interface Written {
  readonly ids: Map<RefPath, Digest | undefined>;
  /** Folders that were made or seen in this run: looked at again only if they are gone. */
  readonly made: Set<string>;
  readonly failures: Map<RefPath, CofferError>;
}

async function writeOne(
  { ids, failures }: Written,
  ref: RefPath,
  id: Digest | undefined,
  write: () => Promise<void>,
): Promise<void> {
  try {
    await write();
    failures.delete(ref);
  } catch (error) {
    passOthers(error);
    failures.set(ref, error);
  }
  ids.set(ref, id);
}

/** @param made - folders that were made or seen in this run */
async function placeView({ files, random }: ViewFiles, ref: RefPath, id: Digest, made: Set<string>): Promise<void> {
  const temp = tempPath(files, random);
  await writeTemp(files, temp, new TextEncoder().encode(`${id}\n`), 0o644, "not durable");
  try {
    await renameInto(files, temp, ref, made);
  } catch (error) {
    await discard(files, temp);
    throw error;
  }
}

async function renameInto(files: Files, temp: string, ref: RefPath, made: Set<string>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      for (const folder of foldersOf(ref)) {
        if (made.has(folder)) continue;
        await files.makeFolder(folder);
        made.add(folder);
      }
      return await files.rename(temp, ref);
    } catch (error) {
      const swept = (await files.stat(parentFolder(ref))) === undefined;
      if (!swept || attempt === TRIES) throw error;
      made.clear();
    }
  }
}

/** `refs`, `refs/trusted` …: from the top down to the folder of the view. */
function foldersOf(path: string): string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

async function removeView(files: Files, path: string): Promise<void> {
  const folders = foldersOf(path);
  for (const folder of folders) {
    const stat = await files.stat(folder);
    if (stat === undefined) return;
    if (stat.kind !== "folder") throw new CofferError("CORRUPT", `${folder} is not a folder`);
  }
  await files.remove(path);
  // All but refs/ itself go when they are empty.
  for (const folder of folders.slice(1).reverse()) if (!(await removeIfEmpty(files, folder))) return;
}

/** False if something is in it. Asks nothing before: most folders of a view that goes hold nothing else. */
async function removeIfEmpty(files: Files, folder: string): Promise<boolean> {
  try {
    await files.removeFolder(folder);
    return true;
  } catch (error) {
    // Of a folder that holds something rmdir(2) may say other things than ENOTEMPTY: EBUSY, EPERM, EACCES.
    if ((await files.isEmpty(folder)) === false) return false;
    throw error;
  }
}

/** A place under refs/ that is not as the head has it. */
export interface ViewDifference {
  /** Relative to the store; a ref if `expected` is there, else whatever was found. */
  readonly path: string;
  /** What the head says; undefined if no such ref. */
  readonly expected?: Digest;
  /** What the file holds; undefined if absent; "other": not a file of 64 hex and a newline. */
  readonly found?: Digest | "other";
}

/**
 * Compares all files under refs/ with the refs of a head.
 *
 * @param refs - all refs of the head, in any order
 * @returns sorted by path; empty if all is as it should be
 */
export async function checkViews(
  files: Files,
  refs: AsyncIterable<readonly [RefPath, Digest]>,
): Promise<readonly ViewDifference[]> {
  const found = new Map<string, Digest | "other">();
  await collect(files, "refs", 1, found);
  const differences: ViewDifference[] = [];
  for await (const [ref, expected] of refs) {
    const there = found.get(ref);
    found.delete(ref);
    if (there !== expected) differences.push({ path: ref, expected, ...(there && { found: there }) });
  }
  for (const [path, there] of found) differences.push({ path, found: there });
  return differences.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function collect(files: Files, path: string, depth: number, found: Map<string, Digest | "other">): Promise<void> {
  const stat = await files.stat(path);
  if (stat === undefined) return;
  if (stat.kind === "file") {
    found.set(path, await readView(files, path));
    return;
  }
  const names = stat.kind === "folder" && depth <= DEEPEST ? await namesIn(files, path) : [];
  for (const name of names) await collect(files, `${path}/${name}`, depth + 1, found);
  // A link, something too deep, or an empty folder: it may lie where a view belongs.
  if (names.length === 0 && depth > 1) found.set(path, "other");
  if (depth === 1 && stat.kind !== "folder") found.set(path, "other");
}

async function readView(files: Files, path: string): Promise<Digest | "other"> {
  const stat = await files.stat(path);
  if (stat?.sizeBytes !== VIEW_BYTES) return "other";
  const text = Buffer.from((await files.read(path, VIEW_BYTES)) ?? []).toString("latin1");
  const id = text.slice(0, -1);
  return text.endsWith("\n") && isDigest(id) ? id : "other";
}

/**
 * Sets the views right that differ. Links, empty folders and stray files are removed, never followed.
 *
 * @param differences - of `checkViews`; for refs the head is read again, since it may have moved on
 * @returns what could not be repaired: something too deep, or a stray that is neither file, link nor empty folder
 */
export async function repairViews(
  target: ViewFiles,
  differences: readonly ViewDifference[],
  readHead: () => Promise<HeadView>,
): Promise<readonly ViewDifference[]> {
  const left: ViewDifference[] = [];
  const refs: RefPath[] = [];
  // Strays first: a link may lie where the folder of a view belongs.
  for (const difference of differences) {
    const ref = refOf(difference.path);
    const stray = ref === undefined || difference.found === "other";
    if (stray && !(await removeStray(target.files, difference.path))) left.push(difference);
    else if (ref !== undefined) refs.push(ref);
  }
  await updateViews(target, refs, readHead);
  return left;
}

function refOf(path: string): RefPath | undefined {
  try {
    return asRefPath(path);
  } catch (error) {
    if (isCofferError(error)) return undefined;
    throw error;
  }
}

async function removeStray(files: Files, path: string): Promise<boolean> {
  const stat = await files.stat(path);
  if (stat?.kind === "folder") return removeIfEmpty(files, path);
  await removeView(files, path);
  return true;
}
