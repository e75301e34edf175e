// SPDX-License-Identifier: Apache-2.0
/** With `mend` an import looks at the bytes that lie here, and replaces those that are damaged by what comes. Invariant 1. */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Digest, short } from "../../src/base/digest.ts";
import { CofferError, EXIT } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { parseManifest } from "../../src/objects/documents/manifest.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath, objectPath } from "../../src/objects/layout.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { readReceipt, writeReceipt } from "../../src/repo/delivery.ts";
import { pullRemote } from "../../src/repo/exchange.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { Damage } from "../../src/repo/import/damage.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { importAll } from "../../src/repo/import-all.ts";
import { openArrived } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { openStore } from "../../src/repo/store.ts";
import { createServer } from "../../src/server/server.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { folderOf, placeOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const NAME = "acme/tiny@main";
const OTHER = "acme/other@main";

interface World {
  readonly team: Team;
  readonly a: Member;
  readonly b: Member;
  readonly manifest: Digest;
  readonly blob: Digest;
}

/** A receiver that has what the sender has. */
async function makeWorld(t: TestContext, files = model(1)): Promise<World> {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, files);
  await pull(b.store, a.location.root);
  return { team, a, b, manifest, blob: await blobOf(a, manifest) };
}

async function blobOf({ store }: Member, manifest: Digest): Promise<Digest> {
  const { value } = await readObject(store.objects, manifest, "manifest", parseManifest);
  return value.files[0]?.sha256 ?? assert.fail("a model without files");
}

/** Flips the last bit of a file of a store. */
function flip({ location }: Member, path: string): void {
  const file = join(location.root, path);
  const bytes = readFileSync(file);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  chmodSync(file, 0o644);
  writeFileSync(file, bytes);
}

const blobsOf = (of: readonly { readonly blob: Digest }[]): readonly Digest[] => of.map(({ blob }) => blob);

const outcomes = ({ names }: ImportReport): readonly string[] => names.map(({ outcome }) => outcome);

/** Nothing moved, that blob was mended and is no new one, and the store is whole again. */
async function isMended({ b, blob }: World, report: ImportReport | undefined): Promise<void> {
  assert.ok(report);
  assert.deepEqual([blobsOf(report.mended), report.damaged], [[blob], []]);
  assert.deepEqual([outcomes(report), report.entries, report.blobs.count], [["already"], [], 0]);
  assert.deepEqual((await fsck(b.store)).problems, []);
  assert.deepEqual(readdirSync(join(b.location.root, "local/tmp")), []);
}

async function isDamaged({ b, blob }: World): Promise<void> {
  const { problems, exit } = await fsck(b.store);
  assert.deepEqual(
    problems.map(({ code, where, names }) => [code, where, names]),
    [["CORRUPT", blobPath(blob), [NAME]]],
  );
  assert.equal(exit, EXIT.corrupt);
}

const bundleOf = async ({ team, a }: World, more: Parameters<typeof volumesOf>[3] = {}) =>
  openVolumes([placeOf(folderOf(team.folder, await volumesOf(a.store, [NAME], undefined, more)))]);

async function serve(t: TestContext, member: Member): Promise<string> {
  const server = createServer(await member.open(), { headerTimeoutMs: 600_000, offerPatienceMs: 600_000 });
  const { port } = await server.listen(0);
  t.after(() => server.close(0));
  return `http://127.0.0.1:${port}`;
}

type Options = Parameters<typeof importFrom>[2];

const MEDIA: readonly [
  string,
  (t: TestContext, world: World, options: Options) => Promise<ImportReport | undefined>,
][] = [
  ["a bundle", async (_t, world, options) => importFrom(world.b.store, await bundleOf(world), options)],
  ["another store's folder", (_t, { a, b }, options) => pull(b.store, a.location.root, options)],
  [
    "a server",
    async (t, { a, b }, options) => {
      const how = { ...options, locate: (root: string) => ({ ...b.location, root }) };
      return (await pullRemote(b.store, { url: await serve(t, a) }, how)).reports[0];
    },
  ],
  [
    "a folder with a store and volumes",
    async (_t, world, options) => {
      const made = await volumesOf(world.a.store, [NAME]);
      for (const volume of made.volumes) writeFileSync(join(world.a.location.root, "bundle.tar"), volume);
      const how = { ...options, locate: (root: string) => ({ ...world.b.location, root }) };
      return (await pullRemote(world.b.store, { url: world.a.location.root }, how)).reports[0];
    },
  ],
];

for (const [what, take] of MEDIA) {
  test(`a blob with a bit that flipped is taken again from ${what}, if it is to be mended`, async (t) => {
    const world = await makeWorld(t);
    flip(world.b, blobPath(world.blob));
    const blind = await take(t, world, {});
    assert.deepEqual([blind?.mended, blind?.damaged], [[], []]);
    await isDamaged(world);
    await isMended(world, await take(t, world, { mend: true }));
    const again = await take(t, world, { mend: true });
    assert.deepEqual([again?.mended, again?.damaged], [[], []]);
  });
}

test("fsck names the models that need a blob which is damaged or gone", async (t) => {
  const world = await makeWorld(t);
  flip(world.b, blobPath(world.blob));
  const text = async () => (await fsck(world.b.store)).problems.map((problem) => problem.text);
  assert.match((await text()).join(), /^its bytes are those of [0-9a-f]{12}; needed by acme\/tiny@main$/);
  rmSync(join(world.b.location.root, blobPath(world.blob)));
  assert.deepEqual(await text(), ["m.safetensors is missing; needed by acme/tiny@main"]);
});

test("what the disk does not give back counts as damaged, where it is to be mended", async (t) => {
  const { b, blob } = await makeWorld(t);
  const files: Files = Object.create(b.store.files);
  const failing = (code: string) => () =>
    Promise.reject(new CofferError("IO_ERROR", "no bytes", { cause: Object.assign(new Error(code), { code }) }));
  files.open = failing("EIO");
  const damage = new Damage(files, true);
  assert.equal(await damage.look(blob, "m.safetensors"), undefined);
  assert.deepEqual(damage.left, [{ blob, path: "m.safetensors" }]);
  await assert.rejects(new Damage(files, false).look(blob), { code: "IO_ERROR" });
  files.open = failing("EACCES");
  await assert.rejects(new Damage(files, true).look(blob), { code: "IO_ERROR" });
});

test("nothing is read of what is whole here", async (t) => {
  const world = await makeWorld(t);
  const source = await bundleOf(world);
  const read: string[] = [];
  const watched: typeof source = {
    ...source,
    async *parcels(...asked) {
      for await (const { item, read: pieces } of source.parcels(...asked)) {
        const watch = (): ReturnType<typeof pieces> => {
          read.push(item.kind);
          return pieces();
        };
        yield { item, read: watch };
      }
    },
  };
  const report = await importFrom(world.b.store, watched, { mend: true });
  assert.deepEqual([report.mended, report.damaged, report.entries], [[], [], []]);
  assert.deepEqual([read.includes("object"), read.includes("blob")], [true, false]);
});

test("a blob of another size is mended without being told to", async (t) => {
  const world = await makeWorld(t);
  const file = join(world.b.location.root, blobPath(world.blob));
  chmodSync(file, 0o644);
  truncateSync(file, 10);
  await isMended(world, await importFrom(world.b.store, await bundleOf(world)));
});

test("what did not come is damaged still, and told", async (t) => {
  const world = await makeWorld(t);
  flip(world.b, blobPath(world.blob));
  const report = await importFrom(world.b.store, await bundleOf(world, { blobs: false }), { mend: true });
  assert.deepEqual([report.mended, report.damaged], [[], [{ blob: world.blob, path: "m.safetensors" }]]);
  await isDamaged(world);
});

test("of several bundles any may have it", async (t) => {
  const world = await makeWorld(t);
  flip(world.b, blobPath(world.blob));
  const folder = folderOf(world.team.folder, await volumesOf(world.a.store, [NAME], undefined, { blobs: false }));
  await world.a.trust(OTHER, model(2));
  const full = folderOf(world.team.folder, await volumesOf(world.a.store, [NAME]));
  const paths = [folder, full].map((absolute) => ({ absolute, shown: absolute }));
  const arrived = await openArrived(world.team.ports, { kind: "paths", paths });
  const { reports } = await importAll(world.b.store, arrived, { mend: true });
  assert.deepEqual(
    reports.map(({ mended, damaged }) => [blobsOf(mended), damaged]),
    [
      [[], []],
      [[world.blob], []],
    ],
  );
  assert.deepEqual((await fsck(world.b.store)).problems, []);
});

/** The same files; tells the path of each that is opened. */
function opening(files: Files, onOpen: (path: string) => void): Files {
  return new Proxy(files, {
    get(target, member) {
      const value: unknown = Reflect.get(target, member);
      if (typeof value !== "function") return value;
      const act = value.bind(target) as (...args: unknown[]) => unknown;
      if (member !== "open") return act;
      return (path: string) => {
        onOpen(path);
        return act(path);
      };
    },
  });
}

test("several bundles together hash each blob that lies here once, and the next time once more", async (t) => {
  const world = await makeWorld(t);
  const { team, a, b, blob } = world;
  const paths: { absolute: string; shown: string }[] = [];
  const next = async (names: readonly string[]): Promise<void> => {
    const absolute = folderOf(team.folder, await volumesOf(a.store, names));
    paths.push({ absolute, shown: absolute });
  };
  await next([NAME]);
  const second = await blobOf(a, await a.trust(OTHER, model(2)));
  await next([NAME, OTHER]);
  await a.trust("acme/third@main", model(3));
  await next([NAME, OTHER]);
  await pull(b.store, a.location.root);
  const opened: string[] = [];
  const openFolder = (path: string): Files => {
    const files = team.ports.openFolder(path);
    return path === b.location.root ? opening(files, (what) => opened.push(what)) : files;
  };
  const imported = async () => {
    opened.length = 0;
    const store = await openStore(b.location, { ...team.ports, openFolder });
    const { reports } = await importAll(store, await openArrived(team.ports, { kind: "paths", paths }), { mend: true });
    assert.equal(reports.length, 3);
    return reports.map(({ mended }) => blobsOf(mended));
  };
  const hashes = (of: Digest): number => opened.filter((path) => path === blobPath(of)).length;
  assert.deepEqual(await imported(), [[], [], []]);
  assert.deepEqual([hashes(blob), hashes(second)], [1, 1]);
  await imported();
  assert.deepEqual([hashes(blob), hashes(second)], [1, 1]); // the next run believes nothing of the last one
  flip(b, blobPath(second));
  assert.deepEqual(await imported(), [[], [second], []]);
  assert.deepEqual((await fsck(b.store)).problems, []);
});

test("a blob that was whole and has another size now is hashed again", async (t) => {
  const { b, blob } = await makeWorld(t);
  const damage = new Damage(b.store.files, true);
  assert.equal((await damage.look(blob))?.sha256, blob);
  const file = join(b.location.root, blobPath(blob));
  chmodSync(file, 0o644);
  truncateSync(file, 10);
  assert.equal(await damage.look(blob), undefined);
  rmSync(file);
  assert.equal(await damage.look(blob), undefined);
});

test("a source that is damaged as well mends nothing, and breaks nothing", async (t) => {
  const world = await makeWorld(t);
  flip(world.b, blobPath(world.blob));
  flip(world.a, blobPath(world.blob));
  await assert.rejects(pull(world.b.store, world.a.location.root, { mend: true }), { code: "OBJECT_MISMATCH" });
  await isDamaged(world);
});

test("documents, chunk lists and signatures that came are written again where those here are damaged", async (t) => {
  const world = await makeWorld(t, { "m.safetensors": makeSafetensors(LIMITS.chunkBytes + 1000, 3) });
  const { a, b, manifest } = world;
  const { value } = await readObject(a.store.objects, manifest, "manifest", parseManifest);
  const chunks = value.files[0]?.chunks ?? assert.fail("a small blob");
  const signatures = readdirSync(join(b.location.root, "signatures", manifest.slice(0, 2)))
    .filter((name) => name.startsWith(manifest.slice(2)))
    .map((name) => `signatures/${manifest.slice(0, 2)}/${name}`);
  assert.ok(signatures.length > 0);
  const promoted = (await (await b.store.head()).readRef(nameRef("trusted", parseName(NAME)))) ?? assert.fail("no ref");
  await a.trust(OTHER, model(2));
  await a.revoke(OTHER);
  await pull(b.store, a.location.root);
  const denied = (await (await b.store.head()).readRef(nameRef("revoked", parseName(OTHER)))) ?? assert.fail("no ref");
  const objects = [manifest, chunks, promoted, denied].map(objectPath);
  for (const path of [...objects, ...signatures]) flip(b, path);
  assert.ok((await fsck(b.store)).problems.length > 0);
  const report = await importFrom(b.store, await bundleOf(world), { mend: true });
  assert.deepEqual([outcomes(report), report.entries], [["already", "already"], []]);
  assert.deepEqual((await fsck(b.store)).problems, []);
});

test("what waits in quarantine, from another policy root, is mended too", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  const blob = await blobOf(a, await a.trust(NAME, model(1)));
  await pull(b.store, a.location.root);
  flip(b, blobPath(blob));
  const world = { team, a, b, blob, manifest: blob };
  await isDamaged(world);
  await isMended(world, await pull(b.store, a.location.root, { mend: true }));
});

test("chunks that were left out come from another version, and never from the damaged blob itself", async (t) => {
  const first = makeSafetensors(3 * LIMITS.chunkBytes, 5);
  const world = await makeWorld(t, { "m.safetensors": first });
  const { a, b } = world;
  const { receipt, inventory } = await readReceipt(await writeReceipt(b.store));
  const receiver = { store: receipt.value.store, receipt: receipt.id, blobs: new Set<Digest>(inventory.blobs) };
  const next = first.slice();
  next[LIMITS.chunkBytes + 5] = (next[LIMITS.chunkBytes + 5] ?? 0) ^ 1;
  const blob = await blobOf(a, await a.trust(NAME, { "m.safetensors": next }));
  const source = () => bundleOf(world, { receiver });
  await importFrom(b.store, await source());
  flip(b, blobPath(blob)); // in a chunk that does not travel
  await isMended({ ...world, blob }, await importFrom(b.store, await source(), { mend: true }));
  rmSync(join(b.location.root, blobPath(world.blob)));
  flip(b, blobPath(blob));
  const report = await importFrom(b.store, await source(), { mend: true });
  assert.deepEqual([blobsOf(report.damaged), report.mended], [[blob], []], short(blob));
  assert.equal((await fsck(b.store)).problems[0]?.names?.[0], parseName(NAME).text);
});
