// SPDX-License-Identifier: Apache-2.0
/**
 * `--json`: each command of the tree, for a success and for a failure, prints one object that its schema in docs/schemas/
 * describes to the last member. A command that lacks either fails here.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ERRORS, type ErrorCode, EXIT } from "../../src/base/errors.ts";
import { everyPage, pagesOf } from "../../src/cli/pages.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { Ui } from "../../src/cli/ui.ts";
import { faultsOf, readSchema } from "../support/json-schema.ts";
import { quietIo } from "../support/quiet-io.ts";
import { inWorld, type Ran, runLine, type World } from "../support/transcripts.ts";

/** Every command that does something: `coffer` itself and groups that only hold commands do not. */
const COMMANDS = everyPage(pagesOf(buildProgram(quietIo, new Ui(quietIo), { exit: 0 })))
  .filter(({ path, arguments: given, commands }) => path.length > 1 && (given.length > 0 || commands.length === 0))
  .map(({ path }) => path.slice(1).join(" "));
const fileOf = (command: string): string => `${command.replaceAll(" ", "-")}.json`;

type Shape = Readonly<Record<string, unknown>>;

/** A command line with --json behind it; which command it is, and the one object that it printed. */
class Script {
  readonly done = new Set<string>();
  readonly refused = new Set<string>();
  private readonly world: World;
  constructor(world: World) {
    this.world = world;
  }

  async tool(...lines: readonly string[]): Promise<void> {
    for (const line of lines) await runLine(this.world, line);
  }

  /** Succeeds, or ends with a status that is an answer. */
  async ok(line: string, exit: number = EXIT.ok): Promise<Shape> {
    const { command, ran, document } = await this.run(line);
    assert.equal(ran.exit, exit, `${line}: ${ran.err}`);
    assert.deepEqual(faultsOf(fileOf(command), document), [], line);
    this.done.add(command);
    return document;
  }

  async no(line: string, code: ErrorCode): Promise<Shape> {
    const { command, ran, document } = await this.run(line);
    const told = Object.keys(document).join() === "schemaVersion,error" ? "error.json" : fileOf(command);
    assert.deepEqual(faultsOf(told, document), [], line);
    const { error } = document as { readonly error: Readonly<Record<"code" | "message" | "hint", string>> };
    assert.deepEqual([error.code, ran.exit, error.hint], [code, ERRORS[code].exit, ERRORS[code].hint], line);
    assert.ok(ran.err.includes(`coffer: error: ${error.message} [${code}]`), ran.err);
    this.refused.add(command);
    return document;
  }

  private async run(line: string): Promise<{ command: string; ran: Ran; document: Shape }> {
    const ran = await runLine(this.world, `coffer ${line} --json`);
    const command = COMMANDS.filter((known) => `${line} `.startsWith(`${known} `)).sort(
      (a, b) => b.length - a.length,
    )[0];
    assert.doesNotMatch(ran.out.slice(0, -1), /[^\P{Cc}\n]/u, line);
    return { command: command ?? "", ran, document: JSON.parse(ran.out) as Shape };
  }
}

const TWO = { principals: ["alice", "bob"], threshold: 2 };
const PEOPLE = ["alice", "bob"].map((who) => [who, { keys: [{ key: `@${who}`, status: "active" }] }]);
/** Two of two for everything, so that acts that wait for others are seen too. */
const POLICY = {
  ...{ principals: Object.fromEntries(PEOPLE), rootRole: TWO },
  rules: [{ names: "*/*@*", publishers: TWO.principals, approvers: TWO, revokers: TWO }],
};

async function keysAndStore(script: Script): Promise<void> {
  await script.no("key new alice", "PASSPHRASE_NEEDED");
  for (const who of ["alice", "bob"]) await script.ok(`key new ${who} --no-passphrase`);
  await script.ok("key list");
  await script.tool("write home/.config/coffer/keys/junk.pub no key");
  await script.no("key list", "KEY_INVALID");
  await script.tool("rm home/.config/coffer/keys/junk.pub");
  await script.ok("key show alice");
  await script.no("key show nobody", "FILE_NOT_FOUND");
  await script.no("init my.coffer", "USAGE");
  await script.tool(`policy policy.json '${JSON.stringify(POLICY)}'`);
  await script.ok("init my.coffer --policy policy.json");
  await script.no("policy show --store none", "STORE_NOT_FOUND");
}

async function admission(script: Script): Promise<void> {
  const none = await script.ok("list --store my.coffer");
  assert.deepEqual(none["names"], []);
  await script.no("list --store none", "STORE_NOT_FOUND");
  await script.ok("policy show --store my.coffer");
  await script.tool("gguf tiny.gguf", "gguf other.gguf 2", "pickle bad.pkl", "hf folder");
  await script.ok("add tiny.gguf --name acme/tiny --store my.coffer");
  await script.ok(
    "add folder --name acme/many --source https://a.example/x --revision 1 --license MIT --store my.coffer",
  );
  await script.no("add bad.pkl --name acme/bad --store my.coffer", "ADMISSION_REFUSED");
  await script.ok("add bad.pkl --keep --name acme/bad --store my.coffer");
  await script.no("propose acme/none --store my.coffer --as alice", "NOT_QUARANTINED");
  await script.ok("propose acme/tiny --store my.coffer --as alice");
  await script.no("approve acme/many --store my.coffer --as bob --yes", "NOT_PROPOSED");
}

async function promotion(script: Script, world: World): Promise<void> {
  // With a terminal too: --json asks nothing.
  world.answers.push("y");
  await script.no("approve acme/tiny --store my.coffer --as alice", "CONFIRM_NEEDED");
  assert.deepEqual(world.answers.splice(0), ["y"]);
  await script.ok("approve acme/tiny --store my.coffer --as alice --yes");
  await script.no("promote acme/tiny --store my.coffer", "APPROVALS_SHORT");
  const errand = await script.ok("approve acme/tiny --store my.coffer --out errand");
  assert.ok("written" in errand);
  await script.tool("sign errand/acme-tiny-main.statement coffer-statement bob");
  await script.ok("show acme/tiny --store my.coffer");
  await script.ok("approve acme/tiny --store my.coffer --in errand/acme-tiny-main.statement.sig");
  await script.ok("propose acme/many --store my.coffer --as bob");
  await script.ok("promote --store my.coffer");
}

async function answers(script: Script): Promise<void> {
  const verdict = await script.ok("resolve acme/tiny --store my.coffer");
  const { manifest } = verdict as { readonly manifest: { readonly id: string } };
  await script.no("resolve acme/many --store my.coffer", "NOT_TRUSTED");
  await script.no("resolve acme/none --store my.coffer", "NAME_NOT_FOUND");
  await script.ok("resolve acme/tiny --at 7 --store my.coffer", EXIT.past);
  await script.no("resolve acme/tiny --at 2 --store my.coffer", "NOT_TRUSTED");
  await script.no("resolve acme/tiny --at soon --store my.coffer", "USAGE");
  await script.ok("list --store my.coffer");
  await script.ok("list --at 2 --store my.coffer");
  for (const what of ["acme/many", "acme/tiny", "acme/tiny --at 4", manifest.id]) {
    await script.ok(`show ${what} --store my.coffer`);
  }
  await script.no("show acme/none --store my.coffer", "NAME_NOT_FOUND");
  await script.ok("path acme/tiny --store my.coffer");
  await script.no("path acme/many --store my.coffer", "NOT_TRUSTED");
  await script.ok("checkout acme/tiny out --store my.coffer");
  await script.no("checkout acme/tiny out --store my.coffer", "EXISTS");
  for (const what of ["", " --limit 1", " --entry 3", " --verify", " acme/tiny"]) {
    await script.ok(`log${what} --store my.coffer`);
  }
  await script.no("log --entry 99 --store my.coffer", "ENTRY_NOT_FOUND");
}

async function bundles(script: Script): Promise<void> {
  await script.ok("bundle create acme/tiny 'acme/*@*' --out stick --store my.coffer");
  await script.ok("bundle create acme/tiny --candidates --out errand.tar --store my.coffer");
  await script.no("bundle create acme/tiny --out - --store my.coffer", "USAGE");
  await script.ok("bundle inspect stick");
  await script.no("bundle inspect nothing", "FILE_NOT_FOUND");
  await script.ok("bundle verify stick");
  await script.no("bundle verify nothing", "FILE_NOT_FOUND");
}

async function denials(script: Script): Promise<void> {
  await script.no("reject acme/many --store my.coffer --as bob", "USAGE");
  await script.ok("reject acme/many --reason no --store my.coffer --out errand");
  await script.tool("sign errand/acme-many-main.refusal coffer-refusal bob");
  await script.ok("reject acme/many --store my.coffer --in errand/acme-many-main.refusal.sig");
  await script.ok("reject acme/many --reason no --store my.coffer --as alice --yes");
  const planned = await script.ok("revoke acme/tiny --dry-run --store my.coffer");
  assert.equal(planned["outcome"], "planned");
  await script.no("revoke acme/tiny --store my.coffer --as alice", "CONFIRM_NEEDED");
  const waiting = await script.ok("revoke acme/tiny --reason leaks --store my.coffer --as alice --yes");
  assert.equal(waiting["outcome"], "waiting");
  await script.ok("revoke acme/tiny --store my.coffer --as bob --yes");
  const again = await script.ok("revoke acme/tiny --store my.coffer --as bob --yes");
  assert.equal(again["outcome"], "already");
  await script.no("resolve acme/tiny --store my.coffer", "REVOKED");
  await script.ok("list --store my.coffer");
}

async function deletions(script: Script): Promise<void> {
  const outcome = async (line: string, expected: string): Promise<void> => {
    assert.equal((await script.ok(`delete ${line} --store my.coffer`))["outcome"], expected);
  };
  await outcome("acme/tiny --dry-run", "planned");
  await script.no("delete acme/tiny --store my.coffer --as alice", "CONFIRM_NEEDED");
  await outcome("acme/tiny --reason leaks --as alice --yes", "waiting");
  await outcome("acme/tiny --as bob --yes", "deleted");
  await outcome("acme/tiny --as bob --yes", "already");
  await script.no("delete acme/many --store my.coffer --as bob --yes", "NOT_REVOKED");
  await outcome("acme/many --revoke --as alice --yes", "revocation-waiting");
  await outcome("acme/many --revoke --as bob --yes", "waiting");
  await script.ok("log --store my.coffer");
  await script.ok("list --limit 1 --store my.coffer");
}

async function transfer(script: Script): Promise<void> {
  const asked = await script.no("clone my.coffer cloned.coffer", "FOREIGN_ROOT");
  const { details } = (asked as { readonly error: { readonly details: readonly string[] } }).error;
  const root = /--root ([^ :]+:[0-9a-f]{64})/u.exec(details.join())?.[1] ?? "";
  const cloned = await script.ok(`clone my.coffer cloned.coffer --root ${root}`);
  assert.equal((cloned as { readonly imported: { readonly sameRoot: boolean } }).imported.sameRoot, true);
  await script.ok("pull my.coffer --store cloned.coffer");
  const again = await script.ok("bundle import stick --store cloned.coffer");
  assert.deepEqual(again["entries"], []);
  await script.no("bundle import nothing --store cloned.coffer", "FILE_NOT_FOUND");
  await script.no("pull none --store cloned.coffer", "REMOTE_NOT_FOUND");
  await script.ok("push stick --store my.coffer");
  await script.ok("pull stick --store cloned.coffer");
  await script.no("push none --store my.coffer", "REMOTE_NOT_FOUND");
  await script.no("push http://127.0.0.1:1 --store my.coffer", "USAGE");
  await script.no("pull http://127.0.0.1:1 --store cloned.coffer", "REMOTE_FAILED");
  await script.no("clone http://127.0.0.1:1 web.coffer", "REMOTE_FAILED");
  assert.deepEqual((await script.ok("log fork show --store cloned.coffer"))["forks"], []);
  await script.no("log fork show short --store cloned.coffer", "DIGEST_INVALID");
  await script.no(`log fork show ${"0".repeat(64)} --store cloned.coffer`, "REMOTE_NOT_FOUND");
  const forgetful = await script.ok(`clone my.coffer forgetful.coffer --root ${root}`);
  const { store } = (forgetful as { readonly imported: { readonly store: string } }).imported;
  await script.no(`remote forget ${store.slice(0, 12)} --store forgetful.coffer`, "DIGEST_INVALID");
  await script.ok(`remote forget ${store} --store forgetful.coffer`);
  await script.no(`remote forget ${store} --store forgetful.coffer`, "REMOTE_NOT_FOUND");
  await script.tool("copy my.coffer twin.coffer");
  await script.ok("add tiny.gguf --name acme/first --store my.coffer");
  await script.ok("pull my.coffer --store cloned.coffer");
  await script.ok("add tiny.gguf --name acme/second --store twin.coffer --state twin-state");
  await script.no("pull twin.coffer --store cloned.coffer", "LOG_FORKED");
  const { forks } = await script.ok("log fork show --store cloned.coffer", ERRORS.LOG_FORKED.exit);
  assert.equal((forks as readonly unknown[]).length, 1);
  await script.no(`remote forget ${store} --store cloned.coffer`, "LOG_FORKED");
}

async function upkeep(script: Script): Promise<void> {
  await script.ok("du --store my.coffer");
  await script.no("du acme/none --store my.coffer", "NAME_NOT_FOUND");
  await script.ok("doctor --store my.coffer");
  await script.ok("doctor");
  await script.no("doctor --store none", "STORE_NOT_FOUND");
  await script.ok("gc --dry-run --older-than 0 --store my.coffer");
  await script.ok("gc --store my.coffer");
  await script.no("gc --older-than soon --store my.coffer", "USAGE");
  await script.ok("git export --store my.coffer");
  await script.no("git export --store none", "STORE_NOT_FOUND");
  await script.ok("fsck --store my.coffer");
  await script.no("fsck --store none", "STORE_NOT_FOUND");
  await script.ok("completion bash");
  await script.no("completion tcsh", "USAGE");
  await script.ok("serve --port 0 --store my.coffer");
  await script.no("serve --port high --store my.coffer", "USAGE");
}

async function receipts(script: Script): Promise<void> {
  await script.ok("receipt create own.receipt --store my.coffer");
  await script.ok("receipt create own.receipt --store my.coffer");
  await script.no("receipt create policy.json --store my.coffer", "EXISTS");
  await script.ok("receipt show own.receipt");
  await script.no("receipt show policy.json", "JSON_INVALID");
  await script.ok("init other.coffer --policy policy.json");
  await script.ok("receipt create other.receipt --store other.coffer");
  const { undelivered } = await script.ok("receipt verify other.receipt --store my.coffer", EXIT.incomplete);
  assert.ok(Array.isArray(undelivered) && undelivered.length > 0);
  await script.no("receipt verify own.receipt --store my.coffer", "USAGE");
  for (const act of ["receipt show", "receipt verify"]) {
    const { error } = await script.no(`${act} my.coffer/coffer.json --store my.coffer`, "DOCUMENT_INVALID");
    assert.match((error as { readonly message: string }).message, /^coffer\.json: receipt/, "the file is named");
  }
  await script.ok("remote add other other.coffer --store my.coffer");
  await script.no("remote add other /elsewhere --store my.coffer", "EXISTS");
  await script.ok("remote list --store my.coffer");
  await script.no("remote list --store none", "STORE_NOT_FOUND");
  await script.ok("remote status --store my.coffer", EXIT.incomplete);
  await script.ok("remote status other --receipt other.receipt --store my.coffer", EXIT.incomplete);
  await script.no("remote status none --store my.coffer", "REMOTE_NOT_FOUND");
  await script.ok("remote remove other --store my.coffer");
  await script.no("remote remove other --store my.coffer", "REMOTE_NOT_FOUND");
}

/** Goes on from a copy that was made before the last entries. */
async function restore(script: Script): Promise<void> {
  await script.no("log adopt-restore --store my.coffer", "USAGE");
  await script.tool("copy my.coffer backup");
  await script.ok("add other.gguf --name acme/other --store my.coffer");
  await script.tool("rm my.coffer", "copy backup my.coffer");
  await script.no("log adopt-restore --store my.coffer", "RESTORE_UNCONFIRMED");
  const log = await script.ok("log --limit 1 --no-memory --store my.coffer");
  const [newest] = (log as { readonly entries: readonly { readonly id: string }[] }).entries;
  await script.ok(`log adopt-restore --head ${newest?.id} --accept-lost-revocations --store my.coffer`);
}

test("json: every command says with --json what its schema says, done or refused", async () => {
  await inWorld("json", async (world) => {
    const script = new Script(world);
    await keysAndStore(script);
    await admission(script);
    await promotion(script, world);
    await answers(script);
    await bundles(script);
    await transfer(script);
    await denials(script);
    await deletions(script);
    await upkeep(script);
    await receipts(script);
    await restore(script);
    assert.deepEqual([...script.done].sort(), [...COMMANDS].sort(), "commands that did something");
    assert.deepEqual([...script.refused].sort(), [...COMMANDS].sort(), "commands that were refused");
  });
});

test("json: a schema for each command, and no other", () => {
  const folder = new URL("../../docs/schemas/", import.meta.url);
  assert.deepEqual(readdirSync(folder).sort(), ["common.json", "error.json", ...COMMANDS.map(fileOf)].sort());
  const page = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
  for (const command of COMMANDS) {
    const row = page.split("\n").find((line) => line.startsWith(`| \`${command}\` | `)) ?? "";
    assert.ok(
      row.endsWith(`](schemas/${fileOf(command)}) |`),
      `${command}: expected a row in the table of docs/cli.md`,
    );
    assert.match(String(readSchema(fileOf(command))["title"]), new RegExp(`^coffer ${command} --json`, "u"));
  }
});

const unread: readonly string[] = ["", "key", "lst", "list --at", "list --no-such", "show", "--json list --limit"];
for (const line of unread) {
  test(`json: a command line that cannot be read is told in JSON too: coffer ${line}`, async () => {
    await inWorld("json", async (world) => {
      const { exit, out, err } = await runLine(world, `coffer ${line.startsWith("--json") ? line : `--json ${line}`}`);
      assert.equal(exit, EXIT.usage, err);
      assert.deepEqual(faultsOf("error.json", JSON.parse(out)), []);
      assert.match(err, /\[USAGE\]/u);
    });
  });
}

test("json: an operand that looks like the option does not make it so", async () => {
  await inWorld("json", async (world) => {
    const { exit, out } = await runLine(world, "coffer list -- --json extra");
    assert.deepEqual([exit, out], [EXIT.usage, ""]);
  });
});

const wrong: readonly (readonly [string, unknown])[] = [
  ["a member that is not described", { schemaVersion: 1, url: "u", port: 1, more: 1 }],
  ["a member that is missing", { schemaVersion: 1, url: "u" }],
  ["another version", { schemaVersion: 2, url: "u", port: 1 }],
  ["another type", { schemaVersion: 1, url: "u", port: "1" }],
  ["a number below the least", { schemaVersion: 1, url: "u", port: 0 }],
  ["no object", []],
];
for (const [what, value] of wrong) {
  test(`json: the check of the schemas refuses ${what}`, () => assert.notDeepEqual(faultsOf("serve.json", value), []));
}
