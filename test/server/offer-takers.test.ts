// SPDX-License-Identifier: Apache-2.0
/** Who takes an offer slowly, or waits for a place to take one (src/server/offer-answer.ts). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import type { Asked, Offer } from "../../src/repo/serving.ts";
import { OfferAnswers, type OfferLimits } from "../../src/server/offer-answer.ts";
import { listenOn } from "../support/offering-server.ts";
import { until } from "../support/until.ts";

/** A head that has always moved: nothing that was made will do. */
const MOVED = { asked: async () => ({ since: 1 }) as Asked, madeFor: async () => undefined };

/** No time passes of itself that would matter, but for what a test shortens. */
const LIMITS = { patienceMs: 600_000, graceMs: 600_000, settleMs: 600_000, onFault: () => undefined };
const MIB = 1024 * 1024;

/** A server of made-up offers, a new one for each request for `/`; `/ID` is the documents of one. */
async function serveOffers(t: TestContext, limits: Partial<OfferLimits> = {}) {
  const kept: Offer[] = [];
  const bytes = new Uint8Array(32 * MIB);
  const offers = {
    ...MOVED,
    newest: async () => {
      const id = sha256(Buffer.from(`index ${kept.length}`));
      const index = { id, bytes, value: {} };
      const offer = { index, documents: [{}, {}], documentBytes: 64 * MIB } as unknown as Offer;
      kept.unshift(offer);
      return offer;
    },
    byIndex: (id: Digest) => kept.slice(0, 3).find(({ index }) => index.id === id),
    document: async () => bytes,
  };
  const answers = new OfferAnswers(offers, { ...LIMITS, ...limits });
  /** Requests that have come, and answers that were cut. */
  const seen = { come: 0, cut: 0 };
  const port = await listenOn(
    t,
    createServer((request, response) => {
      seen.come += 1;
      response.once("close", () => (seen.cut += response.writableFinished ? 0 : 1));
      const index = kept.find(({ index: { id } }) => request.url === `/${id}`)?.index.id;
      const route = index === undefined ? ({ kind: "offer" } as const) : ({ kind: "offer-documents", index } as const);
      void answers.answer(request, response, route);
    }),
  );
  const get = async (path = "") => (await (await fetch(`http://127.0.0.1:${port}/${path}`)).arrayBuffer()).byteLength;
  return { kept, seen, port, get };
}

/** Asks, and takes nothing until it is told to. @returns when it was ended */
function askSlowly(t: TestContext, port: number, path = ""): { slow: Socket; ended: Promise<unknown> } {
  const slow = connect(port, "127.0.0.1");
  t.after(() => slow.destroy());
  slow.pause();
  slow.on("error", () => undefined); // a reset is one way to end it
  slow.write(`GET /${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return { slow, ended: once(slow, "close") };
}

test("who takes an index or its documents slowly is cut once that index is gone, so that no more stay in memory", async (t) => {
  for (const what of ["index", "documents"]) {
    const { kept, seen, port, get } = await serveOffers(t);
    if (what === "documents") await get();
    const before = seen.come;
    const { slow, ended } = askSlowly(t, port, what === "documents" ? kept[0]?.index.id : "");
    assert.ok(await until(() => seen.come > before));
    for (let time = 0; time < 2; time += 1) assert.equal(await get(), 32 * MIB);
    assert.equal(seen.cut, 0);
    await get();
    assert.equal(seen.cut, 1);
    slow.resume();
    await ended;
    assert.ok(slow.bytesRead < 32 * MIB, `${what}: ${slow.bytesRead} bytes`);
  }
});

test("while all places are taken whoever asks for one is sent away in the end, and who has one has all", async (t) => {
  const { kept, seen, port, get } = await serveOffers(t, { patienceMs: 500 });
  await get();
  const id = kept[0]?.index.id ?? "";
  const slow = [...Array(16).keys()].map(() => askSlowly(t, port, id));
  assert.ok(await until(() => seen.come === 17));
  assert.ok((await get(id)) < 1000, "all places are taken");
  for (const one of slow.slice(1)) one.slow.destroy();
  assert.ok(await until(() => seen.cut === 15), "those who went away");
  assert.equal(await get(id), 64 * MIB, "their places are free again");
  slow[0]?.slow.resume();
  assert.ok(await until(() => (slow[0]?.slow.bytesRead ?? 0) > 64 * MIB), "the one that stayed has all");
});

test("who takes an index or its documents too slowly loses the place, whoever else asks; who is quick enough has all", async (t) => {
  const { kept, seen, port, get } = await serveOffers(t, { graceMs: 2000 });
  // Whoever is quick may be cut as well where this machine stands still for that long; then it asks again.
  const getAll = (bytes: number, path = "") => until(async () => (await get(path).catch(() => 0)) === bytes);
  assert.ok(await getAll(32 * MIB));
  const id = kept[0]?.index.id ?? "";
  assert.ok(await getAll(64 * MIB, id));
  const before = { ...seen };
  const slow = [...Array(16).keys()].map(() => askSlowly(t, port, id));
  slow.push(askSlowly(t, port));
  assert.ok(await until(() => seen.come === before.come + 17));
  assert.ok(await getAll(64 * MIB, id), "a place came free");
  assert.ok(await until(() => seen.cut >= before.cut + 17));
  for (const one of slow) {
    one.slow.resume();
    await one.ended;
    assert.ok(one.slow.bytesRead < 32 * MIB);
  }
});

test("whoever holds all places and takes little gives them up to who waits; who is gone meanwhile costs none", async (t) => {
  const { kept, seen, port, get } = await serveOffers(t, { settleMs: 0 });
  await get();
  const id = kept[0]?.index.id ?? "";
  for (let place = 0; place < 16; place += 1) askSlowly(t, port, id);
  assert.ok(await until(() => seen.come === 17));
  const gone = askSlowly(t, port, id);
  assert.ok(await until(() => seen.come === 18));
  gone.slow.destroy();
  assert.ok(await until(() => seen.cut === 1));
  assert.equal(await get(id), 64 * MIB);
  await setTimeout(1000);
  assert.equal(seen.cut, 2, "one place was enough");
});

test("who waits for a place while its index is gone is told so", async (t) => {
  const { kept, seen, port, get } = await serveOffers(t);
  await get();
  const id = kept[0]?.index.id ?? "";
  for (let place = 0; place < 16; place += 1) askSlowly(t, port, id);
  assert.ok(await until(() => seen.come === 17));
  const waiting = fetch(`http://127.0.0.1:${port}/${id}`);
  assert.ok(await until(() => seen.come === 18));
  for (let newer = 0; newer < 3; newer += 1) await get();
  assert.equal((await waiting).status, 404);
});
