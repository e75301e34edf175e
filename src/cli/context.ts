// SPDX-License-Identifier: Apache-2.0
/** From flags and environment to an open store. Precedence: flag, environment, default. Layer: cli. */
import { existsSync, lstatSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { CofferError, systemCode } from "../base/errors.ts";
import type { StoreLocation } from "../repo/ports.ts";
import { openStore, type Store } from "../repo/store.ts";
import type { Io } from "./io.ts";
import type { Ui } from "./ui.ts";

/** Options that every command takes. */
export interface GlobalOptions {
  readonly store?: string;
  readonly secrets?: string;
  readonly state?: string;
  /** commander's form of --no-memory. */
  readonly memory: boolean;
  readonly keys?: string;
  readonly passphraseFile?: string;
  readonly json?: boolean;
}

export interface Context {
  readonly io: Io;
  readonly ui: Ui;
  readonly options: GlobalOptions;
}

function env(io: Io, name: string): string | undefined {
  const value = io.env[name];
  return value === undefined || value === "" ? undefined : value;
}

/** A folder's option. @throws CofferError USAGE - given, but empty: an unset variable in a script, hardly this folder */
function folderOption({ options }: Context, name: "store" | "secrets" | "state" | "keys"): string | undefined {
  const value = options[name];
  if (value === "") throw new CofferError("USAGE", `--${name}: expected a folder, found nothing`);
  return value;
}

/** $XDG_STATE_HOME/coffer, or ~/.local/state/coffer (XDG Base Directory Specification 0.8). */
export function stateHome(io: Io): string {
  const home = env(io, "XDG_STATE_HOME");
  return home?.startsWith("/") === true ? join(home, "coffer") : join(io.home, ".local", "state", "coffer");
}

/** Where people's keys are looked for: --keys, COFFER_KEYS, $XDG_CONFIG_HOME/coffer/keys. */
export function keysFolder(context: Context): string {
  const { io } = context;
  const named = folderOption(context, "keys") ?? env(io, "COFFER_KEYS");
  if (named !== undefined) return resolve(io.cwd, named);
  const home = env(io, "XDG_CONFIG_HOME");
  return join(home?.startsWith("/") === true ? home : join(io.home, ".config"), "coffer", "keys");
}

/** The folders of a store at `root`. @throws CofferError USAGE - an empty option; memory or secrets inside the store */
export function locate(context: Context, root: string): StoreLocation {
  const { io, options } = context;
  const secrets = folderOption(context, "secrets") ?? env(io, "COFFER_SECRETS") ?? env(io, "CREDENTIALS_DIRECTORY");
  // systemd lists several folders with colons between them; the first is the unit's own.
  const stateOfUnit = env(io, "STATE_DIRECTORY")?.split(":")[0];
  const state = folderOption(context, "state") ?? env(io, "COFFER_STATE") ?? stateOfUnit;
  const location = {
    root,
    stateHome: stateHome(io),
    memory: options.memory,
    ...(secrets === undefined ? {} : { secrets: resolve(io.cwd, secrets) }),
    ...(state === undefined ? {} : { state: resolve(io.cwd, state) }),
  };
  refuseInside(root, location.secrets ?? location.stateHome, "--secrets", "the store key must not travel with copies");
  if (options.memory)
    refuseInside(root, location.state ?? location.stateHome, "--state", "memory must not travel with copies");
  return location;
}

/** A copy of the store would take along what must stay on this machine. */
function refuseInside(root: string, folder: string, option: string, why: string): void {
  const [outer, inner] = [realPath(root), realPath(folder)];
  if (inner !== outer && !inner.startsWith(outer.endsWith(sep) ? outer : outer + sep)) return;
  throw new CofferError("USAGE", `${option}: expected a folder outside the store, found one inside: ${why} of it`);
}

/** Links resolved as far as the path leads to something; the rest may not be there yet. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    const parent = dirname(path);
    if (parent === path) return path;
    // Whatever is wrong with the path (no such folder, no right to look) is told by what uses it.
    if (systemCode(error) === undefined) throw error;
    return join(realPath(parent), basename(path));
  }
}

/** False only if nothing is there. @throws CofferError IO_ERROR - this account may not look */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (systemCode(error) === "ENOTDIR") return false;
    throw new CofferError("IO_ERROR", `this account cannot look into the store's folder (${systemCode(error)})`, {
      cause: error,
    });
  }
}

/** --store, COFFER_STORE, else the first folder from here upwards that holds a coffer.json. */
export function findStore(context: Context): string {
  const { io } = context;
  const named = folderOption(context, "store") ?? env(io, "COFFER_STORE");
  if (named !== undefined) {
    const root = resolve(io.cwd, named);
    if (!isThere(join(root, "coffer.json"))) throw new CofferError("STORE_NOT_FOUND", `no store at ${named}`);
    return root;
  }
  for (let folder = io.cwd; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "coffer.json"))) return folder;
    if (dirname(folder) === folder) throw new CofferError("STORE_NOT_FOUND", "no store here or in a folder above");
  }
}

export async function open(context: Context): Promise<Store> {
  const root = findStore(context);
  return openStore(locate(context, root), context.io.ports);
}

/** How people should type the store in a next command: nothing when it is found without. */
export function storeFlag({ options }: Context): string {
  return options.store === undefined ? "" : ` --store ${quoteArgument(options.store)}`;
}

export function quoteArgument(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Shows what went wrong beside an act that stands. */
export function showLate({ ui }: Context, store: Store): void {
  for (const warning of store.warnings.splice(0)) ui.warn(warning);
}
