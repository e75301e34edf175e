// SPDX-License-Identifier: Apache-2.0
/** The options that every command takes, said once: for commander (program.ts) and for the short way in (quick.ts). Layer: cli. */

export interface GlobalOption {
  /** As commander writes it; one that takes a value has its name in angle brackets. */
  readonly flags: string;
  readonly text: string;
}

export const GLOBAL_OPTIONS: readonly GlobalOption[] = [
  { flags: "--store <folder>", text: "the store; else COFFER_STORE, else upwards from here" },
  { flags: "--secrets <folder>", text: "folder with the store key; else COFFER_SECRETS, CREDENTIALS_DIRECTORY" },
  { flags: "--state <folder>", text: "folder of this machine's memory; else COFFER_STATE, STATE_DIRECTORY" },
  { flags: "--keys <folder>", text: "folder with people's keys; else COFFER_KEYS" },
  { flags: "--passphrase-file <file>", text: "read the passphrase of a key from its first line" },
  { flags: "--json", text: "print one JSON object (docs/cli.md), a failure too; nothing is asked" },
  { flags: "--no-memory", text: "do not compare the store with what this machine has seen" },
];
