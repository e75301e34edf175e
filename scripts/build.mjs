// SPDX-License-Identifier: Apache-2.0
/**
 * Builds dist/ from src/. Skips when neither the sources nor the result have changed since the last build. Builds
 * beside dist/ and swaps at the end: a failed build leaves the old one, and nobody meets half of a new one.
 *
 * `--if-installed`: does nothing when the compiler is not installed (npm runs `prepare` in such places too).
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, filesBelow, freshFolder, hashFiles, ROOT, remove, runNode, swapFolder, tool } from "./lib.mjs";

const DIST = join(ROOT, "dist");
const STAMP = join(ROOT, "node_modules", ".cache", "coffer-build.json");
const COMPILER = tool("typescript/bin/tsc");
const BUNDLER = tool("esbuild/bin/esbuild");
// One CommonJS file for what runtimes call at every start (src/cli/quick.ts): Node loads it in less than half the time of
// some sixty modules. Everything else is imported from the modules beside it; packages stay packages.
const BUNDLE_OPTIONS = [
  ...["--bundle", "--platform=node", "--target=node20.19", "--format=cjs", "--packages=external"],
  ...["--external:*/program.js", "--log-level=warning"],
];
const SHEBANG = "#!/usr/bin/env node\n";

function stateNow() {
  const sources = filesBelow(join(ROOT, "src")).map((name) => `src/${name}`);
  const settings = ["tsconfig.json", "tsconfig.build.json", "package.json", "package-lock.json", "scripts/build.mjs"];
  return { inputs: hashFiles(ROOT, [...sources, ...settings]), outputs: hashFiles(DIST, filesBelow(DIST)) };
}

function isFresh() {
  if (!existsSync(STAMP)) return false;
  const now = stateNow();
  // A damaged stamp is no stamp: the build that follows writes a whole one.
  return readFileSync(STAMP, "utf8") === JSON.stringify(now);
}

function writeStamp(folder, stamp) {
  mkdirSync(join(STAMP, ".."), { recursive: true });
  writeFileSync(join(folder, "stamp"), JSON.stringify(stamp));
  renameSync(join(folder, "stamp"), STAMP);
}

/** Builds; says why not when it cannot. */
function build() {
  const folder = freshFolder("build");
  try {
    const { inputs } = stateNow();
    const out = join(folder, "dist");
    const exit = runNode([COMPILER, "-p", "tsconfig.build.json", "--outDir", out]);
    if (exit !== 0) return `the build failed (tsc ended with exit status ${exit})`;
    const main = join(out, "cli", "main.js");
    if (!existsSync(main)) return "the build has no cli/main.js, which package.json names as the command";
    if (!readFileSync(main, "utf8").startsWith(SHEBANG)) return `src/cli/main.ts must start with ${SHEBANG.trim()}`;
    chmodSync(main, 0o755);
    const bundling = runNode([BUNDLER, main, ...BUNDLE_OPTIONS, `--outfile=${join(out, "cli", "coffer.cjs")}`]);
    if (bundling !== 0) return `the build failed (esbuild ended with exit status ${bundling})`;
    chmodSync(join(out, "cli", "coffer.cjs"), 0o755);
    const outputs = hashFiles(out, filesBelow(out));
    swapFolder(out, DIST, folder);
    writeStamp(folder, { inputs, outputs });
    return undefined;
  } finally {
    remove(folder);
  }
}

if (!existsSync(COMPILER)) {
  if (!process.argv.includes("--if-installed")) fail("the compiler is not installed: run `npm run bootstrap` first");
} else if (!isFresh()) {
  const fault = build();
  if (fault !== undefined) fail(fault);
}
