// SPDX-License-Identifier: Apache-2.0
/** Stores on file systems that lack something: mounted for real where this machine can, else told by the port. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { fileError } from "../../src/objects/file-errors.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { type Diagnosis, examineStore } from "../../src/repo/doctor.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { realMachine } from "../../src/repo/machine.ts";
import { checkout, pathOf } from "../../src/repo/materialise.ts";
import type { StoreLocation } from "../../src/repo/ports.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const weights = (seed: number): Record<string, Uint8Array> => ({ "model.safetensors": makeSafetensors(1000, seed) });

function refused(promise: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  return assert.rejects(promise, (error) => isCofferError(error, ...codes));
}

/** Mounts by `commands`, runs `act`, and undoes the mount; skips where this machine does not let us mount. */
async function whileMounted(
  t: TestContext,
  at: string,
  commands: readonly (readonly string[])[],
  act: () => Promise<void>,
): Promise<void> {
  let isMounted = false;
  try {
    for (const [command = "", ...args] of commands) {
      const { status } = spawnSync(command, args);
      if (status !== 0) return t.skip("this machine mounts nothing for tests");
      isMounted ||= command === "mount";
    }
    await act();
  } finally {
    if (isMounted) spawnSync("umount", [at]);
  }
}

/** For `whileMounted`: what lies in `folder` is seen at `at`, and cannot be changed there. */
const readOnly = (folder: string, at: string): readonly (readonly string[])[] => [
  ["mount", "--bind", folder, at],
  ["mount", "-oremount,bind,ro", at],
];

test("a store on a read-only medium is read: resolve, path --to, fsck; what would write says so", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust(NAME.text, weights(1));
  const { location, ports } = fixture;
  const at = join(fixture.folder, "medium");
  mkdirSync(at);
  const saysReadOnly = (error: unknown): boolean => isCofferError(error, "READ_ONLY");
  await whileMounted(t, at, readOnly(location.root, at), async () => {
    const store = await openStore({ ...location, root: at }, { ...ports, machine: realMachine });
    assert.equal((await resolve(store, NAME)).verdict.trusted, true);
    assert.equal((await fsck(store)).exit, 0);
    const to = join(fixture.folder, "laid");
    for (const _ of [1, 2]) assert.ok(existsSync((await pathOf(store, NAME, undefined, to)).path));
    const instead =
      "`coffer path acme/tiny@main --to FOLDER` or `coffer checkout acme/tiny@main FOLDER` lays the files elsewhere";
    const message = `cannot make a folder in local/checkouts of the store (EROFS); ${instead}`;
    await assert.rejects(pathOf(store, NAME), { code: "READ_ONLY", message });
    const { folder } = await checkout(store, NAME, join(fixture.folder, "checked-out"));
    assert.ok(existsSync(join(folder, "model.safetensors")));
    const within = join(at, "within");
    await assert.rejects(checkout(store, NAME, within), {
      code: "READ_ONLY",
      message: /^cannot make a folder in medium /,
    });
    await assert.rejects(fixture.revoke(NAME.text, "late", store), saysReadOnly);
    assert.equal((await resolve(store, NAME)).verdict.trusted, true, "nothing was begun");
  });
});

test("doctor says of a store on a read-only medium that nothing can be added there", async (t) => {
  const fixture = await makeStoreFixture(t);
  const at = join(fixture.folder, "medium");
  mkdirSync(at);
  const said = async (location: StoreLocation): Promise<readonly string[]> => {
    const found: Diagnosis[] = [];
    await examineStore(location, fixture.ports, (one) => found.push(one));
    return found.flatMap(({ what, level, text }) =>
      what === "writing" || what === "store key" ? [`${level} ${what}: ${text}`] : [],
    );
  };
  await whileMounted(t, at, readOnly(fixture.location.root, at), async () => {
    const cannot = "warn writing: the file system is read-only: nothing can be added here";
    const medium = { ...fixture.location, root: at };
    assert.deepEqual(await said(medium), [cannot, "ok store key: this account holds it"]);
    const without = await said({ ...medium, secrets: join(fixture.folder, "nowhere") });
    assert.deepEqual(without, [cannot, "warn store key: not here: this account can read, not write"]);
    assert.deepEqual(await said(fixture.location), ["ok store key: this account holds it: it can write"]);
  });
});

test("what lies in a file that is mounted gets no receipt: that file can be written behind it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-loop-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [image, at] = [join(folder, "image"), join(folder, "at")];
  mkdirSync(at);
  const fd = openSync(image, "w");
  ftruncateSync(fd, 64 * 1024 * 1024);
  closeSync(fd);
  const commands = [
    ["mkfs.ext4", "-q", image],
    ["mount", "-o", "loop", image, at],
  ];
  await whileMounted(t, at, commands, async () => {
    writeFileSync(join(at, "file"), "x", { mode: 0o444 });
    const file = await openRealFiles(at).open("file");
    const place = await file?.place();
    await file?.close();
    assert.deepEqual([place?.fileSystem, place?.medium], ["ext4", "loop"]);
  });
});

/** The port on a file system without hard links, as FAT and exFAT are (EPERM) or some shares (EOPNOTSUPP). */
function withoutLinks(files: Files, code: string): Files {
  return new Proxy(files, {
    get(target, member) {
      if (member === "link") {
        return async (_from: string, to: string) => {
          throw fileError(Object.assign(new Error(code), { code }), "link", to);
        };
      }
      const value: unknown = Reflect.get(target, member);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("without hard links init refuses and leaves nothing; a store that was copied there is read, and not written", async (t) => {
  for (const code of ["EPERM", "EOPNOTSUPP", "ENOSYS"]) {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, weights(1));
    const ports = { ...fixture.ports, openFolder: (path: string) => withoutLinks(openRealFiles(path), code) };
    const store = await openStore(fixture.location, ports);
    assert.equal((await resolve(store, NAME)).verdict.trusted, true);
    assert.equal((await fsck(store)).exit, 0);
    const { number } = await store.head();
    await refused(fixture.revoke(NAME.text, "late", store), "FILE_SYSTEM_UNFIT");
    assert.equal((await (await fixture.open()).head()).number, number);
    await refused(makeStoreFixture(t, undefined, { openFolder: ports.openFolder }), "FILE_SYSTEM_UNFIT");
  }
});

/** All names that the port is asked to make in the store. */
function recording(files: Files, made: Set<string>): Files {
  return new Proxy(files, {
    get(target, member) {
      const value: unknown = Reflect.get(target, member);
      if (typeof value !== "function") return value;
      const act = value.bind(target) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        const at = { create: 0, makeFolder: 0, link: 1, rename: 1 }[String(member)];
        if (at !== undefined) made.add(String(args[at]));
        return act(...args);
      };
    },
  });
}

test("no name in a store needs capitals: nothing collides where case is folded", async (t) => {
  const made = new Set<string>();
  const openFolder = (path: string): Files =>
    path.includes("my.coffer") ? recording(openRealFiles(path), made) : openRealFiles(path);
  const fixture = await makeStoreFixture(t, undefined, { openFolder });
  await fixture.trust("Acme/TINY@Q4_K_M", weights(1));
  await fixture.trust("acme/tiny@q8", weights(2));
  await fixture.revoke("acme/tiny@q8");
  assert.ok(made.size > 500);
  assert.deepEqual(
    [...made].filter((path) => path !== path.toLowerCase()),
    [],
  );
});

test("what NFS keeps of a file that was replaced while it was read is told, and is no damage", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust(NAME.text, weights(1));
  const { root } = fixture.location;
  const silly = ".nfs00000000018c0a2b00000001";
  for (const folder of ["objects/ab", "blobs/cd", "signatures/ef", "local/tmp"]) {
    writeFileSync(join(root, folder, silly), "old");
  }
  const report = await fsck(await fixture.open());
  assert.equal(report.exit, 0);
  assert.equal(report.notes.filter((note) => note.includes(silly)).length, 2);
  await fixture.trust("acme/next", weights(2));
  assert.ok(readdirSync(join(root, "objects/ab")).includes(silly), "nobody removes what NFS still needs");
});
