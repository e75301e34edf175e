// SPDX-License-Identifier: Apache-2.0
/** From flags and environment to an open store. Precedence: flag, environment, default. Layer: cli. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CofferError } from "../base/errors.ts";
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

/** $XDG_STATE_HOME/coffer, or ~/.local/state/coffer (XDG Base Directory Specification 0.8). */
export function stateHome(io: Io): string {
  const home = env(io, "XDG_STATE_HOME");
  return home?.startsWith("/") === true ? join(home, "coffer") : join(io.home, ".local", "state", "coffer");
}

/** Where people's keys are looked for: --keys, COFFER_KEYS, $XDG_CONFIG_HOME/coffer/keys. */
export function keysFolder({ io, options }: Context): string {
  const named = options.keys ?? env(io, "COFFER_KEYS");
  if (named !== undefined) return resolve(io.cwd, named);
  const home = env(io, "XDG_CONFIG_HOME");
  return join(home?.startsWith("/") === true ? home : join(io.home, ".config"), "coffer", "keys");
}

/** The folders of a store at `root`. */
export function locate({ io, options }: Context, root: string): StoreLocation {
  const secrets = options.secrets ?? env(io, "COFFER_SECRETS") ?? env(io, "CREDENTIALS_DIRECTORY");
  const state = options.state ?? env(io, "COFFER_STATE") ?? env(io, "STATE_DIRECTORY");
  return {
    root,
    stateHome: stateHome(io),
    memory: options.memory,
    ...(secrets === undefined ? {} : { secrets: resolve(io.cwd, secrets) }),
    ...(state === undefined ? {} : { state: resolve(io.cwd, state) }),
  };
}

/** --store, COFFER_STORE, else the first folder from here upwards that holds a coffer.json. */
export function findStore({ io, options }: Context): string {
  const named = options.store ?? env(io, "COFFER_STORE");
  if (named !== undefined) {
    const root = resolve(io.cwd, named);
    if (!existsSync(join(root, "coffer.json"))) throw new CofferError("STORE_NOT_FOUND", `no store at ${named}`);
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

/** Shows what went wrong after a commit that stands. */
export function showLate({ ui }: Context, store: Store): void {
  for (const warning of store.warnings.splice(0)) ui.warn(`after the commit: ${warning}`);
}
