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

/** Names in the store that the words lead to, by their beginning; empty where there is no store. */
export type NamesOf = (globals: ReadonlyMap<string, string>, prefix: string) => Promise<readonly string[]>;

const NONE: Candidates = { files: "none", values: [] };

/** @param words - what was typed after `coffer`, the unfinished word last; it may be empty */
export async function complete(root: CommandPage, words: readonly string[], namesOf: NamesOf): Promise<Candidates> {
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
    const own = page.arguments.length === 0 ? [] : (await operandsOf(page, 0, globals, current, namesOf)).values;
    return { ...NONE, values: [...below.filter(({ value }) => value.startsWith(current)), ...own] };
  }
  return operandsOf(page, operands, globals, current, namesOf);
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
  namesOf: NamesOf,
): Promise<Candidates> {
  const last = page.arguments.at(-1);
  const argument = page.arguments[at] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined) return NONE;
  const ofKey = page.path[1] === "key";
  if (!ofKey && ["name", "names", "what"].includes(argument.name)) {
    const found = await namesOf(globals, current);
    return { ...NONE, values: found.map((value) => ({ value, text: "" })) };
  }
  if (argument.name === "shell") return { ...NONE, values: SHELLS.map((value) => ({ value, text: "" })) };
  return { ...NONE, files: ofKey ? "none" : filesFor(argument.name) };
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
