// SPDX-License-Identifier: Apache-2.0
/** A small file system of its own, mounted for a test and filled to its last block or inode. Layer: test support. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemCode } from "../../src/base/errors.ts";

const FILLER = "filler-";

interface Ending {
  after(act: () => unknown): void;
}

/** One of allowed-skips.json. */
export const MAY_NOT_MOUNT = "this machine mounts nothing for tests";

export class SmallDisk {
  /** Where it is mounted. */
  readonly root: string;
  #fillers = 0;

  private constructor(root: string) {
    this.root = root;
  }

  /** In memory, below `folder`; undefined where this account may not mount. @param options - `size=24m`, `nr_inodes=1400` */
  static inMemory(ending: Ending, folder: string, options: string): SmallDisk | undefined {
    return SmallDisk.#mount(ending, folder, ["-t", "tmpfs", "-o", options, "none"]);
  }

  /** ext4 in a file below `folder`, where room is given out when bytes are written out. */
  static onLoop(ending: Ending, folder: string, sizeBytes: number): SmallDisk | undefined {
    const image = join(folder, "disk.image");
    const file = openSync(image, "w");
    ftruncateSync(file, sizeBytes);
    closeSync(file);
    if (spawnSync("mkfs.ext4", ["-q", "-m", "0", image]).status !== 0) return undefined;
    return SmallDisk.#mount(ending, folder, ["-o", "loop", image]);
  }

  static #mount(ending: Ending, folder: string, args: readonly string[]): SmallDisk | undefined {
    const root = join(folder, "disk");
    mkdirSync(root);
    if (spawnSync("mount", [...args, root]).status !== 0) return undefined;
    ending.after(() => execFileSync("umount", ["-l", root]));
    return new SmallDisk(root);
  }

  /** Takes the last byte, but for as many as are left on purpose. */
  fill(leftBytes = 0): void {
    const left = join(this.root, `${FILLER}left`);
    if (leftBytes > 0) writeFileSync(left, Buffer.alloc(leftBytes, 1));
    for (let sizeBytes = 1024 * 1024; sizeBytes > 0; this.#fillers += 1) {
      const path = join(this.root, `${FILLER}${sizeBytes}-${this.#fillers}`);
      if (!attempted(() => writeFileSync(path, Buffer.alloc(sizeBytes, 1), { flush: true }))) sizeBytes >>= 1;
    }
    rmSync(left, { force: true });
  }

  /** Takes the last inode. */
  fillInodes(): void {
    const take = () => writeFileSync(join(this.root, `${FILLER}inode-${this.#fillers}`), "");
    while (attempted(take)) this.#fillers += 1;
  }

  /** Takes all of it back. */
  empty(): void {
    for (const name of readdirSync(this.root)) if (name.startsWith(FILLER)) rmSync(join(this.root, name));
  }
}

/** False if there is no room. */
function attempted(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    assert.equal(systemCode(error), "ENOSPC");
    return false;
  }
}
