// SPDX-License-Identifier: Apache-2.0
/** What a server offers after each change: always what a first offer at that head and time would be, for as little as can be. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseName } from "../../src/base/names.ts";
import type { Files } from "../../src/objects/files.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { judge } from "../../src/repo/resolve.ts";
import { Notes, sameFiles } from "../../src/repo/serving-notes.ts";
import { noBreath } from "../../src/sync/plan.ts";
import { DAY_S, denialsIn, offersOf, plainly, RULES, textOf } from "../support/plain-offer.ts";
import { DENIALS, signedAgain } from "../support/signed-again.ts";
import { type Member, makeTeam, model } from "../support/team-stores.ts";

async function scene(t: TestContext, names: number) {
  const team = makeTeam(t, RULES);
  const member = await team.store("a");
  for (let number = 0; number < names; number += 1) await member.trust(`acme/m${number}`, model(number + 1));
  const store = await member.open();
  const offers = offersOf(store);
  /** How many names were read for it. */
  const ask = async () => {
    const before = offers.reads;
    const { index } = await offers.newest();
    return { index, reads: offers.reads - before };
  };
  const hasBytes = async (): Promise<boolean> => (await ask()).index.value.items.some(({ kind }) => kind === "blob");
  return { team, member, store, offers, ask, hasBytes };
}

const pathsUnder = (member: Member, folder: string): string[] =>
  readdirSync(join(member.location.root, folder), { recursive: true, encoding: "utf8" })
    .map((path) => join(member.location.root, folder, path))
    .filter((path) => path.length > join(member.location.root, folder, "00").length + 2);

test("a clock that lies behind: every name is told of, without bytes, and nothing is read again for each that asks", async (t) => {
  const { store, team, ask, hasBytes } = await scene(t, 5);
  assert.deepEqual([await hasBytes(), (await ask()).reads], [true, 0]);
  team.nowS -= 1000;
  const { index, reads } = await ask();
  assert.deepEqual([index.value.names.length, reads, await hasBytes()], [5, 5, false]);
  assert.equal(textOf(index.bytes), textOf(await plainly(store)));
  for (let asked = 0; asked < 3; asked += 1) assert.equal((await ask()).reads, 0);
  team.nowS += 1000;
  assert.equal(await hasBytes(), true, "until the clock is right again");
});

test("a file that looked one way and then another while it was read is looked at again", async () => {
  const forms = [{ sizeBytes: 1 }, undefined].map((more) => more && { ...STAT, ...more });
  for (const seen of [forms, [...forms].reverse()]) {
    const rest = [...seen];
    const stat = async () => (rest.length > 1 ? rest.shift() : rest[0]);
    const files = { stat } as unknown as Files;
    const notes = new Notes();
    const noted = notes.files(files);
    for (const _ of seen) await noted.stat("signatures/x");
    assert.equal(await sameFiles(files, notes.seenFiles(), noBreath), false);
  }
});

const STAT = { kind: "file", device: 1n, inode: 1n, sizeBytes: 0, mtimeNs: 1n, ctimeNs: 1n };

suite("what a next offer costs", () => {
  test("a commit: the names that it concerns, and no others", async (t) => {
    const { member, ask, team } = await scene(t, 8);
    assert.equal((await ask()).reads, 8);
    assert.equal((await ask()).reads, 0);
    await member.trust("acme/m3", model(20));
    assert.equal((await ask()).reads, 1, "the name that was promoted");
    await member.trust("acme/new", model(21));
    assert.equal((await ask()).reads, 1, "a new name");
    await member.add("acme/waits", model(22));
    assert.equal((await ask()).reads, 0, "what waits is nobody's business");
    await member.trust("acme/twin", model(5));
    assert.equal((await ask()).reads, 1, "a name with the bytes of another");
    await member.revoke("acme/twin", "bad");
    const { index, reads } = await ask();
    assert.equal(reads, 2, "a revocation of bytes reaches all names that hold them");
    assert.equal(index.value.names.length, 10);
    team.nowS += 601;
    assert.equal((await ask()).reads, 0, "after ten minutes files are looked at, and read where they are others");
    team.nowS += 4 * DAY_S;
    assert.ok((await ask()).reads >= 8, "time ends what was trusted");
  });

  test("a promotion that was rejected, and a name that was deleted, are judged again", async (t) => {
    const { member, store, ask } = await scene(t, 3);
    await ask();
    await member.reject("acme/m0", "alice");
    const rejected = await ask();
    assert.deepEqual([rejected.reads, rejected.index.value.refusals.length], [1, 1]);
    await member.revoke("acme/m1");
    await member.delete("acme/m1");
    const deleted = await ask();
    assert.equal(deleted.reads, 1);
    assert.deepEqual(
      deleted.index.value.names.map(({ state }) => state),
      ["trusted", "deleted", "trusted"],
    );
    assert.equal(deleted.index.value.items.filter(({ kind }) => kind === "blob").length, 1);
    await member.trust("acme/m1", model(30));
    const again = await ask();
    assert.deepEqual(again.index.value.revocations, (await offersOf(store).newest()).index.value.revocations);
  });

  test("many that ask at once are one", async (t) => {
    const { offers, ask } = await scene(t, 4);
    const all = await Promise.all(Array.from({ length: 50 }, () => offers.newest()));
    assert.equal(new Set(all).size, 1);
    assert.equal(offers.reads, 4);
    assert.equal((await ask()).reads, 0);
  });
});

suite("who has waited for an offer", () => {
  test("has it while nothing was denied since, and nothing that is missing was committed before the first request", async (t) => {
    const { member, offers, team } = await scene(t, 3);
    const before = await offers.asked();
    assert.equal(await offers.madeFor(before), undefined, "none is made yet");
    const offer = await offers.newest();
    assert.equal(await offers.madeFor(before), offer);
    await member.trust("acme/new", model(9));
    await member.add("acme/waits", model(10));
    await member.propose("acme/waits", "alice");
    await member.trust("acme/m0", model(11));
    assert.equal(await offers.madeFor(await offers.asked()), undefined);
    assert.equal(await offers.madeFor(await offers.asked(before.head.number)), offer);
    assert.equal(await offers.madeFor(before), offer, "who asked before that");
    const late = await offers.asked();
    assert.equal(
      await offers.madeFor(await offers.asked(late.head.number)),
      undefined,
      "asked first after it was made",
    );
    assert.equal(
      await offers.madeFor(await offers.asked(late.head.number + 1000)),
      undefined,
      "no head is of tomorrow",
    );
    team.nowS += 4 * DAY_S;
    assert.equal(await offers.madeFor(await offers.asked(1)), undefined, "time has ended what it offers");
  });

  test("has nothing of before a denial, whatever came after that", async (t) => {
    const { member, offers } = await scene(t, 6);
    const denials: [string, () => Promise<unknown>][] = [
      ["a revocation", () => member.revoke("acme/m0", "bad")],
      ["one more word of a name that is revoked", () => member.delete("acme/m0")],
      ["a refusal", () => member.reject("acme/m1", "alice")],
    ];
    for (const [what, deny] of denials) {
      const offer = await offers.newest();
      const before = await offers.asked(1);
      assert.equal(await offers.madeFor(before), offer, what);
      await deny();
      assert.equal(await offers.madeFor(await offers.asked(1)), undefined, what);
      await member.trust("acme/more", model(50));
      assert.equal(await offers.madeFor(await offers.asked(1)), undefined, `${what}, and a promotion after it`);
    }
  });
});

for (const denial of DENIALS) {
  test(`a second signature over a ${denial} is in the next offer, and nobody gets one from before it`, async (t) => {
    const { a, second } = await signedAgain(t, denial);
    const store = await a.open();
    const offers = offersOf(store);
    const before = await offers.newest();
    assert.equal(await offers.madeFor(await offers.asked(1)), before);
    await second();
    assert.equal(await offers.madeFor(await offers.asked(1)), undefined);
    const { index } = await offers.newest();
    assert.deepEqual(denialsIn({ ...before, index }), denialsIn(before), "no other document");
    assert.equal(textOf(index.bytes), textOf((await offersOf(store).newest()).index.bytes));
    assert.equal(textOf(index.bytes), textOf(await plainly(store)));
  });
}

suite("what the log does not tell", () => {
  test("signatures that are lost take the bytes away within ten minutes", async (t) => {
    const { team, member, hasBytes } = await scene(t, 1);
    assert.equal(await hasBytes(), true);
    for (const path of pathsUnder(member, "signatures")) rmSync(path);
    team.nowS += 600;
    assert.equal(await hasBytes(), false);
  });

  test("a blob that is lost is not offered after ten minutes; put back, it is", async (t) => {
    const { team, member, hasBytes } = await scene(t, 1);
    assert.equal(await hasBytes(), true);
    const [path] = pathsUnder(member, "blobs");
    assert.ok(path !== undefined && existsSync(path));
    const bytes = readFileSync(path);
    rmSync(path);
    team.nowS += 600;
    assert.equal(await hasBytes(), false);
    writeFileSync(path, bytes, { mode: 0o444 });
    team.nowS += 600;
    assert.equal(await hasBytes(), true);
  });

  test("a name that is damaged is left out, is tried each time, and comes back once it is mended", async (t) => {
    const { team, member, store, ask } = await scene(t, 2);
    const manifest = (await judge(store, await store.head(), parseName("acme/m0"))).manifest;
    assert.ok(manifest !== undefined);
    const path = join(member.location.root, objectPath(manifest));
    const bytes = readFileSync(path);
    rmSync(path);
    assert.equal((await ask()).index.value.names.length, 1);
    await member.trust("acme/new", model(9));
    assert.deepEqual([(await ask()).reads, (await ask()).index.value.names.length], [2, 2]);
    writeFileSync(path, bytes, { mode: 0o444 });
    team.nowS += 600;
    assert.equal((await ask()).index.value.names.length, 3);
  });

  test("a denial that is damaged stops all offers until it is mended, and no name is read again for that", async (t) => {
    const { team, member, ask } = await scene(t, 3);
    await member.revoke("acme/m0", "bad");
    const { index } = await ask();
    const [denial] = index.value.revocations;
    assert.ok(denial !== undefined);
    const path = join(member.location.root, objectPath(denial));
    const bytes = readFileSync(path);
    rmSync(path);
    team.nowS += 600;
    for (let time = 0; time < 2; time += 1) await assert.rejects(ask(), { code: "CORRUPT" });
    writeFileSync(path, bytes, { mode: 0o444 });
    const mended = await ask();
    assert.deepEqual(Buffer.from(mended.index.bytes), Buffer.from(index.bytes));
    assert.ok(mended.reads <= 1, "the name whose chain it is");
  });
});

test("others have their turn while an offer is made", async (t) => {
  const { offers } = await scene(t, 30);
  let turns = 0;
  // As on a machine so slow that each step takes longer than others should wait.
  let nowMs = performance.now();
  t.mock.method(performance, "now", () => {
    nowMs += 10;
    return nowMs;
  });
  const count = (): void => {
    turns += 1;
    running = setImmediate(count);
  };
  let running = setImmediate(count);
  await offers.newest();
  clearImmediate(running);
  // Reading files alone gives some as well, but one for a name at most.
  assert.ok(turns >= 300, `${turns} turns for 30 names`);
});
