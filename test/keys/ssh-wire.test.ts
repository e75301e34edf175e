// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, SshReader, sameBytes, shown, wireString, wireU32 } from "../../src/keys/ssh-wire.ts";
import { utf8 } from "./stock.ts";

const reader = (...bytes: number[]) => new SshReader(Uint8Array.from(bytes), "blob", "KEY_INVALID");
const refusal = (message: RegExp) => ({ code: "KEY_INVALID", message });

test("ssh-wire: the examples of RFC 4251 section 5", () => {
  assert.deepEqual([...wireU32(699921578)], [0x29, 0xb7, 0xf4, 0xaa]);
  assert.deepEqual([...wireString("testing")], [0, 0, 0, 7, ...utf8("testing")]);
  assert.equal(reader(0x29, 0xb7, 0xf4, 0xaa).u32("n"), 699921578);
});

test("ssh-wire: what is written reads back, and nothing is left", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), fc.nat(0xffffffff), (strings, number) => {
      const bytes = concatBytes(wireU32(number), ...strings.map((content) => wireString(content)));
      const again = new SshReader(bytes, "blob", "KEY_INVALID");
      assert.equal(again.u32("n"), number);
      for (const content of strings) assert.ok(sameBytes(again.string("s"), content));
      again.end();
    }),
  );
});

test("ssh-wire: reads within a view, not before or after it", () => {
  const whole = concatBytes(utf8("xx"), wireString("inside"), utf8("yy"));
  const view = new SshReader(whole.subarray(2, -2), "blob", "KEY_INVALID");
  assert.equal(view.text("s"), "inside");
  view.end();
  assert.throws(() => view.fixed(1, "s"), refusal(/cut short/));
});

test("ssh-wire: refusals name the field and both sizes", () => {
  assert.throws(
    () => reader(0, 0, 1).u32("count"),
    refusal(/^blob: count: cut short: expected 4 more bytes, found 3$/),
  );
  assert.throws(() => reader(0, 0, 0, 2, 65).string("s"), refusal(/expected 2 more bytes, found 1/));
  assert.throws(() => reader(255, 255, 255, 255, 65).string("s"), refusal(/expected 4294967295 more bytes, found 1/));
  assert.throws(() => reader(0, 0, 0, 1, 65).stringOf(2, "s"), refusal(/expected 2 bytes, found 1/));
  assert.throws(() => reader(0, 0, 0, 1, 10).text("s"), refusal(/printable ASCII/));
  assert.throws(() => reader(0, 0, 0, 1, 0xe9).text("s"), refusal(/printable ASCII/));
  assert.throws(() => reader(0, 0, 0, 1, 65).expectText("B", "s"), refusal(/expected "B", found "A"/));
  assert.throws(() => reader(65, 66).expectMagic("AC"), refusal(/magic: expected "AC"/));
  assert.throws(() => reader(65).expectMagic("AC"), refusal(/cut short/));
  assert.throws(() => reader(0).end(), refusal(/1 trailing bytes/));
});

test("ssh-wire: rest takes all, then nothing is left", () => {
  const some = reader(1, 2, 3);
  some.fixed(1, "first");
  assert.deepEqual([...some.rest()], [2, 3]);
  some.end();
  assert.equal(some.rest().length, 0);
});

test("ssh-wire: long names are cut in error texts", () => {
  assert.equal(shown("short"), "short");
  assert.equal(shown("n".repeat(100)), `${"n".repeat(48)}...`);
});
