// SPDX-License-Identifier: Apache-2.0
/**
 * The scripts that guard everything else, run in a small project of their own: a runner that cannot fail, or an install
 * that believes itself done, would make every other test worthless.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A project with our scripts and `files`; with our packages too unless `packages` is false. */
function project(files: Readonly<Record<string, string>>, { packages = true } = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "coffer-scripts-"));
  folders.push(folder);
  cpSync(join(ROOT, "scripts"), join(folder, "scripts"), { recursive: true });
  if (packages) {
    mkdirSync(join(folder, "node_modules"));
    for (const name of ["tsx", "typescript", "esbuild", "@esbuild"]) {
      symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
    }
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly last: string | undefined;
}

/** Runs one script there, with an environment that says nothing of this test run. */
function run(folder: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Ended {
  const { NODE_TEST_CONTEXT: _, CI: __, npm_execpath: ___, ...rest } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: "utf8",
    env: { ...rest, ...env },
  });
  return { status, stdout, stderr, last: stdout.trimEnd().split("\n").at(-1) };
}

/** What the scripts did not clear away of their own, one name a line. */
function leftBehind(folder: string): string {
  return readdirSync(join(folder, ".tmp")).join("\n");
}

const HEAD = 'import test, { describe } from "node:test";\nimport assert from "node:assert/strict";\n';
const GOOD = `${HEAD}test("good", () => {});\n`;
const BAD = `${HEAD}test("bad", () => assert.equal(1, 2));\n`;
const SKIPS = `${HEAD}test("good", () => {});\ntest("skipped", { skip: "needs a moon" }, () => {});\n`;
const ALLOWED = '{"skips":[{"reason":"^needs a moon$","why":"there is none here"}]}';

describe("scripts/test.mjs", () => {
  const runner = (files: Record<string, string>, args: readonly string[] = [], env: Record<string, string> = {}) =>
    run(project(files), ["scripts/test.mjs", ...args], env);

  test("all passed", () => {
    const { status, last } = runner({ "test/a/x.test.ts": GOOD, "test/y.test.ts": GOOD });
    assert.deepEqual({ status, last }, { status: 0, last: "2 passed, 0 failed, 0 skipped" });
  });

  test("--fast and --slow share the files between them", () => {
    const files = { "test/x.test.ts": GOOD, "test/a/y.slow.test.ts": GOOD, "test/slow/z.test.ts": GOOD };
    assert.equal(runner(files, ["--fast"]).last, "1 passed, 0 failed, 0 skipped");
    assert.equal(runner(files, ["--slow"]).last, "2 passed, 0 failed, 0 skipped");
    assert.equal(runner(files, ["--fast", "--slow"]).status, 2);
  });

  test("--covered and --rest share the files between them, by covered.json", () => {
    const tests = { "test/x.test.ts": GOOD, "test/a/y.slow.test.ts": GOOD, "test/slow/z.test.ts": GOOD };
    const listed = (...names: string[]) => ({ ...tests, "scripts/covered.json": JSON.stringify({ tests: names }) });
    const counts = (names: string[]) =>
      ["--covered", "--rest"].map((choice) => runner(listed(...names), [choice]).last?.split(" ")[0]);
    assert.deepEqual(counts(["test/a/y.slow.test.ts"]), ["2", "1"]);
    assert.deepEqual(counts(["test/slow/z.test.ts"]), ["2", "1"]);
    assert.deepEqual(counts([]), ["1", "2"]);
    for (const wrong of ["test/none.test.ts", "test/x.test.ts"]) {
      assert.equal(runner(listed(wrong), ["--covered"]).status, 2, wrong);
      assert.equal(runner(listed(wrong), ["--rest"]).status, 2, wrong);
    }
  });

  test("--quick leaves out of the fast ones what lengthy.json lists", () => {
    const tests = { "test/x.test.ts": GOOD, "test/a/y.test.ts": BAD, "test/slow/z.test.ts": BAD };
    const listed = (...names: string[]) => ({ ...tests, "scripts/lengthy.json": JSON.stringify({ tests: names }) });
    assert.equal(runner(listed("test/a/y.test.ts"), ["--quick"]).last, "1 passed, 0 failed, 0 skipped");
    assert.equal(runner(listed(), ["--quick"]).last, "1 passed, 1 failed, 0 skipped");
    assert.equal(runner(listed("test/slow/z.test.ts"), ["--quick"]).status, 2);
    assert.equal(runner(listed("test/none.test.ts"), ["--quick"]).status, 2);
  });

  test("the steps of .ci/run run every test once", () => {
    const steps = readFileSync(join(ROOT, ".ci/run"), "utf8");
    assert.match(steps, /^step 'coverage gate' node scripts\/coverage\.mjs$/mu);
    assert.match(readFileSync(join(ROOT, "scripts/coverage.mjs"), "utf8"), /"scripts\/test\.mjs", "--covered"\]/u);
    assert.match(steps, /^step 'slow tests' npm test -- --rest$/mu);
  });

  test("one failed", () => {
    const { status, last } = runner({ "test/x.test.ts": GOOD, "test/y.test.ts": BAD });
    assert.deepEqual({ status, last }, { status: 1, last: "1 passed, 1 failed, 0 skipped" });
  });

  test("no test file at all, or none that the filter takes", () => {
    for (const args of [[], ["nowhere"]]) {
      const { status, last } = runner(args.length === 0 ? {} : { "test/x.test.ts": GOOD }, args);
      assert.deepEqual({ status, last }, { status: 1, last: "0 passed, 0 failed" });
    }
  });

  test("a file without a test is a failure", () => {
    const { status, stdout, last } = runner({ "test/x.test.ts": GOOD, "test/empty.test.ts": "export {};\n" });
    assert.match(stdout, /the file ran no test/u);
    assert.deepEqual({ status, last }, { status: 1, last: "1 passed, 1 failed, 0 skipped" });
  });

  test("a file that does not load is a failure", () => {
    for (const text of ['import "./nowhere.ts";\n', "process.exit(0);\n", "throw new Error('x');\n"]) {
      const { status, last } = runner({ "test/x.test.ts": GOOD, "test/y.test.ts": text });
      assert.deepEqual({ status, last }, { status: 1, last: "1 passed, 1 failed, 0 skipped" }, text);
    }
  });

  test("everything skipped is a failure, also where the reason is allowed", () => {
    const text = `${HEAD}test("s", { skip: "needs a moon" }, () => {});\n`;
    const { status, last } = runner({ "test/x.test.ts": text, "scripts/allowed-skips.json": ALLOWED });
    assert.deepEqual({ status, last }, { status: 1, last: "0 passed, 0 failed, 1 skipped" });
  });

  test("a skip is shown; in CI its reason has to be listed", () => {
    const files = { "test/x.test.ts": SKIPS };
    const here = runner(files);
    assert.match(here.stdout, /^skipped: skipped: needs a moon \(not in allowed-skips\.json\)$/mu);
    assert.equal(here.status, 0);
    const ci = runner(files, [], { CI: "true" });
    assert.deepEqual([ci.status, ci.last], [1, "1 passed, 0 failed, 1 skipped"]);
    const listed = runner({ ...files, "scripts/allowed-skips.json": ALLOWED }, [], { CI: "true" });
    assert.deepEqual([listed.status, listed.last], [0, "1 passed, 0 failed, 1 skipped"]);
  });

  test("in CI no reason, a to-do and a skipped suite need an entry as well", () => {
    const forms = [
      'test("s", { skip: true }, () => {});',
      'test("s", (t) => t.skip());',
      'test("s", { todo: true }, () => assert.fail());',
      'test.todo("s");',
      'describe("s", { skip: "all of it" }, () => { test("inner", () => {}); });',
      'test("outer", async (t) => { await t.test("s", { skip: true }, () => {}); });',
    ];
    for (const form of forms) {
      const files = { "test/x.test.ts": `${GOOD}${form}\n`, "scripts/allowed-skips.json": ALLOWED };
      const { status, stdout } = runner(files, [], { CI: "true" });
      assert.equal(status, 1, form);
      assert.match(stdout, /1 skipped for a reason that is not allowed in CI/u, form);
    }
  });

  test("--fast leaves out test/slow, and nothing else", () => {
    const files = { "test/slow/x.test.ts": BAD, "test/slower/x.test.ts": GOOD };
    assert.equal(runner(files, ["--fast"]).last, "1 passed, 0 failed, 0 skipped");
    assert.equal(runner(files).last, "1 passed, 1 failed, 0 skipped");
  });

  test("--golden is handed on, and only then", () => {
    const text = `${HEAD}test("golden", () => assert.equal(process.env.UPDATE_GOLDEN, "1"));\n`;
    assert.equal(runner({ "test/x.test.ts": text }, ["--golden"]).status, 0);
    assert.equal(runner({ "test/x.test.ts": text }).status, 1);
  });

  test("an option that is not known is refused", () => {
    assert.equal(runner({ "test/x.test.ts": GOOD }, ["--fasst"]).status, 2);
  });

  test("the store and the agent of the person who runs them stay out of it", () => {
    const text = `${HEAD}test("clean", () => assert.equal(process.env.COFFER_STORE ?? process.env.SSH_AUTH_SOCK, undefined));\n`;
    const { status } = runner({ "test/x.test.ts": text }, [], { COFFER_STORE: "/somewhere", SSH_AUTH_SOCK: "/agent" });
    assert.equal(status, 0);
  });
});

describe("scripts/build.mjs", () => {
  const settings = Object.fromEntries(
    ["tsconfig.json", "tsconfig.build.json"].map((name) => [name, readFileSync(join(ROOT, name), "utf8")]),
  );
  const files = {
    ...settings,
    "tsconfig.json": settings["tsconfig.json"]?.replace('["node"]', "[]") ?? "",
    "package.json": '{"type":"module"}',
    "package-lock.json": "{}",
    "src/cli/main.ts": '#!/usr/bin/env node\nimport { a } from "../a.ts";\nexport const b: string = a;\n',
    "src/a.ts": 'export const a = "one";\n',
  };
  const built = (folder: string, name: string) => readFileSync(join(folder, "dist", name), "utf8");

  test("builds, makes the command executable, and leaves nothing else behind", () => {
    const folder = project(files);
    const { status, stdout, stderr } = run(folder, ["scripts/build.mjs"]);
    assert.deepEqual([status, stdout, stderr], [0, "", ""]);
    assert.equal(statSync(join(folder, "dist/cli/main.js")).mode & 0o111, 0o111);
    assert.match(built(folder, "cli/main.js"), /^#!\/usr\/bin\/env node\n[\s\S]*from "\.\.\/a\.js"/u);
    assert.equal(statSync(join(folder, "dist/cli/coffer.cjs")).mode & 0o111, 0o111);
    assert.match(built(folder, "cli/coffer.cjs"), /^#!\/usr\/bin\/env node\n[\s\S]*"one"/u);
    assert.equal(leftBehind(folder), "");
  });

  test("builds again only when a source or the result has changed, and drops what is gone", () => {
    const folder = project({ ...files, "src/gone.ts": "export const gone = 1;\n" });
    const old = new Date(1000);
    const build = () => {
      assert.equal(run(folder, ["scripts/build.mjs"]).status, 0);
      const made = statSync(join(folder, "dist/a.js")).mtimeMs !== old.getTime();
      utimesSync(join(folder, "dist/a.js"), old, old);
      return made;
    };
    assert.equal(build(), true);
    assert.equal(build(), false);
    writeFileSync(join(folder, "src/a.ts"), 'export const a = "two";\n');
    assert.equal(build(), true);
    assert.match(built(folder, "a.js"), /two/u);
    rmSync(join(folder, "src/gone.ts"));
    assert.equal(build(), true);
    assert.equal(existsSync(join(folder, "dist/gone.js")), false);
    writeFileSync(join(folder, "dist/cli/main.js"), "changed by hand");
    assert.equal(build(), true);
    assert.match(built(folder, "cli/main.js"), /^#!/u);
    assert.equal(build(), false);
  });

  test("a build that fails leaves the one before as it was", () => {
    const folder = project(files);
    assert.equal(run(folder, ["scripts/build.mjs"]).status, 0);
    for (const text of ["export const a: string = 1;\n", "export const a = \n"]) {
      writeFileSync(join(folder, "src/a.ts"), text);
      assert.notEqual(run(folder, ["scripts/build.mjs"]).status, 0);
      assert.match(built(folder, "a.js"), /one/u);
    }
  });

  test("a command without its first line is refused", () => {
    const folder = project({ ...files, "src/cli/main.ts": "export const b = 1;\n" });
    const { status, stderr } = run(folder, ["scripts/build.mjs"]);
    assert.equal(status, 1);
    assert.match(stderr, /must start with #!\/usr\/bin\/env node/u);
    assert.equal(leftBehind(folder), "");
  });

  test("without the compiler: an error, but not as npm's prepare", () => {
    const folder = project(files, { packages: false });
    assert.equal(run(folder, ["scripts/build.mjs"]).status, 1);
    const { status, stderr } = run(folder, ["scripts/build.mjs", "--if-installed"]);
    assert.deepEqual([status, stderr], [0, ""]);
  });
});

describe("scripts/bootstrap.mjs", () => {
  const entry = (version: string, more: object = {}) => ({ version, integrity: `sha512-${version}`, ...more });
  const packages = { "node_modules/a": entry("1.0.0"), "node_modules/b": entry("2.0.0", { optional: true }) };
  const lockOf = (all: object) => JSON.stringify({ packages: { "": { name: "x" }, ...all } });

  /** Runs it with an npm that only notes that it was called, and installs what the lock says. */
  function bootstrap(installed: object | undefined, { npmFails = false } = {}) {
    const folder = project({ "package.json": "{}", "package-lock.json": lockOf(packages) }, { packages: false });
    if (installed !== undefined) {
      mkdirSync(join(folder, "node_modules"));
      writeFileSync(join(folder, "node_modules/.package-lock.json"), JSON.stringify({ packages: installed }));
      writeFileSync(join(folder, "node_modules/old"), "");
    }
    const npm = join(folder, "bin", "npm");
    mkdirSync(dirname(npm));
    writeFileSync(
      npm,
      npmFails
        ? "#!/bin/sh\necho 'no network' >&2\nexit 1\n"
        : '#!/bin/sh\necho "$@" > "$COFFER_TEST_CALLED"\nmkdir node_modules\ncp package-lock.json node_modules/.package-lock.json\n',
    );
    chmodSync(npm, 0o755);
    const called = join(folder, "called");
    const ended = run(folder, ["scripts/bootstrap.mjs"], {
      PATH: `${dirname(npm)}${delimiter}${process.env["PATH"] ?? ""}`,
      COFFER_TEST_CALLED: called,
    });
    const args = existsSync(called) ? readFileSync(called, "utf8").trim() : undefined;
    return { ...ended, folder, args };
  }

  test("nothing installed: npm ci without scripts", () => {
    const { status, args, folder } = bootstrap(undefined);
    assert.equal(status, 0);
    assert.match(args ?? "", /^ci --ignore-scripts --no-audit --no-fund --prefix /u);
    assert.ok(existsSync(join(folder, "node_modules/.package-lock.json")));
    assert.equal(leftBehind(folder), "");
  });

  test("all installed: silent, with or without what is optional", () => {
    for (const installed of [packages, { "node_modules/a": packages["node_modules/a"] }]) {
      const { status, args, stdout, stderr } = bootstrap(installed);
      assert.deepEqual({ status, args, stdout, stderr }, { status: 0, args: undefined, stdout: "", stderr: "" });
    }
  });

  test("anything else than the lock asks for: installed anew, and the old tree gone", () => {
    const wrong: object[] = [
      {},
      { "node_modules/b": packages["node_modules/b"] },
      { "node_modules/a": entry("1.0.1") },
      { "node_modules/a": { version: "1.0.0", integrity: "sha512-other" } },
      { "node_modules/a": { version: "1.0.0" } },
      { ...packages, "node_modules/b": entry("2.0.1") },
      { ...packages, "node_modules/c": entry("1.0.0") },
    ];
    for (const installed of wrong) {
      const { status, args, folder } = bootstrap(installed);
      assert.equal(status, 0);
      assert.notEqual(args, undefined, JSON.stringify(installed));
      assert.equal(existsSync(join(folder, "node_modules/old")), false);
    }
  });

  test("npm fails: its words, a failure, and the old tree as it was", () => {
    const { status, stderr, folder } = bootstrap({}, { npmFails: true });
    assert.equal(status, 1);
    assert.match(stderr, /npm ci failed \(exit 1\):\nno network/u);
    assert.ok(existsSync(join(folder, "node_modules/old")));
    assert.equal(leftBehind(folder), "");
  });
});

describe("scripts/soak.mjs", () => {
  const build = { "scripts/build.mjs": "" };
  const soak = (text: string, args: readonly string[] = ["some", "--minutes", "0.001"]) =>
    run(project({ ...build, "test/soak/some.ts": text }), ["scripts/soak.mjs", ...args]);
  const WAITS =
    "const s = Number(process.env.COFFER_TEST_SECONDS); setTimeout(() => console.log(String(s)), s * 1000 + 5);";

  test("one that works for its time and ends well", () => {
    for (const name of ["some", "all"]) {
      const { status, stdout, last } = soak(WAITS, [name, "--minutes", "0.001"]);
      assert.equal(status, 0, stdout);
      assert.match(stdout, /^0\.06\n/u);
      assert.match(last ?? "", /^soak some: ok \(\d+\.\d s of 0\.1 s\)$/u);
    }
  });

  test("one that fails, ends early, does not load, or is not there", () => {
    const early = soak("", ["some", "--minutes", "1"]);
    assert.deepEqual([early.status, /ended before its time/u.test(early.last ?? "")], [1, true]);
    for (const text of ["process.exit(3);", 'import "./nowhere.ts";', "throw new Error('x');"]) {
      const { status, last } = soak(text);
      assert.equal(status, 1, text);
      assert.match(last ?? "", /^soak some: FAILED with [13] /u);
    }
    for (const args of [["other"], [], ["some", "twice"], ["some", "--minutes"], ["some", "--minutes", "-1"]]) {
      assert.equal(soak(WAITS, args).status, 1, args.join(" "));
    }
    assert.equal(run(project(build), ["scripts/soak.mjs", "all"]).status, 1, "nothing to run is no success");
  });

  test("a build that fails ends it before anything runs", () => {
    const folder = project({ "scripts/build.mjs": "process.exit(1);", "test/soak/some.ts": WAITS });
    const { status, stdout } = run(folder, ["scripts/soak.mjs", "some", "--minutes", "0.001"]);
    assert.deepEqual({ status, stdout }, { status: 1, stdout: "" });
  });
});
