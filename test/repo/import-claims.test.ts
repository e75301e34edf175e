// SPDX-License-Identifier: Apache-2.0
/** What a bundle of the same policy root claims and does not hold, and what lies here of it before (src/repo/import/adoption.ts, denials.ts, gaps.ts). */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { type ImportReport, importDenials, importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { itemPath, type Source } from "../../src/sync/source.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, type Member, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";
const outcomes = (report: ImportReport): Record<string, string> =>
  Object.fromEntries(report.names.map(({ name, outcome }) => [name, outcome]));

async function sent(from: Member, team: { readonly ports: Parameters<typeof openFolderSource>[1] }) {
  return inMemory(await openFolderSource(from.location.root, team.ports));
}

/** The same without some files, under another index. */
function changed(
  { source, files }: { readonly source: Source; readonly files: ReadonlyMap<string, Uint8Array> },
  drop: (path: string) => boolean,
  change: (index: BundleIndex) => Partial<BundleIndex> = () => ({}),
): Source {
  const kept = new Map([...files].filter(([path]) => !drop(path)));
  const items = source.index.value.items.filter((item) => kept.has(itemPath(item)));
  const index = { ...source.index.value, items, volumes: [items.length] };
  return memorySource(makeBundleIndex({ ...index, ...change(index) }), kept);
}

test("an older statement that came without its manifest is refused by name", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const old = await a.trust(NAME, model(1));
  await a.trust(NAME, model(2));
  const report = await importFrom(
    b.store,
    changed(await sent(a, team), (path) => path.includes(old.slice(2))),
  );
  assert.deepEqual(outcomes(report), { [NAME]: "refused" });
  assert.match(report.names[0]?.text ?? "", /came without its manifest/);
});

test("signatures that lie here count for a statement that comes without them", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  const again = changed(await sent(a, team), (path) => path.startsWith("signatures/"));
  assert.deepEqual(outcomes(await importFrom(b.store, again)), { [NAME]: "already" });
  assert.equal((await resolve(b.store, parseName(NAME))).verdict.manifest, manifest);
});

test("a candidate that the index gives to another name is refused", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.add(NAME, model(1));
  await a.propose(NAME, "alice");
  const other = parseName("acme/other@v1").text;
  const lying = changed(
    await sent(a, team),
    () => false,
    ({ candidates }) => ({ candidates: candidates.map((one) => ({ ...one, name: other })) }),
  );
  const report = await importFrom(b.store, lying);
  assert.equal(report.names.find((one) => one.name === other)?.code, "UNSUPPORTED");
  assert.equal(await (await b.store.head()).readRef(nameRef("proposed", parseName(NAME))), undefined);
});

test("a list of revocations and a chain that are damaged here are told, and hold up no other name or revocation", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await a.trust("acme/bad@v1", model(2));
  await a.revoke(NAME);
  await pull(b.store, a.location.root);
  // The one list is the chain of the name, and what refs/revoked/sha256/… holds of its bytes.
  const list = await (await b.store.head()).readRef(nameRef("chain", parseName(NAME)));
  assert.ok(list !== undefined);
  const broken = join(b.location.root, "objects", list.slice(0, 2), list.slice(2));
  const whole = readFileSync(broken);
  chmodSync(broken, 0o644);
  writeFileSync(broken, "{}\n");
  await a.revoke("acme/bad@v1");
  await a.trust("acme/other@v1", model(3));
  const report = await pull(await b.open(), a.location.root);
  const told = Object.fromEntries(report.names.map(({ name, outcome, code }) => [name, code ?? outcome]));
  assert.deepEqual(told, { [NAME]: "CORRUPT", "acme/bad@v1": "REVOKED", "acme/other@v1": "adopted" });
  assert.deepEqual(report.refused.map(({ what, code }) => [what.replace(/[0-9a-f]{64}/, "…"), code]).sort(), [
    ["what joins refs/revoked/sha256/…/blob", "CORRUPT"],
    ["what joins refs/revoked/sha256/…/manifest", "CORRUPT"],
  ]);
  await assert.rejects(resolve(b.store, parseName("acme/bad@v1")), (error) => isCofferError(error, "REVOKED"));
  await assert.rejects(resolve(b.store, parseName(NAME)), (error) => isCofferError(error, "CORRUPT"));
  writeFileSync(broken, whole);
  const again = await pull(await b.open(), a.location.root);
  assert.deepEqual([again.refused, outcomes(again)[NAME]], [[], "already"]);
});

test("a deletion arrives as the denial that it is, before and after the model that it is about", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  await a.trust(NAME, model(1));
  await pull(b.store, a.location.root);
  await a.revoke(NAME);
  await a.delete(NAME);
  for (const { store } of [b, c]) {
    const report = await pull(store, a.location.root);
    assert.equal(report.denials, 2);
    await assert.rejects(resolve(store, parseName(NAME)), (error) => isCofferError(error, "REVOKED", "DELETED"));
  }
});

test("a model in quarantine there lands here once its bytes came, unless something of that name waits or stood here", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  const manifest = await a.add(NAME, model(1));
  await a.trust("acme/shown@v1", model(1));
  const name = parseName(NAME).text;
  // A folder's source brings no quarantine: what a bundle by name says of it.
  const bring = async () =>
    changed(
      await sent(a, team),
      () => false,
      ({ names }) => ({
        names: [...names, { name, heads: [], manifest, state: "quarantined" as const }].sort((one, other) =>
          one.name < other.name ? -1 : 1,
        ),
      }),
    );
  assert.equal(outcomes(await importFrom(b.store, await bring()))[NAME], "quarantined");
  assert.equal(await (await b.store.head()).readRef(nameRef("quarantined", parseName(NAME))), manifest);
  const ours = await c.add(NAME, model(4));
  await importFrom(c.store, await bring());
  assert.equal(await (await c.store.head()).readRef(nameRef("quarantined", parseName(NAME))), ours);
});

test("blobs that lie here under another size are asked for again, and a damaged one fails its model alone", async (t) => {
  const team = makeTeam(t);
  const [a, b] = [await team.store("a"), await team.store("b")];
  await a.trust(NAME, model(1));
  await a.trust("acme/other@v1", model(2));
  const { source, files } = await sent(a, team);
  const blobs = [...files.keys()].filter((path) => path.startsWith("blobs/"));
  const [damaged = ""] = blobs;
  const bad = new Map(files);
  const bytes = Uint8Array.from(files.get(damaged) ?? []);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  bad.set(damaged, bytes);
  await assert.rejects(importFrom(b.store, memorySource(source.index, bad)), (error) =>
    isCofferError(error, "OBJECT_MISMATCH"),
  );
  assert.deepEqual(readdirSync(join(b.location.root, "local/tmp")), []);
  const short = join(b.location.root, damaged);
  writeFileSync(short, bytes.subarray(0, 10));
  const report = await importFrom(b.store, source);
  assert.deepEqual(new Set(Object.values(outcomes(report))), new Set(["adopted"]));
});

test("a revocation that is damaged on its way keeps none behind it out", async (t) => {
  const team = makeTeam(t);
  const [a, b, c] = [await team.store("a"), await team.store("b"), await team.store("c")];
  const names = ["acme/one@v1", "acme/two@v1", "acme/three@v1"];
  for (const [at, name] of names.entries()) await a.trust(name, model(at));
  for (const { store } of [b, c]) await pull(store, a.location.root);
  for (const name of names) await a.revoke(name);
  const { source, files } = await sent(a, team);
  const order = source.index.value.items.map((item) => (item.kind === "object" ? item.id : undefined));
  const first = order.find((id) => id !== undefined && source.index.value.revocations.includes(id)) ?? assert.fail();
  const path = `objects/${first.slice(0, 2)}/${first.slice(2)}`;
  files.set(
    path,
    (files.get(path) ?? assert.fail()).map((byte, at) => (at === 10 ? byte ^ 1 : byte)),
  );
  const damaged = memorySource(source.index, files);
  await assert.rejects(importFrom(b.store, damaged), (error) => isCofferError(error, "OBJECT_MISMATCH"));
  await importDenials(c.store, damaged);
  for (const { store } of [b, c]) {
    const revoked: string[] = [];
    for (const name of names)
      await resolve(store, parseName(name)).catch((error) => isCofferError(error, "REVOKED") && revoked.push(name));
    assert.equal(revoked.length, names.length - 1);
  }
});
