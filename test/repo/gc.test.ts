// SPDX-License-Identifier: Apache-2.0
/** gc on a real disk: what stays, what goes, when; what hostile names and damage do to it. Races: gc-races.slow.test.ts. */
import assert from "node:assert/strict";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseLabel, parseName } from "../../src/base/names.ts";
import { evidenceRef } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { makeEvidence } from "../../src/objects/documents/evidence.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { blobPath, objectPath } from "../../src/objects/layout.ts";
import { trashPath } from "../../src/objects/trash.ts";
import { openManifestFile } from "../../src/repo/blobs.ts";
import { propose } from "../../src/repo/candidates.ts";
import { readManifest } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { type GcReport, gc, TRASH_S } from "../../src/repo/gc.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const DAY_S = 24 * 3600;
const text = (content: string): Uint8Array => new TextEncoder().encode(content);

function run(fixture: StoreFixture, olderThanS = DAY_S, dryRun = false): Promise<GcReport> {
  return gc(fixture.store, { olderThanS, dryRun });
}

/** The store's clock as it is when `ageS` have gone by since the files were written. */
function later(fixture: StoreFixture, ageS: number): void {
  fixture.nowS = Math.floor(Date.now() / 1000) + ageS + 1;
}

function all(fixture: StoreFixture, folder: string): string[] {
  const root = join(fixture.location.root, folder);
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** Writes an object that nothing names. */
async function litter(fixture: StoreFixture, content: string): Promise<Digest> {
  const object = makeList([sha256(text(content))]);
  const batch = fixture.store.batch();
  batch.addObject(object);
  await batch.flush();
  return object.id;
}

const at = (fixture: StoreFixture, path: string): string => join(fixture.location.root, path);

test("a store in which all is reached keeps every file, whatever its age", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@v1", { "model.safetensors": makeSafetensors(9_000_000), "README.md": text("# one\n") });
  await fixture.trust("acme/one@v1", { "README.md": text("# one, again\n") });
  await fixture.trust("acme/two@v1", { "README.md": text("# two\n") });
  await fixture.revoke("acme/two@v1");
  await fixture.add("acme/three@v1", { "README.md": text("# three\n") });
  await fixture.add("acme/four@v1", { "README.md": text("# four\n") });
  await fixture.approve("acme/four@v1", await fixture.propose("acme/four@v1"), "alice");
  const folders = ["objects", "signatures", "blobs"];
  const before = folders.map((folder) => all(fixture, folder));
  later(fixture, 400 * DAY_S);
  for (const age of [DAY_S, 0]) {
    const report = await run(fixture, age);
    assert.deepEqual(report.moved, {
      objects: { files: 0, bytes: 0 },
      signatures: { files: 0, bytes: 0 },
      blobs: { files: 0, bytes: 0 },
    });
    assert.deepEqual([report.young.files, report.restored, report.strange], [0, 0, 0]);
  }
  assert.deepEqual(
    folders.map((folder) => all(fixture, folder)),
    before,
  );
});

test("what nothing names goes when it is old, lies a day in the trash, and is removed", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { files } = fixture.store;
  const id = await litter(fixture, "nobody");
  const path = objectPath(id);
  const signature = `signatures/${id.slice(0, 2)}/${id.slice(2)}.${"ab".repeat(32)}.sig`;
  const blob = sha256(text("bytes"));
  writeFileSync(at(fixture, signature), "x");
  writeFileSync(at(fixture, blobPath(blob)), "bytes");

  later(fixture, DAY_S - 3600); // however long it took to get here
  const early = await run(fixture);
  assert.deepEqual(early.young, { files: 3, bytes: 6 + (await files.stat(path))!.sizeBytes });

  later(fixture, DAY_S);
  const dry = await run(fixture, DAY_S, true);
  assert.deepEqual([dry.moved.objects.files, dry.moved.signatures.files, dry.moved.blobs.files], [1, 1, 1]);
  assert.notEqual(await files.stat(path), undefined, "a dry run moves nothing");
  const moved = await run(fixture);
  assert.deepEqual(moved.moved, dry.moved);
  assert.equal(await files.stat(path), undefined);
  for (const one of [path, signature, blobPath(blob)]) assert.notEqual(await files.stat(trashPath(one)), undefined);
  assert.deepEqual((await fsck(await fixture.open())).problems, []);

  later(fixture, TRASH_S - 3600);
  const waiting = await run(fixture);
  assert.deepEqual([waiting.waiting.files, waiting.removed.files], [3, 0], "the day in the trash begins with the move");
  later(fixture, TRASH_S);
  assert.equal((await run(fixture, DAY_S, true)).removed.files, 3);
  assert.equal((await run(fixture)).removed.files, 3);
  assert.deepEqual(all(fixture, "local/trash"), []);
});

test("blobs: kept for what waits, stands, stood or was revoked; let go with a replaced candidate", async (t) => {
  const fixture = await makeStoreFixture(t);
  const blobOf = async (manifest: Digest) =>
    (await readManifest(fixture.store, manifest)).value.files.map((file) => file.sha256)[0] ?? assert.fail();
  const first = await fixture.trust("acme/one@v1", { "README.md": text("# first\n") });
  await fixture.trust("acme/one@v1", { "README.md": text("# second\n") });
  const gone = await fixture.trust("acme/gone@v1", { "README.md": text("# revoked\n") });
  await fixture.revoke("acme/gone@v1");
  const replaced = await fixture.add("acme/new@v1", { "README.md": text("# draft\n") });
  await fixture.propose("acme/new@v1");
  const kept = await fixture.add("acme/new@v1", { "README.md": text("# better draft\n") });
  later(fixture, DAY_S);
  assert.equal((await run(fixture)).moved.blobs.files, 0, "the candidate still names the first draft");
  const { alice } = fixture.signers;
  await propose(fixture.store, { name: parseName("acme/new@v1"), signer: alice, replace: true });
  const report = await run(fixture);
  assert.deepEqual(
    [report.moved.blobs.files, report.moved.objects.files],
    [1, 0],
    "documents stay: the log names them",
  );
  const there = async (manifest: Digest) =>
    (await fixture.store.files.stat(blobPath(await blobOf(manifest)))) !== undefined;
  assert.deepEqual(await Promise.all([first, gone, replaced, kept].map(({ manifest }) => there(manifest))), [
    true,
    true,
    false,
    true,
  ]);
});

test("what is reached but lies in the trash: readers find it there, fsck tells, the next gc puts it back", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@v1", { "model.safetensors": makeSafetensors(9_000_000) });
  const folders = ["objects", "signatures", "blobs"];
  const before = folders.map((folder) => all(fixture, folder));
  // As if a gc had been killed after it moved everything.
  for (const folder of folders) {
    for (const path of all(fixture, folder)) {
      mkdirSync(dirname(at(fixture, trashPath(`${folder}/${path}`))), { recursive: true });
      renameSync(at(fixture, `${folder}/${path}`), at(fixture, trashPath(`${folder}/${path}`)));
    }
  }
  const store = await fixture.open();
  const { verdict, manifest } = await resolve(store, parseName("acme/one@v1"));
  assert.equal(verdict.trusted, true);
  const [file] = manifest.value.files;
  const reader = await openManifestFile(store, file ?? assert.fail());
  for await (const piece of reader.stream(0, reader.sizeBytes)) assert.ok(piece.length > 0);
  await reader.close();
  const report = await fsck(store);
  assert.deepEqual(report.problems, []);
  assert.match(report.notes.join("\n"), /reached.*local\/trash.*coffer gc/);

  later(fixture, 400 * DAY_S); // long after its day
  const mended = await run(fixture, 0);
  assert.equal(mended.restored, before.flat().length);
  assert.deepEqual(
    folders.map((folder) => all(fixture, folder)),
    before,
  );
  assert.deepEqual(all(fixture, "local/trash"), [], "second names go once their day is over");
});

test("names that are none of ours, links and folders stay, in their places and in the trash", async (t) => {
  const fixture = await makeStoreFixture(t);
  const hex = "cd".repeat(31);
  const strange = [
    "objects/ab/short",
    `objects/ab/${hex}.tmp`,
    "objects/readme",
    `signatures/ab/${hex}.sig`,
    `blobs/AB/${hex}`,
  ];
  for (const path of strange.flatMap((one) => [one, trashPath(one)])) {
    mkdirSync(dirname(at(fixture, path)), { recursive: true });
    writeFileSync(at(fixture, path), "junk");
  }
  const outside = join(fixture.folder, "outside");
  writeFileSync(outside, "mine");
  symlinkSync(outside, at(fixture, `objects/ab/${hex}`));
  mkdirSync(at(fixture, trashPath(`blobs/ab/${hex}`)), { recursive: true });
  symlinkSync(outside, at(fixture, trashPath(`objects/ab/${hex}`)));
  later(fixture, 400 * DAY_S);
  const report = await run(fixture, 0);
  assert.equal(report.strange, strange.length * 2 + 3);
  assert.equal(report.moved.objects.files + report.removed.files + report.moved.blobs.files, 0);
  for (const path of strange) assert.equal(readFileSync(at(fixture, path), "utf8"), "junk");
  assert.equal(readFileSync(outside, "utf8"), "mine");
  rmSync(at(fixture, "local/trash/objects"), { recursive: true });
  symlinkSync(fixture.folder, at(fixture, "local/trash/objects"));
  await assert.rejects(run(fixture, 0), (error) => isCofferError(error, "CORRUPT"));
});

test("a store that is damaged, or whose documents are not all known, is left as it is", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { manifest } = await fixture.trust("acme/one@v1", { "README.md": text("# one\n") });
  const id = await litter(fixture, "nobody");
  later(fixture, 400 * DAY_S);
  const path = at(fixture, objectPath(manifest));
  const bytes = readFileSync(path);
  unlinkSync(path);
  await assert.rejects(run(fixture, 0), (error) => isCofferError(error, "CORRUPT") && /not known/.test(error.message));
  writeFileSync(path, Buffer.from(bytes.toString().replace("README", "READ_M")));
  await assert.rejects(run(fixture, 0), (error) => isCofferError(error, "CORRUPT"));
  assert.notEqual(await fixture.store.files.stat(objectPath(id)), undefined);
  unlinkSync(path);
  writeFileSync(path, bytes);
  assert.equal((await run(fixture, 0)).moved.objects.files, 1);
});

test("what a document names as something it is not is kept, and followed as what it is", async (t) => {
  const model = { "model.safetensors": makeSafetensors(9_000_000) };
  const { manifest } = await (await makeStoreFixture(t)).add("acme/one@v1", model);
  const fixture = await makeStoreFixture(t);
  // Before the manifest is here, evidence calls it its report.
  const evidence = makeEvidence({
    manifest: sha256(text("another")),
    kind: parseLabel("scan"),
    tool: { name: parseLabel("scanner"), version: "1" },
    result: "info",
    findings: [],
    report: manifest,
    issuedAt: parseTime("2026-11-22T10:00:00Z"),
  });
  const list = makeList([evidence.id]);
  await fixture.store.commit(async () => {
    const batch = fixture.store.batch();
    for (const object of [evidence, list]) batch.addObject(object);
    return { moves: [{ ref: evidenceRef(evidence.value.manifest), to: list.id }], batch };
  });
  assert.equal((await fixture.add("acme/one@v1", model)).manifest, manifest);
  const chunks = (await readManifest(fixture.store, manifest)).value.files[0]?.chunks ?? assert.fail();
  later(fixture, 400 * DAY_S);
  assert.equal((await run(fixture, 0)).moved.objects.files, 0);
  assert.notEqual(await fixture.store.files.stat(objectPath(chunks)), undefined);
});

test("an account without the store key may look, and no more", async (t) => {
  const fixture = await makeStoreFixture(t);
  await litter(fixture, "nobody");
  later(fixture, 400 * DAY_S);
  const reader = await openStore({ ...fixture.location, secrets: join(fixture.folder, "none") }, fixture.ports);
  assert.equal((await gc(reader, { olderThanS: 0, dryRun: true })).moved.objects.files, 1);
  await assert.rejects(gc(reader, { olderThanS: 0, dryRun: false }), (error) => isCofferError(error, "NO_STORE_KEY"));
});

test("a time ahead of the clock counts as young", async (t) => {
  const fixture = await makeStoreFixture(t);
  const id = await litter(fixture, "nobody");
  const ahead = Date.now() / 1000 + 1000 * DAY_S;
  utimesSync(at(fixture, objectPath(id)), ahead, ahead);
  later(fixture, DAY_S);
  assert.equal((await run(fixture, 0)).young.files, 1);
});
