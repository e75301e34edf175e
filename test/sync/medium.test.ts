// SPDX-License-Identifier: Apache-2.0
/** Media with what cannot be read, or is no file: told of the bundle that it would belong to, and all others are read. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { CofferError, isCofferError } from "../../src/base/errors.ts";
import type { Files, OpenFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { checkVolumes } from "../../src/sync/check.ts";
import { fromMedium } from "../../src/sync/medium.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openBundles, type Volumes } from "../../src/sync/volumes.ts";
import { everything, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const CODE = "VOLUME_DAMAGED";

interface Stick {
  readonly folder: string;
  readonly good: MadeBundle;
  /** In two volumes. */
  readonly bad: MadeBundle;
}

async function makeStick(t: TestContext): Promise<Stick> {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one", { "model.safetensors": makeSafetensors(60_000, 1) });
  const bad = await volumesOf(fixture.store, ["acme/one"], 68 * 1024);
  assert.equal(bad.volumes.length, 2);
  await fixture.revoke("acme/one");
  const good = await volumesOf(fixture.store, [], undefined, { blobs: false });
  const folder = folderOf(fixture.folder, good);
  return { folder, good, bad };
}

const nameOf = ({ bundle }: MadeBundle, number: number): string => volumeFileName(bundle.index.id, number, 2);

const ioError = (code: string): CofferError =>
  new CofferError("IO_ERROR", `cannot read it: ${code}`, { cause: Object.assign(new Error(code), { code }) });

/** The folder, of which one file answers reads from `from` on with an error. */
function failing(folder: string, path: string, from: number, code = "EIO"): Files {
  const files = subFolder(openRealFiles(dirname(folder)), basename(folder));
  const open = async (name: string): Promise<OpenFile | undefined> => {
    const file = await files.open(name);
    if (name !== path || file === undefined) return file;
    const read = async (buffer: Uint8Array, position: number): Promise<number> => {
      if (position + buffer.length > from) throw ioError(code);
      return file.read(buffer, position);
    };
    return { ...wrapped(file), read };
  };
  return { ...files, open };
}

function wrapped(file: OpenFile): OpenFile {
  return {
    read: (buffer, position) => file.read(buffer, position),
    stat: () => file.stat(),
    place: () => file.place(),
    fsync: () => file.fsync(),
    setMode: (mode) => file.setMode(mode),
    close: () => file.close(),
  };
}

const find = (bundles: readonly Volumes[], { bundle }: MadeBundle): Volumes =>
  bundles.find(({ index }) => index.id === bundle.index.id) ?? assert.fail("not there");

describe("what is no file", () => {
  const KINDS: readonly (readonly [string, (path: string) => void])[] = [
    ["a link", (path) => symlinkSync("/etc/hostname", path)],
    ["a link to nothing", (path) => symlinkSync("nowhere", path)],
    ["a link to itself", (path) => symlinkSync(path, path)],
    ["a fifo", (path) => void execFileSync("mkfifo", [path])],
    ["a folder", (path) => void mkdirSync(path)],
    ["an empty file", (path) => writeFileSync(path, "")],
  ];
  for (const [kind, make] of KINDS) {
    test(`${kind} under the name of a volume`, async (t) => {
      const { folder, good, bad } = await makeStick(t);
      make(join(folder, nameOf(bad, 1)));
      const alone = await openBundles([placeOf(folder)]);
      assert.deepEqual(
        alone.unread.map(({ what, error }) => [what, ["VOLUME_DAMAGED", "BUNDLE_INVALID"].includes(error.code)]),
        [[nameOf(bad, 1), true]],
      );
      assert.ok((await everything(find(alone.bundles, good))).size > 0);
      writeFileSync(join(folder, nameOf(bad, 2)), bad.volumes[1] ?? "");
      const { bundles, unread } = await openBundles([placeOf(folder)]);
      assert.deepEqual(unread, []);
      assert.equal(find(bundles, bad).faults.length, 1);
      assert.deepEqual(find(bundles, bad).missing, ["volume 1 of 2"]);
      assert.deepEqual(find(bundles, good).faults, []);
    });
  }

  test("a file where the folder of what was untarred would lie", async (t) => {
    const { folder, good } = await makeStick(t);
    writeFileSync(join(folder, "bundle"), "no folder\n");
    const { bundles, unread } = await openBundles([placeOf(folder)]);
    assert.equal(bundles.length, 1);
    // Its name claims no bundle, so it is told of the only one there is.
    assert.equal(find(bundles, good).faults.length + unread.length, 1);
  });
});

describe("what cannot be read", () => {
  test("a volume that cannot be opened is a damaged one", async (t) => {
    const { folder, good, bad } = await makeStick(t);
    bad.volumes.forEach((bytes, at) => void writeFileSync(join(folder, nameOf(bad, at + 1)), bytes));
    const place = { ...placeOf(folder), files: failing(folder, nameOf(bad, 2), 0) };
    const { bundles, unread } = await openBundles([place]);
    assert.deepEqual(unread, []);
    assert.deepEqual(
      find(bundles, bad).faults.map(({ what, error }) => [what, error.code]),
      [[nameOf(bad, 2), CODE]],
    );
    assert.match(
      find(bundles, bad).faults[0]?.error.message ?? "",
      /: expected a file, found one that cannot be read \(EIO\)$/,
    );
    assert.ok((await everything(find(bundles, good))).size > 0);
  });

  test("the folder of what was untarred keeps no volume beside it out", async (t) => {
    const { folder, good } = await makeStick(t);
    mkdirSync(join(folder, "bundle"));
    const files = subFolder(openRealFiles(dirname(folder)), basename(folder));
    const shut = <T>(call: (path: string) => Promise<T>, path: string): Promise<T> =>
      path.startsWith("bundle/") ? Promise.reject(ioError("EACCES")) : call(path);
    const stat = (path: string) => shut(files.stat, path);
    const read = (path: string, limit: number) => shut((one) => files.read(one, limit), path);
    const { bundles, unread } = await openBundles([{ ...placeOf(folder), files: { ...files, stat, read } }]);
    assert.ok((await everything(find(bundles, good))).size > 0);
    const told = [...find(bundles, good).faults, ...unread].map(({ error }) => error.message);
    assert.match(told.join("\n"), /: expected a file, found one that cannot be read \(EACCES\)$/);
  });

  test("one that cannot be read further on is told when it is, with what to bring again", async (t) => {
    const { folder, bad } = await makeStick(t);
    bad.volumes.forEach((bytes, at) => void writeFileSync(join(folder, nameOf(bad, at + 1)), bytes));
    // The opening is read in one piece, whatever is asked for, so the fault waits for its second reading.
    let opened = 0;
    const files = subFolder(openRealFiles(dirname(folder)), basename(folder));
    const open = async (name: string): Promise<OpenFile | undefined> => {
      opened += name === nameOf(bad, 1) ? 1 : 0;
      return opened > 1 ? failing(folder, nameOf(bad, 1), 0).open(name) : files.open(name);
    };
    const place = { ...placeOf(folder), files: { ...files, open } };
    const source = find((await openBundles([place])).bundles, bad);
    assert.deepEqual([source.faults, source.missing], [[], []]);
    await assert.rejects(everything(source), (error) => isCofferError(error, CODE));
    const checked = await checkVolumes(source);
    assert.deepEqual([checked.faults.map(({ error }) => error.code), checked.wanted], [[CODE], [1]]);
  });

  test("where this process has no more descriptors no medium is to blame", async (t) => {
    const { folder, good } = await makeStick(t);
    const name = volumeFileName(good.bundle.index.id, 1, 1);
    const place = { ...placeOf(folder), files: failing(folder, name, 0, "EMFILE") };
    await assert.rejects(openBundles([place]), (error) => isCofferError(error, "IO_ERROR"));
  });

  test("errors that are none of a medium pass", async () => {
    for (const error of [new CofferError("NO_SPACE", "full"), new TypeError("ours")])
      await assert.rejects(
        fromMedium("x.tar", () => Promise.reject(error)),
        (one) => one === error,
      );
    await assert.rejects(
      fromMedium("x.tar", () => Promise.reject(new CofferError("IO_ERROR", "x.tar changed while it was being read"))),
      (error) => isCofferError(error, CODE) && /\(it changed\)$/.test(error.message),
    );
  });
});
