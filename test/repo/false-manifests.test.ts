// SPDX-License-Identifier: Apache-2.0
/** People can sign a manifest that says what is not so of its blobs. Nobody loads by it, and no blob is blamed for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Digest, short } from "../../src/base/digest.ts";
import { EXIT, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { type Manifest, makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
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
import { copied } from "../support/bundles.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const TRUE = "acme/true@v1";
const FALSE = "acme/false@v1";

/** The manifest again, with all sizes wrong, in quarantine by the word of a store that lies too. */
async function falsify(team: Team, { store }: Member, id: Digest): Promise<Stored<Manifest>> {
  const { value } = await readObject(store.objects, id, "manifest", parseManifest);
  const lie = makeManifest({ ...value, files: value.files.map((file) => ({ ...file, size: 10 })) });
  const evidence = inspectionEvidence(lie.id, [], team.nowS);
  const armored = await signSshsig(await store.needSigner(), "coffer-evidence", evidence.bytes);
  await store.commit(async (head) => {
    const batch = store.batch();
    batch.addObject(lie);
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
