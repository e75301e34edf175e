// SPDX-License-Identifier: Apache-2.0
/** What the encoding of receipts costs those who need none: nothing is loaded. Each in a process of its own. */
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
  if (specifier.startsWith("msgpackr")) throw new Error("loaded msgpackr");
  return next(specifier, context);
}`);
const WITHOUT = asModule(`import { register } from "node:module"; register(${JSON.stringify(HOOK)});`);

function node(args: readonly string[]) {
  return spawnSync(process.execPath, ["--import", TSX, ...args], { cwd: ROOT, encoding: "utf8" });
}

test("resolve works where msgpackr cannot be loaded", async (t) => {
  const control = node(["--import", WITHOUT, "--input-type=module", "-e", 'await import("msgpackr/pack")']);
  assert.match(control.stderr, /loaded msgpackr/, "the hook refuses it");
  const fixture = await makeStoreFixture(t);
  const { store, location } = fixture;
  fixture.nowS = Math.floor(Date.now() / 1000); // the command asks the real clock
  await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(100) });
  const own = join(location.stateHome, store.id);
  const run = node([
    ...["--import", WITHOUT, "src/cli/main.ts", "resolve", "acme/tiny"],
    ...["--store", location.root, "--secrets", own, "--state", own],
  ]);
  assert.equal(run.status, 0, run.stderr);
});

test("the native part that msgpackr may bring is never loaded", () => {
  const code = `const { Packr } = await import("msgpackr/pack");
    new Packr({ useRecords: false }).unpack(new Packr({ useRecords: false }).pack([1, "a"]));
    console.log(process.report.getReport().sharedObjects.filter((path) => path.includes("msgpackr")).length);`;
  const run = node(["--input-type=module", "-e", code]);
  assert.equal(run.stdout.trim(), "0", run.stderr);
});
