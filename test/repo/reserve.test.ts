// SPDX-License-Identifier: Apache-2.0
/** The reserve on the twin: made whole or piece by piece, given up once, made again. Real disks: test/slow/full-disk.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { CofferError, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { list } from "../../src/repo/list.ts";
import { pull } from "../../src/repo/pull.ts";
import { countReserve, fillReserve } from "../../src/repo/reserve.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";
import { makeTeam, model } from "../support/team-stores.ts";
import { seededRandom } from "../support/transcripts.ts";

const PIECES = 64;
const PIECE_BYTES = 64 * 1024;
const random = seededRandom("reserve");

async function emptyDisk(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  for (const folder of ["local", "local/tmp"]) {
    await files.makeFolder(folder);
    await files.fsyncFolder(folder === "local" ? "." : "local");
  }
  return files;
}

const pieces = (files: MemoryFiles): Uint8Array[] =>
  [...files.snapshot()].filter(([path]) => path.startsWith("local/reserve/")).map(([, bytes]) => bytes);

test("a whole reserve survives a power loss, and takes the room that it says", async () => {
  const files = await emptyDisk();
  await fillReserve(files, random);
  const found = pieces(files.crash("all-lost"));
  assert.equal(found.length, PIECES);
  for (const piece of found) assert.equal(piece.length, PIECE_BYTES);
  const together = Buffer.concat(found);
  assert.ok(gzipSync(together).length >= together.length, "it can be compressed");
  const calls = files.calls;
  await fillReserve(files, random);
  assert.equal(files.calls, calls + 1, "a look is all it takes when nothing is missing");
});

test("stopped or out of room at any call: no piece is short, no temporary file stays, the next one makes the rest", async () => {
  const whole = await emptyDisk();
  const from = whole.calls;
  await fillReserve(whole, random);
  const calls = whole.calls - from;
  assert.ok(calls > 5 * PIECES);
  for (let at = 1; at <= calls; at += 1) {
    const files = await emptyDisk();
    files.fault = { at: files.calls + at, kind: "fail", code: "ENOSPC" };
    // Room that comes back is used at once.
    const filled = fillReserve(files, random);
    await filled.catch((error: unknown) => assert.ok(isCofferError(error, "NO_SPACE"), `call ${at}`));
    for (const piece of pieces(files)) assert.equal(piece.length, PIECE_BYTES);
    assert.deepEqual(await files.list("local/tmp"), [], `call ${at}`);
    const after = files.crash("random", at);
    for (const piece of pieces(after)) assert.equal(piece.length, PIECE_BYTES, `call ${at}, after a power loss`);
    await fillReserve(files, random);
    assert.deepEqual(await countReserve(files), { found: PIECES, expected: PIECES });
  }
});

test("init makes it, a revocation without room gives it up and says so, the next commit makes it again", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { store } = fixture;
  assert.deepEqual(await countReserve(store.files), { found: PIECES, expected: PIECES });
  await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(100) });
  const full = await fixture.open();
  const create = full.files.create.bind(full.files);
  full.files.create = async (path, mode) => {
    const { found } = await countReserve(full.files);
    if (found > 0) throw new CofferError("NO_SPACE", `cannot create ${path}: ENOSPC`);
    return create(path, mode);
  };
  await fixture.revoke("acme/tiny", "a test", full);
  assert.match(full.warnings.join("\n"), /^the disk is full: this was done with the space that the store keeps back/);
  assert.equal((await list(store)).names.find(({ name }) => name.text === "acme/tiny@main")?.state, "revoked");
  assert.ok((await countReserve(store.files)).found < PIECES);
  await fixture.add("acme/next", { "model.safetensors": makeSafetensors(200, 2) });
  assert.deepEqual(await countReserve(store.files), { found: PIECES, expected: PIECES });
});

test("where only the state folder has no room a name is revoked all the same, and what is not remembered is told", async (t) => {
  let full = false;
  const fixture = await makeStoreFixture(t, undefined, {
    openFolder: (path) => {
      const files = openRealFiles(path);
      const create = files.create.bind(files);
      files.create = async (name, mode) => {
        if (full && path.startsWith(fixture.location.stateHome))
          throw new CofferError("NO_SPACE", `cannot create ${name}: ENOSPC`);
        return create(name, mode);
      };
      return files;
    },
  });
  await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(100) });
  await fixture.trust("acme/other", { "model.safetensors": makeSafetensors(100, 2) });
  const other = await fixture.open();
  await fixture.add("acme/new", { "model.safetensors": makeSafetensors(100, 3) });
  full = true;
  await fixture.revoke("acme/tiny", "a test", other);
  assert.match(other.warnings.join("\n"), /^entry [0-9]+ is not remembered by this machine: memory: cannot write/m);
  const store = await fixture.open();
  await assert.rejects(store.head(), (error) => isCofferError(error, "STATE_UNWRITABLE"));
  full = false;
  assert.equal((await list(store)).names.find(({ name }) => name.text === "acme/tiny@main")?.state, "revoked");
});

test("where only the state folder has no room, what a bundle denies counts all the same", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust("acme/tiny@v1", model(1));
  await pull(b.store, a.location.root);
  await a.revoke("acme/tiny@v1");
  let full = false;
  const openFolder = (path: string): Files => {
    const files = openRealFiles(path);
    const create = files.create.bind(files);
    files.create = async (name, mode) => {
      if (full && path.startsWith(b.location.stateHome))
        throw new CofferError("NO_SPACE", `cannot create ${name}: ENOSPC`);
      return create(name, mode);
    };
    return files;
  };
  const other = await openStore(b.location, { ...team.ports, openFolder });
  await b.add("acme/new@v1", model(3)); // a head that `other` has not seen
  full = true;
  await importFrom(other, await openFolderSource(a.location.root, team.ports));
  assert.match(other.warnings.join("\n"), /^entry [0-9]+ is not remembered by this machine: memory: cannot write/m);
  await assert.rejects(resolve(b.store, parseName("acme/tiny@v1")), (error) => isCofferError(error, "REVOKED"));
});
