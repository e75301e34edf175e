// SPDX-License-Identifier: Apache-2.0
/** Verdicts kept for a server: always those that judging anew would give, read for as seldom as can be. */
import assert from "node:assert/strict";
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import { judge } from "../../src/repo/resolve.ts";
import { ServingVerdicts } from "../../src/repo/serving-verdicts.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const NAMES = ["acme/one", "acme/two", "acme/none"].map((text) => parseName(text));
const model = (seed: number) => ({ "m.safetensors": makeSafetensors(300, seed) });

async function scene(t: TestContext) {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one", model(1), "2026-12-01T00:00:00Z");
  await fixture.trust("acme/two", model(2));
  const store = await fixture.open();
  const verdicts = new ServingVerdicts(store);
  /** The same as anew, for all names, now. */
  const expectRight = async (what: string): Promise<void> => {
    const head = await store.head();
    for (const name of NAMES) {
      assert.deepEqual(await verdicts.at(head, name), await judge(store, head, name), `${what}: ${name.text}`);
    }
  };
  return { fixture, store, verdicts, expectRight };
}

suite("serving verdicts", () => {
  test("after every kind of change they are those that judging anew gives", async (t) => {
    const { fixture, expectRight } = await scene(t);
    const pass = (seconds: number): void => {
      fixture.nowS += seconds;
    };
    const steps: [string, () => unknown][] = [
      ["at the start", () => undefined],
      ["another name", () => fixture.trust("acme/other", model(3))],
      ["the name itself", () => fixture.trust("acme/one", model(4), "2026-11-25T00:00:00Z")],
      [
        "a candidate",
        async () => {
          await fixture.add("acme/two", model(5));
          await fixture.propose("acme/two");
        },
      ],
      ["a minute", () => pass(60)],
      ["an hour", () => pass(3600)],
      ["the clock set back", () => pass(-1800)],
      ["the end of one", () => pass(4 * 86_400)],
      ["a revocation", () => fixture.revoke("acme/two", "bad")],
      ["the revoked bytes under another name", () => fixture.trust("acme/one", model(6))],
      ["a year", () => pass(366 * 86_400)],
    ];
    for (const [what, act] of steps) {
      await act();
      await expectRight(what);
      await expectRight(`${what}, again`);
    }
  });

  test("bytes revoked under another name reach a verdict that was kept", async (t) => {
    const { fixture, store, verdicts } = await scene(t);
    await fixture.trust("acme/twin", model(2));
    const [, two] = NAMES;
    assert.ok(two !== undefined && (await verdicts.at(await store.head(), two)).trusted);
    await fixture.revoke("acme/twin", "bad");
    assert.equal((await verdicts.at(await store.head(), two)).trusted, false);
  });

  test("two hundred that ask at once are one; other names' commits cost no reading", async (t) => {
    const { fixture, store, verdicts } = await scene(t);
    const [one] = NAMES;
    assert.ok(one !== undefined);
    const ask = async (): Promise<void> => {
      const head = await store.head();
      const all = await Promise.all(Array.from({ length: 200 }, () => verdicts.at(head, one)));
      assert.ok(all.every((verdict) => verdict.trusted));
    };
    await ask();
    assert.equal(verdicts.gathers, 1);
    for (const seed of [7, 8, 9]) {
      await fixture.trust("acme/other", model(seed));
      await ask();
    }
    assert.equal(verdicts.gathers, 1);
    await fixture.trust("acme/one", model(10));
    await ask();
    assert.equal(verdicts.gathers, 2);
  });

  test("a signature that is lost is noticed after ten minutes, whether the head moves or not", async (t) => {
    const { fixture, store, verdicts } = await scene(t);
    const [one] = NAMES;
    assert.ok(one !== undefined);
    const at = async () => verdicts.at(await store.head(), one);
    assert.equal((await at()).trusted, true);
    const folder = join(fixture.location.root, "signatures");
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (file.endsWith(".sig")) unlinkSync(join(folder, file));
    }
    assert.equal((await at()).trusted, true);
    fixture.nowS += 599;
    assert.equal((await at()).trusted, true);
    fixture.nowS += 1;
    assert.equal((await at()).trusted, false);
  });

  test("what cannot be judged is told each time and kept never", async (t) => {
    const { fixture, store, verdicts } = await scene(t);
    const [one] = NAMES;
    assert.ok(one !== undefined);
    const head = await store.head();
    const chain = readdirSync(join(fixture.location.root, "objects"), { recursive: true, encoding: "utf8" });
    for (const file of chain.filter((path) => path.includes("/")))
      unlinkSync(join(fixture.location.root, "objects", file));
    for (let time = 0; time < 2; time += 1) await assert.rejects(verdicts.at(head, one), { code: "CORRUPT" });
    assert.equal(verdicts.gathers, 2);
  });
});
