// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a fresh clone ready: checks Node, installs the locked packages if they are not there. Silent when all is well.
 * Installs into a folder of its own and renames it into place, so that two runs at once do not spoil each other.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

const NEEDED = [20, 19];
const found = process.versions.node.split(".").map(Number);
if (found[0] < NEEDED[0] || (found[0] === NEEDED[0] && found[1] < NEEDED[1])) {
  process.stderr.write(`coffer needs Node ${NEEDED.join(".")} or newer; this is Node ${process.versions.node}\n`);
  process.exit(1);
}

// After the check: an older Node might not even load what lib.mjs imports.
const { ROOT, fail, freshFolder, remove, swapFolder } = await import("./lib.mjs");

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`cannot read ${basename(path)}: ${error.message}`);
  }
}

/**
 * True when node_modules holds what package-lock.json asks for. npm writes its own record of what it installed as the
 * last thing it does; only packages that are optional may be missing from it (binaries for other platforms).
 */
function isInstalled() {
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages;
  if (wanted === undefined) fail("package-lock.json is missing: this is not a whole clone");
  const installed = readJson(join(ROOT, "node_modules", ".package-lock.json"))?.packages;
  if (installed === undefined) return false;
  for (const [path, { version, integrity, optional }] of Object.entries(wanted)) {
    if (path === "") continue;
    const there = installed[path];
    if (there === undefined && optional !== true) return false;
    if (there !== undefined && (there.version !== version || (integrity && there.integrity !== integrity)))
      return false;
  }
  return Object.keys(installed).every((path) => path in wanted);
}

/** npm as it was started, or the one on the path. */
function npm(args, cwd) {
  const started = process.env.npm_execpath;
  const options = { cwd, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" };
  if (started !== undefined && basename(started) === "npm-cli.js") {
    return spawnSync(process.execPath, [started, ...args], options);
  }
  return spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
}

/** Installs; says why not when it cannot. */
function install() {
  process.stderr.write("installing the locked packages …\n");
  const folder = freshFolder("install");
  try {
    for (const name of ["package.json", "package-lock.json", ".npmrc"]) {
      if (existsSync(join(ROOT, name))) copyFileSync(join(ROOT, name), join(folder, name));
    }
    const run = npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder], folder);
    if (run.error !== undefined) return `cannot start npm, which comes with Node: ${run.error.message}`;
    if (run.status !== 0) return `npm ci failed (exit ${run.status ?? run.signal}):\n${run.stderr.trim()}`;
    // Somebody else may have been quicker; theirs may already be in use.
    if (!isInstalled()) swapFolder(join(folder, "node_modules"), join(ROOT, "node_modules"), folder);
    return undefined;
  } finally {
    remove(folder);
  }
}

if (!isInstalled()) {
  const fault = install();
  if (fault !== undefined) fail(fault);
}
