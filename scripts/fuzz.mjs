// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a fuzzer: `npm run fuzz -- <name> [--minutes N] [--seed S] [--keep]`, N may be a fraction. A fuzzer is test/fuzz/<name>.ts: it
 * tries what it has kept, works for COFFER_TEST_SECONDS more from COFFER_TEST_SEED, and ends with 0 only if nothing was
 * found. `--keep` adds inputs that run new code to test/vectors/fuzz-<name>. Fails below FLOORS, per cent of branches.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cleanEnvironment, fail, filesBelow, freshFolder, ROOT, remove, runNode, tool } from "./lib.mjs";

const USAGE = "usage: npm run fuzz -- <name> [--minutes N] [--seed S] [--keep]";
const DEFAULT_MINUTES = 5;
const SPARE_SECONDS = 20 * 60;
/** What a fuzzer is about, and how much of it has to run. */
const ABOUT = {
  bundle: {
    floor: 85,
    files: [
      ...["age-header", "age-stream", "sealed", "bundle-index", "check", "index-rules", "input", "log-points", "look"],
      ...["medium", "pipe", "places", "rule", "source", "tar", "untarred"],
      ...["volume-note", "volume-reader", "volume-rules", "volumes"],
    ]
      .map((name) => `src/sync/${name}.ts`)
      .concat("src/repo/import.ts", "src/repo/import/**"),
  },
};

const known = filesBelow(join(ROOT, "test", "fuzz"))
  .filter((name) => !name.includes("/") && name.slice(0, -".ts".length) in ABOUT)
  .map((name) => name.slice(0, -".ts".length));

function parse(args) {
  const words = [...args];
  const value = (option) => {
    const at = words.indexOf(option);
    return at < 0 ? undefined : (words.splice(at, 2)[1] ?? "");
  };
  const given = value("--minutes") ?? String(DEFAULT_MINUTES);
  const seed = value("--seed");
  const keep = words.includes("--keep");
  const seconds = Number(given) * 60;
  if (!(seconds > 0 && Number.isFinite(seconds)))
    fail(`--minutes: expected a number over 0, found ${given}\n${USAGE}`, 2);
  const [name, ...others] = words.filter((word) => word !== "--keep");
  if (!known.includes(name) || others.length > 0) fail(`${USAGE}\nthere are: ${known.join(", ")}`, 2);
  return { name, seconds, seed, keep };
}

const { name, seconds, seed, keep } = parse(process.argv.slice(2));
const { floor, files } = ABOUT[name];
const folder = freshFolder("fuzz");
try {
  const status = runNode(
    [
      tool("c8/bin/c8.js"),
      ...["--all", "--extension", ".ts", "--src", "src", "--exclude", "**/*.d.ts"],
      ...files.flatMap((file) => ["--include", file]),
      ...["--reporter", "json-summary", "--reports-dir", folder, "--temp-directory", join(folder, "tmp"), "--clean"],
      ...[process.execPath, "--import", "tsx", join("test", "fuzz", `${name}.ts`)],
    ],
    {
      env: {
        ...cleanEnvironment(),
        ...{ COFFER_TEST_SECONDS: String(seconds), COFFER_FUZZ_KEEP: keep ? "1" : "0" },
        ...(seed === undefined ? {} : { COFFER_TEST_SEED: seed }),
      },
      timeout: (seconds + SPARE_SECONDS) * 1000,
    },
  );
  if (status !== 0) fail(`fuzz ${name}: FAILED with ${status}`);
  const { branches } = JSON.parse(readFileSync(join(folder, "coverage-summary.json"), "utf8")).total;
  const enough = branches.pct >= floor;
  process.stdout.write(
    `fuzz ${name}: ${enough ? "ok" : "FAILED"}: ${branches.covered} of ${branches.total} branches ran (${branches.pct} %, expected ${floor})\n`,
  );
  if (!enough) process.exitCode = 1;
} finally {
  remove(folder);
}
