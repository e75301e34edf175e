// SPDX-License-Identifier: Apache-2.0
/** What is to travel: whole chains, all denials whatever was asked for, small before large; the same for the same state. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { planReject, reject } from "../../src/repo/reject.ts";
import { type PlanRequest, planBundle } from "../../src/sync/plan.ts";
import { type Item, itemPath } from "../../src/sync/source.ts";
import { codeOf } from "../support/codes.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const files = (seed: number, dataBytes = 300) => ({
  "model.safetensors": makeSafetensors(dataBytes, seed),
  "README.md": Buffer.from(`model ${seed}\n`),
});
const MIB = 1024 * 1024;

async function plan(fixture: StoreFixture, names: readonly string[], more: Partial<PlanRequest> = {}) {
  const request: PlanRequest = { names: names.map(parseName), candidates: false, blobs: "all", ...more };
  return planBundle(fixture.store, await fixture.store.head(), request);
}

const kinds = (items: readonly Item[]): string => items.map(({ kind }) => kind.charAt(0)).join("");
const blobsIn = (items: readonly Item[]): Item[] => items.filter(({ kind }) => kind === "blob");

/** `acme/one` trusted, `acme/two` revoked, `acme/three` proposed, refused by bob, `acme/four` in quarantine. */
async function world(t: TestContext): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one", files(1));
  await fixture.trust("acme/two", files(2));
  await fixture.revoke("acme/two", "swapped");
  await fixture.add("acme/three", files(3));
  await fixture.propose("acme/three");
  const { store, signers } = fixture;
  await reject(store, await planReject(store, { name: parseName("acme/three") }), "no", signers.bob);
  await fixture.add("acme/four", files(4));
  return fixture;
}

describe("plan of a bundle", () => {
  test("a trusted name brings its chain, manifest, evidence and blobs, after the policy and all denials", async (t) => {
    const fixture = await world(t);
    const made = await plan(fixture, ["acme/one"]);
    // Policy; a revocation by carol; a refusal by bob; a statement by two; a manifest by alice; evidence by the store.
    assert.equal(kinds(made.items), "o" + "os" + "os" + "oss" + "os" + "os" + "bb");
    assert.deepEqual(
      made.names.map(({ name, state, heads }) => [name, state, heads.length]),
      [["acme/one@main", "trusted", 1]],
    );
    assert.deepEqual([made.policies.length, made.revocations.length, made.refusals.length], [1, 1, 1]);
    assert.deepEqual([made.evidence.length, made.candidates.length, made.claims.size], [1, 0, 2]);
    const [readme, weights] = blobsIn(made.items);
    assert.ok((readme?.sizeBytes ?? 0) < (weights?.sizeBytes ?? 0), "smaller blobs first");
  });

  test("the same state and request give the same plan, in whatever order names are given", async (t) => {
    const fixture = await world(t);
    const one = await plan(fixture, ["acme/one", "acme/two", "acme/four"]);
    const other = await plan({ ...fixture, store: await fixture.open() }, [
      "acme/four",
      "acme/two",
      "acme/one",
      "acme/one",
    ]);
    assert.deepEqual(other, one);
  });

  test("no names: the policy chain, every revocation and every refusal, and nothing else", async (t) => {
    const fixture = await world(t);
    const made = await plan(fixture, []);
    assert.equal(kinds(made.items), "o" + "os" + "os");
    assert.deepEqual([made.revocations.length, made.refusals.length, made.names], [1, 1, []]);
  });

  test("a revoked name brings its whole chain with manifests, and none of its bytes", async (t) => {
    const fixture = await world(t);
    const made = await plan(fixture, ["acme/two"]);
    assert.equal(made.names[0]?.state, "revoked");
    assert.equal(kinds(made.items), "o" + "os" + "os" + "oss" + "os");
    assert.equal(made.claims.size, 0);
  });

  test("a name that was promoted again brings both statements and both manifests, and the new bytes", async (t) => {
    const fixture = await world(t);
    await fixture.trust("acme/two", files(5));
    const made = await plan(fixture, ["acme/two"]);
    assert.equal(made.names[0]?.state, "trusted");
    assert.equal(made.revocations.length, 1, "the revocation that was followed still travels");
    assert.equal(kinds(made.items), `oosos${"oss".repeat(2)}${"os".repeat(2)}osbb`);
  });

  test("what is in quarantine travels with its evidence and bytes, without a statement", async (t) => {
    const fixture = await world(t);
    const made = await plan(fixture, ["acme/four"]);
    assert.deepEqual([made.names[0]?.state, made.names[0]?.heads], ["quarantined", []]);
    assert.equal(kinds(made.items), "o" + "os" + "os" + "o" + "os" + "bb");
  });

  test("a candidate travels on request: statement, publisher's signature, evidence, no blobs", async (t) => {
    const fixture = await world(t);
    const made = await plan(fixture, ["acme/three"], { candidates: true, blobs: "none" });
    assert.deepEqual([made.candidates.length, made.names[0]?.state], [1, "quarantined"]);
    assert.equal(kinds(made.items), "o" + "os" + "os" + "o" + "os" + "os");
  });

  test("blobs that the receiver has stay here, with their chunk lists", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/large", files(6, 20 * MIB));
    const all = await plan(fixture, ["acme/large"]);
    const [, weights] = blobsIn(all.items);
    assert.equal(kinds(all.items), "o" + "oss" + "os" + "os" + "o" + "bb");
    assert.equal(all.items.at(-3)?.sizeBytes, 3 * 32, "the chunk list has 32 bytes for each 8 MiB");
    const has = (blob: string): boolean => weights?.kind === "blob" && weights.blob === blob;
    const missing = await plan(fixture, ["acme/large"], { blobs: { has } });
    assert.equal(kinds(missing.items), "o" + "oss" + "os" + "os" + "b");
  });

  test("a name that is not there is told", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.add("acme/three", files(3));
    await fixture.propose("acme/three");
    assert.equal(await codeOf(() => plan(fixture, ["acme/nothing"])), "NAME_NOT_FOUND");
    assert.equal(await codeOf(() => plan(fixture, ["acme/nothing"], { candidates: true })), "NAME_NOT_FOUND");
  });

  test("a blob that is gone or cut is told before anything is sent", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/one", files(1));
    const made = await plan(fixture, ["acme/one"]);
    const weights = made.items.at(-1);
    assert.ok(weights?.kind === "blob");
    const path = join(fixture.location.root, blobPath(weights.blob));
    rmSync(path);
    assert.equal(await codeOf(() => plan(fixture, ["acme/one"])), "OBJECT_NOT_FOUND");
    assert.equal(await codeOf(() => plan(fixture, ["acme/one"], { blobs: "none" })), "done");
    writeFileSync(path, "short");
    assert.equal(await codeOf(() => plan(fixture, ["acme/one"])), "CORRUPT");
  });

  test("a signature that does not verify is no signature, and is not sent", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/one", files(1));
    const before = await plan(fixture, ["acme/one"]);
    const signature = before.items.find(({ kind }) => kind === "signature");
    assert.ok(signature?.kind === "signature");
    const { object, keyId } = signature;
    const path = join(fixture.location.root, `signatures/${object.slice(0, 2)}/${object.slice(2)}.${keyId}.sig`);
    rmSync(path);
    writeFileSync(path, "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n");
    const after = await plan(fixture, ["acme/one"]);
    assert.deepEqual(
      after.items.map(itemPath),
      before.items.map(itemPath).filter((one) => one !== itemPath(signature)),
    );
  });
});
