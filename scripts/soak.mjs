// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a soak: `npm run soak -- <name> [--minutes N]`, N may be a fraction; `all` runs each, one after the other.
 * A soak is test/soak/<name>.ts. It works for COFFER_TEST_SECONDS, prints its figures, and ends with 0 only if all held.
 *
 * Builds first, itself: npm hands what follows `--` to a script's last command only. Not here: what a soak does.
 */
import { join } from "node:path";
import { cleanEnvironment, fail, filesBelow, ROOT, runNode } from "./lib.mjs";

const USAGE = "usage: npm run soak -- <name> [--minutes N]";
const DEFAULT_MINUTES = 5;
/** To start, to wind down, to check what is left; after that it hangs. */
const SPARE_SECONDS = 10 * 60;

const known = filesBelow(join(ROOT, "test", "soak"))
  .filter((name) => name.endsWith(".ts") && !name.includes("/"))
  .map((name) => name.slice(0, -".ts".length));

function parse(args) {
  const words = [...args];
  const at = words.indexOf("--minutes");
  const [, given = ""] = at < 0 ? ["", String(DEFAULT_MINUTES)] : words.splice(at, 2);
  const seconds = Number(given) * 60;
  if (!(seconds > 0 && Number.isFinite(seconds))) fail(`--minutes: expected a number over 0, found ${given}\n${USAGE}`);
  const [name, ...others] = words;
  if (name === undefined || others.length > 0) fail(`${USAGE}\nthere are: ${known.join(", ") || "none"}`);
  const names = name === "all" ? known : known.filter((one) => one === name);
  if (names.length === 0) fail(`no soak ${name}; there are: ${known.join(", ") || "none"}`);
  return { names, seconds };
}

/** Runs one; what went wrong, undefined if nothing did. */
function run(name, seconds) {
  const began = performance.now();
  const status = runNode(["--import", "tsx", join("test", "soak", `${name}.ts`)], {
    env: { ...cleanEnvironment(), COFFER_TEST_SECONDS: String(seconds) },
    timeout: (seconds + SPARE_SECONDS) * 1000,
  });
  const took = (performance.now() - began) / 1000;
  const short = status === 0 && took < seconds;
  const outcome = status !== 0 ? `FAILED with ${status}` : short ? "FAILED: it ended before its time" : "ok";
  process.stdout.write(`soak ${name}: ${outcome} (${took.toFixed(1)} s of ${seconds.toFixed(1)} s)\n`);
  return outcome === "ok";
}

const { names, seconds } = parse(process.argv.slice(2));
if (runNode([join("scripts", "build.mjs")]) !== 0) fail("soak: the build failed");
const failed = names.filter((name) => !run(name, seconds));
process.exitCode = failed.length > 0 ? 1 : 0;
