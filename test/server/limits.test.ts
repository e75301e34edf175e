// SPDX-License-Identifier: Apache-2.0
/** Few places: who finds none is told so at once, and an idle connection gives way. The long stories: connections.slow.test.ts. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { makeSafetensors } from "../support/store-fixture.ts";
import { errorOf, raw, serveNew, statusOf } from "./client.ts";

const BYTES = makeSafetensors(500);
const URL_OF_BLOB = `/v1/blobs/sha256/${sha256(BYTES)}`;

test("where no download may run a blob is refused for the moment, all else is answered", async (t) => {
  const { fixture, running } = await serveNew(t, { maxDownloads: 0 });
  await fixture.trust("acme/tiny", { "m.safetensors": BYTES });
  for (const method of ["GET", "HEAD"]) {
    const answer = await running.send(method, URL_OF_BLOB);
    assert.deepEqual([answer.status, answer.headers["retry-after"]], [503, "2"], method);
    if (method === "GET") assert.equal(errorOf(answer).code, "BUSY");
  }
  assert.equal((await running.get("/v1/resolve/acme/tiny/main")).status, 200);
  assert.deepEqual(running.faults, []);
});

/** A connection that has had its answer and stays open. */
async function openIdle(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined); // a reset is one way to end it
  socket.write(`GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  await once(socket, "data");
  return socket;
}

/** A connection that has asked for nothing whole yet. */
async function openAsking(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write("GET /v1/models HTTP/1.1\r\n");
  return socket;
}

test("an idle connection gives way to a new one; one that is asking does not, and the new one is turned away", async (t) => {
  const { running } = await serveNew(t, { maxConnections: 1 });
  const idle = await openIdle(running.port);
  const ended = once(idle, "close");
  const request = `GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:${running.port}\r\nConnection: close\r\n\r\n`;
  assert.equal(statusOf(await raw(running.port, request)), 200);
  await ended;
  const asking = await openAsking(running.port);
  assert.equal(statusOf(await raw(running.port, request)), 503);
  asking.destroy();
});
