// SPDX-License-Identifier: Apache-2.0
/**
 * The short way in for what runtimes call at every start: `resolve NAME` and `path NAME [FILE]` in their plain forms are
 * parsed here, without loading the command tree. Layer: cli.
 *
 * It either understands a command line as commander would, or leaves the whole of it to commander: nothing is guessed,
 * and every error is worded in one place (program.ts).
 */
import type { GlobalOptions } from "./context.ts";
import { GLOBAL_OPTIONS } from "./global-options.ts";

export interface QuickCommand {
  readonly command: "resolve" | "path";
  /** One name, and for `path` perhaps a file. */
  readonly operands: readonly [string, string?];
  readonly options: GlobalOptions & { readonly to?: string };
}

/** Options of these commands that are understood here, besides the global ones. */
const OWN_OPTIONS: Readonly<Record<QuickCommand["command"], readonly string[]>> = {
  resolve: [],
  path: ["--to <folder>"],
};

/** The member of commander's options that a flag sets: `--passphrase-file` sets passphraseFile, `--no-memory` memory. */
function memberOf(flag: string): string {
  return flag.replace(/^--(?:no-)?/, "").replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** @param argv - the arguments after `coffer`; @returns undefined if commander must read them */
export function parseQuick(argv: readonly string[]): QuickCommand | undefined {
  const command = argv.find((argument) => !argument.startsWith("-") && (argument === "resolve" || argument === "path"));
  if (command !== "resolve" && command !== "path") return undefined;
  const known = new Map<string, boolean>(
    [...GLOBAL_OPTIONS.map((option) => option.flags), ...OWN_OPTIONS[command]].map((flags) => {
      const [flag = flags, value] = flags.split(" ");
      return [flag, value !== undefined];
    }),
  );
  const own = new Set(OWN_OPTIONS[command].map((flags) => flags.split(" ")[0]));
  const words: string[] = [];
  const options: Record<string, string | boolean> = { memory: true };
  for (let at = 0, argument = argv[at]; argument !== undefined; at += 1, argument = argv[at]) {
    if (!argument.startsWith("-")) {
      words.push(argument);
      continue;
    }
    const takesValue = known.get(argument);
    // `--flag=value`, `--`, short flags, unknown and repeated ones, and options of a command before its name: rare enough.
    if (takesValue === undefined || memberOf(argument) in options !== (argument === "--no-memory")) return undefined;
    if (own.has(argument) && words.length === 0) return undefined;
    if (takesValue) at += 1;
    const value = takesValue ? argv[at] : !argument.startsWith("--no-");
    if (value === undefined || (typeof value === "string" && value.startsWith("-"))) return undefined;
    options[memberOf(argument)] = value;
  }
  const [first, name, file, ...others] = words;
  if (first !== command || name === undefined || others.length > 0) return undefined;
  if (command === "resolve" && file !== undefined) return undefined;
  const operands: readonly [string, string?] = file === undefined ? [name] : [name, file];
  return { command, operands, options: options as unknown as QuickCommand["options"] };
}
