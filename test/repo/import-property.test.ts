// SPDX-License-Identifier: Apache-2.0
/**
 * Three stores of one team in which people act apart from each other, and which take over from one another in any order,
 * several times, cut off half-way: once each has heard all, they say the same (invariants 5 and 8).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { importFrom } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { judge } from "../../src/repo/resolve.ts";
import type { Source } from "../../src/sync/source.ts";
import { inMemory, type Member, makeTeam, model, objectsOf, sharedRefs, type Team } from "../support/team-stores.ts";

const NAMES = ["acme/one@v1", "acme/two@v1"];

type Step =
  | {
      readonly kind: "promote" | "revoke" | "reject" | "delete";
      readonly at: number;
      readonly name: number;
      readonly seed: number;
    }
  | { readonly kind: "pull" | "send" | "cut"; readonly from: number; readonly to: number; readonly after: number };

const acts = fc.record({
  kind: fc.constantFrom("promote", "promote", "revoke", "reject", "delete" as const),
  at: fc.nat(2),
  name: fc.nat(1),
  seed: fc.integer({ min: 1, max: 4 }),
});
const journeys = fc.record({
  kind: fc.constantFrom("pull", "send", "cut" as const),
  from: fc.nat(2),
  to: fc.nat(2),
  after: fc.nat(12),
});
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: acts },
  { weight: 2, arbitrary: journeys },
) as fc.Arbitrary<Step>;

/** The medium goes away after so many parcels. */
function cutAfter(source: Source, count: number): Source {
  return {
    ...source,
    async *parcels(wants) {
      let left = count;
      for await (const parcel of source.parcels(wants)) {
        if (left === 0) throw new Error("the medium went away");
        left -= 1;
        yield parcel;
      }
    },
  };
}

async function act(member: Member, step: Extract<Step, { at: number }>): Promise<void> {
  const name = NAMES[step.name] ?? "";
  try {
    if (step.kind === "promote") await member.trust(name, model(step.seed));
    else if (step.kind === "revoke") await member.revoke(name, "a test");
    else if (step.kind === "delete") await member.delete(name);
    else await member.reject(name, step.seed % 2 === 0 ? "alice" : "bob");
  } catch (error) {
    // What the store's own state forbids (revoked bytes, nothing to revoke …) is no step.
    if (!isCofferError(error)) throw error;
  }
}

async function travel(team: Team, stores: readonly Member[], step: Extract<Step, { from: number }>): Promise<void> {
  const [from, to] = [stores[step.from], stores[step.to]];
  if (from === undefined || to === undefined || from === to) return;
  if (step.kind === "pull") {
    await pull(to.store, from.location.root);
    return;
  }
  const source = await openFolderSource(from.location.root, team.ports);
  const sent = step.kind === "send" ? (await inMemory(source)).source : cutAfter(source, step.after);
  try {
    await importFrom(to.store, sent);
  } catch (error) {
    if (step.kind === "send" || isCofferError(error)) throw error;
  }
}

async function allHearAll(stores: readonly Member[]): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    for (const from of stores) for (const to of stores) if (from !== to) await pull(to.store, from.location.root);
  }
}

/** What was added, and could not be proposed for a denial that was there already, is nobody's word: it stays where it is. */
function travelling(objects: readonly string[]): readonly string[] {
  const isSigned = (id: string): boolean => objects.some((other) => other.startsWith(`${id}.`));
  return objects.filter((object) => !object.startsWith("manifest ") || isSigned(object.slice("manifest ".length)));
}

async function verdicts({ store }: Member): Promise<unknown> {
  const head = await store.head();
  const told = [];
  for (const name of NAMES) {
    const { trusted, standing, statement, manifest, reasons, everTrusted } = await judge(store, head, parseName(name));
    told.push({ name, trusted, standing, statement, manifest, reasons, everTrusted });
  }
  return told;
}

test("whatever the order in which stores hear of it, they end in the same heads, denials and verdicts", async (t) => {
  const runs = Number(process.env["COFFER_RUNS"] ?? 8);
  let met = { diverged: 0, revoked: 0, trusted: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 8, maxLength: 22 }), async (history) => {
      const endings: (() => unknown)[] = [];
      const team = makeTeam({ after: (ending) => endings.push(ending) });
      try {
        const stores = [await team.store("a"), await team.store("b"), await team.store("c")];
        for (const step of history) {
          team.nowS += 10;
          if ("at" in step) await act(stores[step.at] as Member, step);
          else await travel(team, stores, step);
        }
        await allHearAll(stores);
        const [a, b, c] = await Promise.all(stores.map(async ({ store }) => sharedRefs(store)));
        assert.deepEqual(b, a);
        assert.deepEqual(c, a);
        const [first, ...others] = await Promise.all(stores.map(verdicts));
        for (const other of others) assert.deepEqual(other, first);
        const kinds = ["manifest", "statement", "refusal", "policy"];
        const [objects, ...more] = await Promise.all(stores.map(({ store }) => objectsOf(store, ...kinds)));
        for (const other of more) assert.deepEqual(travelling(other), travelling(objects ?? []));
        const text = JSON.stringify(first);
        met = {
          diverged: met.diverged + (text.includes('"several"') ? 1 : 0),
          revoked: met.revoked + (text.includes('"revoked"') ? 1 : 0),
          trusted: met.trusted + (text.includes('"trusted":true') ? 1 : 0),
        };
      } finally {
        for (const end of endings) end();
      }
    }),
    { numRuns: runs },
  );
  t.diagnostic(JSON.stringify(met));
});
