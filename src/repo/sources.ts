// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the files that `add` is given: files, folders (which keep their tree) and globs, through fast-glob.
 * Symbolic links are followed only in a Hugging Face cache folder, and there only into its own blobs/. Layer: repo.
 */
import { lstat, realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { CofferError, systemCode } from "../base/errors.ts";
import { type ManifestPath, parseManifestPath } from "../base/names.ts";

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

/**
 * @param patterns - paths or globs as the user typed them
 * @param cwd - absolute folder that relative patterns start from
 * @throws CofferError FILE_NOT_FOUND - a pattern that matches nothing; PATH_INVALID - a link, a device, a path that no
 *   manifest may hold, or two files with one path
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
  const { default: glob } = await import("fast-glob");
  const posix = sep === "\\" ? glob.convertPathToPattern(pattern) : pattern;
  if (!glob.isDynamicPattern(posix)) throw new CofferError("FILE_NOT_FOUND", `${pattern}: no such file`);
  const [task] = glob.generateTasks(posix, { cwd });
  const base = resolve(cwd, task?.base ?? ".");
  const rest = posix.slice(task?.base === undefined || task.base === "." ? 0 : task.base.length + 1);
  const found = (await kindOf(base)) === "folder" ? await walk(base, rest, leftOut) : [];
  if (found.length === 0) throw new CofferError("FILE_NOT_FOUND", `${pattern}: matches no file`);
  return found;
}

/** Every entry under `base` that the pattern matches; links and devices are errors, not silence. */
async function walk(base: string, pattern: string, leftOut: string[], linksInto?: string): Promise<SourceFile[]> {
  const { default: glob } = await import("fast-glob");
  const entries = await glob(pattern === "**" ? "**/*" : pattern, {
    cwd: base,
    dot: true,
    onlyFiles: false,
    followSymbolicLinks: false,
    objectMode: true,
    suppressErrors: false,
  });
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
  const { readFile, readdir } = await import("node:fs/promises");
  const snapshots = join(folder, "snapshots");
  const blobs = join(folder, "blobs");
  if ((await kindOf(snapshots)) !== "folder" || (await kindOf(blobs)) !== "folder") return undefined;
  const revisions = await readdir(snapshots);
  const main = join(folder, "refs", "main");
  const named = (await kindOf(main)) === "file" ? (await readFile(main, "utf8")).trim() : undefined;
  const revision = revisions.find((entry) => entry === named) ?? (revisions.length === 1 ? revisions[0] : undefined);
  if (revision === undefined) {
    throw new CofferError(
      "FILE_NOT_FOUND",
      `${basename(folder)}: several snapshots; give one of snapshots/ by its path`,
    );
  }
  return { snapshot: join(snapshots, revision), blobs };
}

/** A single link is followed only from `models--…/snapshots/<revision>/…` into that cache's blobs/. */
async function followInCache(link: string, path: string): Promise<SourceFile> {
  const parts = link.split(sep);
  const at = parts.lastIndexOf("snapshots");
  if (at < 1 || !/^models--.+--.+$/.test(parts[at - 1] ?? "")) {
    throw new CofferError("PATH_INVALID", `${path}: symbolic links are not followed`);
  }
  return followInto(link, path, [...parts.slice(0, at), "blobs"].join(sep));
}

async function followInto(link: string, path: string, blobs: string): Promise<SourceFile> {
  const target = await realpath(link);
  const inside = relative(await realpath(blobs), target);
  if (inside === "" || inside.startsWith("..") || isAbsolute(inside) || inside.includes(sep)) {
    throw new CofferError("PATH_INVALID", `${path}: the link leads out of the cache's blobs/`);
  }
  return { path: parseManifestPath(path), folder: dirname(target), file: basename(target) };
}
