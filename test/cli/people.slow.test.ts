// SPDX-License-Identifier: Apache-2.0
/** Files and folders that people name: what is no regular file, never ends, lies in the wrong place or cannot be made. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Io } from "../../src/cli/io.ts";
import { main } from "../../src/cli/program.ts";
import { openSmallFile, readSmallFile } from "../../src/cli/small-file.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { makeFolders } from "../../src/repo/system.ts";
import { seededRandom } from "../support/transcripts.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const folder = mkdtempSync(join(tmpdir(), "coffer-people-"));
const home = join(folder, "home");
const keys = join(home, ".config/coffer/keys");
after(() => rmSync(folder, { recursive: true, force: true }));

const put = (path: string, bytes: string | Uint8Array): string => {
  writeFileSync(join(folder, path), bytes);
  return join(folder, path);
};

const random = seededRandom("people");

/** @returns status and all that was printed */
async function coffer(argv: readonly string[], more: Partial<Io> = {}): Promise<{ status: number; said: string }> {
  let said = "";
  const take = (text: string): void => {
    said += text;
  };
  const io: Io = {
    out: take,
    err: take,
    env: {},
    cwd: folder,
    home,
    terminal: false,
    ask: () => Promise.reject(new Error("asked")),
    outBytes: () => Promise.resolve(),
    input: () => assert.fail("no input here"),
    neverWait: async () => undefined,
    stopped: () => Promise.resolve("SIGTERM"),
    ports: { clock: () => 1_795_305_600, random, sleep: () => Promise.resolve(), openFolder: openRealFiles },
    ...more,
  };
  return { status: await main(argv, io), said };
}

async function refused(code: string, argv: readonly string[], more: Partial<Io> = {}): Promise<string> {
  const { status, said } = await coffer(argv, more);
  assert.ok(said.includes(`[${code}]`), `${argv.join(" ")}: expected ${code}, found: ${said}`);
  assert.notEqual(status, 0);
  return said;
}

/** A process of its own, so that one that hangs fails the test instead of hanging with it. */
function apart(...argv: string[]): Promise<{ killed: boolean; stderr: string }> {
  const args = ["--import", "tsx", join(ROOT, "src/cli/main.ts"), ...argv];
  const env = { PATH: process.env["PATH"], HOME: home, NO_COLOR: "1" };
  return new Promise((settle) => {
    execFile(process.execPath, args, { cwd: ROOT, env, timeout: 600_000, killSignal: "SIGKILL" }, (error, _, stderr) =>
      settle({ killed: error?.killed === true, stderr }),
    );
  });
}

before(async () => {
  mkdirSync(home);
  assert.equal((await coffer(["key", "new", "alice", "--no-passphrase"])).status, 0);
  assert.equal((await coffer(["init", "my.coffer", "--me", "alice"])).status, 0);
  execFileSync("mkfifo", [join(folder, "fifo"), join(keys, "aa-fifo"), join(folder, "fifo.key")]);
});

describe("nothing hangs", () => {
  const runs: readonly (readonly [code: string, ...argv: string[]])[] = [
    ["USAGE", "key", "show", join(folder, "fifo")],
    ["USAGE", "init", join(folder, "new.coffer"), "--policy", join(folder, "fifo")],
    ["USAGE", "key", "show", "/dev/zero"],
    ["IO_ERROR", "key", "new", "bob", "--no-passphrase", "--out", "/proc/aa/bb"],
    ["STATE_UNWRITABLE", "list", "--store", join(folder, "my.coffer"), "--state", "/proc/aa/bb"],
  ];
  const linuxOnly = !existsSync("/proc/self") && "needs /proc";
  test("fifos, devices and folders under /proc", { skip: linuxOnly }, async () => {
    const ended = await Promise.all(runs.map(([, ...argv]) => apart(...argv)));
    runs.forEach(([code, ...argv], index) => {
      assert.equal(ended[index]?.killed, false, argv.join(" "));
      assert.ok(ended[index]?.stderr.includes(`[${code}]`), `${argv.join(" ")}: ${ended[index]?.stderr}`);
    });
  });

  test("a fifo in the keys folder is passed over; one that is named is refused", async () => {
    const propose = ["--store", "my.coffer", "propose", "acme/tiny"];
    await refused("NOT_QUARANTINED", propose);
    await refused("USAGE", [...propose, "--key", "fifo.key"]);
  });
});

describe("readSmallFile", () => {
  test("up to the limit and no further, over links, with the mode", () => {
    const path = put("ten", "0123456789");
    symlinkSync(path, join(folder, "link"));
    assert.equal(Buffer.from(readSmallFile(join(folder, "link"), 10, "a key")).toString(), "0123456789");
    assert.equal(readSmallFile(put("empty", ""), 10, "a key").length, 0);
    assert.throws(() => readSmallFile(path, 9, "a key"), {
      code: "LIMIT_EXCEEDED",
      message: "ten: too large for a key",
    });
    chmodSync(path, 0o640);
    assert.equal(openSmallFile(join(folder, "link"), 10, "a key").mode, 0o640);
  });

  test("refusals are coded and name only the file", () => {
    put("file", "x");
    for (const [path, code] of [
      ["absent", "FILE_NOT_FOUND"],
      ["file/below", "FILE_NOT_FOUND"],
      ["home", "USAGE"],
      ["fifo", "USAGE"],
      ["/dev/zero", "USAGE"],
    ] as const) {
      const check = (error: Error & { code?: string }) => error.code === code && !error.message.includes("/");
      assert.throws(() => readSmallFile(resolve(folder, path), 10, "a key"), check, path);
    }
  });
});

test("an empty option for a folder is a mistake, not this folder", async () => {
  for (const option of ["--store", "--state", "--secrets"]) {
    const store = option === "--store" ? [] : ["--store", "my.coffer"];
    assert.match(await refused("USAGE", [...store, option, "", "list"]), new RegExp(option));
  }
  await refused("USAGE", ["--keys", "", "key", "list"]);
});

describe("memory and the store key stay outside the store", () => {
  test("inside it or it itself, over links as well, by option, environment or default", async () => {
    symlinkSync(join(folder, "my.coffer"), join(folder, "alias"));
    for (const inside of ["my.coffer", "my.coffer/local", "my.coffer/new/deep", "alias/x", "./x/../my.coffer/"]) {
      await refused("USAGE", ["--store", "my.coffer", "--state", inside, "list"]);
      await refused("USAGE", ["--store", "alias", "--secrets", inside, "list"]);
    }
    await refused("USAGE", ["--store", "my.coffer", "list"], { env: { COFFER_STATE: "my.coffer/s" } });
    await refused("USAGE", ["--store", "my.coffer", "list"], { env: { XDG_STATE_HOME: join(folder, "my.coffer") } });
    await refused("USAGE", ["init", "n.coffer", "--me", "alice", "--secrets", "n.coffer/s"]);
    assert.ok(!existsSync(join(folder, "n.coffer")));
  });

  test("beside it, even under a name that begins like its own", async () => {
    assert.equal((await coffer(["--store", "my.coffer", "--state", "my.coffer.state", "list"])).status, 0);
  });
});

test("a keys folder that cannot be listed is no bug of coffer", async () => {
  const file = put("no-folder", "x");
  await refused("IO_ERROR", ["--keys", file, "key", "list"]);
  await refused("IO_ERROR", ["--store", "my.coffer", "--keys", file, "propose", "acme/tiny"]);
  assert.equal((await coffer(["--keys", "nowhere", "key", "list"])).status, 0);
});

test("a public key whose private half is gone is told, with its code", async () => {
  const [, type, key] = (await coffer(["key", "show", "alice"])).said.split(/\s+/);
  put("alone.pub", `${type} ${key}\n`);
  await refused("FILE_NOT_FOUND", ["--store", "my.coffer", "propose", "acme/tiny", "--key", "alone"]);
});

test("--passphrase-file: the first line, without its CR or LF, as bytes", async () => {
  const propose = (file: string, name: string): readonly string[] => [
    ...["--passphrase-file", file, "--store", `${name}.coffer`, "propose", "acme/tiny", "--key", "locked"],
  ];
  put("first", "open sesame\r\nsecond line\n");
  assert.equal((await coffer(["--passphrase-file", "first", "key", "new", "carol", "--out", "locked"])).status, 0);
  assert.equal((await coffer(["init", "carol.coffer", "--me", "carol", "--key", "locked"])).status, 0);
  put("same", "open sesame");
  put("other", "open sesame\nx");
  put("spaces", "open sesame \n");
  put("late", "\nopen sesame\n");
  await refused("NOT_QUARANTINED", propose("same", "carol"));
  await refused("NOT_QUARANTINED", propose("other", "carol"));
  await refused("PASSPHRASE_WRONG", propose("spaces", "carol"));
  const late = await coffer(propose("late", "carol"));
  assert.match(late.said, /\[PASSPHRASE_(WRONG|NEEDED)\]/);
  await refused("USAGE", propose("fifo", "carol"));
});

describe("makeFolders", () => {
  const at = (path: string): string => join(folder, "made", path);
  test("makes what is missing, with the mode, and is content with what is there", async () => {
    await makeFolders(at("a/b/c"), 0o700);
    for (const path of ["", "a", "a/b", "a/b/c"]) assert.equal(statSync(at(path)).mode & 0o777, 0o700);
    await makeFolders(at("a/b/c"), 0o755);
    await makeFolders("/");
    symlinkSync(at("a"), at("link"));
    await makeFolders(at("link/d"));
    assert.ok(existsSync(at("a/d")));
    await Promise.all([makeFolders(at("race/x/y")), makeFolders(at("race/x/z")), makeFolders(at("race/x/y"))]);
    assert.ok(existsSync(at("race/x/y")) && existsSync(at("race/x/z")));
  });

  test("refuses what is no folder", async () => {
    put("made/file", "x");
    symlinkSync(at("nowhere"), at("dangling"));
    await assert.rejects(makeFolders(at("file")), { code: "EEXIST" });
    await assert.rejects(makeFolders(at("file/below")), { code: "ENOTDIR" });
    await assert.rejects(makeFolders(at("dangling")), { code: "EEXIST" });
    await assert.rejects(makeFolders(at("dangling/below")), { code: "ENOENT" });
  });
});
