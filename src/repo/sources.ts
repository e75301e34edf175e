// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the files that `add` is given: files, folders (which keep their tree) and globs, through fast-glob.
 * Symbolic links are followed only in a Hugging Face cache folder, and there only into its own blobs/. Layer: repo.
 */
import { lstat, readdir, readFile, realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { CofferError, systemCode } from "../base/errors.ts";
import { type ManifestPath, parseManifestPath } from "../base/names.ts";
import { printable } from "../base/text.ts";
import { system } from "./system.ts";

/** One file to add: where it is, and its path in the manifest. */
export interface SourceFile {
  readonly path: ManifestPath;
  readonly folder: string;
  readonly file: string;
}

/** What was found and what was left out on purpose, for people. */
export interface Found {
  readonly files: readonly SourceFile[];
  readonly leftOut: readonly string[];
}

/** Never part of a model: version control and the caches of download tools. */
const LEFT_OUT = [".git", ".cache", ".DS_Store"];
/** Bounds on a glob, in characters, items of one `{a..b}`, and patterns that its braces expand to. */
const PATTERN_CHARS = 1000;
const RANGE_ITEMS = 1000;
const BRACE_PATTERNS = 10_000;

/**
 * @param patterns - paths or globs as the user typed them
 * @param cwd - absolute folder that relative patterns start from
 * @throws CofferError FILE_NOT_FOUND - a pattern that matches nothing, or a cache whose download is not complete;
 *   PATH_INVALID - a link, a device, a path that no manifest may hold, or two files with one path; USAGE - a glob over
 *   its bounds; IO_ERROR - a folder that cannot be read
 */
export async function findSources(patterns: readonly string[], cwd: string): Promise<Found> {
  const files: SourceFile[] = [];
  const leftOut: string[] = [];
  for (const pattern of patterns) files.push(...(await findOne(pattern, cwd, leftOut)));
  const byPath = new Map<string, SourceFile>();
  for (const file of files) {
    const other = byPath.get(file.path);
    if (other !== undefined && join(other.folder, other.file) !== join(file.folder, file.file)) {
      throw new CofferError("PATH_INVALID", `two files would both be ${file.path}`);
    }
    byPath.set(file.path, file);
  }
  return { files: [...byPath.values()], leftOut };
}

async function findOne(pattern: string, cwd: string, leftOut: string[]): Promise<SourceFile[]> {
  const absolute = resolve(cwd, pattern);
  const kind = await kindOf(absolute);
  if (kind === "file") return [sourceFile(basename(absolute), absolute)];
  if (kind === "folder") {
    const cache = /^models--[^/]+--[^/]+$/.test(basename(absolute)) ? await cacheSnapshot(absolute) : undefined;
    return cache === undefined ? walk(absolute, "**", leftOut) : walk(cache.snapshot, "**", leftOut, cache.blobs);
  }
  if (kind === "link") return [await followInCache(absolute, basename(absolute))];
  if (kind === "other") throw new CofferError("PATH_INVALID", `${pattern}: expected a regular file or a folder`);
  return matchGlob(pattern, cwd, leftOut);
}

async function kindOf(path: string): Promise<"file" | "folder" | "link" | "other" | "absent"> {
  try {
    const stat = await lstat(path);
    if (stat.isFile()) return "file";
    if (stat.isDirectory()) return "folder";
    return stat.isSymbolicLink() ? "link" : "other";
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return "absent";
    throw new CofferError("IO_ERROR", `cannot look at ${basename(path)} (${code})`, { cause: error });
  }
}

async function matchGlob(pattern: string, cwd: string, leftOut: string[]): Promise<SourceFile[]> {
  if (!/[*?[\](){}!+@|\\]/.test(pattern)) throw new CofferError("FILE_NOT_FOUND", `${pattern}: no such file`);
  refuseLarge(pattern);
  const { default: glob } = await import("fast-glob");
  const posix = sep === "\\" ? glob.convertPathToPattern(pattern) : pattern;
  if (!glob.isDynamicPattern(posix)) throw new CofferError("FILE_NOT_FOUND", `${pattern}: no such file`);
  const [task] = await globbing(pattern, async () => glob.generateTasks(posix, { cwd }));
  const base = resolve(cwd, task?.base ?? ".");
  const rest = posix.slice(task?.base === undefined || task.base === "." ? 0 : task.base.length + 1);
  const found = (await kindOf(base)) === "folder" ? await walk(base, rest, leftOut) : [];
  if (found.length === 0) throw new CofferError("FILE_NOT_FOUND", `${pattern}: matches no file`);
  return found;
}

/**
 * Before the library sees it: braces multiply, so that a short pattern can stand for more than fits into memory. The
 * count is the most that this number of commas and braces can give, however they nest; escapes are not looked at.
 */
function refuseLarge(pattern: string): void {
  const over = (what: string): CofferError => new CofferError("USAGE", `a pattern expands too far: expected ${what}`);
  if (pattern.length > PATTERN_CHARS) throw over(`at most ${PATTERN_CHARS} characters, found ${pattern.length}`);
  if (!pattern.includes("{")) return;
  const ranges = pattern
    .replace(/[\\"'`]/g, "")
    .split(/[{},]/)
    .map(rangeItems);
  if (ranges.some((items) => items > RANGE_ITEMS)) throw over(`at most ${RANGE_ITEMS} items in a range`);
  const braces = pattern.split("{").length - 1;
  const commas = pattern.split(",").length - 1;
  const groups = Math.min(braces, commas);
  const lists = groups === 0 ? 1 : (commas / groups + 1) ** groups;
  const patterns = ranges.reduce((product, items) => product * items, lists);
  if (!(patterns <= BRACE_PATTERNS)) throw over(`at most ${BRACE_PATTERNS} patterns from its braces`);
}

/** How many items `a..b` stands for: numbers or single characters; 1 for anything else, such as a path. */
function rangeItems(text: string): number {
  const [from = "", to] = text.split("..");
  if (to === undefined) return 1;
  const span = Math.abs(Number(to) - Number(from)) + 1;
  if (!Number.isNaN(span)) return span;
  return from.length === 1 && to.length === 1 ? Math.abs(to.charCodeAt(0) - from.charCodeAt(0)) + 1 : 1;
}

/** Runs the glob library; what it cannot expand or compile is the pattern's fault. */
async function globbing<T>(pattern: string, act: () => Promise<T>): Promise<T> {
  try {
    return await system(`look through ${printable(basename(pattern), 80)}`, act);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof SyntaxError)) throw error;
    throw new CofferError("USAGE", "expected a pattern that can be expanded, found another", { cause: error });
  }
}

/** Every entry under `base` that the pattern matches; links and devices are errors, not silence. */
async function walk(base: string, pattern: string, leftOut: string[], linksInto?: string): Promise<SourceFile[]> {
  const { default: glob } = await import("fast-glob");
  const options = { cwd: base, dot: true, onlyFiles: false, followSymbolicLinks: false, suppressErrors: false };
  const entries = await globbing(base, () =>
    glob(pattern === "**" ? "**/*" : pattern, { ...options, objectMode: true }),
  );
  const files: SourceFile[] = [];
  for (const { path, dirent } of entries.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (path.split("/").some((part) => LEFT_OUT.includes(part))) {
      leftOut.push(path);
    } else if (dirent.isSymbolicLink()) {
      if (linksInto === undefined) throw new CofferError("PATH_INVALID", `${path}: symbolic links are not followed`);
      files.push(await followInto(join(base, path), path, linksInto));
    } else if (dirent.isFile()) {
      files.push(sourceFile(path, join(base, path)));
    } else if (!dirent.isDirectory()) {
      throw new CofferError("PATH_INVALID", `${path}: expected a regular file`);
    }
  }
  if (files.length === 0 && pattern === "**")
    throw new CofferError("FILE_NOT_FOUND", `${basename(base)}: an empty folder`);
  return files;
}

function sourceFile(path: string, absolute: string): SourceFile {
  return { path: parseManifestPath(path), folder: dirname(absolute), file: basename(absolute) };
}

/** The one snapshot of a Hugging Face cache folder `models--Org--Name`, or the one that refs/main names. */
async function cacheSnapshot(folder: string): Promise<{ snapshot: string; blobs: string } | undefined> {
  const snapshots = join(folder, "snapshots");
  const blobs = join(folder, "blobs");
  if ((await kindOf(snapshots)) !== "folder" || (await kindOf(blobs)) !== "folder") return undefined;
  const revisions = await system("list snapshots/", () => readdir(snapshots));
  const named = await mainRevision(folder);
  const revision = revisions.find((entry) => entry === named) ?? (revisions.length === 1 ? revisions[0] : undefined);
  if (revision === undefined) {
    throw new CofferError(
      "FILE_NOT_FOUND",
      `${basename(folder)}: several snapshots; give one of snapshots/ by its path`,
    );
  }
  await needFolder(join(snapshots, revision));
  return { snapshot: join(snapshots, revision), blobs };
}

async function mainRevision(folder: string): Promise<string | undefined> {
  const main = join(folder, "refs", "main");
  if ((await kindOf(join(folder, "refs"))) !== "folder" || (await kindOf(main)) !== "file") return undefined;
  return (await system("read refs/main", () => readFile(main, "utf8"))).trim();
}

/** A single link is followed only from `models--…/snapshots/<revision>/…` into that cache's blobs/. */
async function followInCache(link: string, path: string): Promise<SourceFile> {
  const parts = link.split(sep);
  const at = parts.lastIndexOf("snapshots");
  if (at < 1 || !/^models--.+--.+$/.test(parts[at - 1] ?? "")) {
    throw new CofferError("PATH_INVALID", `${path}: symbolic links are not followed`);
  }
  for (let length = at; length < parts.length; length += 1) await needFolder(parts.slice(0, length).join(sep));
  return followInto(link, path, [...parts.slice(0, at), "blobs"].join(sep));
}

/** @throws CofferError PATH_INVALID - a link or anything else than a folder: a cache must not lead out of itself */
async function needFolder(path: string): Promise<void> {
  if ((await kindOf(path)) === "folder") return;
  throw new CofferError("PATH_INVALID", `${basename(path)}: expected a folder of the cache, found something else`);
}

async function followInto(link: string, path: string, blobs: string): Promise<SourceFile> {
  await needFolder(blobs);
  const target = await targetOf(link, path);
  const inside = relative(await system("find blobs/", () => realpath(blobs)), target);
  if (inside === "" || inside.startsWith("..") || isAbsolute(inside) || inside.includes(sep)) {
    throw new CofferError("PATH_INVALID", `${path}: the link leads out of the cache's blobs/`);
  }
  if ((await kindOf(target)) !== "file") {
    throw new CofferError("PATH_INVALID", `${path}: expected a link to a regular file`);
  }
  return { path: parseManifestPath(path), folder: dirname(target), file: basename(target) };
}

async function targetOf(link: string, path: string): Promise<string> {
  try {
    return await realpath(link);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") {
      const text = `${path}: the link leads to nothing: the download is incomplete; run it again`;
      throw new CofferError("FILE_NOT_FOUND", text, { cause: error });
    }
    if (code === "ELOOP") {
      throw new CofferError("PATH_INVALID", `${path}: the link leads to itself`, { cause: error });
    }
    throw new CofferError("IO_ERROR", `cannot follow the link ${path} (${code})`, { cause: error });
  }
}
