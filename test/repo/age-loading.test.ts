// SPDX-License-Identifier: Apache-2.0
/** What encryption costs those who do not use it: its package is not loaded. Each in a process of its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const TSX = pathToFileURL(join(ROOT, "node_modules", "tsx", "dist", "loader.mjs")).href;
const asModule = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;
const HOOK = asModule(`export async function resolve(specifier, context, next) {
  if (/^(?:age-encryption|@noble|@scure)/.test(specifier)) throw new Error("loaded " + specifier);
  return next(specifier, context);
}`);
const WITHOUT = asModule(`import { register } from "node:module"; register(${JSON.stringify(HOOK)});`);

test("resolve and bundles in clear work where age-encryption cannot be loaded", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { store, location, folder } = fixture;
  fixture.nowS = Math.floor(Date.now() / 1000); // the command asks the real clock
  await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(100) });
  const own = join(location.stateHome, store.id);
  const coffer = (...args: readonly string[]) => {
    const run = ["--import", TSX, "--import", WITHOUT, "src/cli/main.ts", ...args];
    const at = ["--store", location.root, "--secrets", own, "--state", own];
    return spawnSync(process.execPath, [...run, ...at], { cwd: ROOT, encoding: "utf8" });
  };
  const out = join(folder, "stick");
  for (const args of [
    ["resolve", "acme/tiny"],
    ["bundle", "create", "acme/tiny", "--out", out],
    ["bundle", "verify", out],
  ]) {
    const run = coffer(...args);
    assert.equal(run.status, 0, run.stderr);
  }
  // An identity that is at hand is not read before something encrypted is met.
  assert.equal(coffer("bundle", "inspect", out, "--identity", join(folder, "none")).status, 0);
  const control = coffer("bundle", "create", "acme/tiny", "--out", join(folder, "other"), "--encrypt-to", "age1");
  assert.match(control.stderr, /loaded age-encryption/, "the hook refuses it");
});
