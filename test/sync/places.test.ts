// SPDX-License-Identifier: Apache-2.0
/** How much is looked at on media: past a bound all of it is refused, with what was found and what to do, and named alone it is taken. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { CofferError, isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { subFolder } from "../../src/objects/sub-folder.ts";
import { type Fault, openBundles, type Place } from "../../src/sync/volumes.ts";
import { makeReader, sealTo } from "../support/age.ts";
import { everything, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const THEN = "take one folder at a time, or name the volumes of one bundle";

async function refused(act: () => Promise<unknown>, text: string): Promise<void> {
  await assert.rejects(act, (error) => {
    assert.ok(isCofferError(error, "LIMIT_EXCEEDED"), String(error));
    assert.equal(error.message, `${text}: ${THEN}`);
    return true;
  });
}

interface Stick {
  readonly folder: string;
  readonly denials: MadeBundle;
  /** The volume that tells what is revoked. */
  readonly name: string;
}

async function makeStick(t: TestContext): Promise<Stick> {
  const { store, folder, trust, revoke } = await makeStoreFixture(t);
  await trust("acme/one", { "model.safetensors": makeSafetensors(100, 1) });
  await revoke("acme/one");
  const denials = await volumesOf(store, [], undefined, { blobs: false });
  const stick = folderOf(folder, denials);
  return { folder: stick, denials, name: readdirSync(stick)[0] ?? assert.fail("no volume") };
}

/** File names of volumes of so many bundles. */
const junkNames = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => {
    return `${createHash("sha256").update(`${at}`).digest("hex").slice(0, 12)}-0001-of-0001.tar`;
  });

test("junk beside a revocation: all of the stick is refused, and its volume alone is taken", async (t) => {
  const { folder, name } = await makeStick(t);
  const bounds = { ...LIMITS, mediaBundles: 8 };
  const [extra = "", ...junk] = junkNames(8);
  for (const one of junk) writeFileSync(join(folder, one), "junk");
  const { bundles, unread } = await openBundles([placeOf(folder)], bounds);
  assert.deepEqual([bundles.length, unread.length], [1, 7]);
  writeFileSync(join(folder, extra), "junk");
  const first = readdirSync(folder)
    .sort()
    .find((one) => one !== name);
  await refused(
    () => openBundles([placeOf(folder)], bounds),
    `${first}: expected at most 8 bundles together, with those that cannot be read, found 9`,
  );
  const alone = await openBundles([placeOf(folder, name)], bounds);
  assert.ok(alone.bundles[0] !== undefined && (await everything(alone.bundles[0])).size > 0);
});

test("a volume is found under whatever name people or media gave it; links, other archives and pipes are none", async (t) => {
  const { folder, name } = await makeStick(t);
  const [stem = ""] = name.split(".");
  for (const other of [name.toUpperCase(), `${stem} (1).tar`, "hello.bin", "other-0003-of-0009.tar"]) {
    const stick = join(folder, "..", `stick of ${other}`);
    mkdirSync(stick);
    copyFileSync(join(folder, name), join(stick, other));
    writeFileSync(join(stick, "photos.tar"), "x".repeat(10_240));
    writeFileSync(join(stick, "empty.tar"), "");
    copyFileSync(join(folder, name), join(stick, ".coffer-part-1"));
    symlinkSync(join(folder, name), join(stick, "link.tar"));
    execFileSync("mkfifo", [join(stick, "pipe.tar")]);
    const { bundles, unread } = await openBundles([placeOf(stick)]);
    assert.deepEqual([bundles.map(({ what }) => what), unread], [[other], []]);
  }
});

test("an encrypted volume is found under whatever name it has; another age file is no more than a note", async (t) => {
  const { folder, denials, name } = await makeStick(t);
  const [me, other] = [await makeReader(), await makeReader()];
  const { volumes } = denials;
  const sealed = await sealTo(me.sealing, volumes[0] ?? assert.fail("no volume"));
  const stick = join(folder, "..", "sealed");
  mkdirSync(stick);
  const put = (file: string, bytes: Uint8Array): void => writeFileSync(join(stick, file), bytes);
  put("from the bank", sealed);
  put("armored.txt", Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n"));
  put("cut.age", sealed.subarray(0, -1));
  put("diary.age", await sealTo(me.sealing, Buffer.from("dear diary")));
  put("header.age", Buffer.from("age-encryption.org/v1\n"));
  put("later.age", Buffer.from("age-encryption.org/v9\n-> X25519 a\n"));
  put("theirs.age", await sealTo(other.sealing, Buffer.from("not yours")));
  const notes = {
    "armored.txt": "UNSUPPORTED",
    "cut.age": "VOLUME_DAMAGED",
    "diary.age": "VOLUME_DAMAGED",
    "header.age": "VOLUME_DAMAGED",
    "later.age": "UNSUPPORTED",
    "theirs.age": "IDENTITY_WRONG",
  };
  const told = (passedOver: readonly Fault[]) =>
    Object.fromEntries(passedOver.map(({ what, error }) => [what, error.code]));
  const place = placeOf(stick);
  const found = await openBundles([{ ...place, unlock: me.unlock }]);
  assert.deepEqual(
    [found.bundles.map(({ what, sealed }) => [what, sealed]), found.unread],
    [[["from the bank", true]], []],
  );
  assert.deepEqual(told(found.passedOver), notes);
  for (const { what, error } of found.passedOver) assert.ok(error.message.startsWith(`${what}: `), error.message);
  assert.ok((await everything(found.bundles[0] ?? assert.fail("none"))).size > 0);
  // Without an identity the clear volume beside them is taken, and each of them is told.
  copyFileSync(join(folder, name), join(stick, name));
  const without = await openBundles([place]);
  assert.deepEqual([without.bundles.map(({ what }) => what), without.unread], [[name], []]);
  const locked = { "cut.age": "IDENTITY_NEEDED", "diary.age": "IDENTITY_NEEDED", "from the bank": "IDENTITY_NEEDED" };
  assert.deepEqual(told(without.passedOver), { ...notes, ...locked, "theirs.age": "IDENTITY_NEEDED" });
  // Alone they are no volumes; each may be named as one.
  const alone = placeOf(stick, "theirs.age");
  assert.deepEqual(
    (await openBundles([alone])).unread.map(({ error }) => error.code),
    ["IDENTITY_NEEDED"],
  );
  for (const file of [name, "from the bank"]) rmSync(join(stick, file));
  await assert.rejects(openBundles([{ ...place, unlock: me.unlock }]), (error) => {
    assert.ok(isCofferError(error, "FILE_NOT_FOUND"), String(error));
    assert.equal(error.details.length, Object.keys(notes).length);
    return true;
  });
});

test("a file in a bad sector, by another name than volumes have, is told by its name, and stops nothing", async (t) => {
  const { denials, name } = await makeStick(t);
  const volume = denials.volumes[0] ?? assert.fail("no volume");
  for (const at of ["stat", "open", "file.read", "file.close"] as const) {
    const files = new MemoryFiles();
    files.plant(name, volume);
    files.plant("holiday.jpg", new Uint8Array(5000));
    files.plant("renamed", volume);
    files.before = (call, path) => {
      if (call === at && path === "renamed") files.fault = { at: files.calls, kind: "fail", code: "EIO" };
    };
    const place = { files, path: ".", what: "the stick" };
    const { bundles, unread, passedOver } = await openBundles([place]);
    assert.deepEqual([bundles.map(({ what, faults }) => [what, faults]), unread], [[[name, []]], []], at);
    const text = "renamed: expected a file, found one that cannot be read (EIO)";
    assert.deepEqual(
      passedOver.map(({ error }) => error.message),
      [text],
      at,
    );
    await files.remove(name);
    await assert.rejects(openBundles([place]), (error) => {
      assert.ok(isCofferError(error, "FILE_NOT_FOUND"), String(error));
      assert.deepEqual(error.details, [text]);
      return true;
    });
  }
});

test("a volume that goes away is damage of its own, and what this process lacks is never taken for another file", async (t) => {
  const { folder, name } = await makeStick(t);
  const place = placeOf(folder);
  // An object of functions, so that single calls can be replaced.
  const calls = subFolder(placeOf(dirname(folder)).files, basename(folder));
  const gone: Place = { ...place, files: { ...calls, open: async () => undefined } };
  const { bundles, unread } = await openBundles([gone]);
  assert.deepEqual([bundles, unread.map(({ what, error }) => [what, error.code])], [[], [[name, "VOLUME_DAMAGED"]]]);
  writeFileSync(join(folder, "renamed"), "x");
  const lack = new CofferError("IO_ERROR", "no more", { cause: Object.assign(new Error(), { code: "EMFILE" }) });
  const files = { ...calls, open: () => Promise.reject(lack) };
  await assert.rejects(openBundles([{ ...place, files }]), { code: "IO_ERROR" });
});

test("of two copies of a volume the whole one is read, whichever comes first, and the damage of the other is told", async (t) => {
  const { folder, name } = await makeStick(t);
  const bad = join(folder, "..", "bad");
  mkdirSync(bad);
  const bytes = readFileSync(join(folder, name));
  bytes[bytes.length - 3000] = (bytes.at(-3000) ?? 0) ^ 1;
  writeFileSync(join(bad, name), bytes);
  const told = async (...places: Place[]): Promise<readonly string[]> => {
    const [bundle = assert.fail("none")] = (await openBundles(places)).bundles;
    const [whole = assert.fail("none")] = (await openBundles([placeOf(folder)])).bundles;
    assert.deepEqual(await everything(bundle), await everything(whole));
    return bundle.faults.map(({ what }) => what);
  };
  assert.deepEqual(await told(placeOf(bad), placeOf(folder)), [name]);
  assert.deepEqual(await told(placeOf(folder), placeOf(bad)), []);
  assert.deepEqual(await told(placeOf(bad), placeOf(bad), placeOf(folder)), [name, name]);
});

test("bundles and their indexes have bounds together", async (t) => {
  const { store, folder, trust } = await makeStoreFixture(t);
  const made: MadeBundle[] = [];
  for (const number of [1, 2, 3]) {
    await trust(`acme/m${number}`, { "model.safetensors": makeSafetensors(100, number) });
    made.push(await volumesOf(store, [`acme/m${number}`]));
  }
  const folders = made.map((one) => folderOf(folder, one));
  const places = folders.map((one) => placeOf(one));
  assert.equal((await openBundles(places, { ...LIMITS, mediaBundles: 3 })).bundles.length, 3);
  const last = readdirSync(folders[2] ?? "")[0];
  await refused(
    () => openBundles(places, { ...LIMITS, mediaBundles: 2 }),
    `${last}: expected at most 2 bundles together, found more`,
  );
  const bytes = made.reduce((sum, { bundle }) => sum + bundle.index.bytes.length, 0);
  assert.equal((await openBundles([...places, ...places], { ...LIMITS, mediaIndexBytes: bytes })).bundles.length, 3);
  await refused(
    () => openBundles(places, { ...LIMITS, mediaIndexBytes: bytes - 1 }),
    `${last}: expected at most ${bytes - 1} bytes of indexes together, found ${bytes}`,
  );
});

test("volumes have a bound wherever they lie, copies too", async (t) => {
  const { folder, name } = await makeStick(t);
  for (const junk of junkNames(3)) copyFileSync(join(folder, name), join(folder, junk));
  const places = [placeOf(folder), placeOf(folder, name)];
  assert.equal((await openBundles(places, { ...LIMITS, mediaVolumes: 5 })).bundles.length, 1);
  await refused(
    () => openBundles(places, { ...LIMITS, mediaVolumes: 4 }),
    `${name}: expected at most 4 volumes together, found 5`,
  );
});

test("other errors of a folder pass", async () => {
  const files = new MemoryFiles();
  files.plant("x", new Uint8Array());
  files.fault = { at: files.calls + 2, kind: "fail", code: "EIO" };
  const error = await openBundles([{ files, path: ".", what: "stick" }]).catch((one: unknown) => one);
  assert.ok(error instanceof CofferError && error.code === "IO_ERROR");
});
