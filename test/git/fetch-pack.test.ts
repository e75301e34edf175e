// SPDX-License-Identifier: Apache-2.0
/** A pack is taken out of an answer only if the answer is whole and the pack matches its own checksum. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { packIn } from "../../src/git/fetch-pack.ts";

const line = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, "0")), bytes]);
};
const band = (number: number, bytes: Buffer | string): Buffer =>
  line(Buffer.concat([Buffer.from([number]), Buffer.from(bytes)]));

const HEAD = Buffer.from("PACK\0\0\0\x02\0\0\0\x09");
const sealed = (bytes: Buffer): Buffer => Buffer.concat([bytes, createHash("sha1").update(bytes).digest()]);
const PACK = sealed(HEAD);
const answer = (...parts: readonly Buffer[]): Buffer =>
  Buffer.concat([line("packfile\n"), ...parts, Buffer.from("0000")]);

test("a pack in several pieces, with what the host says in between", () => {
  const { pack, objects } = packIn(
    answer(band(1, PACK.subarray(0, 9)), band(2, "counting"), band(1, PACK.subarray(9))),
  );
  assert.deepEqual([Buffer.from(pack), objects], [PACK, 9]);
});

for (const [what, bytes, says] of [
  ["an error in place of a pack", line("ERR no such commit"), /it says "no such commit"/],
  ["an error amid the pack", answer(band(1, PACK), band(3, "out of memory")), /it says "out of memory"/],
  ["another band", answer(band(1, PACK), band(4, "what?")), /expected a pack, found something else/],
  ["a line that is longer than the answer", Buffer.concat([line("packfile\n"), Buffer.from("00ffab")]), /is cut/],
  ["a length that is none", Buffer.from("zzzz"), /expected a length, found "zzzz"/],
  ["a length that says nothing", Buffer.from("0003"), /expected a length, found "0003"/],
  ["half a length", Buffer.from("00"), /expected a length, found "00"/],
  ["nothing", Buffer.alloc(0), /expected a pack of version 2, found none/],
  ["no pack", answer(), /expected a pack of version 2, found none/],
  ["another version", answer(band(1, sealed(Buffer.from("PACK\0\0\0\x03\0\0\0\x09")))), /expected a pack of version 2/],
  ["another magic", answer(band(1, sealed(Buffer.from("KCAP\0\0\0\x02\0\0\0\x09")))), /expected a pack of version 2/],
  ["one bit of it", answer(band(1, Buffer.concat([HEAD, Buffer.alloc(20, 1)]))), /does not match the checksum/],
] as const) {
  test(`refused: ${what}`, () => assert.throws(() => packIn(bytes), { code: "REMOTE_FAILED", message: says }));
}
