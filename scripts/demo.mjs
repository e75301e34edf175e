// SPDX-License-Identifier: Apache-2.0
/**
 * The main job on real input, each step shown as the command that does it: `npm run demo [-- [--keep] path/to/model.gguf]`.
 * Runs the built command line in a fresh folder. Ends with 1, and says which step, when anything is not as claimed.
 *
 * Not here: building (npm does that before), nor any judgement of its own: what it shows is what the commands print.
 */
import { statfsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { Broken, Stage } from "./demo/stage.mjs";
import { runSteps } from "./demo/steps.mjs";
import { fail } from "./lib.mjs";

const USAGE = "usage: npm run demo [-- [--keep] path/to/model.gguf]";
/** The store's copy and the one that `coffer path` lays, and something for all else. */
const COPIES = 2;
const SPARE_BYTES = 64 * 1024 * 1024;

function parse(args) {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--keep");
  const files = args.filter((arg) => !arg.startsWith("-"));
  if (unknown !== undefined || files.length > 1) fail(USAGE, 2);
  // npm runs scripts in the project's folder and says where the user was.
  const own = files[0] === undefined ? undefined : resolve(process.env.INIT_CWD ?? process.cwd(), files[0]);
  if (own !== undefined) checkFile(own);
  return { keep: args.includes("--keep"), own };
}

function checkFile(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isFile() !== true) fail(`${path}: expected a model file\n${USAGE}`, 2);
  const { bavail, bsize } = statfsSync(tmpdir());
  const need = COPIES * found.size + SPARE_BYTES;
  if (bavail * bsize >= need) return;
  const mb = (bytes) => `${Math.ceil(bytes / 1e6)} MB`;
  fail(`${tmpdir()} has ${mb(bavail * bsize)} free, the demo needs ${mb(need)}: set TMPDIR to a folder with more`);
}

const { keep, own } = parse(process.argv.slice(2));
const stage = new Stage();

for (const [signal, exit] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
]) {
  process.once(signal, async () => {
    await stage.end({ keep });
    process.stderr.write(`\n${signal}: nothing is left running${keep ? "" : ", and the folder is removed"}\n`);
    process.exit(exit);
  });
}

const began = Date.now();
try {
  stage.print(`Coffer, the main job, in ${stage.folder}`);
  stage.print("(with a home folder of its own; `coffer` stands for `node dist/cli/coffer.cjs` of this clone)");
  await runSteps(stage, own);
  const all = stage.notShown.length === 0 ? "All of it" : "All that could be shown here";
  stage.print(`\n== ${all} held, in ${((Date.now() - began) / 1000).toFixed(1)} s.`);
  for (const what of stage.notShown) stage.print(`Not shown: ${what}.`);
  if (keep) stage.print(`Kept: ${stage.folder}`);
  else stage.print("The folder is removed now; `npm run demo -- --keep` leaves it for you to look at.");
} catch (error) {
  // Told to end: the signal's handler above has the last word.
  if (!stage.stopped) {
    const reason = error instanceof Broken ? error.message : error.stack;
    process.stderr.write(`\ndemo: FAILED at ${stage.step}: ${reason}\n`);
    process.exitCode = 1;
  }
} finally {
  await stage.end({ keep });
}
