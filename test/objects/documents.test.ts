// SPDX-License-Identifier: Apache-2.0
/** Documents: one good one of each kind, and each rule of the closed schemas broken alone (documents.json). Invariants 2, 3, 7. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CanonicalObject, type CanonicalValue, encodeCanonical } from "../../src/base/canonical-json.ts";
import { type Digest, parseDigest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseLabel, parseManifestPath, parseName } from "../../src/base/names.ts";
import { nameRef } from "../../src/base/ref-path.ts";
import { parseTime } from "../../src/base/time.ts";
import { makeEvidence, parseEvidence } from "../../src/objects/documents/evidence.ts";
import { makeList, parseList } from "../../src/objects/documents/list.ts";
import { type ManifestFile, makeManifest, parseManifest } from "../../src/objects/documents/manifest.ts";
import { makeRefusal, parseRefusal } from "../../src/objects/documents/refusal.ts";
import type { Stored } from "../../src/objects/documents/schema.ts";
import { makeStatement, parseStatement, type StatementBody } from "../../src/objects/documents/statement.ts";
import { loadVectors } from "../support/vectors.ts";

type Kind = "manifest" | "statement" | "evidence" | "refusal" | "list";
interface Good {
  readonly name: string;
  readonly kind: Kind;
  readonly id: string;
  readonly value: CanonicalObject;
}
interface Operation {
  readonly op: "add" | "replace" | "remove";
  readonly path: string;
  readonly value?: CanonicalValue;
}
interface Case {
  readonly base: string;
  readonly name: string;
  readonly patch: readonly Operation[];
  readonly expect: string;
}

const PARSERS: Readonly<Record<Kind, (bytes: Uint8Array) => Stored<unknown>>> = {
  manifest: parseManifest,
  statement: parseStatement,
  evidence: parseEvidence,
  refusal: parseRefusal,
  list: parseList,
};
const good = loadVectors<Good>("documents", "good");
const cases = loadVectors<Case>("documents", "cases");

type Loose = Record<string, unknown> | unknown[];

/** RFC 6902 `add`, `replace` and `remove`, as far as the vectors use them. */
function applyPatch(document: CanonicalValue, patch: readonly Operation[]): CanonicalValue {
  let root: unknown = structuredClone(document);
  for (const { op, path, value } of patch) {
    const steps = path.split("/").slice(1);
    const last = steps.pop();
    if (last === undefined) {
      root = value;
      continue;
    }
    const parent = steps.reduce((at, step) => (at as Record<string, Loose>)[step] as Loose, root as Loose);
    if (Array.isArray(parent)) {
      const index = last === "-" ? parent.length : Number(last);
      parent.splice(index, op === "add" ? 0 : 1, ...(op === "remove" ? [] : [value]));
    } else {
      assert.equal(Object.hasOwn(parent, last), op !== "add", `${op} ${path}`);
      if (op === "remove") delete parent[last];
      else parent[last] = value;
    }
  }
  return root as CanonicalValue;
}

function outcome(kind: Kind, bytes: Uint8Array): string {
  try {
    PARSERS[kind](bytes);
    return "ok";
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    assert.ok(error.message.length < 400 && /^[\x20-\x7e]+$/.test(error.message), error.message);
    return error.code;
  }
}

describe("documents: good", () => {
  for (const { name, kind, id, value } of good) {
    test(name, () => {
      const bytes = encodeCanonical(value);
      const stored = PARSERS[kind](bytes);
      assert.equal(stored.id, id);
      assert.equal(stored.id, sha256(bytes));
      assert.equal(stored.bytes, bytes, "the bytes that were read, not another encoding");
      for (const [key, member] of Object.entries(value)) {
        const read = (stored.value as Record<string, unknown>)[key];
        assert.equal(JSON.stringify(sortKeys(read)), JSON.stringify(sortKeys(member)), key);
      }
    });

    test(`${name}: read as any other kind it is refused`, () => {
      for (const other of Object.keys(PARSERS) as Kind[]) {
        if (other !== kind) assert.equal(outcome(other, encodeCanonical(value)), "DOCUMENT_INVALID", other);
      }
    });

    test(`${name}: bytes that are not canonical are refused`, () => {
      const text = new TextDecoder().decode(encodeCanonical(value));
      for (const changed of [text.slice(0, -1), `${text}\n`, ` ${text}`, text.replace(":", ": "), `\ufeff${text}`]) {
        assert.equal(outcome(kind, new TextEncoder().encode(changed)), "JSON_INVALID");
      }
    });
  }
});

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => [key, sortKeys(member)]);
}

describe("documents: each rule alone", () => {
  const bases = new Map(good.map((document) => [document.name, document]));
  for (const { base, name, patch, expect } of cases) {
    test(`${base}: ${name}: ${expect}`, () => {
      const document = bases.get(base) ?? assert.fail(`no good document ${base}`);
      assert.equal(outcome(document.kind, encodeCanonical(applyPatch(document.value, patch))), expect);
    });
  }

  test("every case has its own name", () => {
    const names = cases.map(({ base, name }) => `${base}: ${name}`);
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    );
  });

  test("an unknown member with a name of any length gives a short text", () => {
    const refusal = { ...good.find(({ name }) => name === "refusal")?.value, ["x".repeat(100_000)]: 1 };
    assert.equal(outcome("refusal", encodeCanonical(refusal)), "UNSUPPORTED");
  });
});

const digestOf = (index: number): Digest => parseDigest(index.toString(16).padStart(64, "0"));
const file = (path: string, extra: Partial<ManifestFile> = {}): ManifestFile => ({
  path: parseManifestPath(path),
  size: 1,
  sha256: digestOf(1),
  format: parseLabel("text"),
  ...extra,
});
const body: StatementBody = {
  root: digestOf(0),
  ref: nameRef("trusted", parseName("acme/tiny")),
  manifest: digestOf(1),
  policy: digestOf(2),
  sequence: 1,
  previous: [],
  issuedAt: parseTime("2026-11-22T00:00:00Z"),
  evidence: [],
};

describe("documents: limits too large for the vectors", () => {
  // The count is checked before the members, so zeros do for what is one too many.
  const tooMany = Array.from({ length: LIMITS.manifestFiles + 1 }, () => 0);

  test("a manifest of 100,000 files stands, one more does not", () => {
    const files = Array.from({ length: LIMITS.manifestFiles }, (_, index) => file(`f${index}`));
    assert.equal(makeManifest({ files }).value.files.length, LIMITS.manifestFiles);
    const more = encodeCanonical({ type: "coffer/manifest", version: 1, files: tooMany });
    assert.throws(() => parseManifest(more), { code: "LIMIT_EXCEEDED", message: /at most 100000 members/ });
  });

  test("a revocation of 100,000 blobs fits, one more does not", () => {
    const ref = nameRef("revoked", parseName("acme/tiny"));
    const blobs = Array.from({ length: LIMITS.manifestFiles }, (_, index) => digestOf(index));
    const fits = { ...body, ref, revokes: { manifests: [], blobs, statements: [] } };
    assert.equal(makeStatement(fits).value.revokes?.blobs.length, LIMITS.manifestFiles);
    const revokes = { manifests: [], blobs: tooMany, statements: [] };
    const more = encodeCanonical({ type: "coffer/statement", version: 1, ...body, ref, revokes });
    assert.throws(() => parseStatement(more), { code: "LIMIT_EXCEEDED", message: /at most 100000 members/ });
  });

  test("evidence with more than 10,000 findings is refused", () => {
    const finding = { code: parseLabel("x"), level: "info", text: "t" } as const;
    const make = (count: number) =>
      makeEvidence({
        manifest: digestOf(1),
        kind: parseLabel("scan"),
        tool: { name: parseLabel("t"), version: "1" },
        result: "info",
        findings: Array.from({ length: count }, () => finding),
        issuedAt: body.issuedAt,
      });
    assert.equal(make(10_000).value.findings.length, 10_000);
    assert.throws(() => make(10_001), { code: "LIMIT_EXCEEDED" });
  });

  test("bytes over 64 MiB are refused before they are read", () => {
    assert.equal(LIMITS.documentBytes, 64 * 1024 * 1024);
    const bytes = new Uint8Array(LIMITS.documentBytes + 1);
    for (const kind of Object.keys(PARSERS) as Kind[]) {
      assert.equal(outcome(kind, bytes), "LIMIT_EXCEEDED", kind);
    }
  });
});

describe("documents: made here", () => {
  test("a manifest sorts its files by bytes, whatever the order given", () => {
    const paths = ["a.txt", "B.txt", "a/b", "Z", "a-b"];
    const made = makeManifest({ files: paths.map((path) => file(path)) });
    assert.deepEqual(
      made.value.files.map(({ path }) => path),
      ["B.txt", "Z", "a-b", "a.txt", "a/b"],
    );
    assert.equal(makeManifest({ files: paths.toReversed().map((path) => file(path)) }).id, made.id);
    assert.deepEqual(parseManifest(made.bytes), made);
  });

  test("a manifest that would not be read is not written", () => {
    assert.throws(() => makeManifest({ files: [] }), { code: "DOCUMENT_INVALID" });
    assert.throws(() => makeManifest({ files: [file("a"), file("a")] }), { code: "DOCUMENT_INVALID" });
    assert.throws(() => makeManifest({ files: [file("a"), file("a/b")] }), { code: "DOCUMENT_INVALID" });
    assert.throws(() => makeManifest({ files: [file("a", { size: 2 ** 53 })] }), { code: "JSON_INVALID" });
  });

  test("a statement sorts its sets, and keeps state and name out of its bytes", () => {
    const made = makeStatement({ ...body, sequence: 2, previous: [digestOf(9), digestOf(8)], evidence: [digestOf(7)] });
    assert.deepEqual(made.value.previous, [digestOf(8), digestOf(9)]);
    assert.equal(made.value.state, "trusted");
    assert.equal(made.value.name.text, "acme/tiny@main");
    assert.deepEqual(parseStatement(made.bytes), made);
    assert.doesNotMatch(new TextDecoder().decode(made.bytes), /"state"|"name"/);
  });

  test("a set given twice over is refused, not thinned", () => {
    const twice = [digestOf(8), digestOf(8)];
    assert.throws(() => makeStatement({ ...body, sequence: 2, previous: twice }), { code: "DOCUMENT_INVALID" });
  });

  test("statements that differ in one member differ in their id (invariant 3)", () => {
    const later = parseTime("2027-01-01T00:00:00Z");
    const bodies: readonly StatementBody[] = [
      body,
      { ...body, root: digestOf(9) },
      { ...body, ref: nameRef("trusted", parseName("acme/tiny@prod")) },
      { ...body, ref: nameRef("revoked", parseName("acme/tiny")) },
      { ...body, manifest: digestOf(9) },
      { ...body, policy: digestOf(9) },
      { ...body, sequence: 2, previous: [digestOf(9)] },
      { ...body, issuedAt: later },
      { ...body, expiresAt: later },
      { ...body, evidence: [digestOf(9)] },
      { ...body, reason: "x" },
    ];
    assert.equal(new Set(bodies.map((each) => makeStatement(each).id)).size, bodies.length);
  });

  test("evidence and refusals read back as they were made", () => {
    const refusal = makeRefusal({ statement: digestOf(1), reason: "no", issuedAt: body.issuedAt });
    assert.deepEqual(parseRefusal(refusal.bytes), refusal);
    const evidence = makeEvidence({
      manifest: digestOf(1),
      kind: parseLabel("inspection"),
      tool: { name: parseLabel("coffer"), version: "0.1.0" },
      result: "pass",
      findings: [],
      issuedAt: body.issuedAt,
    });
    assert.deepEqual(parseEvidence(evidence.bytes), evidence);
  });

  test("a list is a function of the set", () => {
    const made = makeList([digestOf(3), digestOf(1), digestOf(3), digestOf(2)]);
    assert.deepEqual(made.value.ids, [digestOf(1), digestOf(2), digestOf(3)]);
    assert.equal(makeList(new Set([digestOf(2), digestOf(3), digestOf(1)])).id, made.id);
    assert.deepEqual(parseList(made.bytes), made);
  });
});
