// SPDX-License-Identifier: Apache-2.0
/**
 * The coverage gate: the layers that decide what is trusted are covered by their own tests to the last branch. A part
 * that a test cannot reach may be left out with `c8 ignore`, and has to say why in the same comment.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cleanEnvironment, fail, filesBelow, ROOT, runNode, tool } from "./lib.mjs";

const LAYERS = ["trust", "keys"];
const IGNORE = /\/\*\s*c8 ignore (?:next(?: \d+)?|start|file|else|if)\b(.*?)\*\//gsu;

const unreasoned = LAYERS.flatMap((layer) =>
  filesBelow(join(ROOT, "src", layer)).flatMap((name) => {
    const text = readFileSync(join(ROOT, "src", layer, name), "utf8");
    const bare = [...text.matchAll(IGNORE)].filter(([, reason]) => !/\w{3,}.*\w{3,}/su.test(reason));
    return bare.map(([comment]) => `src/${layer}/${name}: ${comment}`);
  }),
);
if (unreasoned.length > 0) fail(`left out of coverage without a reason:\n${unreasoned.join("\n")}`);

const tests = LAYERS.flatMap((layer) =>
  filesBelow(join(ROOT, "test", layer))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `test/${layer}/${name}`),
);
if (tests.length === 0) fail(`no tests below test/${LAYERS.join(" and test/")}`);

process.exitCode = runNode(
  [
    tool("c8/bin/c8.js"),
    ...["--all", "--extension", ".ts", "--src", "src", "--exclude", "**/*.d.ts"],
    ...LAYERS.flatMap((layer) => ["--include", `src/${layer}/**`]),
    ...["--check-coverage", "--branches", "100", "--lines", "100", "--functions", "100", "--statements", "100"],
    ...["--reporter", "text", "--reporter", "json-summary", "--temp-directory", "coverage/tmp", "--clean"],
    ...[process.execPath, "--import", "tsx", "--test", "--test-concurrency", "2", "--test-reporter", "dot", ...tests],
  ],
  { env: cleanEnvironment() },
);
