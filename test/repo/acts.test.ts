// SPDX-License-Identifier: Apache-2.0
/** Acts through the repo layer on a real store: what they refuse, what they leave behind, who may. */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makePickle } from "../../scripts/fixtures/tiny-pickle.mjs";
import { type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import type { Files, OpenFile } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { list } from "../../src/repo/list.ts";
import { pathOf } from "../../src/repo/materialise.ts";
import { promote } from "../../src/repo/promote.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { planRevoke, revoke } from "../../src/repo/revoke.ts";
import { openStore } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, ruleFor, type StoreFixture } from "../support/store-fixture.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(`${words}\n`);
const weights = (seed: number): Record<string, Uint8Array> => ({ "model.safetensors": makeSafetensors(1000, seed) });

function refused(promise: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  return assert.rejects(promise, (error) => isCofferError(error, ...codes));
}

async function states(fixture: StoreFixture): Promise<string[]> {
  return (await list(await fixture.open())).names.map(
    ({ name, state, code }) => `${name.text} ${state}${code ? ` ${code}` : ""}`,
  );
}

function everyFile(fixture: StoreFixture): string[] {
  return readdirSync(fixture.location.root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

test("add: what is refused stores nothing, not even one good file beside it", async (t) => {
  const fixture = await makeStoreFixture(t);
  const before = everyFile(fixture);
  await refused(fixture.add("acme/bad", { ...weights(1), "evil.bin": makePickle() }), "ADMISSION_REFUSED");
  await refused(fixture.add("acme/bad", { "a.json": text("{}{}"), "run.py": text("import os") }), "ADMISSION_REFUSED");
  assert.deepEqual(everyFile(fixture), before);
  assert.deepEqual(await states(fixture), []);
});

test("add --keep: what failed stands apart with its evidence, and nobody can propose it", async (t) => {
  const fixture = await makeStoreFixture(t);
  const source = join(fixture.folder, "evil.bin");
  writeFileSync(source, makePickle());
  const name = parseName("acme/bad");
  const files = [{ path: parseManifestPath("evil.bin"), folder: fixture.folder, file: "evil.bin" }];
  const added = await add(fixture.store, { name, files, keep: true });
  assert.equal(added.state, "acquired");
  assert.deepEqual(await states(fixture), ["acme/bad@main acquired"]);
  await refused(propose(fixture.store, { name, signer: fixture.signers.alice, replace: false }), "NOT_QUARANTINED");
  assert.equal((await fsck(fixture.store)).exit, 0);
});

test("add: the same bytes again move nothing; other bytes replace what was quarantined; a trusted name stays", async (t) => {
  const fixture = await makeStoreFixture(t);
  const first = await fixture.add("acme/tiny", weights(1));
  const again = await fixture.add("acme/tiny", weights(1));
  assert.deepEqual([first.moved, again.moved, again.manifest === first.manifest], [true, false, true]);
  await fixture.trust("acme/tiny", weights(1));
  const next = await fixture.add("acme/tiny", weights(2));
  assert.equal((await resolve(fixture.store, parseName("acme/tiny"))).manifest.id, first.manifest);
  const statement = await fixture.propose("acme/tiny");
  await fixture.approve("acme/tiny", statement, "alice", "bob");
  await promote(fixture.store, [parseName("acme/tiny")]);
  assert.equal((await resolve(fixture.store, parseName("acme/tiny"))).manifest.id, next.manifest);
});

test("add: the source is read once, and one that changes meanwhile is refused", async (t) => {
  const fixture = await makeStoreFixture(t);
  const bytes = makeSafetensors(20_000_000);
  const source = join(fixture.folder, "big.safetensors");
  writeFileSync(source, bytes);
  let read = 0;
  let onRead = (): void => undefined;
  const counting = (path: string): Files => {
    const files = openRealFiles(path);
    if (path !== fixture.folder) return files;
    return {
      ...files,
      async open(name) {
        const file = await files.open(name);
        if (file === undefined) return undefined;
        return {
          ...file,
          stat: () => file.stat(),
          close: () => file.close(),
          async read(buffer, position) {
            onRead();
            const length = await file.read(buffer, position);
            read += length;
            return length;
          },
        };
      },
    };
  };
  const store = await openStore(fixture.location, { ...fixture.ports, openFolder: counting });
  const request = {
    name: parseName("acme/big"),
    files: [{ path: parseManifestPath("big.safetensors"), folder: fixture.folder, file: "big.safetensors" }],
    keep: false,
  };
  await add(store, request);
  assert.equal(read, bytes.length);
  const before = everyFile(fixture);
  onRead = () => {
    appendFileSync(source, "x");
    onRead = () => undefined;
  };
  await refused(add(store, { ...request, name: parseName("acme/moving") }), "SOURCE_CHANGED", "ADMISSION_REFUSED");
  assert.deepEqual(everyFile(fixture), before);
});

test("propose and approve: only those whom the rule names; another manifest needs --replace, which voids approvals", async (t) => {
  const fixture = await makeStoreFixture(t);
  const { store, signers } = fixture;
  const name = parseName("acme/tiny");
  await fixture.add("acme/tiny", weights(1));
  await refused(propose(store, { name, signer: signers.carol, replace: false }), "NOT_ALLOWED");
  const first = await fixture.propose("acme/tiny");
  await refused(approve(store, name, first, signers.carol), "NOT_ALLOWED");
  await fixture.approve("acme/tiny", first, "alice", "bob");
  await fixture.add("acme/tiny", weights(2));
  await refused(propose(store, { name, signer: signers.alice, replace: false }), "CANDIDATE_EXISTS");
  fixture.nowS += 1;
  await propose(store, { name, signer: signers.alice, replace: true });
  await refused(approve(store, name, first, signers.bob), "CANDIDATE_VOID");
  await refused(promote(store, [name]), "APPROVALS_SHORT");
});

test("a candidate is void once the name moved, however many had signed", async (t) => {
  const fixture = await makeStoreFixture(t);
  const name = parseName("acme/tiny");
  await fixture.trust("acme/tiny", weights(1));
  await fixture.add("acme/tiny", weights(2));
  const statement = await fixture.propose("acme/tiny");
  await fixture.approve("acme/tiny", statement, "alice", "bob");
  await fixture.revoke("acme/tiny");
  await refused(promote(fixture.store, [name]), "NOT_PROPOSED");
  assert.deepEqual(await states(fixture), ["acme/tiny@main revoked REVOKED"]);
  await fixture.trust("acme/tiny", weights(2));
  assert.deepEqual(await states(fixture), ["acme/tiny@main trusted"]);
});

test("promote: all names or none", async (t) => {
  const fixture = await makeStoreFixture(t);
  for (const [name, seed] of [
    ["acme/one", 1],
    ["acme/two", 2],
  ] as const) {
    await fixture.add(name, weights(seed));
    const statement = await fixture.propose(name);
    await fixture.approve(name, statement, ...(name === "acme/one" ? (["alice", "bob"] as const) : (["bob"] as const)));
  }
  const both = [parseName("acme/one"), parseName("acme/two")];
  const number = (await fixture.store.head()).number;
  await refused(promote(fixture.store, both), "APPROVALS_SHORT");
  assert.equal((await fixture.store.head()).number, number);
  await refused(promote(fixture.store, [parseName("acme/one"), parseName("acme/three")]), "NOT_PROPOSED");
  assert.equal((await promote(fixture.store, [parseName("acme/one")])).length, 1);
});

test("revoke: two revokers sign one statement; nothing is denied before the second, and one may not sign twice", async (t) => {
  const rule = { ...ruleFor("*/*@*"), revokers: { principals: ["bob", "carol"], threshold: 2 } };
  const fixture = await makeStoreFixture(t, [rule]);
  const { store, signers } = fixture;
  await fixture.trust("acme/tiny", weights(1));
  const request = { name: parseName("acme/tiny"), also: [] };
  await refused(revoke(store, request, signers.alice), "NOT_ALLOWED");
  const first = await revoke(store, { ...request, reason: "found a backdoor" }, signers.bob);
  assert.equal(first.entry, undefined);
  assert.deepEqual(first.signed, ["bob"]);
  await refused(revoke(store, { ...request, reason: "another reason" }, signers.carol), "CANDIDATE_EXISTS");
  const twice = await revoke(store, request, signers.bob);
  assert.equal(twice.entry, undefined);
  assert.deepEqual(await states(fixture), ["acme/tiny@main trusted"]);
  fixture.nowS += 3600;
  const second = await revoke(store, request, signers.carol);
  assert.equal(second.statement, first.statement);
  assert.deepEqual(second.signed, ["bob", "carol"]);
  assert.notEqual(second.entry, undefined);
  await refused(resolve(store, request.name), "REVOKED");
  assert.equal((await revoke(store, request, signers.carol)).entry, undefined);
  assert.equal((await fsck(store)).exit, 0);
});

test("revoke: blobs that another trusted name holds stay, unless they are given; the names that fall are told first", async (t) => {
  const fixture = await makeStoreFixture(t);
  const shared = { "shared.safetensors": makeSafetensors(500, 9) };
  const one = await fixture.trust("acme/one", { ...weights(1), ...shared });
  await fixture.trust("acme/two", { ...weights(2), ...shared });
  await fixture.trust("acme/copy", { ...weights(1), ...shared });
  const blob = one.files.find((file) => file.path === "shared.safetensors")?.sha256;
  assert.ok(blob !== undefined);
  const name = parseName("acme/one");
  const plan = await planRevoke(fixture.store, { name, also: [] });
  assert.deepEqual(
    plan.falls.map((fallen) => fallen.text),
    ["acme/copy@main", "acme/one@main"],
  );
  assert.deepEqual(
    plan.kept.map((kept) => [kept.blob, kept.heldBy.text]),
    [[blob, "acme/two@main"]],
  );
  for (const also of [[one.manifest], [blob.slice(0, 12).replace(/^./, "z")], [blob.slice(0, 11)]]) {
    await refused(planRevoke(fixture.store, { name, also }), "OBJECT_NOT_FOUND", "DIGEST_INVALID");
  }
  const wider = await planRevoke(fixture.store, { name, also: [blob.slice(0, 12)] });
  assert.deepEqual(
    wider.falls.map((fallen) => fallen.text),
    ["acme/copy@main", "acme/one@main", "acme/two@main"],
  );
  await refused(planRevoke(fixture.store, { name, also: [one.manifest] }), "OBJECT_NOT_FOUND");
  await fixture.revoke("acme/one");
  assert.deepEqual(await states(fixture), [
    "acme/copy@main denied REVOKED",
    "acme/one@main revoked REVOKED",
    "acme/two@main trusted",
  ]);
  const report = await fsck(fixture.store);
  assert.deepEqual([report.exit, report.problems], [0, []]);
  assert.match(report.notes.join("\n"), /acme\/copy@main is denied: .* was revoked/);
  fixture.nowS += 400 * 86_400;
  const later = await fsck(fixture.store);
  assert.equal(later.exit, 3);
  assert.deepEqual(
    later.problems.map((problem) => [problem.code, problem.where]),
    [["STALE", "refs/trusted/acme/two/main"]],
  );
});

test("revoke: another rule's names are not theirs to take down, only told", async (t) => {
  const ours = { ...ruleFor("acme/*@*"), revokers: { principals: ["carol"], threshold: 1 } };
  const theirs = { ...ruleFor("lab/*@*"), revokers: { principals: ["bob"], threshold: 1 } };
  const fixture = await makeStoreFixture(t, [ours, theirs]);
  await fixture.trust("acme/tiny", weights(1));
  await fixture.trust("lab/tiny", weights(1));
  await fixture.revoke("acme/tiny", "ours alone");
  await refused(resolve(fixture.store, parseName("acme/tiny")), "REVOKED");
  const { verdict } = await resolve(fixture.store, parseName("lab/tiny"));
  assert.deepEqual([...new Set(verdict.findings.map((finding) => finding.id))], ["revoked-elsewhere"]);
});

test("path: laid once, verified on each call, mended when altered, gone with the revocation", async (t) => {
  const fixture = await makeStoreFixture(t);
  const name = parseName("acme/tiny");
  await fixture.trust("acme/tiny", { ...weights(1), "config.json": text("{}") });
  await refused(pathOf(fixture.store, name), "USAGE");
  await refused(pathOf(fixture.store, name, "../coffer.json"), "FILE_NOT_FOUND");
  const laid = await pathOf(fixture.store, name, "model.safetensors");
  assert.deepEqual([laid.mended, existsSync(laid.path)], [false, true]);
  assert.equal((await pathOf(fixture.store, name, "config.json")).mended, false);
  writeFileSync(join(laid.path, "..", "extra.py"), "import os");
  assert.equal((await pathOf(fixture.store, name, "model.safetensors")).mended, true);
  assert.equal(existsSync(join(laid.path, "..", "extra.py")), false);
  const elsewhere = await pathOf(fixture.store, name, "model.safetensors", join(fixture.folder, "out"));
  assert.ok(elsewhere.path.startsWith(join(fixture.folder, "out")));
  await fixture.revoke("acme/tiny");
  await refused(pathOf(fixture.store, name, "model.safetensors"), "REVOKED");
  assert.equal(existsSync(laid.path), false);
});

test("add --keep: an index of 200,000 missing shards is kept with a short report", async (t) => {
  const fixture = await makeStoreFixture(t);
  const map = Object.fromEntries(Array.from({ length: 200_000 }, (_, at) => [`t${at}`, `s${at}.safetensors`]));
  const index = "model.safetensors.index.json";
  writeFileSync(join(fixture.folder, index), JSON.stringify({ weight_map: map }));
  const files = [{ path: parseManifestPath(index), folder: fixture.folder, file: index }];
  await refused(add(fixture.store, { name: parseName("acme/bad"), files, keep: false }), "ADMISSION_REFUSED");
  const added = await add(fixture.store, { name: parseName("acme/bad"), files, keep: true });
  assert.deepEqual([added.state, added.findings.length], ["acquired", 64]);
  assert.equal((await fsck(fixture.store)).exit, 0);
});

test("add --keep: many files that fail are one report within the bounds of evidence", async (t) => {
  const fixture = await makeStoreFixture(t);
  writeFileSync(join(fixture.folder, "run.py"), "import os");
  const files = Array.from({ length: 1100 }, (_, at) => {
    return { path: parseManifestPath(`sub-${at}/run.py`), folder: fixture.folder, file: "run.py" };
  });
  const added = await add(fixture.store, { name: parseName("acme/bad"), files, keep: true });
  assert.deepEqual([added.state, added.findings.length], ["acquired", 1000]);
  assert.deepEqual(added.findings.at(-1), { code: "more-findings", level: "fail", text: "and 101 more" });
});

/** The port on a folder, with `handle` around each file that it opens and `folder` around each fsync of a folder. */
function wrapped(
  path: string,
  handle: <T extends OpenFile>(file: T | undefined) => T | undefined,
  folder: (act: () => Promise<void>) => Promise<void>,
): Files {
  return new Proxy<Files>(openRealFiles(path), {
    get(target, name) {
      if (name === "open") return async (file: string) => handle(await target.open(file));
      if (name === "create") return async (file: string, mode: number) => handle(await target.create(file, mode));
      if (name === "fsyncFolder") return (file: string) => folder(() => target.fsyncFolder(file));
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

test("add: any number of files needs few handles at the same time", async (t) => {
  const fixture = await makeStoreFixture(t);
  const live = new Set<object>();
  let most = 0;
  const enter = (what: object): void => {
    live.add(what);
    most = Math.max(most, live.size);
  };
  const openFolder = (path: string): Files =>
    wrapped(
      path,
      (file) => {
        if (file === undefined) return undefined;
        enter(file);
        const close = file.close.bind(file);
        file.close = () => {
          live.delete(file);
          return close();
        };
        return file;
      },
      async (act) => {
        enter(act);
        await act();
        live.delete(act);
      },
    );
  const store = await openStore(fixture.location, { ...fixture.ports, openFolder });
  const files = Array.from({ length: 201 }, (_, at) => {
    writeFileSync(join(fixture.folder, `n${at}.json`), `{"n":${at}}`);
    return { path: parseManifestPath(`n${at}.json`), folder: fixture.folder, file: `n${at}.json` };
  });
  await add(store, { name: parseName("acme/many"), files, keep: false });
  assert.ok(most <= 66, `${most} at the same time`);
  assert.equal(live.size, 0);
  assert.equal((await fsck(fixture.store)).exit, 0);
});

test("add: a source that changes under its old size and time is refused", async (t) => {
  const fixture = await makeStoreFixture(t);
  const source = join(fixture.folder, "model.safetensors");
  writeFileSync(source, makeSafetensors(5_000_000, 1));
  const { atime, mtime } = statSync(source);
  utimesSync(source, atime, mtime); // what cannot be told apart later: whole milliseconds
  let change = (): void => {
    writeFileSync(source, makeSafetensors(5_000_000, 2));
    utimesSync(source, atime, mtime);
    change = () => undefined;
  };
  const openFolder = (path: string): Files =>
    wrapped(
      path,
      (file) => {
        if (file === undefined || path !== fixture.folder) return file;
        const read = file.read.bind(file);
        file.read = async (buffer, position) => {
          const length = await read(buffer, position);
          change();
          return length;
        };
        return file;
      },
      (act) => act(),
    );
  const store = await openStore(fixture.location, { ...fixture.ports, openFolder });
  const before = everyFile(fixture);
  const files = [{ path: parseManifestPath("model.safetensors"), folder: fixture.folder, file: "model.safetensors" }];
  await refused(add(store, { name: parseName("acme/moving"), files, keep: false }), "SOURCE_CHANGED");
  assert.deepEqual(everyFile(fixture), before);
});
