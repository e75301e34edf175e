// SPDX-License-Identifier: Apache-2.0
/** Pulling from a server: what comes of an honest one, of one that changes meanwhile, and of hostile ones. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { remoteRef } from "../../src/base/ref-path.ts";
import { generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { clone } from "../../src/repo/clone.ts";
import { type ExchangeOptions, findPeer, pullRemote, pushRemote } from "../../src/repo/exchange.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { openAny, openFolderSource } from "../../src/repo/incoming.ts";
import { pull } from "../../src/repo/pull.ts";
import { addRemote, needRemote } from "../../src/repo/remotes.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { createServer, type ServerOptions } from "../../src/server/server.ts";
import { type BundleIndex, makeBundleIndex } from "../../src/sync/bundle-index.ts";
import { partsOf } from "../../src/sync/cut.ts";
import { itemPath } from "../../src/sync/source.ts";
import { Waiting } from "../../src/sync/waiting.ts";
import { sourceOf } from "../support/bundles.ts";
import { documentsOf, type Offered, startOffering, type Twist, whole } from "../support/offering-server.ts";
import { DENIALS, REACHED, signedAgain } from "../support/signed-again.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { inMemory, type Member, makeTeam, model, sharedRefs } from "../support/team-stores.ts";
import { until } from "../support/until.ts";

const NAME = "acme/tiny@main";
const MIB = 1024 * 1024;

const options = (member: Member): ExchangeOptions => ({
  locate: (root) => ({ ...member.location, root }),
  http: { silenceMs: 600_000 }, // no machine stands still for as long
});

const pullFrom = (member: Member, url: string) => pullRemote(member.store, { url }, options(member));

async function outcomes(member: Member, url: string): Promise<Record<string, string>> {
  const { reports } = await pullFrom(member, url);
  return Object.fromEntries(reports.flatMap(({ names }) => names.map(({ name, outcome }) => [name, outcome])));
}

const isTrusted = async ({ store }: Member, name = NAME): Promise<boolean> =>
  (await resolve(store, parseName(name)).catch(() => undefined))?.verdict.trusted ?? false;

/** `coffer serve` over the store, as another process would. */
async function serve(t: TestContext, member: Member, options: ServerOptions = {}): Promise<string> {
  const server = createServer(await member.open(), { headerTimeoutMs: 600_000, offerPatienceMs: 600_000, ...options });
  const { port } = await server.listen(0);
  t.after(() => server.close(0));
  return `http://127.0.0.1:${port}`;
}

async function makeTwo(t: TestContext) {
  const team = makeTeam(t);
  return { team, a: await team.store("a"), b: await team.store("b") };
}

/** What a store holds, with blobs cut into parts of 8 MiB; signed by its key unless told otherwise. */
async function offerOf({ store, location }: Member, change: Partial<BundleIndex> = {}): Promise<Offered> {
  const { source, files } = await inMemory(await openFolderSource(location.root, store.ports));
  const { value } = source.index;
  const items = value.items.flatMap((item) => partsOf(item, 8 * MIB));
  const cut = new Map(files);
  for (const item of items) {
    if (item.kind !== "blob" || item.part === undefined) continue;
    const bytes = files.get(itemPath({ kind: "blob", blob: item.blob, sizeBytes: 0 }));
    cut.set(
      itemPath(item),
      bytes?.subarray(item.part * 8 * MIB, item.part * 8 * MIB + item.sizeBytes) ?? new Uint8Array(),
    );
  }
  const index = makeBundleIndex({ ...value, items, segmentBytes: 8 * MIB, volumes: [items.length], ...change });
  return { index, signature: await signSshsig(await store.needSigner(), "coffer-bundle", index.bytes), files: cut };
}

const blobsIn = ({ location }: Member): string[] =>
  readdirSync(join(location.root, "blobs"), { recursive: true, encoding: "utf8" }).filter((path) => path.length > 2);

/** Of the ten that were sent: a connection that is gone takes with it what was not read yet. */
const BROKE_OFF = /broke off after (?:10|0) bytes/;
const isBlob = (url: string | undefined): boolean => url?.startsWith("/v1/blobs/") === true;
const isDocuments = (url: string | undefined): boolean => url?.endsWith("/documents") === true;

test("a pull from a server brings what a pull from the folder brings; the same again moves nothing", async (t) => {
  const { team, a, b } = await makeTwo(t);
  const c = await team.store("c");
  await a.trust("acme/tiny", { "m.safetensors": makeSafetensors(9 * MIB, 1) });
  await a.trust("acme/gone", model(2));
  await a.revoke("acme/gone", "leaked");
  await a.trust("acme/again", model(3));
  await a.revoke("acme/again");
  await a.trust("acme/again", model(4));
  await a.add("acme/waits", model(5));
  const url = await serve(t, a);
  await addRemote(b.store, "hub", url);
  const hub = await findPeer(b.store, "hub", "/nowhere");
  const pulled = await pullRemote(b.store, hub, options(b));
  assert.deepEqual(
    pulled.reports[0]?.names.map(({ name, outcome, standing }) => `${name} ${outcome} ${standing}`),
    ["acme/again@main adopted trusted", "acme/gone@main adopted revoked", "acme/tiny@main adopted trusted"],
  );
  await pull(c.store, a.location.root, {});
  assert.deepEqual(await sharedRefs(b.store), await sharedRefs(c.store));
  assert.equal(await isTrusted(b), true);
  assert.equal((await needRemote(b.store, "hub")).store, a.store.id);
  assert.notEqual(await (await b.store.head()).readRef(remoteRef(a.store.id, "index")), undefined);
  assert.deepEqual((await pullRemote(b.store, hub, options(b))).reports[0]?.entries, []);

  await a.revoke("acme/tiny", "bad");
  assert.equal((await outcomes(b, url))[NAME], "adopted");
  assert.equal(await isTrusted(b), false);
  assert.deepEqual((await fsck(b.store)).problems, []);
  await assert.rejects(
    pushRemote(b.store, hub, { names: [], patterns: [], candidates: false, blobs: true }, options(b)),
    {
      code: "USAGE",
      message: /a server is read-only/,
    },
  );
});

test("a clone from a server, with the root that people were told and with another", async (t) => {
  const team = makeTeam(t);
  const a = await team.store("a");
  await a.trust("acme/tiny", model(1));
  const url = await serve(t, a);
  const open = async () => sourceOf(await openAny({ absolute: "/nowhere", shown: url }, team.ports));
  const location = { ...a.location, root: join(team.folder, "cloned.coffer"), stateHome: join(team.folder, "cloned") };
  await assert.rejects(clone(location, open, undefined, team.ports), { code: "FOREIGN_ROOT" });
  const other = { number: 1, digest: a.store.id };
  await assert.rejects(clone(location, open, other, team.ports), { code: "FOREIGN_ROOT" });
  assert.ok(!existsSync(location.root));
  const { store, report } = await clone(location, open, { number: 1, digest: team.policy.id }, team.ports);
  assert.deepEqual(
    report.names.map(({ outcome }) => outcome),
    ["adopted"],
  );
  assert.equal((await resolve(store, parseName(NAME))).verdict.trusted, true);
});

test("a server with another policy root: its models wait in quarantine", async (t) => {
  const [theirs, ours] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await theirs.store("a"), await ours.store("b")];
  await a.trust("acme/tiny", model(1));
  assert.deepEqual(await outcomes(b, await serve(t, a)), { [NAME]: "quarantined" });
  assert.equal(await isTrusted(b), false);
});

test("a server without the store key: all that proves itself counts, and nothing is remembered of the store", async (t) => {
  const { team, a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const key = join(team.folder, "a-state", a.store.id, "store_key");
  rmSync(key);
  const url = await serve(t, a);
  assert.deepEqual(await outcomes(b, url), { [NAME]: "adopted" });
  assert.equal(await isTrusted(b), true);
  assert.equal(await (await b.store.head()).readRef(remoteRef(a.store.id, "index")), undefined);
});

test("who claims another store's history without its signature adopts nothing, and leaves no mark against it", async (t) => {
  const { team, a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const url = await serve(t, a);
  await pullFrom(b, url);
  const evil = await team.store("evil");
  await evil.trust("acme/evil", model(2));
  const { store, storeKey, log } = (await offerOf(a)).index.value;
  const head = evil.store.id;
  for (const claim of [
    { store, storeKey, log: { ...log, head } },
    { store, log },
  ]) {
    const { index, files } = await offerOf(evil, claim);
    const { url: from } = await startOffering(t, () => ({ index, files }));
    await assert.rejects(pullFrom(b, from), {
      code: claim.storeKey === undefined ? "SIGNATURE_INVALID" : "LOG_FORKED",
    });
  }
  assert.equal(await isTrusted(b, "acme/evil@main"), false);
  await a.trust("acme/more", model(3));
  assert.equal((await outcomes(b, url))["acme/more@main"], "adopted");
  // With a signature it is evidence, as from a stick.
  const { index } = await offerOf(a, { log: { ...(await offerOf(a)).index.value.log, head } });
  const signature = await signSshsig(await a.store.needSigner(), "coffer-bundle", index.bytes);
  const forked = { index, signature, files: (await offerOf(a)).files };
  await assert.rejects(pullFrom(b, (await startOffering(t, () => forked)).url), { code: "LOG_FORKED" });
  assert.notEqual(await (await b.store.head()).readRef(remoteRef(a.store.id, "fork")), undefined);
  await assert.rejects(pullFrom(b, url), { code: "LOG_FORKED" });
});

test("what is interrupted goes on: parts that came are not asked for again, even if the server's log has moved", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", { "m.safetensors": makeSafetensors(20 * MIB, 1) });
  let offered = await offerOf(a);
  let broken = true;
  const { url, asked } = await startOffering(
    t,
    () => offered,
    ({ url: path, headers }, response) => {
      if (!broken || !isBlob(path) || headers.range?.startsWith(`bytes=${16 * MIB}-`) !== true) return false;
      response.writeHead(206, { "Content-Range": `bytes ${16 * MIB}-${20 * MIB + 79}/${20 * MIB + 80}` });
      response.write("some of it", () => response.destroy());
      return true;
    },
  );
  await assert.rejects(pullFrom(b, url), { code: "REMOTE_FAILED", message: BROKE_OFF });
  assert.equal(await isTrusted(b), false);
  await a.trust("acme/small", model(2));
  offered = await offerOf(a);
  broken = false;
  asked.length = 0;
  const found = await outcomes(b, url);
  assert.deepEqual(found, { "acme/small@main": "adopted", [NAME]: "adopted" });
  const ranges = asked.filter((one) => one.includes("bytes=")).map((one) => one.split(" ")[1]);
  assert.deepEqual(ranges, [`bytes=${16 * MIB}-${20 * MIB + 79}`]);
  assert.deepEqual(readdirSync(join(b.location.root, "local/tmp")), []);
  assert.deepEqual((await fsck(b.store)).problems, []);
});

/** @returns how often the index was asked for, and what was told of waiting */
async function pullWhere(t: TestContext, code: string, retryAfter: string | undefined, refusals: number) {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const offered = await offerOf(a);
  let left = refusals;
  const { url, asked } = await startOffering(
    t,
    () => offered,
    ({ url: path }, response) => {
      if (path !== "/v1/bundle" || left === 0) return false;
      left -= 1;
      const body = `{"error":{"code":"${code}","message":"x"}}\n`;
      response.writeHead(503, retryAfter === undefined ? {} : { "Retry-After": retryAfter }).end(body);
      return true;
    },
  );
  const told: string[] = [];
  const how = { ...options(b), http: { silenceMs: 600_000, onWait: (text: string) => told.push(text) } };
  const pulled = await pullRemote(b.store, { url }, how).catch((error: unknown) => error);
  const isHere = await isTrusted(b);
  return { pulled, isHere, told, tries: asked.filter((path) => path === "/v1/bundle").length };
}

test("a server that says when to ask again is asked again, and people are told once what is waited for", async (t) => {
  const { isHere, told, tries } = await pullWhere(t, "PREPARING", "1", 2);
  assert.equal(isHere, true);
  assert.deepEqual([told.length, tries], [1, 4], "two refusals, the index, and the look at the end");
  assert.match(told[0] ?? "", /goes through its names; it is asked again every 1 s/);
});

test("a pull from a store that commits all the time, and whose every index takes longer than a request waits", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const url = await serve(t, a, { offerPatienceMs: 0 });
  let [isOver, count] = [false, 0];
  const writing = (async () => {
    for (; !isOver; count += 1) await a.trust(`busy/m${count}`, model(10 + count));
  })();
  const stop = async (): Promise<void> => {
    isOver = true;
    await writing;
  };
  t.after(stop);
  assert.ok(await until(() => count > 0));
  const told: string[] = [];
  const http = { silenceMs: 600_000, waiting: new Waiting(1_800_000), onWait: (text: string) => void told.push(text) };
  await pullRemote(b.store, { url }, { ...options(b), http });
  assert.equal(await isTrusted(b), true);
  assert.equal(told.length, 1);
  await stop();
});

test("what a server says with PREPARING is sent back as it came, and nothing that is no number", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const offered = await offerOf(a);
  const given = ["7", "7", undefined, "x", "8, 9", "0"];
  const sent: unknown[] = [];
  const { url } = await startOffering(
    t,
    () => offered,
    ({ url: path, headers }, response) => {
      if (path !== "/v1/bundle") return false;
      sent.push(headers["coffer-since"]);
      if (given.length === 0) return false;
      const since = given.shift();
      const more = since === undefined ? {} : { "Coffer-Since": since };
      response.writeHead(503, { "Retry-After": "1", ...more }).end('{"error":{"code":"PREPARING","message":"x"}}\n');
      return true;
    },
  );
  await pullFrom(b, url);
  const { number } = offered.index.value.log;
  assert.deepEqual(sent, [undefined, "7", "7", "7", "7", "7", "7", String(number)], "and at the end, what was pulled");
});

test("a refusal that says nothing of waiting, or of waiting too long, is one", async (t) => {
  for (const [code, retryAfter] of [
    ["PREPARING", undefined],
    ["PREPARING", "61"],
    ["PREPARING", "0"],
    ["PREPARING", "1e1"],
    ["PREPARING", "-1"],
    ["CORRUPT", "1"],
    ["", "1"],
  ] as const) {
    const { pulled, isHere, told, tries } = await pullWhere(t, code, retryAfter, 1);
    assert.ok(pulled instanceof Error && /its index: it answered 503/.test(pulled.message), `${code} ${retryAfter}`);
    assert.deepEqual([isHere, told, tries], [false, [], 1]);
  }
});

test("a pull waits no longer in all than one may, however many answers put it off and however often it begins anew", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const offered = await offerOf(a);
  // Only what is waited for counts then, and not how long this machine takes to answer.
  const nowMs = performance.now();
  t.mock.method(performance, "now", () => nowMs);
  const preparing = (response: Parameters<Twist>[1]): void => {
    response.writeHead(503, { "Retry-After": "1" }).end('{"error":{"code":"PREPARING","message":"x"}}\n');
  };
  const waitLess = async (twist: Twist): Promise<unknown> => {
    const { url } = await startOffering(t, () => offered, twist);
    const http = { silenceMs: 600_000, waiting: new Waiting(1900) };
    return pullRemote(b.store, { url }, { ...options(b), http }).catch((error: unknown) => error);
  };
  const seen = new Set<string | undefined>();
  const eachOnce = await waitLess(({ url: path }, response) => {
    if (seen.has(path)) return false;
    seen.add(path);
    preparing(response);
    return true;
  });
  assert.ok(isCofferError(eachOnce, "REMOTE_FAILED"), String(eachOnce));
  assert.match(eachOnce.message, /the signature of its index: .* asked again for as long as one pull may wait/);
  let asked = 0;
  const anew = await waitLess(({ url: path }, response) => {
    if (path === "/v1/bundle") asked += 1;
    if (path === "/v1/bundle" && asked % 2 === 1) preparing(response);
    else if (isDocuments(path)) response.writeHead(404).end();
    else return false;
    return true;
  });
  assert.ok(isCofferError(anew, "REMOTE_FAILED"), String(anew));
  assert.equal(asked, 3);
});

test("documents that are cut because their index is gone by now: the pull begins anew; cut for nothing, it ends", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const before = await offerOf(a);
  await a.trust("acme/later", model(2));
  const after = await offerOf(a);
  let offered = before;
  const cut: Twist = ({ url: path }, response) => {
    if (!isDocuments(path) || offered === after) return false;
    const bytes = documentsOf(offered);
    response.writeHead(200, { "Content-Length": bytes.length }).write(bytes.subarray(0, 10), () => response.destroy());
    if (moves) offered = after;
    return true;
  };
  let moves = false;
  const { url } = await startOffering(t, () => offered, cut);
  await assert.rejects(pullFrom(b, url), { code: "REMOTE_FAILED", message: BROKE_OFF });
  moves = true;
  assert.deepEqual(await outcomes(b, url), { "acme/later@main": "adopted", [NAME]: "adopted" });
});

test("a revocation during the pull wins, also where all bytes have come; other changes disturb nobody", async (t) => {
  for (const when of ["before its bytes", "while they are sent", "after them"] as const) {
    const { a, b } = await makeTwo(t);
    await a.trust("acme/tiny", model(1));
    await a.trust("acme/other", model(2));
    const before = await offerOf(a);
    await a.revoke("acme/tiny", "bad");
    const after = await offerOf(a);
    let offered = before;
    const [blob] = before.index.value.items.filter(({ kind }) => kind === "blob").slice(-1);
    const { url } = await startOffering(
      t,
      () => offered,
      ({ url: path }, response) => {
        const isIt = blob?.kind === "blob" && path === `/v1/blobs/sha256/${blob.blob}`;
        if (!isIt || offered === after) return false;
        offered = after;
        if (when === "after them") whole(response, before.files.get(itemPath(blob)) ?? new Uint8Array());
        else if (when === "before its bytes") response.writeHead(404).end();
        else response.writeHead(200, { "Content-Length": blob.sizeBytes }).write("x", () => response.destroy());
        return true;
      },
    );
    const found = await outcomes(b, url);
    assert.equal(found["acme/other@main"], "adopted", when);
    await assert.rejects(resolve(b.store, parseName(NAME)), { code: "REVOKED" }, when);
    // Those that came whole before lie there under no name, until gc.
    if (when !== "after them") assert.equal(blobsIn(b).length, 1, when);
  }
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const before = await offerOf(a);
  await a.trust("acme/later", model(2));
  const after = await offerOf(a);
  let asked = 0;
  const { url } = await startOffering(
    t,
    () => (asked < 4 ? before : after),
    () => {
      asked += 1;
      return false;
    },
  );
  assert.deepEqual(await outcomes(b, url), { [NAME]: "adopted" });
});

for (const denial of DENIALS) {
  test(`a second signature over a ${denial} comes with the next pull, and wins over the pull that it overtakes`, async (t) => {
    const { team, a, second } = await signedAgain(t, denial);
    const [b, c] = [await team.store("pulls"), await team.store("overtaken")];
    const url = await serve(t, a);
    await pullFrom(b, url);
    const before = await offerOf(a);
    await second();
    const after = await offerOf(a);
    assert.deepEqual(after.index.value.revocations, before.index.value.revocations);
    assert.deepEqual([await isTrusted(a, REACHED), await isTrusted(b, REACHED)], [false, true]);
    await pullFrom(b, url);
    assert.equal(await isTrusted(b, REACHED), false);

    let offered = before;
    const overtaking: Twist = ({ url: path }) => {
      if (isBlob(path)) offered = after;
      return false;
    };
    await pullFrom(c, (await startOffering(t, () => offered, overtaking)).url);
    assert.deepEqual([offered, await isTrusted(c, REACHED)], [after, false]);
  });
}

test("a server that never gives what it lists ends in an error that says so, not in an endless loop", async (t) => {
  const { a, b } = await makeTwo(t);
  await a.trust("acme/tiny", model(1));
  const offered = await offerOf(a);
  for (const which of [isBlob, isDocuments]) {
    let tries = 0;
    const gone: Twist = ({ url: path }, response) => {
      if (!which(path)) return false;
      tries += 1;
      response.writeHead(404).end();
      return true;
    };
    const { url } = await startOffering(t, () => offered, gone);
    await assert.rejects(pullFrom(b, url), { code: "REMOTE_CHANGED" });
    assert.equal(tries, 3);
  }
});

/** What a hostile server does with one answer, and the codes that may come of it. */
const TRICKS: ReadonlyArray<readonly [what: string, codes: string, twist: (offered: Offered) => Twist]> = [
  ["is no coffer server", "REMOTE_FAILED", () => at(/^/, (a) => a.writeHead(404).end("<html>"))],
  ["has an index that is none", "BUNDLE_INVALID", () => at("/v1/bundle", (a) => whole(a, Buffer.from("{}\n")))],
  [
    "announces an endless index",
    "REMOTE_FAILED",
    () => at("/v1/bundle", (a) => a.writeHead(200, { "content-length": 2 ** 40 }).flushHeaders()),
  ],
  [
    "fails at the index",
    "REMOTE_FAILED",
    () => at("/v1/bundle", (a) => a.writeHead(503).end('{"error":{"code":"BUSY","message":"x"}}\n')),
  ],
  [
    "signs with another key",
    "SIGNATURE_INVALID",
    () => at(/signature$/, (a) => whole(a, Buffer.from(OTHER_SIGNATURE))),
  ],
  [
    "has a signature that is none",
    "SIGNATURE_INVALID",
    () => at(/signature$/, (a) => whole(a, Buffer.from("-----BEGIN"))),
  ],
  ["fails at the documents", "REMOTE_FAILED", () => at(/documents$/, (a) => a.writeHead(500).end())],
  ["sends other documents", "OBJECT_MISMATCH", (o) => at(/documents$/, (a) => whole(a, flipped(documentsOf(o))))],
  ["sends fewer documents", "REMOTE_FAILED", (o) => at(/documents$/, (a) => whole(a, documentsOf(o).subarray(1)))],
  [
    "sends more documents",
    "REMOTE_FAILED",
    (o) => at(/documents$/, (a) => whole(a, Buffer.concat([documentsOf(o), Buffer.from("x")]))),
  ],
  [
    "breaks off in the documents",
    "REMOTE_FAILED",
    (o) =>
      at(/documents$/, (a) =>
        a
          .writeHead(200, { "content-length": documentsOf(o).length })
          .write(documentsOf(o).subarray(0, 900), () => a.destroy()),
      ),
  ],
  [
    "sends endless documents",
    "REMOTE_FAILED",
    () =>
      at(
        /documents$/,
        (a) =>
          void (function more(): void {
            if (!a.destroyed) a.write("x".repeat(9000), more);
          })(),
      ),
  ],
  [
    "sends other bytes",
    "OBJECT_MISMATCH",
    () => at(isBlob, (a, range) => part(a, range, (size) => Buffer.alloc(size, 7))),
  ],
  [
    "sends fewer bytes",
    "REMOTE_FAILED",
    () => at(isBlob, (a, range) => part(a, range, (size) => Buffer.alloc(size - 1))),
  ],
  [
    "answers with another range",
    "REMOTE_FAILED",
    () => at(isBlob, (a, range) => part(a, range, (size) => Buffer.alloc(size), 1)),
  ],
  ["ignores the range", "REMOTE_FAILED", () => at(isBlob, (a) => whole(a, Buffer.alloc(8 * MIB)))],
  ["fails at the bytes", "REMOTE_FAILED", () => at(isBlob, (a) => a.writeHead(500).end())],
  [
    "leads elsewhere for bytes",
    "REMOTE_FAILED",
    () => at(isBlob, (a) => a.writeHead(307, { location: "http://127.0.0.1:1/" }).end()),
  ],
  ["wants a login for bytes", "REMOTE_DENIED", () => at(isBlob, (a) => a.writeHead(401).end())],
];
let OTHER_SIGNATURE = "";

function at(
  which: string | RegExp | ((url: string | undefined) => boolean),
  act: (response: Parameters<Twist>[1], range: string) => unknown,
): Twist {
  return ({ url = "", headers }, response) => {
    const isIt = typeof which === "string" ? url === which : which instanceof RegExp ? which.test(url) : which(url);
    if (isIt) act(response, headers.range ?? "");
    return isIt;
  };
}

const flipped = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([(bytes[0] ?? 0) ^ 1]), bytes.subarray(1)]);

/** Answers a range, perhaps with other bytes or as another range. */
function part(response: Parameters<Twist>[1], range: string, make: (sizeBytes: number) => Buffer, shift = 0): void {
  const [, start, end] = /^bytes=([0-9]+)-([0-9]+)$/.exec(range) ?? [];
  const bytes = make(Number(end) - Number(start) + 1);
  const told = `bytes ${Number(start) + shift}-${Number(end) + shift}/${20 * MIB + 80}`;
  response.writeHead(206, { "Content-Length": bytes.length, "Content-Range": told }).end(bytes);
}

test("a hostile server leaves nothing that did not prove itself, and an honest pull goes on from there", async (t) => {
  const { team, a } = await makeTwo(t);
  await a.trust("acme/tiny", { "m.safetensors": makeSafetensors(20 * MIB, 1) });
  await a.trust("acme/gone", model(2));
  await a.revoke("acme/gone");
  const offered = await offerOf(a);
  const other = nodeSigner(generatePrivateKey(team.ports.random, "other"));
  OTHER_SIGNATURE = await signSshsig(other, "coffer-bundle", offered.index.bytes);
  const honest = (await startOffering(t, () => offered)).url;
  const b = await team.store("hostile");
  for (const [what, code, twist] of TRICKS) {
    const { url } = await startOffering(t, () => offered, twist(offered));
    await assert.rejects(pullFrom(b, url), { code }, what);
    assert.equal(await isTrusted(b), false, what);
    assert.deepEqual(blobsIn(b), [], what);
  }
  assert.deepEqual((await fsck(b.store)).problems, []);
  assert.equal((await outcomes(b, honest))[NAME], "adopted");
  assert.deepEqual((await fsck(b.store)).problems, []);
  assert.deepEqual(readdirSync(join(b.location.root, "local/tmp")), []);
});
