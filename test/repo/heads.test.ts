// SPDX-License-Identifier: Apache-2.0
/** Where a name's heads stand: one trusted head under refs/trusted, all else in the list under refs/chain, never both. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { makeList } from "../../src/objects/documents/list.ts";
import { readList } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { answer } from "../../src/repo/resolve.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const [TRUSTED, CHAIN] = [nameRef("trusted", NAME), nameRef("chain", NAME)];
const files = (seed: number) => ({ "model.safetensors": makeSafetensors(64, seed) });

async function makeTrusted(t: TestContext): Promise<StoreFixture> {
  const fixture = await makeStoreFixture(t);
  await fixture.trust(NAME.text, files(1));
  return fixture;
}

async function refs({ store }: StoreFixture) {
  const head = await store.head();
  return { trusted: await head.readRef(TRUSTED), chain: await head.readRef(CHAIN) };
}

/** What a writer that does not keep to the format would commit. */
async function commitChain({ store }: StoreFixture, ids: readonly Digest[], keepTrusted: boolean): Promise<void> {
  const list = makeList(ids);
  await store.commit(async () => {
    const batch = store.batch();
    batch.addObject(list);
    const moves = [{ ref: CHAIN, to: list.id }, ...(keepTrusted ? [] : [{ ref: TRUSTED }])];
    return { moves, batch };
  });
}

const corrupt = async ({ store }: StoreFixture): Promise<readonly string[]> =>
  (await fsck(store)).problems.filter(({ code }) => code === "CORRUPT").map(({ where }) => where);

describe("heads of a name", () => {
  test("promoted: under refs/trusted, and no list; again: the same; revoked: the other way round; back again", async (t) => {
    const fixture = await makeTrusted(t);
    const first = await refs(fixture);
    assert.ok(first.trusted !== undefined && first.chain === undefined);
    await fixture.trust(NAME.text, files(2));
    const second = await refs(fixture);
    assert.ok(second.trusted !== first.trusted && second.chain === undefined);
    await fixture.revoke(NAME.text);
    const revoked = await refs(fixture);
    assert.equal(revoked.trusted, undefined);
    const head = await fixture.store.head();
    const standing = await head.readRef(nameRef("revoked", NAME));
    assert.deepEqual(await readList(fixture.store, revoked.chain, "chain"), [standing]);
    await fixture.trust(NAME.text, files(3));
    const back = await refs(fixture);
    assert.ok(back.trusted !== undefined && back.chain === undefined);
    assert.equal((await answer(fixture.store, NAME)).verdict.trusted, true);
    assert.deepEqual(await corrupt(fixture), []);
  });

  test("both refs: denied as damage, whatever they hold, and fsck names them", async (t) => {
    const fixture = await makeTrusted(t);
    const { trusted } = await refs(fixture);
    assert.ok(trusted);
    await commitChain(fixture, [trusted], true);
    await assert.rejects(answer(fixture.store, NAME), { code: "CORRUPT" });
    assert.deepEqual(await corrupt(fixture), [CHAIN, TRUSTED]);
  });

  for (const [what, ids] of [
    ["a list of one trusted head", (head: Digest) => [head]],
    ["an empty list", () => []],
  ] as const) {
    test(`${what}: fsck names it`, async (t) => {
      const fixture = await makeTrusted(t);
      const { trusted } = await refs(fixture);
      assert.ok(trusted);
      await commitChain(fixture, ids(trusted), false);
      assert.ok((await corrupt(fixture)).includes(CHAIN));
    });
  }
});
