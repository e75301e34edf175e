// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import type { FilePlace } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { keepLaid, lay } from "../../src/repo/laid.ts";
import { realMachine } from "../../src/repo/machine.ts";
import { pathOf } from "../../src/repo/materialise.ts";
import { blobTopic, Receipts } from "../../src/repo/receipts.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";
import { type WatchedMachine, watchedMachine } from "../support/watched-files.ts";

const NAME = parseName("acme/tiny@main");
const MODEL = makeSafetensors(200_000);
const ALL = MODEL.length;

interface Scene {
  readonly machine: WatchedMachine;
  readonly fixture: StoreFixture;
  /** Where the model is laid. */
  readonly file: string;
  /** Opens the store anew, as the next command would, asks for the path and tells what that read and found. */
  path(): Promise<{ readonly read: number; readonly mended: boolean }>;
  receiptFiles(): string[];
}

/** A trusted model that was laid, not yet hashed where it lies. */
async function makeScene(t: TestContext): Promise<Scene> {
  const machine = watchedMachine();
  const fixture = await makeStoreFixture(t, undefined, machine);
  await fixture.trust(NAME.text, { "model.safetensors": MODEL });
  const { path: file } = await pathOf(fixture.store, NAME);
  const folder = join(fixture.location.root, "local", "receipts");
  const scene: Scene = {
    machine,
    fixture,
    file,
    async path() {
      const checkouts = join(fixture.location.root, "local", "checkouts");
      machine.readSince(checkouts);
      const { mended } = await pathOf(await fixture.open(), NAME);
      assert.deepEqual(new Uint8Array(readFileSync(file)), MODEL, "the path that was printed holds the right bytes");
      return { read: machine.readSince(checkouts), mended };
    },
    receiptFiles: () =>
      existsSync(folder)
        ? readdirSync(folder, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => join(entry.parentPath, entry.name))
        : [],
  };
  return scene;
}

/** The same, with a receipt that holds. */
async function makeVouched(t: TestContext): Promise<Scene> {
  const scene = await makeScene(t);
  assert.deepEqual(await scene.path(), { read: ALL, mended: false });
  assert.deepEqual(await scene.path(), { read: 0, mended: false });
  return scene;
}

test("a model that was hashed where it lies is not read again (invariant 6)", async (t) => {
  const scene = await makeVouched(t);
  assert.equal(scene.receiptFiles().length, 1);
  assert.deepEqual(await scene.path(), { read: 0, mended: false });
});

test("altered bytes are found, with size and mtime as they were", async (t) => {
  const { file, path } = await makeScene(t);
  utimesSync(file, 1_700_000_000, 1_700_000_000);
  assert.deepEqual([(await path()).read, (await path()).read], [ALL, 0]);
  const bytes = readFileSync(file);
  bytes[100_000] = (bytes[100_000] ?? 0) ^ 1;
  const { size, ctimeNs } = statSync(file, { bigint: true });
  // The system's clock for files moves in steps: a receipt is refused where two changes may fall into one, but for a clock
  // that runs ahead, as it does here.
  do {
    chmodSync(file, 0o644);
    writeFileSync(file, bytes);
    utimesSync(file, 1_700_000_000, 1_700_000_000);
    chmodSync(file, 0o444);
  } while (statSync(file, { bigint: true }).ctimeNs === ctimeNs);
  assert.deepEqual([statSync(file).size, statSync(file).mtimeMs], [Number(size), 1_700_000_000_000]);
  assert.equal((await path()).mended, true);
});

test("another file in its place is hashed, whatever its times", async (t) => {
  const { file, path } = await makeVouched(t);
  const { atime, mtime } = statSync(file);
  writeFileSync(`${file}.new`, MODEL, { mode: 0o444 });
  utimesSync(`${file}.new`, atime, mtime);
  renameSync(`${file}.new`, file);
  assert.deepEqual(await path(), { read: ALL, mended: false });
  const other = new Uint8Array(MODEL).fill(0);
  writeFileSync(`${file}.new`, other, { mode: 0o444 });
  utimesSync(`${file}.new`, atime, mtime);
  renameSync(`${file}.new`, file);
  assert.equal((await path()).mended, true);
});

test("a cut file is mended", async (t) => {
  const { file, path } = await makeVouched(t);
  truncateSync(file, ALL - 1);
  assert.equal((await path()).mended, true);
});

test("a receipt that was altered or cut anywhere is none", async (t) => {
  const { path, receiptFiles } = await makeVouched(t);
  const [receipt = ""] = receiptFiles();
  const good = readFileSync(receipt);
  const rewrite = (bytes: Uint8Array): void => {
    chmodSync(receipt, 0o644);
    writeFileSync(receipt, bytes);
  };
  const spots = [0, 31, 32, 40, good.length - 1];
  for (const at of spots) {
    const bytes = Uint8Array.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    rewrite(bytes);
    assert.equal((await path()).read, ALL, `byte ${at}`);
  }
  for (const length of [0, 31, 32, 33, good.length - 1]) {
    rewrite(good.subarray(0, length));
    assert.equal((await path()).read, ALL, `${length} bytes`);
  }
  rmSync(receipt);
  assert.equal((await path()).read, ALL);
});

test("a receipt of another store, or for something else, is none", async (t) => {
  const one = await makeScene(t);
  const two = await makeScene(t);
  const home = mkdtempSync(join(tmpdir(), "coffer-home-"));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const read = async (scene: Scene): Promise<number> => {
    scene.machine.readSince(home);
    await pathOf(await scene.fixture.open(), NAME, undefined, home);
    return scene.machine.readSince(home);
  };
  await read(one); // lays
  assert.deepEqual([await read(one), await read(one)], [ALL, 0]);
  const folder = (scene: Scene) => join(scene.fixture.location.root, "local", "receipts");
  cpSync(folder(one), folder(two), { recursive: true });
  assert.equal(await read(two), ALL, "the MAC is another store's");
  // Under the same secret, but moved to another topic.
  const { receipts } = await one.fixture.open();
  assert.ok(receipts !== undefined);
  const place = join(one.fixture.location.root, "blobs", sha256(MODEL).slice(0, 2));
  const blob = await one.machine.openFolder(place).open(sha256(MODEL).slice(2));
  const before = blob && (await receipts.sight(blob));
  const receipt = blob && before && (await receipts.issue(blob, sha256(MODEL), before));
  assert.ok(blob !== undefined && receipt !== undefined);
  await receipts.write("one topic", [receipt]);
  assert.ok((await (await receipts.read("one topic")).vouchesFor(blob, sha256(MODEL))) !== undefined);
  const other = sha256(new Uint8Array(1));
  assert.equal(await (await receipts.read("one topic")).vouchesFor(blob, other), undefined, "another blob");
  assert.equal(await (await receipts.read(blobTopic(other))).vouchesFor(blob, sha256(MODEL)), undefined);
  await blob.close();
});

test("a receipt ends with the boot, the mount, and a clock that went back", async (t) => {
  const { machine, path } = await makeVouched(t);
  machine.boot = "6f1d2c34-0000-4000-8000-000000000002";
  assert.deepEqual([(await path()).read, (await path()).read], [ALL, 0], "another boot makes its own");
  machine.place = { mount: 28, fileSystem: "ext4", medium: "fixed" };
  assert.deepEqual([(await path()).read, (await path()).read], [ALL, 0]);
  machine.aheadS -= 30;
  assert.equal((await path()).read, ALL);
  machine.boot = undefined;
  assert.equal((await path()).read, ALL);
});

test("file systems and media that may change without telling get no receipt", async (t) => {
  const { machine, path, receiptFiles } = await makeScene(t);
  const places: (FilePlace | undefined)[] = [
    ...["tmpfs", "nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "fuseblk", "overlay", "vfat", "exfat"].map(
      (fileSystem): FilePlace => ({ mount: 27, fileSystem, medium: "fixed" }),
    ),
    ...(["removable", "loop", "unknown"] as const).map(
      (medium): FilePlace => ({ mount: 27, fileSystem: "ext4", medium }),
    ),
    undefined,
  ];
  for (const place of places) {
    machine.place = place;
    assert.equal((await path()).read, ALL, JSON.stringify(place));
    assert.deepEqual(receiptFiles(), [], JSON.stringify(place));
  }
  machine.place = { mount: 27, fileSystem: "xfs", medium: "fixed" };
  assert.deepEqual([(await path()).read, (await path()).read], [ALL, 0]);
  machine.place = { mount: 27, fileSystem: "nfs", medium: "fixed" };
  assert.equal((await path()).read, ALL, "nor is one believed there");
});

test("no receipt for a file that moved within two seconds, or is from the future", async (t) => {
  const { machine, file, path, receiptFiles } = await makeScene(t);
  const { ctimeNs } = statSync(file, { bigint: true });
  for (const ageNs of [-3_600_000_000_000n, 0n, 1_000_000_000n, 1_999_999_999n]) {
    machine.standsAtNs = ctimeNs + ageNs;
    assert.equal((await path()).read, ALL);
    assert.deepEqual(receiptFiles(), [], `${ageNs}`);
  }
  machine.standsAtNs = ctimeNs + 2_000_000_000n;
  assert.deepEqual([(await path()).read, receiptFiles().length], [ALL, 1]);
});

test("no receipt for a file that others own or may write, or where nobody knows who we are", async (t) => {
  const { machine, path, receiptFiles } = await makeScene(t);
  const account = process.geteuid?.() ?? 0;
  const cases = [{ owner: account + 1 }, { mode: 0o644 }, { mode: 0o464 }, { mode: 0o446 }, { kind: "other" as const }];
  for (const told of cases) {
    machine.told = told;
    assert.equal((await path()).read, ALL);
    assert.deepEqual(receiptFiles(), [], JSON.stringify(told));
  }
  machine.told = {};
  machine.account = undefined;
  assert.equal((await path()).read, ALL);
  assert.deepEqual(receiptFiles(), []);
});

test("no receipt for a file that moved while it was hashed", async (t) => {
  const { machine, fixture, file } = await makeScene(t);
  const { receipts } = fixture.store;
  const open = await machine.openFolder(join(file, "..")).open("model.safetensors");
  assert.ok(receipts !== undefined && open !== undefined);
  const before = await receipts.sight(open);
  assert.ok(before !== undefined);
  assert.ok((await receipts.issue(open, sha256(MODEL), before)) !== undefined);
  utimesSync(file, 1, 1);
  assert.equal(await receipts.issue(open, sha256(MODEL), before), undefined);
  machine.aheadS -= 3600;
  assert.equal(await receipts.issue(open, sha256(MODEL), before), undefined, "nor when the clock went back");
  await open.close();
});

test("our own touch keeps the receipt; it makes none, and takes no other change along", async (t) => {
  const { machine, fixture, file } = await makeScene(t);
  const { receipts } = fixture.store;
  const open = await machine.openFolder(join(file, "..")).open("model.safetensors");
  assert.ok(receipts !== undefined && open !== undefined);
  const vouched = async () => (await (await receipts.read("t")).vouchesFor(open, sha256(MODEL))) !== undefined;
  const touch = async (): Promise<void> => utimesSync(file, 5, 5);
  await receipts.renew("t", open, sha256(MODEL), touch);
  assert.equal(await vouched(), false, "there was none");
  const before = await receipts.sight(open);
  const receipt = before && (await receipts.issue(open, sha256(MODEL), before));
  assert.ok(receipt !== undefined);
  await receipts.write("t", [receipt]);
  await receipts.renew("t", open, sha256(MODEL), touch);
  assert.equal(await vouched(), true);
  utimesSync(file, 6, 6);
  assert.equal(await vouched(), false);
  await receipts.renew("t", open, sha256(MODEL), touch);
  assert.equal(await vouched(), false, "what was void stays void");
  await receipts.write("t", [receipt]);
  await receipts.renew("t", open, sha256(MODEL), async () => chmodSync(file, 0o644));
  assert.equal(await vouched(), false, "others may write it now");
  await open.close();
});

test("a big model has its receipt from when it was laid, if nothing touched it since", async (t) => {
  const { fixture, machine, receiptFiles } = await makeScene(t);
  const { store } = fixture;
  const { manifest } = await resolve(store, NAME);
  const slept: number[] = [];
  const machineSleeps = { ...store.ports, sleep: async (ms: number) => void slept.push(ms) };
  Object.defineProperty(store, "ports", { value: machineSleeps });
  const folder = join(fixture.location.root, "local", "checkouts", "again");
  const laid = await lay(store, manifest.value, folder);
  machine.standsAtNs = statSync(join(folder, "model.safetensors"), { bigint: true }).ctimeNs + 500_000_000n;
  await keepLaid(store, { manifest, folder }, laid, ALL + 1);
  assert.deepEqual([slept, receiptFiles()], [[], []], "a small one is not waited for");
  await keepLaid(store, { manifest, folder }, laid, ALL);
  assert.deepEqual(slept, [1501], "until nothing has moved for two seconds, and the millisecond is over");
  assert.deepEqual(receiptFiles(), [], "the two seconds have not passed: the test does not sleep");
  machine.standsAtNs = undefined; // a minute ahead again
  utimesSync(join(folder, "model.safetensors"), 1, 1);
  await keepLaid(store, { manifest, folder }, laid, ALL);
  assert.deepEqual(receiptFiles(), [], "touched since");
  rmSync(folder, { recursive: true });
  const second = await lay(store, manifest.value, folder);
  await keepLaid(store, { manifest, folder }, second, ALL);
  assert.equal(receiptFiles().length, 1);
});

test("an account without the store key makes no receipts and believes none", async (t) => {
  const { fixture, machine, path } = await makeVouched(t);
  rmSync(join(fixture.location.stateHome, fixture.store.id, "store_key"));
  assert.equal((await fixture.open()).receipts, undefined);
  assert.ok(machine.boot !== undefined);
  assert.equal((await path()).read, ALL);
});

test("receipts that cannot be kept are told, and change nothing else", async (t) => {
  const { fixture, path } = await makeScene(t);
  writeFileSync(join(fixture.location.root, "local", "receipts"), "in the way");
  const found = await pathOf(await fixture.open(), NAME);
  assert.equal(found.unkept?.code, "CORRUPT");
  assert.equal((await path()).read, ALL);
});

test("a revocation takes the receipt with the checkout", async (t) => {
  const { fixture, receiptFiles, file } = await makeVouched(t);
  await fixture.revoke(NAME.text);
  assert.deepEqual([receiptFiles(), existsSync(file)], [[], false]);
});

test("on a real disk, with nothing injected: the third call reads nothing, a flipped byte is found", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-disk-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = openRealFiles(folder);
  writeFileSync(join(folder, "model"), MODEL, { mode: 0o444 });
  chmodSync(join(folder, "model"), 0o444);
  const file = await files.open("model");
  assert.ok(file !== undefined);
  t.after(() => file.close());
  const place = await file.place();
  if (place?.medium !== "fixed") return t.skip("the temporary folder is on no local disk");
  const machine = realMachine;
  const receipts = new Receipts({
    files,
    key: async () => new Uint8Array(32),
    machine,
    random: () => new Uint8Array(16),
  });
  await Promise.all(["local", "local/tmp"].map((path) => files.makeFolder(path)));
  const fresh = await receipts.sight(file);
  const ageMs = Date.now() - statSync(join(folder, "model")).ctimeMs;
  assert.ok(fresh === undefined || ageMs >= 2000, `seen ${ageMs} ms after it was written`);
  let before: Awaited<ReturnType<Receipts["sight"]>>;
  assert.ok(
    await until(async () => {
      before = await receipts.sight(file);
      return before !== undefined;
    }),
  );
  assert.ok(before !== undefined);
  const receipt = await receipts.issue(file, sha256(MODEL), before);
  assert.ok(receipt !== undefined);
  await receipts.write("t", [receipt]);
  const kept = await receipts.read("t");
  assert.deepEqual(await kept.vouchesFor(file, sha256(MODEL)), receipt);
  const { atime, mtime } = statSync(join(folder, "model"));
  chmodSync(join(folder, "model"), 0o644);
  writeFileSync(join(folder, "model"), MODEL);
  utimesSync(join(folder, "model"), atime, mtime);
  chmodSync(join(folder, "model"), 0o444);
  assert.equal(await kept.vouchesFor(file, sha256(MODEL)), undefined);
});
