// SPDX-License-Identifier: Apache-2.0
/** What an import leaves of a blob, met by one that cuts blobs into parts of another size: a folder first, then a server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { digestFromBytes, sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { type BlobItem, Staging } from "../../src/repo/import/staging.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { seededRandom } from "../support/transcripts.ts";

const CHUNK = LIMITS.chunkBytes;
const bytes = Buffer.concat([1, 2, 3, 4, 5].map((fill) => Buffer.alloc(CHUNK, fill)));
const blob = sha256(bytes);
const wanted = { blob, sizeBytes: bytes.length };
const chunkAt = (at: number): Buffer => bytes.subarray(at * CHUNK, (at + 1) * CHUNK);
const chunks = Buffer.concat([0, 1, 2, 3, 4].map((at) => Buffer.from(sha256(chunkAt(at)), "hex")));
const store = digestFromBytes(new Uint8Array(32).fill(9));

/** Part `part` of the blob, cut by `segmentBytes`. */
function parcel(part: number, segmentBytes: number) {
  const piece = bytes.subarray(part * segmentBytes, (part + 1) * segmentBytes);
  const item: BlobItem = { kind: "blob", blob, part, sizeBytes: piece.length };
  return {
    item,
    async *read() {
      yield piece;
    },
  };
}

async function emptyStore() {
  const files = new MemoryFiles();
  await files.makeFolder("local");
  await files.makeFolder("local/tmp");
  return { files, random: seededRandom("staging") };
}

for (const [first, kept, second] of [
  [CHUNK, [3], 2 * CHUNK],
  [CHUNK, [1, 2], 2 * CHUNK],
  [2 * CHUNK, [1], CHUNK],
  [2 * CHUNK, [2], 8 * CHUNK],
] as const) {
  test(`parts ${kept.join(" and ")} of ${first / CHUNK} chunks each are not taken for parts of ${second / CHUNK}`, async () => {
    const { files, random } = await emptyStore();
    const stopped = await Staging.open(files, random, store, first);
    for (const part of kept) await stopped.take(parcel(part, first));
    await stopped.end(true);
    const staging = await Staging.open(files, random, store, second);
    await staging.recheck(wanted, chunks);
    const parts = Array.from({ length: Math.ceil(bytes.length / second) }, (_, part) => parcel(part, second));
    assert.deepEqual(
      parts.map(({ item }) => staging.has(item)),
      parts.map(() => false),
    );
    for (const part of parts) await staging.take(part);
    assert.deepEqual((await staging.whole(wanted))?.sha256, blob);
    await staging.end(false);
    assert.deepEqual(await files.list("local/tmp"), []);
  });
}

test("parts of the same size are taken up again, but for those that are wrong", async () => {
  const { files, random } = await emptyStore();
  const stopped = await Staging.open(files, random, store, CHUNK);
  for (const part of [0, 1]) await stopped.take(parcel(part, CHUNK));
  const { item } = parcel(3, CHUNK);
  await stopped.take({ ...parcel(4, CHUNK), item });
  await stopped.end(true);
  const staging = await Staging.open(files, random, store, CHUNK);
  await staging.recheck(wanted, chunks);
  const held = [0, 1, 2, 3, 4].map((part) => staging.has(parcel(part, CHUNK).item));
  assert.deepEqual(held, [true, true, false, false, false]);
});

test("what lies behind a part that was found wrong counts no more, also for who looks by size alone", async () => {
  const { files, random } = await emptyStore();
  const held = (staging: Staging) => [0, 1, 2, 3, 4].map((part) => staging.has(parcel(part, CHUNK).item));
  const stopped = await Staging.open(files, random, store, CHUNK);
  await stopped.take(parcel(0, CHUNK));
  await stopped.take({ ...parcel(4, CHUNK), item: parcel(1, CHUNK).item });
  await stopped.take(parcel(3, CHUNK));
  await stopped.end(true);
  const checked = await Staging.open(files, random, store, CHUNK);
  await checked.recheck(wanted, chunks);
  assert.deepEqual(held(checked), [true, false, false, true, false]);
  await checked.end(true);
  for (const end of [true, false]) {
    const staging = await Staging.open(files, random, store, CHUNK);
    await staging.assume(wanted);
    assert.deepEqual(held(staging), [true, false, false, true, false]);
    if (!end) for (const part of [1, 2, 4]) await staging.take(parcel(part, CHUNK));
    if (!end) assert.equal((await staging.whole(wanted))?.sha256, blob);
    await staging.end(end);
  }
  assert.deepEqual(await files.list("local/tmp"), []);
});

test("what is no part of a blob goes, and a part that is longer than its blob counts for nothing", async () => {
  const { files, random } = await emptyStore();
  const stopped = await Staging.open(files, random, store, CHUNK);
  await stopped.take(parcel(0, CHUNK));
  await stopped.end(true);
  const [folder = ""] = (await files.list("local/tmp")) ?? [];
  const [part = ""] = (await files.list(`local/tmp/${folder}`)) ?? [];
  const [whose] = part.split(".");
  for (const name of ["junk", `${whose}.${blob}.1`, `${whose}.${blob}.00001.x`, `${whose}.${blob.toUpperCase()}.00000`])
    files.plant(`local/tmp/${folder}/${name}`, new Uint8Array(1));
  const long = `local/tmp/${folder}/${"0".repeat(32)}.${blob}.00004`;
  files.plant(long, bytes.subarray(0, 2 * CHUNK));
  const staging = await Staging.open(files, random, store, CHUNK);
  await staging.recheck(wanted, chunks);
  assert.equal((await files.list(`local/tmp/${folder}`))?.length, 1);
  assert.deepEqual(
    [0, 4].map((at) => staging.has(parcel(at, CHUNK).item)),
    [true, false],
  );
  await staging.end(false);
  assert.deepEqual(await files.list("local/tmp"), []);
});

test("staged files that go away or shrink while they are put together are an error, and nothing of it stays", async () => {
  for (const [spoil, text] of [
    [(files: MemoryFiles, path: string) => files.remove(path), /went away/],
    [async (files: MemoryFiles, path: string) => files.plant(path, new Uint8Array(10)), /became shorter/],
  ] as const) {
    const { files, random } = await emptyStore();
    const staging = await Staging.open(files, random, store, CHUNK);
    for (const part of [0, 1, 3, 4, 2]) await staging.take(parcel(part, CHUNK));
    const [folder = ""] = (await files.list("local/tmp")) ?? [];
    const victim = (await files.list(`local/tmp/${folder}`))?.find((name) => name.endsWith(".00003"));
    await spoil(files, `local/tmp/${folder}/${victim}`);
    await assert.rejects(
      staging.whole(wanted),
      (error) => isCofferError(error, "IO_ERROR") && text.test(error.message),
    );
    await staging.end(false);
    assert.deepEqual(await files.list("local/tmp"), []);
  }
});
