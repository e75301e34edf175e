// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- start`: what a runtime waits for when it calls the command, beside Node that does nothing. */
import { spawnSync } from "node:child_process";
import { commandOf, environmentOf } from "./support/command.ts";
import { openFixture } from "./support/fixture.ts";
import { type Bench, type Contender, interleave, ratioOf, timed } from "./support/harness.ts";

const NODE = "node -e 0";
const RESOLVE = "coffer resolve";
const PATH = "coffer path";

function started(args: readonly string[], env: NodeJS.ProcessEnv): Contender {
  return async () =>
    timed(() => {
      const run = spawnSync(process.execPath, args, { env, encoding: "utf8" });
      if (run.status !== 0) throw new Error(`${args.join(" ")}: ${run.stderr}`);
    });
}

export const bench: Bench = {
  title: "Start of a command",
  about: `
The command as built (\`dist/cli/coffer.cjs\`), in a store of 100 models: a whole process from start to end, with the
verdict on a name of two approvals, and the path of its file of 4 KiB, which was laid before.`,
  async run({ quick, say }) {
    const fixture = await openFixture(100, say);
    const env = environmentOf(fixture, await fixture.open());
    const [command, store] = [commandOf(), ["--store", fixture.location.root]];
    const name = fixture.name(7).text;
    const contenders = {
      [NODE]: started(["-e", "0"], env),
      [RESOLVE]: started([command, "resolve", name, ...store], env),
      [PATH]: started([command, "path", name, ...store], env),
    };
    const samples = await interleave(contenders, quick ? 7 : 31);
    return { ratios: [ratioOf(samples, RESOLVE, NODE, { atMost: 1.7 }), ratioOf(samples, PATH, NODE)] };
  },
};
