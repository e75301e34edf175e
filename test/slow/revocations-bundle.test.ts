// SPDX-License-Identifier: Apache-2.0
/** The bad news of a store of 1,000 models fits anything, however large the store is. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openFixture } from "../../bench/support/fixture.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { clone } from "../../src/repo/clone.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { volumeBytesOf, writeVolume } from "../../src/sync/volume-writer.ts";
import { copied } from "../support/bundles.ts";
import { fastFolder } from "../support/store-fixture.ts";

const MODELS = 1000;
const REVOKED = 20;
const MOST_BYTES = 100_000;

test(`${REVOKED} revocations of a store of ${MODELS} models travel in under ${MOST_BYTES} bytes, and are obeyed`, async (t) => {
  const folder = mkdtempSync(join(fastFolder(), "coffer-revocations-"));
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = folder; // the store is built there, and goes with it
  t.after(() => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
    rmSync(folder, { recursive: true, force: true });
  });
  const fixture = await openFixture(MODELS, () => undefined);
  const store = await fixture.open();
  const location = { root: join(folder, "b.coffer"), stateHome: join(folder, "state-b"), memory: true };
  const source = () => openFolderSource(store.root, store.ports);
  const root = { number: 1, digest: store.pin };
  const { store: other } = await clone(location, source, root, store.ports);
  const gone = Array.from({ length: REVOKED }, (_, at) => fixture.name(at * 40));
  for (const name of gone) {
    assert.equal((await resolve(other, name)).verdict.trusted, true);
    await revoke(store, { name, also: [], reason: "found to leak what it was trained on" }, fixture.signers.carol);
  }
  const bundle = await makeBundle(store, { names: [], patterns: [], candidates: false, blobs: false });
  const bytes = volumeBytesOf(bundle.index, 1);
  t.diagnostic(`${bytes} bytes`);
  assert.equal(bundle.index.value.volumes.length, 1);
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
  const report = await importFrom(other, await openPipe(copied(writeVolume(store, bundle, 1)), "the bundle"));
  assert.equal(report.denials, REVOKED);
  for (const name of gone) await assert.rejects(resolve(other, name), { code: "REVOKED" });
  assert.equal((await resolve(other, fixture.name(1))).verdict.trusted, true);
});
