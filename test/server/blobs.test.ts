// SPDX-License-Identifier: Apache-2.0
/** Blobs over HTTP: ranges, conditions, and that neither damage nor a revocation ever ends in a complete download. */
import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";
import { until } from "../support/until.ts";
import { drain, errorOf, type Running, serve, slowDownload } from "./client.ts";

const CHUNK = LIMITS.chunkBytes;
const SMALL = makeSafetensors(500);
const BIG = makeSafetensors(2 * CHUNK + 1000, 2);
/** More than the kernel takes in for a client that does not read. */
const LARGE = makeSafetensors(40 * 1024 * 1024, 3);

function blobUrl(bytes: Uint8Array): string {
  return `/v1/blobs/sha256/${sha256(bytes)}`;
}

function blobFile(fixture: StoreFixture, blob: Digest): string {
  return join(fixture.location.root, "blobs", blob.slice(0, 2), blob.slice(2));
}

/** A second request, sent ahead on the same connection. */
const NEXT = "\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** The last of what comes over `socket`, once it has ended. */
function tailOf(socket: Socket): () => string {
  let tail = "";
  socket.on("data", (part) => {
    tail = (tail + part.toString("latin1")).slice(-4096);
  });
  return () => tail;
}

/** Changes a stored blob behind the store's back. */
function damage(fixture: StoreFixture, bytes: Uint8Array, change: (stored: Buffer) => void): void {
  const path = blobFile(fixture, sha256(bytes));
  const stored = readFileSync(path);
  change(stored);
  chmodSync(path, 0o644);
  writeFileSync(path, stored);
}

const flip = (at: number) => (stored: Buffer) => {
  stored[at] = (stored[at] ?? 0) ^ 1;
};

suite("server: bytes of a blob", () => {
  let running: Running;
  const endings: (() => unknown)[] = [];
  before(async () => {
    const ending = { after: (act: () => unknown) => void endings.unshift(act) };
    const fixture = await makeStoreFixture(ending);
    await fixture.trust("acme/tiny", { "m.safetensors": SMALL, "empty.txt": new Uint8Array(0) });
    await fixture.trust("acme/big", { "m.safetensors": BIG });
    running = await serve(ending, fixture);
  });
  after(async () => {
    for (const end of endings) await end();
  });

  test("the whole: exact length, tag, no content negotiation", async () => {
    for (const bytes of [SMALL, BIG, new Uint8Array(0)]) {
      const answer = await running.get(blobUrl(bytes));
      assert.equal(answer.status, 200);
      assert.equal(answer.complete, true);
      assert.equal(sha256(answer.body), sha256(bytes));
      assert.equal(answer.headers["content-length"], String(bytes.length));
      assert.equal(answer.headers["content-type"], "application/octet-stream");
      assert.equal(answer.headers.etag, `"${sha256(bytes)}"`);
      assert.equal(answer.headers["accept-ranges"], "bytes");
      assert.equal(answer.headers["cache-control"], "no-store");
      assert.equal(answer.headers["transfer-encoding"], undefined);
    }
  });

  const size = SMALL.length;
  const whole: [number, number] = [200, size];
  const RANGES: [field: string, status: number, start: number, end: number][] = [
    ["bytes=0-0", 206, 0, 1],
    ["bytes=0-", 206, 0, size],
    ["BYTES=10-19", 206, 10, 20],
    [`bytes=5-${size - 1}`, 206, 5, size],
    [`bytes=5-${size}`, 206, 5, size],
    ["bytes=5-99999999999999999999999", 206, 5, size],
    [`bytes=${size - 1}-`, 206, size - 1, size],
    ["bytes=-1", 206, size - 1, size],
    [`bytes=-${size}`, 206, 0, size],
    ["bytes=-99999999999999999999999", 206, 0, size],
    [`bytes=${size}-`, 416, 0, 0],
    [`bytes=${size}-${size + 5}`, 416, 0, 0],
    ["bytes=99999999999999999999999-", 416, 0, 0],
    ["bytes=-0", 416, 0, 0],
    ...["bytes=5-4", "bytes=0-1,5-6", "bytes=-", "bytes=", "bytes", "bytes=a-b", "bytes=1--2", "bytes=+1-2"].map(
      (field): [string, number, number, number] => [field, whole[0], 0, whole[1]],
    ),
    ...["items=0-1", "bytes=0x0-0x1", "bytes 0-1", "bytes=0-1;", "bytes=--1", "bytes=1.0-2", ""].map(
      (field): [string, number, number, number] => [field, whole[0], 0, whole[1]],
    ),
  ];
  for (const [field, status, start, end] of RANGES) {
    test(`range "${field}" is ${status}${status === 206 ? ` ${start}-${end - 1}` : ""}`, async () => {
      const answer = await running.get(blobUrl(SMALL), { Range: field });
      assert.equal(answer.status, status);
      if (status === 416) {
        assert.equal(answer.headers["content-range"], `bytes */${size}`);
        assert.equal(errorOf(answer).code, "RANGE_UNSATISFIABLE");
        return;
      }
      assert.equal(answer.headers["content-range"], status === 206 ? `bytes ${start}-${end - 1}/${size}` : undefined);
      assert.equal(answer.headers["content-length"], String(end - start));
      assert.deepEqual(answer.body, Buffer.from(SMALL.subarray(start, end)));
    });
  }

  test("ranges across chunks, and over nothing", async () => {
    for (const [start, last] of [
      [CHUNK - 3, CHUNK + 3],
      [CHUNK, CHUNK],
      [1, 2 * CHUNK],
      [2 * CHUNK, BIG.length - 1],
    ] as const) {
      const answer = await running.get(blobUrl(BIG), { Range: `bytes=${start}-${last}` });
      assert.equal(answer.status, 206);
      assert.equal(sha256(answer.body), sha256(BIG.subarray(start, last + 1)), `${start}-${last}`);
    }
    const empty = blobUrl(new Uint8Array(0));
    assert.equal((await running.get(empty, { Range: "bytes=0-" })).status, 416);
    assert.equal((await running.get(empty, { Range: "bytes=-5" })).status, 200);
  });

  test("If-Range lets a range through only with the very tag", async () => {
    const tag = `"${sha256(SMALL)}"`;
    const ask = async (condition: string): Promise<number> =>
      (await running.get(blobUrl(SMALL), { Range: "bytes=0-1", "If-Range": condition })).status;
    assert.equal(await ask(tag), 206);
    const others = [
      `W/${tag}`,
      `"${sha256(BIG)}"`,
      sha256(SMALL),
      "Sun, 22 Nov 2026 10:00:00 GMT",
      "*",
      `${tag}, ${tag}`,
    ];
    for (const other of others) assert.equal(await ask(other), 200, other);
  });

  test("If-None-Match gives 304, If-Match 412; a condition that cannot be read is none", async () => {
    const tag = `"${sha256(SMALL)}"`;
    for (const field of [tag, `W/${tag}`, "*", `"x", ${tag}`, `${tag},"y"`, `, ${tag} ,`]) {
      for (const method of ["GET", "HEAD"]) {
        const answer = await running.send(method, blobUrl(SMALL), { "If-None-Match": field, Range: "bytes=0-1" });
        assert.equal(answer.status, 304, field);
        assert.equal(answer.headers.etag, tag);
        assert.equal(answer.body.length, 0);
      }
    }
    for (const field of ['"x"', sha256(SMALL), `w/${tag}`, `${tag} junk`, `"x" ${tag}`, ""]) {
      assert.equal((await running.get(blobUrl(SMALL), { "If-None-Match": field })).status, 200, field);
    }
    assert.equal((await running.get(blobUrl(SMALL), { "If-Match": tag })).status, 200);
    for (const field of ['"x"', `W/${tag}`, "junk"]) {
      const answer = await running.get(blobUrl(SMALL), { "If-Match": field });
      assert.equal(answer.status, 412, field);
      assert.equal(errorOf(answer).code, "PRECONDITION_FAILED");
    }
    const unknown = `/v1/blobs/sha256/${"0".repeat(64)}`;
    assert.equal((await running.get(unknown, { "If-None-Match": "*" })).status, 404);
  });

  test("HEAD is GET without the body, everywhere", async () => {
    const paths = ["/health", "/v1/models", "/v1/models/acme/tiny/main", "/v1/resolve/acme/tiny/main", blobUrl(SMALL)];
    for (const path of [...paths, blobUrl(BIG), "/nothing", "/v1/models?limit=x", "//"]) {
      const get = await running.get(path);
      const head = await running.send("HEAD", path);
      assert.equal(head.body.length, 0);
      assert.equal(head.status, get.status, path);
      assert.deepEqual({ ...head.headers, date: "" }, { ...get.headers, date: "" }, path);
    }
    const ranged = await running.send("HEAD", blobUrl(SMALL), { Range: "bytes=0-1" });
    assert.equal(ranged.status, 200, "Range is defined for GET alone");
  });
});

suite("server: damaged blobs", () => {
  test("a small one: 503 before any byte, whole, in part and for HEAD", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/tiny", { "m.safetensors": SMALL });
    const running = await serve(t, fixture);
    assert.equal((await running.get(blobUrl(SMALL))).status, 200);
    damage(fixture, SMALL, flip(SMALL.length - 1));
    for (const headers of [{}, { Range: "bytes=0-9" }, { Range: "bytes=-1" }] as Record<string, string>[]) {
      const answer = await running.get(blobUrl(SMALL), headers);
      assert.equal(answer.status, 503);
      assert.equal(errorOf(answer).code, "CORRUPT");
      assert.equal(answer.headers.etag, undefined);
    }
    assert.equal((await running.send("HEAD", blobUrl(SMALL))).status, 503);
    assert.equal(running.faults.length, 4);
    truncateSync(blobFile(fixture, sha256(SMALL)), 10);
    assert.equal((await running.get(blobUrl(SMALL))).status, 503);
    unlinkSync(blobFile(fixture, sha256(SMALL)));
    assert.equal((await running.get(blobUrl(SMALL))).status, 503);
  });

  test("a byte in the middle of a large one: never a complete download, good chunks still go out", async (t) => {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/big", { "m.safetensors": BIG });
    const running = await serve(t, fixture);
    damage(fixture, BIG, flip(CHUNK + 5));
    const answer = await running.get(blobUrl(BIG));
    assert.equal(answer.status, 200);
    assert.equal(answer.complete, false);
    assert.ok(answer.body.length <= CHUNK, "nothing of the damaged chunk went out");
    assert.deepEqual(answer.body, Buffer.from(BIG.subarray(0, answer.body.length)));
    const socket = await slowDownload(running.port, blobUrl(BIG), NEXT);
    const end = tailOf(socket);
    assert.ok((await drain(socket)) < BIG.length);
    assert.equal(end().includes("HTTP/1.1"), false);
    const ask = (range: string) => running.get(blobUrl(BIG), { Range: `bytes=${range}` });
    assert.equal((await ask(`${CHUNK - 10}-${CHUNK + 10}`)).complete, false);
    assert.equal((await ask(`${CHUNK}-${CHUNK + 1}`)).status, 503);
    assert.equal((await ask("0-99")).complete, true);
    const last = await ask("-100");
    assert.deepEqual(last.body, Buffer.from(BIG.subarray(-100)));
  });

  test("a chunk list that is gone or swapped", async (t) => {
    const fixture = await makeStoreFixture(t);
    const { files } = await fixture.trust("acme/big", { "m.safetensors": BIG });
    const chunks = files[0]?.chunks ?? assert.fail("a large blob has a chunk list");
    const running = await serve(t, fixture);
    const path = join(fixture.location.root, "objects", chunks.slice(0, 2), chunks.slice(2));
    const list = readFileSync(path);
    chmodSync(path, 0o644);
    writeFileSync(path, Buffer.concat([list.subarray(32), list.subarray(0, 32)]));
    assert.equal((await running.get(blobUrl(BIG))).status, 503);
    unlinkSync(path);
    assert.equal((await running.get(blobUrl(BIG))).status, 503);
  });
});

suite("server: downloads while the head moves", () => {
  async function download(t: Parameters<typeof makeStoreFixture>[0], expiresAt?: string) {
    const fixture = await makeStoreFixture(t);
    await fixture.trust("acme/large", { "m.safetensors": LARGE }, expiresAt);
    const running = await serve(t, fixture);
    const socket = await slowDownload(running.port, blobUrl(LARGE));
    return { fixture, running, socket };
  }

  test("a revocation cuts a running download, and no other answer", async (t) => {
    const { fixture, running, socket } = await download(t);
    const other = await slowDownload(running.port, blobUrl(LARGE));
    await sleep(50);
    await fixture.revoke("acme/large", "bad", await fixture.open());
    for (const each of [socket, other]) assert.ok((await drain(each)) < LARGE.length, "cut");
    assert.equal((await running.get(blobUrl(LARGE))).status, 404);
    assert.equal((await running.get("/v1/resolve/acme/large/main")).status, 410);
    assert.deepEqual(running.faults, [], "a revocation is no fault");
  });

  test("a download whose client takes nothing is cut as soon", async (t) => {
    const { fixture, running, socket } = await download(t);
    await sleep(50);
    const during = descriptors();
    await fixture.revoke("acme/large", "bad", await fixture.open());
    assert.ok(await settled(during - 2), "the server's end and the blob are closed, though nothing more was asked for");
    assert.ok((await drain(socket)) < LARGE.length);
    assert.deepEqual(running.faults, []);
  });

  test("the next answer on the connection never passes for the rest of it", async (t) => {
    const { fixture, running } = await download(t);
    const socket = await slowDownload(running.port, blobUrl(LARGE), NEXT);
    await fixture.revoke("acme/large");
    const end = tailOf(socket);
    assert.ok((await drain(socket)) < LARGE.length);
    assert.equal(end().includes("HTTP/1.1"), false);
  });

  test("other commits do not, nor a revocation while another trusted name holds the blob", async (t) => {
    const { fixture, socket } = await download(t);
    await fixture.trust("acme/other", { "m.safetensors": LARGE, "README.md": Buffer.from("# other\n") });
    await fixture.revoke("acme/large");
    assert.ok((await drain(socket)) > LARGE.length, "the whole, and the answer's header");
  });

  test("time cuts it as well", async (t) => {
    const { fixture, socket } = await download(t, "2026-11-22T11:00:00Z");
    fixture.nowS += 7200;
    assert.ok((await drain(socket)) < LARGE.length);
  });

  test("so does damage to the log", async (t) => {
    const { fixture, running, socket } = await download(t);
    const { number } = await fixture.store.head();
    unlinkSync(join(fixture.location.root, "log", "000000", String(number).padStart(12, "0")));
    assert.ok((await drain(socket)) < LARGE.length);
    // Told by the download, or by the watch over all; by both where they look at the same time.
    assert.ok(running.faults.length > 0);
    for (const fault of running.faults) assert.ok(isCofferError(fault, "LOG_BEHIND_MEMORY"), String(fault));
  });

  test("clients that go away leave no descriptor open", async (t) => {
    const { running, socket } = await download(t);
    const during = descriptors();
    socket.destroy();
    await settled(during - 2); // this end and the server's; the blob's own may be gone already
    const start = descriptors();
    for (let turn = 0; turn < 8; turn += 1) {
      const sockets = await Promise.all([1, 2, 3].map(() => slowDownload(running.port, blobUrl(LARGE))));
      for (const each of sockets) turn % 2 === 0 ? each.destroy() : each.resetAndDestroy();
    }
    assert.ok(await settled(start), `${descriptors()} descriptors, ${start} at the start`);
    assert.equal((await running.get("/health")).status, 200);
    assert.deepEqual(running.faults, []);
  });
});

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Waits until no more than `most` are open. */
function settled(most: number): Promise<boolean> {
  return until(() => descriptors() <= most);
}
