// SPDX-License-Identifier: Apache-2.0
/**
 * The coverage gate. The layers that decide what is trusted are covered by their own tests to the last branch, all others
 * by the quick tests and those of covered.json, to the share that FLOORS has. A part that a test cannot reach may be left out with
 * `c8 ignore`, and has to say why in the same comment.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cleanEnvironment, fail, filesBelow, ROOT, runNode, testLoaders, tool } from "./lib.mjs";

const WHOLE = ["trust", "keys"];
/** Per cent of branches. Whoever covers more of a layer raises its number. */
const FLOORS = { base: 97, formats: 97, objects: 95, refs: 97, repo: 95, sync: 95, git: 95, server: 95, cli: 95 };
/** As often as each property is tried where nobody is in a hurry: `.ci/run` runs the quick tests here, and only here. */
const RUNS = { COFFER_TEST_RUNS: "120" };
/** What stands before a branch that is not ours: tsx puts one of its own into each `import("…")`, which nothing here takes. */
const BEFORE_LOADERS = /\bimport\("[^"]+"$/u;
const IGNORE = /\/\*\s*c8 ignore (?:next(?: \d+)?|start|file|else|if)\b(.*?)\*\//gsu;

const sources = filesBelow(join(ROOT, "src"));
const layerOf = (name) => name.split("/")[0];

function refuseUnreasoned() {
  const unreasoned = sources.flatMap((name) => {
    const text = readFileSync(join(ROOT, "src", name), "utf8");
    const bare = [...text.matchAll(IGNORE)].filter(([, reason]) => !/\w{3,}.*\w{3,}/su.test(reason));
    return bare.map(([comment]) => `src/${name}: ${comment}`);
  });
  if (unreasoned.length > 0) fail(`left out of coverage without a reason:\n${unreasoned.join("\n")}`);
}

function refuseUnknownLayers() {
  const known = [...WHOLE, ...Object.keys(FLOORS)].sort();
  const found = [...new Set(sources.map(layerOf))].sort();
  if (known.join() !== found.join())
    fail(`coverage: expected the layers ${known.join(", ")}, found ${found.join(", ")}`);
}

/** Runs `command` with coverage of `layers`, reported below coverage/`name`. */
function cover(name, layers, options, command, env) {
  const folder = join("coverage", name);
  return runNode(
    [
      tool("c8/bin/c8.js"),
      ...["--all", "--extension", ".ts", "--src", "src", "--exclude", "**/*.d.ts"],
      ...layers.flatMap((layer) => ["--include", `src/${layer}/**`]),
      ...["--reporter", "json", "--reports-dir", folder, "--temp-directory", join(folder, "tmp"), "--clean"],
      ...options,
      ...[process.execPath, ...command],
    ],
    { env: { ...cleanEnvironment(), ...env } },
  );
}

function coverWhole() {
  const tests = WHOLE.flatMap((layer) =>
    filesBelow(join(ROOT, "test", layer))
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => `test/${layer}/${name}`),
  );
  if (tests.length === 0) fail(`no tests below test/${WHOLE.join(" and test/")}`);
  const all = ["branches", "lines", "functions", "statements"].flatMap((kind) => [`--${kind}`, "100"]);
  const command = [...testLoaders(), "--test", "--test-concurrency", "2", "--test-reporter", "dot", ...tests];
  return cover("whole", WHOLE, ["--check-coverage", ...all, "--reporter", "text"], command, {});
}

/** How often each branch of a file was taken, the loader's own left out. */
function branchesOf(path, { b: taken, branchMap }) {
  const lines = readFileSync(path, "utf8").split("\n");
  const isOurs = ({ line, column }) => !BEFORE_LOADERS.test((lines[line - 1] ?? "").slice(0, column));
  return Object.entries(taken).flatMap(([id, counts]) =>
    counts.filter((_, at) => isOurs(branchMap[id].locations[at].start)),
  );
}

/** Branches of each layer in per cent, cut to hundredths. */
function shares() {
  const report = JSON.parse(readFileSync(join(ROOT, "coverage", "rest", "coverage-final.json"), "utf8"));
  const counts = new Map(Object.keys(FLOORS).map((layer) => [layer, { covered: 0, total: 0 }]));
  for (const [path, file] of Object.entries(report)) {
    const count = counts.get(layerOf(path.slice(join(ROOT, "src").length + 1)));
    if (count === undefined) continue;
    const branches = branchesOf(path, file);
    count.covered += branches.filter((times) => times > 0).length;
    count.total += branches.length;
  }
  return [...counts].map(([layer, { covered, total }]) => [layer, Math.floor((10_000 * covered) / total) / 100]);
}

function coverRest() {
  const exit = cover("rest", Object.keys(FLOORS), [], ["scripts/test.mjs", "--covered"], RUNS);
  if (exit !== 0) return exit;
  let short = 0;
  for (const [layer, share] of shares()) {
    const enough = share >= FLOORS[layer];
    if (!enough) short += 1;
    process.stdout.write(
      `${enough ? "ok    " : "FAILED"} ${layer}: ${share} % of branches, expected ${FLOORS[layer]}\n`,
    );
  }
  return short === 0 ? 0 : 1;
}

refuseUnreasoned();
refuseUnknownLayers();
process.exitCode = coverWhole() || coverRest();
