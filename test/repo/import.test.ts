// SPDX-License-Identifier: Apache-2.0
/** The one way in for what other stores send: what counts, what is refused, what is told (src/repo/import.ts). */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseDigest, sha256 } from "../../src/base/digest.ts";
import { ERRORS, EXIT, isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { evidenceRef, nameRef, remoteRef } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { parseEvidence } from "../../src/objects/documents/evidence.ts";
import { makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { makeBundle } from "../../src/repo/bundle.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { readList } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc } from "../../src/repo/gc.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { show } from "../../src/repo/show.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { type Item, itemPath, type Source } from "../../src/sync/source.ts";
import { writeVolume } from "../../src/sync/volume-writer.ts";
import { copied } from "../support/bundles.ts";
import { memorySource } from "../support/memory-source.ts";
import { ruleFor } from "../support/store-fixture.ts";
import { inMemory, type Member, makeTeam, model, sharedRefs } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";

const outcomes = (report: ImportReport): Record<string, string> =>
  Object.fromEntries(report.names.map(({ name, outcome }) => [name, outcome]));

const codesOf = (report: ImportReport): Record<string, string | undefined> =>
  Object.fromEntries(report.names.map(({ name, code }) => [name, code]));

async function isSound(member: Member): Promise<void> {
  // A name that is denied for a stated reason is no damage.
  const damage = async () =>
    (await fsck(member.store)).problems.filter(({ code }) => ERRORS[code].exit === EXIT.corrupt);
  assert.deepEqual(await damage(), []);
  await gc(member.store, { olderThanS: 0, dryRun: false });
  assert.deepEqual(await damage(), []);
}

const staged = (member: Member): string[] => readdirSync(join(member.location.root, "local/tmp"));

/** The first piece of what is read. */
async function* firstOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    throw new Error("the cable was pulled");
  }
}

async function snapshot(team: ReturnType<typeof makeTeam>, from: Member) {
  return inMemory(await openFolderSource(from.location.root, team.ports));
}

/** Another index over the same items; items that `without` names by their path are left out. */
function reindexed(
  source: Source,
  files: ReadonlyMap<string, Uint8Array>,
  change: (index: BundleIndex) => BundleIndex,
): Source {
  return memorySource(makeBundleIndex(change(source.index.value)), files);
}

const lacking = (files: ReadonlyMap<string, Uint8Array>, drop: (path: string) => boolean): Map<string, Uint8Array> =>
  new Map([...files].filter(([path]) => !drop(path)));

/** An index that lists only what is among `files`. */
const only =
  (files: ReadonlyMap<string, Uint8Array>) =>
  (index: BundleIndex): BundleIndex => {
    const items = index.items.filter((item) => files.has(itemPath(item)));
    return { ...index, items, volumes: [items.length] };
  };

test("a model that is trusted there is trusted here, and the same again moves nothing", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, { ...model(1, 20 * 1024 * 1024), "README.md": Buffer.from("# tiny\n") });
  const report = await pull(b.store, a.location.root);
  assert.deepEqual(outcomes(report), { [NAME]: "adopted" });
  assert.equal(report.sameRoot, true);
  assert.equal(report.blobs.count, 2);
  const { verdict } = await resolve(b.store, parseName(NAME));
  assert.equal(verdict.trusted && verdict.manifest, manifest);
  assert.deepEqual(staged(b), []);
  const head = await b.store.head();
  const again = await pull(b.store, a.location.root);
  assert.deepEqual([outcomes(again), again.entries, again.blobs.count], [{ [NAME]: "already" }, [], 0]);
  assert.equal((await b.store.head()).number, head.number);
  await isSound(b);
});

test("revocations and refusals count though the rest of the bundle is damaged", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  await a.trust("acme/other@v1", model(2));
  await a.reject("acme/other@v1", "alice");
  const { source, files } = await snapshot(team, a);
  const blob = [...files.keys()].find((path) => path.startsWith("blobs/")) ?? "";
  files.set(
    blob,
    Uint8Array.from(files.get(blob) ?? [], (byte) => byte ^ 1),
  );
  await assert.rejects(importFrom(b.store, memorySource(source.index, files)), (error) =>
    isCofferError(error, "OBJECT_MISMATCH"),
  );
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
  await assert.rejects(resolve(b.store, parseName("acme/other@v1")), (error) => isCofferError(error, "NAME_NOT_FOUND"));
  assert.deepEqual(staged(b), []);
  await pull(b.store, a.location.root);
  await assert.rejects(resolve(b.store, parseName("acme/other@v1")), (error) => isCofferError(error, "REFUSED"));
  await isSound(b);
});

test("an object that is not what its name says stops the import; the denials before it count", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  const { source, files } = await snapshot(team, a);
  const last = source.index.value.items.filter(({ kind }) => kind === "object").at(-1) as Item;
  files.set(itemPath(last), new Uint8Array(files.get(itemPath(last))?.length ?? 0));
  await assert.rejects(importFrom(b.store, memorySource(source.index, files)), (error) =>
    isCofferError(error, "OBJECT_MISMATCH"),
  );
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
});

test("a revocation wins wherever it arrives, also before the model that it is about", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  const before = await snapshot(team, a);
  await a.revoke(NAME, "leaks");
  const denials = lacking((await snapshot(team, a)).files, (path) => path.startsWith("blobs/"));
  const after = (await snapshot(team, a)).source;
  const revocation = after.index.value.revocations[0] ?? sha256(new Uint8Array());
  const path = (id: string) => `${id.slice(0, 2)}/${id.slice(2)}`;
  const few = lacking(denials, (one) => !one.includes(path(revocation)) && !one.includes(path(b.store.pin)));
  const alone = reindexed(after, few, (index) => ({
    ...only(few)(index),
    ...{ names: [], candidates: [], evidence: [], revocations: [revocation] },
  }));
  const first = await importFrom(b.store, alone);
  assert.deepEqual([first.denials, first.entries.length], [1, 2]);
  const waiting = await readList(
    b.store,
    await (await b.store.head()).readRef(nameRef("waiting", parseName(NAME))),
    "list",
  );
  assert.deepEqual(waiting, [revocation]);
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
  await isSound(b);
  await importFrom(b.store, before.source);
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
  const head = await b.store.head();
  assert.equal(await head.readRef(nameRef("waiting", parseName(NAME))), undefined);
  assert.equal(await head.readRef(nameRef("trusted", parseName(NAME))), undefined);
  await isSound(b);
});

test("a name that an import takes down is adopted with a warning that says so, once", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  const [told] = (await pull(b.store, a.location.root)).names;
  assert.deepEqual([told?.outcome, told?.standing, told?.code], ["adopted", "revoked", "REVOKED"]);
  assert.match(told?.text ?? "", /cannot be used any more: .*leaks$/);
  await a.delete(NAME);
  const deletion = await pull(b.store, a.location.root);
  const [deleted] = deletion.names;
  assert.deepEqual(deletion.notes, [
    `deleted, and what nothing else here holds of their bytes is left to \`coffer gc\`: ${deleted?.name}`,
  ]);
  assert.deepEqual([deleted?.outcome, deleted?.standing], ["adopted", "deleted"]);
  assert.match(deleted?.text ?? "", /cannot be used any more: /);
  const [again] = (await pull(b.store, a.location.root)).names;
  assert.deepEqual([again?.outcome, again?.text], ["already", undefined]);
});

test("two promotions apart from each other diverge, the report says who has to do what, and one that names both settles it", async (t) => {
  const rule = ruleFor("*/*@*", { approvers: { principals: ["alice", "bob", "carol"], threshold: 2 } });
  const team = makeTeam(t, [rule]);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const ours = await a.trust(NAME, model(1));
  team.nowS += 10;
  const theirs = await b.trust(NAME, model(2));
  const report = await pull(b.store, a.location.root);
  assert.deepEqual(outcomes(report), { [NAME]: "diverged" });
  const text = report.names[0]?.text ?? "";
  const [one, other] = [`for manifest ${ours.slice(0, 12)}`, `for manifest ${theirs.slice(0, 12)}`];
  for (const word of ["coffer add", "the approval of 2 of alice, bob, carol", "names", one, other])
    assert.ok(text.includes(word), text);
  const [diverged] = (await show(b.store, parseName(NAME))).verdict.reasons;
  assert.ok(diverged?.text.includes(one) && diverged.text.includes(other), diverged?.text);
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "DIVERGED"));
  assert.equal((await show(b.store, parseName(NAME))).state, "denied");
  await b.trust(NAME, model(2));
  assert.equal((await resolve(b.store, parseName(NAME))).verdict.trusted, true);
  await pull(a.store, b.location.root);
  assert.deepEqual(await sharedRefs(a.store), await sharedRefs(b.store));
  await isSound(a);
});

test("a newer version whose bytes did not come takes the place of the older one all the same", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.trust(NAME, model(2));
  const { source, files } = await snapshot(team, a);
  const small = lacking(files, (path) => path.startsWith("blobs/"));
  const report = await importFrom(
    b.store,
    reindexed(source, small, (index) => ({ ...only(small)(index), blobs: "none" })),
  );
  assert.deepEqual([outcomes(report), codesOf(report)], [{ [NAME]: "superseded" }, { [NAME]: "BLOB_MISSING" }]);
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "BLOB_MISSING"));
  const { problems, exit } = await fsck(b.store);
  assert.deepEqual([new Set(problems.map(({ code }) => code)), exit], [new Set(["BLOB_MISSING"]), 9]);
  const later = await importFrom(b.store, source);
  assert.deepEqual(outcomes(later), { [NAME]: "adopted" });
  const { manifest } = await resolve(b.store, parseName(NAME));
  await isSound(b);
  for (const file of manifest.value.files) await b.store.files.remove(blobPath(file.sha256));
  const lost = await fsck(b.store);
  assert.deepEqual([lost.problems.map(({ code }) => code), lost.exit], [["CORRUPT"], 5], "that one was here");
});

test("a candidate that came to an approver without its bytes is incomplete, and no damage", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.add(NAME, model(1));
  await a.propose(NAME);
  const { source, files } = await snapshot(team, a);
  const small = lacking(files, (path) => path.startsWith("blobs/"));
  await importFrom(
    b.store,
    reindexed(source, small, (index) => ({ ...only(small)(index), blobs: "none" })),
  );
  const { problems, exit } = await fsck(b.store);
  assert.deepEqual([problems.map(({ code }) => code), exit], [["BLOB_MISSING"], EXIT.incomplete]);
});

test("what lacks signatures is refused and not stored, by name", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  const { source, files } = await snapshot(team, a);
  const [statement] = source.index.value.names[0]?.heads ?? [];
  const bob = team.people.bob.publicKey.keyId;
  const fewer = lacking(files, (path) => path.startsWith("signatures/") && path.includes(bob));
  const report = await importFrom(b.store, reindexed(source, fewer, only(fewer)));
  assert.deepEqual([outcomes(report), codesOf(report)], [{ [NAME]: "refused" }, { [NAME]: "APPROVALS_SHORT" }]);
  assert.equal(await b.store.objects.read(statement ?? sha256(new Uint8Array())), undefined);
  assert.equal(report.blobs.count, 0);
  const nobody = lacking(files, (path) => path.startsWith("signatures/"));
  const again = await importFrom(b.store, reindexed(source, nobody, only(nobody)));
  assert.deepEqual(codesOf(again), { [NAME]: "PUBLISHER_MISSING" });
  assert.deepEqual(outcomes(await importFrom(b.store, source)), { [NAME]: "adopted" });
});

test("a revocation without its signatures is refused, and one by others than the revokers too", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  const { source, files } = await snapshot(team, a);
  const head = source.index.value.names[0];
  const forged = makeStatement({
    ...{ root: source.index.value.root, ref: nameRef("revoked", parseName(NAME)), policy: b.store.pin },
    ...{ manifest: head?.manifest ?? sha256(new Uint8Array()), sequence: 2, previous: head?.heads ?? [] },
    ...{ issuedAt: "2026-11-22T10:00:00Z" as never, evidence: [] },
    revokes: { manifests: [head?.manifest ?? sha256(new Uint8Array())], blobs: [], statements: [] },
  });
  const path = (id: string): string => `${id.slice(0, 2)}/${id.slice(2)}`;
  const armored = await signSshsig(team.people.alice, "coffer-statement", forged.bytes);
  const item: Item = { kind: "object", id: forged.id, sizeBytes: forged.bytes.length };
  const signature: Item = {
    ...{ kind: "signature", object: forged.id, keyId: team.people.alice.publicKey.keyId },
    sizeBytes: armored.length,
  };
  files.set(`objects/${path(forged.id)}`, forged.bytes);
  files.set(itemPath(signature), new TextEncoder().encode(armored));
  const sent = reindexed(source, files, (index) => ({
    ...index,
    ...{ items: [item, signature, ...index.items], volumes: [index.items.length + 2], revocations: [forged.id] },
  }));
  const report = await importFrom(b.store, sent);
  assert.deepEqual(
    report.refused.map(({ what, code }) => [what, code]),
    [[NAME, "SIGNATURE_INVALID"]],
  );
  assert.equal(report.denials, 0);
  assert.equal((await resolve(b.store, parseName(NAME))).verdict.trusted, true);
  assert.equal(await b.store.objects.read(forged.id), undefined);
});

test("objects of an unknown kind are not stored, and told", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  const { source, files } = await snapshot(team, a);
  const odd = ['{"type":"coffer/heartbeat","version":1}\n', "no document", '{"type":"coffer/statement","version":1}\n'];
  const items = odd.map((text): Item => {
    const bytes = new TextEncoder().encode(text);
    const item: Item = { kind: "object", id: sha256(bytes), sizeBytes: bytes.length };
    files.set(itemPath(item), bytes);
    return item;
  });
  const sent = reindexed(source, files, (index) => ({
    ...index,
    ...{ items: [...items, ...index.items], volumes: [index.items.length + 3] },
  }));
  const report = await importFrom(b.store, sent);
  assert.deepEqual(report.refused.map(({ code }) => code).sort(), ["DOCUMENT_INVALID", "UNSUPPORTED", "UNSUPPORTED"]);
  for (const item of items)
    assert.equal(await b.store.objects.read((item as { id: ReturnType<typeof sha256> }).id), undefined);
  assert.deepEqual(outcomes(report), { [NAME]: "adopted" });
});

test("a policy chain that this version cannot judge: only denials are taken, and it is named", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  await a.trust("acme/other@v1", model(2));
  const { source, files } = await snapshot(team, a);
  const second = new TextEncoder().encode('{"number":2,"type":"coffer/policy","version":1}\n');
  const item: Item = { kind: "object", id: sha256(second), sizeBytes: second.length };
  files.set(itemPath(item), second);
  const sent = reindexed(source, files, (index) => ({
    ...index,
    policies: [...index.policies, item.id],
    ...{ items: [item, ...index.items], volumes: [index.items.length + 1] },
  }));
  await assert.rejects(importFrom(b.store, sent), (error) => {
    assert.ok(isCofferError(error, "UNSUPPORTED"), String(error));
    assert.match(error.message, /version 2/);
    return true;
  });
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
  await assert.rejects(resolve(b.store, parseName("acme/other@v1")), (error) => isCofferError(error, "NAME_NOT_FOUND"));
});

test("candidates come as candidates; one of our own is left alone", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.add(NAME, model(1));
  const id = await a.propose(NAME, "alice");
  const report = await pull(b.store, a.location.root);
  assert.deepEqual(outcomes(report), { [NAME]: "proposed" });
  assert.equal(await (await b.store.head()).readRef(nameRef("proposed", parseName(NAME))), id);
  assert.deepEqual(outcomes(await pull(b.store, a.location.root)), { [NAME]: "already" });
  team.nowS += 10;
  await b.add(NAME, model(2));
  const ours = await b.propose(NAME);
  const again = await pull(b.store, a.location.root);
  assert.equal(await (await b.store.head()).readRef(nameRef("proposed", parseName(NAME))), ours);
  assert.ok(
    again.notes.some((note) => note.includes("candidate of this store stands")),
    again.notes.join(),
  );
  await isSound(b);
});

test("another policy root: models wait in quarantine after our own inspection, and what was trusted there is on record", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, { ...model(1, 9 * 1024 * 1024), "README.md": Buffer.from("# tiny\n") });
  const report = await pull(b.store, a.location.root);
  assert.deepEqual([outcomes(report), report.sameRoot], [{ [NAME]: "quarantined" }, false]);
  const head = await b.store.head();
  assert.equal(await head.readRef(nameRef("quarantined", parseName(NAME))), manifest);
  assert.equal(await head.readRef(nameRef("trusted", parseName(NAME))), undefined);
  const evidence = await readList(b.store, await head.readRef(evidenceRef(manifest)), "list");
  const read = await Promise.all(
    evidence.map(async (id) => parseEvidence((await b.store.objects.read(id)) ?? new Uint8Array()).value),
  );
  assert.deepEqual(read.map(({ kind, result }) => `${kind} ${result}`).sort(), ["inspection pass", "upstream info"]);
  assert.match(read.find(({ kind }) => kind === "upstream")?.findings[0]?.text ?? "", /signed by alice, bob/);
  const again = await pull(b.store, a.location.root);
  assert.deepEqual([outcomes(again), again.entries], [{ [NAME]: "already" }, []]);
  await isSound(b);
  await b.propose(NAME, "alice", "bob");
});

test("another policy root: its revocations bind what came from there, and nothing else", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, model(1));
  await a.trust("acme/late@v1", model(3));
  await b.trust("acme/ours@v1", model(3));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  await a.revoke("acme/late@v1", "leaks too");
  const report = await pull(b.store, a.location.root);
  assert.deepEqual(outcomes(report), { [NAME]: "refused", "acme/late@v1": "refused" });
  assert.equal(report.denials, 0);
  assert.equal((await resolve(b.store, parseName("acme/ours@v1"))).verdict.trusted, true);
  const head = await b.store.head();
  assert.equal(await head.readRef(nameRef("quarantined", parseName(NAME))), manifest);
  assert.ok(
    report.notes.some((note) => note.includes("revoked where it comes from")),
    report.notes.join(),
  );
  const evidence = await readList(b.store, await head.readRef(evidenceRef(manifest)), "list");
  const read = await Promise.all(
    evidence.map(async (id) => parseEvidence((await b.store.objects.read(id)) ?? new Uint8Array()).value),
  );
  assert.ok(read.some(({ kind, result }) => `${kind}` === "upstream" && result === "fail"));
  await isSound(b);
});

test("another policy root: what our people promoted stays trusted, and the verdict says what was revoked where it comes from", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await b.trust(NAME, model(1));
  const told = async () => {
    const { trusted, established, notEstablished } = (await resolve(b.store, parseName(NAME))).verdict;
    const text = (facts: readonly { id: string; text: string }[], of: string) =>
      facts.find(({ id }) => id === of)?.text;
    return [trusted, text(established, "revocations"), text(notEstablished, "upstream-revoked")] as const;
  };
  const [before, none, nothing] = await told();
  assert.deepEqual([before, nothing], [true, undefined]);
  assert.match(none ?? "", /^no revocation known/);
  await a.revoke(NAME, "leaks");
  await pull(b.store, a.location.root);
  const [after, some, upstream] = await told();
  assert.equal(after, true);
  assert.match(some ?? "", /^no revocation that binds this name is known/);
  assert.ok(upstream?.includes(`policy root ${others.policy.value.root.slice(0, 12)}`), upstream);
  assert.match(upstream ?? "", /revoked where it comes from .*: leaks$/);
});

test("a store that has shown two histories: its denials are taken, nothing that it trusts, now or later", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME, "leaks");
  await a.add("acme/other@v1", model(2));
  await a.propose("acme/other@v1", "alice", "bob");
  const { source, files } = await snapshot(team, a);
  const other = parseDigest("ab".repeat(32));
  const forked = reindexed(source, files, (index) => ({
    ...index,
    log: {
      ...index.log,
      earlier: index.log.earlier.map(({ number, head }) => ({ number, head: number === 4 ? other : head })),
    },
  }));
  await assert.rejects(importFrom(b.store, forked), (error) => isCofferError(error, "LOG_FORKED"));
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
  assert.equal(await (await b.store.head()).readRef(nameRef("proposed", parseName("acme/other@v1"))), undefined);
  const kept = await readList(b.store, await (await b.store.head()).readRef(remoteRef(a.store.id, "fork")), "list");
  assert.equal(kept.length, 2);
  await assert.rejects(importFrom(b.store, source), (error) => isCofferError(error, "LOG_FORKED"));
  await isSound(b);
});

test("a denial of a name that did not come is kept and told in one line; the name that was asked for is a plain yes", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await a.trust("acme/gone@v1", model(2));
  await a.revoke("acme/gone@v1", "leaks");
  const bundle = await makeBundle(a.store, { names: [parseName(NAME)], patterns: [], candidates: false, blobs: true });
  const report = await importFrom(b.store, await openPipe(copied(writeVolume(a.store, bundle, 1)), "a bundle"));
  assert.deepEqual(outcomes(report), { [NAME]: "adopted" });
  assert.equal(report.denials, 1);
  assert.ok(
    report.notes.some((note) => note.endsWith("of names that are not here: acme/gone@v1")),
    report.notes.join(),
  );
  await pull(b.store, a.location.root);
  await assert.rejects(resolve(b.store, parseName("acme/gone@v1")), (error) => isCofferError(error, "REVOKED"));
  await isSound(b);
});

for (const [what, target] of [
  ["a manifest", "manifest"],
  ["a policy", "policy"],
] as const) {
  test(`a revocation that follows ${what} instead of a statement damages no name: it waits, and its bytes are denied`, async (t) => {
    const team = makeTeam(t);
    const [a, b] = [await team.store("a"), await team.store("b")];
    const manifest = await a.trust(NAME, model(1));
    await a.trust("acme/other@v1", model(2));
    await pull(b.store, a.location.root);
    const { source, files } = await snapshot(team, a);
    const strange = makeStatement({
      ...{ root: team.policy.value.root, ref: nameRef("revoked", parseName("acme/strange@v1")), manifest },
      ...{ policy: team.policy.id, sequence: 2, previous: [target === "manifest" ? manifest : team.policy.id] },
      ...{ issuedAt: parseTime("2026-11-22T10:00:00Z"), evidence: [] },
      revokes: { manifests: [manifest], blobs: [], statements: [] },
    });
    const armored = await signSshsig(team.people.carol, "coffer-statement", strange.bytes);
    const items: Item[] = [
      { kind: "object", id: strange.id, sizeBytes: strange.bytes.length },
      { kind: "signature", object: strange.id, keyId: team.people.carol.publicKey.keyId, sizeBytes: armored.length },
    ];
    files.set(itemPath(items[0] as Item), strange.bytes);
    files.set(itemPath(items[1] as Item), Buffer.from(armored));
    const more = reindexed(source, files, (index) => {
      const all = [...index.items.slice(0, 1), ...items, ...index.items.slice(1)];
      return { ...index, items: all, volumes: [all.length], revocations: [strange.id] };
    });
    await importFrom(b.store, more);
    await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "REVOKED"));
    assert.equal((await resolve(b.store, parseName("acme/other@v1"))).verdict.trusted, true);
    await isSound(b);
  });
}

test("who signs an index with another key is not that store, and forks nothing", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.trust("acme/other@v1", model(2));
  const { source, files } = await snapshot(team, a);
  const head = parseDigest("ab".repeat(32));
  const claimed = reindexed(source, files, (index) => ({
    ...index,
    storeKey: b.store.storeKey,
    log: { ...index.log, earlier: index.log.earlier.map(({ number }) => ({ number, head })) },
  }));
  await assert.rejects(importFrom(b.store, claimed), (error) => isCofferError(error, "SIGNATURE_INVALID"));
  assert.equal(await (await b.store.head()).readRef(remoteRef(a.store.id, "fork")), undefined);
  assert.equal(await (await b.store.head()).readRef(nameRef("trusted", parseName("acme/other@v1"))), undefined);
  await importFrom(b.store, source);
  assert.equal((await resolve(b.store, parseName("acme/other@v1"))).verdict.trusted, true);
  await isSound(b);
});

test("a manifest that lies about a format or a chunk list is adopted as signed, and fails our inspection", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1, 9 * 1024 * 1024));
  const { source, files } = await snapshot(team, a);
  const [head] = source.index.value.names;
  const path = (id: string): string => `${id.slice(0, 2)}/${id.slice(2)}`;
  const honest = parseManifest(files.get(`objects/${path(head?.manifest ?? "")}`) ?? new Uint8Array());
  const wrong = new Uint8Array(64).fill(7);
  const chunks: Item = { kind: "object", id: sha256(wrong), sizeBytes: 64 };
  const lying = makeManifest({
    ...honest.value,
    files: honest.value.files.map((file) => ({ ...file, chunks: sha256(wrong) })),
  });
  const statement = makeStatement({
    ...{ root: source.index.value.root, ref: nameRef("trusted", parseName(NAME)), policy: b.store.pin },
    ...{ manifest: lying.id, sequence: 1, previous: [], issuedAt: "2026-11-22T10:00:00Z" as never, evidence: [] },
  });
  const items: Item[] = [chunks];
  files.set(itemPath(chunks), wrong);
  for (const [document, namespace] of [
    [lying, "coffer-manifest"],
    [statement, "coffer-statement"],
  ] as const) {
    const item: Item = { kind: "object", id: document.id, sizeBytes: document.bytes.length };
    files.set(itemPath(item), document.bytes);
    const signed = [];
    for (const who of ["alice", "bob"] as const) {
      const armored = new TextEncoder().encode(await signSshsig(team.people[who], namespace, document.bytes));
      const { keyId } = team.people[who].publicKey;
      const signature: Item = { kind: "signature", object: document.id, keyId, sizeBytes: armored.length };
      files.set(itemPath(signature), armored);
      signed.push(signature);
    }
    items.push(item, ...signed.sort((one, two) => (itemPath(one) < itemPath(two) ? -1 : 1)));
  }
  const sent = reindexed(source, files, (index) => {
    const kept = index.items.filter(
      (item) => item.kind === "blob" || (item.kind === "object" && item.id === b.store.pin),
    );
    const [policy, ...blobs] = kept;
    return {
      ...index,
      items: [policy as Item, ...items, ...blobs],
      volumes: [kept.length + items.length],
      names: [{ name: parseName(NAME).text, heads: [statement.id], manifest: lying.id, state: "trusted" }],
      evidence: [],
    };
  });
  const report = await importFrom(b.store, sent);
  assert.deepEqual([outcomes(report), codesOf(report)], [{ [NAME]: "adopted" }, { [NAME]: "EVIDENCE_FAILED" }]);
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "EVIDENCE_FAILED"));
});

test("an interrupted import goes on where it was: what came is not asked for again, and the store is the same", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  await a.trust(NAME, {
    ...model(1, 20 * 1024 * 1024),
    "b.safetensors": Object.values(model(2, 100))[0] as Uint8Array,
  });
  const { source } = await snapshot(team, a);
  const read: string[] = [];
  const watched = (stopAfter: number): Source => ({
    ...source,
    async *parcels(wants) {
      for await (const parcel of source.parcels(wants)) {
        if (parcel.item.kind === "blob" && read.length >= stopAfter) throw new Error("the cable was pulled");
        const { item } = parcel;
        yield {
          item,
          read() {
            if (item.kind === "blob") read.push(itemPath(item));
            return parcel.read();
          },
        };
      }
    },
  });
  await assert.rejects(importFrom(b.store, watched(1)), /cable/);
  await importFrom(b.store, watched(99));
  assert.equal(new Set(read).size, read.length, "no blob twice");
  await importFrom(c.store, source);
  assert.deepEqual(await sharedRefs(b.store, "with evidence"), await sharedRefs(c.store, "with evidence"));
  assert.deepEqual(staged(b), []);
});

test("a pull that was stopped is resumed by the next one, though a blob has its name by now, and leaves nothing", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust("acme/first", model(1, 100));
  await a.trust("acme/second", model(2, 9 * 1024 * 1024));
  const source = await openFolderSource(a.location.root, team.ports);
  const stopped: Source = {
    ...source,
    async *parcels(wants) {
      for await (const { item, read } of source.parcels(wants)) {
        yield { item, read: () => (item.sizeBytes > 8 * 1024 * 1024 ? firstOf(read()) : read()) };
      }
    },
  };
  await assert.rejects(importFrom(b.store, stopped), /cable/);
  const blobs = readdirSync(join(b.location.root, "blobs"), { recursive: true, withFileTypes: true });
  assert.deepEqual(
    [blobs.filter((entry) => entry.isFile()).length, staged(b).length],
    [1, 1],
    "the first has its name",
  );
  const report = await pull(b.store, a.location.root);
  assert.deepEqual(outcomes(report), { "acme/first@main": "adopted", "acme/second@main": "adopted" });
  assert.deepEqual(staged(b), []);
});

test("volumes that are missing: what came stays, and counts once the rest is there", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, { ...model(1, 9 * 1024 * 1024), "b.safetensors": Object.values(model(2, 100))[0] as Uint8Array });
  const { source, files } = await snapshot(team, a);
  const blobs = [...files.keys()].filter((path) => path.startsWith("blobs/"));
  const part = (keep: (path: string) => boolean): Source =>
    memorySource(
      source.index,
      lacking(files, (path) => !keep(path)),
    );
  const incomplete = (error: unknown): boolean => isCofferError(error, "BUNDLE_INCOMPLETE");
  await assert.rejects(
    importFrom(
      b.store,
      part((path) => path === blobs[0]),
    ),
    incomplete,
  );
  assert.equal(staged(b).length, 1);
  await assert.rejects(
    importFrom(
      b.store,
      part((path) => path === blobs[1]),
    ),
    incomplete,
  );
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "NAME_NOT_FOUND"));
  const report = await importFrom(
    b.store,
    part((path) => !blobs.includes(path)),
  );
  assert.deepEqual([outcomes(report), report.blobs.count], [{ [NAME]: "adopted" }, 2]);
  assert.equal((await resolve(b.store, parseName(NAME))).verdict.trusted, true);
  assert.deepEqual(staged(b), []);
});

test("many moves are split over entries, denials first", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  for (const seed of [1, 2, 3, 4]) await a.trust(`acme/m${seed}@v1`, model(seed));
  await a.revoke("acme/m1@v1", "leaks");
  const report = await importFrom(b.store, await openFolderSource(a.location.root, team.ports), { mostMoves: 12 });
  assert.ok(report.entries.length > 4, report.entries.join());
  await pull(c.store, a.location.root);
  assert.deepEqual(await sharedRefs(b.store, "with evidence"), await sharedRefs(c.store, "with evidence"));
});

test("in whatever order bundles arrive, the refs are the same", async (t) => {
  const team = makeTeam(t);
  const a = await team.store("a");
  const sources: Source[] = [];
  const steps = [
    () => a.trust(NAME, model(1)),
    () => a.trust(NAME, model(2)),
    () => a.revoke(NAME, "leaks"),
    () => a.trust(NAME, model(3)),
    () => a.reject(NAME, "alice"),
  ];
  for (const step of steps) {
    team.nowS += 10;
    await step();
    sources.push((await snapshot(team, a)).source);
  }
  const orders = [
    [0, 1, 2, 3, 4],
    [4, 3, 2, 1, 0],
    [2, 0, 4, 4, 1, 3],
    [1, 3, 0, 4, 2, 0],
  ];
  const told: (readonly string[])[] = [];
  for (const order of orders) {
    const member = await team.store(`s${told.length}`);
    for (const at of order) await importFrom(member.store, sources[at] as Source);
    told.push(await sharedRefs(member.store));
    await isSound(member);
  }
  for (const refs of told) assert.deepEqual(refs, told[0]);
});

test("our own bundle is refused, and so is a folder that is no store", async (t) => {
  const team = makeTeam(t);
  const a = await team.store("a");
  await a.trust(NAME, model(1));
  await assert.rejects(pull(a.store, a.location.root), (error) => isCofferError(error, "USAGE"));
  await assert.rejects(pull(a.store, join(team.folder, "none")), (error) => isCofferError(error, "STORE_NOT_FOUND"));
});

test("a candidate is void once a promotion came from elsewhere, and can be neither approved nor proposed from", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.add(NAME, model(2));
  const open = await a.propose(NAME);
  await b.trust(NAME, model(3));
  await pull(a.store, b.location.root);
  await assert.rejects(approve(a.store, parseName(NAME), open, team.people.bob), (error) =>
    isCofferError(error, "CANDIDATE_VOID"),
  );
  await b.revoke(NAME);
  const request = { name: parseName("acme/copy"), from: parseName(NAME), signer: team.people.alice, replace: false };
  await assert.rejects(propose(b.store, request), (error) => isCofferError(error, "REVOKED"));
});

test("denials of many names that are not here are told in one line", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const names = Array.from({ length: 10 }, (_, at) => `acme/gone${at}`);
  for (const [at, name] of names.entries()) {
    await a.trust(name, model(at + 1));
    await a.revoke(name);
  }
  const bundle = await makeBundle(a.store, { names: [], patterns: [], candidates: false, blobs: false });
  assert.equal(bundle.index.value.revocations.length, 10);
  const report = await importFrom(b.store, await openPipe(writeVolume(a.store, bundle, 1), "a pipe"));
  assert.deepEqual(report.names, []);
  assert.ok(
    report.notes.some((note) => note.includes("acme/gone7") && note.endsWith(" and 2 more")),
    report.notes.join(),
  );
});

test("a revocation of what was never promoted travels on through a store that never had its manifest", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  await b.add(NAME, model(2));
  await b.revoke(NAME);
  await a.trust(NAME, model(1));
  await a.trust("acme/other", model(3));
  await pull(a.store, b.location.root);
  await pull(c.store, a.location.root);
  for (const { store } of [a, c]) {
    await assert.rejects(resolve(store, parseName(NAME)), { code: "REVOKED" });
    await resolve(store, parseName("acme/other"));
  }
  const bundle = await makeBundle(c.store, { names: [parseName(NAME)], patterns: [], candidates: false, blobs: false });
  assert.equal(bundle.index.value.revocations.length, 1);
  for (const { store } of [a, c]) assert.deepEqual((await fsck(store)).problems, []);
});
