// SPDX-License-Identifier: Apache-2.0
/**
 * A model is recovered from volumes alone, by docs/rescue.sh: tar, cat, sha256sum and ssh-keygen, none of our code. What is
 * damaged, revoked or signed by too few is refused by the same script.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { emptyFolder, folderOf, volumesOf } from "../support/bundles.ts";
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
  const files = readdirSync(volumes).map((file) => join(volumes, file));
  return rescueFrom(fixture, files, people, name);
}

function rescueFrom(
  fixture: StoreFixture,
  files: readonly string[],
  people: readonly Person[] = ["alice", "bob"],
  name = "acme/tiny@main",
  threshold = "2",
  cwd = fixture.folder,
) {
  const target = join(fixture.folder, `rescued-${++runs}`);
  const args = [SCRIPT, name, `${target}/`, signersFile(fixture, ...people), threshold, ...files];
  const { status, stdout, stderr } = spawnSync("sh", args, { encoding: "utf8", cwd });
  return { status, stdout, stderr, target };
}

/** A volume of its own folder: what people have promoted under these names, as the store has it now. */
async function oneVolume(
  { folder, store }: StoreFixture,
  names: readonly string[],
  more: Parameters<typeof volumesOf>[3] = {},
): Promise<string> {
  const volumes = folderOf(folder, await volumesOf(store, names, undefined, more));
  const [file, ...others] = readdirSync(volumes);
  assert.equal(others.length, 0);
  return join(volumes, file ?? "");
}

/** A volume at `path` of the files below a folder. */
function packed(path: string, folder: string, keep: (member: string) => boolean = () => true): string {
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const members = all.filter((member) => statSync(join(folder, member)).isFile() && keep(member));
  execFileSync("tar", ["-cf", path, "-C", folder, ...members]);
  return path;
}

/** A store that has got these blobs, by its receipt. */
const having = (...blobs: readonly Uint8Array[]) => ({
  receiver: { store: sha256(Buffer.from("b")), receipt: sha256(Buffer.from("r")), blobs: new Set(blobs.map(sha256)) },
});

function refused({ status, stderr, target }: ReturnType<typeof rescueFrom>, text: RegExp): void {
  assert.deepEqual([status, text.test(stderr), existsSync(target)], [1, true, false], stderr);
}

const bothOrders = (one: string, other: string): readonly (readonly string[])[] => [
  [one, other],
  [other, one],
];

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
        `^rescue: .*(?:in none of these volumes,|not the bytes of its name: a volume is damaged, or) volume ${lost} of 3 is missing$`,
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

  test("what a bundle for one store leaves out comes from the bundle before it, in both orders", async (t) => {
    const fixture = await makeStoreFixture(t);
    const weights = makeSafetensors(1000, 5);
    await fixture.trust("acme/tiny", { "model.safetensors": weights, "README.md": Buffer.from("# a model\n") });
    const full = await oneVolume(fixture, ["acme/tiny"]);
    await fixture.trust("acme/tiny", { "model.safetensors": weights, "README.md": Buffer.from("# newer\n") });
    const newer = await oneVolume(fixture, ["acme/tiny"], having(weights));
    assert.ok(!readFileSync(newer).includes(Buffer.from(weights)));
    for (const files of bothOrders(full, newer)) {
      const { status, stderr, target } = rescueFrom(fixture, files);
      assert.equal(status, 0, stderr);
      assert.equal(readFileSync(join(target, "files/README.md"), "utf8"), "# newer\n");
      assert.deepEqual(readFileSync(join(target, "files/model.safetensors")), Buffer.from(weights));
    }
    refused(
      rescueFrom(fixture, [newer]),
      /in none of these volumes, bundle [0-9a-f]{12} was made for a store that has the rest$/m,
    );
  });

  test("chunks that a bundle for one store leaves out are missed, and the cause is told", async (t) => {
    const fixture = await world(t);
    const full = await oneVolume(fixture, ["acme/tiny"]);
    const changed = WEIGHTS.slice();
    changed.set([1, 2, 3], 12 * MIB);
    await fixture.trust("acme/tiny", { "model.safetensors": changed });
    const newer = await oneVolume(fixture, ["acme/tiny"], having(WEIGHTS));
    assert.ok(statSync(newer).size < 10 * MIB);
    for (const files of bothOrders(full, newer))
      refused(
        rescueFrom(fixture, files),
        /not the bytes of its name: a volume is damaged, or bundle .* was made for a store that has the rest$/m,
      );
  });

  test("a revocation in a newer bundle for one store counts, in both orders", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 5) });
    const other = makeSafetensors(1000, 6);
    await fixture.trust("acme/other", { "model.safetensors": other });
    const full = await oneVolume(fixture, ["acme/tiny"]);
    await fixture.revoke("acme/tiny", "leaks");
    const newer = await oneVolume(fixture, ["acme/other"], having(other));
    for (const files of bothOrders(full, newer)) refused(rescueFrom(fixture, files), /acme\/tiny@main was revoked/);
  });

  test("a revocation of the name counts for the versions before the one that it was made of", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 5) });
    const older = await oneVolume(fixture, ["acme/tiny"]);
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 6) });
    await fixture.revoke("acme/tiny", "leaks");
    for (const files of bothOrders(older, await oneVolume(fixture, [])))
      refused(rescueFrom(fixture, files), /acme\/tiny@main was revoked/);
  });

  test("a name that was promoted again after its revocation comes out, with the bytes of then", async (t) => {
    const fixture = await makeStoreFixture(t);
    const config = Buffer.from("{}");
    const weights = makeSafetensors(1000, 6);
    const first = { "model.safetensors": makeSafetensors(1000, 5), "config.json": config };
    const second = { ...first, "model.safetensors": weights };
    await fixture.trust("acme/tiny", first);
    const before = await oneVolume(fixture, ["acme/tiny"]);
    await fixture.revoke("acme/tiny", "leaks");
    const denial = await oneVolume(fixture, []);
    await fixture.trust("acme/tiny", second);
    const after = await oneVolume(fixture, ["acme/tiny"]);
    await fixture.trust("acme/tiny", { ...second, "README.md": Buffer.from("# newest\n") });
    const newest = await oneVolume(fixture, ["acme/tiny"]);
    for (const files of [[after], [before, denial, after], [after, denial, before], [newest], [newest, before]]) {
      const { status, stderr, target } = rescueFrom(fixture, files);
      assert.equal(status, 0, stderr);
      assert.deepEqual(readFileSync(join(target, "files/model.safetensors")), Buffer.from(weights));
    }
    // Whoever gives too little, or a revocation that came after, gets nothing.
    refused(rescueFrom(fixture, [before, denial]), /acme\/tiny@main was revoked, by statement [0-9a-f]{64}: leaks$/m);
    await fixture.revoke("acme/tiny", "leaks again");
    refused(rescueFrom(fixture, [newest, await oneVolume(fixture, [])]), /acme\/tiny@main was revoked/);
    refused(rescueFrom(fixture, [await oneVolume(fixture, ["acme/tiny"])]), /found none; .* says that it is revoked$/m);
  });

  test("who has refused the statement since counts no more, whichever bundle says so", async (t) => {
    const fixture = await makeStoreFixture(t);
    const { store, signers } = fixture;
    const name = parseName("acme/tiny");
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 5) });
    await fixture.revoke("acme/tiny", "leaks");
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 6) });
    const before = await oneVolume(fixture, ["acme/tiny"]);
    assert.equal(rescueFrom(fixture, [before]).status, 0);
    await reject(store, await planReject(store, { name }), "signed on the wrong machine", signers.bob);
    const denial = await oneVolume(fixture, []);
    const both = await oneVolume(fixture, ["acme/tiny"]);
    for (const files of [[both], ...bothOrders(before, denial)]) {
      refused(rescueFrom(fixture, files), /expected 2 people to have signed, found 1: alice; refused by: bob$/m);
      // Somebody who approves nothing here changes nothing.
      assert.equal(rescueFrom(fixture, files, ["alice"], undefined, "1").status, 0);
    }
    const unpacked = emptyFolder(fixture.folder, "unpacked");
    execFileSync("tar", ["-xf", denial, "-C", unpacked]);
    const refusal = /"refusals":\["([0-9a-f]{64})"\]/.exec(
      readFileSync(join(unpacked, "bundle/index.json"), "utf8"),
    )?.[1];
    const path = `${refusal?.slice(0, 2)}/${refusal?.slice(2)}`;
    const without = (part: string): string =>
      packed(join(fixture.folder, "less.tar"), unpacked, (member) => !member.startsWith(part));
    refused(rescueFrom(fixture, [before, without(`signatures/${path}`)]), /has lost its signatures/);
    refused(rescueFrom(fixture, [before, without(`objects/${path}`)]), /is in none of these volumes/);
  });

  test("what was revoked stays so, though people sign for it again after its revocation", async (t) => {
    const fixture = await makeStoreFixture(t);
    const first = await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 5) });
    await fixture.revoke("acme/tiny", "leaks");
    const second = await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(1000, 6) });
    const volume = await oneVolume(fixture, ["acme/tiny"]);
    assert.equal(rescueFrom(fixture, [volume]).status, 0);
    const unpacked = emptyFolder(fixture.folder, "unpacked");
    execFileSync("tar", ["-xf", volume, "-C", unpacked]);
    const index = join(unpacked, "bundle/index.json");
    const text = readFileSync(index, "utf8");
    const standing = /"heads":\["([0-9a-f]{64})"\]/.exec(text)?.[1] ?? assert.fail(text);
    const pathOf = (id: string): string => `${id.slice(0, 2)}/${id.slice(2)}`;
    const statement = readFileSync(join(unpacked, "objects", pathOf(standing)), "utf8");
    const again = Buffer.from(statement.replace(second.manifest, first.manifest));
    const id = sha256(again);
    mkdirSync(join(unpacked, "objects", id.slice(0, 2)), { recursive: true });
    writeFileSync(join(unpacked, "objects", pathOf(id)), again);
    mkdirSync(join(unpacked, "signatures", pathOf(id)), { recursive: true });
    for (const who of ["alice", "bob"] as const) {
      const { keyId } = fixture.signers[who].publicKey;
      const armored = await signSshsig(fixture.signers[who], "coffer-statement", again);
      writeFileSync(join(unpacked, "signatures", pathOf(id), `${keyId}.sig`), armored);
    }
    writeFileSync(index, text.replace(standing, id).replace(second.manifest, first.manifest));
    const forged = packed(join(fixture.folder, "forged.tar"), unpacked);
    refused(rescueFrom(fixture, [forged]), /bytes of acme\/tiny@main were revoked/);
  });

  test("a dot in a name is a dot, to what is taken and to what is revoked", async (t) => {
    const fixture = await makeStoreFixture(t);
    const [dotted, alike] = ["acme/tiny1.5@v2.0", "acme/tiny1x5@v2x0"];
    const weights = makeSafetensors(1000, 5);
    await fixture.trust(dotted, { "model.safetensors": weights });
    await fixture.trust(alike, { "model.safetensors": makeSafetensors(1000, 6) });
    const both = await oneVolume(fixture, [dotted, alike]);
    const taken = rescueFrom(fixture, [both], ["alice", "bob"], dotted);
    assert.equal(taken.status, 0, taken.stderr);
    assert.deepEqual(readFileSync(join(taken.target, "files/model.safetensors")), Buffer.from(weights));
    await fixture.revoke(alike, "leaks");
    const denial = await oneVolume(fixture, []);
    const still = rescueFrom(fixture, [both, denial], ["alice", "bob"], dotted);
    assert.equal(still.status, 0, still.stderr);
    refused(rescueFrom(fixture, [both, denial], ["alice", "bob"], alike), /acme\/tiny1x5@v2x0 was revoked/);
    await fixture.revoke(dotted, "leaks");
    const gone = [both, await oneVolume(fixture, [])];
    refused(rescueFrom(fixture, gone, ["alice", "bob"], dotted), /acme\/tiny1\.5@v2\.0 was revoked/);
  });

  test("volumes may lie where a colon or a space is in the path, and a file of the model may begin with a space", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", {
      "model.safetensors": makeSafetensors(64, 5),
      " notes/a  b.md": Buffer.from("x"),
    });
    const folder = join(fixture.folder, "stick:1 of 2");
    mkdirSync(folder);
    const volume = join(folder, "stick:a volume.tar");
    copyFileSync(await oneVolume(fixture, ["acme/tiny"]), volume);
    for (const [file, cwd] of [
      [volume, "/"],
      ["stick:a volume.tar", folder], // to tar alone: a file of another machine
    ] as const) {
      const { status, stderr, target } = rescueFrom(fixture, [file], undefined, undefined, undefined, cwd);
      assert.equal(status, 0, stderr);
      assert.equal(readFileSync(join(target, "files/ notes/a  b.md"), "utf8"), "x");
    }
  });

  test("a threshold that is no number of people is refused, also where enough have signed", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", { "model.safetensors": makeSafetensors(64, 5) });
    const files = [await oneVolume(fixture, ["acme/tiny"])];
    for (const threshold of ["0", "x", "", "00", "-1", "1x", "2 "])
      refused(
        rescueFrom(fixture, files, ["alice", "bob"], "acme/tiny@main", threshold),
        /expected how many people must/,
      );
    for (const threshold of ["1", "2"])
      assert.equal(rescueFrom(fixture, files, ["alice", "bob"], "acme/tiny@main", threshold).status, 0);
    refused(rescueFrom(fixture, files, ["alice", "bob"], "acme/tiny@main", "10"), /expected 10 people to have signed/);
  });
});
