// SPDX-License-Identifier: Apache-2.0
/**
 * Encrypted volumes: read as if they were in clear, at any place and from a pipe; each way in which one is no good has its
 * code. That what was decrypted keeps to the rules of volumes is tested where those are (hostile.test.ts).
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import { LIMITS } from "../../src/base/limits.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { sealingTo, type Unlock, unlockBy } from "../../src/repo/sealing.ts";
import { CHUNK_BYTES, SEALED_CHUNK_BYTES } from "../../src/sync/age-stream.ts";
import { checkVolumes } from "../../src/sync/check.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { unsealFile, unsealStream } from "../../src/sync/sealed.ts";
import { volumeFileName } from "../../src/sync/volume-note.ts";
import { openBundles, openVolumes, type Place } from "../../src/sync/volumes.ts";
import { ageFile, makeReader, payloadAt, piped, sealTo } from "../support/age.ts";
import { collect, everything, folderOf, type MadeBundle, placeOf, volumesOf } from "../support/bundles.ts";
import { codeOf } from "../support/codes.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const [me, other] = await Promise.all([makeReader(), makeReader()]);

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "coffer-sealed-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file with these bytes, opened for whoever has `unlock`. */
async function openBytes(t: TestContext, bytes: Uint8Array, unlock: Unlock | undefined = me.unlock) {
  const path = folder(t);
  writeFileSync(join(path, "volume"), bytes);
  const file = await openRealFiles(path).open("volume");
  assert.ok(file !== undefined);
  t.after(() => file.close());
  return unsealFile(file, "volume", unlock);
}

async function readAll(t: TestContext, bytes: Uint8Array, unlock?: Unlock): Promise<Buffer> {
  const { file } = await openBytes(t, bytes, unlock);
  const all = Buffer.alloc((await file.stat()).sizeBytes);
  assert.equal(await file.read(all, 0), all.length);
  return all;
}

/** As a file and through a pipe, both. */
async function codesOf(t: TestContext, bytes: Uint8Array, unlock: Unlock | undefined = me.unlock): Promise<string> {
  const code = await codeOf(() => readAll(t, bytes, unlock));
  for (const step of [65_536, 999])
    assert.equal(await codeOf(() => collect(unsealStream(piped(bytes, step), "pipe", unlock))), code);
  return code;
}

describe("what was encrypted is read", () => {
  test("whole, at every border, and from any place of a file", async (t) => {
    for (const size of [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40 * CHUNK_BYTES + 5]) {
      const clear = randomBytes(size);
      const sealed = await sealTo(me.sealing, clear);
      assert.equal(sealed.length, me.sealing.sealedBytes(size));
      assert.deepEqual(await readAll(t, sealed), clear);
      for (const step of [1, 65_536].slice(size > CHUNK_BYTES ? 1 : 0))
        assert.deepEqual(await collect(unsealStream(piped(sealed, step), "pipe", me.unlock)), clear);
      const { file } = await openBytes(t, sealed);
      for (const from of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7, size - 1, size, size + 1]) {
        for (const length of [1, 100, CHUNK_BYTES, 18 * CHUNK_BYTES]) {
          if (from < 0) continue;
          const buffer = Buffer.alloc(length);
          const expected = clear.subarray(from, from + length);
          assert.equal(await file.read(buffer, from), expected.length, `${length} from ${from} of ${size}`);
          assert.deepEqual(buffer.subarray(0, expected.length), expected);
        }
      }
    }
  });

  test("by each of several recipients, and the most that fits a medium fits it", async (t) => {
    const both = await sealingTo([me, other].map(({ recipient }) => ({ text: recipient, what: "r" })));
    const clear = randomBytes(both.room(200_000));
    const sealed = await sealTo(both, clear);
    assert.equal(sealed.length, 200_000);
    for (const { unlock } of [me, other]) assert.deepEqual(await readAll(t, sealed, unlock), clear);
    assert.throws(() => both.room(100), /expected room for a header/);
  });

  test("by a post-quantum identity, and by no X25519 one", async (t) => {
    const identity = await generateHybridIdentity();
    const to = await sealingTo([{ text: await identityToRecipient(identity), what: "r" }]);
    const clear = randomBytes(to.room(100_000));
    const sealed = await sealTo(to, clear);
    assert.equal(sealed.length, 100_000);
    assert.deepEqual(
      await readAll(
        t,
        sealed,
        unlockBy(() => [{ text: identity, what: "id.txt" }]),
      ),
      clear,
    );
    assert.equal(await codeOf(() => readAll(t, sealed)), "IDENTITY_WRONG");
  });

  test("two files to the same recipients share nothing that could be compared", async () => {
    const [one, two] = [await sealTo(me.sealing, randomBytes(10)), await sealTo(me.sealing, randomBytes(10))];
    assert.notDeepEqual(one.subarray(22, 70), two.subarray(22, 70));
  });

  test("what is not encrypted goes through as it is", async (t) => {
    for (const clear of [new Uint8Array(), Buffer.from("age"), randomBytes(100_000)]) {
      assert.deepEqual(await readAll(t, clear, undefined), Buffer.from(clear));
      assert.deepEqual(await collect(unsealStream(piped(clear, 7), "pipe", undefined)), Buffer.from(clear));
    }
  });
});

describe("refusals", () => {
  const clear = randomBytes(3 * CHUNK_BYTES + 100);

  test("no identity, and one that it was not encrypted to", async (t) => {
    const sealed = await sealTo(me.sealing, clear);
    assert.equal(await codesOf(t, sealed), "done");
    const none = await codeOf(() =>
      readAll(
        t,
        sealed,
        unlockBy(() => []),
      ),
    );
    assert.equal(none, "IDENTITY_WRONG");
    assert.equal(await codesOf(t, sealed, other.unlock), "IDENTITY_WRONG");
    await assert.rejects(collect(unsealStream(piped(sealed), "pipe", undefined)), {
      code: "IDENTITY_NEEDED",
      message: 'pipe: is encrypted ("X25519"): expected an identity that can open it, found none',
    });
    const file = folder(t);
    writeFileSync(join(file, "v.tar.age"), sealed);
    assert.equal(await codeOf(() => openVolumes([placeOf(file, "v.tar.age")])), "IDENTITY_NEEDED");
  });

  test("what the identity file throws comes out, each time", async (t) => {
    const sealed = await sealTo(me.sealing, clear);
    const broken = unlockBy(() => [{ text: "nothing", what: "id.txt" }]);
    for (const _ of [1, 2]) assert.equal(await codeOf(() => readAll(t, sealed, broken)), "IDENTITY_INVALID");
  });

  test("a payload that ends at each border of a chunk, within one, or before the first", async (t) => {
    const sealed = await sealTo(me.sealing, clear);
    const at = payloadAt(sealed);
    for (const chunks of [0, 1, 2, 3]) {
      for (const more of [0, 1, 16, 17, 5000]) {
        const cut = sealed.subarray(0, at + chunks * SEALED_CHUNK_BYTES + more);
        if (cut.length < sealed.length) assert.equal(await codesOf(t, cut), "VOLUME_DAMAGED", `${chunks} and ${more}`);
      }
    }
    assert.equal(await codesOf(t, sealed.subarray(0, -1)), "VOLUME_DAMAGED");
  });

  test("a header that ends early", async (t) => {
    const sealed = await sealTo(me.sealing, clear);
    const at = payloadAt(sealed);
    for (const end of [22, 23, 60, at - 60, at - 17, at - 16, at - 1])
      assert.equal(await codesOf(t, sealed.subarray(0, end)), "VOLUME_DAMAGED", `${end} of ${at}`);
  });

  test("bytes behind the end, of a full last chunk and of another", async (t) => {
    for (const size of [0, 5, CHUNK_BYTES, CHUNK_BYTES + 5]) {
      const sealed = await sealTo(me.sealing, randomBytes(size));
      for (const more of [1, 16, 17, 100_000])
        assert.equal(
          await codesOf(t, Buffer.concat([sealed, randomBytes(more)])),
          "VOLUME_DAMAGED",
          `${size}, ${more}`,
        );
      assert.equal(await codesOf(t, Buffer.concat([sealed, sealed])), "VOLUME_DAMAGED");
    }
  });

  test("any byte of the header that is changed", async (t) => {
    const sealed = await sealTo(me.sealing, randomBytes(10));
    const codes = new Map<string, number>();
    for (let at = AGE_LINE; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const code = await codeOf(() => readAll(t, changed));
      assert.notEqual(code, "done", `byte ${at}`);
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    // A stanza of another kind or for another key looks like somebody else's; everything else is damage.
    assert.deepEqual([...codes.keys()].sort(), ["IDENTITY_WRONG", "VOLUME_DAMAGED"]);
  });

  test("one byte of the payload that is changed, at both ends of each chunk", async (t) => {
    const sealed = await sealTo(me.sealing, clear);
    const from = payloadAt(sealed);
    for (let at = from - 16; at < sealed.length; at += SEALED_CHUNK_BYTES / 2) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 0x80;
      assert.equal(await codesOf(t, changed), "VOLUME_DAMAGED", `byte ${at - from}`);
    }
  });

  test("a header that is too large, one that never ends, and one that just fits", async (t) => {
    const line = `-> nobody ${"x".repeat(53)}\n\n`;
    const times = (LIMITS.ageHeaderBytes - 200) / line.length;
    const fits = ageFile(randomBytes(16), line.repeat(times), clear);
    assert.equal(await codesOf(t, fits), "IDENTITY_WRONG");
    const over = ageFile(randomBytes(16), line.repeat(times + 5), clear);
    assert.equal(await codesOf(t, over), "BUNDLE_INVALID");
    let asked = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("age-encryption.org/v1\n");
      for (; ; asked += 1) yield Buffer.from(line.repeat(10));
    }
    assert.equal(await codeOf(() => collect(unsealStream(endless(), "pipe", me.unlock))), "BUNDLE_INVALID");
    assert.ok(asked < 200, `${asked} pieces`);
  });

  test("armor, another version, a passphrase", async (t) => {
    assert.equal(await codesOf(t, Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n")), "UNSUPPORTED");
    assert.equal(await codesOf(t, Buffer.from("age-encryption.org/v2\n-> X25519 a\n")), "UNSUPPORTED");
    const passphrase = ageFile(randomBytes(16), `-> scrypt ${"A".repeat(22)} 30\n${"A".repeat(43)}\n`, clear);
    await assert.rejects(readAll(t, passphrase), { code: "IDENTITY_WRONG", message: /\("scrypt"\)$/ });
  });

  test("text of a header cannot steer a terminal", async () => {
    const file = ageFile(randomBytes(16), `-> \x1b[31m${"k".repeat(100)} x\n\n`, new Uint8Array(1));
    await assert.rejects(collect(unsealStream(piped(file), "pipe", undefined)), (error: Error) => {
      assert.ok(!error.message.includes("\x1b"));
      assert.ok(error.message.length < 200, error.message);
      return true;
    });
  });

  test("too many recipients for a header", async () => {
    const many = await Promise.all(Array.from({ length: 340 }, () => makeRecipient()));
    assert.equal(await codeOf(() => sealingTo(many)), "LIMIT_EXCEEDED");
    assert.equal(await codeOf(() => sealingTo(many.slice(0, 300))), "done");
  });
});

/** The first line: without it, it is something else. */
const AGE_LINE = 22;

async function makeRecipient() {
  return { text: await identityToRecipient(await generateX25519Identity()), what: "r" };
}

describe("volumes", () => {
  async function world(t: TestContext): Promise<{ readonly made: MadeBundle; readonly parent: string }> {
    const fixture = await makeStoreFixture(t);
    for (const at of [1, 2, 3]) await fixture.trust(`acme/m${at}`, { "w.safetensors": makeSafetensors(100_000, at) });
    return { made: await volumesOf(fixture.store, ["acme/m1", "acme/m2", "acme/m3"], 140_000), parent: fixture.folder };
  }

  /** A folder in which the volumes that `sealed` names are encrypted. */
  async function mixed(t: TestContext, sealed: readonly number[], to = me) {
    const { made, parent } = await world(t);
    const path = folderOf(parent, made);
    for (const number of sealed) {
      const name = join(path, volumeFileName(made.bundle.index.id, number, made.volumes.length));
      writeFileSync(`${name}.age`, await sealTo(to.sealing, made.volumes[number - 1] ?? Buffer.alloc(0)));
      rmSync(name);
    }
    return { made, path, place: (unlock?: Unlock): Place => ({ ...placeOf(path), ...(unlock && { unlock }) }) };
  }

  test("some encrypted and some in clear are one set, and give what the clear ones give", async (t) => {
    const { made, place } = await mixed(t, [1, 3]);
    assert.ok(made.volumes.length >= 3);
    const expected = await everything(await openPipe(piped(Buffer.concat(made.volumes)), "pipe"));
    const volumes = await openVolumes([place(me.unlock)]);
    assert.deepEqual([volumes.sealed, volumes.missing, volumes.faults], [true, [], []]);
    assert.deepEqual(await everything(volumes), expected);
    const none: string[] = [];
    for await (const { item } of volumes.parcels(({ kind }) => kind === "signature")) none.push(item.kind);
    assert.ok(none.length > 0, "one can go ahead in an encrypted volume");
    const checked = await checkVolumes(await openVolumes([place(me.unlock)]));
    assert.deepEqual([checked.faults, checked.wanted, checked.blobs], [[], [], 3]);
  });

  test("without the identity, or with another, what is shut is told, and the open volumes count", async (t) => {
    const { place } = await mixed(t, [2]);
    for (const [unlock, code] of [
      [undefined, "IDENTITY_NEEDED"],
      [other.unlock, "IDENTITY_WRONG"],
    ] as const) {
      const { faults, missing, parcels } = await openVolumes([place(unlock)]);
      assert.deepEqual([faults.map(({ error }) => error.code), missing.length], [[code], 1]);
      let objects = 0;
      for await (const { item } of parcels(() => true)) objects += Number(item.kind === "object");
      assert.ok(objects > 0);
    }
  });

  test("a shut volume beside an open copy of the same is for somebody else, and keeps nothing out", async (t) => {
    const { made, path, place } = await mixed(t, []);
    const expected = await everything(await openVolumes([place()]));
    const stray = volumeFileName(made.bundle.index.id, 1, made.volumes.length).replace(".tar", " (1).tar.age");
    writeFileSync(join(path, stray), await sealTo(other.sealing, Buffer.from("anything")));
    for (const unlock of [undefined, me.unlock]) {
      const { bundles, unread, passedOver } = await openBundles([place(unlock)]);
      assert.deepEqual([bundles.length, unread], [1, []]);
      assert.deepEqual([bundles[0]?.faults, passedOver.map(({ what }) => what)], [[], [stray]]);
      assert.ok(bundles[0] !== undefined);
      assert.deepEqual(await everything(bundles[0]), expected);
    }
  });

  test("one that is damaged is set apart as a clear one is, and the others count", async (t) => {
    const { made, path, place } = await mixed(t, [1, 2]);
    const name = `${volumeFileName(made.bundle.index.id, 2, made.volumes.length)}.age`;
    const sealed = await sealTo(me.sealing, made.volumes[1] ?? Buffer.alloc(0));
    sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 1;
    writeFileSync(join(path, name), sealed);
    const checked = await checkVolumes(await openVolumes([place(me.unlock)]));
    assert.deepEqual(checked.wanted, [2]);
    assert.deepEqual(
      checked.faults.map(({ what, error }) => [what, error.code]),
      [[name, "VOLUME_DAMAGED"]],
    );
    writeFileSync(join(path, name), sealed.subarray(0, 40));
    const volumes = await openVolumes([place(me.unlock)]);
    assert.deepEqual(
      volumes.faults.map(({ error }) => error.code),
      ["VOLUME_DAMAGED"],
    );
  });

  test("content decides what is encrypted, not the name", async (t) => {
    const { made, path, place } = await mixed(t, [1]);
    const name = join(path, volumeFileName(made.bundle.index.id, 1, made.volumes.length));
    renameSync(`${name}.age`, name);
    assert.deepEqual((await openVolumes([place(me.unlock)])).faults, []);
    writeFileSync(`${name}.age`, made.volumes[0] ?? "");
    rmSync(name);
    const volumes = await openVolumes([place()]);
    assert.deepEqual([volumes.faults, volumes.sealed], [[], false]);
  });

  test("one that holds no tar, nothing, or a volume and more keeps to the rules of volumes", async (t) => {
    const { made, parent } = await world(t);
    const [first = Buffer.alloc(0)] = made.volumes;
    const cases: readonly (readonly [Buffer, string])[] = [
      [Buffer.from("no tar"), "VOLUME_DAMAGED"],
      [Buffer.alloc(0), "VOLUME_DAMAGED"],
      [randomBytes(5000), "BUNDLE_INVALID"],
      [await sealTo(me.sealing, first), "BUNDLE_INVALID"],
      [Buffer.concat([first, Buffer.alloc(512)]), "BUNDLE_INVALID"],
      [first.subarray(0, -512), "VOLUME_DAMAGED"],
    ];
    for (const [clear, code] of cases) {
      writeFileSync(join(parent, "v.tar.age"), await sealTo(me.sealing, clear));
      const place = { ...placeOf(parent, "v.tar.age"), unlock: me.unlock };
      const found = await codeOf(async () => {
        const [fault] = (await checkVolumes(await openVolumes([place]))).faults;
        if (fault !== undefined) throw fault.error;
      });
      assert.equal(found, code);
    }
  });

  test("through a pipe all volumes are one age file; a second one behind it is refused", async (t) => {
    const { made } = await world(t);
    const all = Buffer.concat(made.volumes);
    const expected = await everything(await openPipe(piped(all), "pipe"));
    const sealed = await sealTo(me.sealing, all);
    assert.deepEqual(await everything(await openPipe(piped(sealed), "pipe", me.unlock)), expected);
    const read = async (bytes: Buffer) => everything(await openPipe(piped(bytes), "pipe", me.unlock));
    assert.equal(await codeOf(() => read(Buffer.concat([sealed, sealed]))), "VOLUME_DAMAGED");
    const one = await sealTo(me.sealing, made.volumes[0] ?? Buffer.alloc(0));
    assert.equal(await codeOf(() => read(one)), "BUNDLE_INCOMPLETE");
    assert.equal(await codeOf(() => read(one.subarray(0, -1000))), "VOLUME_DAMAGED");
    assert.equal(await codeOf(async () => openPipe(piped(sealed), "pipe")), "IDENTITY_NEEDED");
  });

  test("an endless encrypted pipe ends where the bundle ends", async (t) => {
    const { made } = await world(t);
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (const bytes of made.volumes) yield bytes;
      for (; ; given += 1) yield randomBytes(100_000);
    }
    const read = async () => everything(await openPipe(me.sealing.seal(endless()), "pipe", me.unlock));
    assert.equal(await codeOf(read), "BUNDLE_INVALID");
    assert.ok(given < 50, `${given} pieces`);
  });
});
