// SPDX-License-Identifier: Apache-2.0
/**
 * Man pages from the command tree: one for `coffer`, one for each command, in man(7) macros as every man reads them.
 * test/cli/man.test.ts keeps docs/man/ equal to what this gives.
 */
import { type CommandPage, everyPage, type OptionLine, sentence, usage } from "../../src/cli/pages.ts";

const STATUSES: readonly (readonly [string, string])[] = [
  ["0", "done"],
  ["1", "a bug in coffer"],
  ["2", "wrong usage, or input that is not what it should be"],
  ["3", "not trusted, or refused by the policy"],
  ["4", "a signature that is not good"],
  ["5", "damage: the store or a file of it is not what was written"],
  ["6", "not found"],
  ["7", "others were first, or two promotions stand side by side"],
  ["8", "busy, or a remote or medium that does not answer"],
  ["9", "not complete"],
  ["10", "no space, or a read or write that failed"],
  ["11", "an answer about the past: what was trusted then says nothing of now"],
];

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ["COFFER_STORE", "the store, where --store is not given"],
  ["COFFER_SECRETS, CREDENTIALS_DIRECTORY", "the folder with the store key, where --secrets is not given"],
  ["COFFER_STATE, STATE_DIRECTORY", "the folder of this machine's memory, where --state is not given"],
  ["COFFER_KEYS", "the folder with people's keys, where --keys is not given"],
  ["NO_COLOR", "if set, nothing is coloured"],
];

/** Every character that roff would read as more than itself. */
export function roff(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("~", "\\(ti")
    .replaceAll("^", "\\(ha")
    .replaceAll("`", "\\(ga")
    .replaceAll("…", "...");
  // A line must not begin like a request.
  return escaped.replace(/^([.'])/gmu, "\\&$1");
}

function term(name: string, text: string): string {
  return `.TP\n\\fB${roff(name)}\\fR\n${roff(sentence(text))}\n`;
}

function optionLines(options: readonly OptionLine[]): string {
  return options.map(({ flags, text }) => term(flags, text)).join("");
}

function synopsis(page: CommandPage): string {
  const [words = "", ...rest] = usage(page).split(/(?= [<[])/u);
  const operands = rest.map((word) => ` \\fI${roff(word.trim())}\\fR`).join("");
  return `.B ${roff(words)}\n[\\fIoption\\fR ...]${operands}\n`;
}

/** The file name of a page: `coffer-key-new.1`. */
export function manFile(page: CommandPage): string {
  return `${page.path.join("-")}.1`;
}

/** The pages that have something to say: groups that only hold commands have none. */
export function manPages(root: CommandPage): readonly CommandPage[] {
  return everyPage(root).filter(
    (page) => page.path.length === 1 || page.arguments.length > 0 || page.commands.length === 0,
  );
}

export function manPage(root: CommandPage, page: CommandPage): string {
  const title = page.path.join("-");
  const parts = [
    `.TH ${roff(title.toUpperCase())} 1 2026-11-22 "coffer" "Coffer manual"\n`,
    `.SH NAME\n${roff(title)} \\- ${roff(page.text)}\n`,
    `.SH SYNOPSIS\n${synopsis(page)}`,
  ];
  if (page === root) {
    const about =
      "What a runtime loads comes out of a coffer only while the people whom its policy names have signed for";
    parts.push(
      `.SH DESCRIPTION\n${roff(`${about}\nexactly those bytes under exactly that name.`)}\n.PP\nResults go to standard output, everything for people to standard error; its last line is\nthe next command to type.\n`,
      `.SH COMMANDS\n${manPages(root)
        .filter((other) => other !== root)
        .map((other) => term(usage(other).replace(/^coffer /u, ""), other.text))
        .join("")}`,
      `.SH OPTIONS OF EVERY COMMAND\n${optionLines(page.options)}`,
      `.SH ENVIRONMENT\n${ENVIRONMENT.map(([name, text]) => term(name, text)).join("")}`,
    );
  } else {
    const operands = page.arguments.map(({ name, text }) => `.TP\n\\fI${roff(name)}\\fR\n${roff(text)}\n`);
    parts.push(
      `.SH DESCRIPTION\n${roff(sentence(page.text))}\n${operands.join("")}`,
      ...(page.options.length === 0 ? [] : [`.SH OPTIONS\n${optionLines(page.options)}`]),
      `.PP\nOptions of every command, and the environment, are described in\n.BR coffer (1).\n`,
    );
  }
  parts.push(`.SH EXIT STATUS\n${STATUSES.map(([status, text]) => term(status, text)).join("")}`);
  const others = page === root ? [] : ["coffer"];
  if (others.length > 0) parts.push(`.SH SEE ALSO\n.BR coffer (1)\n`);
  return parts.join("");
}

export const MAN_STATUSES = STATUSES;
