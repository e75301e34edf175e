// SPDX-License-Identifier: Apache-2.0
/**
 * Worlds for evaluate: principals with symbolic keys, who signed what, what stands where, and when. `build` writes the
 * real documents (so nothing is judged that could not be stored) and gives `evaluate` what a store would.
 * The form is that of test/vectors/evaluate.json. Not here: signatures as bytes; who signed is taken as checked.
 */
import { type Digest, digestBytes, sha256 } from "../../src/base/digest.ts";
import { parseLabel, parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef, type RevokedKind } from "../../src/base/ref-path.ts";
import { parseTime, timeSeconds } from "../../src/base/time.ts";
import { publicFromSeed } from "../../src/keys/ed25519.ts";
import { type KeyId, type PublicKey, publicKeyFromRaw } from "../../src/keys/public-key.ts";
import { makeEvidence } from "../../src/objects/documents/evidence.ts";
import { type Manifest, makeManifest } from "../../src/objects/documents/manifest.ts";
import { makePolicy, type Policy } from "../../src/objects/documents/policy.ts";
import { makeRefusal } from "../../src/objects/documents/refusal.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import { makeStatement, type State, type Statement } from "../../src/objects/documents/statement.ts";
import type { EvaluateInput, Member, Signed } from "../../src/trust/evaluate.ts";

/** Every string that is not a time, a state or a name of a model or person is a symbol: equal symbols, equal things. */
export interface World {
  name: string;
  storeKey: string;
  policies: Record<string, PolicySpec>;
  manifests: Record<string, ManifestSpec>;
  statements: Record<string, StatementSpec>;
  /** The heads of the name's chain. */
  chain: string[];
  /** Statements of the name that were set aside when they arrived. */
  waiting: string[];
  evidence: Record<string, EvidenceSpec>;
  revocations: { kind: RevokedKind; of: string; by: string }[];
  refusals: Record<string, { statement: string; signedBy: string[] }>;
  /** Statements and manifests that are named but not in the store. */
  absent: string[];
  candidate: boolean;
  memoryKnown: boolean;
  clockFloor?: string;
  now: string;
}
export interface PolicySpec {
  number: number;
  root: string;
  principals: Record<string, string[]>;
  rules: Record<string, unknown>[];
}
export interface ManifestSpec {
  files: Record<string, { format: string; blob: string }>;
  signedBy: string[];
}
export interface StatementSpec {
  state: State;
  name: string;
  manifest: string;
  policy: string;
  root: string;
  sequence: number;
  previous: string[];
  issuedAt: string;
  expiresAt?: string;
  reason?: string;
  revokes?: { manifests: string[]; blobs: string[]; statements: string[] };
  signedBy: string[];
}
export interface EvidenceSpec {
  manifest: string;
  kind: string;
  tool: string;
  result: "pass" | "fail" | "info";
  issuedAt: string;
  signedBy: string[];
}

/** The digest that stands for a symbol of which no document is made: a blob, a policy root, something not here. */
export function digestFor(symbol: string): Digest {
  return sha256(new TextEncoder().encode(symbol));
}

const keys = new Map<string, PublicKey>();

/** A real key, the same for the same symbol. */
export function keyFor(symbol: string): PublicKey {
  const known = keys.get(symbol);
  if (known !== undefined) return known;
  const made = publicKeyFromRaw(publicFromSeed(digestBytes(digestFor(`coffer test key ${symbol}`))));
  keys.set(symbol, made);
  return made;
}

export function keyIds(symbols: readonly string[]): Set<KeyId> {
  return new Set(symbols.map((symbol) => keyFor(symbol).keyId));
}

/** The members of a policy document for `makePolicy`; the root role is everybody, one of them enough. */
export function policyMembers({ number, root, principals, rules }: PolicySpec): Parameters<typeof makePolicy>[0] {
  const entries = Object.entries(principals).map(([name, symbols]) => {
    const lines = symbols.map((symbol) => keyFor(symbol).text).sort();
    return [name, { keys: lines.map((key) => ({ key, status: "active" })) }] as const;
  });
  return {
    number,
    root: digestFor(root),
    issuedAt: "2026-01-01T00:00:00Z",
    principals: Object.fromEntries(entries),
    rootRole: { principals: Object.keys(principals).sort(), threshold: 1 },
    rules: rules as Parameters<typeof makePolicy>[0][string],
  };
}

const policies = new Map<string, { id: Digest; value: Policy }>();

/** Later versions cannot be written yet: they are version 1 under another id, with the number put in afterwards. */
function policyFor(symbol: string, spec: PolicySpec): { id: Digest; value: Policy } {
  const text = `${symbol} ${JSON.stringify(spec)}`;
  const known = policies.get(text);
  if (known !== undefined) return known;
  const { value } = makePolicy(policyMembers({ ...spec, number: 1 }));
  const made = { id: digestFor(`policy ${symbol}`), value: { ...value, number: spec.number } };
  policies.set(text, made);
  return made;
}

/** One world's documents; symbols of things that are nowhere described become plain digests. */
class Builder {
  private readonly world: World;
  private readonly written = new Map<string, Stored<Statement>>();
  private readonly manifests = new Map<string, Signed<Manifest>>();

  constructor(world: World) {
    this.world = world;
  }

  manifest(symbol: string): Signed<Manifest> | undefined {
    const spec = this.world.manifests[symbol];
    const known = this.manifests.get(symbol);
    if (spec === undefined || known !== undefined) return known;
    const files = Object.entries(spec.files).map(([path, { format, blob }]) => ({
      path: parseManifestPath(path),
      size: 7,
      sha256: digestFor(blob),
      format: parseLabel(format),
    }));
    // Manifests of equal files would be one manifest: the symbol keeps them apart.
    const { id, value } = makeManifest({ files, license: symbol });
    const made = { id, value, signers: keyIds(spec.signedBy) };
    this.manifests.set(symbol, made);
    return made;
  }

  manifestId(symbol: string): Digest {
    return this.manifest(symbol)?.id ?? digestFor(symbol);
  }

  statement(symbol: string): Stored<Statement> | undefined {
    const spec = this.world.statements[symbol];
    if (spec === undefined) return undefined;
    const known = this.written.get(symbol);
    if (known !== undefined) return known;
    const { revokes } = spec;
    const made = makeStatement({
      root: digestFor(spec.root),
      ref: nameRef(spec.state, parseName(spec.name)),
      manifest: this.manifestId(spec.manifest),
      policy: digestFor(`policy ${spec.policy}`),
      sequence: spec.sequence,
      previous: spec.previous.map((id) => this.statementId(id)),
      issuedAt: parseTime(spec.issuedAt),
      evidence: [],
      // Statements that say the same would be one statement: the symbol keeps them apart.
      reason: spec.reason ?? symbol,
      ...(spec.expiresAt === undefined ? {} : { expiresAt: parseTime(spec.expiresAt) }),
      ...(revokes === undefined
        ? {}
        : {
            revokes: {
              manifests: revokes.manifests.map((id) => this.manifestId(id)),
              blobs: revokes.blobs.map(digestFor),
              statements: revokes.statements.map((id) => this.statementId(id)),
            },
          }),
    });
    this.written.set(symbol, made);
    return made;
  }

  statementId(symbol: string): Digest {
    return this.statement(symbol)?.id ?? digestFor(symbol);
  }

  member(symbol: string): Member {
    const stored = this.statement(symbol);
    const spec = this.world.statements[symbol];
    if (stored === undefined || spec === undefined) throw new Error(`world: statement ${symbol} is not described`);
    const previous = spec.previous.map((id) =>
      this.world.absent.includes(id) ? undefined : this.statement(id)?.value,
    );
    return { id: stored.id, value: stored.value, signers: keyIds(spec.signedBy), previous };
  }
}

/** What `evaluate` is given in that world. */
export function build(world: World): EvaluateInput {
  const builder = new Builder(world);
  const here = Object.keys(world.manifests).filter((symbol) => !world.absent.includes(symbol));
  const manifests = here.flatMap((symbol) => builder.manifest(symbol) ?? []);
  return {
    name: parseName(world.name),
    policies: Object.entries(world.policies)
      .map(([symbol, spec]) => policyFor(symbol, spec))
      .sort((a, b) => a.value.number - b.value.number),
    storeKey: keyFor(world.storeKey).keyId,
    chain: world.chain.map((symbol) => builder.member(symbol)),
    waiting: world.waiting.map((symbol) => builder.member(symbol)),
    candidate: world.candidate,
    manifests: new Map(manifests.map((manifest) => [manifest.id, manifest])),
    evidence: Object.entries(world.evidence).map(([symbol, spec]) => {
      const { id, value } = makeEvidence({
        manifest: builder.manifestId(spec.manifest),
        kind: parseLabel(spec.kind),
        tool: { name: parseLabel(spec.tool), version: "1.0" },
        result: spec.result,
        findings: [],
        report: digestFor(symbol),
        issuedAt: parseTime(spec.issuedAt),
      });
      return { id, value, signers: keyIds(spec.signedBy) };
    }),
    revocations: world.revocations.map(({ kind, of, by }) => ({
      kind,
      digest: {
        manifest: () => builder.manifestId(of),
        blob: () => digestFor(of),
        statement: () => builder.statementId(of),
      }[kind](),
      statement: builder.member(by),
    })),
    refusals: Object.entries(world.refusals).map(([symbol, spec]) => {
      const members = { reason: symbol, issuedAt: parseTime("2026-11-23T00:00:00Z") };
      const { id, value } = makeRefusal({ ...members, statement: builder.statementId(spec.statement) });
      return { id, value, signers: keyIds(spec.signedBy) };
    }),
    memory: {
      known: world.memoryKnown,
      ...(world.clockFloor === undefined ? {} : { floorS: timeSeconds(parseTime(world.clockFloor)) }),
    },
    log: { number: 7, id: digestFor("log entry 7") },
    nowS: timeSeconds(parseTime(world.now)),
  };
}
