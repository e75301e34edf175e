// SPDX-License-Identifier: Apache-2.0
/** What a store under another policy root says that does not hold: each is named, and nothing of it lands (src/repo/import/landing.ts). */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { type ImportReport, importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { itemPath, type Source } from "../../src/sync/source.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, type Member, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";

interface Pair {
  /** Sends. */
  readonly a: Member;
  /** Receives, under another root. */
  readonly b: Member;
  readonly manifest: Digest;
  send(): Promise<{ source: Source; files: Map<string, Uint8Array> }>;
}

async function pair(t: TestContext): Promise<Pair> {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, model(1));
  return { a, b, manifest, send: async () => inMemory(await openFolderSource(a.location.root, others.ports)) };
}

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
    [() => ({ policies: [manifest] }), "DOCUMENT_INVALID", /policy/],
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
  assert.match(await refusal(stores, await importFrom(stores.b.store, lying)), /^REVOKED: revoked where .*: leaks$/);
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
