// SPDX-License-Identifier: Apache-2.0
/** Connections over time: slow and silent clients, requests sent ahead, and closing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { suite, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { createServer } from "../../src/server/server.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";
import { drain, errorOf, raw, serveNew, slowDownload, statusOf } from "./client.ts";

const LARGE = makeSafetensors(40 * 1024 * 1024, 5);
const LARGE_URL = `/v1/blobs/sha256/${sha256(LARGE)}`;

/** Machines without IPv6 have no ::1. */
const HAS_IPV6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));

/** A connection that was answered once and is kept for the next request. */
async function kept(port: number) {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const again = async (): Promise<void> => {
    const answered = once(socket, "data");
    socket.write(`GET /health HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
    await answered;
  };
  await again();
  return { socket, again };
}

suite("server: connections", () => {
  test("headers that do not arrive in time: 408, however steadily they trickle", async (t) => {
    const { running } = await serveNew(t, { headerTimeoutMs: 300 });
    const text = await new Promise<string>((resolve) => {
      const socket = connect(running.port, "127.0.0.1");
      let answer = "";
      const drip = setInterval(() => socket.write("X-A: 1\r\n"), 50);
      socket.write("GET /health HTTP/1.1\r\n");
      socket.on("data", (part) => {
        answer += part.toString("latin1");
      });
      socket.on("error", () => undefined);
      socket.on("close", () => {
        clearInterval(drip);
        resolve(answer);
      });
    });
    assert.equal(statusOf(text), 408);
    const silent = connect(running.port, "127.0.0.1");
    silent.on("error", () => undefined).resume();
    assert.ok(await until(() => silent.closed), "a client that says nothing is not kept");
  });

  test("a client that takes nothing is dropped", async (t) => {
    const { fixture, running } = await serveNew(t, { stallMs: 2000, maxDownloads: 1 });
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const stalled = await slowDownload(running.port, LARGE_URL);
    assert.ok(await until(async () => (await running.send("HEAD", LARGE_URL)).status === 200), "its place is free");
    assert.ok((await drain(stalled)) < LARGE.length);
  });

  test("one that takes slowly is not, though slower than every limit in all", async (t) => {
    // Long enough that a machine that stands still for some seconds is no client that takes nothing.
    const { fixture, running } = await serveNew(t, { stallMs: 15_000, headerTimeoutMs: 12_000 });
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const began = performance.now();
    const slow = await slowDownload(running.port, LARGE_URL);
    let taken = 0;
    const whole = new Promise<void>((resolve) => slow.on("close", () => resolve()));
    slow.on("data", (part) => {
      taken += part.length;
      if (taken % (8 * 1024 * 1024) < part.length) {
        slow.pause();
        setTimeout(() => slow.resume(), 3500);
      }
    });
    await whole;
    assert.ok(performance.now() - began > 15_000);
    assert.ok(taken > LARGE.length, "whole");
  });

  test("requests sent ahead are answered in order; too many end the connection", async (t) => {
    const { running } = await serveNew(t);
    const request = (path: string, more = ""): string =>
      `GET ${path} HTTP/1.1\r\nHost: localhost:${running.port}\r\n${more}\r\n`;
    const text = await raw(
      running.port,
      request("/health") +
        request("/nothing") +
        request("/v1/models?limit=x") +
        request("/v1/models", "Connection: close\r\n"),
    );
    const statuses = [...text.matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)].map((found) => found[1]);
    assert.deepEqual(statuses, ["200", "404", "400", "200"]);
    const flood = await raw(running.port, request("/health").repeat(500));
    assert.ok((flood.match(/HTTP\/1\.1 /g)?.length ?? 0) <= 17);
    assert.equal((await running.get("/health")).status, 200);
  });

  test("nonsense after a request never gets into the middle of its answer", async (t) => {
    const { fixture, running } = await serveNew(t);
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const text = await raw(
      running.port,
      `GET ${LARGE_URL} HTTP/1.1\r\nHost: localhost:${running.port}\r\n\r\n\x00nonsense\r\n\r\n`,
    );
    assert.ok(text.length < LARGE.length, "cut");
    assert.equal(text.includes("BAD_REQUEST"), false);
  });

  test("when all places are taken by silent clients, one more is told so", async (t) => {
    const { running } = await serveNew(t, { maxConnections: 2 });
    const held = [connect(running.port, "127.0.0.1"), connect(running.port, "127.0.0.1")];
    await Promise.all(held.map((socket) => once(socket, "connect")));
    for (const request of ["", `GET /health HTTP/1.1\r\nHost: localhost:${running.port}\r\n\r\n`]) {
      const text = await raw(running.port, request);
      assert.equal(statusOf(text), 503);
      assert.match(text, /^Retry-After: [0-9]+\r$/m);
      assert.match(text, /"code":"BUSY"/);
      assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1);
    }
    for (const socket of held) socket.destroy();
    assert.ok(await until(async () => (await running.get("/health")).status === 200));
  });

  test("idle connections give way to new ones, the longest idle first; served ones never do", async (t) => {
    const { fixture, running } = await serveNew(t, { maxConnections: 4 });
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const download = await slowDownload(running.port, LARGE_URL);
    const idle = [await kept(running.port), await kept(running.port), await kept(running.port)];
    await idle[0]?.again(); // so the second is the longest idle now
    assert.equal((await running.get("/health")).status, 200);
    assert.ok(await until(() => idle.some(({ socket }) => socket.closed)));
    assert.deepEqual(
      idle.map(({ socket }) => socket.closed),
      [false, true, false],
    );
    for (let turn = 0; turn < 20; turn += 1) assert.equal((await running.get("/health")).status, 200);
    assert.ok((await drain(download)) > LARGE.length, "whole");
    assert.deepEqual(running.faults, []);
  });

  test("more downloads than allowed: 503 with Retry-After, other requests go on; each that ends makes room", async (t) => {
    const { fixture, running } = await serveNew(t, { maxDownloads: 2 });
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const [first, second] = [await slowDownload(running.port, LARGE_URL), await slowDownload(running.port, LARGE_URL)];
    for (const method of ["GET", "HEAD"]) {
      const answer = await running.send(method, LARGE_URL);
      assert.equal(answer.status, 503);
      assert.equal(answer.headers["retry-after"], "2");
      if (method === "GET") assert.equal(errorOf(answer).code, "BUSY");
    }
    assert.equal((await running.get("/v1/resolve/acme/large/main")).status, 200);
    assert.equal((await running.get(LARGE_URL, { "If-None-Match": "*" })).status, 304);
    first.destroy();
    assert.ok(
      await until(async () => (await running.send("HEAD", LARGE_URL)).status === 200),
      "one that ended made room",
    );
    assert.ok((await drain(second)) > LARGE.length);
    assert.equal((await running.get(LARGE_URL)).complete, true);
    assert.deepEqual(running.faults, [], "being full is no fault");
  });

  test("the bytes are the same over ::1", { skip: HAS_IPV6 ? false : "this machine has no ::1" }, async (t) => {
    const { fixture } = await serveNew(t);
    const server = createServer(fixture.store);
    t.after(() => server.close(0));
    const { port } = await server.listen(0, "::1");
    const answer = await fetch(`http://[::1]:${port}/health`);
    assert.equal(answer.status, 200);
  });
});

suite("server: closing", () => {
  test("a running download ends whole; nobody new is let in; idle connections do not hold it up", async (t) => {
    const { fixture, running } = await serveNew(t);
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const idle = connect(running.port, "127.0.0.1");
    idle.write(`GET /health HTTP/1.1\r\nHost: localhost:${running.port}\r\n\r\n`);
    await new Promise((resolve) => idle.once("data", resolve));
    const download = await slowDownload(running.port, LARGE_URL, "\r\n"); // to be kept alive
    const closed = running.server.close(600_000);
    await assert.rejects(running.get("/health"), { code: "ECONNREFUSED" });
    const started = performance.now();
    assert.ok((await drain(download)) > LARGE.length);
    assert.equal(await closed, 0, "cut");
    assert.ok(performance.now() - started < 500_000, "not held up for all the time that it would wait");
    await running.server.close(0);
  });

  test("a download that does not end in time is cut", async (t) => {
    const { fixture, running } = await serveNew(t);
    await fixture.trust("acme/large", { "m.safetensors": LARGE });
    const download = await slowDownload(running.port, LARGE_URL);
    const started = performance.now();
    assert.equal(await running.server.close(200), 1, "cut");
    const took = performance.now() - started;
    assert.ok(took >= 150 && took < 300_000, `${took} ms`);
    assert.ok((await drain(download)) < LARGE.length);
  });

  test("a server that never listened closes too", async (t) => {
    const { fixture } = await serveNew(t);
    await createServer(fixture.store).close(0);
  });
});
