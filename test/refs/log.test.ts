// SPDX-License-Identifier: Apache-2.0
/** The log on disk: finding the head, gaps, swapped and foreign entries, hints, extension of memory, appending. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LIMITS } from "../../src/base/limits.ts";
import { signSshsig } from "../../src/keys/sshsig.ts";
import { Log, openLog } from "../../src/refs/log.ts";
import { type LogEntry, makeFirstEntry, makeNextEntry } from "../../src/refs/log-entry.ts";
import { entryFolder, entryPath, highestEntry } from "../../src/refs/log-layout.ts";
import { commit } from "../../src/refs/transaction.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { collect, idOf, NOW, newStore, portsOf, STORE_SIGNER, seeded, signerOf, trusted, utf8 } from "./fixture.ts";

const KEY = STORE_SIGNER.publicKey;
const signing = { signer: STORE_SIGNER, now: NOW };

/** A store with entries 1 to `count`. */
async function storeOf(count: number): Promise<{ files: MemoryFiles; log: Log; entries: LogEntry[] }> {
  const files = new MemoryFiles();
  const { log, reader } = await newStore(files);
  for (let number = 2; number <= count; number += 1) {
    const draft = { moves: [{ ref: trusted(`m${number % 3}`), to: idOf(`${number}`) }] };
    await commit(log, reader, async () => draft, portsOf(`entry ${number}`));
  }
  return { files, log, entries: await collect(log.entries()) };
}

const next = (head: LogEntry, note: string, signer = STORE_SIGNER): Promise<LogEntry> =>
  makeNextEntry({ refs: idOf("root"), moves: [{ ref: trusted("x"), to: idOf(note) }], note }, head, {
    signer,
    now: NOW,
  });

const at = (entries: readonly LogEntry[], number: number): LogEntry => {
  const entry = entries[number - 1];
  assert.ok(entry);
  return entry;
};

describe("log: layout", () => {
  test("paths: folder is the number div 4096, in six digits", () => {
    assert.equal(entryPath(1), "log/000000/000000000001");
    assert.equal(entryPath(4095), "log/000000/000000004095");
    assert.equal(entryPath(4096), "log/000001/000000004096");
    assert.equal(entryPath(999_999_999_999), "log/244140624/999999999999");
    for (const number of [0, -1, 1.5, 1e12, Number.NaN]) {
      assert.throws(() => entryPath(number), { code: "LIMIT_EXCEEDED" });
    }
  });

  const highestOf = (...paths: string[]): Promise<number> => {
    const files = new MemoryFiles();
    for (const path of paths) files.plant(path, utf8("x"));
    return highestEntry(files);
  };
  const folderFull = Array.from({ length: 4095 }, (_, index) => entryPath(index + 1));

  test("the highest number, other names left out", async () => {
    assert.equal(await highestOf(), 0);
    assert.equal(await highestOf("log/000000/.hidden", "log/junk/000000000009"), 0);
    assert.equal(await highestOf(entryPath(1), entryPath(2), "log/000000/3", "log/000000/0000000000031"), 2);
    assert.equal(await highestOf(...folderFull, entryPath(4096), entryPath(4097)), 4097);
  });

  test("a folder that was made for an entry that never came", async () => {
    const files = new MemoryFiles();
    for (const path of folderFull) files.plant(path, utf8("x"));
    await files.makeFolder("log/000001");
    assert.equal(await highestEntry(files), 4095);
  });

  const gaps: [string, string[]][] = [
    ["in the newest folder", [entryPath(1), entryPath(3)]],
    ["at its start", [...folderFull, entryPath(4097)]],
    ["at the end of the folder before", [...folderFull.slice(0, -1), entryPath(4096)]],
    ["a whole folder", [...folderFull, entryPath(8192)]],
    ["all folders but one", [entryPath(8192)]],
    ["a folder further down", [entryPath(8191), entryPath(8192)]],
    ["an entry in the wrong folder", [entryPath(1), "log/000000/000000004096"]],
    ["a lower one in a higher folder", [...folderFull, entryPath(4096), "log/000001/000000000007"]],
  ];
  for (const [name, paths] of gaps) {
    test(`a gap: ${name}`, () => assert.rejects(highestOf(...paths), { code: "CORRUPT" }));
  }
});

describe("log: finding the head", () => {
  test("on opening, and upward as others append", async () => {
    const { files, log, entries } = await storeOf(3);
    const other = await openLog(files, KEY);
    assert.equal((await other.findHead()).id, at(entries, 3).id);
    assert.equal(other.storeId, at(entries, 1).id);
    assert.ok(await log.append(await next(await log.findHead(), "4"), seeded("4")));
    assert.ok(await log.append(await next(await log.findHead(), "5"), seeded("5")));
    assert.equal((await other.findHead()).facts.number, 5);
  });

  const hints = [
    "",
    "1\n",
    "2\n",
    "3\n",
    "4\n",
    "999999999999\n",
    "0\n",
    "-1\n",
    "3",
    "x\n",
    "03\n",
    "3\n3\n",
    "9".repeat(99),
  ];
  for (const hint of hints) {
    test(`whatever the hint says: ${JSON.stringify(hint)}`, async () => {
      const { files, log, entries } = await storeOf(3);
      files.plant("local/head", utf8(hint));
      assert.equal((await (await openLog(files, KEY)).findHead()).id, at(entries, 3).id);
      assert.equal((await log.findHead()).id, at(entries, 3).id);
    });
  }

  test("without a hint, and with a folder in its place", async () => {
    const { files, log } = await storeOf(3);
    await files.remove("local/head");
    assert.equal((await log.findHead()).facts.number, 3);
    await files.makeFolder("local/head");
    assert.equal((await log.findHead()).facts.number, 3);
    assert.equal((await (await openLog(files, KEY)).findHead()).facts.number, 3);
  });

  test("a hint past a gap that came since opening is CORRUPT", async () => {
    const { files, log, entries } = await storeOf(3);
    const five = await next(await next(at(entries, 3), "4"), "5");
    files.plant(entryPath(5), five.bytes);
    assert.equal((await log.findHead()).facts.number, 3);
    files.plant("local/head", utf8("5\n"));
    await assert.rejects(log.findHead(), { code: "CORRUPT", message: /entry 4 is missing/ });
  });

  test("an entry that this process has read is gone, or another", async () => {
    const { files, log, entries } = await storeOf(3);
    await log.findHead();
    const fork = await next(at(entries, 2), "another 3");
    files.plant(entryPath(3), fork.bytes);
    await assert.rejects(log.findHead(), { code: "LOG_BEHIND_MEMORY" });
    await files.remove(entryPath(3));
    await assert.rejects(log.findHead(), { code: "LOG_BEHIND_MEMORY" });
    files.plant(entryPath(3), at(entries, 3).bytes);
    assert.equal((await log.findHead()).facts.number, 3);
  });

  test("an idle head costs no read", async () => {
    const { files, log } = await storeOf(3);
    await log.findHead();
    const before = files.bytesRead;
    await log.findHead();
    assert.equal(files.bytesRead, before);
  });
});

describe("log: damage is CORRUPT", () => {
  const damages: [string, (files: MemoryFiles, entries: LogEntry[]) => unknown, string?][] = [
    ["entry 1 is missing", (files) => files.remove(entryPath(1))],
    ["a gap", (files) => files.remove(entryPath(3))],
    ["the head is empty", (files) => files.plant(entryPath(5), new Uint8Array())],
    ["the head is cut", (files, entries) => files.plant(entryPath(5), at(entries, 5).bytes.subarray(0, -9))],
    ["the head is an older entry", (files, entries) => files.plant(entryPath(5), at(entries, 4).bytes)],
    [
      "the last two are swapped",
      (files, entries) => {
        files.plant(entryPath(4), at(entries, 5).bytes);
        files.plant(entryPath(5), at(entries, 4).bytes);
      },
    ],
    [
      "signed by another key",
      async (files, entries) =>
        files.plant(entryPath(5), (await next(at(entries, 4), "5", signerOf("a stranger"))).bytes),
    ],
    [
      "of another store of the same key",
      async (files) => {
        let head = await makeFirstEntry({ refs: idOf("root"), moves: [] }, idOf("another nonce"), signing);
        for (let number = 2; number <= 5; number += 1) head = await next(head, `${number}`);
        files.plant(entryPath(5), head.bytes);
      },
    ],
    ["a folder in place of the head", (files) => files.remove(entryPath(5)).then(() => files.makeFolder(entryPath(5)))],
    ["a misfiled entry", (files, entries) => files.plant("log/000000/000000009999", at(entries, 5).bytes)],
  ];
  for (const [name, damage, code = "CORRUPT"] of damages) {
    test(name, async () => {
      const { files, entries } = await storeOf(5);
      await damage(files, entries);
      await assert.rejects(async () => (await openLog(files, KEY)).findHead(), { code });
    });
  }

  test("no log at all, and another store key", async () => {
    await assert.rejects(openLog(new MemoryFiles(), KEY), { code: "CORRUPT" });
    const { files } = await storeOf(2);
    await assert.rejects(openLog(files, signerOf("a stranger").publicKey), { code: "CORRUPT" });
  });

  test("a well-signed entry that does not follow the one before", async () => {
    const { files, log, entries } = await storeOf(3);
    const fork = await next(await next(at(entries, 2), "another 3"), "4");
    files.plant(entryPath(4), fork.bytes);
    await assert.rejects(log.findHead(), { code: "CORRUPT", message: /expected to follow/ });
    await assert.rejects(collect((await openLog(files, KEY)).entries()), { code: "CORRUPT" });
  });

  test("walking all entries finds what opening does not", async () => {
    const { files, entries } = await storeOf(5);
    files.plant(entryPath(2), at(entries, 3).bytes);
    const log = await openLog(files, KEY);
    assert.equal((await log.findHead()).facts.number, 5);
    await assert.rejects(collect(log.entries()), { code: "CORRUPT" });
    assert.equal((await collect(log.entries(3))).length, 3);
  });

  test("an entry of a newer version is UNSUPPORTED", async () => {
    const { files } = await storeOf(2);
    const line = utf8('{"number":3,"type":"coffer/log","version":2}\n');
    files.plant(entryPath(3), Buffer.concat([line, utf8(await signSshsig(STORE_SIGNER, "coffer-log", line))]));
    await assert.rejects(openLog(files, KEY), { code: "UNSUPPORTED" });
  });
});

describe("log: an entry that grew over its limit", () => {
  /** As the port answers for a file that is too large; making one takes longer. */
  const grown = (files: MemoryFiles, number: number): void => {
    const read = files.read.bind(files);
    files.read = (path, limitBytes) => read(path, path === entryPath(number) ? 10 : limitBytes);
  };

  test("is damage, no mistake of the caller", async () => {
    const { files, log } = await storeOf(3);
    grown(files, 2);
    await assert.rejects(log.readEntry(2), { code: "CORRUPT" });
    await assert.rejects(collect(log.entries()), { code: "CORRUPT" });
  });

  for (const number of [1, 3]) {
    test(`also for who opens the log: entry ${number}`, async () => {
      const { files } = await storeOf(3);
      grown(files, number);
      await assert.rejects(openLog(files, KEY), { code: "CORRUPT" });
    });
  }

  test("also on the way back to what was remembered", async () => {
    const { files, entries } = await storeOf(3);
    const log = await openLog(files, KEY); // who linked it need not read it again
    grown(files, 2);
    await assert.rejects(log.extendsFrom({ number: 1, head: at(entries, 1).id }, at(entries, 3)), { code: "CORRUPT" });
  });
});

describe("log: extends what was seen", () => {
  test("the same head, and every earlier one", async () => {
    const { log, entries } = await storeOf(5);
    const head = await log.findHead();
    for (const { facts, id } of entries) await log.extendsFrom({ number: facts.number, head: id }, head);
  });

  test("not a longer log, not another way, not the right head under a wrong number", async () => {
    const { log, entries } = await storeOf(5);
    const head = await log.findHead();
    const behind = { code: "LOG_BEHIND_MEMORY" };
    await assert.rejects(log.extendsFrom({ number: 6, head: idOf("6") }, head), behind);
    await assert.rejects(log.extendsFrom({ number: 5, head: idOf("5") }, head), behind);
    await assert.rejects(log.extendsFrom({ number: 1, head: idOf("1") }, head), behind);
    await assert.rejects(log.extendsFrom({ number: 3, head: at(entries, 2).id }, head), behind);
  });

  test("an entry of another number in between is CORRUPT, whoever signed it", async () => {
    const { files, log, entries } = await storeOf(2);
    const two = at(entries, 2);
    const misnumbered = await next({ ...two, facts: { ...two.facts, number: 6 } as LogEntry["facts"] }, "says 7");
    const head = await next({ ...misnumbered, facts: { ...misnumbered.facts, number: 3 } as LogEntry["facts"] }, "4");
    files.plant(entryPath(3), misnumbered.bytes);
    await assert.rejects(log.extendsFrom({ number: 2, head: two.id }, head), {
      code: "CORRUPT",
      message: /its own number/,
    });
  });

  test("what lies between must be there and be what was named", async () => {
    for (const damage of ["missing", "replaced", "cut"]) {
      const { files, log, entries } = await storeOf(5);
      const head = await log.findHead();
      if (damage === "missing") await files.remove(entryPath(3));
      if (damage === "replaced") files.plant(entryPath(3), (await next(at(entries, 2), "another 3")).bytes);
      if (damage === "cut") files.plant(entryPath(3), at(entries, 3).bytes.subarray(0, 50));
      await assert.rejects(log.extendsFrom({ number: 2, head: at(entries, 2).id }, head), { code: "CORRUPT" }, damage);
    }
  });
});

describe("log: append", () => {
  test("one writer wins a number, the other is told; no temporary files stay", async () => {
    const { files, entries } = await storeOf(2);
    const [a, b] = [await openLog(files, KEY), await openLog(files, KEY)];
    assert.ok(await a.append(await next(at(entries, 2), "a"), seeded("a")));
    assert.equal(await b.append(await next(at(entries, 2), "b"), seeded("b")), false);
    assert.equal((await b.findHead()).facts.note, "a");
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("the entry that it follows is looked at once more: gone or another, nothing is committed", async () => {
    for (const left of ["gone", "another"]) {
      const { files, log, entries } = await storeOf(2);
      const entry = await next(await log.findHead(), "3");
      const temp = await log.stage(entry, seeded("3"));
      await files.remove(entryPath(2));
      if (left === "another") files.plant(entryPath(2), (await next(at(entries, 1), "another")).bytes);
      await assert.rejects(log.link(entry, temp), { code: "LOG_BEHIND_MEMORY" }, left);
      assert.equal(await files.stat(entryPath(3)), undefined);
      assert.deepEqual(await files.list("local/tmp"), []);
    }
  });

  test("of two writers that make the same entry one wins it", async () => {
    const { files, entries } = await storeOf(2);
    const [a, b] = [await openLog(files, KEY), await openLog(files, KEY)];
    const entry = await next(at(entries, 2), "3");
    assert.ok(await a.append(entry, seeded("a")));
    assert.equal(await b.append(entry, seeded("b")), false);
    assert.equal((await b.findHead()).id, entry.id);
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("EEXIST for our own file, as NFS reports it, is done", async () => {
    const { files, log, entries } = await storeOf(2);
    const entry = await next(at(entries, 2), "3");
    files.before = (call) => {
      if (call === "link") files.fault = { at: files.calls, kind: "fail-after", code: "EEXIST" };
    };
    assert.ok(await log.append(entry, seeded("3")));
    assert.equal(files.count("link"), 3);
    assert.equal((await log.findHead()).id, entry.id);
  });

  test("the first entry of a folder: folder and parent are durable, and so is the entry before", async () => {
    const files = new MemoryFiles();
    const first = await makeFirstEntry({ refs: idOf("root"), moves: [] }, idOf("nonce"), signing);
    const last = LIMITS.entriesPerFolder - 1;
    for (let number = 1; number < last; number += 1)
      files.plant(entryPath(number), number === 1 ? first.bytes : utf8("x"));
    const head: LogEntry = { ...first, facts: { ...first.facts, number: last - 1 } as LogEntry["facts"] };
    files.plant("local/tmp/keep", new Uint8Array());
    const rival = new Log(files, KEY, first);
    const ours = new Log(files, KEY, first);
    const before = await next(head, "last of its folder");
    // The rival links, and loses its process before the fsync of the folder.
    files.before = (call, path) => {
      if (call === "fsyncFolder" && path === entryFolder(last) && files.count("link") === 1) throw new Error("killed");
    };
    await assert.rejects(rival.append(before, seeded("rival")));
    files.before = undefined;
    assert.ok(await ours.append(await next(before, "first of the next"), seeded("ours")));
    const left = files.crash("all-lost").snapshot();
    assert.ok(left.has(entryPath(last)), "the entry before");
    assert.ok(left.has(entryPath(last + 1)), "the new entry");
    assert.equal(await highestEntry(files.crash("all-lost")), last + 1);
  });
});
