// SPDX-License-Identifier: Apache-2.0
/** The real ssh-keygen, for tests in both directions, and the keys that several tests share. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Random } from "../../src/base/ports.ts";
import { generatePrivateKey, type PrivateKey } from "../../src/keys/private-key.ts";

const SSH_KEYGEN = "/usr/bin/ssh-keygen";

/** The reason to skip, or false; for the `skip` option of a test. */
export const skipWithoutStock = existsSync(SSH_KEYGEN) ? false : `needs ssh-keygen at ${SSH_KEYGEN}`;

export interface StockResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs ssh-keygen with `input` on its stdin; it never asks. */
export function sshKeygen(args: readonly string[], input: Uint8Array = new Uint8Array()): StockResult {
  const env = { PATH: "/usr/bin:/bin", LC_ALL: "C", SSH_ASKPASS_REQUIRE: "never" };
  return spawnSync(SSH_KEYGEN, [...args], { input, env, encoding: "utf8" });
}

/** A folder of its own for `use`, removed afterwards. */
export function withFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "coffer-keys-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const read = (path: string): string => readFileSync(path, "utf8");
export const writeSecret = (path: string, text: string): void => writeFileSync(path, text, { mode: 0o600 });
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Not random at all: the bytes that follow from `label`, so that a failure repeats. */
export function seeded(label: string): Random {
  let count = 0;
  return (length) => {
    const blocks: Buffer[] = [];
    for (let have = 0; have < length; have += 32) {
      blocks.push(createHash("sha256").update(`${label} ${count}`).digest());
      count += 1;
    }
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

/** The fixed key of `label`. */
export const keyOf = (label: string): PrivateKey => generatePrivateKey(seeded(label), label);
