// SPDX-License-Identifier: Apache-2.0
/**
 * Refusals: who may make one, what it takes away, that it stays. What is on record and then lost denies; it never
 * un-refuses. Every question is asked of a store opened anew.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { type RefPath, refusedRef, signersRef } from "../../src/base/ref-path.ts";
import { formatTime } from "../../src/base/time.ts";
import { type SignatureNamespace, signSshsig } from "../../src/keys/sshsig.ts";
import { makeRefusal } from "../../src/objects/documents/refusal.ts";
import { objectPath, signaturePath } from "../../src/objects/layout.ts";
import { needCandidate, propose } from "../../src/repo/candidates.ts";
import { readList } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { promote } from "../../src/repo/promote.ts";
import { planReject, reject, rejectWith } from "../../src/repo/reject.ts";
import { resolve } from "../../src/repo/resolve.ts";
import {
  makeSafetensors,
  makeStoreFixture,
  type Person,
  ruleFor,
  type StoreFixture,
} from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const FILES = { "model.safetensors": makeSafetensors(300, 1) };
const THREE = ruleFor("*/*@*", { approvers: { principals: ["alice", "bob", "carol"], threshold: 2 } });

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return error.code;
  }
}

const ask = (fixture: StoreFixture): Promise<string> => codeOf(async () => resolve(await fixture.open(), NAME));

async function refOf(fixture: StoreFixture, ref: RefPath): Promise<Digest> {
  return (await (await fixture.store.head()).readRef(ref)) ?? assert.fail(`expected ${ref}`);
}

async function refuse(fixture: StoreFixture, who: Person, reason = "no") {
  return reject(fixture.store, await planReject(fixture.store, { name: NAME }), reason, fixture.signers[who]);
}

async function proposed(t: TestContext, rules?: readonly object[]) {
  const fixture = await makeStoreFixture(t, rules);
  await fixture.add(NAME.text, FILES);
  return { fixture, statement: await fixture.propose(NAME.text) };
}

async function without(fixture: StoreFixture, path: string, during: () => Promise<void>): Promise<void> {
  const absolute = join(fixture.location.root, path);
  const kept = readFileSync(absolute);
  rmSync(absolute);
  await during();
  mkdirSync(dirname(absolute), { recursive: true });
  writeFileSync(absolute, kept);
}

/** A refusal and its signature, as they come back from elsewhere. */
async function signedElsewhere(
  fixture: StoreFixture,
  statement: Digest,
  who: Person,
  namespace: SignatureNamespace = "coffer-refusal",
) {
  const { bytes } = makeRefusal({ statement, reason: "signed elsewhere", issuedAt: formatTime(fixture.nowS) });
  return { bytes, signature: Buffer.from(await signSshsig(fixture.signers[who], namespace, bytes)) };
}

describe("a refusal of a candidate", () => {
  test("stops it where the threshold is exact; proposed anew, all may approve", async (t) => {
    const { fixture, statement } = await proposed(t);
    await fixture.approve(NAME.text, statement, "alice", "bob");
    assert.equal((await refuse(fixture, "bob")).stopped, true);
    assert.equal(await codeOf(() => promote(fixture.store, [NAME])), "REFUSED");
    assert.equal(await codeOf(() => fixture.approve(NAME.text, statement, "alice")), "REFUSED");
    const again = { name: NAME, signer: fixture.signers.alice };
    assert.equal(await codeOf(() => propose(fixture.store, { ...again, replace: false })), "CANDIDATE_EXISTS");
    assert.equal(
      await codeOf(() => propose(fixture.store, { ...again, replace: true })),
      "REFUSED",
      "in the same second it would be the same statement",
    );
    fixture.nowS += 1;
    const renewed = (await propose(fixture.store, { ...again, replace: true })).statement.id;
    await fixture.approve(NAME.text, renewed, "alice", "bob");
    await promote(fixture.store, [NAME]);
    assert.equal(await ask(fixture), "done");
  });

  test("where others are left they may outvote it, and it is still told", async (t) => {
    const { fixture, statement } = await proposed(t, [THREE]);
    assert.equal((await refuse(fixture, "bob", "too large")).stopped, false);
    assert.equal(await codeOf(() => fixture.approve(NAME.text, statement, "bob")), "REFUSED");
    await fixture.approve(NAME.text, statement, "alice");
    const short = await needCandidate(fixture.store, NAME);
    assert.deepEqual(
      short.verdict.reasons.map(({ code }) => code),
      ["APPROVALS_SHORT"],
    );
    await fixture.approve(NAME.text, statement, "carol");
    await promote(fixture.store, [NAME]);
    const { verdict } = await resolve(await fixture.open(), NAME);
    assert.deepEqual(verdict.approvers, ["alice", "carol"]);
    assert.deepEqual(
      verdict.findings.filter(({ id }) => id === "refused").map(({ text }) => text),
      ["refused by bob: too large"],
    );
  });

  test("nobody but an approver of the name can make one, and what is not made leaves nothing", async (t) => {
    const { fixture, statement } = await proposed(t);
    const before = (await fixture.store.head()).id;
    assert.equal(await codeOf(() => refuse(fixture, "carol")), "NOT_ALLOWED");
    const { bytes, signature } = await signedElsewhere(fixture, statement, "carol");
    assert.equal(await codeOf(() => rejectWith(fixture.store, NAME, bytes, signature)), "NOT_ALLOWED");
    assert.equal(await codeOf(() => refuse(fixture, "bob", "")), "DOCUMENT_INVALID");
    assert.equal(await codeOf(() => refuse(fixture, "bob", "x".repeat(4097))), "DOCUMENT_INVALID");
    assert.equal((await fixture.store.head()).id, before);
  });

  test("the second of one person does nothing; the reason of the first stays", async (t) => {
    const { fixture, statement } = await proposed(t);
    await refuse(fixture, "bob", "first");
    fixture.nowS += 1;
    const second = await refuse(fixture, "bob", "second");
    assert.equal(second.entry, undefined);
    const { refusedBy } = await planReject(fixture.store, { name: NAME });
    assert.deepEqual([...refusedBy], [["bob", "first"]]);
    const list = await readList(fixture.store, await refOf(fixture, refusedRef(statement)), "list");
    assert.equal(list.length, 1);
  });

  test("is of what was shown: not of what was promoted, or proposed, meanwhile", async (t) => {
    const { fixture, statement } = await proposed(t);
    await fixture.approve(NAME.text, statement, "alice", "bob");
    const shown = await planReject(fixture.store, { name: NAME });
    await promote(await fixture.open(), [NAME]);
    assert.equal(await codeOf(() => reject(fixture.store, shown, "no", fixture.signers.bob)), "REF_MOVED");
    assert.equal(await ask(fixture), "done");
    const standing = await planReject(fixture.store, { name: NAME });
    await fixture.revoke(NAME.text);
    assert.equal(await codeOf(() => reject(fixture.store, standing, "no", fixture.signers.bob)), "NOT_PROPOSED");
  });
});

describe("a refusal of what stands", () => {
  test("stops the name at once where the threshold is exact, and says so first", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    const shown = await planReject(fixture.store, { name: NAME });
    assert.deepEqual([shown.state, shown.stoppers], ["trusted", ["alice", "bob"]]);
    await reject(fixture.store, shown, "no", fixture.signers.bob);
    assert.equal(await ask(fixture), "REFUSED");
    const { problems } = await fsck(await fixture.open());
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["REFUSED"],
      "a denial, no damage",
    );
  });

  test("with a candidate open, the candidate is meant; --statement says otherwise", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust(NAME.text, FILES);
    fixture.nowS += 1;
    const candidate = await fixture.propose(NAME.text);
    const first = await planReject(fixture.store, { name: NAME });
    assert.deepEqual([first.state, first.statement.id], ["proposed", candidate]);
    const [standing = assert.fail("a head before")] = first.statement.value.previous;
    const other = await planReject(fixture.store, { name: NAME, statement: standing.slice(0, 12) });
    assert.deepEqual([other.state, other.statement.id], ["trusted", standing]);
    await reject(fixture.store, other, "no", fixture.signers.alice);
    assert.equal(await ask(fixture), "REFUSED");
    for (const [statement, code] of [
      ["0".repeat(12), "NOT_PROPOSED"],
      ["0".repeat(11), "DIGEST_INVALID"],
      ["0".repeat(65), "DIGEST_INVALID"],
      ["Z".repeat(12), "DIGEST_INVALID"],
    ] as const) {
      assert.equal(await codeOf(() => planReject(fixture.store, { name: NAME, statement })), code, statement);
    }
  });

  test("of a revoked name, or one that nobody knows, there is nothing to refuse", async (t) => {
    const fixture = await makeStoreFixture(t);
    assert.equal(await codeOf(() => planReject(fixture.store, { name: NAME })), "NAME_NOT_FOUND");
    await fixture.add(NAME.text, FILES);
    assert.equal(await codeOf(() => planReject(fixture.store, { name: NAME })), "NOT_TRUSTED");
    await fixture.trust(NAME.text, FILES);
    await fixture.revoke(NAME.text);
    assert.equal(await codeOf(() => planReject(fixture.store, { name: NAME })), "REVOKED");
  });
});

describe("a refusal signed elsewhere", () => {
  test("two people may sign the same bytes: both count, and both are on record", async (t) => {
    const { fixture, statement } = await proposed(t, [THREE]);
    for (const who of ["alice", "bob"] as const) {
      const { bytes, signature } = await signedElsewhere(fixture, statement, who);
      const done = await rejectWith(fixture.store, NAME, bytes, signature);
      assert.deepEqual([done.refuser, done.entry === undefined, done.stopped], [who, false, who === "bob"]);
      const signers = await readList(fixture.store, await refOf(fixture, signersRef(done.refusal)), "list");
      assert.equal(signers.length, who === "alice" ? 1 : 2);
    }
    assert.equal(await codeOf(() => promote(fixture.store, [NAME])), "REFUSED");
  });

  test("of another namespace, other bytes, another statement or no document: nothing is stored", async (t) => {
    const { fixture, statement } = await proposed(t);
    const before = (await fixture.store.head()).id;
    const good = await signedElsewhere(fixture, statement, "bob");
    const other = await signedElsewhere(fixture, "0".repeat(64) as Digest, "bob");
    const wrong = await signedElsewhere(fixture, statement, "bob", "coffer-statement");
    const spaced = Buffer.concat([good.bytes, Buffer.from(" ")]);
    for (const [bytes, signature, code] of [
      [wrong.bytes, wrong.signature, "SIGNATURE_INVALID"],
      [good.bytes, other.signature, "SIGNATURE_INVALID"],
      [good.bytes, Buffer.from("junk"), "SIGNATURE_INVALID"],
      [other.bytes, other.signature, "NOT_PROPOSED"],
      [spaced, good.signature, "JSON_INVALID"],
      [Buffer.from("{}\n"), good.signature, "DOCUMENT_INVALID"],
    ] as const) {
      assert.equal(await codeOf(() => rejectWith(fixture.store, NAME, bytes, signature)), code);
    }
    assert.equal((await fixture.store.head()).id, before);
  });
});

describe("a refusal on record", () => {
  test("may lose nothing: a lost signature, list or document is damage, and never lifts it", async (t) => {
    const fixture = await makeStoreFixture(t, [THREE]);
    await fixture.trust(NAME.text, FILES);
    const statement = (await planReject(fixture.store, { name: NAME })).statement.id;
    const { refusal } = await refuse(fixture, "carol");
    assert.equal(await ask(fixture), "done", "carol had not approved it");
    const lost = [
      signaturePath(refusal, fixture.signers.carol.publicKey.keyId),
      objectPath(refusal),
      objectPath(await refOf(fixture, refusedRef(statement))),
      objectPath(await refOf(fixture, signersRef(refusal))),
    ];
    for (const path of lost) {
      await without(fixture, path, async () => {
        assert.equal(await ask(fixture), "CORRUPT", path);
        const { problems } = await fsck(await fixture.open());
        assert.ok(
          problems.some(({ where }) => where === refusedRef(statement)),
          `fsck names the list of refusals without ${path}`,
        );
      });
    }
    assert.equal(await ask(fixture), "done", "put back");
  });
});
