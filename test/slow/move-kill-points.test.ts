// SPDX-License-Identifier: Apache-2.0
/**
 * `add --move` stopped at each of its calls, with what was not fsynced lost as one journal would lose it: the bytes are in
 * their old place, in local/incoming, or are the blob of a committed name; and nothing else of the store is harmed.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { add } from "../../src/repo/add.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { MemoryFiles, PowerLoss } from "../support/memory-files.ts";
import { makeWorld, NOW_S, type World } from "../support/memory-store.ts";
import { seededRandom } from "../support/transcripts.ts";

const NAME = parseName("acme/moved@v1");
const BYTES = new TextEncoder().encode("# moved\n");
const SOURCE = "source/README.md";

/** The port on a folder of one disk that stands for the whole machine. */
function below(disk: MemoryFiles, prefix: string): Files {
  const at = (path: string): string => (prefix === "" ? path : path === "." ? prefix : `${prefix}/${path}`);
  return new Proxy<Files>(disk, {
    get(target, member) {
      const value: unknown = Reflect.get(target, member);
      if (typeof value !== "function") return value;
      const paths = member === "rename" || member === "link" ? 2 : 1;
      return (...args: unknown[]) =>
        value.apply(
          target,
          args.map((arg, index) => (index < paths && typeof arg === "string" ? at(arg) : arg)),
        );
    },
  });
}

async function machineOf({ disks, location }: World): Promise<MemoryFiles> {
  const disk = new MemoryFiles();
  for (const [path, bytes] of disks.store.snapshot()) disk.plant(join(location.root.slice(1), path), bytes);
  for (const [path, bytes] of disks.state.snapshot()) disk.plant(join("state", path), bytes, 0o600);
  for (const folder of ["local", "local/tmp"]) disk.plant(join(location.root.slice(1), folder, "x"), BYTES);
  for (const folder of ["local", "local/tmp"]) {
    await disk.remove(join(location.root.slice(1), folder, "x"));
    await disk.fsyncFolder(join(location.root.slice(1), folder));
  }
  disk.plant(SOURCE, BYTES, 0o644);
  return disk;
}

function openOnMachine({ location }: World, disk: MemoryFiles, seed: string): Promise<Store> {
  const folders = new Map([
    [location.root, location.root.slice(1)],
    [location.state, "state"],
    ["/source", "source"],
    ["/", ""],
  ]);
  return openStore(location, {
    clock: () => NOW_S,
    random: seededRandom(seed),
    sleep: () => Promise.resolve(),
    openFolder: (path) => below(disk, folders.get(path) ?? assert.fail(path)),
  });
}

const moveIt = (store: Store) =>
  add(store, {
    name: NAME,
    keep: false,
    move: true,
    files: [{ path: parseManifestPath("README.md"), folder: "/source", file: "README.md" }],
  });

test("add --move stopped at every call loses nothing", { timeout: 600_000 }, async () => {
  const world = await makeWorld();
  const machine = await machineOf(world);
  const whole = machine.crash("none-lost");
  const store = await openOnMachine(world, whole, "whole");
  const from = whole.calls;
  await moveIt(store);
  const calls = whole.calls - from;
  assert.ok(calls > 40, `${calls} calls`);
  const seen = new Set<string>();
  for (const mode of ["none-lost", "all-lost"] as const) {
    for (let at = 1; at <= calls; at += 1) {
      const where = `call ${at}, ${mode}`;
      const running = machine.crash("none-lost");
      const act = await openOnMachine(world, running, `act ${at}`);
      running.fault = { at: running.calls + at, kind: "stop" };
      await assert.rejects(moveIt(act), PowerLoss, where);
      const left = running.crash(mode, at);
      const again = await openOnMachine(world, left, "again");
      assert.deepEqual((await fsck(again)).problems, [], where);
      const files = left.snapshot();
      const same = (path: string): boolean => Buffer.compare(files.get(path) ?? new Uint8Array(), BYTES) === 0;
      const root = `${world.location.root.slice(1)}/`;
      const taken = [...files.keys()].filter((path) => path.startsWith(`${root}local/incoming/`) && same(path));
      const named = (await (await again.head()).readRef(nameRef("quarantined", NAME))) !== undefined;
      const kept = same(SOURCE) ? "source" : taken.length > 0 ? "incoming" : named ? "store" : "lost";
      assert.notEqual(kept, "lost", where);
      if (kept === "incoming" && !named) {
        const note = new TextDecoder().decode(files.get(`${taken[0]}.from`));
        assert.equal(note, "/source/README.md\n", where);
      }
      if (named) assert.ok(same(`${root}${blobPath(sha256(BYTES))}`), where);
      seen.add(kept);
    }
  }
  assert.deepEqual([...seen].sort(), ["incoming", "source", "store"]);
});
