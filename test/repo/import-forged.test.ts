// SPDX-License-Identifier: Apache-2.0
/**
 * Statements under another policy root that its people never signed: whoever has the policy can write them, and a store of
 * their own to send them from. They say nothing (src/repo/import/upstream.ts).
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { evidenceRef, nameRef } from "../../src/base/ref-path.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { parseEvidence } from "../../src/objects/documents/evidence.ts";
import { makeStatement, parseStatement, type StatementBody } from "../../src/objects/documents/statement.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { readList } from "../../src/repo/dossier.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import type { Store } from "../../src/repo/store.ts";
import { makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { type Item, itemPath, type Source } from "../../src/sync/source.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, type Member, makeTeam, model } from "../support/team-stores.ts";

const NAME = "acme/tiny@v1";

interface Sent {
  readonly source: Source;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

async function stores(t: TestContext): Promise<{ a: Member; b: Member; forger: Store; send(): Promise<Sent> }> {
  const [team, others, strangers] = [makeTeam(t), makeTeam(t), makeTeam(t)];
  const [a, b, forger] = [await others.store("a"), await team.store("b"), await strangers.store("forger")];
  return {
    ...{ a, b, forger: forger.store },
    send: async () => inMemory(await openFolderSource(a.location.root, others.ports)),
  };
}

/** The one statement that a name has in a bundle. */
function promotionIn({ source, files }: Sent): { readonly id: Digest; readonly body: StatementBody } {
  const [id] = source.index.value.names[0]?.heads ?? [];
  assert.ok(id !== undefined);
  const {
    state: _,
    name: __,
    ...body
  } = parseStatement(files.get(`objects/${id.slice(0, 2)}/${id.slice(2)}`) ?? assert.fail()).value;
  return { id, body };
}

/** What `sent` has, and a statement signed by the forger's store key alone, as a bundle of the forger's. */
async function forged(forger: Store, { source, files }: Sent, body: StatementBody, asHead: boolean): Promise<Source> {
  const signer = await forger.needSigner();
  const statement = makeStatement(body);
  const armored = new TextEncoder().encode(await signSshsig(signer, "coffer-statement", statement.bytes));
  const fresh: Item[] = [
    { kind: "object", id: statement.id, sizeBytes: statement.bytes.length },
    { kind: "signature", object: statement.id, keyId: signer.publicKey.keyId, sizeBytes: armored.length },
  ];
  const items = [...fresh, ...source.index.value.items];
  const names = source.index.value.names.map((entry) => ({
    ...entry,
    heads: asHead ? [...entry.heads, statement.id].sort() : entry.heads,
  }));
  const log = { number: 1, head: sha256(statement.bytes), earlier: [] };
  const from = { store: forger.id, storeKey: signer.publicKey, log };
  const index = makeBundleIndex({ ...source.index.value, ...from, names, items, volumes: [items.length] });
  const [objectPath, signaturePath] = fresh.map(itemPath);
  assert.ok(objectPath !== undefined && signaturePath !== undefined);
  return memorySource(index, new Map([...files, [objectPath, statement.bytes], [signaturePath, armored]]));
}

async function upstreamSaid(store: Store, manifest: Digest): Promise<string[]> {
  const head = await store.head();
  const said: string[] = [];
  for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
    const { kind, result } = (await readObject(store.objects, id, "evidence", parseEvidence)).value;
    if (kind === "upstream") said.push(result);
  }
  return said.sort();
}

test("a promotion that nobody there signed does not stand in for one that was taken back", async (t) => {
  const { a, b, forger, send } = await stores(t);
  const manifest = await a.trust(NAME, model(1));
  const older = await send();
  await a.reject(NAME, "bob");
  const newer = await send();
  await importFrom(b.store, older.source);
  const { body } = promotionIn(older);
  await importFrom(b.store, await forged(forger, older, { ...body, reason: "so says nobody" }, false));
  await importFrom(b.store, newer.source);
  assert.deepEqual(await upstreamSaid(b.store, manifest), ["fail", "info", "info"]);
});

test("a head that nobody there signed makes no older version the newer one", async (t) => {
  const { a, b, forger, send } = await stores(t);
  await a.trust(NAME, model(1));
  const older = await send();
  const next = await a.trust(NAME, model(2));
  const newer = await send();
  await importFrom(b.store, newer.source);
  const { id, body } = promotionIn(newer);
  const after = { ...body, previous: [id], sequence: body.sequence + 1 };
  await importFrom(b.store, await forged(forger, older, after, true));
  const waits = await (await b.store.head()).readRef(nameRef("quarantined", parseName(NAME)));
  assert.equal(waits, next);
});
