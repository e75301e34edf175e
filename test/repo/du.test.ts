// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { du } from "../../src/repo/du.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";

const text = (length: number, mark: string): Uint8Array =>
  new TextEncoder().encode(mark.repeat(length - 1).concat("\n"));

test("bytes of a name, alone and with others; old versions count, gone candidates do not", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@v1", { "a.md": text(100, "a"), "shared.md": text(1000, "s") });
  await fixture.trust("acme/one@v1", { "a.md": text(30, "b"), "shared.md": text(1000, "s") });
  await fixture.add("acme/two@v1", { "README.md": text(7, "c") });
  await fixture.add("acme/two@v1", {
    "README.md": text(5, "d"),
    "shared.md": text(1000, "s"),
    "twice.md": text(5, "d"),
  });
  const { names, totals } = await du(fixture.store);
  assert.deepEqual(names, [
    { name: "acme/one@v1", files: 3, bytes: 1130, ownBytes: 130 },
    { name: "acme/two@v1", files: 2, bytes: 1005, ownBytes: 5 },
  ]);
  for (const part of ["blobs", "objects", "signatures", "log"] as const) {
    const entries = readdirSync(join(fixture.location.root, part), { recursive: true, withFileTypes: true });
    const sizes = entries.filter((one) => one.isFile()).map((one) => statSync(join(one.parentPath, one.name)).size);
    assert.deepEqual(totals[part], { files: sizes.length, bytes: sizes.reduce((a, b) => a + b, 0) }, part);
  }
  assert.deepEqual((await du(fixture.store, [parseName("acme/two@v1")])).names, names.slice(1));
  await assert.rejects(du(fixture.store, [parseName("acme/three@v1")]), (error) =>
    isCofferError(error, "NAME_NOT_FOUND"),
  );
});

test("what gc could free is what gc then moves; no blob is opened for it", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.add("acme/two@v1", { "README.md": text(7, "c") });
  await fixture.add("acme/two@v1", { "README.md": text(5, "d") });
  fixture.nowS = Math.floor(Date.now() / 1000) + 24 * 3600 + 1;
  const store = await fixture.open();
  const { files } = store;
  const opened: string[] = [];
  const open = files.open.bind(files);
  files.open = (path) => {
    opened.push(path);
    return open(path);
  };
  const { garbage, due } = await du(store);
  assert.deepEqual(
    [garbage, due],
    [
      { files: 1, bytes: 7 },
      { files: 0, bytes: 0 },
    ],
  );
  assert.deepEqual(opened, []);
});
