#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The process: hands the real world to `run` and exits with its status. Layer: cli. */
import { randomBytes } from "node:crypto";
import { homedir } from "node:os";
import { CofferError, ERRORS, EXIT } from "../base/errors.ts";
import { realMachine } from "../repo/machine.ts";
import { openRealFiles } from "../repo/real-folders.ts";
import type { Io } from "./io.ts";
import { run } from "./run.ts";

/** Half of a bundle must not look like one: here a reader that went away is an error too. */
function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((taken, refused) => {
    process.stdout.write(bytes, (error) => {
      if (error === undefined || error === null) return taken();
      const code = "code" in error ? error.code : error.message;
      refused(new CofferError("IO_ERROR", `cannot write the output (${code})`, { cause: error }));
    });
  });
}

const io: Io = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  outBytes: writeOut,
  input: () => process.stdin,
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  // stderr first: stdin is opened by being looked at, which a runtime would wait for at every start.
  terminal: process.stderr.isTTY === true && process.stdin.isTTY === true,
  ask: async (question, secret) => (await import("./terminal.ts")).ask(question, secret),
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

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // A reader that went away (`coffer list | head -1`) changes neither what is done nor the exit status.
    if (error.code === "EPIPE") return;
    // What was printed is incomplete, so it must not look like success.
    process.exitCode = EXIT.noSpace;
    if (stream === process.stderr) return;
    process.stderr.write(`coffer: error: cannot write the output (${error.code}); what was done stands [IO_ERROR]\n`);
    process.stderr.write(`coffer: hint: ${ERRORS.IO_ERROR.hint}\n`);
  });
}

// No top-level await: the build also makes one CommonJS file of this, which starts faster.
void run(process.argv.slice(2), io).then((exit) => {
  process.exitCode ??= exit;
  if (process.exitCode === EXIT.ok) process.exitCode = exit;
});
