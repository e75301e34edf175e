// SPDX-License-Identifier: Apache-2.0
/** What of a server's answers is not put up with, and where requests go (src/sync/http-reader.ts). */
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createServer as createSocketServer } from "node:net";
import { type TestContext, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { type Asked, type HttpOptions, HttpReader } from "../../src/sync/http-reader.ts";
import { makeCertificate } from "../support/certificate.ts";
import { listenOn } from "../support/offering-server.ts";

const PATIENT: HttpOptions = { silenceMs: 600_000 };
const HASTY: HttpOptions = { silenceMs: 200 };
/** For what answers and then stops; until it answers, a loaded machine may take a while. */
const FAIR: HttpOptions = { silenceMs: 2000 };
const answerMs = 600_000;

async function serve(t: TestContext, answer: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listenOn(t, createServer(answer))}`;
}

async function ask(address: string, asked: Asked, options: HttpOptions = PATIENT): Promise<Buffer> {
  const reader = new HttpReader(address, options);
  try {
    const pieces: Uint8Array[] = [];
    for await (const piece of (await reader.get(asked)).body()) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    reader.close();
  }
}

const EIGHT: Asked = { path: "/v1/x", sizeBytes: 8 };
const failed = (says: RegExp, code = "REMOTE_FAILED") => ({ code, message: says });

test("a request goes below the address, says nothing of this machine, and its bytes come as they are", async (t) => {
  const seen: { url: string | undefined; headers: object }[] = [];
  const url = await serve(t, ({ url: path, headers }, response) => {
    seen.push({ url: path, headers });
    response.setHeader("Set-Cookie", "id=1");
    response.end("12345678");
  });
  const reader = new HttpReader(`${url}/models/`, PATIENT);
  t.after(() => reader.close());
  assert.equal(reader.shown, `${url}/models`);
  for (const headers of [{}, { range: "bytes=0-7" }]) {
    const pieces: Uint8Array[] = [];
    for await (const piece of (await reader.get({ ...EIGHT, headers })).body()) pieces.push(piece);
    assert.equal(Buffer.concat(pieces).toString(), "12345678");
  }
  const host = url.slice("http://".length);
  const common = { accept: "*/*", "accept-encoding": "identity", host, connection: "keep-alive" };
  assert.deepEqual(seen, [
    { url: "/models/v1/x", headers: common },
    { url: "/models/v1/x", headers: { ...common, range: "bytes=0-7" } },
  ]);
});

test("no proxy of the environment is asked", async (t) => {
  const url = await serve(t, (_request, response) => response.end("12345678"));
  const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "NODE_USE_ENV_PROXY"];
  const before = names.map((name) => [name, process.env[name]] as const);
  t.after(() => {
    for (const [name, value] of before) if (value === undefined) delete process.env[name];
  });
  for (const name of names) process.env[name] = name === "NODE_USE_ENV_PROXY" ? "1" : "http://127.0.0.1:1";
  assert.equal((await ask(url, EIGHT)).toString(), "12345678");
});

const ANSWERS: ReadonlyArray<readonly [what: string, answer: RequestListener, says: RegExp, code?: string]> = [
  ["leads elsewhere", (_q, a) => a.writeHead(302, { location: "http://127.0.0.1:1/" }).end(), /it answered 302, which/],
  ["leads to its own", (_q, a) => a.writeHead(308, { location: "/other" }).end(), /it answered 308, which/],
  ["wants a login", (_q, a) => a.writeHead(401).end(), /it answered 401: it wants a login/, "REMOTE_DENIED"],
  ["forbids", (_q, a) => a.writeHead(403).end(), /it answered 403/, "REMOTE_DENIED"],
  ["is a proxy with a login", (_q, a) => a.writeHead(407).end(), /it answered 407/, "REMOTE_DENIED"],
  ["announces more", (_q, a) => a.writeHead(200, { "content-length": 9 }).end("123456789"), /expected 8 bytes/],
  ["announces less", (_q, a) => a.writeHead(200, { "content-length": 7 }).end("1234567"), /expected 8 bytes/],
  [
    "sends more in chunks",
    (_q, a) => void a.write("12345678", () => a.end("9")),
    /expected at most 8 bytes, found more/,
  ],
  ["sends less in chunks", (_q, a) => a.end("1234567").flushHeaders(), /expected 8|broke off after 7 bytes/],
  ["compresses", (_q, a) => a.writeHead(200, { "content-encoding": "gzip" }).end(), /as they are, found "gzip"/],
  [
    "breaks off",
    (_q, a) => a.writeHead(200, { "content-length": 8 }).write("1234", () => a.destroy()),
    /broke off after 4/,
  ],
  ["has endless headers", (_q, a) => a.writeHead(200, { "x-a": "a".repeat(20_000) }).end(), /HPE_HEADER_OVERFLOW/],
];
for (const [what, answer, says, code] of ANSWERS) {
  test(`a server that ${what} is refused`, async (t) => {
    await assert.rejects(ask(await serve(t, answer), EIGHT), failed(says, code));
  });
}

test("a server that says nothing, or stops, is not waited for longer than agreed", async (t) => {
  const silent = await serve(t, () => undefined);
  await assert.rejects(ask(silent, EIGHT, HASTY), failed(/cannot be reached \(no answer for 200 ms\)/));
  const stops = await serve(t, (_q, a) => void a.writeHead(200, { "content-length": 8 }).write("1234"));
  await assert.rejects(ask(stops, { ...EIGHT, answerMs }, FAIR), failed(/nothing came for 2000 ms/));
});

test("an endless body ends where the limit is, and one that drips does not keep its reader for ever", async (t) => {
  const endless = await serve(t, (_request, response) => {
    const more = (): void => void (response.destroyed || response.write("x".repeat(65_536), more));
    more();
  });
  await assert.rejects(ask(endless, { path: "/", mostBytes: 1_000_000 }), failed(/at most 1000000 bytes, found more/));
  const dripping = await serve(t, (_request, response) => {
    const timer = setInterval(() => response.write("x"), 50);
    response.on("close", () => clearInterval(timer));
  });
  let drips: unknown;
  // A machine that stands still meanwhile makes a silence of it; then it shows nothing, and is asked again.
  for (let tries = 0; tries < 10 && !/too slow/.test(String(drips)); tries += 1)
    drips = await ask(dripping, { path: "/", mostBytes: 1_000_000, answerMs }, FAIR).catch((error: unknown) => error);
  assert.ok(isCofferError(drips, "REMOTE_FAILED") && /too slow: [0-9]+ bytes came/.test(drips.message), String(drips));
  const headers = await listenOn(
    t,
    // Never a whole head: a line of it every few milliseconds.
    createSocketServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => socket.write("x: y\r\n"), 20);
      socket.on("close", () => clearInterval(timer));
      socket.on("error", () => undefined);
    }),
  );
  await assert.rejects(ask(`http://127.0.0.1:${headers}`, EIGHT, HASTY), failed(/no answer for 200 ms/));
});

test("what no server answers, and what is no HTTP", async (t) => {
  await assert.rejects(ask("http://127.0.0.1:1", EIGHT), failed(/127\.0\.0\.1:1: cannot be reached \(ECONNREFUSED\)/));
  const ssh = await listenOn(
    t,
    createSocketServer((socket) => void socket.end("SSH-2.0-x\r\n")),
  );
  await assert.rejects(ask(`http://127.0.0.1:${ssh}`, EIGHT), failed(/cannot be reached \(HPE_/));
});

test("a login is sent to this machine and over https, and is not told in errors", async (t) => {
  const url = await serve(t, ({ headers }, response) => {
    const isRight = headers.authorization === `Basic ${Buffer.from("me:se cret").toString("base64")}`;
    response.writeHead(isRight ? 200 : 401).end("12345678");
  });
  const login = { username: "me", password: "se cret" };
  assert.equal((await ask(url, EIGHT, { ...PATIENT, login })).toString(), "12345678");
  const wrong = { ...PATIENT, login: { ...login, password: "no" } };
  await assert.rejects(
    ask(url, EIGHT, wrong),
    failed(/^[^e]*: it answered 401: it refuses this with the login/, "REMOTE_DENIED"),
  );
  // Another name of this machine stands for another machine: nothing private lies between.
  const elsewhere = url.replace("127.0.0.1", "127.0.0.2");
  await assert.rejects(ask(elsewhere, EIGHT, { ...PATIENT, login }), (error: Error) => {
    assert.match(error.message, /cannot be reached|sent over https only/);
    return true;
  });
});

test("https: only with a certificate by an authority that is believed, whatever the environment says", async (t) => {
  const made = makeCertificate(t);
  const port = await listenOn(
    t,
    createSecureServer(made, (_request, response) => response.end("12345678")),
  );
  const url = `https://127.0.0.1:${port}`;
  assert.equal((await ask(url, EIGHT, { ...PATIENT, authorities: made.cert })).toString(), "12345678");
  const unknown = failed(/cannot be reached \((DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN)\)/);
  await assert.rejects(ask(url, EIGHT), unknown);
  await assert.rejects(ask(url, EIGHT, { ...PATIENT, authorities: makeCertificate(t).cert }), unknown);
  const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  t.after(() => {
    if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  });
  await assert.rejects(ask(url, EIGHT), unknown);
  const otherName = url.replace("127.0.0.1", "localhost");
  await assert.rejects(
    ask(otherName, EIGHT, { ...PATIENT, authorities: made.cert }),
    failed(/ERR_TLS_CERT_ALTNAME_INVALID|ECONNREFUSED|ENOTFOUND|EAI_AGAIN/),
  );
  for (const authorities of ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    assert.throws(() => new HttpReader(url, { authorities }), { code: "USAGE" });
});
