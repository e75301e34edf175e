// SPDX-License-Identifier: Apache-2.0
/**
 * The built CLI on a real file system without room, and without inodes: `add` fails cleanly, a name can be revoked all the
 * same, and the store makes its reserve again once there is room. Also a file system that was mounted read-only, and
 * a process that may open few files.
 */
import assert from "node:assert/strict";
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { builtCli, type Ended, runCli } from "../support/cli-process.ts";
import { MAY_NOT_MOUNT, SmallDisk } from "../support/small-disk.ts";

const PIECES = 64;

class Disk {
  readonly folder: string;
  readonly disk: SmallDisk;
  readonly store: string;
  readonly home: string;

  private constructor(folder: string, disk: SmallDisk, everything: boolean) {
    this.folder = folder;
    this.disk = disk;
    this.store = join(disk.root, "my.coffer");
    this.home = join(everything ? disk.root : folder, "home");
    mkdirSync(this.home);
  }

  /** undefined where this account may not mount. @param everything - keys and memory lie on that disk as well */
  static mount(t: TestContext, options: string, everything: boolean): Disk | undefined {
    const folder = mkdtempSync(join(tmpdir(), "coffer-full-"));
    const disk = SmallDisk.inMemory(t, folder, options);
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    return disk && new Disk(folder, disk, everything);
  }

  run(...args: string[]): Promise<Ended> {
    return runCli(args, { home: this.home, cwd: this.folder });
  }

  async must(...args: string[]): Promise<Ended> {
    const ended = await this.run(...args);
    assert.equal(ended.status, 0, `coffer ${args.join(" ")}: ${ended.stderr}`);
    return ended;
  }

  async refused(status: number, code: string, ...args: string[]): Promise<Ended> {
    const before = this.content();
    const ended = await this.run(...args);
    assert.equal(ended.status, status, `coffer ${args.join(" ")}: ${ended.stdout}${ended.stderr}`);
    assert.match(ended.stderr, new RegExp(`\\[${code}\\]`));
    assert.deepEqual(this.content(), before, `coffer ${args.join(" ")}`);
    return ended;
  }

  /** acme/one and acme/two are trusted, acme/three waits in quarantine. */
  async makeStore(): Promise<void> {
    await this.must("key", "new", "alice", "--no-passphrase");
    await this.must("init", this.store, "--me", "alice");
    for (const [at, name] of ["one", "two", "three"].entries()) {
      await this.must("add", this.model(at), "--name", `acme/${name}`, "--store", this.store);
      if (name !== "three") await this.must("promote", `acme/${name}`, "--store", this.store);
    }
  }

  model(seed: number): string {
    const path = join(this.folder, `m${seed}.gguf`);
    writeFileSync(path, makeTinyGguf({ seed: seed + 1 }));
    return path;
  }

  /** Every file of the store with its SHA-256. */
  content(): Map<string, string> {
    const found = new Map<string, string>();
    for (const entry of readdirSync(this.store, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) found.set(path, createHash("sha256").update(readFileSync(path)).digest("hex"));
    }
    return found;
  }

  reserve(): number {
    return readdirSync(join(this.store, "local", "reserve")).length;
  }
}

const CASES = [
  ["no room", "size=24m", false, "fill"],
  ["no room, for keys and memory neither", "size=24m", true, "fill"],
  ["no inodes", "nr_inodes=1400", false, "fillInodes"],
  ["no inodes, for keys and memory neither", "nr_inodes=1400", true, "fillInodes"],
] as const;

for (const [what, options, everything, fill] of CASES) {
  test(`${what}: nothing is added, and names are revoked all the same`, async (t) => {
    const disk = Disk.mount(t, options, everything);
    if (disk === undefined) return t.skip(MAY_NOT_MOUNT);
    await disk.makeStore();
    assert.equal(disk.reserve(), PIECES);
    const at = ["--store", disk.store];
    disk.disk[fill]();
    await disk.refused(10, "NO_SPACE", "add", disk.model(7), "--name", "acme/seven", ...at);
    await disk.refused(10, "NO_SPACE", "promote", "acme/three", ...at);
    for (const name of ["acme/one", "acme/two"]) {
      const { stderr } = await disk.must("revoke", name, "--yes", "--reason", "found out", ...at);
      assert.match(stderr, /warning: the disk is full: this was done with the space that the store keeps back/);
      assert.match(stderr, /is revoked by alice/);
      await disk.refused(3, "REVOKED", "resolve", name, "--no-memory", ...at);
      disk.disk[fill]();
    }
    await disk.must("fsck", ...at);
    t.diagnostic(`after two revocations without room ${disk.reserve()} of ${PIECES} pieces of the reserve are left`);
    disk.disk.empty();
    await disk.must("add", disk.model(7), "--name", "acme/seven", ...at);
    assert.equal(disk.reserve(), PIECES);
    assert.deepEqual(JSON.parse((await disk.must("fsck", "--json", ...at)).stdout).problems, []);
  });
}

test("a read-only file system: reading goes on, every act says so at once and changes nothing", async (t) => {
  const disk = Disk.mount(t, "size=24m", false);
  if (disk === undefined) return t.skip(MAY_NOT_MOUNT);
  await disk.makeStore();
  const at = ["--store", disk.store];
  execFileSync("mount", ["-o", "remount,ro", disk.disk.root]);
  await disk.must("resolve", "acme/one", ...at);
  for (const args of [
    ["add", disk.model(7), "--name", "acme/seven"],
    ["promote", "acme/three"],
    ["revoke", "acme/one", "--yes"],
    ["init", join(disk.disk.root, "other.coffer"), "--me", "alice"],
  ]) {
    const { stderr } = await disk.refused(8, "READ_ONLY", ...args, ...(args[0] === "init" ? [] : at));
    assert.match(stderr, /read-only|EROFS/);
  }
  await disk.must("fsck", ...at);
});

test("a process that may open few files fails by name or succeeds, and stores nothing halfway", async (t) => {
  const disk = Disk.mount(t, "size=64m", false);
  if (disk === undefined) return t.skip(MAY_NOT_MOUNT);
  await disk.makeStore();
  const models = join(disk.folder, "models");
  mkdirSync(models);
  for (let number = 0; number < 70; number += 1) writeFileSync(join(models, `n${number}.json`), `{"n": ${number}}`);
  const args = ["add", models, "--name", "acme/many", "--store", disk.store];
  let refused = 0;
  for (let most = 20; ; most += 1) {
    const before = disk.content();
    const limited = `ulimit -n ${most}; exec "$@"`;
    const env: NodeJS.ProcessEnv = {
      PATH: process.env["PATH"],
      HOME: disk.home,
      XDG_STATE_HOME: join(disk.home, "state"),
      NO_COLOR: "1",
    };
    const ended: SpawnSyncReturns<string> = spawnSync(
      "sh",
      ["-c", limited, "sh", process.execPath, builtCli(), ...args],
      {
        env,
        encoding: "utf8",
      },
    );
    if (ended.status === 0) break;
    assert.ok(most < 200, ended.stderr);
    // Below some number Node itself does not start, or cannot load our modules.
    if (!/\[[A-Z_]+\]$/m.test(ended.stderr) || /open '[^']*\/dist\/|Cannot find (package|module)/.test(ended.stderr))
      continue;
    refused += 1;
    assert.equal(ended.status, 10, ended.stderr);
    assert.match(ended.stderr, /too many files are open \(EMFILE\)|\(EMFILE\)/);
    const now = disk.content();
    for (const path of before.keys()) assert.equal(now.get(path), before.get(path), path);
    assert.deepEqual(readdirSync(join(disk.store, "local", "tmp")), [], ended.stderr);
  }
  t.diagnostic(`${refused} limits were too low and were told`);
  await disk.must("fsck", "--store", disk.store);
});
