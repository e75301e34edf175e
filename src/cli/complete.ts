// SPDX-License-Identifier: Apache-2.0
/**
 * What could stand where the cursor is. The shells' scripts (completion.ts) ask for it at each TAB, so the one place that
 * knows the commands is the command tree. Layer: cli.
 */
import type { CommandPage } from "./pages.ts";

export interface Candidates {
  /** What the shell may add by itself. */
  readonly files: "none" | "files" | "folders";
  readonly values: readonly { readonly value: string; readonly text: string }[];
}

/** What the store that the words lead to knows, by its beginning; empty where there is no store. */
export type KnownOf = (
  kind: "names" | "remotes",
  globals: ReadonlyMap<string, string>,
  prefix: string,
) => Promise<readonly string[]>;

const NONE: Candidates = { files: "none", values: [] };

/** @param words - what was typed after `coffer`, the unfinished word last; it may be empty */
export async function complete(root: CommandPage, words: readonly string[], knownOf: KnownOf): Promise<Candidates> {
  const typed = words.slice(0, -1);
  const current = words.slice(-1).join("");
  const globals = new Map<string, string>();
  let page = root;
  let operands = 0;
  let plain = false;
  for (let at = 0, word = typed[at]; word !== undefined; at += 1, word = typed[at]) {
    if (!plain && word === "--") plain = true;
    else if (!plain && word.startsWith("-") && word !== "-") {
      const option = optionOf(root, page, word);
      if (option?.value === undefined) continue;
      at += 1;
      const value = typed[at];
      if (value === undefined) return { ...NONE, files: filesFor(option.value) };
      globals.set(option.long, value);
    } else {
      const inner = page.commands.find((command) => command.path.at(-1) === word);
      if (inner !== undefined && operands === 0) page = inner;
      else operands += 1;
    }
  }
  if (!plain && current.startsWith("-")) return { ...NONE, values: optionsOf(root, page, current) };
  if (page.commands.length > 0 && operands === 0) {
    const below = page.commands.map(({ path, text }) => ({ value: path.slice(-1).join(""), text }));
    const own = page.arguments.length === 0 ? [] : (await operandsOf(page, 0, globals, current, knownOf)).values;
    return { ...NONE, values: [...below.filter(({ value }) => value.startsWith(current)), ...own] };
  }
  return operandsOf(page, operands, globals, current, knownOf);
}

function optionOf(root: CommandPage, page: CommandPage, word: string) {
  return [...page.options, ...root.options].find(({ long, short }) => word === long || word === short);
}

function optionsOf(root: CommandPage, page: CommandPage, prefix: string): Candidates["values"] {
  const known = new Set([...page.options, ...root.options]);
  return [...known].filter(({ long }) => long.startsWith(prefix)).map(({ long, text }) => ({ value: long, text }));
}

async function operandsOf(
  page: CommandPage,
  at: number,
  globals: ReadonlyMap<string, string>,
  current: string,
  knownOf: KnownOf,
): Promise<Candidates> {
  const last = page.arguments.at(-1);
  const argument = page.arguments[at] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined) return NONE;
  const kind = kindOf(page, argument.name);
  if (kind !== undefined) {
    const values = (await knownOf(kind, globals, current)).map((value) => ({ value, text: "" }));
    // A place needs no name to be pulled from or pushed to.
    return { files: argument.name === "remote" ? "folders" : "none", values };
  }
  if (argument.name === "shell") return { ...NONE, values: SHELLS.map((value) => ({ value, text: "" })) };
  return { ...NONE, files: page.path[1] === "key" ? "none" : filesFor(argument.name) };
}

/** What the store can name where this argument stands. */
function kindOf({ path: [, group, command] }: CommandPage, argument: string): "names" | "remotes" | undefined {
  if (argument === "remote") return "remotes";
  if (!["name", "names", "what"].includes(argument) || group === "key") return undefined;
  if (group !== "remote") return "names";
  return command === "add" ? undefined : "remotes";
}

export const SHELLS = ["bash", "zsh", "fish"] as const;

/** By the name of a value in the command tree. */
function filesFor(value: string): Candidates["files"] {
  if (value === "folder") return "folders";
  return ["file", "files", "paths"].includes(value) ? "files" : "none";
}

/** As the scripts read it: what the shell may add, then a line for each candidate, its text behind a tab. */
export function candidateText({ files, values }: Candidates): string {
  return [`:${files}`, ...values.map(({ value, text }) => (text === "" ? value : `${value}\t${text}`)), ""].join("\n");
}
