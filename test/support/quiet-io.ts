// SPDX-License-Identifier: Apache-2.0
/** An Io for tests that only look at the command tree: it says nothing and opens nothing. */
import assert from "node:assert/strict";
import type { Io } from "../../src/cli/io.ts";

export const quietIo: Io = {
  out: () => undefined,
  err: () => undefined,
  env: {},
  cwd: "/",
  home: "/",
  terminal: false,
  ask: () => Promise.reject(new Error("no questions here")),
  outBytes: () => Promise.resolve(),
  input: () => assert.fail("no input here"),
  neverWait: async () => undefined,
  stopped: () => Promise.resolve("SIGTERM"),
  ports: {
    clock: () => 0,
    random: (length) => new Uint8Array(length),
    sleep: () => Promise.resolve(),
    openFolder: () => assert.fail("no folders here"),
  },
};
