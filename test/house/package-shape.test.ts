// SPDX-License-Identifier: Apache-2.0
/** What is promised about the package as such: pins, licence, the command, what is shipped, the house rules for files. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const MAX_LINES = 400;

interface PackageJson {
  readonly name: string;
  readonly type: string;
  readonly license: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly engines: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly hasInstallScript?: boolean;
}

const text = (path: string) => readFileSync(join(ROOT, path), "utf8");
const manifest = JSON.parse(text("package.json")) as PackageJson;
const lock = JSON.parse(text("package-lock.json")) as { readonly packages: Readonly<Record<string, Locked>> };
const locked = Object.entries(lock.packages).filter(([path]) => path !== "");

test("name, command, module kind, licence and engines", () => {
  assert.equal(manifest.name, "coffer");
  assert.deepEqual(manifest.bin, { coffer: "dist/cli/coffer.cjs" });
  assert.equal(manifest.type, "module");
  assert.equal(manifest.license, "Apache-2.0");
  assert.deepEqual(manifest.engines, { node: ">=20.19" });
  assert.match(text("LICENSE"), /Apache License\s+Version 2\.0, January 2004[\s\S]+END OF TERMS AND CONDITIONS/u);
});

test("every dependency is pinned to one version, which the lock has", () => {
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+$/u, name);
    assert.equal(lock.packages[`node_modules/${name}`]?.version, version, name);
  }
});

test("every locked package has a digest; only binaries for another platform that we do not load may lack it", () => {
  const bare = locked.filter(([, entry]) => entry.integrity === undefined);
  // Used in development only, or what msgpackr would like to have (docs/decisions/0002-dependencies.md).
  const unloaded = (path: string, { dev }: Locked) =>
    dev === true || path.startsWith("node_modules/@msgpackr-extract/");
  const shipped = bare.filter(([path, entry]) => !unloaded(path, entry) || entry.optional !== true || !entry.os);
  assert.deepEqual(shipped, []);
});

test("the lock names no host", () => {
  assert.deepEqual(
    locked.filter(([, entry]) => entry.resolved !== undefined),
    [],
  );
  assert.doesNotMatch(text("package-lock.json"), /https?:\/\/registry/u);
});

test("no package that is shipped and needed runs a script when it is installed", () => {
  const running = locked.filter(([, entry]) => entry.dev !== true && entry.hasInstallScript === true);
  assert.deepEqual(
    running.map(([path, entry]) => [path, entry.optional]),
    // Optional, and never loaded: docs/decisions/0002-dependencies.md, test/repo/receipts-loading.test.ts.
    [["node_modules/msgpackr-extract", true]],
  );
});

test("the decision record on dependencies has a section for each one, with its version, and for no other", () => {
  const headings = [...text("docs/decisions/0002-dependencies.md").matchAll(/^### `([^`]+)` (\S+)$/gmu)];
  const described = headings.map(([, name, version]) => `${name} ${version}`).sort();
  const wanted = Object.entries(manifest.dependencies).map(([name, version]) => `${name} ${version}`);
  assert.deepEqual(described, wanted.sort());
});

test("the decision record on tools names each one with its version", () => {
  const record = text("docs/decisions/0001-tools.md");
  for (const [name, version] of Object.entries(manifest.devDependencies)) {
    assert.ok(record.includes(`| \`${name}\` ${version} |`), `${name} ${version}`);
  }
});

test("the scripts that a fresh clone is told to run install and build first", () => {
  for (const name of ["demo", "test"]) {
    assert.match(manifest.scripts[name] ?? "", /^node scripts\/bootstrap\.mjs && node scripts\/build\.mjs && /u, name);
  }
  for (const script of Object.values(manifest.scripts)) {
    for (const [path] of script.matchAll(/scripts\/[\w.-]+\.mjs/gu)) assert.ok(statSync(join(ROOT, path)).isFile());
  }
});

test("the package holds the build, the documents and the licence, and neither sources nor tests", () => {
  const run = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: ROOT, encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  const report: unknown = JSON.parse(run.stdout);
  // npm 11 writes a list; later ones an object by package name.
  const [packed] = Object.values(report as Record<string, { files: { path: string; mode: number }[] }>);
  assert.ok(packed !== undefined);
  const paths = packed.files.map((file) => file.path);
  for (const path of ["package.json", "LICENSE", "CHANGELOG.md", "dist/cli/coffer.cjs", "dist/cli/program.js"])
    assert.ok(paths.includes(path), path);
  const others = paths.filter(
    (path) => !/^(?:dist\/|docs\/|README\.md$|CHANGELOG\.md$|LICENSE$|package\.json$)/u.test(path),
  );
  assert.deepEqual(others, []);
  const odd = paths.filter(
    (path) => path.startsWith("dist/") && !/^dist\/(?:[a-z0-9/-]+\.js|cli\/coffer\.cjs)$/u.test(path),
  );
  assert.deepEqual(odd, []);
});

test("the built command starts with a line that finds node, and may be executed", () => {
  const main = join(ROOT, manifest.bin["coffer"] ?? "");
  assert.ok(readFileSync(main, "utf8").startsWith("#!/usr/bin/env node\n"));
  assert.equal(statSync(main).mode & 0o111, 0o111);
});

/** Files of ours with one of `endings` below `folder`, as paths from the root. */
function ours(folder: string, endings: RegExp): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => !name.includes("node_modules"))
    .filter((name) => endings.test(name))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`);
}

test("every file of code names its licence first; all but the tests then say what they are", () => {
  const files = ["src", "test", "scripts", "bench"].flatMap((folder) => ours(folder, /\.(?:ts|mjs)$/u));
  assert.ok(files.length > 50);
  const licence = /^(?:#!\/usr\/bin\/env node\n)?\/\/ SPDX-License-Identifier: Apache-2\.0\n/u;
  const described = new RegExp(`${licence.source}/\\*\\*`, "u");
  const wanted = (path: string) => (path.endsWith(".test.ts") ? licence : described);
  assert.deepEqual(
    files.filter((path) => !wanted(path).test(text(path))),
    [],
  );
});

test(`no source is longer than ${MAX_LINES} lines, and no folder is called utils`, () => {
  const files = ours("src", /\.ts$/u);
  assert.deepEqual(
    files.filter((path) => text(path).split("\n").length > MAX_LINES + 1),
    [],
  );
  assert.deepEqual(
    files.filter((path) => /\/(?:utils?|helpers?|misc)(?:\/|\.ts$)/u.test(path)),
    [],
  );
});
