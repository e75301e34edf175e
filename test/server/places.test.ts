// SPDX-License-Identifier: Apache-2.0
/** Who has a place, who waits for one, and who loses one (src/server/places.ts). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Places } from "../../src/server/places.ts";
import { listenOn } from "../support/offering-server.ts";
import { until } from "../support/until.ts";

/** A server with two places. `/NAME/RATE` holds one until the connection ends, at so many bytes a second. */
async function scene(t: TestContext, patienceMs: number) {
  const places = new Places(2, patienceMs);
  /** In the order in which they were served. */
  const served: string[] = [];
  /** Whose connection the server has seen to end. */
  const left: string[] = [];
  const server = createServer(async (request, response) => {
    const [, name = "", rate] = (request.url ?? "").split("/");
    response.once("close", () => left.push(name));
    const holder = {
      bytesPerS: Number(rate),
      get isEnded() {
        return response.destroyed;
      },
      end: () => void response.destroy(),
    };
    const isPlaced = await places.use(response, holder, async () => {
      const closed = once(response, "close");
      served.push(name);
      response.write("here");
      await closed;
    });
    if (!isPlaced && !response.destroyed) response.writeHead(503).end();
  });
  const port = await listenOn(t, server);
  /** Resolves when the request has come, and perhaps been served. */
  const ask = async (name: string, rate: number): Promise<Socket> => {
    const come = once(server, "request");
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    socket.write(`GET /${name}/${rate} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    await come;
    return socket;
  };
  return { served, left, ask };
}

const [SLOW, SLOWER, QUICK] = [20, 10, 1024 * 1024];

test("whoever waits is served in order, from the slowest place on; and no more give way than wait", async (t) => {
  const { served, left, ask } = await scene(t, 600_000);
  await ask("one", SLOW);
  await ask("two", SLOWER);
  await ask("three", QUICK);
  await ask("four", SLOW);
  assert.ok(await until(() => served.length === 4));
  assert.deepEqual(served, ["one", "two", "three", "four"]);
  assert.deepEqual(left, ["two", "one"]);
  await setTimeout(1500);
  assert.deepEqual(left, ["two", "one"], "nobody waits");
  await ask("five", QUICK);
  assert.ok(await until(() => served.length === 5), "a slow one that had to wait itself gives way in turn");
  assert.deepEqual(left, ["two", "one", "four"]);
});

test("nobody loses a place who is quick enough: who waits for too long is told to come again", async (t) => {
  const { served, left, ask } = await scene(t, 1600);
  const one = await ask("one", QUICK);
  await ask("two", QUICK);
  await ask("three", QUICK);
  assert.ok(await until(() => left.length > 0));
  assert.deepEqual([served, left], [["one", "two"], ["three"]]);
  one.destroy();
  assert.ok(await until(() => left.includes("one")));
  await ask("four", QUICK);
  assert.deepEqual(served, ["one", "two", "four"]);
});

test("whoever leaves the line is passed over", async (t) => {
  const { served, left, ask } = await scene(t, 600_000);
  const one = await ask("one", QUICK);
  await ask("two", QUICK);
  const three = await ask("three", QUICK);
  await ask("four", QUICK);
  three.destroy();
  assert.ok(await until(() => left.includes("three")));
  one.destroy();
  assert.ok(await until(() => served.length === 3));
  assert.deepEqual(served, ["one", "two", "four"]);
});
