// SPDX-License-Identifier: Apache-2.0
/** Several accounts of one machine on one store, each a process that really is that account. Needs root to become them. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { encodePrivateKey, generatePrivateKey } from "../../src/keys/private-key.ts";
import type { Diagnosis } from "../../src/repo/doctor.ts";
import type { Job } from "../support/account-process.ts";
import { startWorker } from "../support/cli-process.ts";
import { makeSafetensors } from "../support/store-fixture.ts";

const GROUP = 64_210;
const OTHERS = 64_299;
/** alice and bob are of the group; carol is not. */
const ACCOUNTS = { alice: [64_201, GROUP], bob: [64_202, GROUP], carol: [64_203, OTHERS] } as const;
type Account = keyof typeof ACCOUNTS;

interface Machine {
  readonly folder: string;
  readonly root: string;
  as(who: Account, act: Job["act"], more?: Partial<Pick<Job, "name" | "source" | "location" | "to">>): Promise<Said>;
  source(seed: number): NonNullable<Job["source"]>;
}
interface Said {
  readonly ok?: unknown;
  readonly code?: string;
  readonly message?: string;
}

function makeMachine(t: TestContext, shared: boolean): Machine {
  const folder = mkdtempSync(join(tmpdir(), "coffer-accounts-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  for (const [name, mode] of [
    ["srv", 0o2775],
    ["secrets", 0o2770],
    ["sources", 0o755],
  ] as const) {
    mkdirSync(join(folder, name));
    chownSync(join(folder, name), ACCOUNTS.alice[0], GROUP);
    chmodSync(join(folder, name), mode);
  }
  const random = (length: number): Uint8Array => randomBytes(length);
  const key = encodePrivateKey(generatePrivateKey(random, "alice"), random);
  const root = join(folder, "srv", "my.coffer");
  for (const [who, [uid, gid]] of Object.entries(ACCOUNTS)) {
    mkdirSync(join(folder, `home-${who}`), { mode: 0o700 });
    chownSync(join(folder, `home-${who}`), uid, gid);
  }
  return {
    folder,
    root,
    async as(who, act, more = {}) {
      const [uid, gid] = ACCOUNTS[who];
      const home = join(folder, `home-${who}`);
      const location = { root, stateHome: join(home, "state"), secrets: join(folder, "secrets"), shared, memory: true };
      const job = { uid, gid, location, act, key, ...more } satisfies Job;
      const { stdout, stderr } = await startWorker("account-process.ts", job, { home: folder }).ended;
      assert.match(stdout, /^\{/, stderr);
      return JSON.parse(stdout) as Said;
    },
    source(seed) {
      const file = `model-${seed}.safetensors`;
      writeFileSync(join(folder, "sources", file), makeSafetensors(1000, seed), { mode: 0o644 });
      return { folder: join(folder, "sources"), file };
    },
  };
}

const skip = process.getuid?.() === 0 ? false : "only root can become other accounts";

test("two accounts write one shared store in turn, a third reads it and is told why it cannot write", {
  skip,
}, async (t) => {
  const machine = makeMachine(t, true);
  assert.equal((await machine.as("alice", "init")).code, undefined);
  assert.equal(statSync(join(machine.root, "objects", "ab")).mode & 0o7777, 0o2775);
  assert.equal(statSync(join(machine.folder, "secrets", "store_key")).mode & 0o777, 0o640);
  const turns: readonly Account[] = ["alice", "bob", "alice", "bob"];
  for (const [seed, who] of turns.entries()) {
    const said = await machine.as(who, "trust", { name: `acme/m${seed}`, source: machine.source(seed) });
    assert.deepEqual(said, { ok: [] }, `${who} ${seed}`);
  }
  // The same bytes from the other account, and what one laid read and removed by the other.
  const again = await machine.as("bob", "trust", { name: "acme/copy", source: machine.source(0) });
  assert.deepEqual(again, { ok: [] });
  assert.equal((await machine.as("alice", "path", { name: "acme/m1" })).code, undefined);
  assert.equal((await machine.as("bob", "path", { name: "acme/m1" })).code, undefined);
  assert.deepEqual(await machine.as("bob", "revoke", { name: "acme/m1" }), { ok: true });
  assert.equal((await machine.as("alice", "resolve", { name: "acme/m1" })).code, "REVOKED");
  for (const who of ["alice", "bob", "carol"] as const) {
    assert.deepEqual(await machine.as(who, "fsck"), { ok: 0 }, who);
    assert.deepEqual(await machine.as(who, "resolve", { name: "acme/m0" }), { ok: true }, who);
  }
  const refused = await machine.as("carol", "trust", { name: "acme/x", source: machine.source(9) });
  assert.equal(refused.code, "NO_STORE_KEY");
});

test("an account that may not look into the store is told so, by an error and not by an empty store", {
  skip,
}, async (t) => {
  const machine = makeMachine(t, true);
  await machine.as("alice", "init");
  chmodSync(machine.root, 0o2770);
  const said = await machine.as("carol", "resolve", { name: "acme/m0" });
  assert.equal(said.code, "IO_ERROR");
  assert.match(said.message ?? "", /EACCES/);
});

test("a store that is not shared: the second account reads, and is told why it cannot write", { skip }, async (t) => {
  const machine = makeMachine(t, false);
  await machine.as("alice", "init");
  assert.equal(statSync(join(machine.folder, "secrets", "store_key")).mode & 0o777, 0o600);
  assert.deepEqual(await machine.as("alice", "trust", { name: "acme/m", source: machine.source(1) }), { ok: [] });
  assert.deepEqual(await machine.as("bob", "resolve", { name: "acme/m" }), { ok: true });
  const refused = await machine.as("bob", "trust", { name: "acme/x", source: machine.source(9) });
  assert.equal(refused.code, "NO_STORE_KEY");
});

test("a secrets folder that nobody may write does for every act but init", { skip }, async (t) => {
  const machine = makeMachine(t, true);
  await machine.as("alice", "init");
  chmodSync(join(machine.folder, "secrets"), 0o550);
  for (const [seed, who] of (["alice", "bob"] as const).entries()) {
    const said = await machine.as(who, "trust", { name: `acme/m${seed}`, source: machine.source(seed) });
    assert.deepEqual(said, { ok: [] }, who);
  }
});

test("a store key that others may read, or a group may write, is not used", { skip }, async (t) => {
  const machine = makeMachine(t, true);
  await machine.as("alice", "init");
  for (const mode of [0o644, 0o660, 0o604, 0o650]) {
    chmodSync(join(machine.folder, "secrets", "store_key"), mode);
    assert.equal((await machine.as("bob", "fsck")).code, "KEY_MODE", mode.toString(8));
  }
});

test("an account that only reads is told where it can have files laid, and gets them there", { skip }, async (t) => {
  const machine = makeMachine(t, true);
  await machine.as("alice", "init");
  const name = "acme/m";
  await machine.as("alice", "trust", { name, source: machine.source(1) });
  const instead =
    "`coffer path acme/m@main --to FOLDER` or `coffer checkout acme/m@main FOLDER` lays the files elsewhere";
  const refused = {
    code: "IO_ERROR",
    message: `cannot make a folder in local/checkouts of the store (EACCES); ${instead}`,
  };
  assert.deepEqual(await machine.as("carol", "path", { name }), refused);
  const home = join(machine.folder, "home-carol");
  for (const act of ["path", "checkout"] as const) {
    const to = join(home, act);
    assert.ok(String((await machine.as("carol", act, { name, to })).ok).startsWith(to), act);
    const { code, message } = await machine.as("carol", act, { name, to: join(machine.folder, "srv", act) });
    assert.deepEqual([code, message], ["IO_ERROR", `cannot make a folder in ${act === "path" ? act : "srv"} (EACCES)`]);
  }
  // Once others have laid something, the folder is there; what lies there is hers to use, and what does not is not.
  mkdirSync(join(machine.root, "local", "checkouts"), { mode: 0o755 });
  assert.deepEqual(await machine.as("carol", "path", { name }), refused);
  chownSync(join(machine.root, "local", "checkouts"), ACCOUNTS.alice[0], GROUP);
  const laid = await machine.as("alice", "path", { name });
  assert.deepEqual(await machine.as("carol", "path", { name }), laid);
});

test("doctor finds nothing wrong with a shared store's secrets, and says what is wrong with others", {
  skip,
}, async (t) => {
  const machine = makeMachine(t, true);
  const secrets = join(machine.folder, "secrets");
  await machine.as("alice", "init");
  chmodSync(secrets, 0o2750);
  const said = async (who: Account): Promise<readonly string[]> =>
    ((await machine.as(who, "doctor")).ok as readonly Diagnosis[])
      .filter(({ what }) => /secrets|store key/.test(what))
      .map(({ what, level, text, mend }) => [level, what, text, ...(mend === undefined ? [] : [mend])].join(" | "));
  const mayWrite = ["ok | store key | this account holds it: it can write"];
  for (const who of ["alice", "bob"] as const) assert.deepEqual(await said(who), mayWrite, who);
  const elsewhere =
    "if it should write: --secrets or COFFER_SECRETS, where the key lies, and the right to read it there";
  const closed = `in ${secrets}, which is closed to this account: this account can read, not write`;
  assert.deepEqual(await said("carol"), [`warn | store key | ${closed} | ${elsewhere}`]);
  const expected = "expected that only its owner may write it, and at most a group open it";
  for (const mode of [0o2770, 0o2755]) {
    chmodSync(secrets, mode);
    const found = (mode & 0o777).toString(8);
    const warning = `warn | secrets folder | ${expected}, found mode ${found} | chmod 750 <secrets folder>`;
    assert.deepEqual(await said("bob"), [warning, ...mayWrite]);
  }
  chmodSync(secrets, 0o2750);
  for (const mode of [0o644, 0o660]) {
    chmodSync(join(secrets, "store_key"), mode);
    const text = `store_key: expected mode 0600, or 0640 for a group, found 0${mode.toString(8)}`;
    assert.deepEqual(await said("bob"), [`fail | store key | ${text} | chmod 640 <secrets folder>/store_key`]);
  }
});

test("doctor says of an account with the key that it may not write a store that is not its group's", {
  skip,
}, async (t) => {
  const machine = makeMachine(t, false);
  await machine.as("alice", "init");
  chmodSync(machine.root, 0o755);
  chmodSync(join(machine.folder, "secrets", "store_key"), 0o640);
  const found = (await machine.as("bob", "doctor")).ok as readonly Diagnosis[];
  const [key] = found.filter(({ what }) => what === "store key");
  assert.equal(key?.level, "warn");
  assert.match(key?.text ?? "", /^this account holds it, but may not write the store's folder \(EACCES\)/);
});

test("doctor names the folders that it may not look into", { skip }, async (t) => {
  const machine = makeMachine(t, true);
  await machine.as("alice", "init");
  const home = join(machine.folder, "home-alice");
  const [secrets, stateHome] = [join(home, "secrets"), join(home, "state")];
  const location = { root: machine.root, stateHome, secrets, shared: true, memory: true };
  const found = (await machine.as("bob", "doctor", { location })).ok as readonly Diagnosis[];
  const of = (name: string): readonly string[] =>
    found.filter(({ what }) => what === name).map(({ level, text, code }) => `${level} ${code} ${text}`);
  assert.deepEqual(of("store key"), [
    `warn undefined in ${secrets}, which is closed to this account: this account can read, not write`,
  ]);
  assert.equal(of("memory").length, 1);
  const [memory = ""] = of("memory");
  assert.ok(memory.startsWith(`fail STATE_UNWRITABLE expected to look into the state folder ${stateHome}/`), memory);
});
