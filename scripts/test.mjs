// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the tests: `node scripts/test.mjs [--quick | --fast | --slow | --covered | --rest] [--golden] [part of a path …]`.
 * `--fast` leaves out test/slow/ and *.slow.test.ts, `--slow` runs only these; `--quick` leaves out those of lengthy.json
 * too; `--covered` runs the fast ones and those of covered.json, `--rest` all others. `--golden` rewrites the expected
 * transcripts.
 * Fails when a test fails, when none ran, when a file holds no test, and, with CI=true, when a test was skipped for a reason
 * that allowed-skips.json lacks.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cleanEnvironment, fail, filesBelow, freshFolder, ROOT, remove, runNode, testLoaders } from "./lib.mjs";

// Generous: the slow tests move gigabytes, and `npm run kill-points` stops each act everywhere. It ends what hangs, not what
// is slow.
const TIMEOUT_MS = (process.env.COFFER_TEST_ALL === undefined ? 30 : 180) * 60 * 1000;

const isSlow = (name) => name.startsWith("test/slow/") || name.endsWith(".slow.test.ts");

/** Which tests there are: two pairs that share them out, and what is run before every commit. */
const CHOICES = {
  "--quick": (name, lengthy) => !isSlow(name) && !lengthy.has(name),
  "--fast": (name) => !isSlow(name),
  "--slow": isSlow,
  "--covered": (name, covered) => !isSlow(name) || covered.has(name),
  "--rest": (name, covered) => isSlow(name) && !covered.has(name),
};

const COVERED = { file: "covered.json", what: "slow tests", belongs: isSlow };
const LENGTHY = { file: "lengthy.json", what: "tests that are not slow", belongs: (name) => !isSlow(name) };
/** The list that a choice goes by. */
const LISTS = { "--quick": LENGTHY, "--covered": COVERED, "--rest": COVERED };

function parse(args) {
  const choices = Object.keys(CHOICES);
  const known = [...choices, "--golden"];
  const unknown = args.find((arg) => arg.startsWith("-") && !known.includes(arg));
  if (unknown !== undefined) fail(`unknown option ${unknown}; there are ${known.join(", ")}`, 2);
  const [choice, ...more] = choices.filter((name) => args.includes(name));
  if (more.length > 0) fail(`${choices.join(", ")}: expected one of them`, 2);
  const filters = args.filter((arg) => !arg.startsWith("-"));
  return { choice, golden: args.includes("--golden"), filters };
}

/** The tests that a file beside this one lists. A name that is none would be a test that nobody runs. */
function listed({ file, what, belongs }, all) {
  const { tests } = JSON.parse(readFileSync(join(ROOT, "scripts", file), "utf8"));
  const wrong = tests.find((name) => !all.includes(name) || !belongs(name));
  if (wrong !== undefined) fail(`${file}: expected ${what}, found ${wrong}`, 2);
  return new Set(tests);
}

function testFiles({ choice, filters }) {
  const all = filesBelow(join(ROOT, "test"))
    .map((name) => `test/${name}`)
    .filter((name) => name.endsWith(".test.ts") && !name.includes("/node_modules/"));
  const list = LISTS[choice] === undefined ? new Set() : listed(LISTS[choice], all);
  return all
    .filter((name) => choice === undefined || CHOICES[choice](name, list))
    .filter((name) => filters.length === 0 || filters.some((part) => name.includes(part.replace(/^\.\//u, ""))));
}

/** A slow test takes about as long as so many others. */
const SLOW_WEIGHT = 10;
const weightOf = (names) => names.reduce((sum, name) => sum + (isSlow(name) ? SLOW_WEIGHT : 1), 0);

/**
 * The tests of each folder, the heaviest first. In the quick run small folders go together, as many as come to no more than
 * the heaviest: each process loads all of src/ anew.
 */
function shares(files, choice) {
  const byFolder = new Map();
  for (const name of files) {
    // Slow ones apart: the folder with the most tests would go on alone when all others are done.
    const key = `${name.split("/")[1]}${isSlow(name) ? "-slow" : ""}`;
    byFolder.set(key, [...(byFolder.get(key) ?? []), name]);
  }
  const folders = [...byFolder].sort(([, a], [, b]) => weightOf(b) - weightOf(a));
  const most = choice === "--quick" ? weightOf(folders[0][1]) : 0;
  const found = [];
  for (const [key, names] of folders) {
    const room = found.find((share) => weightOf(share.names) + weightOf(names) <= most);
    if (room === undefined) found.push({ keys: [key], names });
    else Object.assign(room, { keys: [...room.keys, key], names: [...room.names, ...names] });
  }
  return found;
}

/**
 * A file for each share that imports its tests: starting a process for every test file costs more than the quick tests
 * themselves. The full run keeps a process for each file.
 */
function together(files, folder, choice) {
  return shares(files, choice).map(({ keys, names }) => {
    const path = join(folder, `${keys.join("-")}.test.mjs`);
    const imports = names.map((name) => `await import(${JSON.stringify(pathToFileURL(join(ROOT, name)).href)});\n`);
    writeFileSync(path, imports.join(""));
    return path;
  });
}

/** How often properties are tried where the run must be quick, unless the caller says how often. */
const RUNS = { "--quick": "10", "--fast": "30", "--covered": "30" };

/** Runs the files and returns Node's exit status with one record per test. */
function run(files, { choice, golden }) {
  const runs = RUNS[choice];
  const folder = freshFolder("test");
  try {
    const tally = join(folder, "tally");
    const reporter = pathToFileURL(join(ROOT, "scripts", "tally-reporter.mjs")).href;
    const exit = runNode(
      [
        ...[...testLoaders(), "--test", "--test-concurrency", "2", `--test-timeout=${TIMEOUT_MS}`],
        ...["--test-reporter", "spec", "--test-reporter-destination", "stdout"],
        ...["--test-reporter", reporter, "--test-reporter-destination", tally],
        ...(runs === undefined ? files : together(files, folder, choice)),
      ],
      {
        env: {
          ...(runs === undefined ? {} : { COFFER_TEST_RUNS: runs }),
          ...cleanEnvironment(),
          ...(golden ? { UPDATE_GOLDEN: "1" } : {}),
        },
      },
    );
    const lines = readFileSync(tally, "utf8").split("\n");
    return { exit, records: lines.filter((line) => line !== "").map((line) => JSON.parse(line)) };
  } finally {
    remove(folder);
  }
}

/** Prints each skipped test with its reason; the ones that no entry of allowed-skips.json explains. */
function unexplained(skipped) {
  const allowed = JSON.parse(readFileSync(join(ROOT, "scripts", "allowed-skips.json"), "utf8")).skips;
  return skipped.filter(({ name, reason }) => {
    const why = allowed.find((entry) => new RegExp(entry.reason, "u").test(reason))?.why;
    process.stdout.write(
      `skipped: ${name}: ${reason || "no reason given"}${why ? "" : " (not in allowed-skips.json)"}\n`,
    );
    return why === undefined;
  });
}

const options = parse(process.argv.slice(2));
const files = testFiles(options);
if (files.length === 0) {
  process.stdout.write("0 passed, 0 failed\n");
  fail(`no test file matches: ${options.filters.join(" ") || "test/**/*.test.ts"}`);
}
const { exit, records } = run(files, options);
const having = (outcome) => records.filter((record) => record.outcome === outcome);
const [passed, failed, skipped] = [having("passed"), having("failed"), having("skipped")];
const strangers = unexplained(skipped);
for (const { name, reason } of failed) if (reason !== undefined) process.stdout.write(`failed: ${name}: ${reason}\n`);
const faults = [
  exit !== 0 && `node --test ended with exit status ${exit}`,
  failed.length > 0 && `${failed.length} failed`,
  passed.length === 0 && "no test passed",
  process.env.CI === "true" &&
    strangers.length > 0 &&
    `${strangers.length} skipped for a reason that is not allowed in CI`,
].filter(Boolean);
if (faults.length > 0) process.stdout.write(`not good: ${faults.join("; ")}\n`);
process.stdout.write(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped\n`);
process.exitCode = faults.length > 0 ? 1 : 0;
