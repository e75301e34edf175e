// SPDX-License-Identifier: Apache-2.0
/** The files under refs/: written, removed, compared and repaired; slower writers; links are not followed. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { asRefPath, POLICY_REF, type RefPath } from "../../src/base/ref-path.ts";
import type { Files } from "../../src/objects/files.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import type { HeadView } from "../../src/refs/head-view.ts";
import { checkViews, repairViews, updateViews } from "../../src/refs/views.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { idOf, makeFolders, seeded, text, trusted, utf8 } from "./fixture.ts";

const [m0, m1] = [trusted("m0"), trusted("m1")];
const A = idOf("a");
const B = idOf("b");

/** A head that holds `refs`; views only ask for its number and refs. */
function headOf(number: number, refs: ReadonlyMap<RefPath, Digest>): HeadView {
  async function* list(): AsyncGenerator<readonly [RefPath, Digest]> {
    yield* refs;
  }
  const unused = { id: A, root: A, time: "2026-11-22T00:00:00Z" as HeadView["time"] };
  return { ...unused, number, readRef: async (ref) => refs.get(ref), listRefs: list };
}

type Entries = readonly (readonly [RefPath, Digest])[];
const at =
  (number: number, ...entries: Entries): (() => Promise<HeadView>) =>
  async () =>
    headOf(number, new Map(entries));
const target = (files: Files) => ({ files, random: seeded("views") });

async function memoryFiles(): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  await makeFolders(files);
  return files;
}

const views = (files: MemoryFiles): [string, string][] =>
  [...files.snapshot()].filter(([path]) => path.startsWith("refs/")).map(([path, bytes]) => [path, text(bytes)]);

describe("views: update", () => {
  test("where there is no room, or something lies in the way, what is gone is no longer shown, and the others are", async () => {
    const revoked = asRefPath(`refs/revoked/sha256/${A}/manifest`);
    const full = await memoryFiles();
    await updateViews(target(full), [m0], at(1, [m0, A]));
    full.fault = {
      at: full.calls + 1,
      kind: "fail",
      code: "ENOSPC",
      lasting: true,
      only: (call) => call === "create",
    };
    await assert.rejects(updateViews(target(full), [revoked, m0], at(2, [revoked, B])), { code: "NO_SPACE" });
    assert.deepEqual(views(full), []);
    const taken = await memoryFiles();
    await updateViews(target(taken), [m1], at(1, [m1, A]));
    taken.plant(`${m0}/of somebody`, new Uint8Array());
    await assert.rejects(updateViews(target(taken), [m0, m1, revoked], at(2, [m0, A], [revoked, B])), {
      code: "CORRUPT",
    });
    assert.deepEqual(
      views(taken).map(([path]) => path),
      [revoked, `${m0}/of somebody`],
    );
  });

  test("one file a ref, 64 hex and a newline; empty folders go with the last ref", async () => {
    const files = await memoryFiles();
    const blob = asRefPath(`refs/revoked/sha256/${A}/blob`);
    await updateViews(target(files), [m0, m1, POLICY_REF, blob], at(1, [m0, A], [m1, A], [POLICY_REF, B], [blob, B]));
    assert.deepEqual(views(files), [
      [POLICY_REF, `${B}\n`],
      [blob, `${B}\n`],
      [m0, `${A}\n`],
      [m1, `${A}\n`],
    ]);
    await updateViews(target(files), [m0, blob], at(2, [m1, A], [POLICY_REF, B]));
    assert.deepEqual(views(files), [
      [POLICY_REF, `${B}\n`],
      [m1, `${A}\n`],
    ]);
    assert.deepEqual(await files.list("refs"), ["policy", "trusted"]);
    assert.deepEqual(await files.list("refs/trusted/acme"), ["m1"]);
    await updateViews(target(files), [m1, POLICY_REF], at(3));
    assert.deepEqual(await files.list("refs"), []);
    await updateViews(target(files), [m1, POLICY_REF], at(3));
    assert.equal(files.count("fsyncFolder"), 2, "only those of makeFolders");
    assert.deepEqual(await files.list("local/tmp"), []);
  });

  test("a slower writer leaves what the newest head says", async () => {
    const files = await memoryFiles();
    const heads = [at(5, [m0, A]), at(6, [m0, B], [m1, B]), at(7, [m1, A]), at(7, [m1, A])];
    let asked = 0;
    await updateViews(target(files), [m0], () => (heads[asked++] ?? assert.fail("asked again"))());
    assert.equal(asked, 4);
    assert.deepEqual(views(files), []);
  });

  test("a head that never stands still ends after some rounds", async () => {
    const files = await memoryFiles();
    let number = 0;
    await updateViews(target(files), [m0], () => at(++number, [m0, idOf(`${number}`)])());
    assert.ok(number < 100);
  });

  test("a folder that another writer sweeps away between is made again", async () => {
    const files = await memoryFiles();
    let swept = 0;
    files.before = async (call) => {
      if (call !== "rename" || swept++ > 3) return;
      for (const folder of ["refs/trusted/acme/m0", "refs/trusted/acme", "refs/trusted"])
        await files.removeFolder(folder);
    };
    await updateViews(target(files), [m0], at(1, [m0, A]));
    assert.deepEqual(views(files), [[m0, `${A}\n`]]);
  });

  test("a folder that another writer fills while it is swept stays", async () => {
    const files = await memoryFiles();
    await updateViews(target(files), [m0], at(1, [m0, A]));
    files.before = (call, path) => {
      if (call === "removeFolder" && path === "refs/trusted/acme") files.plant(m1, utf8(`${B}\n`));
    };
    await updateViews(target(files), [m0], at(2));
    assert.deepEqual(views(files), [[m1, `${B}\n`]]);
  });

  test("a folder that holds something stays, whatever the system says of removing it", async () => {
    for (const code of ["ENOTEMPTY", "EEXIST", "EBUSY", "EPERM", "EACCES"]) {
      const files = await memoryFiles();
      await updateViews(target(files), [m0, m1], at(1, [m0, A], [m1, B]));
      files.before = (call, path) => {
        if (call !== "removeFolder" || path !== "refs/trusted/acme") return;
        files.fault = { at: files.calls, kind: "fail", code };
      };
      await updateViews(target(files), [m0], at(2, [m1, B]));
      assert.deepEqual(views(files), [[m1, `${B}\n`]], code);
    }
  });

  test("a file in the way is CORRUPT and is not touched; no temporary file stays", async () => {
    const files = await memoryFiles();
    files.plant("refs/trusted/acme", utf8("mine"));
    await assert.rejects(updateViews(target(files), [m0], at(1, [m0, A])), { code: "CORRUPT" });
    await assert.rejects(updateViews(target(files), [m0], at(2)), { code: "CORRUPT" });
    assert.deepEqual(views(files), [["refs/trusted/acme", "mine"]]);
    assert.deepEqual(await files.list("local/tmp"), []);
  });
});

describe("views: check and repair", () => {
  const head = at(9, [m0, A], [m1, B]);
  const check = async (files: Files) => checkViews(files, (await head()).listRefs());

  test("nothing differs, and no refs folder is like an empty one", async () => {
    const files = await memoryFiles();
    await updateViews(target(files), [m0, m1], head);
    assert.deepEqual(await check(files), []);
    const none = new MemoryFiles();
    assert.deepEqual(await check(none), [
      { path: m0, expected: A },
      { path: m1, expected: B },
    ]);
  });

  const damages: [string, (files: MemoryFiles) => unknown, object[]][] = [
    [
      "missing, and its folder empty",
      (files) => files.remove(m0),
      [
        { path: "refs/trusted/acme/m0", found: "other" },
        { path: m0, expected: A },
      ],
    ],
    ["another id", (files) => files.plant(m0, utf8(`${B}\n`)), [{ path: m0, expected: A, found: B }]],
    ["empty", (files) => files.plant(m0, utf8("")), [{ path: m0, expected: A, found: "other" }]],
    ["no newline", (files) => files.plant(m0, utf8(`${A} `)), [{ path: m0, expected: A, found: "other" }]],
    ["longer", (files) => files.plant(m0, utf8(`${A}\n\n`)), [{ path: m0, expected: A, found: "other" }]],
    ["capitals", (files) => files.plant(m0, utf8(`${A.toUpperCase()}\n`)), [{ path: m0, expected: A, found: "other" }]],
    ["a ref too many", (files) => files.plant(trusted("m2"), utf8(`${A}\n`)), [{ path: trusted("m2"), found: A }]],
    ["a stray file", (files) => files.plant("refs/notes", utf8("x")), [{ path: "refs/notes", found: "other" }]],
    [
      "a deep stray",
      (files) => files.plant("refs/a/b/c/d/e/f", utf8("x")),
      [{ path: "refs/a/b/c/d/e/f", found: "other" }],
    ],
    [
      "a folder in place of a view",
      (files) => files.remove(m0).then(() => files.plant(`${m0}/x`, utf8(`${A}\n`))),
      [
        { path: m0, expected: A },
        { path: `${m0}/x`, found: A },
      ],
    ],
    [
      "an empty folder in place of a view",
      (files) => files.remove(m0).then(() => files.makeFolder(m0)),
      [{ path: m0, expected: A, found: "other" }],
    ],
    [
      "a file in place of a folder",
      (files) =>
        files
          .remove(m0)
          .then(() => files.removeFolder("refs/trusted/acme/m0"))
          .then(() => files.plant("refs/trusted/acme/m0", utf8("x"))),
      [
        { path: "refs/trusted/acme/m0", found: "other" },
        { path: m0, expected: A },
      ],
    ],
  ];
  for (const [name, damage, expected] of damages) {
    test(`found and repaired: ${name}`, async () => {
      const files = await memoryFiles();
      await updateViews(target(files), [m0, m1], head);
      await damage(files);
      const found = await check(files);
      assert.deepEqual(found, expected);
      assert.deepEqual(await repairViews(target(files), found, head), []);
      assert.deepEqual(await check(files), []);
      assert.deepEqual(views(files), [
        [m0, `${A}\n`],
        [m1, `${B}\n`],
      ]);
    });
  }

  test("a ref that came since the check is not taken for a stray", async () => {
    const files = await memoryFiles();
    const newer = at(10, [m0, A], [m1, B], [trusted("m2"), B]);
    await updateViews(target(files), [m0, m1, trusted("m2")], newer);
    const found = await check(files);
    assert.deepEqual(found, [{ path: trusted("m2"), found: B }]);
    assert.deepEqual(await repairViews(target(files), found, newer), []);
    assert.equal(views(files).length, 3);
  });

  test("what lies too deep is named and left", async () => {
    const files = await memoryFiles();
    await updateViews(target(files), [m0, m1], head);
    files.plant(`refs/${"d/".repeat(30)}x`, utf8("x"));
    const found = await check(files);
    assert.equal(found.length, 1);
    assert.deepEqual(await repairViews(target(files), found, head), found);
  });
});

describe("views: links lead nowhere", () => {
  let folder = "";
  let store = "";
  let outside = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "coffer-views-"));
    [store, outside] = [join(folder, "store"), join(folder, "outside")];
    for (const path of [store, outside, join(store, "local"), join(store, "local/tmp"), join(store, "refs")])
      mkdirSync(path);
    mkdirSync(join(outside, "acme/m0"), { recursive: true });
    writeFileSync(join(outside, "acme/m0/main"), "precious");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const untouched = (): void => {
    assert.equal(readFileSync(join(outside, "acme/m0/main"), "utf8"), "precious");
    assert.deepEqual(readdirSync(outside), ["acme"]);
    assert.deepEqual(readdirSync(join(outside, "acme")), ["m0"]);
  };

  for (const place of ["refs/trusted", "refs/trusted/acme", "refs/trusted/acme/m0", "refs"]) {
    test(`a link at ${place}: not written through, not removed through, replaced by a repair`, async () => {
      const files = openRealFiles(store);
      const depth = place.split("/").length;
      const inside = ["", "acme", "acme/m0"][Math.max(0, depth - 2)] ?? "";
      if (place === "refs") rmdirSync(join(store, "refs"));
      else mkdirSync(join(store, place, ".."), { recursive: true });
      symlinkSync(join(outside, inside), join(store, place));
      await assert.rejects(updateViews(target(files), [m0], at(1, [m0, A])), { code: "CORRUPT" });
      await assert.rejects(updateViews(target(files), [m0], at(1)), { code: "CORRUPT" });
      untouched();
      const head = at(1, [m0, A]);
      const found = await checkViews(files, (await head()).listRefs());
      assert.deepEqual(found, [
        { path: place, found: "other" },
        { path: m0, expected: A },
      ]);
      assert.deepEqual(await repairViews(target(files), found, head), []);
      assert.equal(readFileSync(join(store, m0), "utf8"), `${A}\n`);
      untouched();
    });
  }

  test("a link in place of a view is replaced, never written through or read", async () => {
    const files = openRealFiles(store);
    mkdirSync(join(store, "refs/trusted/acme/m0"), { recursive: true });
    symlinkSync(join(outside, "acme/m0/main"), join(store, m0));
    const found = await checkViews(files, (await at(1, [m0, A])()).listRefs());
    assert.deepEqual(found, [{ path: m0, expected: A, found: "other" }]);
    await updateViews(target(files), [m0], at(1, [m0, A]));
    assert.equal(readFileSync(join(store, m0), "utf8"), `${A}\n`);
    symlinkSync(join(outside, "acme/m0/main"), join(store, "refs/policy"));
    await updateViews(target(files), [POLICY_REF], at(2, [m0, A]));
    assert.equal(existsSync(join(store, "refs/policy")), false);
    untouched();
  });
});
