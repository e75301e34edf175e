// SPDX-License-Identifier: Apache-2.0
/** A store of one person in a temporary folder, worked on by the command as built, for benches of large files. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeSafetensors } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { commandOf } from "./command.ts";

export class Scratch {
  readonly folder = mkdtempSync(join(tmpdir(), "coffer-bench-"));
  readonly store = join(this.folder, "my.coffer");
  readonly env: NodeJS.ProcessEnv = { ...process.env, HOME: this.folder, XDG_STATE_HOME: join(this.folder, "state") };

  constructor() {
    this.coffer("key", "new", "alice", "--no-passphrase");
    this.coffer("init", this.store, "--me", "alice");
  }

  end(): void {
    rmSync(this.folder, { recursive: true });
  }

  /** @returns what it printed. @throws Error - any status but 0 */
  coffer(...args: readonly string[]): string {
    return this.run(process.execPath, commandOf(), ...args);
  }

  run(command: string, ...args: readonly string[]): string {
    const run = spawnSync(command, args, { cwd: this.folder, env: this.env, encoding: "utf8" });
    if (run.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${run.error?.message ?? run.stderr}`);
    return run.stdout;
  }

  /** A safetensors file of `sizeBytes` random bytes. @returns its path */
  model(file: string, sizeBytes: number): string {
    const path = join(this.folder, file);
    const data = randomBytes(sizeBytes);
    writeFileSync(path, encodeSafetensors([{ name: "weight", dtype: "U8", shape: [sizeBytes], data }]));
    return path;
  }

  /** Other bytes at the end of a model, which makes it one that no store has. */
  alter(path: string): void {
    const fd = openSync(path, "r+");
    writeSync(fd, randomBytes(32), 0, 32, statSync(path).size - 32);
    closeSync(fd);
  }

  /** An empty folder, in place of what was there. */
  empty(name: string): string {
    const path = join(this.folder, name);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
    return path;
  }
}
