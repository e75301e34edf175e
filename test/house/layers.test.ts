// SPDX-License-Identifier: Apache-2.0
/**
 * The layer gate is only as good as its refusals: each forbidden import is planted in a copy of the tree, and the
 * linter has to name it. One run of the linter answers for all of them.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LAYERS, MAY_IMPORT, scanImports } from "./import-scan.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const PURE = ["base", "formats", "keys", "refs", "trust"];
const IO_MODULES = [
  ...["node:fs", "node:fs/promises", "fs", "fs/promises", "node:http", "node:https", "node:http2", "node:net"],
  ...["node:tls", "node:dgram", "node:dns", "node:dns/promises", "node:child_process", "node:worker_threads"],
  ...["node:cluster", "node:module", "node:process", "node:vm", "node:sqlite", "http", "https", "net", "child_process"],
];
const HARMLESS = ["node:crypto", "node:buffer", "node:util", "node:path"];
const SOCKETS = [
  ...["node:http", "node:https", "node:http2", "node:net", "node:tls", "node:dgram", "node:dns", "node:dns/promises"],
  ...["node:child_process", "http", "https", "net", "child_process"],
];

/** Ways to write one import. The name of each is what a failure shows. */
const FORMS: ReadonlyArray<readonly [name: string, write: (specifier: string, n: number) => string]> = [
  ["import", (from, n) => `import { x as x${n} } from "${from}";\nexport const y${n} = x${n};`],
  ["import type", (from, n) => `import type { T as T${n} } from "${from}";\nexport const z${n} = {} as T${n};`],
  ["bare import", (from) => `import "${from}";`],
  ["export from", (from, n) => `export { e as e${n} } from "${from}";`],
  ["export type from", (from, n) => `export type { e as f${n} } from "${from}";`],
  ["export all", (from) => `export * from "${from}";`],
  ["dynamic import", (from, n) => `export const d${n} = await import("${from}");`],
];

/** One forbidden (or allowed) import: where it was written and how. */
interface Planted {
  readonly path: string;
  readonly specifier: string;
  readonly form: string;
  readonly line: number;
}

const tree = mkdtempSync(join(tmpdir(), "coffer-layers-"));
after(() => rmSync(tree, { recursive: true, force: true }));
for (const name of ["biome.json", ".gitignore", "package.json"]) cpSync(join(ROOT, name), join(tree, name));
symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
cpSync(join(ROOT, "src"), join(tree, "src"), { recursive: true });

/** Writes every form of every specifier into one file. */
function plant(path: string, specifiers: readonly string[]): Planted[] {
  const planted: Planted[] = [];
  let text = "";
  for (const specifier of specifiers) {
    for (const [form, write] of FORMS) {
      planted.push({ path, specifier, form, line: text.split("\n").length });
      text += `${write(specifier, planted.length)}\n`;
    }
  }
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
  return planted;
}

/** The lines, as `path:line`, at which the linter reports `rule`, by one run over the whole of src/. */
function reported(folder: string, rule: string): Set<string> {
  const run = spawnSync(
    process.execPath,
    [
      join(ROOT, "node_modules/@biomejs/biome/bin/biome"),
      ...["lint", "--reporter=json", "--max-diagnostics=none", `--only=style/${rule}`, "src"],
    ],
    { cwd: folder, encoding: "utf8", maxBuffer: 256 * 1024 * 1024 },
  );
  assert.equal(run.error, undefined);
  const start = run.stdout.indexOf("{");
  assert.ok(start >= 0, `the linter wrote no report: ${run.stderr}`);
  const report: unknown = JSON.parse(run.stdout.slice(start).split("\n")[0] ?? "");
  const { diagnostics } = report as {
    diagnostics: { category: string; location: { path: string; start: { line: number } } }[];
  };
  const ours = diagnostics.filter((each) => each.category === `lint/style/${rule}`);
  return new Set(ours.map(({ location }) => `${location.path}:${location.start.line}`));
}

const shown = ({ path, specifier, form }: Planted) => `${path}: ${form} of ${specifier}`;

// The clean tree first, before anything is planted.
const clean = { imports: reported(tree, "noRestrictedImports"), globals: reported(tree, "noRestrictedGlobals") };

const forbidden: Planted[] = [];
const allowed: Planted[] = [];
for (const layer of LAYERS) {
  const others = LAYERS.filter((other) => other !== layer);
  const no = others.filter((other) => !MAY_IMPORT[layer]?.includes(other));
  const yes = others.filter((other) => MAY_IMPORT[layer]?.includes(other));
  const file = (other: string) =>
    layer === "trust" && other === "objects" ? "objects/documents/x.ts" : `${other}/x.ts`;
  forbidden.push(
    ...plant(
      `src/${layer}/planted-layers.ts`,
      no.map((other) => `../${file(other)}`),
    ),
    ...plant(
      `src/${layer}/a/b/planted-deep.ts`,
      no.map((other) => `../../../${file(other)}`),
    ),
    ...plant(
      `src/${layer}/planted-round.ts`,
      no.flatMap((other) => [`./../${file(other)}`, `../../src/${other}/a/b/x.ts`]),
    ),
    ...plant(`src/${layer}/planted-package.ts`, ["undici", "@scope/package", "left-pad/deep/x.js"]),
  );
  allowed.push(
    ...plant(`src/${layer}/planted-allowed.ts`, [...yes.map((other) => `../${file(other)}`), "./x.ts", ...HARMLESS]),
  );
  if (layer !== "repo") forbidden.push(...plant(`src/${layer}/planted-glob.ts`, ["fast-glob", "msgpackr/pack"]));
  if (layer !== "cli") forbidden.push(...plant(`src/${layer}/planted-commander.ts`, ["commander"]));
  if (layer !== "sync") forbidden.push(...plant(`src/${layer}/planted-age.ts`, ["age-encryption"]));
  if (layer !== "git") forbidden.push(...plant(`src/${layer}/planted-git.ts`, ["isomorphic-git"]));
  if (layer !== "keys") forbidden.push(...plant(`src/${layer}/planted-crypto.ts`, ["tweetnacl", "bcrypt-pbkdf"]));
}
for (const layer of [...PURE, "objects/documents"]) forbidden.push(...plant(`src/${layer}/planted-io.ts`, IO_MODULES));
for (const layer of ["objects", "repo"]) forbidden.push(...plant(`src/${layer}/planted-sockets.ts`, SOCKETS));
forbidden.push(
  ...plant("src/trust/planted-stores.ts", ["../objects/object-store.ts", "../objects/files.ts"]),
  ...plant("src/objects/documents/planted-up.ts", [
    "../object-store.ts",
    "../../objects/files.ts",
    "../../formats/gguf.ts",
  ]),
  ...plant(
    "src/objects/documents/planted-higher.ts",
    ["formats", "refs", "trust", "sync", "git", "repo", "server", "cli"].map((other) => `../../${other}/x.ts`),
  ),
);
allowed.push(
  ...plant("src/objects/documents/planted-allowed.ts", [
    "./schema.ts",
    "../../base/x.ts",
    "../../keys/x.ts",
    ...HARMLESS,
  ]),
  ...plant("src/objects/planted-files.ts", ["node:fs", "node:fs/promises"]),
  ...plant("src/repo/planted-allowed-too.ts", ["node:fs/promises", "fast-glob", "msgpackr/pack"]),
  ...plant("src/server/planted-allowed-too.ts", ["node:http", "node:net"]),
  ...plant("src/keys/planted-allowed-too.ts", ["tweetnacl", "bcrypt-pbkdf"]),
  ...plant("src/git/planted-allowed-too.ts", ["isomorphic-git"]),
  ...plant("src/sync/planted-allowed-too.ts", ["age-encryption"]),
  ...plant("src/cli/planted-allowed-too.ts", ["commander", "node:child_process"]),
);
const GLOBALS = ["fetch", "WebSocket", "EventSource", "process", "globalThis"];
for (const layer of [...PURE, "objects/documents"]) {
  writeFileSync(
    join(tree, `src/${layer}/planted-globals.ts`),
    GLOBALS.map((g) => `export const ${g}_ = ${g};\n`).join(""),
  );
}
const planted = { imports: reported(tree, "noRestrictedImports"), globals: reported(tree, "noRestrictedGlobals") };

test("the tree as it is breaks no layer rule", () => {
  assert.deepEqual([...clean.imports, ...clean.globals], []);
});

test("every forbidden import is reported, in every form, from every depth", () => {
  assert.ok(forbidden.length > 1500, `only ${forbidden.length} were planted`);
  const missed = forbidden.filter(({ path, line }) => !planted.imports.has(`${path}:${line}`));
  assert.deepEqual(missed.map(shown), []);
});

test("no allowed import is reported", () => {
  const wrong = allowed.filter(({ path, line }) => planted.imports.has(`${path}:${line}`));
  assert.deepEqual(wrong.map(shown), []);
});

test("the pure layers may not use the globals that reach outside", () => {
  const wanted = [...PURE, "objects/documents"].flatMap((layer) =>
    GLOBALS.map((_, at) => `src/${layer}/planted-globals.ts:${at + 1}`),
  );
  assert.deepEqual(
    wanted.filter((place) => !planted.globals.has(place)),
    [],
  );
});

/** Every source file below src/, as `src/…`. */
function sources(): string[] {
  const found = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  return found.filter((name) => name.endsWith(".ts")).map((name) => `src/${name.replaceAll("\\", "/")}`);
}

test("every source file lies in a layer that the rules know", () => {
  const astray = sources().filter((path) => path !== "src/index.ts" && !LAYERS.includes(path.split("/")[1] ?? ""));
  assert.deepEqual(astray, []);
});

test("no import type, no computed import and no switched-off rule crosses a layer", () => {
  const complaints = sources().flatMap((path) => scanImports(path, readFileSync(join(ROOT, path), "utf8")));
  assert.deepEqual(complaints, []);
});

test("the scan finds what the linter does not see", () => {
  const refused = [
    'export const t: import("../refs/log.ts").Log = x;',
    "export type T = import('../repo/store.ts').Store;",
    'type T = typeof import("../../src/cli/main.ts");',
    'type T = import(\n  "../server/http.ts"\n).S;',
    'type T = import("../objects/object-store.ts").ObjectStore;',
    "await import(`../repo/$" + "{name}.ts`);",
    "await import(name);",
    'await import("../re" + "po/store.ts");',
    "// biome-ignore lint/style/noRestrictedImports: only this once\nimport x from 'fast-glob';",
    "// biome-ignore-all lint/style/noRestrictedImports: all of it",
    "// biome-ignore lint: everything",
    "// biome-ignore lint/style: a whole group",
    "/* biome-ignore-start lint/style/noRestrictedGlobals: x */ fetch();",
  ];
  for (const text of refused) assert.equal(scanImports("src/trust/planted.ts", text).length, 1, text);
  const accepted = [
    'export type T = import("../objects/documents/policy.ts").Policy;',
    'export type T = import("./verdict.ts").Verdict;',
    '/** Like `import("../repo/store.ts")`. */',
    "// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for",
    'import { x } from "../base/errors.ts";',
  ];
  for (const text of accepted) assert.deepEqual(scanImports("src/trust/planted.ts", text), [], text);
});

// Pure means pure all the way down: a layer may import another that is allowed to open files, as trust does objects.
test("what base, formats, keys, refs and trust load at run time never reaches a file or a socket", () => {
  const reach = (path: string, seen: Set<string>): string[] => {
    if (seen.has(path)) return [];
    seen.add(path);
    const text = readFileSync(join(ROOT, path), "utf8");
    const values = text.matchAll(/^(?:import|export)\s+(?!type\b)(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gmu);
    return [...values].flatMap(([, specifier = ""]) => {
      if (specifier.startsWith(".")) return reach(join(dirname(path), specifier).replaceAll("\\", "/"), seen);
      return IO_MODULES.includes(specifier) ? [`${path} imports ${specifier}`] : [];
    });
  };
  const roots = sources().filter((path) => PURE.includes(path.split("/")[1] ?? ""));
  const found = roots.flatMap((path) => reach(path, new Set()).map((end) => `${path}: ${end}`));
  assert.deepEqual(found, []);
});
