// SPDX-License-Identifier: Apache-2.0
/** doctor on real stores: what it says of a sound one, of each thing that is wrong, and that it writes nothing. */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import manifest from "../../package.json" with { type: "json" };
import { examineMachine, LEAST_NODE, type Probe } from "../../src/cli/machine-checks.ts";
import type { FilePlace } from "../../src/objects/files.ts";
import { type Diagnosis, examineStore } from "../../src/repo/doctor.ts";
import { makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { watchedMachine } from "../support/watched-files.ts";

async function examine(fixture: StoreFixture, nowS = fixture.nowS): Promise<Diagnosis[]> {
  const found: Diagnosis[] = [];
  await examineStore(fixture.location, { ...fixture.ports, clock: () => nowS }, (one) => found.push(one));
  return found;
}

/** Every file and folder with its times. */
function everything(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .map((one) => join(one.parentPath, one.name))
    .map((path) => `${path} ${statSync(path, { bigint: true }).mtimeNs} ${statSync(path, { bigint: true }).ctimeNs}`)
    .sort();
}

const failures = (found: readonly Diagnosis[]): (string | undefined)[] =>
  found.filter(({ level }) => level === "fail").map(({ what, code }) => `${what} ${code}`);
const of = (found: readonly Diagnosis[], what: string): Diagnosis[] => found.filter((one) => one.what === what);

test("a sound store: nothing fails, and nothing is written", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@v1", { "README.md": new TextEncoder().encode("# one\n") });
  rmSync(join(fixture.location.root, "local", "tmp"), { recursive: true });
  const before = everything(fixture.folder);
  const found = await examine(fixture);
  assert.deepEqual(everything(fixture.folder), before);
  assert.deepEqual(failures(found), []);
  assert.deepEqual(
    of(found, "store").map(({ text }) => text),
    ["opens, log entry 4"],
  );
  assert.deepEqual(
    of(found, "store key").map(({ level }) => level),
    ["ok"],
  );
  assert.deepEqual(
    of(found, "memory").map(({ text }) => text),
    ["of log entry 4"],
  );
  assert.deepEqual(
    of(found, "local/tmp").map(({ level }) => level),
    ["warn"],
    "the folder is missing, and stays so",
  );
});

test("each thing that is wrong is told, with what mends it", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/one@v1", { "README.md": new TextEncoder().encode("# one\n") });
  await fixture.store.noteTime(fixture.nowS);
  const own = join(fixture.location.stateHome, fixture.store.id);
  const late = await examine(fixture, fixture.nowS - 7200);
  assert.deepEqual(failures(late), ["clock NOT_YET_VALID"]);

  chmodSync(join(own, "store_key"), 0o644);
  const open = await examine(fixture);
  assert.deepEqual(failures(open), ["store key KEY_MODE"]);
  assert.match(of(open, "store key")[0]?.mend ?? "", /^chmod 600 /);
  chmodSync(join(own, "store_key"), 0o600);
  for (const mode of [0o710, 0o750]) {
    chmodSync(own, mode);
    assert.deepEqual(
      of(await examine(fixture), "secrets folder"),
      [],
      "a group may open it, as init --shared makes it",
    );
  }
  chmodSync(own, 0o755);
  assert.match(of(await examine(fixture), "secrets folder")[0]?.mend ?? "", /^chmod 700 /);
  chmodSync(own, 0o700);

  renameSync(join(own, "store_key"), join(fixture.folder, "aside"));
  assert.match(of(await examine(fixture), "store key")[0]?.text ?? "", /can read, not write/);
  renameSync(join(fixture.folder, "aside"), join(own, "store_key"));

  const entry = join(fixture.location.root, "log", "000000", "000000000004");
  renameSync(entry, join(fixture.folder, "aside"));
  assert.deepEqual(failures(await examine(fixture)), ["memory LOG_BEHIND_MEMORY"]);
  writeFileSync(entry, "junk");
  assert.deepEqual(failures(await examine(fixture)), ["store CORRUPT"]);
  rmSync(entry);
  renameSync(join(fixture.folder, "aside"), entry);

  rmSync(own, { recursive: true });
  const fresh = await examine(fixture);
  assert.deepEqual(failures(fresh), []);
  assert.deepEqual(
    of(fresh, "memory").map(({ level }) => level),
    ["warn"],
  );
  rmSync(join(fixture.location.root, "coffer.json"));
  assert.deepEqual(failures(await examine(fixture)), ["file system STORE_NOT_FOUND", "store STORE_NOT_FOUND"]);
});

test("where it lies, whose it is and what was left there are told", async (t) => {
  const machine = watchedMachine();
  const fixture = await makeStoreFixture(t, undefined, machine);
  const place = async (fileSystem: string, medium: FilePlace["medium"] = "fixed"): Promise<string> => {
    machine.place = { mount: 1, fileSystem, medium };
    const [one] = of(await examine(fixture), "file system");
    return `${one?.level} ${one?.code} ${one?.text}`;
  };
  assert.equal(await place("ext4"), "ok undefined ext4, fixed disk");
  assert.equal(await place("xfs", "removable"), "ok undefined xfs, medium removable");
  assert.match(await place("vfat", "removable"), /^fail FILE_SYSTEM_UNFIT expected one with hard links, found vfat$/);
  assert.match(await place("nfs4", "unknown"), /^warn undefined expected a local disk, found nfs4/);
  machine.place = undefined;
  assert.deepEqual(
    of(await examine(fixture), "file system").map(({ level }) => level),
    ["warn"],
  );

  machine.account = 12_345;
  const foreign = await examine(fixture);
  assert.match(of(foreign, "state folder")[0]?.text ?? "", /^expected that it is this account's \(12345\), found/);
  assert.deepEqual(of(foreign, "secrets folder"), [], "the store key may be anybody's");
  assert.deepEqual(failures(foreign), []);

  writeFileSync(join(fixture.location.root, "local/tmp", "f".repeat(32)), "left");
  writeFileSync(join(fixture.location.root, "COFFER.JSON"), "where letter case does not count, this is coffer.json");
  rmSync(join(fixture.location.root, "local/reserve"), { recursive: true });
  const found = await examine(fixture);
  assert.match(of(found, "local/tmp")[0]?.text ?? "", /^1 files whose writers have ended/);
  assert.deepEqual(
    of(found, "letter case").map(({ level }) => level),
    ["ok"],
  );
  assert.match(of(found, "reserve")[0]?.text ?? "", /found 0 of /);
});

test("a memory that is behind says by how much; one that is left out is told", async (t) => {
  const fixture = await makeStoreFixture(t);
  await fixture.add("acme/one", { "README.md": new TextEncoder().encode("# one\n") });
  const own = join(fixture.location.stateHome, fixture.store.id);
  const seen = readdirSync(own).filter((name) => name.startsWith("000000000002."));
  assert.equal(seen.length, 1);
  for (const name of seen) rmSync(join(own, name));
  assert.deepEqual(
    of(await examine(fixture), "memory").map(({ level, text }) => `${level} ${text}`),
    ["ok of log entry 1; the log has 1 more"],
  );
  const found: Diagnosis[] = [];
  await examineStore({ ...fixture.location, memory: false }, fixture.ports, (one) => found.push(one));
  assert.deepEqual(
    of(found, "memory").map(({ level, text }) => [level, text]),
    [["warn", "left out by --no-memory"]],
  );
});

test("a fault of the program is no finding", async (t) => {
  const fixture = await makeStoreFixture(t);
  const ports = { ...fixture.ports, openFolder: (): never => assert.fail("a fault") };
  await assert.rejects(
    examineStore(fixture.location, ports, () => undefined),
    /a fault/,
  );
});

const sound: Probe = {
  node: "20.19.0",
  nowS: Date.parse("2026-11-22T10:00:00Z") / 1000,
  umask: 0o022,
  run: (program) => (program === "ssh" ? "OpenSSH_9.2p1 Debian-2, OpenSSL 3.0\n" : "Too few arguments\n"),
};

function levels(probe: Partial<Probe>): string[] {
  const found: Diagnosis[] = [];
  examineMachine({ ...sound, ...probe }, (one) => found.push(one));
  return found.filter(({ level }) => level !== "ok").map(({ what, level }) => `${what} ${level}`);
}

test("the machine: each check can fail", () => {
  assert.deepEqual(levels({}), []);
  assert.deepEqual(levels({ node: "24.0.0" }), []);
  for (const node of ["20.18.3", "18.20.1"]) assert.deepEqual(levels({ node }), ["node fail"], node);
  assert.deepEqual(levels({ umask: 0o002 }), ["umask warn"]);
  assert.deepEqual(levels({ umask: 0o777 }), ["umask fail"]);
  assert.deepEqual(levels({ nowS: 0 }), ["clock fail"]);
  assert.deepEqual(levels({ run: () => undefined }), ["ssh-keygen warn"]);
  assert.deepEqual(levels({ run: () => "OpenSSH_8.0p1\n" }), ["ssh-keygen warn"]);
  const bare = (program: string): string | undefined => (program === "ssh" ? undefined : "unknown option -- Y\n");
  assert.deepEqual(levels({ run: bare }), ["ssh-keygen warn"]);
  assert.equal(manifest.engines.node, `>=${LEAST_NODE.join(".")}`);
});
