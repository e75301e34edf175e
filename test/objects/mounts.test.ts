// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseMount } from "../../src/objects/mounts.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";

const MOUNTINFO = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
40 27 0:41 / /media/my\\040stick rw,relatime shared:7 - fuseblk /dev/my\\040stick rw,user_id=0
41 27 0:42 / /net rw - nfs4 host:/export rw
420 27 8:1 / /x rw - xfs /dev/sda1 rw
`;

test("mounts are found by their whole number, with or without optional fields", () => {
  assert.deepEqual(parseMount(MOUNTINFO, 27), { device: "254:0", fileSystem: "ext4", source: "/dev/vda" });
  assert.deepEqual(parseMount(MOUNTINFO, 36), { device: "98:0", fileSystem: "ext3", source: "/dev/root" });
  assert.deepEqual(parseMount(MOUNTINFO, 40), { device: "0:41", fileSystem: "fuseblk", source: "/dev/my stick" });
  assert.equal(parseMount(MOUNTINFO, 41)?.fileSystem, "nfs4");
  assert.equal(parseMount(MOUNTINFO, 420)?.fileSystem, "xfs");
});

test("what is not in the known form is no mount", () => {
  assert.equal(parseMount(MOUNTINFO, 42), undefined);
  assert.equal(parseMount(MOUNTINFO, 2), undefined);
  for (const bad of ["", "27", "27 1 254:0 / / rw", "27 1 - ext4", "27 1 254:0 / / rw - ext4"]) {
    assert.equal(parseMount(bad, 27), undefined, bad);
  }
});

test("memory and pseudo file systems lie on no disk", async (t) => {
  if (!existsSync("/proc/self/mountinfo")) return t.skip("mounts are told on Linux only");
  const file = await openRealFiles("/proc/self").open("cmdline");
  assert.ok(file !== undefined);
  const place = await file.place();
  await file.close();
  assert.deepEqual([place?.fileSystem, place?.medium], ["proc", "unknown"]);
});

test("two files of one folder lie on one mount", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-mounts-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["a", "b"]) writeFileSync(join(folder, name), name);
  const files = openRealFiles(folder);
  const places = [];
  for (const name of ["a", "b"]) {
    const file = await files.open(name);
    places.push(await file?.place());
    await file?.close();
  }
  assert.deepEqual(places[0], places[1]);
  if (existsSync("/proc/self/mountinfo")) assert.ok(places[0] !== undefined);
});
