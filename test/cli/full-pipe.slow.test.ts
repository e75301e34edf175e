// SPDX-License-Identifier: Apache-2.0
/** `serve` whose log nobody reads, as a process with a real pipe that is full: it serves, cuts and ends all the same. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { sha256 } from "../../src/base/digest.ts";
import { systemCode } from "../../src/base/errors.ts";
import { ask, drain, slowDownload } from "../server/client.ts";
import { printed, type Running, runCli, startCli } from "../support/cli-process.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";

const LARGE = makeSafetensors(40 * 1024 * 1024, 3);
const BROKEN = makeTinyGguf({ seed: 1 });
const folder = mkdtempSync(join(tmpdir(), "coffer-full-pipe-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function coffer(...args: string[]): Promise<void> {
  const { status, stderr } = await runCli(args, { home: folder });
  assert.equal(status, 0, stderr);
}

before(async () => {
  writeFileSync(join(folder, "large.safetensors"), LARGE);
  writeFileSync(join(folder, "broken.gguf"), BROKEN);
  await coffer("key", "new", "alice", "--no-passphrase");
  await coffer("init", "s", "--me", "alice");
  for (const [file, name] of [
    ["large.safetensors", "acme/large"],
    ["broken.gguf", "acme/broken"],
  ] as const) {
    await coffer("add", file, "--name", name, "--store", "s");
    await coffer("promote", name, "--store", "s");
  }
  const hex = sha256(BROKEN);
  const blob = join(folder, "s", "blobs", hex.slice(0, 2), hex.slice(2));
  chmodSync(blob, 0o644);
  writeFileSync(
    blob,
    BROKEN.map((byte) => byte ^ 1),
  );
});

function url(bytes: Uint8Array): string {
  return `/v1/blobs/sha256/${sha256(bytes)}`;
}

/** Does `act` until there is no room, which it says by EAGAIN. */
function untilFull(act: () => void): void {
  try {
    for (;;) act();
  } catch (error) {
    if (systemCode(error) !== "EAGAIN") throw error;
  }
}

/** Serves with a pipe for stderr that is full, read by nobody but `read`. */
async function serveIntoFullPipe(fifo: string) {
  execFileSync("mkfifo", [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const filler = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  const theirs = openSync(fifo, constants.O_WRONLY);
  const running = startCli(["serve", "--port", "0", "--grace", "0", "--store", "s"], {
    home: folder,
    stderrFd: theirs,
  });
  closeSync(theirs);
  const [, port] = await printed(running, "stdout", /http:\/\/127\.0\.0\.1:([0-9]+)/);
  let text = "";
  const read = (): string => {
    const part = Buffer.alloc(65_536);
    untilFull(() => {
      const length = readSync(reader, part);
      if (length === 0) throw Object.assign(new Error("all writers are gone"), { code: "EAGAIN" });
      text += part.toString("latin1", 0, length);
    });
    return text;
  };
  assert.ok(await until(() => read().includes("serving what is trusted")));
  untilFull(() => writeSync(filler, Buffer.alloc(4096, "-")));
  untilFull(() => writeSync(filler, "-"));
  const close = (): void => {
    running.child.kill("SIGKILL");
    for (const fd of [reader, filler]) closeSync(fd);
  };
  return { running, port: Number(port), read, close };
}

async function faults(port: number, count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) assert.equal((await ask(port, "GET", url(BROKEN), {})).status, 503);
}

test("a server whose log is a full pipe answers, and says what it left out once the pipe moves again", async () => {
  const { running, port, read, close } = await serveIntoFullPipe(join(folder, "fifo-1"));
  try {
    // Each fault is a line of some 100 bytes: more than are kept.
    await faults(port, 1000);
    assert.equal((await ask(port, "GET", "/health", {})).status, 200);
    assert.ok(await until(() => / lines are left out here/.test(read())));
    const said = read().split("\n");
    const lines = said.filter((line) => /^-*warning: .*\[CORRUPT\]$/.test(line)).length;
    assert.equal(lines + Number(/^coffer: ([0-9]+) lines/m.exec(read())?.[1]), 1000);
    await faults(port, 1);
    assert.ok(await until(() => /left out here: nobody read them\nwarning: [^\n]*\[CORRUPT\]\n$/.test(read())));
    running.child.kill("SIGTERM");
    assert.equal((await running.ended).status, 0);
    assert.match(read(), /\nSIGTERM: finishing what runs, for 0 s at most\n$/);
  } finally {
    close();
  }
});

test("it cuts a download that is revoked, and ends when told, though nobody ever reads a line", async () => {
  const { running, port, close } = await serveIntoFullPipe(join(folder, "fifo-2"));
  try {
    await faults(port, 1);
    const slow = await slowDownload(port, url(LARGE));
    await coffer("revoke", "acme/large", "--reason", "test", "--yes", "--store", "s");
    assert.ok((await drain(slow)) < LARGE.length);
    running.child.kill("SIGTERM");
    const { status, signal } = await running.ended;
    assert.deepEqual([status, signal], [0, null]);
  } finally {
    close();
  }
});

test("a socket whose other end does not read is the same", async () => {
  const running: Running = startCli(["serve", "--port", "0", "--grace", "0", "--store", "s"], { home: folder });
  try {
    running.child.stderr?.removeAllListeners("data").pause();
    const [, port] = await printed(running, "stdout", /http:\/\/127\.0\.0\.1:([0-9]+)/);
    await faults(Number(port), 1000);
    running.child.kill("SIGTERM");
    await new Promise((settle) => running.child.once("exit", settle));
    assert.equal(running.child.exitCode, 0);
  } finally {
    running.child.kill("SIGKILL");
    running.child.stderr?.resume();
  }
});
