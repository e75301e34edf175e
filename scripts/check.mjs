// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run check`: everything that a change has to pass before it is shown to anybody, in under a minute. The steps that
 * do not need each other run side by side, and the tests when none of them failed. `--static` stops before the tests.
 */
import { runNode, startNode, tool } from "./lib.mjs";

const STATIC = [
  ["types", [tool("typescript/bin/tsc"), "-p", "tsconfig.json"]],
  ["format, lint, layers", [tool("@biomejs/biome/bin/biome"), "check", "--error-on-warnings", "."]],
  ["unused code", [tool("knip/bin/knip.js"), "--no-progress"]],
  ["build", ["scripts/build.mjs"]],
];
const TESTS = ["tests, without the slow and lengthy ones", ["scripts/test.mjs", "--quick"]];

const began = Date.now();

const secondsSince = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

function told(name, exit, since) {
  process.stdout.write(`${exit === 0 ? "ok    " : "FAILED"} ${name} (${secondsSince(since)})\n`);
  return exit;
}

/** Each shows what it printed when it is done. @returns the exit status of one that failed, else 0 */
async function runSideBySide(steps) {
  const exits = steps.map(async ([name, args]) => {
    const { exit, output } = await startNode(args);
    process.stdout.write(output);
    return told(name, exit, began);
  });
  return (await Promise.all(exits)).find((exit) => exit !== 0) ?? 0;
}

function runTests([name, args]) {
  const start = Date.now();
  return told(name, runNode(args), start);
}

const isStatic = process.argv.includes("--static");
const exit = (await runSideBySide(STATIC)) || (isStatic ? 0 : runTests(TESTS));
if (exit === 0) process.stdout.write(`all good (${secondsSince(began)})\n`);
process.exitCode = exit;
