// SPDX-License-Identifier: Apache-2.0
/** What an act is handed by its edge: time, randomness, waiting, and folders as Files ports. Layer: repo. */
import type { Clock, Random } from "../base/ports.ts";
import type { Files } from "../objects/files.ts";
import type { Machine } from "./machine.ts";

export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly sleep: (ms: number) => Promise<void>;
  /** A Files port on an existing folder. */
  readonly openFolder: (absolutePath: string) => Files;
  /** Left out: no receipts are made or believed. */
  readonly machine?: Machine;
}

/** Where a store and what belongs to it on this machine lie. */
export interface StoreLocation {
  /** The store's folder. */
  readonly root: string;
  /** Folder under which each store has its own, named by store id ($XDG_STATE_HOME/coffer). */
  readonly stateHome: string;
  /** Folder with the store key; `<stateHome>/<store id>` when left out. */
  readonly secrets?: string;
  /** Folder of this machine's memory; `<stateHome>/<store id>` when left out. */
  readonly state?: string;
  /** `init` only: a group writes the store together. */
  readonly shared?: boolean;
  /** False: open without memory, on the operator's word. */
  readonly memory: boolean;
}
