// SPDX-License-Identifier: Apache-2.0
/** What is asked of a git host, and what of its answers is not put up with. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { askGit, gitHttp } from "../../src/git/git-http.ts";
import { fetchBranch } from "../../src/git/git-remote.ts";
import { makeCertificate } from "../support/certificate.ts";

const LIMITS = { answerBytes: 8, silenceMs: 30_000 };
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
    [silent, /cannot be reached \(nothing came for 200 ms\)/, HASTY],
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
