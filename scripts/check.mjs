// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run check`: everything that a change has to pass before it is shown to anybody, in under a minute. The first step
 * that fails ends it. `--static` stops before the tests.
 */
import { ROOT, runNode, tool } from "./lib.mjs";

const STEPS = [
  ["format, lint, layers", [tool("@biomejs/biome/bin/biome"), "check", "--error-on-warnings", "."]],
  ["types", [tool("typescript/bin/tsc"), "-p", "tsconfig.json"]],
  ["unused code", [tool("knip/bin/knip.js"), "--no-progress"]],
  ["build", ["scripts/build.mjs"]],
  ["tests, without the slow and lengthy ones", ["scripts/test.mjs", "--quick"]],
];

const began = Date.now();
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;
const steps = process.argv.includes("--static") ? STEPS.slice(0, -1) : STEPS;
for (const [name, args] of steps) {
  const start = Date.now();
  const exit = runNode(args, { cwd: ROOT });
  process.stdout.write(`${exit === 0 ? "ok    " : "FAILED"} ${name} (${seconds(start)})\n`);
  if (exit !== 0) process.exit(exit);
}
process.stdout.write(`all good (${seconds(began)})\n`);
