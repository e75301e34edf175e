// SPDX-License-Identifier: Apache-2.0
/**
 * The documents against the code: limits, families of refs, every example, every link, every section that a source
 * names, and the worked example of docs/format.md, byte for byte. UPDATE_GOLDEN=1 rewrites what stands between markers
 * there, and test/vectors/worked-example.json. Not here: errors.md (test/base), cli.md, http.md.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type CanonicalObject, encodeCanonical, parseCanonical } from "../../src/base/canonical-json.ts";
import type { Digest } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { parseName } from "../../src/base/names.ts";
import {
  evidenceRef,
  NAME_FAMILIES,
  nameRef,
  POLICY_REF,
  REMOTE_KINDS,
  refusedRef,
  remoteRef,
  revokedRef,
  signersRef,
} from "../../src/base/ref-path.ts";
import { timeSeconds } from "../../src/base/time.ts";
import { inspect } from "../../src/formats/inspect.ts";
import type { PrivateKey } from "../../src/keys/private-key.ts";
import { SIGNATURE_NAMESPACES } from "../../src/keys/sshsig.ts";
import { parseEvidence } from "../../src/objects/documents/evidence.ts";
import { parseList } from "../../src/objects/documents/list.ts";
import { parseManifest } from "../../src/objects/documents/manifest.ts";
import { parsePolicy } from "../../src/objects/documents/policy.ts";
import { parseRefusal } from "../../src/objects/documents/refusal.ts";
import { parseStatement } from "../../src/objects/documents/statement.ts";
import { parseEntryLine } from "../../src/refs/log-entry.ts";
import { parseRefNode } from "../../src/refs/ref-node.ts";
import { evaluate } from "../../src/trust/evaluate.ts";
import { skipWithoutStock } from "../keys/stock.ts";
import {
  alice,
  entry,
  ISSUED,
  ITEMS,
  manifest,
  NAME,
  policy,
  readme,
  rendered,
  statement,
  store,
  vector,
  weights,
} from "../support/worked-example.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const GOLDEN = process.env["UPDATE_GOLDEN"] === "1";
const text = (path: string) => readFileSync(join(ROOT, path), "utf8");
const FORMAT = "docs/format.md";
const VECTOR = "test/vectors/worked-example.json";
const BEGIN = "<!-- worked example: begin, written by UPDATE_GOLDEN=1 -->\n";
const END = "<!-- worked example: end -->\n";

/** Pages as Markdown, without what stands in fenced blocks. */
const prose = (page: string) => page.replace(/^```[^\n]*\n[\s\S]*?^```$/gmu, "");
const headings = (page: string) => [...prose(page).matchAll(/^#+ (.+)$/gmu)].map(([, title = ""]) => title.trim());
const rowsUnder = (page: string, title: string): string[][] => {
  const [, body = ""] = page.split(new RegExp(`^## ${title}$`, "mu"));
  const [section = ""] = body.split(/^## /mu);
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  return rows.map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")));
};

function cut(): readonly [before: string, inside: string, after: string] {
  const page = text(FORMAT);
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  assert.ok(begin >= 0 && end > begin, `${FORMAT}: expected both markers`);
  return [page.slice(0, begin + BEGIN.length), page.slice(begin + BEGIN.length, end), page.slice(end)];
}

if (GOLDEN) {
  const [before, , after] = cut();
  writeFileSync(join(ROOT, FORMAT), before + rendered + after);
  writeFileSync(join(ROOT, VECTOR), `${JSON.stringify(vector, undefined, 2)}\n`);
}

describe("the worked example", () => {
  test("is what the code makes of the fixed inputs", () => {
    assert.equal(cut()[1], rendered, "run with UPDATE_GOLDEN=1 and review the diff");
    assert.deepEqual(JSON.parse(text(VECTOR)), vector);
  });

  test("its inputs and ids are told on the page", () => {
    const page = text(FORMAT);
    for (const value of [...Object.values(vector.inputs), ...Object.values(vector.outputs)]) {
      assert.ok(page.includes(`\`${value}\``), value);
    }
  });

  test("its blobs would be admitted under their formats", async () => {
    for (const [file, bytes] of [manifest.value.files[0], manifest.value.files[1]].map(
      (f, at) => [f, at ? weights : readme] as const,
    )) {
      const reader = {
        sizeBytes: bytes.length,
        read: async (at: number, length: number) => bytes.slice(at, at + length),
      };
      const found = await inspect(file?.path ?? "", reader);
      assert.deepEqual([found.format, found.ok], [file?.format, true]);
    }
  });

  test("is trusted, and is not without either signature", () => {
    const judge = (publishers: readonly PrivateKey[], approvers: readonly PrivateKey[]) => {
      const ids = (keys: readonly PrivateKey[]) => new Set(keys.map((key) => key.publicKey.keyId));
      return evaluate({
        name: NAME,
        policies: [policy],
        storeKey: store.publicKey.keyId,
        waiting: [],
        chain: [{ ...statement, signers: ids(approvers), previous: [] }],
        candidate: false,
        manifests: new Map([[manifest.id, { ...manifest, signers: ids(publishers) }]]),
        evidence: [],
        revocations: [],
        refusals: [],
        memory: { known: true },
        log: { number: 2, id: entry.id },
        nowS: timeSeconds(ISSUED),
      }).trusted;
    };
    assert.deepEqual(
      [judge([alice], [alice]), judge([], [alice]), judge([alice], []), judge([store], [store])],
      [true, false, false, false],
    );
  });

  test("holds against sha256sum and ssh-keygen, by the very commands of the page", { skip: skipWithoutStock }, () => {
    const folder = mkdtempSync(join(tmpdir(), "coffer-docs-"));
    try {
      for (const { title, path = title, bytes } of ITEMS) {
        mkdirSync(join(folder, dirname(path)), { recursive: true });
        writeFileSync(join(folder, path), bytes);
      }
      const script = /^```sh\n([\s\S]*?)^```$/mu.exec(cut()[2])?.[1];
      assert.ok(script !== undefined, "expected the commands after the worked example");
      const run = spawnSync("sh", ["-eu", "-c", script], { cwd: folder, encoding: "utf8" });
      assert.equal(run.status, 0, run.stderr);
      const sums = [...run.stdout.matchAll(/^([0-9a-f]{64}) {2}(.+)$/gmu)].map(([, sum, path]) => [sum, path]);
      const named = ITEMS.flatMap(({ path }) => (/^(?:objects|blobs)\//u.test(path ?? "") ? [path ?? ""] : []));
      const wanted = named.map((path) => [path.replace(/^[a-z]+\/(..)\//u, "$1"), path]);
      assert.deepEqual(sums.sort(), [...wanted, [entry.id, "line1"]].sort());
      const good = [...run.stdout.matchAll(/^Good "([a-z-]+)" signature for ([a-z]+) /gmu)].map(([, a, b]) => [a, b]);
      assert.deepEqual(good, [
        ["coffer-log", "store"],
        ["coffer-manifest", "alice"],
        ["coffer-statement", "alice"],
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("docs/format.md mirrors the code", () => {
  test("every limit with its value, and no other", () => {
    const rows = rowsUnder(text(FORMAT), "Limits").map(([, name, value]) => [name, Number(value?.replaceAll(",", ""))]);
    assert.deepEqual(rows, Object.entries(LIMITS));
  });

  test("every family of refs, and no other", () => {
    const rows = rowsUnder(text(FORMAT), "Refs").map(([, path]) => path);
    const [name, digest] = [parseName("n/m@v"), "0".repeat(64) as Digest];
    const byName = NAME_FAMILIES.map((family) =>
      nameRef(family, name).replace("/n/m/v", "/<namespace>/<model>/<version>"),
    );
    const kinds = ["manifest", "blob", "statement"] as const;
    const byDigest = [
      ...kinds.map((kind) => revokedRef(digest, kind)),
      refusedRef(digest),
      evidenceRef(digest),
      signersRef(digest),
    ];
    const remote = REMOTE_KINDS.map((kind) => remoteRef(digest, kind).replace(digest, "<store id>"));
    const wanted = [POLICY_REF, ...byName, ...byDigest.map((ref) => ref.replace(digest, "<digest>")), ...remote];
    assert.deepEqual(rows.sort(), wanted.sort());
  });

  test("every namespace of signatures, and no other", () => {
    const rows = rowsUnder(text(FORMAT), "Signatures").map(([, namespace]) => namespace);
    assert.deepEqual(rows, [...SIGNATURE_NAMESPACES]);
  });
});

/** What reads each type of document. */
const READERS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  "coffer/manifest": parseManifest,
  "coffer/statement": parseStatement,
  "coffer/policy": parsePolicy,
  "coffer/evidence": parseEvidence,
  "coffer/refusal": parseRefusal,
  "coffer/list": parseList,
  "coffer/refs": parseRefNode,
  "coffer/log": parseEntryLine,
};

describe("examples of documents in docs/format.md", () => {
  const blocks = [...cut()[0].matchAll(/^```json\n([\s\S]*?)^```$/gmu)].map(([, body = ""]) => body);
  const examples = blocks.map((body) => JSON.parse(body) as CanonicalObject).filter(({ type }) => type !== undefined);

  test("there is one for each type that is read", () => {
    const types = [...new Set(examples.map(({ type }) => type))].sort();
    assert.deepEqual(types, Object.keys(READERS).sort());
  });

  for (const [at, example] of examples.entries()) {
    test(`${at + 1}: ${example["type"]}`, () => {
      const read = READERS[String(example["type"])];
      assert.ok(read !== undefined);
      const bytes = encodeCanonical(example);
      read(bytes);
      assert.throws(() => read(encodeCanonical({ ...example, surplus: true })), /no such member/u);
      assert.throws(() => read(new TextEncoder().encode(JSON.stringify(example, undefined, 1))), /canonical|not json/u);
      assert.deepEqual(parseCanonical(bytes), parseCanonical(encodeCanonical(parseCanonical(bytes))));
    });
  }
});

describe("links and names in the documents", () => {
  const names = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" });
  const pages = names.filter((name) => name.endsWith(".md")).map((name) => `docs/${name.replaceAll("\\", "/")}`);
  if (existsSync(join(ROOT, "README.md"))) pages.push("README.md");
  /** As GitHub makes them. */
  const anchors = (page: string) =>
    headings(text(page)).map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    );

  test("every relative link leads to a file, and to a heading of it", () => {
    const broken = pages.flatMap((page) =>
      [...prose(text(page)).matchAll(/\]\(([^)\s]+)\)/gu)].flatMap(([, link = ""]) => {
        if (/^[a-z]+:/u.test(link)) return [];
        const [path = "", anchor] = link.split("#");
        const target = path === "" ? page : join(dirname(page), path).replaceAll("\\", "/");
        if (!existsSync(join(ROOT, target))) return [`${page}: ${link}`];
        return anchor === undefined || anchors(target).includes(anchor) ? [] : [`${page}: ${link}`];
      }),
    );
    assert.deepEqual(broken, []);
  });

  test("every source, test or document that a page names is there", () => {
    const missing = pages.flatMap((page) =>
      [...text(page).matchAll(/`((?:src|test|docs|scripts)\/[\w./-]+\.\w+)`/gu)]
        .map(([, path = ""]) => path)
        .filter((path) => !existsSync(join(ROOT, path)))
        .map((path) => `${page}: ${path}`),
    );
    assert.deepEqual(missing, []);
  });

  const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name.replaceAll("\\", "/")}`);

  test("every section that a source names exists", () => {
    const cited = sources.flatMap((path) =>
      [...text(path).matchAll(/(docs\/[a-z-]+\.md)(?:,| \()\s*"([^"]+)"/gu)].map(([, page = "", title = ""]) => ({
        path,
        page,
        title,
      })),
    );
    assert.ok(cited.length > 20, `only ${cited.length} were found`);
    const wrong = cited.filter(({ page, title }) => !headings(text(page)).includes(title));
    assert.deepEqual(wrong, []);
  });

  test("the invariants have the numbers that sources quote", () => {
    const listed = [...text("docs/architecture.md").matchAll(/^Invariant ([0-9]+):/gmu)].map(([, n]) => Number(n));
    assert.deepEqual(listed, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const path of sources) {
      const [, quoted = ""] = /[Hh]olds invariants? ((?:[0-9]+(?:, | and )?)+)/u.exec(text(path)) ?? [];
      for (const number of quoted.match(/[0-9]+/gu) ?? []) assert.ok(listed.includes(Number(number)), path);
    }
  });
});
