// SPDX-License-Identifier: Apache-2.0
/** Transactions: rivals, refusals, and a power loss or a failure at every call (invariants 1 and 4). */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { CofferError } from "../../src/base/errors.ts";
import { LIMITS } from "../../src/base/limits.ts";
import type { RefPath } from "../../src/base/ref-path.ts";
import type { Files } from "../../src/objects/files.ts";
import { objectPath } from "../../src/objects/layout.ts";
import { openObjects } from "../../src/objects/object-store.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { WriteBatch } from "../../src/objects/write-batch.ts";
import { type HeadView, viewOf } from "../../src/refs/head-view.ts";
import { openLog } from "../../src/refs/log.ts";
import type { LogEntry } from "../../src/refs/log-entry.ts";
import { openMemory } from "../../src/refs/memory.ts";
import { type Act, commit, createLog, type Draft } from "../../src/refs/transaction.ts";
import { checkViews } from "../../src/refs/views.ts";
import { MemoryFiles, PowerLoss } from "../support/memory-files.ts";
import {
  collect,
  idOf,
  makeFolders,
  NOW,
  naiveRoot,
  newStore,
  portsOf,
  refsOf,
  STORE_SIGNER,
  seeded,
  signerOf,
  someRefs,
  trusted,
  utf8,
} from "./fixture.ts";

const KEY = STORE_SIGNER.publicKey;

let batches = 0;

/** A draft that sets `refs` to a fresh object each. */
function drafted(files: Files, label: string, refs: readonly RefPath[]): Draft {
  batches += 1;
  const batch = new WriteBatch(files, seeded(`batch ${batches}`));
  const moves = refs.map((ref) => {
    const bytes = utf8(`${label} ${ref}`);
    const to = sha256(bytes);
    batch.addObject({ id: to, bytes });
    return { ref, to };
  });
  return { moves, batch, note: label };
}

/** Opens a store as a new process would, and demands that every entry and all that it reaches are whole. */
async function expectWhole(files: Files): Promise<HeadView> {
  const log = await openLog(files, KEY);
  const reader = openObjects(files);
  let head: HeadView | undefined;
  for await (const entry of log.entries()) {
    head = viewOf(entry, reader);
    const refs = await refsOf(head);
    assert.equal(naiveRoot(refs), head.root);
    for (const [ref, id] of refs) assert.ok(await reader.read(id as Digest), `entry ${head.number}: object of ${ref}`);
  }
  assert.ok(head);
  return head;
}

describe("transaction", () => {
  test("fills in what was there, leaves out what holds already, and tells memory", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const [m0, m1, m2] = [trusted("m0"), trusted("m1"), trusted("m2")];
    const seen: unknown[] = [];
    const ports = portsOf("a", {
      remember: async ({ id, facts }) => void seen.push({ number: facts.number, head: id }),
    });
    await commit(log, reader, async () => drafted(files, "one", [m0, m1]), ports);
    const done = await commit(
      log,
      reader,
      async (head) => {
        assert.equal(head.number, 2);
        const was = await head.readRef(m0);
        return { moves: [{ ref: m2 }, { ref: m1 }, { ref: m0, ...(was && { to: was }) }], note: "second" };
      },
      ports,
    );
    assert.ok(done);
    const { facts, id } = done.entry;
    assert.deepEqual(
      facts.moves.map((move) => ({ ...move })),
      [{ ref: m1, from: sha256(utf8(`one ${m1}`)) }],
    );
    assert.equal(facts.note, "second");
    assert.deepEqual([done.attempts, done.late, seen.at(-1)], [1, [], { number: 3, head: id }]);
    const view = await expectWhole(files);
    assert.deepEqual([...(await refsOf(view)).keys()], [m0]);
    assert.deepEqual(await checkViews(files, view.listRefs()), []);
    assert.equal(Buffer.from((await files.read("local/head", 99)) ?? []).toString(), "3\n");
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("nothing to do: no entry; what the draft wrote is there all the same", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const ref = trusted("m0");
    await commit(log, reader, async () => drafted(files, "one", [ref]), portsOf("a"));
    assert.equal(await commit(log, reader, async () => undefined, portsOf("b")), undefined);
    const again = async (): Promise<Draft> => {
      const draft = drafted(files, "one", [ref]);
      draft.batch?.addObject({ id: sha256(utf8("extra")), bytes: utf8("extra") });
      return draft;
    };
    assert.equal(await commit(log, reader, again, portsOf("c")), undefined);
    assert.equal((await log.findHead()).facts.number, 2);
    assert.ok(await openObjects(files.crash("all-lost")).read(sha256(utf8("extra"))));
  });

  test("many refs at once", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    await commit(log, reader, async () => drafted(files, "many", someRefs(150)), portsOf("a"));
    await commit(log, reader, async () => ({ moves: someRefs(100).map((ref) => ({ ref })) }), portsOf("b"));
    assert.equal((await refsOf(await expectWhole(files))).size, 50);
  });

  test("works on real files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "coffer-commit-"));
    try {
      const files = openRealFiles(folder);
      const { log, reader } = await newStore(files);
      for (const label of ["a", "b", "c"]) {
        const done = await commit(log, reader, async () => drafted(files, label, someRefs(3)), portsOf(label));
        assert.deepEqual(done?.late, []);
      }
      const view = await expectWhole(files);
      assert.equal(view.number, 4);
      assert.deepEqual(await checkViews(files, view.listRefs()), []);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("transaction: refused, and nothing moves", () => {
  const m0 = trusted("m0");
  const to = idOf("x");
  const over = Array.from({ length: LIMITS.movesPerEntry + 1 }, () => ({ ref: m0, to }));
  const refused: [string, Act, string][] = [
    ["too many moves", async () => ({ moves: over }), "LIMIT_EXCEEDED"],
    ["a ref twice", async () => ({ moves: [{ ref: m0, to }, { ref: m0 }] }), "INTERNAL"],
    ["an empty note", async () => ({ moves: [{ ref: m0, to }], note: "" }), "DOCUMENT_INVALID"],
    ["an act that refuses", () => Promise.reject(new CofferError("APPROVALS_SHORT", "1 of 2")), "APPROVALS_SHORT"],
  ];
  for (const [name, act, code] of refused) {
    test(name, async () => {
      const files = new MemoryFiles();
      const { log, reader } = await newStore(files);
      await assert.rejects(commit(log, reader, act, portsOf("a")), { code });
      assert.equal((await expectWhole(files)).number, 1);
    });
  }

  test("another key than the store's, before the act is asked", async () => {
    const { log, reader } = await newStore();
    const act = (): never => assert.fail("asked");
    await assert.rejects(commit(log, reader, act, portsOf("a", { signer: signerOf("a stranger") })), {
      code: "NO_STORE_KEY",
    });
  });

  test("a damaged head", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const done = await commit(log, reader, async () => drafted(files, "one", someRefs(70)), portsOf("a"));
    await files.remove(objectPath(done?.entry.facts.refs ?? to));
    await assert.rejects(
      commit(log, reader, async () => ({ moves: [{ ref: m0 }] }), portsOf("b")),
      { code: "CORRUPT" },
    );
  });

  test("a second entry 1", async () => {
    const files = new MemoryFiles();
    const { reader } = await newStore(files);
    await assert.rejects(createLog(files, reader, { moves: [] }, portsOf("another birth")), { code: "EXISTS" });
    assert.equal((await expectWhole(files)).number, 1);
  });
});

describe("transaction: rivals", () => {
  test("the whole act runs again on the new head, and may then decide otherwise", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const rival = await openLog(files, KEY);
    const ports = portsOf("a");
    const heads: number[] = [];
    const act: Act = async (head) => {
      heads.push(head.number);
      if (heads.length < 4)
        await commit(
          rival,
          reader,
          async () => drafted(files, `rival ${head.number}`, [trusted("r")]),
          portsOf(`r${head.number}`),
        );
      return head.number < 4 ? drafted(files, "mine", [trusted("m")]) : undefined;
    };
    assert.equal(await commit(log, reader, act, ports), undefined);
    assert.deepEqual(heads, [1, 2, 3, 4]);
    assert.equal(ports.slept.length, 3);
    assert.ok(ports.slept.every((ms) => ms >= 0.5 && ms <= 8));
  });

  test("REF_MOVED when others are first every time; waits grow to a bound", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const ports = portsOf("a");
    files.before = (call) => {
      if (call === "link") files.fault = { at: files.calls, kind: "fail", code: "EEXIST" };
    };
    let asked = 0;
    const act: Act = async () => {
      asked += 1;
      return { moves: [{ ref: trusted("m"), to: idOf("m") }] };
    };
    await assert.rejects(commit(log, reader, act, ports), { code: "REF_MOVED" });
    assert.deepEqual([asked, ports.slept.length], [LIMITS.commitAttempts, LIMITS.commitAttempts - 1]);
    assert.ok(Math.max(...ports.slept) <= 256 && new Set(ports.slept).size > 20);
    assert.equal((await expectWhole(files)).number, 1);
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("three interleaved writers lose nothing", async () => {
    const files = new MemoryFiles();
    const { reader } = await newStore(files);
    const chance = seeded("interleaving");
    files.before = async () => {
      if ((chance(1)[0] ?? 0) < 64) await new Promise((done) => setImmediate(done));
    };
    const counter = trusted("counter");
    const value = (count: number): Uint8Array => utf8(`count ${count}`);
    const counts = new Map(Array.from({ length: 60 }, (_, count) => [sha256(value(count)), count]));
    const write = async (label: string): Promise<void> => {
      const log = await openLog(files, KEY);
      for (let turn = 0; turn < 8; turn += 1) {
        const act: Act = async (head) => {
          const held = await head.readRef(counter);
          const count = (held === undefined ? 0 : (counts.get(held) ?? Number.NaN)) + 1;
          const batch = new WriteBatch(files, seeded(`${label} ${turn} ${count}`));
          batch.addObject({ id: sha256(value(count)), bytes: value(count) });
          return { moves: [{ ref: counter, to: sha256(value(count)) }], batch, note: `${label} ${turn}` };
        };
        await commit(log, reader, act, portsOf(`${label} ${turn}`));
      }
    };
    await Promise.all(["a", "b", "c"].map(write));
    files.before = undefined;
    const view = await expectWhole(files);
    assert.equal(counts.get((await view.readRef(counter)) ?? idOf("none")), 24);
    const notes = (await collect((await openLog(files, KEY)).entries())).map((entry) => entry.facts.note);
    assert.equal(new Set(notes).size, 1 + 24);
    assert.deepEqual(await checkViews(files, view.listRefs()), []);
    assert.deepEqual(await files.list("local/tmp"), []);
  });
});

const two = new MemoryFiles();
{
  const { log, reader } = await newStore(two);
  await commit(log, reader, async () => drafted(two, "two", someRefs(3)), portsOf("two"));
}

/** A store with two entries, all of it durable, and the commit that the crash tests interrupt: a change, a new ref, a removal. */
async function beforeCrash(): Promise<{ files: MemoryFiles; run: () => Promise<unknown> }> {
  const files = two.crash("none-lost");
  const log = await openLog(files, KEY);
  return { files, run: () => commit(log, openObjects(files), async () => third(files), portsOf("three")) };
}

function third(files: Files): Draft {
  const draft = drafted(files, "three", [trusted("m0"), trusted("new")]);
  return { ...draft, moves: [...draft.moves, { ref: trusted("m1") }] };
}

describe("transaction: crashes", () => {
  test("power loss at every call: before or after, all that the head reaches is there, and it goes on", async () => {
    const outcomes = new Set<string>();
    for (let at = 1; ; at += 1) {
      const { files, run } = await beforeCrash();
      files.fault = { at: files.calls + at, kind: "stop" };
      const done = await run().then(
        () => true,
        (error: unknown) => {
          assert.ok(error instanceof PowerLoss);
          return false;
        },
      );
      const linked = files.count("link") === 1;
      for (const [mode, seed] of [
        ["all-lost", 0],
        ["random", at],
      ] as const) {
        const left = files.crash(mode, seed);
        const head = await expectWhole(left);
        assert.ok(head.number === 3 ? linked : head.number === 2 && !done, `call ${at}, ${mode}: entry ${head.number}`);
        outcomes.add(`${mode} ${head.number}`);
        if (mode !== "random") continue;
        const log = await openLog(left, KEY);
        await commit(log, openObjects(left), async () => drafted(left, "after", someRefs(3)), portsOf("after"));
        assert.equal((await expectWhole(left.crash("all-lost"))).number, head.number + 1);
      }
      if (done) break;
    }
    assert.equal(outcomes.size, 4);
  });

  test("a failing disk at every call: refused or done, never between, and the next writer goes on", async () => {
    for (let at = 1; ; at += 1) {
      const { files, run } = await beforeCrash();
      const number = files.calls + at;
      files.fault = { at: number, kind: "fail", code: at % 2 === 0 ? "EIO" : "ENOSPC" };
      const late = await run().then(
        (done) => (done as { late: readonly CofferError[] }).late.length,
        (error: unknown) => {
          assert.ok(error instanceof CofferError && ["IO_ERROR", "NO_SPACE"].includes(error.code), String(error));
          return -1;
        },
      );
      const reached = files.calls >= number;
      files.fault = undefined;
      assert.ok([2, 3].includes((await expectWhole(files)).number));
      if (!reached) break;
      const log = await openLog(files, KEY);
      await commit(log, openObjects(files), async () => drafted(files, "after", someRefs(3)), portsOf("after"));
      await expectWhole(files.crash("all-lost"));
      assert.ok(late <= 3);
    }
  });

  test("a writer killed at any call, another that goes on, then a power loss: what the other committed is whole", async () => {
    for (let at = 1; ; at += 1) {
      const { files, run } = await beforeCrash();
      const number = files.calls + at;
      files.before = () => {
        if (files.calls >= number) throw new Error("killed");
      };
      const killed = await run().then(
        () => false,
        () => true,
      );
      files.before = undefined;
      const log = await openLog(files, KEY);
      const done = await commit(log, openObjects(files), async () => third(files), portsOf("other"));
      const head = await expectWhole(files.crash("all-lost"));
      assert.equal(head.number, done?.entry.facts.number ?? 3, `call ${at}`);
      if (!killed) break;
    }
  });
});

describe("transaction: what fails after the commit", () => {
  test("memory and views are reported, the hint stays behind, and the commit stands", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    const state = new MemoryFiles();
    const memory = openMemory(state);
    state.fault = { at: 1, kind: "fail", code: "EACCES" };
    files.plant("refs/trusted/acme", utf8("a file where a folder belongs"));
    const ports = portsOf("a", { remember: ({ id, facts }) => memory.rememberHead(facts.number, id) });
    const done = await commit(log, reader, async () => drafted(files, "one", someRefs(1)), ports);
    const codes = done?.late.map((error) => error.code);
    assert.deepEqual(codes, ["STATE_UNWRITABLE", "CORRUPT"]);
    assert.equal((await expectWhole(files)).number, 2);
    assert.deepEqual([await log.readHint(), await files.list("local/tmp")], [1, []]);
  });

  test("a hint that cannot be written is reported, and the commit stands", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    await files.remove("local/head");
    await files.makeFolder("local/head"); // where the hint should go
    const done = await commit(log, reader, async () => drafted(files, "one", someRefs(1)), portsOf("a"));
    assert.equal(done?.late.length, 1);
    const view = await expectWhole(files);
    assert.deepEqual([view.number, await checkViews(files, view.listRefs())], [2, []]);
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("views of an entry whose writer was stopped are written with those of the next one", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    await commit(log, reader, async () => drafted(files, "one", someRefs(3)), portsOf("a"));
    for (const ref of someRefs(3)) await files.remove(ref);
    await log.writeHint(1, portsOf("b").random);
    await commit(log, reader, async () => drafted(files, "two", [trusted("other")]), portsOf("c"));
    const view = await expectWhole(files);
    assert.deepEqual([await checkViews(files, view.listRefs()), await log.readHint()], [[], 3]);
  });

  test("what is no CofferError is not hidden", async () => {
    const { log, reader } = await newStore();
    const ports = portsOf("a", { remember: () => Promise.reject(new TypeError("a bug")) });
    const act = async (): Promise<Draft> => ({ moves: [{ ref: trusted("m"), to: idOf("m") }] });
    await assert.rejects(commit(log, reader, act, ports), TypeError);
  });

  test("memory is told only of what is durable", async () => {
    const files = new MemoryFiles();
    const { log, reader } = await newStore(files);
    let told = 0;
    const remember = async ({ facts: { number } }: LogEntry): Promise<void> => {
      told = (await expectWhole(files.crash("all-lost"))).number === number ? number : -1;
    };
    await commit(log, reader, async () => drafted(files, "one", someRefs(3)), portsOf("a", { remember }));
    assert.equal(told, 2);
  });
});

describe("a new log", () => {
  test("power loss at every call: no entry 1, or a whole one", async () => {
    for (let at = 1; ; at += 1) {
      const files = new MemoryFiles();
      await makeFolders(files);
      const draft = drafted(files, "birth", someRefs(2));
      files.fault = { at: files.calls + at, kind: "stop" };
      const done = await createLog(files, openObjects(files), draft, portsOf("birth", { clock: () => NOW })).then(
        () => true,
        () => false,
      );
      for (const left of [files.crash("all-lost"), files.crash("random", at)]) {
        const born = left.snapshot().has("log/000000/000000000001");
        if (born) assert.equal((await refsOf(await expectWhole(left))).size, 2);
        else assert.ok(!done, `call ${at}`);
      }
      if (done) break;
    }
  });
});
