// SPDX-License-Identifier: Apache-2.0
/**
 * What holds of evaluate in every world, generated ones included.
 *
 * A *needed* thing is one that a yes rests on: a signature on a promotion, a manifest or passing evidence, the passing
 * evidence itself, a manifest. Not needed are the things that deny: revocations, refusals, failing evidence, revoked and
 * deleted statements, and a promotion that stands against another (other bytes, or one that does not hold itself).
 * A store takes none of these back; that they are not lost is for the log and the ref tree, not for evaluate. What such
 * a thing follows can be lost from the disk: of a head that is a no, of what waits it is as if it had never come.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseTime, timeSeconds } from "../../src/base/time.ts";
import type { KeyId } from "../../src/keys/public-key.ts";
import { type EvaluateInput, evaluate, type Member, type Signed } from "../../src/trust/evaluate.ts";
import type { SignedEvidence } from "../../src/trust/evidence.ts";
import { build, digestFor, keyFor, type World } from "../support/trust-fixtures.ts";
import { KEYS, refusal, revocation, withRevocation, world } from "../support/trust-worlds.ts";

const RUNS = Number(process.env["COFFER_TEST_RUNS"] ?? 120);
const DAY_S = 24 * 3600;
const keys = KEYS.map((symbol) => keyFor(symbol).keyId);

function holds<T>(drawn: fc.Arbitrary<T>, check: (world: World, drawn: T) => void): void {
  fc.assert(fc.property(world, drawn, check), { numRuns: RUNS });
}

const nothing = fc.constant(undefined);
const trusted = (input: EvaluateInput): boolean => evaluate(input).trusted;

/** The input with one entry of one of its sets replaced, or taken out. */
function swapped<T>(all: readonly T[], before: T, ...after: T[]): T[] {
  return all.flatMap((entry) => (entry === before ? after : [entry]));
}

interface HasSigners {
  readonly signers: ReadonlySet<KeyId>;
}
function withSigner<T extends HasSigners>(entry: T, key: KeyId): T {
  return { ...entry, signers: new Set([...entry.signers, key]) };
}
function withoutSigner<T extends HasSigners>(entry: T, key: KeyId): T {
  return { ...entry, signers: new Set([...entry.signers].filter((other) => other !== key)) };
}

const isPromotion = ({ value }: Member): boolean => value.state === "trusted";
const promotions = (input: EvaluateInput) => input.chain.filter(isPromotion);
const passes = (input: EvaluateInput) => input.evidence.filter((entry) => entry.value.result === "pass");

/** What becomes of the input when `change` is done to one document that a yes may rest on. */
function eachSigned(input: EvaluateInput, change: <T extends HasSigners>(entry: T) => T): EvaluateInput[] {
  return [
    ...promotions(input).map((entry) => ({ ...input, chain: swapped(input.chain, entry, change(entry)) })),
    ...input.waiting
      .filter(isPromotion)
      .map((entry) => ({ ...input, waiting: swapped(input.waiting, entry, change(entry)) })),
    ...[...input.manifests].map(([id, entry]) => ({
      ...input,
      manifests: new Map([...input.manifests, [id, change(entry)]]),
    })),
    ...passes(input).map((entry) => ({ ...input, evidence: swapped(input.evidence, entry, change(entry)) })),
  ];
}

function removals(input: EvaluateInput): EvaluateInput[] {
  return [
    ...keys.flatMap((key) => eachSigned(input, (entry) => withoutSigner(entry, key))),
    ...passes(input).map((entry) => ({ ...input, evidence: swapped(input.evidence, entry) })),
    ...[...input.manifests.keys()].map((gone) => ({
      ...input,
      manifests: new Map([...input.manifests].filter(([id]) => id !== gone)),
    })),
  ];
}

/** A pass of each kind about each manifest, by the key, old and new. */
function newPasses(input: EvaluateInput, key: KeyId): SignedEvidence[] {
  const times = ["2026-10-01T00:00:00Z", "2026-11-30T00:00:00Z"];
  return [...input.manifests.keys()].flatMap((manifest) =>
    ["inspection", "scan"].flatMap((kind) =>
      times.map((issuedAt): SignedEvidence => {
        const tool = { name: "coffer", version: "2.0" };
        const value = { manifest, kind, tool, result: "pass", findings: [], issuedAt: parseTime(issuedAt) } as const;
        const id = digestFor(`pass ${manifest} ${kind} ${issuedAt} ${key}`);
        return { id, value: value as unknown as SignedEvidence["value"], signers: new Set([key]) };
      }),
    ),
  );
}

function additions(input: EvaluateInput): EvaluateInput[] {
  return keys.flatMap((key) => [
    ...eachSigned(input, (entry) => withSigner(entry, key)),
    ...newPasses(input, key).map((pass) => ({ ...input, evidence: [...input.evidence, pass] })),
  ]);
}

function withFollowers(all: readonly Member[], member: Member): Member[] {
  const followers = all.filter((other) => other.value.previous.includes(member.id));
  return [member, ...followers.flatMap((follower) => withFollowers(all, follower))];
}

function orphaned(member: Member): Member {
  return { ...member, previous: member.previous.map(() => undefined) };
}

describe("evaluate, in every world", () => {
  test("order and repetition of what is given never matter, to any part of the answer", () => {
    const order = fc.array(fc.nat(), { minLength: 12, maxLength: 12 });
    holds(fc.tuple(order, fc.nat({ max: 4 })), (drawn, [ranks, repeated]) => {
      const mixed = <T>(entries: readonly T[]): T[] =>
        [...entries, ...entries.slice(0, repeated)]
          .map((entry, index) => ({ entry, rank: ranks[index % ranks.length] ?? 0 }))
          .sort((a, b) => a.rank - b.rank)
          .map(({ entry }) => entry);
      const input = build(drawn);
      const other: EvaluateInput = {
        ...input,
        chain: mixed(input.chain),
        waiting: mixed(input.waiting),
        evidence: mixed(input.evidence),
        revocations: mixed(input.revocations),
        refusals: mixed(input.refusals),
        manifests: new Map(mixed([...input.manifests])),
      };
      assert.deepEqual(evaluate(other), evaluate(input));
    });
  });

  test("which key of a principal signed never matters", () => {
    const twin = new Map([
      [keyFor("alice-1").keyId, keyFor("alice-2").keyId],
      [keyFor("alice-2").keyId, keyFor("alice-1").keyId],
    ]);
    const turned = <T extends HasSigners>(entry: T): T => ({
      ...entry,
      signers: new Set([...entry.signers].map((key) => twin.get(key) ?? key)),
    });
    holds(nothing, (drawn) => {
      const input = build(drawn);
      const other: EvaluateInput = {
        ...input,
        chain: input.chain.map(turned<Member>),
        waiting: input.waiting.map(turned<Member>),
        evidence: input.evidence.map(turned<SignedEvidence>),
        refusals: input.refusals.map(turned<Signed<EvaluateInput["refusals"][number]["value"]>>),
        revocations: input.revocations.map((entry) => ({ ...entry, statement: turned(entry.statement) })),
        manifests: new Map([...input.manifests].map(([id, entry]) => [id, turned(entry)])),
      };
      assert.deepEqual(evaluate(other), evaluate(input));
    });
  });

  test("adding an approval, a publisher's signature or passing evidence never turns yes into no", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      if (trusted(input)) for (const more of additions(input)) assert.ok(trusted(more));
    });
  });

  test("taking away any one needed thing never turns no into yes", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      if (!trusted(input)) for (const less of removals(input)) assert.ok(!trusted(less));
    });
  });

  test("a promotion that holds and stands against no other may go: no stays no, and the last one gone is no", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      assert.ok(!trusted({ ...input, chain: [], waiting: [] }));
      const one = new Set(promotions(input).map((entry) => entry.value.manifest)).size === 1;
      if (!one || trusted(input)) return;
      for (const member of promotions(input)) {
        if (!trusted({ ...input, chain: [member] })) continue;
        assert.ok(!trusted({ ...input, chain: swapped(input.chain, member) }));
      }
    });
  });

  test("a head whose ancestor is lost is a no, whatever else stands", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      for (const member of input.chain.filter(({ previous }) => previous.length > 0)) {
        const verdict = evaluate({ ...input, chain: swapped(input.chain, member, orphaned(member)) });
        assert.ok(verdict.reasons.some(({ code }) => code === "CORRUPT"));
      }
    });
  });

  test("what waits and has lost an ancestor counts, with what follows it, as if it were not there, but for denials", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      for (const member of input.waiting.filter(({ previous }) => previous.length > 0)) {
        const gone = withFollowers([...input.chain, ...input.waiting], member);
        const kept = input.waiting.filter((other) => !gone.includes(other));
        const harmless = gone.every((other) => isPromotion(other) && input.waiting.includes(other));
        const expected = harmless && trusted({ ...input, waiting: kept });
        assert.equal(trusted({ ...input, waiting: swapped(input.waiting, member, orphaned(member)) }), expected);
      }
    });
  });

  test("waiting is the weaker place: entering the chain never turns no into yes, nor does standing in both", () => {
    holds(nothing, (drawn) => {
      const input = build(drawn);
      const { reasons, trusted: yes } = evaluate(input);
      const both = evaluate({ ...input, waiting: [...input.waiting, ...input.chain.map((member) => ({ ...member }))] });
      assert.deepEqual({ reasons: both.reasons, yes: both.trusted }, { reasons, yes });
      for (const member of yes ? [] : input.waiting) {
        const entered = { chain: [...input.chain, member], waiting: swapped(input.waiting, member) };
        assert.ok(!trusted({ ...input, ...entered }));
      }
    });
  });

  test("adding revocations, refusals, failing evidence or denials, in the chain or waiting, never turns no into yes", () => {
    const more = fc.tuple(revocation, refusal, fc.nat({ max: KEYS.length - 1 }));
    holds(more, (drawn, [revoking, refusing, signer]) => {
      const input = build(drawn);
      if (trusted(input)) return;
      assert.ok(!trusted(build(withRevocation(drawn, "r9", revoking))));
      assert.ok(!trusted(build({ ...drawn, refusals: { ...drawn.refusals, f9: refusing } })));
      const key = keys[signer] ?? assert.fail("a key");
      const fails = newPasses(input, key).map((pass) => ({
        ...pass,
        value: { ...pass.value, result: "fail" as const },
      }));
      for (const fail of fails) assert.ok(!trusted({ ...input, evidence: [...input.evidence, fail] }));
      const denial = { ...drawn.statements["s0"], state: "revoked" as const, signedBy: refusing.signedBy };
      const { expiresAt: _, ...s9 } = { ...denial, name: drawn.name } as World["statements"][string];
      const denied = { ...drawn, statements: { ...drawn.statements, s9 } };
      for (const list of ["chain", "waiting"] as const) {
        assert.ok(!trusted(build({ ...denied, [list]: [...drawn[list], "s9"] })));
      }
    });
  });

  test("a later clock turns no into yes only for what was not yet valid; a higher floor never does", () => {
    const steps = fc.constantFrom(1, 300, DAY_S, 5 * DAY_S, 30 * DAY_S, 400 * DAY_S);
    holds(steps, (drawn, stepS) => {
      const input = build(drawn);
      const before = evaluate(input);
      if (before.trusted) return;
      const floorS = Math.max(input.memory.floorS ?? 0, input.nowS) + stepS;
      assert.ok(!trusted({ ...input, memory: { ...input.memory, floorS } }));
      if (trusted({ ...input, nowS: input.nowS + stepS })) {
        assert.ok(before.reasons.every((reason) => reason.code === "NOT_YET_VALID"));
      }
    });
  });

  test("until validUntil the answer stays, with its reasons; without it, for ever", () => {
    holds(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (drawn, part) => {
      const input = build(drawn);
      const before = evaluate(input);
      const untilS = before.validUntil === undefined ? input.nowS + 3000 * DAY_S : timeSeconds(before.validUntil);
      assert.ok(untilS > input.nowS);
      const codesAt = (nowS: number) => {
        const { trusted, reasons, findings } = evaluate({ ...input, nowS });
        return { trusted, codes: reasons.map(({ code }) => code), findings: new Set(findings.map(({ id }) => id)) };
      };
      const nowS = input.nowS + Math.floor(part * (untilS - input.nowS));
      assert.deepEqual(codesAt(nowS), codesAt(input.nowS));
      assert.deepEqual(codesAt(untilS - 1), codesAt(input.nowS));
    });
  });
});

test("the worlds are worth judging: many are trusted, and every reason but a missing rule turns up", () => {
  const seen = new Map<string, number>();
  for (const drawn of fc.sample(world, { numRuns: 600, seed: 1 })) {
    const { trusted, reasons } = evaluate(build(drawn));
    for (const code of trusted ? ["yes"] : reasons.map((reason) => reason.code)) {
      seen.set(code, (seen.get(code) ?? 0) + 1);
    }
  }
  assert.ok((seen.get("yes") ?? 0) > 40, `trusted in ${seen.get("yes")} of 600`);
  assert.equal(seen.size, 15, [...seen.keys()].sort().join(" "));
});
