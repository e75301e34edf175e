// SPDX-License-Identifier: Apache-2.0
/** Log entries: the cases of log-entry.json, what is made can be read, and the real ssh-keygen on line 1. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { LIMITS } from "../../src/base/limits.ts";
import { asRefPath } from "../../src/base/ref-path.ts";
import { makeFirstEntry, makeNextEntry, parseEntry, parseEntryLine, storeIdOf } from "../../src/refs/log-entry.ts";
import { loadVectors } from "../support/vectors.ts";
import { idOf, NOW, STORE_SIGNER, signerOf, text, trusted, utf8 } from "./fixture.ts";

const KEY = STORE_SIGNER.publicKey;
const signing = { signer: STORE_SIGNER, now: NOW };
const move = { ref: trusted("m1"), to: idOf("a") };
const input = { refs: idOf("root"), moves: [move] };

describe("log entry: accepted", () => {
  for (const { name, id, entry } of loadVectors<{ name: string; id: Digest; entry: string }>("log-entry", "accepted")) {
    test(name, () => {
      const read = parseEntry(utf8(entry), KEY);
      assert.equal(read.id, id);
      assert.equal(parseEntryLine(utf8(entry)).id, id);
      assert.equal(text(read.bytes), entry);
    });
  }
});

describe("log entry: refused", () => {
  for (const { name, code, entry } of loadVectors<{ name: string; code: string; entry: string }>(
    "log-entry",
    "refused",
  )) {
    test(name, () => assert.throws(() => parseEntry(utf8(entry), KEY), { code }));
  }

  test("any byte of a good entry changed", async () => {
    const { bytes } = await makeFirstEntry(input, idOf("nonce"), signing);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.throws(() => parseEntry(changed, KEY), { name: "CofferError" }, `byte ${at}`);
    }
  });

  test("cut anywhere", async () => {
    const { bytes } = await makeFirstEntry(input, idOf("nonce"), signing);
    for (let end = 0; end < bytes.length; end += 1) {
      assert.throws(() => parseEntry(bytes.subarray(0, end), KEY), { name: "CofferError" }, `${end} bytes`);
    }
  });

  test("over the limit in bytes", () => {
    assert.throws(() => parseEntry(new Uint8Array(LIMITS.logEntryBytes + 1), KEY), { code: "LIMIT_EXCEEDED" });
  });

  test("made with nothing to move, a move without change, or too many", async () => {
    const first = await makeFirstEntry(input, idOf("nonce"), signing);
    const bad = (moves: (typeof move)[]) => makeNextEntry({ refs: idOf("root"), moves }, first, signing);
    await assert.rejects(bad([]), { code: "DOCUMENT_INVALID" });
    await assert.rejects(bad([move, move]), { code: "DOCUMENT_INVALID" });
    const many = Array.from({ length: LIMITS.movesPerEntry + 1 }, () => move);
    await assert.rejects(bad(many), { code: "LIMIT_EXCEEDED" });
  });
});

describe("log entry: made", () => {
  test("entry 1 gives the store id, entry 2 names both", async () => {
    const first = await makeFirstEntry({ ...input, moves: [] }, idOf("nonce"), signing);
    const second = await makeNextEntry({ ...input, note: "two" }, first, signing);
    const third = await makeNextEntry(input, second, signing);
    assert.equal(storeIdOf(first), first.id);
    assert.equal(storeIdOf(third), first.id);
    assert.deepEqual([third.facts.number, third.facts.previous], [3, second.id]);
    assert.equal(second.facts.note, "two");
    assert.deepEqual(parseEntry(second.bytes, KEY).facts, second.facts);
    assert.throws(() => parseEntry(second.bytes, signerOf("a stranger").publicKey), { code: "SIGNATURE_INVALID" });
  });

  test("the largest entry fits its limit in bytes: most moves, longest names, longest note", async () => {
    const COUNT = 500;
    const long = "x".repeat(80);
    const wide = Array.from({ length: COUNT }, (_, index) => {
      const ref = asRefPath(`refs/quarantined/${long}/${String(index).padStart(15, "0")}/${long}`);
      return { ref, from: idOf("a"), to: idOf("b") };
    });
    const first = await makeFirstEntry(input, idOf("nonce"), signing);
    const entry = await makeNextEntry({ refs: idOf("root"), moves: wide, note: "\\".repeat(4096) }, first, signing);
    const most = (entry.bytes.length / COUNT) * LIMITS.movesPerEntry;
    assert.ok(most < LIMITS.logEntryBytes, `${most} bytes`);
  });

  const keygen = "/usr/bin/ssh-keygen";
  test("ssh-keygen -Y verify takes line 1 as `head -1` prints it", { skip: !existsSync(keygen) }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "coffer-log-"));
    try {
      const entry = await makeFirstEntry({ ...input, note: "größer" }, idOf("nonce"), signing);
      writeFileSync(join(folder, "entry"), entry.bytes);
      writeFileSync(join(folder, "signers"), `store ${KEY.text}\n`);
      const script =
        "tail -n +2 entry > sig && head -1 entry | ssh-keygen -Y verify -f signers -I store -n coffer-log -s sig && head -1 entry | sha256sum";
      const run = spawnSync("sh", ["-c", script], { cwd: folder, encoding: "utf8" });
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stdout, /Good "coffer-log" signature for store/);
      assert.ok(run.stdout.includes(entry.id));
      assert.equal(entry.id, sha256(entry.line));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
