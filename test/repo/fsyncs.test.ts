// SPDX-License-Identifier: Apache-2.0
/** What a promotion costs in fsyncs, counted at the port, and that one person's is one transaction, whole or not at all. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { newTrace, type Trace, traced } from "../../bench/support/files-wraps.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { propose } from "../../src/repo/candidates.ts";
import { promote, promoteAlone } from "../../src/repo/promote.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, ruleFor, type StoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const FILES = { "model.safetensors": makeSafetensors(64) };
const ALONE = ruleFor("*/*@*", { publishers: ["alice"], approvers: { principals: ["alice"], threshold: 1 } });
const fsyncs = ({ created, folders }: Trace): number =>
  created.filter(({ fsynced }) => fsynced).length + folders.length;

/** The store as a process opens it for one act. */
async function openTraced({ location, ports }: StoreFixture): Promise<{ store: Store; trace: Trace }> {
  const trace = newTrace();
  const openFolder = (path: string) => traced(ports.openFolder(path), () => trace);
  return { store: await openStore(location, { ...ports, openFolder }), trace };
}

describe("fsyncs of a promotion, in a store opened for it", () => {
  test("of an approved candidate: the tree's one path, the entry, the memory; nothing twice", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.add(NAME.text, FILES);
    await fixture.approve(NAME.text, await fixture.propose(NAME.text), "alice", "bob");
    const { store, trace } = await openTraced(fixture);
    await promote(store, [NAME]);
    const log = trace.folders.filter((folder) => folder.startsWith("log/"));
    assert.equal(log.length, 1, "the folder of the log once: the entry before is durable, or would not be remembered");
    // A node and its folder, the folder of the folders; the entry and its folder; head and clock floor, each with its folder.
    assert.ok(fsyncs(trace) <= 9, `${fsyncs(trace)} fsyncs`);
  });

  test("of one person: two signatures and a statement more", async (t) => {
    const fixture = await makeStoreFixture(t, [ALONE]);
    await fixture.add(NAME.text, FILES);
    const { store, trace } = await openTraced(fixture);
    await promoteAlone(store, { name: NAME, signer: fixture.signers.alice, replace: false });
    assert.ok(fsyncs(trace) <= 16, `${fsyncs(trace)} fsyncs`);
  });
});

describe("one person promotes", () => {
  const alone = async (t: TestContext, rule: object = ALONE): Promise<StoreFixture> => {
    const fixture = await makeStoreFixture(t, [rule]);
    await fixture.add(NAME.text, FILES);
    return fixture;
  };

  test("in one transaction; what it leaves is trusted, and no candidate stays", async (t) => {
    const { store, signers } = await alone(t);
    const before = (await store.head()).number;
    const [promoted] = await promoteAlone(store, { name: NAME, signer: signers.alice, replace: false });
    const head = await store.head();
    assert.deepEqual([promoted?.entry, head.number], [before + 1, before + 1]);
    const refs = await Promise.all(
      (["proposed", "quarantined"] as const).map((one) => head.readRef(nameRef(one, NAME))),
    );
    assert.deepEqual(refs, [undefined, undefined]);
    assert.equal((await resolve(store, NAME)).verdict.statement, promoted?.statement);
  });

  test("what is proposed already, by the statement that is open", async (t) => {
    const { store, signers } = await alone(t);
    const request = { name: NAME, signer: signers.alice, replace: false };
    const { statement } = await propose(store, request);
    const [promoted] = await promoteAlone(store, request);
    assert.equal(promoted?.statement, statement.id);
  });

  const scanned = { evidence: [{ kind: "inspection" }, { kind: "scan", signers: ["bob"] }] };
  for (const [what, rule, code] of [
    ["without the evidence that the rule asks for", { ...ALONE, ...scanned }, "EVIDENCE_MISSING"],
    [
      "where two must approve",
      { ...ALONE, approvers: { principals: ["alice", "bob"], threshold: 2 } },
      "APPROVALS_SHORT",
    ],
    ["by somebody who may not approve", { ...ALONE, approvers: { principals: ["bob"], threshold: 1 } }, "NOT_ALLOWED"],
    ["by somebody who may not publish", { ...ALONE, publishers: ["bob"] }, "NOT_ALLOWED"],
  ] as const) {
    test(`${what}: refused, and nothing is stored`, async (t) => {
      const fixture = await alone(t, rule);
      const before = (await fixture.store.head()).id;
      const { store, trace } = await openTraced(fixture);
      const request = { name: NAME, signer: fixture.signers.alice, replace: false };
      await assert.rejects(promoteAlone(store, request), { code });
      assert.deepEqual(
        [(await fixture.store.head()).id, trace.created.filter(({ to }) => to !== undefined)],
        [before, []],
      );
    });
  }
});
