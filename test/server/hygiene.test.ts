// SPDX-License-Identifier: Apache-2.0
/** What the edge refuses: foreign hosts, other methods, bodies, smuggled or doubtful requests, floods. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { createServer } from "../../src/server/server.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { errorOf, type Running, raw, serve, statusOf } from "./client.ts";

const SMALL = makeSafetensors(500);
const BLOB = `/v1/blobs/sha256/${sha256(SMALL)}`;
const SECURITY = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

let fixture: StoreFixture;
let running: Running;
const endings: (() => unknown)[] = [];
const ending = { after: (act: () => unknown) => void endings.unshift(act) };
before(async () => {
  fixture = await makeStoreFixture(ending);
  await fixture.trust("acme/tiny", { "m.safetensors": SMALL });
  running = await serve(ending, fixture, { hosts: ["models.example.org", "Proxy.example.org:8443"] });
});
after(async () => {
  for (const end of endings) await end();
});

/** One request over a fresh connection that the server is asked to close. */
function send(head: string, body = ""): Promise<string> {
  return raw(running.port, `${head.replaceAll("\n", "\r\n")}\r\nConnection: close\r\n\r\n${body}`);
}
const host = (): string => `Host: 127.0.0.1:${running.port}`;

suite("server: headers and methods", () => {
  test("every answer has the security headers, none has CORS or a Server header", async () => {
    const paths = ["/health", "/v1/models", "/v1/resolve/acme/tiny/main", BLOB, "/nothing", "//", "/v1/models?limit=x"];
    const answers = [
      ...(await Promise.all(paths.map((path) => running.get(path)))),
      await running.get(BLOB, { "If-None-Match": "*" }),
      await running.get(BLOB, { Range: "bytes=0-1" }),
      await running.get(BLOB, { Range: "bytes=9999-" }),
      await running.send("POST", "/health"),
      await running.get("/health", { Host: "evil.example" }),
      await running.get("/health", { Origin: "http://evil.example" }),
    ];
    for (const { headers } of answers) {
      for (const [name, value] of Object.entries(SECURITY)) assert.equal(headers[name], value);
      const names = Object.keys(headers);
      assert.deepEqual(
        names.filter((name) => name === "server" || name.startsWith("access-control") || name === "x-powered-by"),
        [],
      );
    }
    const broken = await raw(running.port, "GET / HTTP/1.1\nHost x\r\n\r\n");
    for (const [name, value] of Object.entries(SECURITY)) assert.ok(broken.toLowerCase().includes(`${name}: ${value}`));
  });

  test("only GET and HEAD", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]) {
      for (const path of ["/health", BLOB, "/nothing"]) {
        const answer = await running.send(method, path);
        assert.equal(answer.status, 405, method);
        assert.equal(answer.headers.allow, "GET, HEAD");
        assert.equal(errorOf(answer).code, "METHOD_NOT_ALLOWED");
      }
    }
    assert.equal(statusOf(await send(`OPTIONS * HTTP/1.1\n${host()}`)), 405);
    assert.equal(statusOf(await send(`CONNECT 127.0.0.1:22 HTTP/1.1\n${host()}`)), 405);
    assert.equal(statusOf(await send(`BREW / HTTP/1.1\n${host()}`)), 400);
    assert.equal(statusOf(await send(`get /health HTTP/1.1\n${host()}`)), 400);
  });

  test("bodies are refused and end the connection", async () => {
    const answer = await send(`GET /health HTTP/1.1\n${host()}\nContent-Length: 5`, "hello");
    assert.equal(statusOf(answer), 413);
    const kept = await raw(
      running.port,
      `GET /health HTTP/1.1\r\n${host()}\r\nContent-Length: 27\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n`,
    );
    assert.equal(kept.match(/HTTP\/1\.1 /g)?.length, 1, "what follows is never read as a request");
    assert.match(kept, /connection: close/i);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\nContent-Length: 0`)), 200);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\nTransfer-Encoding: chunked`, "0\r\n\r\n")), 400);
    const posted = await send(`POST /health HTTP/1.1\n${host()}\nContent-Length: 5`, "hello");
    assert.equal(statusOf(posted), 405);
    const expecting = await raw(
      running.port,
      `POST / HTTP/1.1\r\n${host()}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`,
    );
    assert.equal(statusOf(expecting), 405, "nobody is told to send a body");
  });
});

suite("server: hosts", () => {
  test("the loopback names with the port, and those that were given", async () => {
    const { port } = running;
    const good = [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`];
    for (const name of [...good, "models.example.org", "proxy.example.org:8443"]) {
      assert.equal(statusOf(await send(`GET /health HTTP/1.1\nHost: ${name}`)), 200, name);
    }
    const bad = [
      "127.0.0.1",
      "localhost",
      `127.0.0.1:${port + 1}`,
      `evil.example:${port}`,
      "proxy.example.org",
      "[::1]",
    ];
    const odd = [
      `127.0.0.1:${port}.evil.example`,
      `127.0.0.1:${port}@evil.example`,
      `127.1:${port}`,
      `localhost.:${port}`,
    ];
    for (const name of [...bad, ...odd, `user@127.0.0.1:${port}`, `127.0.0.1:0${port}`, `127.0.0.1:${port},evil`]) {
      const answer = await send(`GET /health HTTP/1.1\nHost: ${name}`);
      assert.equal(statusOf(answer), 421, name);
      assert.match(answer, /"HOST_REFUSED"/);
    }
  });

  test("missing, empty or repeated is 400", async () => {
    assert.equal(statusOf(await send("GET /health HTTP/1.1\nAccept: */*")), 400);
    assert.equal(statusOf(await send("GET /health HTTP/1.0\nAccept: */*")), 400);
    assert.equal(statusOf(await send("GET /health HTTP/1.1\nHost:")), 400);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\n${host()}`)), 400);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\nhOST: evil.example`)), 400);
    assert.equal(statusOf(await send(`GET /health HTTP/1.0\n${host()}`)), 200);
  });

  test("an absolute target counts as a host as well", async () => {
    const { port } = running;
    const ask = async (target: string): Promise<number> => statusOf(await send(`GET ${target} HTTP/1.1\n${host()}`));
    assert.equal(await ask(`http://127.0.0.1:${port}/health`), 200);
    assert.equal(await ask(`HTTP://LocalHost:${port}/v1/models?limit=1`), 200);
    assert.equal(await ask(`http://127.0.0.1:${port}`), 404);
    for (const target of ["http://evil.example/health", `http://x@127.0.0.1:${port}/health`, "http:///health"]) {
      assert.equal(await ask(target), 421, target);
    }
    for (const target of [`https://127.0.0.1:${port}/health`, "ftp://a/b", "health", "evil.example:80", "*"]) {
      assert.equal(await ask(target), 400, target);
    }
    assert.equal(statusOf(await send(`GET http://127.0.0.1:${port}/health HTTP/1.1\nHost: evil.example`)), 421);
  });

  test("only a loopback address is bound; a taken port has its own code", async () => {
    for (const address of ["0.0.0.0", "::", "localhost", "192.168.0.1", "", "127.0.0.2"]) {
      await assert.rejects(createServer(fixture.store).listen(0, address), { code: "USAGE" }, address);
    }
    for (const port of [-1, 65_536, 0.5, Number.NaN]) {
      await assert.rejects(createServer(fixture.store).listen(port), { code: "USAGE" });
    }
    await assert.rejects(createServer(fixture.store).listen(running.port), { code: "ADDRESS_IN_USE" });
    for (const name of ["", "a b", "http://x", "a/b", "a:", "*", "-a"]) {
      assert.throws(() => createServer(fixture.store, { hosts: [name] }), { code: "USAGE" }, name);
    }
  });
});

suite("server: targets", () => {
  const REFUSED = [
    ...[
      "//",
      "//health",
      "/health/",
      "/v1//models",
      "/./health",
      "/../health",
      "/v1/../health",
      "/v1/models/.",
      "/v1/..",
    ],
    ...["/%68ealth", "/v1/models/%2e%2e/x/y", "/v1/models/a%2fb/c/d", "/v1/models/a/b/c%00", "/v1/models/a%252fb/c/d"],
    ...[
      "/v1/models/..%5c/x/y",
      "/v1\\models",
      "/health#x",
      "/health%",
      "/v1/models/a%2Fb",
      "/%2e%2e/%2e%2e/etc/passwd",
    ],
  ];
  for (const target of REFUSED) {
    test(`${target} is refused as it stands`, async () => {
      const answer = await send(`GET ${target} HTTP/1.1\n${host()}`);
      assert.equal(statusOf(answer), 400);
      assert.match(answer, /"BAD_REQUEST"/);
    });
  }

  test("bytes that no target may hold", async () => {
    for (const byte of ["\0", "\x01", "\t", "\x7f", "\x80", "\xff", " "]) {
      const request = `GET /hea${byte}lth HTTP/1.1\r\n${host()}\r\nConnection: close\r\n\r\n`;
      assert.equal(statusOf(await raw(running.port, Buffer.from(request, "latin1"))), 400, JSON.stringify(byte));
    }
  });

  test("too long: 414, and past the header limit 431", async () => {
    assert.equal(statusOf(await send(`GET /${"a".repeat(2047)} HTTP/1.1\n${host()}`)), 404);
    assert.equal(statusOf(await send(`GET /${"a".repeat(2048)} HTTP/1.1\n${host()}`)), 414);
    assert.equal(statusOf(await send(`GET /${"a".repeat(17_000)} HTTP/1.1\n${host()}`)), 431);
  });
});

suite("server: smuggling and floods", () => {
  const smuggled: Record<string, string> = {
    "two lengths": "Content-Length: 0\nContent-Length: 5",
    "the same length twice": "Content-Length: 0\nContent-Length: 0",
    "a list of lengths": "Content-Length: 0, 0",
    "a signed length": "Content-Length: +0",
    "a hexadecimal length": "Content-Length: 0x0",
    "a negative length": "Content-Length: -1",
    "length and coding": "Content-Length: 5\nTransfer-Encoding: chunked",
    "coding and length": "Transfer-Encoding: chunked\nContent-Length: 5",
    "an unknown coding": "Transfer-Encoding: xchunked",
    "identity coding": "Transfer-Encoding: identity",
    "two codings": "Transfer-Encoding: gzip\nTransfer-Encoding: chunked",
    "a space before the colon": "Content-Length : 0",
    "a folded header": "X-A: 1\n 2",
    "a folded host": "X-A: 1\n\tHost: evil.example",
    "a header without a colon": "nonsense",
    "a header without a name": ": x",
    "a name with a space": "X A: 1",
    "NUL in a value": "X-A: a\0b",
    "a bare carriage return": "X-A: a\rb",
  };
  for (const [what, lines] of Object.entries(smuggled)) {
    test(`${what}: one refusal, and nothing after it is read`, async () => {
      const follow = `GET /health HTTP/1.1\r\n${host()}\r\n\r\n`;
      const bytes = `GET /health HTTP/1.1\r\n${host()}\r\n${lines.replaceAll("\n", "\r\n")}\r\n\r\n0\r\n\r\n${follow}`;
      const answer = await raw(running.port, Buffer.from(bytes, "latin1"));
      assert.equal(statusOf(answer), 400, answer);
      assert.equal(answer.match(/HTTP\/1\.1 [0-9]/g)?.length, 1);
    });
  }

  test("other versions and things that are not HTTP", async () => {
    for (const version of ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "http/1.1", "HTTP/1.1 x", "HTTP/11"]) {
      const status = statusOf(await send(`GET /health ${version}\n${host()}`));
      assert.ok(status === 400 || status === 505, `${version}: ${status}`);
    }
    for (const bytes of [
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "SSH-2.0-x\r\n",
      "GET /health\r\n\r\n",
    ]) {
      const status = statusOf(await raw(running.port, Buffer.from(bytes, "latin1")));
      assert.ok(status === 400 || status === 505, JSON.stringify(bytes));
    }
  });

  test("headers: 100 fields and 16 KiB, and no more", async () => {
    const fields = (count: number): string => Array.from({ length: count }, (_, at) => `X-${at}: 1`).join("\n");
    // Host and Connection are two more.
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\n${fields(98)}`)), 200);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\n${fields(99)}`)), 431);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${fields(200)}\n${host()}`)), 431);
    assert.equal(statusOf(await send(`GET /health HTTP/1.1\n${host()}\nX-A: ${"a".repeat(15_000)}`)), 200);
    const flood = await send(`GET /health HTTP/1.1\n${host()}\nX-A: ${"a".repeat(17_000)}`);
    assert.equal(statusOf(flood), 431);
    assert.match(flood, /"HEADERS_TOO_LARGE"/);
    assert.equal((await running.get("/health")).status, 200);
  });
});
