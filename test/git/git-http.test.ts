// SPDX-License-Identifier: Apache-2.0
/** What is asked of a git host, and what of its answers is not put up with. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { askGit, gitHttp } from "../../src/git/git-http.ts";
import { fetchBranch } from "../../src/git/git-remote.ts";
import { makeCertificate } from "../support/certificate.ts";
import { listenOn } from "../support/offering-server.ts";

const LIMITS = { answerBytes: 8, silenceMs: 30_000, workMs: 30_000 };
const HASTY = { ...LIMITS, silenceMs: 200 };

async function serve(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/models.git?token=secret`;
}

test("an answer comes whole, once as the library wants it and once as bytes; without a method it is GET", async (t) => {
  const url = await serve(t, (request, response) => response.end(request.method));
  const answer = await gitHttp(LIMITS).request({ url });
  assert.deepEqual([answer.statusCode, answer.statusMessage], [200, "OK"]);
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body ?? []) pieces.push(piece);
  assert.equal(Buffer.concat(pieces).toString(), "GET");
  const put = await askGit({ url, method: "PUT" }, LIMITS);
  assert.equal(Buffer.from(put.bytes).toString(), "PUT");
});

test("too long an answer, a silent host, one that leads elsewhere or is not there: refused, and no query is shown", async (t) => {
  const long = await serve(t, (_request, response) => response.end("123456789"));
  const silent = await serve(t, () => undefined);
  const elsewhere = await serve(t, (_request, response) => response.writeHead(301, { location: "/" }).end());
  for (const [url, says, limits = LIMITS] of [
    [long, /its answer is over 8 bytes/],
    [silent, /cannot be reached \(no answer for 200 ms\)/, HASTY],
    [elsewhere, /it answered 301, which leads elsewhere/],
    ["http://127.0.0.1:1/x.git", /cannot be reached \(ECONNREFUSED\)/],
    ["https://127.0.0.1:1/x.git", /cannot be reached \(ECONNREFUSED\)/],
  ] as const) {
    await assert.rejects(askGit({ url, method: "GET" }, limits), (error: Error & { code?: string }) => {
      assert.equal(error.code, "REMOTE_FAILED");
      assert.match(error.message, says);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

test("one byte more than the limit is refused, in however many pieces it comes", async (t) => {
  const limits = { ...LIMITS, answerBytes: 300_000 };
  for (const [sends, isFit] of [
    [300_000, true],
    [300_001, false],
  ] as const) {
    const url = await serve(t, (_request, response) => {
      for (let at = 0; at < sends; at += 7) response.write(Buffer.alloc(Math.min(7, sends - at), `${at % 10}`));
      response.end();
    });
    const answer = askGit({ url, method: "GET" }, limits);
    if (!isFit) await assert.rejects(answer, { code: "REMOTE_FAILED", message: /its answer is over 300000 bytes$/ });
    else {
      const expected = Array.from({ length: Math.ceil(sends / 7) }, (_, at) => `${(at * 7) % 10}`.repeat(7)).join("");
      assert.ok(Buffer.from((await answer).bytes).toString() === expected.slice(0, sends));
    }
  }
});

test("a host that drips is not waited for: not its head, not its body, not what stands between parts of the body", async (t) => {
  const dripping = async (begin: string, drop: string): Promise<string> => {
    const server = createSocketServer((socket) => {
      socket.write(begin);
      const timer = setInterval(() => socket.write(drop), 20);
      socket.on("close", () => clearInterval(timer));
      socket.on("error", () => undefined);
    });
    return `http://127.0.0.1:${await listenOn(t, server)}/models.git`;
  };
  const limits = { answerBytes: 1_000_000, silenceMs: 2000, workMs: 2000 };
  const ok = "HTTP/1.1 200 OK\r\n";
  for (const [begin, drop, says] of [
    [ok, "x: y\r\n", /cannot be reached \(no answer for 2000 ms\)/],
    [`${ok}content-length: 1000000\r\n\r\n`, "x", /too slow: [0-9]+ bytes came, fewer than 1024 a second/],
    [`${ok}transfer-encoding: chunked\r\n\r\n`, "0", /nothing came for 2000 ms/],
  ] as const) {
    const url = await dripping(begin, drop);
    let ended: unknown;
    // A machine that stands still meanwhile makes another silence of it; then it shows nothing, and is asked again.
    for (let tries = 0; tries < 10 && !says.test(String(ended)); tries += 1)
      ended = await askGit({ url, method: "GET" }, limits).catch((error: unknown) => error);
    assert.ok(isCofferError(ended, "REMOTE_FAILED") && says.test(ended.message), String(ended));
  }
});

test("a host whose hooks take their time may give next to nothing meanwhile, and not for ever", async (t) => {
  const server = createSocketServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
    let drops = 0;
    const timer = setInterval(() => {
      drops += 1;
      if (drops < 100) socket.write("x");
      else socket.end();
    }, 20);
    socket.on("close", () => clearInterval(timer));
    socket.on("error", () => undefined);
  });
  const url = `http://127.0.0.1:${await listenOn(t, server)}/models.git`;
  const patient = { answerBytes: 1_000_000, silenceMs: 600_000, workMs: 600_000 };
  assert.equal((await askGit({ url, method: "GET" }, patient)).bytes.length, 99);
  const slow = { code: "REMOTE_FAILED", message: /too slow/ };
  await assert.rejects(askGit({ url, method: "GET" }, { ...patient, workMs: 0 }), slow);
});

test("https: only with a certificate by an authority that is believed, whatever the environment says", async (t) => {
  const made = makeCertificate(t);
  const server = createSecureServer(made, (_request, response) => response.end("12345678")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/models.git`;
  const { bytes } = await askGit({ url, method: "GET" }, { ...LIMITS, authorities: made.cert });
  assert.equal(Buffer.from(bytes).toString(), "12345678");
  const unknown = { code: "REMOTE_FAILED", message: /DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN/ };
  const others = { ...LIMITS, authorities: makeCertificate(t).cert };
  await assert.rejects(askGit({ url, method: "GET" }, others), unknown);
  const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  t.after(() => {
    if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  });
  await assert.rejects(askGit({ url, method: "GET" }, LIMITS), unknown);
  await assert.rejects(fetchBranch({ url, authorities: "none" }, "coffer"), { code: "USAGE" });
});
