#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The process: hands the real world to `run` and exits with its status. Layer: cli. */
import { randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import { homedir } from "node:os";
import { CofferError, ERRORS, EXIT, systemCode } from "../base/errors.ts";
import { realMachine } from "../repo/machine.ts";
import { openRealFiles } from "../repo/real-folders.ts";
import type { Backlog } from "./backlog.ts";
import type { Io } from "./io.ts";
import { Output } from "./output.ts";
import { run } from "./run.ts";

let isTold = false;

function onOutError(error: unknown): void {
  const code = systemCode(error);
  // A reader that went away (`coffer list | head -1`) changes neither what is done nor the exit status.
  if (code === "EPIPE") return;
  // What was printed is incomplete, so it must not look like success.
  process.exitCode = EXIT.noSpace;
  if (isTold) return;
  isTold = true;
  print(err, `coffer: error: cannot write the output (${code}); what was done stands [IO_ERROR]\n`);
  print(err, `coffer: hint: ${ERRORS.IO_ERROR.hint}\n`);
}

function onErrError(error: unknown): void {
  if (systemCode(error) !== "EPIPE") process.exitCode = EXIT.noSpace;
}

const out = new Output(1, () => process.stdout, onOutError);
const err = new Output(2, () => process.stderr, onErrError);

/** When a command that never waits has ended, its reader may pause for so long, and take so long in all. */
const LAST_WORDS = { pauseMs: 500, allMs: 1500 };
const backlogs = new Map<Output, Backlog>();

/** Loaded by who needs it: streams cost a runtime more at each start than all its reading. */
async function neverWait(): Promise<void> {
  const { Backlog, streamInto, writeNeverWaiting } = await import("./backlog.ts");
  const both = [
    { fd: 1, output: out, stream: "stdout", touch: () => process.stdout, onError: onOutError },
    { fd: 2, output: err, stream: "stderr", touch: () => process.stderr, onError: onErrError },
  ];
  for (const { fd, output, stream, touch, onError } of both) {
    const write = writeNeverWaiting(fd, touch);
    if (write === undefined) continue;
    const leftOut = (lines: number): string => `coffer: ${lines} lines are left out here: nobody read them\n`;
    const backlog = new Backlog({ write, leftOut, onError });
    backlogs.set(output, backlog);
    // Node looks at its own stream whenever a connection closes, and by that sets a pipe that others share to never wait.
    Object.defineProperty(process, stream, { value: streamInto(backlog), configurable: true });
  }
}

function print(output: Output, text: string): void {
  const backlog = backlogs.get(output);
  if (backlog === undefined) output.print(text);
  else backlog.print(text);
}

/** Half of a bundle must not look like one: here a reader that went away is an error too. */
function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((taken, refused) => {
    out.stream().write(bytes, (error) => {
      if (error === undefined || error === null) return taken();
      const code = "code" in error ? error.code : error.message;
      refused(new CofferError("IO_ERROR", `cannot write the output (${code})`, { cause: error }));
    });
  });
}

const io: Io = {
  out: (text) => print(out, text),
  err: (text) => print(err, text),
  outBytes: writeOut,
  input: () => process.stdin,
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  // Being looked at opens each of the two, which a runtime would wait for at every start.
  terminal: fstatSync(2).isCharacterDevice() && process.stderr.isTTY === true && process.stdin.isTTY === true,
  ask: async (question, secret) => (await import("./terminal.ts")).ask(question, secret),
  neverWait,
  stopped: () =>
    new Promise((stop) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop(signal));
    }),
  ports: {
    clock: () => Math.floor(Date.now() / 1000),
    random: (length) => randomBytes(length),
    sleep: (ms) => new Promise((awake) => setTimeout(awake, ms)),
    openFolder: openRealFiles,
    machine: realMachine,
  },
};

// No top-level await: the build also makes one CommonJS file of this, which starts faster.
void run(process.argv.slice(2), io).then(async (exit) => {
  await Promise.all([...backlogs.values()].map((backlog) => backlog.end(LAST_WORDS)));
  process.exitCode ??= exit;
  if (process.exitCode === EXIT.ok) process.exitCode = exit;
});
