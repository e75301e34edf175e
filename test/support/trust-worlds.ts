// SPDX-License-Identifier: Apache-2.0
/**
 * Generated worlds for the properties of evaluate: four people with one or two keys, three manifests, up to four
 * statements in any ancestry, and any signatures, evidence, revocations and refusals. Most are a step or two away from
 * being trusted, so that one change can tip them.
 */
import fc from "fast-check";
import type { EvidenceSpec, StatementSpec, World } from "./trust-fixtures.ts";

/** Every key there is: of the four, of the store, of a stranger. */
export const KEYS = ["alice-1", "alice-2", "bob-1", "carol-1", "carol-2", "dave-1", "store", "mallory-1"] as const;
export const MANIFESTS = ["m1", "m2", "m3"] as const;
const PRINCIPALS = {
  alice: ["alice-1", "alice-2"],
  bob: ["bob-1"],
  carol: ["carol-1", "carol-2"],
  dave: ["dave-1"],
};
const PEOPLE = Object.keys(PRINCIPALS);
const NAME = "acme/tiny@main";
const TIMES = ["2026-11-01T00:00:00Z", "2026-11-10T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-20T00:00:01Z"];

/** True about once in `n`. */
const rarely = (n: number) => fc.nat({ max: n - 1 }).map((drawn) => drawn === 0);
const people = fc.subarray(PEOPLE, { minLength: 1 });
/** Each key with three chances in four. */
const signers = fc
  .array(fc.nat({ max: 3 }), { minLength: KEYS.length, maxLength: KEYS.length })
  .map((drawn): string[] => KEYS.filter((_, index) => drawn[index] !== 0));
const fewSigners = fc.subarray([...KEYS], { maxLength: 3 });
const anyTime = fc.constantFrom(...TIMES);
const mostlyFirst = fc.constantFrom("m1", "m1", "m1", "m1", "m2", "m3");

const role = people.chain((principals) =>
  fc.record({ principals: fc.constant(principals), threshold: fc.integer({ min: 1, max: principals.length }) }),
);
const need = fc.constantFrom(
  { kind: "inspection" },
  { kind: "inspection", maxAgeDays: 20 },
  { kind: "scan", signers: ["dave"] },
  { kind: "scan", signers: ["carol", "dave"], maxAgeDays: 15 },
);
const rule = fc.record(
  {
    publishers: people,
    approvers: role.chain((approvers) =>
      fc.record(
        { ...mapConstants(approvers), notPublisher: fc.boolean() },
        { requiredKeys: ["principals", "threshold"] },
      ),
    ),
    revokers: role,
    formats: fc.constantFrom(["gguf"], ["gguf", "safetensors"]),
    evidence: fc.array(need, { maxLength: 2 }),
    freshness: fc.constantFrom({ warnDays: 5, denyDays: 30 }, { warnDays: 400, denyDays: 500 }),
  },
  { requiredKeys: ["publishers", "approvers", "revokers"] },
);

function mapConstants<T extends object>(value: T): { [K in keyof T]: fc.Arbitrary<T[K]> } {
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, fc.constant(entry)])) as {
    [K in keyof T]: fc.Arbitrary<T[K]>;
  };
}

const evidence: fc.Arbitrary<EvidenceSpec> = fc.record({
  manifest: mostlyFirst,
  kind: fc.constantFrom("inspection", "scan"),
  tool: fc.constantFrom("coffer", "other"),
  result: fc.constantFrom("pass", "pass", "pass", "pass", "fail", "info"),
  issuedAt: anyTime,
  signedBy: signers,
});

/** Sequences and policies are mostly right; parents are any statements before this one. */
const statement = fc.record({
  kind: fc.constantFrom("trusted", "trusted", "trusted", "trusted", "trusted", "revoked"),
  elsewhere: rarely(20),
  manifest: mostlyFirst,
  policy: rarely(25),
  skip: rarely(15),
  parents: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
  issuedAt: anyTime,
  expiresAt: fc.constantFrom(undefined, undefined, "2026-11-25T00:00:00Z", "2027-03-01T00:00:00Z"),
  signedBy: signers,
});

type Drawn = typeof statement extends fc.Arbitrary<infer T> ? T : never;

function statementsOf(drawn: readonly Drawn[]): Record<string, StatementSpec> {
  const made: Record<string, StatementSpec> = {};
  drawn.forEach((entry, index) => {
    const previous = Object.keys(made).filter((_, at) => entry.parents[at] === true);
    const highest = Math.max(0, ...previous.map((id) => made[id]?.sequence ?? 0));
    const revoked = entry.kind === "revoked";
    const deleted = revoked && previous.some((id) => made[id]?.state === "revoked");
    made[`s${index}`] = {
      state: deleted ? "deleted" : revoked ? "revoked" : "trusted",
      name: entry.elsewhere ? "acme/other@main" : NAME,
      manifest: entry.manifest,
      policy: entry.policy ? "p9" : "p1",
      root: "our-root",
      sequence: highest + 1 + (entry.skip && previous.length > 0 ? 1 : 0),
      previous,
      issuedAt: entry.issuedAt,
      ...(revoked || entry.expiresAt === undefined ? {} : { expiresAt: entry.expiresAt }),
      signedBy: entry.signedBy,
    };
  });
  return made;
}

/** A revocation recorded against m1, its weights or s0, made for a name of this rule or of the other. */
export const revocation = fc.record({
  kind: fc.constantFrom("manifest", "blob", "statement"),
  name: fc.constantFrom("acme/other@main", "other/thing@main"),
  signedBy: fewSigners,
  listed: rarely(8).map((not) => !not),
});
type Revoking = typeof revocation extends fc.Arbitrary<infer T> ? T : never;

/** `world` with `drawn` on record as `symbol`. */
export function withRevocation(world: World, symbol: string, drawn: Revoking): World {
  const of = { manifest: "m1", blob: "weights-m1", statement: "s0" }[drawn.kind];
  const on = (kind: string) => (drawn.listed && drawn.kind === kind ? [of] : []);
  const made: StatementSpec = {
    state: "revoked",
    name: drawn.name,
    manifest: "m1",
    policy: "p1",
    root: "our-root",
    sequence: 1,
    previous: [],
    issuedAt: "2026-11-20T00:00:00Z",
    revokes: { manifests: on("manifest"), blobs: on("blob"), statements: on("statement") },
    signedBy: drawn.signedBy,
  };
  return {
    ...world,
    statements: { ...world.statements, [symbol]: made },
    revocations: [...world.revocations, { kind: drawn.kind, of, by: symbol }],
  };
}

export const refusal = fc.record({ statement: fc.constantFrom("s0", "s1", "s2"), signedBy: fewSigners });

function numbered<T>(prefix: string, entries: readonly T[]): Record<string, T> {
  return Object.fromEntries(entries.map((entry, index) => [`${prefix}${index}`, entry]));
}

const parts = fc.record({
  rule,
  otherRevokers: role,
  published: fc.tuple(signers, signers, signers),
  statements: fc.array(statement, { minLength: 1, maxLength: 4 }),
  // Mostly the heads, as a store has it; sometimes any of the statements, for evaluate must stay safe then too.
  chain: fc.oneof(
    { weight: 7, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.subarray([0, 1, 2, 3]) },
  ),
  // Mostly nothing; else any of the statements: some can be judged, some cannot.
  waiting: fc.oneof(
    { weight: 4, arbitrary: fc.constant<number[]>([]) },
    { weight: 3, arbitrary: fc.subarray([0, 1, 2, 3], { minLength: 1, maxLength: 2 }) },
  ),
  evidence: fc.array(evidence, { maxLength: 4 }),
  revocations: fc.oneof(
    { weight: 3, arbitrary: fc.constant<Revoking[]>([]) },
    { weight: 1, arbitrary: fc.array(revocation, { maxLength: 2 }) },
  ),
  refusals: fc.oneof(
    { weight: 2, arbitrary: fc.constant<World["refusals"][string][]>([]) },
    { weight: 1, arbitrary: fc.array(refusal, { maxLength: 2 }) },
  ),
  absent: fc.constantFrom<string[]>([], [], [], [], [], [], [], [], ["s0"], ["m1"]),
  candidate: rarely(6),
  memoryKnown: fc.boolean(),
  clockFloor: fc.constantFrom(undefined, "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"),
  now: fc.constantFrom(
    "2026-11-09T12:00:00Z",
    "2026-11-19T23:55:00Z",
    "2026-11-21T00:00:00Z",
    "2026-11-24T23:59:59Z",
    "2026-12-01T00:00:00Z",
  ),
});

export const world: fc.Arbitrary<World> = parts.map((drawn): World => {
  const statements = statementsOf(drawn.statements);
  const covered = new Set(Object.values(statements).flatMap((entry) => entry.previous));
  const symbols = Object.keys(statements);
  const picked = drawn.chain?.flatMap((index) => symbols[index] ?? []);
  const waiting = drawn.waiting.flatMap((index) => symbols[index] ?? []);
  const chain = picked ?? symbols.filter((symbol) => !covered.has(symbol));
  const format = { m1: "gguf", m2: "gguf", m3: "safetensors" };
  const bare: World = {
    name: NAME,
    storeKey: "store",
    policies: {
      p1: {
        number: 1,
        root: "our-root",
        principals: PRINCIPALS,
        rules: [
          { names: "acme/*@*", ...drawn.rule },
          { names: "other/*@*", revokers: drawn.otherRevokers },
        ],
      },
    },
    manifests: Object.fromEntries(
      MANIFESTS.map((id, index) => [
        id,
        {
          files: {
            "README.md": { format: "text", blob: "readme" },
            model: { format: format[id], blob: `weights-${id}` },
          },
          signedBy: drawn.published[index] ?? [],
        },
      ]),
    ),
    statements,
    chain: chain.filter((symbol) => !waiting.includes(symbol)),
    waiting,
    evidence: numbered("e", drawn.evidence),
    revocations: [],
    refusals: numbered("f", drawn.refusals),
    absent: drawn.absent,
    candidate: drawn.candidate,
    memoryKnown: drawn.memoryKnown,
    ...(drawn.clockFloor === undefined ? {} : { clockFloor: drawn.clockFloor }),
    now: drawn.now,
  };
  return drawn.revocations.reduce((made, entry, index) => withRevocation(made, `r${index}`, entry), bare);
});
