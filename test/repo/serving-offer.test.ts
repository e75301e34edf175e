// SPDX-License-Identifier: Apache-2.0
/** What a server offers after each change: always what a first offer at that head and time would be, for as little as can be. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import { type Name, parseName } from "../../src/base/names.ts";
import { parseRefPath } from "../../src/base/ref-path.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath, objectPath } from "../../src/objects/layout.ts";
import { pull } from "../../src/repo/pull.ts";
import { judge } from "../../src/repo/resolve.ts";
import { Notes, sameFiles } from "../../src/repo/serving-notes.ts";
import { type Offer, ServingOffers } from "../../src/repo/serving-offer.ts";
import type { Store } from "../../src/repo/store.ts";
import { noBreath } from "../../src/sync/plan.ts";
import { snapshotIndex } from "../../src/sync/snapshot.ts";
import { DENIALS, signedAgain } from "../support/signed-again.ts";
import { ruleFor } from "../support/store-fixture.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const DAY_S = 86_400;
const PART_BYTES = 64 * 1024 * 1024;
const NAMES = ["acme/one@v1", "acme/two@v1", "other/one@v1", "other/two@v1"];
/** A name is too old after three days, so that time is felt. */
const RULES = [ruleFor("*/*@*", { freshness: { warnDays: 1, denyDays: 3 } })];

const offersOf = (store: Store): ServingOffers => new ServingOffers(store, () => store.head());

/** The same put together in the plainest way: every name judged, nothing kept. */
async function plainly(store: Store): Promise<Buffer> {
  const head = await store.head();
  const found = new Map<string, Name>();
  for await (const [ref] of head.listRefs()) {
    const parsed = parseRefPath(ref);
    if (parsed.family === "trusted" || parsed.family === "chain") found.set(parsed.name.text, parsed.name);
  }
  const [names, trusted]: [Name[], Set<string>] = [[], new Set()];
  for (const name of found.values()) {
    const verdict = await judge(store, head, name);
    if (verdict.everTrusted && verdict.reasons[0]?.code !== "CORRUPT") names.push(name);
    if (verdict.trusted) trusted.add(name.text);
  }
  const index = await snapshotIndex(store, head, {
    ...{ names, candidates: false, withBlobs: (name) => trusted.has(name), partBytes: () => PART_BYTES },
    without: async (blob) => (await store.files.stat(blobPath(blob))) === undefined,
  });
  return Buffer.from(index.bytes);
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

type Step =
  | {
      readonly kind: "promote" | "revoke" | "reject" | "delete" | "add" | "propose";
      at: number;
      name: number;
      seed: number;
    }
  | { readonly kind: "pull" }
  | { readonly kind: "wait"; readonly seconds: number };

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("promote", "promote", "promote", "revoke", "reject", "delete", "add", "propose" as const),
      ...{ at: fc.nat(1), name: fc.nat(NAMES.length - 1), seed: fc.integer({ min: 1, max: 4 }) },
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pull" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      seconds: fc.constantFrom(1, 599, 601, 5000, DAY_S, 3 * DAY_S, -300, -4000, -2 * DAY_S),
    }),
  },
) as fc.Arbitrary<Step>;

/** What a first offer at this head would say against anything. */
const denialsIn = ({ index: { value } }: Offer) => [value.policies, value.revocations, value.refusals];

/** Whoever has waited for it may have what was made, at any time: nothing that was denied since is missing. */
async function checkKept(offers: ServingOffers, store: Store): Promise<"kept" | "not kept"> {
  const kept = await offers.madeFor(await offers.asked(1));
  if (kept === undefined) return "not kept";
  const first = await offersOf(store).newest();
  assert.deepEqual(denialsIn(kept), denialsIn(first));
  const states = new Map(first.index.value.names.map(({ name, state }) => [name, state]));
  for (const { name, state } of kept.index.value.names) assert.equal(states.get(name), state, name);
  return first.index.id === kept.index.id ? "not kept" : "kept";
}

async function act(team: Team, [a, b]: readonly [Member, Member], step: Step): Promise<void> {
  if (step.kind === "wait") {
    team.nowS += step.seconds;
    return;
  }
  team.nowS += 1;
  try {
    if (step.kind === "pull") {
      await pull(a.store, b.location.root);
      return;
    }
    const member = step.at === 0 ? a : b;
    const name = NAMES[step.name] ?? "";
    if (step.kind === "promote") await member.trust(name, model(step.seed));
    else if (step.kind === "revoke") await member.revoke(name, "a test");
    else if (step.kind === "delete") await member.delete(name);
    else if (step.kind === "reject") await member.reject(name, step.seed % 2 === 0 ? "alice" : "bob");
    else if (step.kind === "propose") await member.propose(name, "alice");
    else await member.add(name, model(step.seed));
  } catch (error) {
    // What the store's own state forbids (revoked bytes, nothing to revoke …) is no step.
    if (!isCofferError(error)) throw error;
  }
}

test("after any history an offer is, byte for byte, what a first one at that head and time would be", async (t) => {
  const met = { trusted: 0, revoked: 0, bytes: 0, offers: 0, reads: 0, kept: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(steps, fc.boolean()), { minLength: 6, maxLength: 16 }), async (history) => {
      const endings: (() => unknown)[] = [];
      const team = makeTeam({ after: (ending) => endings.push(ending) }, RULES);
      try {
        const [a, b] = [await team.store("a"), await team.store("b")];
        const served = await a.open();
        const offers = offersOf(served);
        for (const [step, isAsked] of [...history, [{ kind: "pull" }, true] as [Step, boolean]]) {
          await act(team, [a, b], step);
          if ((await checkKept(offers, served)) === "kept") met.kept += 1;
          if (!isAsked) continue;
          const { index } = await offers.newest();
          const text = textOf(index.bytes);
          assert.equal(text, textOf((await offersOf(served).newest()).index.bytes));
          assert.equal(text, textOf(await plainly(served)));
          met.offers += 1;
          if (text.includes('"state":"trusted"')) met.trusted += 1;
          if (text.includes('"state":"revoked"')) met.revoked += 1;
          if (text.includes('["blobs/')) met.bytes += 1;
        }
        met.reads += offers.reads;
      } finally {
        for (const end of endings) end();
      }
    }),
    { numRuns: Number(process.env["COFFER_RUNS"] ?? 12) },
  );
  t.diagnostic(JSON.stringify(met));
});

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
