// SPDX-License-Identifier: Apache-2.0
/** What a store under another policy root says that does not hold: each is named, and nothing of it lands (src/repo/import/landing.ts). */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { importAll } from "../../src/repo/import-all.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { itemPath, type Source } from "../../src/sync/source.ts";
import { volumesOf } from "../support/bundles.ts";
import { NAME, ONE, outcomes, type Pair, pair, THREE, TWO, upstreamSaid, waiting } from "../support/foreign-pair.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, makeTeam, model } from "../support/team-stores.ts";

type Change = (index: BundleIndex) => Partial<BundleIndex>;

async function changed({ send }: Pair, change: Change, drop: (path: string) => boolean = () => false): Promise<Source> {
  const { source, files } = await send();
  const kept = new Map([...files].filter(([path]) => !drop(path)));
  const items = source.index.value.items.filter((item) => kept.has(itemPath(item)));
  const index = { ...source.index.value, items, volumes: [items.length] };
  return memorySource(makeBundleIndex({ ...index, ...change(index) }), kept);
}

/** The one refusal in a report; no name landed. */
async function refusal({ b }: Pair, report: ImportReport): Promise<string> {
  const head = await b.store.head();
  assert.equal(await head.readRef(nameRef("quarantined", parseName(NAME))), undefined);
  const [told] = report.names;
  assert.deepEqual([report.names.length, told?.outcome], [1, "refused"]);
  return `${told?.code}: ${told?.text}`;
}

test("another policy root: an index whose policy is none, of another root, or not the only one", async (t) => {
  const stores = await pair(t);
  const { manifest } = stores;
  const other = sha256(new TextEncoder().encode("other"));
  const cases: readonly [Change, string, RegExp][] = [
    [() => ({ policies: [manifest] }), "BUNDLE_INVALID", /policy/],
    [() => ({ root: other }), "BUNDLE_INVALID", /not of the root/],
    [({ policies }) => ({ policies: [...policies, manifest] }), "UNSUPPORTED", /chain of one version, found 2/],
  ];
  for (const [change, code, text] of cases) {
    const before = (await stores.b.store.head()).id;
    await assert.rejects(
      importFrom(stores.b.store, await changed(stores, change)),
      (error) => isCofferError(error) && error.code === code && text.test(error.message),
    );
    assert.equal((await stores.b.store.head()).id, before);
  }
});

test("another policy root: a name whose manifest or statement is another kind of object, or lacks signatures", async (t) => {
  const stores = await pair(t);
  const rename =
    (members: object): Change =>
    ({ names }) => ({ names: names.map((entry) => ({ ...entry, ...members })) });
  const [policy] = (await stores.send()).source.index.value.policies;
  const wrong = async (change: Change, drop?: (path: string) => boolean) =>
    refusal(stores, await importFrom(stores.b.store, await changed(stores, change, drop)));
  assert.match(await wrong(rename({ manifest: policy })), /^OBJECT_NOT_FOUND: .* came without its manifest$/);
  assert.match(await wrong(rename({ heads: [stores.manifest] })), /^OBJECT_NOT_FOUND: .* without the statement that/);
  const isSignature = (path: string): boolean => path.startsWith("signatures/");
  assert.match(await wrong(() => ({}), isSignature), /^PUBLISHER_MISSING|^APPROVALS_SHORT/);
});

test("another policy root: what is revoked there does not land, whichever way the index calls it", async (t) => {
  const stores = await pair(t);
  const { source: before } = await stores.send();
  const heads = before.index.value.names[0]?.heads ?? [];
  await stores.a.revoke(NAME, "leaks");
  const plain = await importFrom(stores.b.store, (await stores.send()).source);
  assert.match(await refusal(stores, plain), /^NOT_TRUSTED: .* is revoked in the store that it comes from$/);
  const lying = await changed(stores, ({ names }) => ({
    names: names.map((entry) => ({ ...entry, state: "trusted" as const, heads })),
  }));
  const late = await importFrom(stores.b.store, lying);
  assert.deepEqual([late.names[0]?.outcome, late.names[0]?.code], ["already", "REVOKED"]); // no news
  const c = await stores.sister("c");
  assert.match(
    await refusal({ ...stores, b: c }, await importFrom(c.store, lying)),
    /^REVOKED: revoked where .*: leaks$/,
  );
});

test("another policy root: nothing pushes aside what waits here, nor lands before all of its bytes", async (t) => {
  const stores = await pair(t);
  const { a, b } = stores;
  const blobless = await changed(
    stores,
    () => ({}),
    (path) => path.startsWith("blobs/"),
  );
  assert.match(await refusal(stores, await importFrom(b.store, blobless)), /^BUNDLE_INCOMPLETE: not all of its bytes/);
  const ours = await b.add(NAME, model(2));
  const report = await pull(b.store, a.location.root);
  assert.deepEqual([report.names[0]?.outcome, report.names[0]?.code], ["refused", "EXISTS"]);
  assert.equal(await (await b.store.head()).readRef(nameRef("quarantined", parseName(NAME))), ours);
});

test("another policy root: bytes that lie here damaged are named, and all else lands", async (t) => {
  const stores = await pair(t);
  const { a, b } = stores;
  await b.add("acme/same@v1", model(1));
  const [same] = Object.values(model(1));
  assert.ok(same !== undefined);
  await a.trust("acme/both@v1", { "a.safetensors": same, "b.json": Buffer.from('{"b": 1}\n') });
  await a.trust("acme/other@v1", model(3));
  const blobs = join(b.location.root, "blobs");
  for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
  }
  const report = await pull(b.store, a.location.root);
  const told = Object.fromEntries(report.names.map(({ name, outcome, code }) => [name, code ?? outcome]));
  assert.deepEqual(told, { "acme/both@v1": "CORRUPT", "acme/other@v1": "quarantined", [NAME]: "quarantined" });
});

test("another policy root: what only waits in quarantine there is on record as that, and what is trusted there as trusted", async (t) => {
  const { a, b, manifest, sister } = await pair(t);
  const c = await sister("c");
  const waits = await a.add(ONE, model(2));
  const { volumes } = await volumesOf(a.store, [ONE, NAME]);
  await importFrom(b.store, await openPipe(Readable.from(volumes), "stdin"));
  await pull(c.store, a.location.root);
  assert.match((await upstreamSaid(b.store, waits)).join("\n"), /^info upstream-quarantined: quarantined in store .*$/);
  for (const { store } of [b, c])
    assert.match((await upstreamSaid(store, manifest)).join("\n"), /^info upstream-trusted: trusted in store .*$/);
});

test("another policy root: an older bundle lands nothing of what a newer one revoked, and what landed says so", async (t) => {
  const stores = await pair(t);
  const { a, b, send } = stores;
  await a.trust(TWO, model(2));
  const older = (await send()).source;
  await a.revoke(TWO, "leaks");
  const newer = (await send()).source;
  assert.deepEqual(outcomes(await importFrom(b.store, newer)), { [NAME]: "quarantined", [TWO]: "refused NOT_TRUSTED" });
  const late = await importFrom(b.store, older);
  assert.deepEqual(outcomes(late), { [NAME]: "already", [TWO]: "refused REVOKED" });
  assert.match(late.names.find(({ name }) => name === TWO)?.text ?? "", /revoked where it comes from .*: leaks$/);
  assert.deepEqual(Object.keys(await waiting(b)), [NAME]);
  assert.deepEqual((await importFrom(b.store, older)).entries, []);
});

test("another policy root: bytes that were added here and revoked there say so, whichever bundle comes first", async (t) => {
  const stores = await pair(t);
  const { a, b, send } = stores;
  const older = (await send()).source;
  await a.revoke(NAME, "leaks");
  const newer = (await send()).source;
  await importFrom(b.store, newer);
  const ours = await b.add(NAME, model(1));
  await importFrom(b.store, older);
  assert.match(
    (await upstreamSaid(b.store, ours)).join("\n"),
    /^fail upstream-revoked: revoked where it comes from .*: leaks$/,
  );
});

test("another policy root: what its approvers take back does not land, by any bundle, and what landed says so", async (t) => {
  const stores = await pair(t);
  const { a, b, send } = stores;
  const c = await stores.sister("c");
  const older = (await send()).source;
  await a.reject(NAME, "bob");
  const newer = (await send()).source;
  assert.deepEqual(outcomes(await importFrom(b.store, newer)), { [NAME]: "refused REFUSED" });
  assert.deepEqual(outcomes(await importFrom(b.store, newer)), { [NAME]: "already REFUSED" });
  assert.deepEqual(outcomes(await importFrom(b.store, older)), { [NAME]: "refused REFUSED" });
  assert.deepEqual(await waiting(b), {});
  await importFrom(c.store, older);
  await importFrom(c.store, newer);
  const { said } = (await waiting(c))[NAME] as { said: string[] };
  assert.match(
    said.join("\n"),
    /^fail upstream-refused: statement [0-9a-f]{12} was refused by bob: a test, where it comes from\ninfo upstream-trusted: /,
  );
});

test("another policy root: what one of its stores revokes counts for what another of them sends", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a1, a2, b] = [await others.store("a1"), await others.store("a2"), await team.store("b")];
  await a1.trust(TWO, model(2));
  await pull(a2.store, a1.location.root);
  await a2.revoke(TWO, "leaks");
  await pull(b.store, a2.location.root);
  assert.deepEqual(outcomes(await pull(b.store, a1.location.root)), { [TWO]: "refused REVOKED" });
  const c = await team.store("c");
  await pull(c.store, a1.location.root);
  await pull(c.store, a2.location.root);
  assert.match(JSON.stringify(await waiting(c)), /"fail upstream-revoked: revoked where it comes from/);
});

test("another policy root: what one of two stores on one medium denies does not land from the other, however long their logs are", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a1, a2] = [await others.store("a1"), await others.store("a2")];
  for (const [at, name] of [ONE, TWO, THREE].entries()) await a1.trust(name, model(at));
  await pull(a2.store, a1.location.root);
  await a2.revoke(TWO, "leaks");
  await a2.reject(THREE, "bob");
  assert.ok((await a1.store.head()).number > (await a2.store.head()).number);
  const sources: Source[] = [];
  for (const { location } of [a1, a2])
    sources.push((await inMemory(await openFolderSource(location.root, others.ports))).source);
  for (const order of [sources, [...sources].reverse()]) {
    const { store } = await team.store(`b${sources.indexOf(order[0] as Source)}`);
    const bundles = order.map((source, at) => ({ what: `${at}.tar`, source, faults: [] }));
    const { reports, failed } = await importAll(store, { bundles, unread: [], passedOver: [] });
    assert.deepEqual(
      [failed, reports[0] && outcomes(reports[0])],
      [[], { [ONE]: "quarantined", [TWO]: "refused REVOKED", [THREE]: "refused REFUSED" }],
    );
    assert.deepEqual(Object.keys(await waiting({ store })), [ONE]);
    const again = await importAll(store, { bundles, unread: [], passedOver: [] });
    assert.deepEqual(
      again.reports.flatMap(({ entries }) => entries),
      [],
    );
    assert.ok(again.reports.every(({ names }) => names.every(({ outcome }) => outcome === "already")));
  }
});

test("another policy root: of two stores on one medium, a bundle that cannot be read is told, and holds up nothing of the other", async (t) => {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a1, a2, b] = [await others.store("a1"), await others.store("a2"), await team.store("b")];
  await a1.trust(ONE, model(1));
  await pull(a2.store, a1.location.root);
  const whole = (await inMemory(await openFolderSource(a1.location.root, others.ports))).source;
  const sent = await inMemory(await openFolderSource(a2.location.root, others.ports));
  const [policy = ""] = sent.source.index.value.policies;
  const path = `objects/${policy.slice(0, 2)}/${policy.slice(2)}`;
  sent.files.set(
    path,
    (sent.files.get(path) ?? assert.fail()).map((byte, at) => (at === 10 ? byte ^ 1 : byte)),
  );
  const broken = memorySource(sent.source.index, sent.files);
  const bundles = [broken, whole].map((source, at) => ({ what: `${at}.tar`, source, faults: [] }));
  const { reports, failed } = await importAll(b.store, { bundles, unread: [], passedOver: [] });
  assert.deepEqual(
    failed.map(({ what, error }) => [what, error.code]),
    [["0.tar", "OBJECT_MISMATCH"]],
  );
  assert.deepEqual(reports.map(outcomes), [{ [ONE]: "quarantined" }]);
});

test("another policy root: a model that lands while the revocation of it comes by another import says so all the same", async (t) => {
  const stores = await pair(t);
  const { a, b, manifest, send } = stores;
  const older = (await send()).source;
  await a.revoke(NAME, "leaks");
  const newer = (await send()).source;
  const other = await b.open();
  // Between the last look at what is known and the commit.
  const commit = b.store.commit.bind(b.store);
  let done = false;
  b.store.commit = async (act) => {
    if (!done) await importFrom(other, newer);
    done = true;
    return commit(act);
  };
  const report = await importFrom(b.store, older);
  assert.deepEqual(outcomes(report), { [NAME]: "quarantined" });
  assert.match(
    (await upstreamSaid(b.store, manifest)).join("\n"),
    /^fail upstream-revoked: revoked where it comes from .*\ninfo upstream-trusted: /,
  );
  assert.deepEqual(report.entries, [3, 4]);
});

test("another policy root: a newer version takes the place of the one from there that waits, an older one does not", async (t) => {
  const stores = await pair(t);
  const { a, b, manifest, send } = stores;
  const older = (await send()).source;
  const next = await a.trust(NAME, model(3));
  const newer = (await send()).source;
  const c = await stores.sister("c");
  assert.deepEqual(outcomes(await importFrom(b.store, older)), { [NAME]: "quarantined" });
  const report = await importFrom(b.store, newer);
  assert.deepEqual(outcomes(report), { [NAME]: "quarantined" });
  assert.match(report.notes.join("\n"), new RegExp(`takes the place of manifest ${manifest.slice(0, 12)}`));
  assert.deepEqual(outcomes(await importFrom(c.store, newer)), { [NAME]: "quarantined" });
  assert.deepEqual(outcomes(await importFrom(c.store, older)), { [NAME]: "already" });
  assert.equal(await (await c.store.head()).readRef(nameRef("quarantined", parseName(NAME))), next);
  assert.deepEqual(await waiting(c), await waiting(b));
});
