// SPDX-License-Identifier: Apache-2.0
/** What the command tree says of itself: for docs/cli.md, the man pages and completion. Layer: cli. */
import type { Command } from "commander";

export interface OptionLine {
  /** As commander writes it: `--store <folder>`. */
  readonly flags: string;
  readonly long: string;
  readonly short?: string;
  /** The name of its value; undefined for a switch. */
  readonly value?: string;
  readonly text: string;
}

export interface ArgumentLine {
  readonly name: string;
  readonly text: string;
  readonly required: boolean;
  readonly variadic: boolean;
}

/** One command, or a group of commands. */
export interface CommandPage {
  /** From `coffer` on. */
  readonly path: readonly string[];
  readonly text: string;
  readonly arguments: readonly ArgumentLine[];
  /** Its own; those of every command stand on the first page alone. */
  readonly options: readonly OptionLine[];
  readonly commands: readonly CommandPage[];
}

/** The page of `root` and all below it; hidden commands are left out. */
export function pagesOf(root: Command): CommandPage {
  return pageOf(root, [root.name()], new Set());
}

function pageOf(command: Command, path: readonly string[], shared: ReadonlySet<string>): CommandPage {
  const options = command.options.filter((option) => !shared.has(option.flags));
  const below = new Set([...shared, ...(path.length === 1 ? options.map((option) => option.flags) : [])]);
  return {
    path,
    text: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      text: argument.description,
      required: argument.required,
      variadic: argument.variadic,
    })),
    options: options.map(({ flags, long, short, description }) => {
      const [value] = /(?<=<).+(?=>)|(?<=\[).+(?=\])/.exec(flags) ?? [];
      return {
        flags,
        long: long ?? flags,
        ...(short === undefined || short === null ? {} : { short }),
        ...(value === undefined ? {} : { value }),
        text: description,
      };
    }),
    commands: visible(command).map((inner) => pageOf(inner, [...path, inner.name()], below)),
  };
}

/** commander keeps `hidden` to its help. */
function visible(command: Command): readonly Command[] {
  const shown = new Set(command.createHelp().visibleCommands(command));
  return command.commands.filter((inner) => shown.has(inner));
}

/** Every page, the first one included. */
export function everyPage(page: CommandPage): CommandPage[] {
  return [page, ...page.commands.flatMap(everyPage)];
}

/** How it is typed, without its options: `coffer path <name> [file]`. */
export function usage({ path, arguments: given }: CommandPage): string {
  const words = given.map(({ name, required, variadic }) => {
    const shown = `${name}${variadic ? "…" : ""}`;
    return required ? `<${shown}>` : `[${shown}]`;
  });
  return [...path, ...words].join(" ");
}

/** A description as a sentence. */
export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
