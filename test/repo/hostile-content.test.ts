// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles whose volumes are in order and whose documents are not: each is told with its code, and nothing of it is trusted
 * or adopted here. Beside hostile-import.slow.test.ts, which is about volumes. src/repo/import.ts.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef, parseRefPath } from "../../src/base/ref-path.ts";
import type { Signer } from "../../src/keys/signer.ts";
import { type SignatureNamespace, signSshsig } from "../../src/keys/sshsig.ts";
import { makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import { makeRefusal } from "../../src/objects/documents/refusal.ts";
import { makeStatement, type StatementBody } from "../../src/objects/documents/statement.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { type Item, itemPath, type Source } from "../../src/sync/source.ts";
import { memorySource } from "../support/memory-source.ts";
import { inMemory, type Member, makeTeam, model, type Team } from "../support/team-stores.ts";
import { digestFor } from "../support/trust-fixtures.ts";

const NAME = parseName("acme/tiny@v1");
const FORGED = parseName("acme/forged@v1");

interface Doc {
  readonly id: Digest;
  readonly bytes: Uint8Array;
}

interface Scene {
  readonly team: Team;
  readonly a: Member;
  readonly source: Source;
  readonly files: Map<string, Uint8Array>;
  readonly manifest: Digest;
  readonly manifestBytes: Uint8Array;
}

let scene: Scene;
const endings: (() => unknown)[] = [];
const ending = { after: (act: () => unknown) => void endings.push(act) };

before(async () => {
  const team = makeTeam(ending);
  const a = await team.store("a");
  const manifest = await a.trust(NAME.text, model(1));
  const { source, files } = await inMemory(await openFolderSource(a.location.root, team.ports));
  const manifestBytes = (await a.store.objects.read(manifest)) ?? new Uint8Array();
  scene = { team, a, source, files, manifest, manifestBytes };
});
after(async () => {
  for (const act of endings) await act();
});

/** A document and its signatures, as items with their bytes. */
async function signed(doc: Doc, namespace: SignatureNamespace, ...signers: Signer[]): Promise<[Item, Uint8Array][]> {
  const found: [Item, Uint8Array][] = [];
  for (const signer of signers) {
    const bytes = new TextEncoder().encode(await signSshsig(signer, namespace, doc.bytes));
    found.push([{ kind: "signature", object: doc.id, keyId: signer.publicKey.keyId, sizeBytes: bytes.length }, bytes]);
  }
  found.sort(([one], [other]) => (itemPath(one) < itemPath(other) ? -1 : 1));
  return [[{ kind: "object", id: doc.id, sizeBytes: doc.bytes.length }, doc.bytes], ...found];
}

/** The honest bundle with these in front. */
function withMore(more: readonly (readonly [Item, Uint8Array])[], change: Partial<BundleIndex> = {}): Source {
  const { source, files } = scene;
  const index = source.index.value;
  const items = [...more.map(([item]) => item), ...index.items];
  const all = new Map([...files, ...more.map(([item, bytes]) => [itemPath(item), bytes] as const)]);
  return memorySource(makeBundleIndex({ ...index, items, volumes: [items.length], ...change }), all);
}

const body = (more: Partial<StatementBody> = {}): StatementBody => ({
  ...{ root: scene.source.index.value.root, ref: nameRef("trusted", FORGED), policy: scene.a.store.pin },
  ...{ manifest: scene.manifest, sequence: 1, previous: [], issuedAt: "2026-11-22T10:00:00Z" as never, evidence: [] },
  ...more,
});

const revoking = (more: Partial<StatementBody> = {}): StatementBody =>
  body({
    ref: nameRef("revoked", NAME),
    ...{ sequence: 2, previous: scene.source.index.value.names[0]?.heads ?? [] },
    revokes: { manifests: [scene.manifest], blobs: [], statements: [] },
    ...more,
  });

const stranger = async (): Promise<Signer> => makeTeam(ending).people.alice;

interface Case {
  readonly name: string;
  /** Of what is told; undefined: nothing is told, for nobody was asked. */
  readonly code: string | undefined;
  readonly make: () => Promise<{ source: Source; never: readonly Digest[] }>;
}

/** A statement with signatures of these, and of no others. */
const statement = (
  name: string,
  code: string,
  make: () => StatementBody,
  ...who: ("alice" | "bob" | "carol")[]
): Case => ({
  name,
  code,
  async make() {
    const doc = makeStatement(make());
    const signers = who.map((one) => scene.team.people[one]);
    return { source: withMore(await signed(doc, "coffer-statement", ...signers)), never: [doc.id] };
  },
});

const CASES: readonly Case[] = [
  statement("a statement of another root", "FOREIGN_ROOT", () => body({ root: digestFor("root") }), "alice", "bob"),
  statement(
    "a statement under a policy that is not here",
    "UNSUPPORTED",
    () => body({ policy: digestFor("p") }),
    "alice",
    "bob",
  ),
  statement("a promotion with one approval of two", "APPROVALS_SHORT", () => body(), "alice"),
  statement("a promotion that its revoker signed", "APPROVALS_SHORT", () => body(), "carol"),
  statement("a promotion that nobody signed", "APPROVALS_SHORT", () => body()),
  statement(
    "a promotion without its manifest",
    "OBJECT_NOT_FOUND",
    () => body({ manifest: digestFor("m") }),
    "alice",
    "bob",
  ),
  statement(
    "a promotion of a document that is no manifest",
    "OBJECT_NOT_FOUND",
    () => body({ manifest: scene.a.store.pin }),
    "alice",
    "bob",
  ),
  statement("a revocation by approvers", "SIGNATURE_INVALID", () => revoking(), "alice", "bob"),
  statement("a revocation by nobody", "SIGNATURE_INVALID", () => revoking()),
  statement("a revocation of another root", "FOREIGN_ROOT", () => revoking({ root: digestFor("root") }), "carol"),
  {
    name: "a promotion signed by a stranger",
    code: "APPROVALS_SHORT",
    async make() {
      const doc = makeStatement(body());
      return { source: withMore(await signed(doc, "coffer-statement", await stranger())), never: [doc.id] };
    },
  },
  {
    name: "a promotion signed for another purpose",
    code: "APPROVALS_SHORT",
    async make() {
      const doc = makeStatement(body());
      const { alice, bob } = scene.team.people;
      return { source: withMore(await signed(doc, "coffer-manifest", alice, bob)), never: [doc.id] };
    },
  },
  {
    name: "a promotion with signatures over another",
    code: "APPROVALS_SHORT",
    async make() {
      const [doc, other] = [makeStatement(body()), makeStatement(body({ reason: "another" }))];
      const { alice, bob } = scene.team.people;
      const [object] = await signed(doc, "coffer-statement");
      const [, ...signatures] = await signed(other, "coffer-statement", alice, bob);
      const moved = signatures.map(([item, bytes]) => [{ ...item, object: doc.id } as Item, bytes] as const);
      return { source: withMore([...(object === undefined ? [] : [object]), ...moved]), never: [doc.id] };
    },
  },
  {
    name: "a promotion of a manifest that no publisher signed",
    code: "PUBLISHER_MISSING",
    async make() {
      const { people } = scene.team;
      const manifest = makeManifest({ ...parseManifest(scene.manifestBytes).value, license: "other" });
      const doc = makeStatement(body({ manifest: manifest.id }));
      const items = [
        ...(await signed(manifest, "coffer-manifest", people.carol)),
        ...(await signed(doc, "coffer-statement", people.alice, people.bob)),
      ];
      return { source: withMore(items), never: [doc.id] };
    },
  },
  {
    name: "a candidate of another name",
    code: "UNSUPPORTED",
    async make() {
      const doc = makeStatement(body());
      const { alice, bob } = scene.team.people;
      const candidates = [{ name: parseName("acme/other@v1").text, statement: doc.id }];
      return { source: withMore(await signed(doc, "coffer-statement", alice, bob), { candidates }), never: [doc.id] };
    },
  },
  {
    name: "a candidate under a policy that is not here",
    code: "UNSUPPORTED",
    async make() {
      const doc = makeStatement(body({ policy: digestFor("p") }));
      const candidates = [{ name: FORGED.text, statement: doc.id }];
      const items = await signed(doc, "coffer-statement", scene.team.people.alice);
      return { source: withMore(items, { candidates }), never: [doc.id] };
    },
  },
  ...(["nobody", "a stranger"] as const).map(
    (who): Case => ({
      name: `a refusal by ${who}`,
      code: "SIGNATURE_INVALID",
      async make() {
        const head = scene.source.index.value.names[0]?.heads[0] ?? digestFor("none");
        const doc = makeRefusal({ statement: head, reason: "forged", issuedAt: "2026-11-22T10:00:00Z" as never });
        const signers = who === "nobody" ? [] : [await stranger()];
        const source = withMore(await signed(doc, "coffer-refusal", ...signers), { refusals: [doc.id] });
        return { source, never: [doc.id] };
      },
    }),
  ),
  ...[
    ["an object of an unknown kind", '{"type":"coffer/heartbeat","version":1}\n', "UNSUPPORTED"],
    ["an object of a later version", '{"type":"coffer/statement","version":2}\n', "UNSUPPORTED"],
    ["bytes that are no document", "hello", "UNSUPPORTED"],
    ["a statement without members", '{"type":"coffer/statement","version":1}\n', "DOCUMENT_INVALID"],
    ["a statement in another encoding", '{ "type":"coffer/statement","version":1}\n', "JSON_INVALID"],
    ["a refusal of a later version", '{"also":1,"type":"coffer/refusal","version":2}\n', "UNSUPPORTED"],
  ].map(
    ([name = "", text, code]): Case => ({
      name,
      code,
      async make() {
        const bytes = new TextEncoder().encode(text);
        const doc = { id: sha256(bytes), bytes };
        return { source: withMore(await signed(doc, "coffer-statement", scene.team.people.alice)), never: [doc.id] };
      },
    }),
  ),
];

describe("bundles with hostile documents", () => {
  for (const [number, { name, code, make }] of CASES.entries()) {
    test(`${name}: told as ${code}, and nothing of it is adopted`, async () => {
      const b = await scene.team.store(`b${number}`);
      const { source, never } = await make();
      const report = await importFrom(b.store, source);
      const codes = [...report.refused.map((one) => one.code), ...report.names.map((one) => one.code)];
      assert.ok(codes.includes(code as never), `${codes}`);
      for (const id of never) assert.equal(await b.store.objects.read(id), undefined);
      const refs = new Set<string>();
      for await (const [ref, id] of (await b.store.head()).listRefs()) {
        const parsed = parseRefPath(ref);
        refs.add(parsed.family);
        if (parsed.family === "trusted") assert.equal(parsed.name.text, NAME.text);
        assert.equal(never.includes(id), false, ref);
      }
      // The honest part stands, whatever came with it.
      assert.ok(refs.has("trusted"), `${[...refs]} ${JSON.stringify([report.names, report.refused])}`);
      for (const family of ["revoked", "chain", "waiting", "proposed", "refused"])
        assert.equal(refs.has(family) ? family : "", "");
    });
  }

  test("an object under another's name stops the import before anything is adopted", async () => {
    const b = await scene.team.store("wrong");
    const files = new Map(scene.files);
    const path = [...files.keys()].find((one) => one.startsWith("objects/")) ?? "";
    files.set(path, new Uint8Array(files.get(path)?.length ?? 0));
    const before = (await b.store.head()).number;
    await assert.rejects(importFrom(b.store, memorySource(scene.source.index, files)), (error) =>
      isCofferError(error, "OBJECT_MISMATCH"),
    );
    assert.equal((await b.store.head()).number, before);
  });
});
