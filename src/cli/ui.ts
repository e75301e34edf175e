// SPDX-License-Identifier: Apache-2.0
/**
 * How Coffer speaks. stdout is data; stderr is for people; the last line on stderr is the next command to type.
 * Untrusted text is made printable before it reaches a terminal. Layer: cli.
 *
 * With --json stdout is one object: `json` says what it holds, `data` and `raw` are for people and print nothing, and a
 * failure has the member `error`. It is printed when the command ends, so there is never a second one.
 */
import { CofferError, ERRORS, EXIT, systemCode } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { errorJson, SCHEMA_VERSION } from "./format.ts";
import type { Io } from "./io.ts";

export class Ui {
  readonly #io: Io;
  readonly #colour: boolean;
  #progressShown = false;
  #next: string | undefined;
  #json = false;
  /** What `json` was told; undefined again once it is printed. */
  #document: object | undefined;
  #printed = false;

  constructor(io: Io) {
    this.#io = io;
    this.#colour = io.terminal && (io.env["NO_COLOR"] ?? "") === "" && io.env["TERM"] !== "dumb";
  }

  /** From here on stdout is for programs. */
  speakJson(): void {
    this.#json = true;
  }

  /** True with --json: stdout is one object, and nothing is asked. */
  get inJson(): boolean {
    return this.#json;
  }

  /** Whether there is somebody to ask. */
  get canAsk(): boolean {
    return this.#io.terminal && !this.#json;
  }

  /** One line of data. */
  data(line: string): void {
    if (!this.#json) this.#io.out(`${printable(line, 1_000_000)}\n`);
  }

  /** With --json, the members of the one object; else nothing. */
  json(members: object): void {
    if (this.#json) this.#document = { schemaVersion: SCHEMA_VERSION, ...members };
  }

  /** As `json`, but at once and on one line: for a command that goes on. */
  jsonLine(members: object): void {
    if (!this.#json) return;
    this.#printed = true;
    this.#io.out(`${jsonText({ schemaVersion: SCHEMA_VERSION, ...members }, 0)}\n`);
  }

  #printDocument(): void {
    if (this.#document === undefined || this.#printed) return;
    this.#printed = true;
    this.#io.out(`${jsonText(this.#document, 2)}\n`);
  }

  /** Bytes that are data as they are (a document, a path). */
  raw(text: string): void {
    if (!this.#json) this.#io.out(text);
  }

  say(line: string): void {
    this.clearProgress();
    this.#io.err(`${printable(line, 10_000)}\n`);
  }

  warn(line: string): void {
    this.labelled("warning:", 33, line);
  }

  /** A label of ours, coloured on a terminal, before text that may not be ours. */
  private labelled(label: string, colour: number, line: string): void {
    this.clearProgress();
    const shown = this.#colour ? `\u001b[${colour}m${label}\u001b[0m` : label;
    this.#io.err(`${shown} ${printable(line, 10_000)}\n`);
  }

  /** The next command to type; printed last. */
  next(command: string): void {
    this.#next = command;
  }

  end(): void {
    this.#printDocument();
    this.clearProgress();
    if (this.#next !== undefined) this.say(`next: ${this.#next}`);
  }

  progress(line: string): void {
    if (!this.#io.terminal) return;
    this.#io.err(`\r\u001b[K${printable(line, 70)}`);
    this.#progressShown = true;
  }

  clearProgress(): void {
    if (!this.#progressShown) return;
    this.#io.err("\r\u001b[K");
    this.#progressShown = false;
  }

  /** Asks until the answer is y or n. @throws CofferError CONFIRM_NEEDED without a terminal */
  async confirm(question: string, yes: boolean): Promise<void> {
    if (yes) return;
    if (!this.canAsk) throw new CofferError("CONFIRM_NEEDED", "expected a yes to what is shown above");
    const answer = (await this.#io.ask(`${question} [y/N] `, false)).trim().toLowerCase();
    if (answer !== "y" && answer !== "yes")
      throw new CofferError("CONFIRM_NEEDED", "the answer was no; nothing was done");
  }

  /** Prints an error with its code and hint. @returns the exit status */
  fail(thrown: unknown): number {
    const error = lackOf(thrown) ?? thrown;
    this.clearProgress();
    this.json({ ...this.#document, error: errorJson(error) });
    this.#printDocument();
    if (!(error instanceof CofferError)) return this.bug(error);
    this.labelled("coffer: error:", 31, `${error.message} [${error.code}]`);
    for (const line of error.details) this.say(`coffer:   also: ${line}`);
    if (this.#io.env["COFFER_TRACE"] === "1" && error.stack !== undefined) this.say(error.stack);
    this.say(`coffer: hint: ${ERRORS[error.code].hint}`);
    return ERRORS[error.code].exit;
  }

  private bug(error: unknown): number {
    const message = error instanceof Error ? error.message : String(error);
    this.labelled("coffer: error:", 31, `${message} [INTERNAL]`);
    if (this.#io.env["COFFER_TRACE"] === "1" && error instanceof Error) this.#io.err(`${error.stack}\n`);
    this.say(`coffer: hint: ${ERRORS.INTERNAL.hint}`);
    return EXIT.internal;
  }
}

/** Where a process may have no more files, whatever asked for one: Node loads modules past our ports. */
function lackOf(error: unknown): CofferError | undefined {
  const code = error instanceof CofferError ? undefined : systemCode(error);
  if (code !== "EMFILE" && code !== "ENFILE") return undefined;
  const text = `too many files are open (${code}): give this process more, as by ulimit -n`;
  return new CofferError("IO_ERROR", text, { cause: error });
}

/** What may stand in a terminal is escaped, line ends of ours excepted. */
function jsonText(value: object, indent: number): string {
  return JSON.stringify(value, undefined, indent).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (mark) =>
    mark === "\n" ? mark : [...mark].map(escapeUnit).join(""),
  );
}

function escapeUnit(mark: string): string {
  return Array.from({ length: mark.length }, (_, at) => `\\u${mark.charCodeAt(at).toString(16).padStart(4, "0")}`).join(
    "",
  );
}
