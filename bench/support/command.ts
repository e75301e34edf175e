// SPDX-License-Identifier: Apache-2.0
/** The command as built, for benches that start processes. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Store } from "../../src/repo/store.ts";
import type { Fixture } from "./fixture.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Absolute path of the file that `coffer` runs. */
export function commandOf(): string {
  const built: { readonly bin: { readonly coffer: string } } = JSON.parse(
    readFileSync(join(ROOT, "package.json"), "utf8"),
  );
  return join(ROOT, built.bin.coffer);
}

/** With this, a process finds the memory and the store key of a fixture. */
export function environmentOf({ location }: Fixture, store: Store): NodeJS.ProcessEnv {
  const folder = join(location.stateHome, store.id);
  return { ...process.env, COFFER_STATE: folder, COFFER_SECRETS: folder };
}
