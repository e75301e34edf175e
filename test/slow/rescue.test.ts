// SPDX-License-Identifier: Apache-2.0
/**
 * A model is recovered from volumes alone, by docs/rescue.sh: tar, cat, sha256sum and ssh-keygen, none of our code. What is
 * damaged, revoked or signed by too few is refused by the same script.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseName } from "../../src/base/names.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { folderOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors, makeStoreFixture, type Person, type StoreFixture } from "../support/store-fixture.ts";

const SCRIPT = fileURLToPath(new URL("../../docs/rescue.sh", import.meta.url));
const MIB = 1024 * 1024;
const WEIGHTS = makeSafetensors(20 * MIB, 5);

async function world(t: TestContext): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  const files = { "model.safetensors": WEIGHTS, "docs/README.md": Buffer.from("# a model\n") };
  await fixture.trust("acme/tiny", files);
  return fixture;
}

function signersFile({ folder, signers }: StoreFixture, ...people: readonly Person[]): string {
  const path = join(folder, `signers-${people.join("-")}`);
  writeFileSync(path, people.map((who) => `${who} ${signers[who].publicKey.text}\n`).join(""));
  return path;
}

let runs = 0;
function rescue(fixture: StoreFixture, volumes: string, people: readonly Person[], name = "acme/tiny@main") {
  const target = join(fixture.folder, `rescued-${++runs}`);
  const files = readdirSync(volumes).map((file) => join(volumes, file));
  const args = [SCRIPT, name, `${target}/`, signersFile(fixture, ...people), "2", ...files];
  const { status, stdout, stderr } = spawnSync("sh", args, { encoding: "utf8" });
  return { status, stdout, stderr, target };
}

describe("rescue with stock tools", () => {
  test("a model comes out whole, its people are named; parts of a large file are put together", async (t) => {
    const fixture = await world(t);
    const volumes = folderOf(fixture.folder, await volumesOf(fixture.store, ["acme/tiny"], 9 * MIB));
    assert.equal(readdirSync(volumes).length, 3);
    const { status, stderr, target } = rescue(fixture, volumes, ["alice", "bob"]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /is whole, and signed by (?:alice bob|bob alice)/);
    assert.deepEqual(readFileSync(join(target, "files/model.safetensors")), Buffer.from(WEIGHTS));
    assert.equal(readFileSync(join(target, "files/docs/README.md"), "utf8"), "# a model\n");
  });

  test("too few people, another name, a damaged or a missing volume, a revoked model: refused", async (t) => {
    const fixture = await world(t);
    const made = await volumesOf(fixture.store, ["acme/tiny"], 9 * MIB);
    const volumes = folderOf(fixture.folder, made);
    const few = rescue(fixture, volumes, ["alice", "carol"]);
    assert.deepEqual([few.status, /expected 2 people/.test(few.stderr)], [1, true], few.stderr);
    const other = rescue(fixture, volumes, ["alice", "bob"], "acme/other@main");
    assert.deepEqual([other.status, /expected one trusted statement/.test(other.stderr)], [1, true], other.stderr);
    for (const [have, lost] of [
      [[1, 2], 3],
      [[2, 3], 1],
    ] as const) {
      const missing = rescue(fixture, folderOf(fixture.folder, made, [...have]), ["alice", "bob"]);
      assert.equal(missing.status, 1);
      const text = new RegExp(
        `^rescue: .*(?:in none of these volumes|not the bytes of its name), volume ${lost} of 3 is missing$`,
        "m",
      );
      assert.match(missing.stderr, text);
      assert.doesNotMatch(missing.stderr, /No such file/);
    }
    const damaged = folderOf(fixture.folder, made);
    const file = join(damaged, readdirSync(damaged).at(-1) ?? "");
    const bytes = readFileSync(file);
    bytes[3 * MIB] = (bytes[3 * MIB] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const bad = rescue(fixture, damaged, ["alice", "bob"]);
    assert.deepEqual([bad.status, /not the bytes of its name/.test(bad.stderr)], [1, true], bad.stderr);
    await fixture.revoke("acme/tiny", "leaks");
    const revoked = folderOf(fixture.folder, await volumesOf(fixture.store, ["acme/tiny"]));
    assert.notEqual(rescue(fixture, revoked, ["alice", "bob"]).status, 0);
    const half = readdirSync(fixture.folder).filter((name) => name.startsWith("rescued-"));
    assert.deepEqual(half, [], "nothing half-made is left");
  });

  test("of several bundles the newest that has the model is taken, and what any of them revokes counts", async (t) => {
    const fixture = await world(t);
    const volumes = folderOf(fixture.folder, await volumesOf(fixture.store, ["acme/tiny"], 9 * MIB));
    const addVolumes = async (names: readonly string[]): Promise<readonly string[]> => {
      const made = await volumesOf(fixture.store, names, 9 * MIB);
      return made.volumes.map((bytes, at) => {
        const file = join(volumes, volumeFileName(made.bundle.index.id, at + 1, made.volumes.length));
        writeFileSync(file, bytes);
        return file;
      });
    };
    await fixture.trust("acme/tiny", { "README.md": Buffer.from("# newer\n") });
    await addVolumes(["acme/tiny"]);
    await fixture.trust("acme/other", { "README.md": Buffer.from("# another\n") });
    await addVolumes(["acme/other"]);
    const newest = rescue(fixture, volumes, ["alice", "bob"]);
    assert.equal(newest.status, 0, newest.stderr);
    assert.deepEqual(readdirSync(newest.target).sort(), ["blobs", "bundle", "files", "objects", "signatures"]);
    assert.equal(readFileSync(join(newest.target, "files/README.md"), "utf8"), "# newer\n");
    await fixture.revoke("acme/tiny", "leaks");
    const denials = await addVolumes([]);
    const revoked = rescue(fixture, volumes, ["alice", "bob"]);
    assert.deepEqual([revoked.status, /acme\/tiny@main was revoked/.test(revoked.stderr)], [1, true], revoked.stderr);
    assert.ok(!existsSync(revoked.target));
    for (const file of denials) rmSync(file);
    assert.equal(rescue(fixture, volumes, ["alice", "bob"]).status, 0);
  });

  test("bytes may lie in another bundle; one that only calls itself the newest brings no older model back", async (t) => {
    const fixture = await world(t);
    for (const name of ["acme/a", "acme/b", "acme/c"]) await fixture.trust(name, { "README.md": Buffer.from(name) });
    const older = await volumesOf(fixture.store, ["acme/tiny"]);
    const volumes = folderOf(fixture.folder, older);
    const add = (made: Awaited<ReturnType<typeof volumesOf>>, bytes = made.volumes[0]): void =>
      writeFileSync(join(volumes, volumeFileName(made.bundle.index.id, 1, 1)), bytes ?? "");
    await fixture.trust("acme/other", { "README.md": Buffer.from("# another\n") });
    add(await volumesOf(fixture.store, ["acme/tiny"], undefined, { blobs: false }));
    const apart = rescue(fixture, volumes, ["alice", "bob"]);
    assert.equal(apart.status, 0, apart.stderr);
    assert.deepEqual(readFileSync(join(apart.target, "files/model.safetensors")), Buffer.from(WEIGHTS));
    await fixture.trust("acme/tiny", { "README.md": Buffer.from("# newer\n") });
    add(await volumesOf(fixture.store, ["acme/tiny"]));
    const [bytes] = older.volumes.map((volume) => volume.toString("latin1"));
    const { number } = older.bundle.index.value.log;
    assert.ok(number > 9 && number < 80);
    add(older, Buffer.from(bytes?.replace(`"number":${number}},"names"`, '"number":99},"names"') ?? "", "latin1"));
    const lied = rescue(fixture, volumes, ["alice", "bob"]);
    assert.deepEqual([lied.status, /was followed by another/.test(lied.stderr)], [1, true], lied.stderr);
  });

  test("a blob that is revoked with another name does not come out, nor do volumes of two stores go together", async (t) => {
    const fixture = await world(t);
    const volumes = folderOf(fixture.folder, await volumesOf(fixture.store, ["acme/tiny"]));
    const stranger = await world(t);
    const other = await volumesOf(stranger.store, ["acme/tiny"]);
    const strange = join(volumes, volumeFileName(other.bundle.index.id, 1, 1));
    writeFileSync(strange, other.volumes[0] ?? "");
    const mixed = rescue(fixture, volumes, ["alice", "bob"]);
    assert.deepEqual([mixed.status, /of another store/.test(mixed.stderr)], [1, true], mixed.stderr);
    rmSync(strange);
    await fixture.trust("acme/copy", { "model.safetensors": WEIGHTS });
    const blob = createHash("sha256").update(WEIGHTS).digest("hex");
    await revoke(fixture.store, { name: parseName("acme/copy"), also: [blob] }, fixture.signers.carol);
    const made = await volumesOf(fixture.store, []);
    writeFileSync(join(volumes, volumeFileName(made.bundle.index.id, 1, 1)), made.volumes[0] ?? "");
    const revoked = rescue(fixture, volumes, ["alice", "bob"]);
    assert.deepEqual([revoked.status, /were revoked/.test(revoked.stderr)], [1, true], revoked.stderr);
  });
});
