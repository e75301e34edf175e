// SPDX-License-Identifier: Apache-2.0
/** What stock git packs is read as it was; a pack that would grow past what it says, or past a limit, is refused. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type GitObject, gitBlob, gitCommit, treeOf } from "../../src/git/git-object.ts";
import { makePack } from "../../src/git/pack.ts";
import { type PackLimits, readPack } from "../../src/git/pack-reader.ts";
import { gitEnvironment } from "../support/git-host.ts";
import { packEntry, packOf } from "../support/git-packs.ts";

const LIMITS: PackLimits = { objects: 4, objectBytes: 1000, bytes: 3000 };
const BLOB = 3;
const OFFSET_DELTA = 6;
const ID_DELTA = 7;
const FIRST = "0123456789";
const FIRST_ENTRY = packEntry(BLOB, Buffer.from(FIRST));

const number = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 128, ...number(value >> 7)]);
const copy = (start: number, length: number): number[] => [0b1011_0001, start, length % 256, length >> 8];
/** A change of an object of `from` bytes to one of `to`. */
const change = (from: number, to: number, ...instructions: readonly number[]): Buffer =>
  Buffer.from([...number(from), ...number(to), ...instructions]);
const ofPlace = (distance: number, bytes: Buffer): Buffer =>
  packEntry(OFFSET_DELTA, bytes, bytes.length, Buffer.from([distance]));
const ofId = (id: string, bytes: Buffer): Buffer => packEntry(ID_DELTA, bytes, bytes.length, Buffer.from(id, "hex"));
/** The first entry, and a change of it that is not as it should be. */
const changed = (...bytes: Parameters<typeof change>): Buffer[] => [
  FIRST_ENTRY,
  ofPlace(FIRST_ENTRY.length, change(...bytes)),
];

function read(entries: readonly Uint8Array[], count = entries.length): string[] {
  const found = readPack({ pack: packOf(entries, count), objects: count }, LIMITS);
  return [...found.values()].map(({ kind, content }) => `${kind} ${Buffer.from(content).toString()}`);
}

test("what stock git packs, in whichever way, is read as it was", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-pack-reader-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const git = (args: readonly string[], input?: Uint8Array | string): Buffer => {
    const run = spawnSync("git", ["-C", folder, ...args], { env: gitEnvironment(), input: input ?? "" });
    assert.equal(run.status, 0, run.stderr.toString());
    return run.stdout;
  };
  git(["init", "--quiet", "--bare", "."]);
  const lines = Array.from({ length: 3000 }, (_, at) => `line ${at} ${at ** 3}\n`);
  const texts = [0, 1, 15, 16, 127, 128, 2047, 2048, 262_143].map((size) => "s".repeat(size));
  const similar = Array.from({ length: 30 }, (_, at) => lines.toSpliced(at * 90, at, `${at}\n`).join(""));
  const files = new Map<string, GitObject>([...texts, ...similar].map((text, at) => [`a/${at}`, gitBlob(text)]));
  const { root, objects } = treeOf(files);
  const commit = gitCommit({ tree: root, parents: [], seconds: 1_600_000_000, message: "x" });
  const all = [...objects, commit];
  git(["unpack-objects", "-q"], makePack(all).pack);
  const ids = all.map(({ id }) => `${id}\n`).join("");
  const limits = { objects: all.length, objectBytes: 262_143, bytes: 10_000_000 };
  for (const options of [["--delta-base-offset"], [], ["--window=0"]]) {
    const pack = git(["pack-objects", "--stdout", "-q", "--depth=20", ...options], ids);
    assert.equal(pack.length < 200_000, options[0] !== "--window=0", "with deltas or without");
    const found = readPack({ pack, objects: all.length }, limits);
    assert.equal(found.size, all.length);
    for (const object of all)
      assert.deepEqual(found.get(object.id), { ...object, content: Buffer.from(object.content) });
  }
});

test("an object may be made of one that comes later, and of one that was itself made of that", () => {
  const { id } = gitBlob(FIRST);
  const later = ofId(id, change(10, 5, ...copy(5, 5)));
  const ofLater = ofPlace(later.length, change(5, 7, ...copy(0, 5), 2, 0x61, 0x62));
  const found = read([later, ofLater, ofId(id, change(10, 1, 1, 0x63)), FIRST_ENTRY]);
  assert.deepEqual(found.sort(), ["blob 0123456789", "blob 56789", "blob 56789ab", "blob c"]);
});

test("as much as the limits allow is read, in every way that they are met", () => {
  const full = packEntry(BLOB, Buffer.alloc(1000, "x"));
  assert.equal(
    read([full, packEntry(BLOB, Buffer.alloc(1000, "y")), packEntry(BLOB, Buffer.alloc(1000, "z"))]).length,
    3,
  );
  assert.equal(read([packEntry(BLOB, new Uint8Array()), FIRST_ENTRY, packEntry(1, new Uint8Array()), full]).length, 4);
});

const [X, Y, Z, ONE] = ["x", "y", "z", "1"].map((text) => packEntry(BLOB, Buffer.alloc(text === "1" ? 1 : 1000, text)));
assert.ok(X !== undefined && Y !== undefined && Z !== undefined && ONE !== undefined);
/** A change of the object before, which is as long, into as long a one. */
const same = (before: Uint8Array): Buffer => ofPlace(before.length, change(1000, 1000, ...copy(0, 1000)));
const SAME = same(X);

const REFUSED: ReadonlyArray<readonly [what: string, entries: readonly Uint8Array[], says: RegExp, count?: number]> = [
  ["too many objects", [X, ONE, ONE, ONE, ONE], /expected at most 4 objects, found 5 announced/],
  ["fewer objects than announced", [X], /expected whole objects, found one that is cut/, 2],
  ["more objects than announced", [X, ONE], /expected 1 objects, found more behind them/, 1],
  ["too large an object", [packEntry(BLOB, Buffer.alloc(1001))], /of at most 1000 bytes, found one of 1001/],
  ["a size that is too large for what is there", [packEntry(BLOB, Buffer.alloc(1), 3e9)], /found one of 3000000000/],
  ["too many bytes together", [X, Y, Z, ONE], /at most 3000 bytes once unpacked, found more/],
  ["one byte more than it says", [packEntry(BLOB, Buffer.alloc(11), 10)], /an object of 10 bytes, found more/],
  ["a byte where it says none", [packEntry(BLOB, Buffer.alloc(2), 0)], /an object of 0 bytes, found more/],
  ["far more than it says", [packEntry(BLOB, Buffer.alloc(1_000_000), 10)], /an object of 10 bytes, found more/],
  ["one byte less than it says", [packEntry(BLOB, Buffer.alloc(9), 10)], /an object of 10 bytes, found another size/],
  ["what is not packed", [Buffer.from([0x31, 0x61])], /an object of 1 bytes, found what cannot be unpacked/],
  ["half of what is packed", [FIRST_ENTRY.subarray(0, 9)], /an object of 10 bytes, found what cannot be unpacked/],
  ["a size without an end", [Buffer.alloc(40, 0xb0)], /expected a size, found a number without an end/],
  ["a tag", [packEntry(4, Buffer.from("x"))], /expected a commit, .*, found kind 4/],
  ["no kind", [packEntry(0, Buffer.from("x"))], /found kind 0/],
  ["a kind of the future", [packEntry(5, Buffer.from("x"))], /found kind 5/],
  ["a change that makes too large an object", changed(10, 1001), /of at most 1000 bytes, found one of 1001/],
  ["changes that make too much together", [X, SAME, same(SAME), same(SAME)], /at most 3000 bytes once unpacked/],
  ["instructions that are too long", changed(10, 1, ...Buffer.alloc(1000)), /of at most 1000 bytes, found one of 1002/],
  ["a change of another size of base", changed(9, 1, 1, 0x61), /changes that make 1 bytes of 9, found others/],
  ["a change that makes less", changed(10, 2, 1, 0x61), /changes that make 2 bytes of 10, found others/],
  ["a change that makes more", changed(10, 1, 2, 0x61, 0x62), /changes that make 1 bytes of 10, found others/],
  ["a copy that makes more", changed(10, 1, ...copy(0, 2)), /changes that make 1 bytes of 10, found others/],
  ["a copy from behind the base", changed(10, 2, ...copy(9, 2)), /changes that make 2 bytes of 10, found others/],
  ["a copy of 64 KiB that it has not", changed(10, 2, ...copy(0, 0)), /changes that make 2 bytes of 10/],
  ["an instruction that is none", changed(10, 1, 0, 1, 0x61), /changes that make 1 bytes of 10, found others/],
  ["an instruction that is cut", changed(10, 2, 2, 0x61), /expected whole objects, found one that is cut/],
  [
    "a change without sizes",
    [FIRST_ENTRY, ofPlace(1, Buffer.alloc(0))],
    /expected whole objects, found one that is cut/,
  ],
  ["a change of what is not an object", [FIRST_ENTRY, ofPlace(1, change(1, 1, 1, 1))], /found one missing/],
  ["a change of itself", [FIRST_ENTRY, ofPlace(0, change(1, 1, 1, 1))], /found one missing/],
  ["a change of what was before the pack", [ofPlace(127, change(1, 1, 1, 1))], /found one missing/],
  ["a change of what did not come", [ofId("1".repeat(40), change(1, 1, 1, 1)), ONE], /found one missing/],
];
for (const [what, entries, says, count] of REFUSED) {
  test(`refused: ${what}`, () => {
    const message = new RegExp(`^its pack: expected .*${says.source.replace(/^expected /, "")}`);
    assert.throws(() => read(entries, count), { code: "REMOTE_FAILED", message });
  });
}
