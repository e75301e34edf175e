// SPDX-License-Identifier: Apache-2.0
/** What the scripts share: where the project is, how a step is run and shown. Node alone, no packages. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Ends the script with a reason that a person can act on. */
export function fail(text, exit = 1) {
  process.stderr.write(`${text}\n`);
  process.exit(exit);
}

/** A fresh folder on the same file system as the project, so that a rename out of it is one step. */
export function freshFolder(name) {
  mkdirSync(join(ROOT, ".tmp"), { recursive: true });
  return mkdtempSync(join(ROOT, ".tmp", `${name}-`));
}

/**
 * Puts the folder `from` in the place of `to`. Two folders cannot be exchanged in one step, so between two renames `to`
 * is missing; never is it half of each. Whoever loses a race against a second run tries again and wins.
 *
 * @param spare - an own folder, into which the old one goes
 */
export function swapFolder(from, to, spare) {
  for (let tries = 0; ; tries += 1) {
    try {
      renameSync(to, join(spare, `old-${tries}`));
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    try {
      renameSync(from, to);
      return;
    } catch (error) {
      if (tries >= 20 || !["ENOTEMPTY", "EEXIST", "EPERM"].includes(error.code)) throw error;
    }
  }
}

/** Removes a folder of ours; one that a second run has already taken away is as good. */
export function remove(folder) {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** Every file below `folder` with forward slashes, sorted; none when there is no such folder. */
export function filesBelow(folder) {
  let entries;
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/")).sort();
}

/** One SHA-256 over names and contents of `files` (below `folder`). */
export function hashFiles(folder, files) {
  const hash = createHash("sha256");
  for (const file of files) {
    const bytes = readFileSync(join(folder, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

/** The environment without what would make a test run depend on the shell it was started from. */
export function cleanEnvironment() {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(COFFER_(?!TEST_)|GIT_(DIR|WORK_TREE|INDEX_FILE)$|NODE_TEST_CONTEXT$|SSH_AUTH_SOCK$)/u.test(name),
  );
  return Object.fromEntries(kept);
}

/** What Node loads before a test: with a seed in the environment, properties draw from it too, where there are any. */
export function testLoaders() {
  const loaders = ["--import", "tsx"];
  if (process.env.COFFER_TEST_SEED === undefined || !existsSync(tool("fast-check"))) return loaders;
  return [...loaders, "--import", pathToFileURL(join(ROOT, "scripts", "seed-properties.mjs")).href];
}

/** Path of a tool that is installed in the project: a script that Node runs. */
export function tool(path) {
  return join(ROOT, "node_modules", path);
}

/** Runs Node with `args` in the project; the exit status, or 1 when it was killed. */
export function runNode(args, options = {}) {
  const stdio = ["ignore", "inherit", "inherit"];
  const run = spawnSync(process.execPath, args, { cwd: ROOT, stdio, ...options });
  if (run.error !== undefined) throw run.error;
  return run.status ?? 1;
}

/** Runs Node with `args` in the project beside others. @returns the exit status, 1 when it was killed, and all it printed */
export function startNode(args) {
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ exit: status ?? 1, output }));
  });
}
