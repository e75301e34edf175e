// SPDX-License-Identifier: Apache-2.0
/** People can sign a manifest that says what is not so of its blobs. Nobody loads by it, and no blob is blamed for it. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Digest, sha256, short } from "../../src/base/digest.ts";
import { CofferError, EXIT, isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { type Manifest, type ManifestFile, makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { importFrom } from "../../src/repo/import.ts";
import { evidenceMoves, inspectionEvidence } from "../../src/repo/inspection.ts";
import { promote } from "../../src/repo/promote.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
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
async function falsify(team: Team, { store }: Member, id: Digest, tell: Lie = SIZE): Promise<Stored<Manifest>> {
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
    return { batch, moves: [...moves, { ref: nameRef("quarantined", parseName(FALSE)), to: lie.id }] };
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
async function promoted(team: Team, a: Member, honest: Digest, tell: Lie): Promise<Stored<Manifest>> {
  const lie = await falsify(team, a, honest, tell);
  await a.propose(FALSE, "alice", "bob");
  await promote(a.store, [parseName(FALSE)]);
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
