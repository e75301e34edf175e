// SPDX-License-Identifier: Apache-2.0
/** What a server offers to other stores, and what never leaves it that way (src/server/offer-answer.ts). */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { CofferError } from "../../src/base/errors.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath, objectPath } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import type { Asked, Offer } from "../../src/repo/serving.ts";
import { Probe } from "../../src/repo/serving-cache.ts";
import { OfferAnswers } from "../../src/server/offer-answer.ts";
import { type BundleIndex, parseBundleIndex } from "../../src/sync/bundle-index.ts";
import { itemPath } from "../../src/sync/source.ts";
import { checkIndex } from "../../src/sync/volume-reader.ts";
import { listenOn } from "../support/offering-server.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";
import { type Answer, errorOf, type Running, raw, serve, serveNew, statusOf } from "./client.ts";

interface Offered {
  readonly id: Digest;
  readonly index: BundleIndex;
  readonly documents: Buffer;
}

async function offeredBy({ get }: Running): Promise<Offered> {
  const answer = await get("/v1/bundle");
  assert.equal(answer.status, 200);
  const { id, value } = parseBundleIndex(answer.body);
  assert.equal(answer.headers.etag, `"${id}"`);
  const { status, body } = await get(`/v1/bundle/${id}/documents`);
  assert.equal(status, 200);
  return { id, index: value, documents: body };
}

const small = (seed: number) => ({ "m.safetensors": makeSafetensors(200, seed) });

/** A store with something in each state, and the texts that only what was never trusted holds. */
async function makeStates(t: TestContext): Promise<{ fixture: StoreFixture; running: Running; hidden: Digest[] }> {
  const { fixture, running } = await serveNew(t);
  await fixture.trust("acme/tiny", { "m.safetensors": makeSafetensors(9_000_000, 1) });
  await fixture.trust("acme/gone", small(2));
  await fixture.revoke("acme/gone", "leaked");
  const quarantined = await fixture.add("secret/waits", small(3));
  const proposed = await fixture.add("secret/proposed", small(4));
  const statement = await fixture.propose("secret/proposed");
  await fixture.approve("secret/proposed", statement, "alice");
  const denied = await fixture.add("secret/denied", small(5));
  await fixture.revoke("secret/denied", "never was any good");
  const blobs = [3, 4, 5].map((seed) => sha256(makeSafetensors(200, seed)));
  const hidden = [quarantined.manifest, proposed.manifest, statement, denied.manifest, ...blobs];
  return { fixture, running, hidden };
}

test("the index names what is trusted and all denials; its documents come in its order, and no others", async (t) => {
  const { running, hidden, fixture } = await makeStates(t);
  const { index, documents } = await offeredBy(running);
  const names = index.names.map(({ name, state }) => `${name} ${state}`);
  assert.deepEqual(names, ["acme/gone@main revoked", "acme/tiny@main trusted"]);
  assert.equal(index.revocations.length, 2, "a denial of what was never trusted as well");
  assert.deepEqual(index.candidates, []);
  assert.equal(index.store, fixture.store.id);
  const large = index.items.filter(({ kind }) => kind === "blob");
  assert.deepEqual(
    large.map((item) => [itemPath(item), item.sizeBytes]),
    [[blobPath(sha256(makeSafetensors(9_000_000, 1))), makeSafetensors(9_000_000, 1).length]],
    "no bytes of what was revoked",
  );
  let at = 0;
  for (const item of index.items) {
    if (item.kind === "blob") continue;
    const bytes = documents.subarray(at, at + item.sizeBytes);
    at += item.sizeBytes;
    if (item.kind === "object") assert.equal(sha256(bytes), item.id);
    else assert.match(bytes.toString(), /^-----BEGIN SSH SIGNATURE-----/);
  }
  assert.equal(at, documents.length);
  const objects = new Set(index.items.flatMap((item) => (item.kind === "object" ? [item.id] : [])));
  for (const id of hidden) assert.ok(!objects.has(id), id);
  // The name of what was denied without ever being trusted stands in its revocation, and nowhere else.
  assert.doesNotMatch(documents.toString("latin1"), /secret\/(?:waits|proposed)/);
  for (const id of hidden) assert.equal((await running.get(`/v1/blobs/sha256/${id}`)).status, 404);
});

test("the index is signed by the store key where the account has it, else by nobody", async (t) => {
  const { fixture, running } = await serveNew(t);
  await fixture.trust("acme/tiny", small(1));
  const { status, body } = await running.get("/v1/bundle");
  assert.equal(status, 200);
  const index = parseBundleIndex(body);
  const path = `bundle/index.json.${index.value.storeKey.keyId}.sig`;
  const signature = await running.get(`/v1/bundle/${index.id}/signature`);
  assert.equal(checkIndex(index, { path, armored: signature.body }, "it").index.id, index.id);

  rmSync(join(fixture.folder, "state", fixture.store.id, "store_key"));
  const keyless = await serve(t, fixture);
  assert.deepEqual((await keyless.get("/v1/bundle")).body, body, "the same state, the same bytes");
  const none = await keyless.get(`/v1/bundle/${index.id}/signature`);
  assert.deepEqual([none.status, errorOf(none).code], [404, "NOT_FOUND"]);
});

test("an index stands for one state: the same until something moves, and an older one can still be read", async (t) => {
  const { fixture, running } = await serveNew(t);
  await fixture.trust("acme/tiny", small(1));
  const first = await offeredBy(running);
  const same = await running.get("/v1/bundle", { "If-None-Match": `"${first.id}"` });
  assert.deepEqual([same.status, same.body.length, same.headers.etag], [304, 0, `"${first.id}"`]);
  const head = await running.send("HEAD", `/v1/bundle/${first.id}/documents`);
  assert.deepEqual([head.status, head.headers["content-length"]], [200, String(first.documents.length)]);

  await fixture.revoke("acme/tiny");
  const moved = await running.get("/v1/bundle", { "If-None-Match": `"${first.id}"` });
  assert.equal(moved.status, 200);
  const later = parseBundleIndex(moved.body);
  assert.equal(later.value.revocations.length, 1);
  assert.ok(later.value.items.every(({ kind }) => kind !== "blob"));
  assert.deepEqual((await running.get(`/v1/bundle/${first.id}/documents`)).body, first.documents);
  for (const seed of [2, 3, 4]) {
    await fixture.trust(`acme/m${seed}`, small(seed));
    await offeredBy(running);
  }
  assert.equal((await running.get(`/v1/bundle/${first.id}/documents`)).status, 404, "only the newest few are kept");
});

test("an index is made anew where time alone ended what is trusted", async (t) => {
  const { fixture, running } = await serveNew(t);
  await fixture.trust("acme/tiny", small(1), "2026-11-23T00:00:00Z");
  const before = await offeredBy(running);
  assert.ok(before.index.items.some(({ kind }) => kind === "blob"));
  fixture.nowS += 2 * 86_400;
  const after = await offeredBy(running);
  assert.deepEqual(after.index.log, before.index.log);
  assert.ok(after.index.items.every(({ kind }) => kind !== "blob"));
  assert.equal(after.index.names[0]?.state, "trusted", "what it stands for is told, its bytes are not given");
});

test("addresses that are none: one answer for all that is unknown, whatever is spelled", async (t) => {
  const { running } = await makeStates(t);
  const { id } = await offeredBy(running);
  const other = sha256(Buffer.from("another"));
  for (const path of [
    `/v1/bundle/${id}`,
    `/v1/bundle/${other}/documents`,
    `/v1/bundle/${id.toUpperCase()}/documents`,
    `/v1/bundle/${id}/objects`,
    `/v1/bundle/${id}/documents/1`,
    `/v1/Bundle`,
    `/V1/bundle`,
    `/v1/objects/sha256/${other}`,
    `/v1/${objectPath(other)}`,
    "/v1/signatures",
    "/v1/log/1",
    "/coffer.json",
    "/log/000000/000000000001",
    "/local/remotes/remotes.json",
  ]) {
    const answer = await running.get(path);
    assert.deepEqual([path, answer.status, errorOf(answer).code], [path, 404, "NOT_FOUND"]);
  }
  for (const path of [
    "/v1/bundle/",
    "/v1/bundle/..",
    `/v1/bundle/../bundle`,
    `/v1/bundle/%2e%2e/objects`,
    `/v1/%62undle`,
    `/v1/bundle/${id}//documents`,
    `/v1/bundle/${id}/documents/`,
    `/v1/bundle\\${id}`,
    "/v1/bundle?after=x",
    `/v1/bundle/${id}/documents?x`,
  ])
    assert.equal((await running.get(path)).status, 400, path);
  assert.equal((await running.send("PUT", "/v1/bundle")).status, 405);
  const long = `GET /v1/bundle/${"a".repeat(3000)} HTTP/1.1\r\nHost: 127.0.0.1:${running.port}\r\nConnection: close\r\n\r\n`;
  assert.equal(statusOf(await raw(running.port, long)), 414);
});

test("damage: of a name, it is left out; of a denial, there is no index; of a document, the stream is cut", async (t) => {
  const { fixture, running } = await serveNew(t);
  const { manifest } = await fixture.trust("acme/tiny", small(1));
  const lost = await fixture.trust("acme/lost", small(2));
  await fixture.trust("acme/bad", small(3));
  await fixture.revoke("acme/bad");
  rmSync(join(fixture.location.root, objectPath(lost.manifest)));
  const { index, id } = await offeredBy(running);
  assert.deepEqual(
    index.names.map(({ name }) => name),
    ["acme/bad@main", "acme/tiny@main"],
  );
  const path = join(fixture.location.root, objectPath(manifest));
  rmSync(path);
  writeFileSync(path, "{}\n");
  const cut = await running.get(`/v1/bundle/${id}/documents`);
  assert.deepEqual([cut.status, cut.complete], [200, false]);

  const [denial] = index.revocations;
  assert.ok(denial !== undefined);
  rmSync(join(fixture.location.root, objectPath(denial)));
  fixture.nowS += 601; // so that it is made anew
  const none = await running.get("/v1/bundle");
  assert.deepEqual([none.status, errorOf(none).code], [503, "CORRUPT"]);
});

test("an index that takes its time: 503 with when to ask again, and it is made all the same", async (t) => {
  const { fixture, running } = await serveNew(t, { offerPatienceMs: 0 });
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) await fixture.trust(`acme/m${seed}`, small(seed));
  const first = await running.get("/v1/bundle");
  assert.deepEqual([first.status, errorOf(first).code, first.headers["retry-after"]], [503, "PREPARING", "5"]);
  assert.equal((await askUntilGiven(running, first)).names.length, 8);
  assert.deepEqual(running.faults, []);
});

/** Asks as `pull` does until the index is given, with what it was told to send back. */
async function askUntilGiven({ get }: Running, first: Answer): Promise<BundleIndex> {
  let answer = first;
  const given = await until(async () => {
    if (answer.status === 200) return true;
    assert.deepEqual([answer.status, errorOf(answer).code], [503, "PREPARING"]);
    answer = await get("/v1/bundle", { "Coffer-Since": String(answer.headers["coffer-since"]) });
    return answer.status === 200;
  });
  assert.ok(given);
  return parseBundleIndex(answer.body).value;
}

/** Promotes one name after the other until the test ends, or until it is told to stop. */
function writeOn(t: TestContext, fixture: StoreFixture): { readonly stop: () => Promise<void> } {
  let isOver = false;
  const done = (async () => {
    for (let count = 0; !isOver; count += 1) await fixture.trust(`busy/m${count}`, small(100 + count));
  })();
  const stop = (): Promise<void> => {
    isOver = true;
    return done;
  };
  t.after(stop);
  return { stop };
}

test("who was sent away gets nothing that lacks a denial from before the next request, and all else at once", async (t) => {
  const { fixture, running } = await serveNew(t, { offerPatienceMs: 0 });
  for (const seed of [1, 2, 3]) await fixture.trust(`acme/m${seed}`, small(seed));
  const first = await running.get("/v1/bundle");
  const made = await askUntilGiven(running, first);
  const since = { "Coffer-Since": String(first.headers["coffer-since"]) };
  assert.equal(since["Coffer-Since"], String(made.log.number));

  await fixture.trust("acme/m4", small(4));
  const kept = await running.get("/v1/bundle", since);
  assert.deepEqual([kept.status, parseBundleIndex(kept.body).value.log.number], [200, made.log.number]);
  for (const field of ["0", "-1", "1e9", "x", `${since["Coffer-Since"]}, 1`]) {
    const other = await serve(t, fixture, { offerPatienceMs: 0 });
    const { log } = await askUntilGiven(other, await other.get("/v1/bundle", { "Coffer-Since": field }));
    assert.equal(log.number, (await fixture.store.head()).number, field);
  }

  await fixture.revoke("acme/m1", "leaked");
  const denied = await running.get("/v1/bundle", since);
  assert.deepEqual([denied.status, errorOf(denied).code], [503, "PREPARING"]);
  assert.deepEqual(denied.headers["coffer-since"], since["Coffer-Since"], "the first request is what counts");
  assert.equal((await askUntilGiven(running, denied)).revocations.length, 1);
});

test("beside a writer and a revoker: whatever is given has every revocation from before the request", async (t) => {
  const { fixture, running } = await serveNew(t, { offerPatienceMs: 0 });
  const writer = writeOn(t, fixture);
  let since: Record<string, string> = {};
  for (let revoked = 1; revoked <= 4; revoked += 1) {
    await fixture.trust(`acme/m${revoked}`, small(revoked));
    await fixture.revoke(`acme/m${revoked}`, "leaked");
    const given = await until(async () => {
      const answer = await running.get("/v1/bundle", since);
      const field = answer.headers["coffer-since"];
      if (typeof field === "string") since = { "Coffer-Since": field };
      if (answer.status !== 200) return false;
      assert.equal(parseBundleIndex(answer.body).value.revocations.length, revoked);
      return true;
    });
    assert.ok(given);
  }
  await writer.stop();
});

test("an index that fails after all have been sent away: the operator hears of it once, and so does whoever asks next", async (t) => {
  // A failure is kept for some seconds; none pass here, however long the machine takes.
  const nowMs = performance.now();
  t.mock.method(performance, "now", () => nowMs);
  const faults: unknown[] = [];
  const fails: ((error: Error) => void)[] = [];
  const probe = new Probe<Offer>(() => new Promise((_resolve, reject) => fails.push(reject)));
  const newest = () => probe.ask();
  // The head has always moved: nothing that was made will do.
  const moved = { asked: async () => ({ since: 1 }) as Asked, madeFor: async () => undefined };
  const offers = { ...moved, newest, byIndex: () => undefined, document: async () => new Uint8Array() };
  const onFault = (error: unknown): void => void faults.push(error);
  const answers = new OfferAnswers(offers, { patienceMs: 20, graceMs: 600_000, settleMs: 600_000, onFault });
  const port = await listenOn(
    t,
    createServer((request, response) => void answers.answer(request, response, { kind: "offer" })),
  );
  const ask = async () => /PREPARING|CORRUPT/.exec(await (await fetch(`http://127.0.0.1:${port}`)).text())?.[0];
  assert.equal(await ask(), "PREPARING");
  const damage = new CofferError("CORRUPT", "a denial is damaged");
  fails[0]?.(damage);
  for (let turns = 0; faults.length === 0 && turns < 100; turns += 1) await new Promise(setImmediate);
  assert.deepEqual([await ask(), await ask()], ["CORRUPT", "CORRUPT"]);
  assert.deepEqual(faults, [damage]);
  assert.equal(fails.length, 1, "nothing is made anew before it was told");
});

test("a server that closes while an index is made stops making it, and calls that no fault", async (t) => {
  let [looks, isSlow] = [0, false];
  const openFolder = (path: string): Files => {
    const files = openRealFiles(path);
    const look = files.stat.bind(files);
    const stat: Files["stat"] = async (file) => {
      looks += 1;
      if (isSlow) await setTimeout(10);
      return look(file);
    };
    return Object.assign(files, { stat });
  };
  const fixture = await makeStoreFixture(t, undefined, { openFolder });
  for (let seed = 1; seed <= 8; seed += 1) await fixture.trust(`acme/m${seed}`, small(seed));
  const before = looks;
  const whole = await serve(t, fixture);
  assert.equal((await whole.get("/v1/bundle")).status, 200);
  const all = looks - before;
  isSlow = true;
  const running = await serve(t, fixture, { offerPatienceMs: 0 });
  const begun = looks;
  assert.equal((await running.get("/v1/bundle")).status, 503);
  assert.ok(await until(() => looks > begun + 3));
  await running.server.close(0);
  const atEnd = looks;
  assert.ok(atEnd - begun < all / 2, `${atEnd - begun} of ${all}`);
  await setTimeout(200);
  assert.equal(looks, atEnd);
  assert.deepEqual(running.faults, []);
});
