// SPDX-License-Identifier: Apache-2.0
/** What may come after an offer, ref by ref, while it is still given to whoever has waited for it. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import {
  evidenceRef,
  NAME_FAMILIES,
  nameRef,
  POLICY_REF,
  type RefPath,
  refusedRef,
  remoteRef,
  revokedRef,
  signersRef,
} from "../../src/base/ref-path.ts";
import { Aftermath } from "../../src/repo/serving-aftermath.ts";
import { noBreath } from "../../src/sync/plan.ts";
import type { Item } from "../../src/sync/source.ts";
import { makeStoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/tiny");
const [OFFERED, OTHER] = [sha256(Buffer.from("offered")), sha256(Buffer.from("other"))];
const DOCUMENTS: readonly Item[] = [{ kind: "object", id: OFFERED, sizeBytes: 7 }];

const HARMLESS: readonly RefPath[] = [
  ...(["acquired", "quarantined", "proposed", "revoking", "deleting", "trusted"] as const).map((one) =>
    nameRef(one, NAME),
  ),
  ...(["fork", "index", "kept"] as const).map((kind) => remoteRef(OTHER, kind)),
  signersRef(OTHER),
  evidenceRef(OTHER),
];
const DENYING: readonly RefPath[] = [
  ...NAME_FAMILIES.map((family) => nameRef(family, NAME)).filter((ref) => !HARMLESS.includes(ref)),
  ...(["manifest", "blob", "statement"] as const).map((kind) => revokedRef(OTHER, kind)),
  refusedRef(OTHER),
  evidenceRef(OFFERED),
  signersRef(OFFERED),
  POLICY_REF,
];

async function scene(t: TestContext) {
  const { store } = await makeStoreFixture(t);
  let held = 0;
  const move = async (ref: RefPath, to: "set" | "gone" = "set"): Promise<void> => {
    held += 1;
    const id = sha256(Buffer.from(String(held)));
    await store.commit(async () => ({ moves: [to === "set" ? { ref, to: id } : { ref }] }));
  };
  const after = async () => new Aftermath(store, await store.head(), DOCUMENTS, noBreath);
  return { store, move, after };
}

test("what trusts more, waits, or was said elsewhere takes nothing away; a denial is never passed over", async (t) => {
  const { store, move, after } = await scene(t);
  const quiet = await after();
  for (const ref of HARMLESS) {
    await move(ref);
    assert.equal(await quiet.isQuiet(await store.head()), true, ref);
    await move(ref);
    assert.equal(await quiet.isQuiet(await store.head()), true, `${ref} again`);
  }
  assert.equal(DENYING.length, 11);
  for (const ref of DENYING) {
    const [each, whole, between] = [await after(), await after(), await store.head()];
    await move(ref);
    assert.equal(await each.isQuiet(await store.head()), false, ref);
    await move(nameRef("proposed", NAME));
    assert.equal(await each.isQuiet(await store.head()), false, `${ref}, and something else since`);
    assert.equal(await whole.isQuiet(await store.head()), false, `${ref}, looked at later`);
    assert.equal(await (await after()).isQuiet(between), true, "what an offer has already");
  }
});

test("a name that is trusted no more has lost something", async (t) => {
  const { store, move, after } = await scene(t);
  await move(nameRef("trusted", NAME));
  const one = await after();
  await move(nameRef("trusted", NAME), "gone");
  assert.equal(await one.isQuiet(await store.head()), false);
});
