// SPDX-License-Identifier: Apache-2.0
/** What a server offers after any history: what a first offer at that head and time would be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import { pull } from "../../src/repo/pull.ts";
import type { ServingOffers } from "../../src/repo/serving-offer.ts";
import type { Store } from "../../src/repo/store.ts";
import { DAY_S, denialsIn, offersOf, plainly, RULES, textOf } from "../support/plain-offer.ts";
import { type Member, makeTeam, model, type Team } from "../support/team-stores.ts";

const NAMES = ["acme/one@v1", "acme/two@v1", "other/one@v1", "other/two@v1"];

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
