// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run mutate [-- --sample N --seed S]`: are the tests of `src/trust` as strict as they look? Makes one small change
 * at a time to what decides, and runs the tests that do not depend on chance (the cases of evaluate.json and test/trust
 * without its properties). A change that no test notices is a survivor and fails the run, unless mutate/equivalent.json
 * says why it changes nothing; an entry there that is caught, or fits nothing, fails it too.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cleanEnvironment, fail, filesBelow, freshFolder, ROOT, remove, runNode, tool } from "./lib.mjs";
import { instrument } from "./mutate/mutants.mjs";

const LAYER = "src/trust";
const EQUIVALENT = join(ROOT, "scripts", "mutate", "equivalent.json");
const COPIED = ["src", "test/trust", "test/support", "test/vectors", "scripts/fixtures", "package.json"];
/** A mutant may loop for ever; the tests themselves need two seconds. */
const TIMEOUT_MS = 120_000;

function parse(args) {
  const options = { sample: Number.POSITIVE_INFINITY, seed: 1 };
  for (let at = 0; at < args.length; at += 2) {
    const name = args[at].replace(/^--/u, "");
    const value = Number(args[at + 1]);
    if (!(name in options) || !Number.isInteger(value)) fail("usage: npm run mutate [-- --sample N --seed S]", 2);
    options[name] = value;
  }
  return options;
}

/** The instrumented tree, compiled without looking at types. */
function compile(folder, texts) {
  for (const path of COPIED) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  for (const [file, text] of texts) writeFileSync(join(folder, file.slice(ROOT.length + 1)), text);
  const settings = {
    extends: join(ROOT, "tsconfig.json"),
    compilerOptions: {
      ...{ noEmit: false, noCheck: true, declaration: false, rewriteRelativeImportExtensions: true },
      ...{ rootDir: ".", outDir: "out", types: [], incremental: false },
    },
    include: ["src", "test"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  const exit = runNode([tool("typescript/bin/tsc"), "-p", join(folder, "tsconfig.json")]);
  if (exit !== 0) fail(`the instrumented tree does not compile (tsc ended with exit status ${exit})`);
  const out = join(folder, "out");
  for (const path of ["test/vectors", "scripts/fixtures", "package.json"]) {
    cpSync(join(folder, path), join(out, path), { recursive: true });
  }
  const tests = filesBelow(join(out, "test", "trust")).filter(
    (name) => name.endsWith(".test.js") && !name.startsWith("properties."),
  );
  const imports = tests.map((name) => `await import("./test/trust/${name}");\n`);
  const all = `globalThis.cofferMutant = Number(process.env.COFFER_MUTANT);\n${imports.join("")}`;
  writeFileSync(join(out, "all.mjs"), all);
  cpSync(join(ROOT, "scripts", "mutate", "first-failure.mjs"), join(out, "first-failure.mjs"));
  return out;
}

/** Numbers that the cases of evaluate.json catch, in one process. */
function caughtWarm(out, numbers) {
  const words = [join(ROOT, "scripts", "mutate", "warm.mjs"), out, ...numbers.map(String)];
  const run = spawnSync(process.execPath, words, { encoding: "utf8", env: cleanEnvironment() });
  if (run.status !== 0) fail(`the warm run ended with ${run.status ?? run.signal}:\n${run.stderr}`);
  return new Set(JSON.parse(run.stdout));
}

/** Does a test fail under this number? A process of its own, since some code runs once, when it is loaded. */
function isCaught(out, number) {
  const reporter = pathToFileURL(join(out, "first-failure.mjs")).href;
  const args = ["--test-reporter", reporter, "--test-reporter-destination", "stdout", join(out, "all.mjs")];
  const env = { ...cleanEnvironment(), COFFER_MUTANT: String(number) };
  const options = { env, stdio: "ignore", timeout: TIMEOUT_MS, killSignal: "SIGKILL" };
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, options);
    child.once("error", reject);
    child.once("close", (status) => resolve(status !== 0));
  });
}

async function survivorsOf(out, numbers) {
  if (await isCaught(out, 0)) fail("the tests do not pass without a mutant");
  const warm = caughtWarm(out, numbers);
  const left = numbers.filter((number) => !warm.has(number));
  const survivors = [];
  const worker = async () => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      if (!(await isCaught(out, number))) survivors.push(number);
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  // Else what failed for another reason, such as a full disk, would have passed for caught.
  if (await isCaught(out, 0)) fail("the tests do not pass without a mutant any more");
  return { survivors: survivors.sort((a, b) => a - b), warm: warm.size };
}

/** The same `count` of `numbers` for the same seed. */
function sampleOf(numbers, { sample, seed }) {
  const key = (number) => (Math.imul(number, 2_654_435_761) ^ Math.imul(seed, 40_503)) >>> 0;
  return [...numbers].sort((a, b) => key(a) - key(b)).slice(0, sample);
}

const keyOf = ({ file, inside, from, to, nth = 1 }) => JSON.stringify([file, inside, from, to, nth]);
const show = ({ file, line, inside, from, to }) => `${file}:${line} ${inside}: ${from}  =>  ${to}`;

const options = parse(process.argv.slice(2));
const began = Date.now();
const files = filesBelow(join(ROOT, LAYER)).map((name) => join(ROOT, LAYER, name));
const { mutants, texts } = instrument(ROOT, files);
const equivalent = JSON.parse(readFileSync(EQUIVALENT, "utf8")).mutants;
const excused = new Set(equivalent.map(keyOf));
const folder = freshFolder("mutate");
try {
  const out = compile(folder, texts);
  const chosen = sampleOf(
    mutants.map((_, index) => index + 1),
    options,
  );
  const { survivors, warm } = await survivorsOf(out, chosen);
  const alive = new Set(survivors.map((number) => keyOf(mutants[number - 1])));
  const tried = new Set(chosen.map((number) => keyOf(mutants[number - 1])));
  const all = new Set(mutants.map(keyOf));
  const news = survivors.map((number) => mutants[number - 1]).filter((mutant) => !excused.has(keyOf(mutant)));
  const stale = equivalent.filter((entry) => {
    const key = keyOf(entry);
    return !all.has(key) || entry.why === undefined || (tried.has(key) && !alive.has(key));
  });
  for (const mutant of news)
    process.stdout.write(`survived: ${show(mutant)}${mutant.nth > 1 ? ` (${mutant.nth})` : ""}\n`);
  for (const entry of stale) process.stdout.write(`stale in equivalent.json: ${keyOf(entry)}\n`);
  const seconds = ((Date.now() - began) / 1000).toFixed(0);
  process.stdout.write(
    `${chosen.length} of ${mutants.length} mutants: ${chosen.length - survivors.length} caught (${warm} by the cases alone), ` +
      `${survivors.length - news.length} change nothing, ${news.length} survived (${seconds} s)\n`,
  );
  process.exitCode = news.length + stale.length > 0 ? 1 : 0;
} finally {
  remove(folder);
}
