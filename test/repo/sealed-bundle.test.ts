// SPDX-License-Identifier: Apache-2.0
/** Encrypted bundles between stores: written without anything in clear outside, taken over as any others, or not at all. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import type { Files } from "../../src/objects/files.ts";
import { type BundleRequest, makeBundle, sameBundle } from "../../src/repo/bundle.ts";
import { volumeNumbers, writeVolumes } from "../../src/repo/bundle-files.ts";
import { indexOf, inspectBundles, isVolumePath, type Media, streamVolumes } from "../../src/repo/bundle-media.ts";
import { clone } from "../../src/repo/clone.ts";
import { pullRemote, pushRemote } from "../../src/repo/exchange.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openAny, openArrived } from "../../src/repo/incoming.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { volumeBytesOf, writeVolume } from "../../src/sync/volume-writer.ts";
import { makeReader, payloadAt } from "../support/age.ts";
import { collect, emptyFolder, sourceOf } from "../support/bundles.ts";
import { codeOf } from "../support/codes.ts";
import { type Member, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";
const MIB = 1024 * 1024;
const REQUEST: BundleRequest = { names: [parseName(NAME)], patterns: [], candidates: false, blobs: true };
const [me, other] = await Promise.all([makeReader(), makeReader()]);

/** All files below the places where a store keeps something, by name and size. */
function holdings({ location }: Member): readonly string[] {
  return readdirSync(location.root, { recursive: true, encoding: "utf8" }).sort();
}

async function world(t: Parameters<typeof makeTeam>[0], bytes = 3 * MIB) {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1, bytes));
  const out = emptyFolder(team.folder, "stick");
  const media = (unlock = me.unlock as typeof me.unlock | undefined): Media => ({
    ...{ kind: "paths", paths: [{ absolute: out, shown: "stick" }], unlock },
  });
  const write = async (more: Partial<BundleRequest> = {}, files?: Files, sealing = me.sealing) => {
    const bundle = await makeBundle(a.store, { ...REQUEST, ...more });
    const target = { files: files ?? team.ports.openFolder(out) };
    const written = await writeVolumes(a.store, bundle, volumeNumbers(bundle), target, {
      random: team.ports.random,
      sealing,
    });
    return { bundle, written };
  };
  return { team, a, b, out, media, write };
}

/** An object whose calls go to `target`, but for those that `instead` has. */
function proxied<T extends object>(target: T, instead: Partial<T>): T {
  return new Proxy(target, {
    get(_target, key) {
      const value: unknown = Reflect.get(key in instead ? instead : target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** A folder that tells each byte that is written into any file of it. */
function recording(files: Files, seen: Buffer[]): Files {
  return proxied(files, {
    create: async (path, mode) => {
      const file = await files.create(path, mode);
      if (file === undefined) return undefined;
      const write = (bytes: Uint8Array) => {
        seen.push(Buffer.from(bytes));
        return file.write(bytes);
      };
      return proxied(file, { write });
    },
  });
}

test("what is written outside begins as age and holds nothing of the clear volume, also before it has its name", async (t) => {
  const { team, a, out, write } = await world(t);
  const seen: Buffer[] = [];
  const files = recording(team.ports.openFolder(out), seen);
  const { bundle, written } = await write({}, files);
  const clear = await collect(writeVolume(a.store, bundle, 1));
  const [volume] = written;
  assert.ok(volume !== undefined);
  assert.equal(volume.file, `${bundle.index.id.slice(0, 12)}-0001-of-0001.tar.age`);
  assert.equal(volume.bytes, me.sealing.sealedBytes(clear.length));
  const sealed = readFileSync(join(out, volume.file));
  assert.equal(sealed.length, volume.bytes);
  assert.deepEqual(Buffer.concat(seen), sealed, "all that was ever written there");
  assert.ok(sealed.toString("latin1").startsWith("age-encryption.org/v1\n"));
  for (let at = 0; at + 64 <= clear.length; at += 50_021) {
    const sample = clear.subarray(at, at + 64);
    if (sample.some((byte) => byte !== 0)) assert.ok(!sealed.includes(sample), `bytes ${at}`);
  }
  assert.deepEqual(readdirSync(out), [volume.file]);
});

test("the largest volume fits the medium once it is encrypted", async (t) => {
  const { write } = await world(t, 40 * MIB);
  const size = 16 * MIB;
  const { bundle, written } = await write({ volumeBytes: me.sealing.room(size) });
  assert.ok(written.length >= 3);
  for (const { bytes } of written) assert.ok(bytes <= size, `${bytes} of ${size}`);
  assert.ok(bundle.index.value.volumes.every((_, at) => volumeBytesOf(bundle.index, at + 1) < size));
});

test("a volume that cannot be written leaves nothing, and nothing in clear", async (t) => {
  const { a, team, out } = await world(t);
  const bundle = await makeBundle(a.store, REQUEST);
  const blobs = readdirSync(join(a.location.root, "blobs"), { recursive: true, encoding: "utf8" });
  const [blob = ""] = blobs.filter((name) => name.length > 40);
  rmSync(join(a.location.root, "blobs", blob));
  const options = { random: team.ports.random, sealing: me.sealing };
  const act = () => writeVolumes(a.store, bundle, [1], { files: team.ports.openFolder(out) }, options);
  assert.equal(await codeOf(act), "CORRUPT");
  assert.deepEqual(readdirSync(out), []);
});

test("import: the same as from a clear bundle", async (t) => {
  const { b, media, write, team } = await world(t, 20 * MIB);
  await write({ volumeBytes: me.sealing.room(16 * MIB) });
  const report = await importFrom(b.store, sourceOf(await openArrived(team.ports, media())));
  assert.deepEqual(
    report.names.map(({ outcome }) => outcome),
    ["adopted"],
  );
  assert.equal((await resolve(b.store, parseName(NAME))).verdict.trusted, true);
  const again = await importFrom(b.store, sourceOf(await openArrived(team.ports, media())));
  assert.deepEqual(again.entries, []);
});

test("import: nothing is stored of what this store's people cannot open, or what was changed", async (t) => {
  const { b, media, write, team, out } = await world(t);
  const { written } = await write();
  const path = join(out, written[0]?.file ?? "");
  const sealed = readFileSync(path);
  const before = holdings(b);
  const take = async (unlock?: typeof me.unlock) => {
    return importFrom(b.store, sourceOf(await openArrived(team.ports, media(unlock))));
  };
  const refused = async (bytes: Buffer, code: string, unlock?: typeof me.unlock) => {
    writeFileSync(path, bytes);
    assert.equal(await codeOf(() => take(unlock)), code);
    assert.deepEqual(holdings(b), before, code);
  };
  const flipped = (at: number): Buffer => {
    const bytes = Buffer.from(sealed);
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    return bytes;
  };
  await refused(sealed, "IDENTITY_WRONG", other.unlock);
  assert.equal(
    await codeOf(async () => sourceOf(await openArrived(team.ports, { ...media(), unlock: undefined }))),
    "IDENTITY_NEEDED",
  );
  await refused(sealed.subarray(0, payloadAt(sealed) + 65_552), "VOLUME_DAMAGED");
  await refused(sealed.subarray(0, -1), "VOLUME_DAMAGED");
  await refused(Buffer.concat([sealed, sealed]), "VOLUME_DAMAGED");
  await refused(flipped(payloadAt(sealed) - 40), "VOLUME_DAMAGED");
  await refused(flipped(payloadAt(sealed) + 9), "VOLUME_DAMAGED");
  await refused(flipped(sealed.length - 1), "VOLUME_DAMAGED");
  writeFileSync(path, sealed);
  assert.equal(await codeOf(take), "done");
});

test("encryption adds no trust: a stranger's bundle that is encrypted to us is a stranger's bundle", async (t) => {
  const { team, out, media, write } = await world(t);
  await write();
  const stranger = makeTeam(t);
  const c = await stranger.store("c");
  const report = await importFrom(c.store, sourceOf(await openArrived(team.ports, media())));
  assert.deepEqual([report.sameRoot, report.names.map(({ outcome }) => outcome)], [false, ["quarantined"]]);
  assert.ok(readdirSync(out).length > 0);
});

test("inspect, clone, and a pipe", async (t) => {
  const { team, a, out, media, write } = await world(t);
  const { bundle } = await write();
  const path = { absolute: out, shown: "stick" };
  assert.equal((await inspectBundles(team.ports, media())).bundles[0]?.id, bundle.index.id);
  assert.equal((await inspectBundles(team.ports, media(other.unlock))).failed[0]?.error.code, "IDENTITY_WRONG");
  assert.equal((await openAny(path, team.ports)).unread[0]?.error.code, "IDENTITY_NEEDED");
  const location = { ...a.location, root: join(team.folder, "cloned"), stateHome: join(team.folder, "cloned-state") };
  const open = async () => sourceOf(await openAny(path, team.ports, me));
  const root = { number: 1, digest: team.policy.id };
  const { report } = await clone(
    { ...location, secrets: join(team.folder, "s"), state: join(team.folder, "m") },
    open,
    root,
    team.ports,
  );
  assert.deepEqual(
    report.names.map(({ outcome }) => outcome),
    ["adopted"],
  );
  const pieces: Buffer[] = [];
  await streamVolumes(a.store, bundle, [1], me.sealing, async (bytes) => void pieces.push(Buffer.from(bytes)));
  const pipe = async function* () {
    yield* pieces;
  };
  const piped: Media = { kind: "pipe", stream: pipe(), shown: "stdin", unlock: me.unlock };
  assert.equal((await inspectBundles(team.ports, piped)).bundles[0]?.id, bundle.index.id);
});

test("push to a stick and pull from it; a bundle for others keeps no other out", async (t) => {
  const { a, b, out, write } = await world(t);
  const remote = { url: out };
  const locate = () => b.location;
  await write({ names: [], patterns: [] }, undefined, other.sealing);
  await pushRemote(a.store, remote, { ...REQUEST, names: [] }, { locate, sealing: me.sealing });
  assert.ok(readdirSync(out).every((name) => name.endsWith(".tar.age")));
  const pulled = await pullRemote(b.store, remote, { locate, unlock: me.unlock });
  assert.deepEqual(
    pulled.failed.map(({ error }) => error.code),
    ["IDENTITY_WRONG"],
  );
  assert.deepEqual(
    pulled.reports.flatMap(({ names }) => names.map(({ outcome }) => outcome)),
    ["adopted"],
  );
  const withoutIdentity = await pullRemote(b.store, remote, { locate });
  assert.deepEqual(
    withoutIdentity.failed.map(({ error }) => error.code),
    ["IDENTITY_NEEDED", "IDENTITY_NEEDED"],
  );
  const toStore = () =>
    pushRemote(a.store, { url: b.location.root }, { ...REQUEST, names: [] }, { locate, sealing: me.sealing });
  assert.equal(await codeOf(toStore), "USAGE");
});

test("again: the inner bytes are the same, the encrypted ones are not", async (t) => {
  const { team, a, out, write } = await world(t);
  const { bundle, written } = await write();
  const first = readFileSync(join(out, written[0]?.file ?? ""));
  const path = { absolute: out, shown: "stick" };
  assert.equal(await codeOf(() => indexOf(team.ports, path)), "IDENTITY_NEEDED");
  const { index, signature, sealed } = await indexOf(team.ports, path, me.unlock);
  assert.equal(sealed, true);
  const same = await sameBundle(a.store, index, signature);
  assert.deepEqual(await collect(writeVolume(a.store, same, 1)), await collect(writeVolume(a.store, bundle, 1)));
  await write();
  assert.notDeepEqual(readFileSync(join(out, written[0]?.file ?? "")), first);
});

test("the ending of --out says what will be in the file", () => {
  const path = (shown: string) => ({ absolute: `/x/${shown}`, shown });
  assert.equal(isVolumePath(path("a.tar"), undefined), true);
  assert.equal(isVolumePath(path("a.tar.age"), me.sealing), true);
  for (const name of ["a", "a.age", "a.tar.d"]) {
    assert.equal(isVolumePath(path(name), undefined), false);
    assert.equal(isVolumePath(path(name), me.sealing), false);
  }
  assert.throws(() => isVolumePath(path("a.tar"), me.sealing), { code: "USAGE" });
  assert.throws(() => isVolumePath(path("a.tar.age"), undefined), { code: "USAGE" });
});
