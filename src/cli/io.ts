// SPDX-License-Identifier: Apache-2.0
/** What the CLI is handed instead of reaching for it, so that tests run it in-process. Layer: cli. */
import type { Ports } from "../repo/ports.ts";

export interface Io {
  /** Data; the command's result. */
  readonly out: (text: string) => void;
  /** Data that is no text; settles when it was taken. @throws CofferError IO_ERROR - nobody takes it */
  readonly outBytes: (bytes: Uint8Array) => Promise<void>;
  /** What comes in through stdin, once. */
  readonly input: () => AsyncIterable<Uint8Array>;
  /** People: messages, prompts, progress. */
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** The user's home folder. */
  readonly home: string;
  /** True when both stdin and stderr are a terminal: only then questions are asked and progress is shown. */
  readonly terminal: boolean;
  /** Asks on the terminal; `secret` shows no echo. */
  readonly ask: (question: string, secret: boolean) => Promise<string>;
  /** From here on what is printed never waits for a reader: for a command that others wait for (backlog.ts). */
  readonly neverWait: () => Promise<void>;
  /** Resolves when the process is told to end (SIGINT, SIGTERM). */
  readonly stopped: () => Promise<"SIGINT" | "SIGTERM">;
  readonly ports: Ports;
}
