// SPDX-License-Identifier: Apache-2.0
/**
 * Real folders whose open files tell a place of the test's choice, and count what is read of them. Layer: test support.
 */
import type { FilePlace, FileStat, Files, NewFile, OpenFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import type { Ports } from "../../src/repo/ports.ts";

/** A machine that the test turns as it likes; to be handed to `makeStoreFixture` as changes to the ports. */
export interface WatchedMachine extends Pick<Ports, "openFolder" | "machine" | "sleep"> {
  place: FilePlace | undefined;
  boot: string | undefined;
  /** How far its clock is ahead of the real one, in seconds. */
  aheadS: number;
  /** What its clock says for as long as this is set, however much time passes meanwhile. */
  standsAtNs: bigint | undefined;
  account: number | undefined;
  /** What is told of a file beside what is true. */
  told: Partial<FileStat>;
  /** Bytes read of open files below each folder that was opened. */
  readonly bytesRead: Map<string, number>;
  /** Bytes read below `folder` since the last time that this was asked. */
  readSince(folder: string): number;
}

const LOCAL_DISK: FilePlace = { mount: 27, fileSystem: "ext4", medium: "fixed" };

export function watchedMachine(): WatchedMachine {
  const machine: WatchedMachine = {
    place: LOCAL_DISK,
    boot: "6f1d2c34-0000-4000-8000-000000000001",
    aheadS: 60,
    standsAtNs: undefined,
    account: process.geteuid?.(),
    told: {},
    bytesRead: new Map(),
    readSince(folder) {
      let sum = 0;
      for (const [path, count] of machine.bytesRead) {
        if (!path.startsWith(folder)) continue;
        sum += count;
        machine.bytesRead.delete(path);
      }
      return sum;
    },
    openFolder: (path) => watched(openRealFiles(path), path, machine),
    machine: {
      bootId: () => machine.boot,
      nowNs: () => machine.standsAtNs ?? BigInt(Date.now() + machine.aheadS * 1000) * 1_000_000n,
      account: () => machine.account,
    },
    sleep: () => Promise.resolve(),
  };
  return machine;
}

function watched(files: Files, root: string, machine: WatchedMachine): Files {
  return new Proxy(files, {
    get(target, member) {
      const value: unknown = Reflect.get(target, member);
      if (typeof value !== "function") return value;
      const act = value.bind(target) as (...args: unknown[]) => Promise<unknown>;
      if (member !== "open" && member !== "create") return act;
      return async (...args: unknown[]) => {
        const file = (await act(...args)) as NewFile | undefined;
        return file && watchedFile(file, root, machine);
      };
    },
  });
}

function watchedFile<T extends OpenFile>(file: T, root: string, machine: WatchedMachine): T {
  return new Proxy(file, {
    get(target, member) {
      if (member === "place") return async () => machine.place;
      if (member === "stat") return async () => ({ ...(await target.stat()), ...machine.told });
      if (member === "read") {
        return async (buffer: Uint8Array, position: number) => {
          const count = await target.read(buffer, position);
          machine.bytesRead.set(root, (machine.bytesRead.get(root) ?? 0) + count);
          return count;
        };
      }
      const value: unknown = Reflect.get(target, member);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
