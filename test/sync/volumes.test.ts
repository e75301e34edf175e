// SPDX-License-Identifier: Apache-2.0
/**
 * Volumes: what is written is read back, in any order, from files, folders and pipes, by this program and by stock tar;
 * one that is missing, damaged or of another bundle is named. Hostile volumes are in hostile.test.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { short } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { blobPath, objectPath, signaturePath } from "../../src/objects/layout.ts";
import { sameBundle } from "../../src/repo/bundle.ts";
import { parseBundleIndex } from "../../src/sync/bundle-index.ts";
import { cutBundle } from "../../src/sync/cut.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { type Item, itemPath } from "../../src/sync/source.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { volumeBytesOf, writeVolume } from "../../src/sync/volume-writer.ts";
import { openBundles, openVolumes } from "../../src/sync/volumes.ts";
import { collect, emptyFolder, everything, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    return `${error.code}: ${error.message}`;
  }
}

/** Three models, one revoked; `bytes` of weights each. */
async function world(t: TestContext, bytes = 40 * KIB): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  for (const [at, name] of ["acme/one", "acme/two", "acme/three"].entries()) {
    await fixture.trust(name, { "model.safetensors": makeSafetensors(bytes + at, at + 1) });
  }
  await fixture.revoke("acme/three");
  return fixture;
}
const NAMES = ["acme/one", "acme/two", "acme/three"];

async function* piped(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

/** What a store holds of the items of an index. */
function wanted(fixture: StoreFixture, { bundle }: MadeBundle): ReadonlyMap<string, Buffer> {
  const path = (item: Item): string => {
    if (item.kind === "object") return objectPath(item.id);
    if (item.kind === "blob") return blobPath(item.blob);
    return signaturePath(item.object, item.keyId);
  };
  const { items, segmentBytes } = bundle.index.value;
  return new Map(
    items.map((item) => {
      const bytes = readFileSync(join(fixture.location.root, path(item)));
      const from = item.kind === "blob" ? (item.part ?? 0) * segmentBytes : 0;
      return [itemPath(item), bytes.subarray(from, from + item.sizeBytes)];
    }),
  );
}

describe("volumes", () => {
  test("are read back whole, in whatever order and place they lie", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    assert.ok(made.volumes.length >= 2, `${made.volumes.length} volumes`);
    for (const bytes of made.volumes) assert.ok(bytes.length <= 64 * KIB, `${bytes.length} bytes`);
    const others = made.volumes.slice(1).map((_, at) => at + 2);
    const [first, rest] = [folderOf(fixture.folder, made, [1]), folderOf(fixture.folder, made, others)];
    const source = await openVolumes([placeOf(rest), placeOf(first)]);
    assert.deepEqual([source.missing, source.faults], [[], []]);
    const found = await everything(source);
    assert.deepEqual(found, wanted(fixture, made));
    assert.deepEqual([...found.keys()], made.bundle.index.value.items.map(itemPath), "in travelling order");
    assert.equal(source.signature.publicKey.keyId, fixture.store.storeKey.keyId);
  });

  test("the same state and request give the same bytes, in another process too", async (t) => {
    const fixture = await world(t);
    const one = await volumesOf(fixture.store, NAMES, 64 * KIB);
    fixture.nowS += 86_400;
    const other = await volumesOf(await fixture.open(), NAMES.toReversed(), 64 * KIB);
    assert.deepEqual(other.volumes.map(sha256), one.volumes.map(sha256));
  });

  test("have exactly the size that was planned", async (t) => {
    const fixture = await world(t);
    const { bundle, volumes } = await volumesOf(fixture.store, NAMES, 64 * KIB);
    assert.deepEqual(
      volumes.map(({ length }) => length),
      volumes.map((_, at) => volumeBytesOf(bundle.index, at + 1)),
    );
  });

  test("one of them can be cut again alone, from its index, after the store went on", async (t) => {
    const fixture = await world(t);
    const { bundle, volumes } = await volumesOf(fixture.store, NAMES, 64 * KIB);
    await fixture.trust("acme/four", { "model.safetensors": makeSafetensors(100, 9) });
    const again = await sameBundle(fixture.store, parseBundleIndex(bundle.index.bytes), bundle.signature);
    for (const [at, bytes] of volumes.entries()) {
      assert.equal(sha256(await collect(writeVolume(fixture.store, again, at + 1))), sha256(bytes));
    }
    const other = await makeStoreFixture(t);
    assert.match(await codeOf(() => sameBundle(other.store, bundle.index, bundle.signature)), /^USAGE/);
  });

  test("a large blob travels in parts that cat puts together", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/large", { "model.safetensors": makeSafetensors(20 * MIB, 7) });
    const made = await volumesOf(fixture.store, ["acme/large"], 16 * MIB);
    const parts = made.bundle.index.value.items.filter(({ kind }) => kind === "blob");
    assert.deepEqual(
      parts.map(({ sizeBytes }) => Math.floor(sizeBytes / MIB)),
      [8, 8, 4],
    );
    assert.equal(made.volumes.length, 2);
    const source = await openVolumes([placeOf(folderOf(fixture.folder, made))]);
    assert.deepEqual(await everything(source), wanted(fixture, made));
  });

  test("stock tar unpacks them side by side, and the folder is read like the volumes", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const folder = folderOf(fixture.folder, made);
    const side = emptyFolder(fixture.folder, "side");
    for (const [at] of made.volumes.entries()) {
      const file = join(folder, volumeFileName(made.bundle.index.id, at + 1, made.volumes.length));
      execFileSync("tar", ["-xf", file, "-C", side, "--overwrite"], { stdio: "pipe" });
    }
    const source = await openVolumes([placeOf(side)]);
    assert.deepEqual(source.missing, []);
    assert.deepEqual(await everything(source), wanted(fixture, made));
    const [lost] = made.bundle.index.value.items.filter(({ kind }) => kind === "blob");
    assert.ok(lost !== undefined);
    rmSync(join(side, itemPath(lost)));
    assert.deepEqual((await openVolumes([placeOf(side)])).missing, [itemPath(lost)]);
    writeFileSync(join(side, itemPath(lost)), "short");
    const short = await openVolumes([placeOf(side)]);
    assert.match(await codeOf(() => everything(short)), /^VOLUME_DAMAGED.*found 5$/);
  });

  test("a pipe gives the same, in pieces of any length", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    for (const step of [1000, 512, 1 << 20]) {
      const source = await openPipe(piped(Buffer.concat(made.volumes), step), "stdin");
      assert.deepEqual(await everything(source), wanted(fixture, made), `${step}`);
    }
  });

  test("a pipe that ends early, goes on, or brings another order is refused", async (t) => {
    const fixture = await world(t);
    const { volumes } = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const [first = Buffer.alloc(0), ...rest] = volumes;
    const all = Buffer.concat(volumes);
    const read = (bytes: Uint8Array) => async () => everything(await openPipe(piped(bytes, 4096), "stdin"));
    assert.match(await codeOf(read(first)), /^BUNDLE_INCOMPLETE: stdin: ended before volume 2 of/);
    assert.match(await codeOf(read(all.subarray(0, -1))), /^VOLUME_DAMAGED/);
    assert.match(await codeOf(read(all.subarray(0, 700))), /^VOLUME_DAMAGED/);
    assert.match(await codeOf(read(Buffer.concat([all, Buffer.alloc(1)]))), /^BUNDLE_INVALID.*\(rule nothing-after\)$/);
    assert.match(await codeOf(read(Buffer.concat([...rest, first]))), /^BUNDLE_INVALID: stdin: expected volume 1/);
    const other = await volumesOf(fixture.store, ["acme/one"]);
    assert.match(await codeOf(read(Buffer.concat([first, ...other.volumes]))), /volume 2 of the same bundle/);
  });

  test("what is not wanted is passed over, and what is left unread too", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    const all = wanted(fixture, made);
    for (const source of [
      await openVolumes([placeOf(folderOf(fixture.folder, made))]),
      await openPipe(piped(Buffer.concat(made.volumes), 4096), "stdin"),
    ]) {
      let at = 0;
      for await (const { item, read } of source.parcels(({ kind }) => kind !== "signature")) {
        at += 1;
        if (at % 3 === 0) continue; // not read at all
        let from = 0;
        for await (const piece of read()) {
          assert.deepEqual(Buffer.from(piece), all.get(itemPath(item))?.subarray(from, from + piece.length));
          from += piece.length;
          if (at % 3 === 1) break; // read in part
        }
      }
      assert.equal(at, made.bundle.index.value.items.filter(({ kind }) => kind !== "signature").length);
    }
  });

  test("missing and damaged volumes are named, and the others still read; another bundle is one by itself", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 56 * KIB);
    const count = made.volumes.length;
    assert.ok(count >= 3, `${count} volumes`);
    const folder = folderOf(fixture.folder, made, [1, 2]);
    const second = join(folder, volumeFileName(made.bundle.index.id, 2, count));
    const bytes = readFileSync(second);
    bytes[600] = (bytes[600] ?? 0) ^ 1; // in the index
    writeFileSync(second, bytes);
    const other = await volumesOf(fixture.store, ["acme/one"]);
    const places = [placeOf(folder), placeOf(folderOf(fixture.folder, other))];
    const [source, foreign, ...more] = (await openBundles(places)).bundles;
    assert.ok(source !== undefined && foreign !== undefined && more.length === 0);
    assert.deepEqual(
      source.missing,
      made.volumes.slice(1).map((_, at) => `volume ${at + 2} of ${count}`),
    );
    assert.deepEqual(
      source.faults.map(({ error }) => error.code),
      ["BUNDLE_INVALID"],
    );
    assert.equal((await everything(source)).size, made.bundle.index.value.volumes[0]);
    assert.deepEqual([foreign.missing, foreign.faults], [[], []]);
    assert.deepEqual(await everything(foreign), wanted(fixture, other));
    const firsts = `they begin with ${source.what}, ${foreign.what}`;
    assert.match(await codeOf(() => openVolumes(places)), new RegExp(`^USAGE: .*found 2 bundles: .*${firsts}$`));
  });

  test("a volume that cannot be read belongs to the bundle that its name claims, else to none", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES);
    const other = await volumesOf(fixture.store, ["acme/one"]);
    const folder = folderOf(fixture.folder, made);
    const damaged = Buffer.alloc(4096, "junk");
    for (const number of [1, 2]) writeFileSync(join(folder, volumeFileName(other.bundle.index.id, number, 2)), damaged);
    const { bundles, unread } = await openBundles([placeOf(folder)]);
    assert.deepEqual([bundles.map(({ faults }) => faults), unread.length], [[[]], 1]);
    writeFileSync(join(folder, "any.tar"), damaged);
    const named = await openBundles([placeOf(folder), placeOf(folder, "any.tar")]);
    assert.deepEqual([named.bundles[0]?.faults[0]?.what, named.unread.length], ["any.tar", 1]);
    writeFileSync(join(folder, volumeFileName(other.bundle.index.id, 1, 2)), other.volumes[0] ?? "");
    const two = await openBundles([placeOf(folder), placeOf(folder, "any.tar")]);
    const faults = two.bundles.map((one) => [short(one.index.id), one.faults.length]);
    assert.deepEqual(new Map(faults as [string, number][]).get(short(other.bundle.index.id)), 1);
    assert.deepEqual(
      two.unread.map(({ what }) => what),
      ["any.tar"],
    );
  });

  test("copies of a volume are taken once; nothing usable, or nothing there, is told", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES);
    const places = [placeOf(folderOf(fixture.folder, made)), placeOf(folderOf(fixture.folder, made))];
    const source = await openVolumes(places);
    assert.equal(source.held.get(1)?.length, 2);
    assert.deepEqual(await everything(source), wanted(fixture, made));
    const empty = emptyFolder(fixture.folder, "empty");
    assert.match(await codeOf(() => openVolumes([placeOf(empty)])), /^FILE_NOT_FOUND/);
    assert.match(await codeOf(() => openVolumes([placeOf(empty, "none.tar")])), /^FILE_NOT_FOUND/);
    writeFileSync(join(empty, "junk.tar"), Buffer.alloc(4096, "junk"));
    assert.match(await codeOf(() => openVolumes([placeOf(empty, "junk.tar")])), /^BUNDLE_INVALID.*tar-checksum/);
  });

  test("a blob or an object that is damaged in the store stops its volume", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, NAMES, 64 * KIB);
    for (const kind of ["object", "blob"] as const) {
      const item = made.bundle.index.value.items.findLast((one) => one.kind === kind);
      assert.ok(item !== undefined && item.kind !== "signature");
      const path = join(fixture.location.root, item.kind === "blob" ? blobPath(item.blob) : objectPath(item.id));
      const bytes = readFileSync(path);
      const damaged = Buffer.from(bytes);
      damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
      rmSync(path);
      writeFileSync(path, damaged);
      const all = async () => {
        for (const [at] of made.volumes.entries()) await collect(writeVolume(fixture.store, made.bundle, at + 1));
      };
      assert.match(await codeOf(all), /^CORRUPT/, kind);
      writeFileSync(path, bytes);
    }
  });

  test("a size that cannot hold the index and the largest item says what would", async (t) => {
    const fixture = await world(t);
    const needed = /^LIMIT_EXCEEDED: volume size: expected at least ([0-9]+) bytes for this bundle$/.exec(
      await codeOf(() => volumesOf(fixture.store, NAMES, 20 * KIB)),
    );
    const least = Number(needed?.[1]);
    assert.ok(least > 40 * KIB, `${least}`);
    assert.match(await codeOf(() => volumesOf(fixture.store, NAMES, least - 1)), /^LIMIT_EXCEEDED/);
    // More volumes make a larger index, so a little more than the first answer may be needed.
    assert.equal(await codeOf(() => volumesOf(fixture.store, NAMES, least + 512)), "done");
  });

  test("an index that grows with its volumes still fits them", async (t) => {
    const fixture = await world(t);
    const { bundle } = await volumesOf(fixture.store, NAMES);
    const { segmentBytes: _, volumes: __, ...uncut } = bundle.index.value;
    for (let size = 56 * KIB; size < 100 * KIB; size += 5 * KIB) {
      const index = cutBundle(uncut, size);
      for (const at of index.value.volumes.keys()) assert.ok(volumeBytesOf(index, at + 1) <= size, `${size}`);
    }
  });
});

test("no volumes at all, and a path where nothing lies, are named", async () => {
  await assert.rejects(openVolumes([]), (error) => isCofferError(error, "USAGE"));
  const nowhere = { files: new MemoryFiles(), path: "nowhere.tar", what: "stick/nowhere.tar" };
  await assert.rejects(
    openVolumes([nowhere]),
    (error) => isCofferError(error, "FILE_NOT_FOUND") && error.message.startsWith("stick/nowhere.tar"),
  );
});
