// SPDX-License-Identifier: Apache-2.0
/** One command line, from arguments to exit status: by the short way in, or by the command tree. Layer: cli. */
import { EXIT } from "../base/errors.ts";
import type { Io } from "./io.ts";
import { parseQuick, type QuickCommand } from "./quick.ts";
import { Ui } from "./ui.ts";

/**
 * Runs one command line.
 * @param argv - the arguments after `coffer`
 * @returns the exit status; never throws
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const quick = parseQuick(argv);
  if (quick !== undefined) return runQuick(quick, io);
  const { main } = await import("./program.ts");
  return main(argv, io);
}

async function runQuick({ command, operands, options }: QuickCommand, io: Io): Promise<number> {
  const ui = new Ui(io);
  if (options.json === true) ui.speakJson();
  const context = { io, ui, options };
  const [name, file] = operands;
  try {
    if (command === "resolve") await (await import("./commands/resolve.ts")).runResolve(context, name, {});
    else await (await import("./commands/path.ts")).runPath(context, name, file, options);
    ui.end();
    return EXIT.ok;
  } catch (error) {
    return ui.fail(error);
  }
}
