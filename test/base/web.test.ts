// SPDX-License-Identifier: Apache-2.0
/** To whom a login is shown, and how slow a server may be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { denied, isDenied, loginFields, slowestMs, slowness } from "../../src/base/web.ts";

const login = { username: "me", password: "se cret" };

test("a login is sent over https, and to this machine by the names that lead nowhere else", () => {
  const expected = { authorization: `Basic ${Buffer.from("me:se cret").toString("base64")}` };
  for (const url of ["https://git.example/x", "http://127.0.0.1:8470", "http://localhost/x", "http://[::1]:1/"])
    assert.deepEqual(loginFields(new URL(url), login), expected, url);
  for (const url of [
    ...["http://git.example/x", "http://127.0.0.2", "http://127.0.0.1.example", "http://localhost.example"],
    ...["http://127.0.0.1@git.example", "ftp://git.example"],
  ])
    assert.deepEqual(loginFields(new URL(url), login), {}, url);
  assert.deepEqual(loginFields(new URL("https://git.example/x"), undefined), {});
});

test("what says that a login is wanted or refused, and what is said of it", () => {
  assert.deepEqual([200, 301, 400, 401, 402, 403, 404, 407, 500].filter(isDenied), [401, 403, 407]);
  const shown = "https://git.example/x";
  assert.equal(
    denied(shown, 401, false, "A and B").message,
    `${shown}: it answered 401: it wants a login; A and B are sent over https only`,
  );
  const { code, message } = denied(shown, 403, true, "A and B");
  assert.deepEqual(
    [code, message],
    ["REMOTE_DENIED", `${shown}: it answered 403: it refuses this with the login that was sent`],
  );
});

test("a server is too slow once it gave fewer bytes than a least rate, after the silence that is allowed", () => {
  assert.equal(slowestMs(2048), 2000);
  const fair = [
    [0, 0],
    [5000, 0],
    [6000, 1024],
    [65_000, 61_440],
  ] as const;
  for (const [waitedMs, bytes] of fair)
    assert.equal(slowness({ waitedMs, bytes }, 5000), undefined, `${waitedMs} ms, ${bytes} bytes`);
  const says = "too slow: 1023 bytes came, fewer than 1024 a second";
  assert.equal(slowness({ waitedMs: 6000, bytes: 1023 }, 5000), says);
});
