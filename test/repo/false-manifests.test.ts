// SPDX-License-Identifier: Apache-2.0
/** People can sign a manifest that says what is not so of its blobs. Nobody loads by it, and no blob is blamed for it. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Digest, sha256, short } from "../../src/base/digest.ts";
import { CofferError, EXIT, isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { type EvidenceFinding, SIZE_DIFFERS } from "../../src/objects/documents/evidence.ts";
import { type Manifest, type ManifestFile, makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import type { Files, OpenFile } from "../../src/objects/files.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { Claims } from "../../src/repo/import/claims.ts";
import { importFrom } from "../../src/repo/import.ts";
import { evidenceMoves, inspectionEvidence } from "../../src/repo/inspection.ts";
import { promote } from "../../src/repo/promote.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore } from "../../src/repo/store.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { copied, folderOf, placeOf, volumesOf } from "../support/bundles.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const TRUE = "acme/true@v1";
const FALSE = "acme/false@v1";

/** What is said wrongly of a file; a list of chunks that nobody has is an object of its own. */
type Lie = (file: ManifestFile) => Partial<ManifestFile> & { readonly list?: Uint8Array };
const SIZE: Lie = () => ({ size: 10 });

/** The manifest again, with all files wrong, in quarantine by the word of a store that lies too. */
async function falsify(
  team: Team,
  { store }: Member,
  id: Digest,
  tell: Lie = SIZE,
  as = FALSE,
): Promise<Stored<Manifest>> {
  const { value } = await readObject(store.objects, id, "manifest", parseManifest);
  const lists: Uint8Array[] = [];
  const files = value.files.map((file) => {
    const { list, ...wrong } = tell(file);
    if (list !== undefined) lists.push(list);
    return { ...file, ...wrong, ...(list === undefined ? {} : { chunks: sha256(list) }) };
  });
  const lie = makeManifest({ ...value, files });
  const evidence = inspectionEvidence(lie.id, [], team.nowS);
  const armored = await signSshsig(await store.needSigner(), "coffer-evidence", evidence.bytes);
  await store.commit(async (head) => {
    const batch = store.batch();
    for (const object of [lie, ...lists.map((bytes) => ({ id: sha256(bytes), bytes }))]) batch.addObject(object);
    const moves = await evidenceMoves(store, head, batch, [{ evidence, armored }]);
    return { batch, moves: [...moves, { ref: nameRef("quarantined", parseName(as)), to: lie.id }] };
  });
  return lie;
}

/** What fsck says of the store, each with its exit status. */
async function said({ store }: Member) {
  const { problems, notes, exit } = await fsck(store);
  return { problems: problems.map(({ code, where }) => `${code} ${where}`), notes, exit };
}

test("a candidate whose manifest says another size is worth a note, and is no damage", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const lie = await falsify(team, a, await a.trust(TRUE, model(1)));
  await a.propose(FALSE, "alice");
  const [file] = lie.value.files;
  const expected = new RegExp(
    `^objects/${lie.id.slice(0, 2)}/.*says 10 bytes of blob ${short(file?.sha256 ?? lie.id)} `,
  );
  assert.match((await said(a)).notes.join("\n"), expected);
  const report = await pull(b.store, a.location.root);
  assert.equal(report.names.find(({ name }) => name === parseName(FALSE).text)?.outcome, "proposed");
  for (const member of [a, b]) {
    const { problems, notes, exit } = await said(member);
    assert.deepEqual([problems, exit], [[], EXIT.ok]);
    assert.match(notes.join("\n"), expected);
  }
});

for (const when of ["before", "with"] as const) {
  test(`a promoted manifest that says another size fails inspection where the blob came ${when} it`, async (t) => {
    const team = makeTeam(t);
    const [a, b] = [await team.store("a"), await team.store("b")];
    const honest = await a.trust(TRUE, model(1));
    if (when === "before") await pull(b.store, a.location.root);
    const lie = await falsify(team, a, honest);
    await a.propose(FALSE, "alice", "bob");
    await promote(a.store, [parseName(FALSE)]);
    await pull(b.store, a.location.root);
    await assert.rejects(resolve(b.store, parseName(FALSE)), (error) => {
      assert.ok(isCofferError(error, "EVIDENCE_FAILED"), String(error));
      return true;
    });
    assert.equal((await resolve(b.store, parseName(TRUE))).manifest.id, honest);
    const at = `objects/${lie.id.slice(0, 2)}/${lie.id.slice(2)}`;
    const [theirs, ours] = [await said(a), await said(b)];
    assert.deepEqual([theirs.problems, theirs.exit], [[`EVIDENCE_FAILED ${at}`], EXIT.notTrusted]);
    assert.deepEqual(
      ours.problems.filter((problem) => problem.endsWith(at)),
      [`EVIDENCE_FAILED ${at}`],
    );
    assert.equal(ours.exit, EXIT.notTrusted);
    // Nor does it keep what is right from going on.
    const names = [FALSE, TRUE].map((name) => parseName(name));
    const bundle = await makeBundle(b.store, { names, patterns: [], candidates: false, blobs: true });
    const c = await team.store("c");
    await importFrom(c.store, await openPipe(copied(writeVolume(b.store, bundle, 1)), "a pipe"));
    assert.equal((await resolve(c.store, parseName(TRUE))).manifest.id, honest);
  });
}

/** The false one is promoted as well. */
async function promoted(team: Team, a: Member, honest: Digest, tell: Lie, as = FALSE): Promise<Stored<Manifest>> {
  const lie = await falsify(team, a, honest, tell, as);
  await a.propose(as, "alice", "bob");
  await promote(a.store, [parseName(as)]);
  return lie;
}

const CHUNKS = 3;
const large = { "m.safetensors": makeSafetensors((CHUNKS - 1) * LIMITS.chunkBytes + 1000, 5) };
/** Of the right length, with one digest in the middle that is nobody's. */
const LIST: Lie = () => ({ list: new Uint8Array(CHUNKS * 32).fill(7) });

async function codeOf(member: Member, name: string): Promise<string> {
  const found = await resolve(member.store, parseName(name)).catch((error: unknown) => error);
  return found instanceof CofferError ? found.code : "trusted";
}

for (const when of ["before", "with"] as const) {
  test(`a promoted manifest with a false chunk list fails inspection where the blob came ${when} it`, async (t) => {
    const team = makeTeam(t);
    const [a, b] = [await team.store("a"), await team.store("b")];
    const honest = await a.trust(TRUE, large);
    if (when === "before") await pull(b.store, a.location.root);
    await promoted(team, a, honest, LIST);
    await pull(b.store, a.location.root);
    assert.deepEqual([await codeOf(b, FALSE), await codeOf(b, TRUE)], ["EVIDENCE_FAILED", "trusted"]);
  });
}

test("an honest manifest is not found wrong by a blob that is damaged to what another one says", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const honest = await a.trust(TRUE, model(1));
  const lie = await promoted(team, a, honest, () => ({ size: 0 }));
  await b.trust("acme/own@v1", { ...model(1), "config.json": Buffer.from('{"a": 1}') });
  const blob = lie.value.files[0]?.sha256 ?? assert.fail();
  const path = join(b.location.root, blobPath(blob));
  const whole = readFileSync(path);
  for (const bytes of [Buffer.alloc(0), whole]) {
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    await pull(b.store, a.location.root).catch((error: unknown) => assert.ok(error instanceof CofferError));
    assert.notEqual(await codeOf(b, TRUE), "EVIDENCE_FAILED");
  }
  assert.deepEqual([await codeOf(b, TRUE), await codeOf(b, FALSE)], ["trusted", "EVIDENCE_FAILED"]);
});

for (const [what, lie] of [
  ["size", SIZE],
  ["chunk list", LIST],
] as const) {
  test(`volumes that come one after the other bring an honest model past a false ${what}`, async (t) => {
    const team = makeTeam(t);
    const [a, b] = [await team.store("a"), await team.store("b")];
    const honest = await a.trust(TRUE, large);
    // As a candidate it brings no bytes, so that an honest store sends it.
    await falsify(team, a, honest, what === "size" ? (file) => ({ size: file.size + 1 }) : lie);
    await a.propose(FALSE, "alice");
    const gone = { ref: nameRef("quarantined", parseName(FALSE)) };
    await a.store.commit(async () => ({ moves: [gone], batch: a.store.batch() }));
    const made = await volumesOf(a.store, [TRUE, FALSE], 16 * 1024 * 1024, { candidates: true });
    assert.equal(made.volumes.length, 2);
    for (const number of [2, 1]) {
      const folder = folderOf(team.folder, made, [number]);
      await importFrom(b.store, await openVolumes([placeOf(folder)])).catch((error: unknown) =>
        assert.ok(isCofferError(error, "BUNDLE_INCOMPLETE"), String(error)),
      );
    }
    assert.equal(await codeOf(b, TRUE), "trusted");
  });
}

interface Counted {
  readonly team: Team;
  readonly a: Member;
  readonly b: Member;
  /** Pulls from `a`, as a command of its own. @returns how often all of a large blob that lies here was read */
  pulled(): Promise<number>;
}

/** Two stores, of which `b` counts how often it reads one of its large blobs from end to end, as a hash of it does. */
async function counted(t: TestContext): Promise<Counted> {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  let reads = 0;
  const watched = (files: Files): Files =>
    new Proxy(files, {
      get(target, member) {
        if (member === "open") {
          return async (path: string) => {
            const file = await target.open(path);
            return path.startsWith("blobs/") ? file && counting(file, () => (reads += 1)) : file;
          };
        }
        const value: unknown = Reflect.get(target, member);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const openFolder = (path: string): Files => {
    const files = openRealFiles(path);
    return path === b.location.root ? watched(files) : files;
  };
  const pulled = async (): Promise<number> => {
    reads = 0;
    await pull(await openStore(b.location, { ...team.ports, openFolder }), a.location.root);
    return reads;
  };
  return { team, a, b, pulled };
}

/** The file; if it is large, calls `onWhole` once so much was read of it as it holds. */
function counting(file: OpenFile, onWhole: () => void): OpenFile {
  let bytes = 0;
  return new Proxy(file, {
    get(target, member) {
      if (member === "read") {
        return async (buffer: Uint8Array, position: number) => {
          const count = await target.read(buffer, position);
          const { sizeBytes } = await target.stat();
          const isLarge = sizeBytes > LIMITS.chunkBytes;
          if (isLarge && bytes < sizeBytes && bytes + count >= sizeBytes) onWhole();
          bytes += count;
          return count;
        };
      }
      const value: unknown = Reflect.get(target, member);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const withNote = (text: string) => ({ ...large, "README.md": Buffer.from(text) });

test("a large blob of which a trusted manifest says the same is not hashed for the next ones", async (t) => {
  const { a, b, pulled } = await counted(t);
  await a.trust(TRUE, large);
  assert.equal(await pulled(), 0); // it was hashed as it came
  const names = [TRUE, "acme/second@v1", "acme/third@v1"];
  for (const name of names) {
    await a.trust(name, withNote(name));
    assert.equal(await pulled(), 0, name);
  }
  for (const name of names) assert.equal(await codeOf(b, name), "trusted");
});

test("nor for a manifest whose name holds the same in quarantine here, once that was inspected", async (t) => {
  const { a, b, pulled } = await counted(t);
  await b.add(TRUE, large);
  await a.trust(TRUE, withNote("# newer\n"));
  assert.equal(await pulled(), 0);
  assert.equal(await codeOf(b, TRUE), "trusted");
});

test("what only waits under another name vouches for nothing: then the bytes are hashed, once", async (t) => {
  const { a, b, pulled } = await counted(t);
  await b.add("acme/waits@v1", large);
  await a.trust(TRUE, withNote("# a model\n"));
  assert.equal(await pulled(), 1);
  await a.trust("acme/second@v1", withNote("# another\n"));
  assert.deepEqual([await pulled(), await pulled()], [0, 0]);
  assert.equal(await codeOf(b, TRUE), "trusted");
});

for (const [what, lie] of [
  ["size", (file) => ({ size: file.size + 1 })],
  ["chunk list", LIST],
] as readonly (readonly [string, Lie])[]) {
  test(`a false ${what} costs one hash of the blob, and then none, however often it is brought`, async (t) => {
    const { team, a, b, pulled } = await counted(t);
    const honest = await a.trust(TRUE, large);
    assert.equal(await pulled(), 0);
    await promoted(team, a, honest, lie);
    assert.equal(await pulled(), 1);
    for (let at = 0; at < 3; at += 1) assert.equal(await pulled(), 0);
    await a.trust("acme/second@v1", withNote("# another\n"));
    assert.equal(await pulled(), 0);
    const codes = [await codeOf(b, FALSE), await codeOf(b, TRUE), await codeOf(b, "acme/second@v1")];
    assert.deepEqual(codes, ["EVIDENCE_FAILED", "trusted", "trusted"]);
  });
}

test("several that say different things of one blob cost one hash together, and none vouches for another", async (t) => {
  const { team, a, b, pulled } = await counted(t);
  const honest = await a.trust(TRUE, large);
  await pulled();
  const [false2, false3, false4] = ["acme/false2@v1", "acme/false3@v1", "acme/false4@v1"];
  await promoted(team, a, honest, LIST);
  await promoted(team, a, honest, (file) => ({ size: file.size + 1 }), false2);
  await promoted(team, a, honest, (file) => ({ size: file.size + 2 }), false4);
  assert.equal(await pulled(), 1);
  await promoted(team, a, await a.add("acme/note@v1", withNote("# a model\n")), onlyLarge(LIST), false3);
  assert.equal(await pulled(), 1); // what failed says nothing of others: the bytes do
  assert.equal(await pulled(), 0);
  for (const name of [FALSE, false2, false3, false4]) assert.equal(await codeOf(b, name), "EVIDENCE_FAILED", name);
});

const onlyLarge =
  (lie: Lie): Lie =>
  (file) =>
    file.chunks === undefined ? {} : lie(file);

test("that a manifest was found false is believed of this store alone: a damaged blob is seen all the same", async (t) => {
  const { team, a, b, pulled } = await counted(t);
  const honest = await a.trust(TRUE, large);
  await pulled();
  const code = SIZE_DIFFERS as EvidenceFinding["code"];
  const finding = { code, level: "info", text: "a lie", path: "m.safetensors" } as const;
  const evidence = inspectionEvidence(honest, [finding], team.nowS);
  const armored = await signSshsig(await a.store.needSigner(), "coffer-evidence", evidence.bytes);
  await b.store.commit(async (head) => {
    const batch = b.store.batch();
    batch.addSignature(evidence.id, a.store.storeKey.keyId, armored);
    return { batch, moves: await evidenceMoves(b.store, head, batch, [{ evidence, armored }]) };
  });
  const { value } = await readObject(b.store.objects, honest, "manifest", parseManifest);
  const blob = value.files[0]?.sha256 ?? assert.fail();
  truncateSync(join(b.location.root, blobPath(blob)), LIMITS.chunkBytes + 1);
  const { damaged, mended } = await pull(await b.open(), a.location.root);
  assert.deepEqual(
    [...damaged, ...mended].map((one) => one.blob),
    [blob],
  );
});

test("a manifest that was found false of one file is not taken to be so of its others", async (t) => {
  const { team, a, b, pulled } = await counted(t);
  const small = { "n.safetensors": makeSafetensors(64, 6) };
  await a.trust(TRUE, large);
  await b.trust("acme/own@v1", small);
  const both = await a.add("acme/note@v1", { ...large, ...small });
  const lie = await promoted(
    team,
    a,
    both,
    onlyLarge((file) => ({ size: file.size + 1 })),
  );
  await pulled();
  const blob = lie.value.files.find(({ path }) => path === "n.safetensors")?.sha256 ?? assert.fail();
  truncateSync(join(b.location.root, blobPath(blob)), 10);
  const { damaged, mended } = await pull(await b.open(), a.location.root);
  assert.deepEqual(
    [...damaged, ...mended].map((one) => one.blob),
    [blob],
  );
});

test("of what is said of one blob the first sixteen things are looked at, each once, and other blobs are no worse for it", () => {
  const claims = new Claims();
  const [blob, other] = [sha256(Buffer.from("a")), sha256(Buffer.from("b"))];
  const fileOf = (size: number, path = "m.gguf"): ManifestFile => ({
    ...{ path: parseManifestPath(path), sha256: blob, size, format: "gguf" as ManifestFile["format"] },
  });
  for (let size = 1; size <= 40; size += 1) {
    claims.add(fileOf(size));
    claims.add(fileOf(size, "again.gguf"));
  }
  claims.add({ ...fileOf(3), chunks: other });
  claims.add({ ...fileOf(5), sha256: other });
  const first = Array.from({ length: 16 }, (_, at) => at + 1);
  assert.deepEqual(
    claims.of(blob).map(({ size }) => size),
    first,
  );
  assert.ok(claims.of(blob).every(({ path }) => path === "m.gguf"));
  assert.deepEqual([claims.of(blob, 16).length, claims.of(blob, 17).length, claims.of(blob, 3).length], [1, 0, 1]);
  assert.equal(claims.of(other).length, 1);
});
