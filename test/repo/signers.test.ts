// SPDX-License-Identifier: Apache-2.0
/**
 * What the tree says of signatures and of heads must still be on the disk: a revocation that loses one of its
 * signatures or the list that names them, and a head that loses what it follows, are damage and never a yes.
 * See docs/decisions/0016-signers-and-waiting-in-the-tree.md. Every question is asked of a store opened anew.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type Digest, parseDigest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { evidenceRef, nameRef, type RefPath, signersRef } from "../../src/base/ref-path.ts";
import { formatTime } from "../../src/base/time.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { makeStatement } from "../../src/objects/documents/statement.ts";
import { objectPath, signaturePath } from "../../src/objects/layout.ts";
import { add } from "../../src/repo/add.ts";
import { readHeads } from "../../src/repo/candidates.ts";
import { Dossier, readList, readPolicies } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import {
  makeSafetensors,
  makeStoreFixture,
  type Person,
  ruleFor,
  type StoreFixture,
} from "../support/store-fixture.ts";

const OURS = parseName("acme/tiny");
const THEIRS = parseName("other/thing");
const shared = makeSafetensors(300, 5);
const README = (text: string) => ({ "README.md": Buffer.from(`# ${text}\n`) });
const RULES = [
  ruleFor("acme/*@*", { revokers: { principals: ["alice"], threshold: 1 } }),
  ruleFor("other/*@*", { revokers: { principals: ["alice", "bob", "carol"], threshold: 2 } }),
];

/** "yes", or the code of the refusal. */
async function ask(fixture: StoreFixture, name = OURS): Promise<string> {
  try {
    await resolve(await fixture.open(), name);
    return "yes";
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return error.code;
  }
}

async function damage(fixture: StoreFixture): Promise<string[]> {
  const { problems } = await fsck(await fixture.open());
  return problems.filter(({ code }) => code === "CORRUPT").map(({ where }) => where);
}

async function refOf({ store }: StoreFixture, ref: RefPath): Promise<Digest> {
  return (await (await store.head()).readRef(ref)) ?? assert.fail(`expected ${ref}`);
}

/** Runs `during` while the file is not there. */
async function without(fixture: StoreFixture, path: string, during: () => Promise<void>): Promise<void> {
  const absolute = join(fixture.location.root, path);
  const kept = readFileSync(absolute);
  rmSync(absolute);
  await during();
  writeFileSync(absolute, kept);
}

/** other/thing, with the bytes of acme/tiny in it, is revoked by all of `people`, whom the last one's act puts on record. */
async function makeRevoked(t: TestContext, ...people: Person[]) {
  const fixture = await makeStoreFixture(t, RULES);
  await fixture.trust(OURS.text, { "model.safetensors": shared, ...README("ours") });
  await fixture.trust(THEIRS.text, { "model.safetensors": shared, ...README("theirs") });
  const also = [sha256(shared)];
  const [first, ...others] = people;
  const last = others.pop() ?? assert.fail("two revokers");
  await revoke(fixture.store, { name: THEIRS, also }, fixture.signers[first ?? last]);
  const statement = await refOf(fixture, nameRef("revoking", THEIRS));
  // Made elsewhere and copied in: the threshold is not asked before the last one signs.
  for (const who of others) {
    const bytes = readFileSync(join(fixture.location.root, objectPath(statement)));
    const armored = await signSshsig(fixture.signers[who], "coffer-statement", bytes);
    writeFileSync(join(fixture.location.root, signatureOf(fixture, statement, who)), armored);
  }
  assert.equal(await ask(fixture), "yes", "what waits for revokers denies nothing");
  await revoke(fixture.store, { name: THEIRS, also: [] }, fixture.signers[last]);
  assert.equal(await refOf(fixture, nameRef("revoked", THEIRS)), statement);
  assert.equal(await ask(fixture), "REVOKED");
  return { fixture, statement };
}

function signatureOf(fixture: StoreFixture, statement: Digest, who: Person): string {
  return signaturePath(statement, fixture.signers[who].publicKey.keyId);
}

describe("a committed revocation", () => {
  for (const people of [
    ["alice", "bob"],
    ["bob", "alice"],
    // Without one of three its own name's rule is still met, but alice's alone reach acme/tiny.
    ["alice", "carol", "bob"],
  ] as const) {
    test(`by ${people.join(", ")}: each of them is on record, and none may be lost`, async (t) => {
      const { fixture, statement } = await makeRevoked(t, ...people);
      const list = await readList(fixture.store, await refOf(fixture, signersRef(statement)), "list");
      assert.deepEqual([...list].sort(), people.map((who) => fixture.signers[who].publicKey.keyId).sort());
      for (const who of people) {
        await without(fixture, signatureOf(fixture, statement, who), async () => {
          assert.deepEqual([await ask(fixture), await ask(fixture, THEIRS)], ["CORRUPT", "CORRUPT"], `without ${who}`);
          assert.ok((await damage(fixture)).includes("refs/chain/other/thing/main"));
        });
      }
      assert.equal(await ask(fixture), "REVOKED", "put back");
    });
  }

  test("a signature that was emptied, or is another's, is lost too", async (t) => {
    const { fixture, statement } = await makeRevoked(t, "alice", "carol", "bob");
    const root = fixture.location.root;
    const [alices, bobs] = [signatureOf(fixture, statement, "alice"), signatureOf(fixture, statement, "bob")];
    for (const bytes of [Buffer.alloc(0), readFileSync(join(root, bobs))]) {
      await without(fixture, alices, async () => {
        writeFileSync(join(root, alices), bytes);
        assert.equal(await ask(fixture), "CORRUPT");
      });
    }
    assert.equal(await ask(fixture), "REVOKED", "put back");
  });

  test("losing the list that names its signers, or a list in the place of it, is damage", async (t) => {
    const { fixture, statement } = await makeRevoked(t, "alice", "carol", "bob");
    const list = objectPath(await refOf(fixture, signersRef(statement)));
    await without(fixture, list, async () => {
      assert.deepEqual([await ask(fixture), await ask(fixture, THEIRS)], ["CORRUPT", "CORRUPT"]);
      assert.ok((await damage(fixture)).includes(signersRef(statement)));
      const short = makeList([parseDigest(fixture.signers.bob.publicKey.keyId)]);
      writeFileSync(join(fixture.location.root, list), short.bytes);
      assert.equal(await ask(fixture), "CORRUPT");
    });
    assert.equal(await ask(fixture), "REVOKED", "put back");
  });

  test("without a list at all, or with an empty one, it is damage", async (t) => {
    const { fixture, statement } = await makeRevoked(t, "alice", "carol", "bob");
    const batch = fixture.store.batch();
    const empty = makeList([]);
    batch.addObject(empty);
    const ref = signersRef(statement);
    await fixture.store.commit(async () => ({ moves: [{ ref, to: empty.id }], batch, note: "test" }));
    assert.equal(await ask(fixture), "CORRUPT");
    assert.ok((await damage(fixture)).includes(ref));
    await fixture.store.commit(async () => ({ moves: [{ ref }], batch: fixture.store.batch(), note: "test" }));
    assert.equal(await ask(fixture), "CORRUPT");
  });
});

test("a fail of an inspection that lost its signature, or the list of it, is damage and no missing fail", async (t) => {
  const fixture = await makeStoreFixture(t, RULES);
  const folder = mkdtempSync(join(fixture.folder, "bad-"));
  writeFileSync(join(folder, "model.safetensors"), Buffer.alloc(64, 0x80));
  const files = [{ path: parseManifestPath("model.safetensors"), folder, file: "model.safetensors" }];
  const { manifest, state } = await add(fixture.store, { name: OURS, files, keep: true });
  assert.equal(state, "acquired");
  const [evidence] = await readList(fixture.store, await refOf(fixture, evidenceRef(manifest)), "list");
  assert.ok(evidence !== undefined);
  const read = async () => {
    const head = await fixture.store.head();
    const policies = await readPolicies(fixture.store, head);
    return new Dossier(await fixture.open(), head, policies, OURS).evidence(manifest);
  };
  const [fail] = await read();
  assert.deepEqual([fail?.value.result, fail?.signers], ["fail", new Set([fixture.store.storeKey.keyId])]);
  const list = objectPath(await refOf(fixture, signersRef(evidence)));
  for (const path of [signaturePath(evidence, fixture.store.storeKey.keyId), list]) {
    await without(fixture, path, () => assert.rejects(read(), { code: "CORRUPT" }));
  }
});

describe("a head whose parent was lost", () => {
  /** acme/tiny, promoted twice. @returns the file of the statement that its head follows */
  async function makeSecond(t: TestContext): Promise<{ fixture: StoreFixture; parent: string }> {
    const fixture = await makeStoreFixture(t, RULES);
    await fixture.trust(OURS.text, { "model.safetensors": shared, ...README("one") });
    const parent = objectPath(await refOf(fixture, nameRef("trusted", OURS)));
    await fixture.trust(OURS.text, { "model.safetensors": shared, ...README("two") });
    return { fixture, parent };
  }

  test("is damage, not unknown", async (t) => {
    const { fixture, parent } = await makeSecond(t);
    assert.equal(await ask(fixture), "yes");
    await without(fixture, parent, async () => {
      assert.equal(await ask(fixture), "CORRUPT");
      assert.ok((await damage(fixture)).includes("refs/trusted/acme/tiny/main"));
    });
    assert.equal(await ask(fixture), "yes", "put back");
  });

  test("denies what it revokes all the same, and fsck names the damage", async (t) => {
    const { fixture } = await makeSecond(t);
    const parent = objectPath(await refOf(fixture, nameRef("trusted", OURS)));
    await revoke(fixture.store, { name: OURS, also: [] }, fixture.signers.alice);
    await without(fixture, parent, async () => {
      assert.equal(await ask(fixture), "REVOKED");
      assert.ok((await damage(fixture)).includes("refs/chain/acme/tiny/main"));
    });
  });
});

describe("refs/waiting", () => {
  /** A statement about acme/tiny that follows one which is not here, as an import would leave it. */
  async function makeWaiting(t: TestContext, state: "trusted" | "revoked", onRecord: readonly Person[]) {
    const fixture = await makeStoreFixture(t, RULES);
    const { store, signers } = fixture;
    await fixture.trust(OURS.text, { "model.safetensors": shared });
    const policies = await readPolicies(store, await store.head());
    const [head] = await readHeads(store, await store.head(), policies, OURS);
    assert.ok(head !== undefined);
    const { root, policy, manifest } = head.value;
    const made = makeStatement({
      ...{ root, policy, manifest, evidence: [] },
      ref: nameRef(state, OURS),
      sequence: 7,
      previous: [sha256(Buffer.from("not here"))],
      issuedAt: formatTime(fixture.nowS),
    });
    const batch = store.batch();
    batch.addObject(made);
    const armored = await signSshsig(signers.alice, "coffer-statement", made.bytes);
    batch.addSignature(made.id, signers.alice.publicKey.keyId, armored);
    const list = makeList([made.id]);
    const record = makeList(onRecord.map((who) => parseDigest(signers[who].publicKey.keyId)));
    for (const entry of [list, record]) batch.addObject(entry);
    const moves = [{ ref: nameRef("waiting", OURS), to: list.id }];
    if (onRecord.length > 0) moves.push({ ref: signersRef(made.id), to: record.id });
    await store.commit(async () => ({ moves, batch, note: "test" }));
    return { fixture, statement: made.id };
  }

  test("a promotion that cannot be judged changes nothing, even without its signatures", async (t) => {
    const { fixture, statement } = await makeWaiting(t, "trusted", []);
    assert.equal(await ask(fixture), "yes");
    assert.deepEqual(await damage(fixture), []);
    const verdict = (await resolve(fixture.store, OURS)).verdict;
    assert.ok(verdict.notEstablished.some(({ id }) => id === "set-aside"));
    await without(fixture, signatureOf(fixture, statement, "alice"), async () => {
      assert.equal(await ask(fixture), "yes");
    });
    await without(fixture, objectPath(statement), async () => assert.equal(await ask(fixture), "CORRUPT"));
  });

  test("a revocation that cannot be judged denies at once, and may lose nothing", async (t) => {
    const { fixture, statement } = await makeWaiting(t, "revoked", ["alice"]);
    assert.equal(await ask(fixture), "REVOKED");
    const list = objectPath(await refOf(fixture, signersRef(statement)));
    for (const path of [objectPath(statement), signatureOf(fixture, statement, "alice"), list]) {
      await without(fixture, path, async () => assert.equal(await ask(fixture), "CORRUPT"));
    }
  });

  test("a revocation whose signers are not on record is damage", async (t) => {
    const { fixture } = await makeWaiting(t, "revoked", []);
    assert.equal(await ask(fixture), "CORRUPT");
  });
});
