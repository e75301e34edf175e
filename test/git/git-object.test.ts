// SPDX-License-Identifier: Apache-2.0
/** Our encodings against those of stock git, and what stock git makes of our packs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isCofferError } from "../../src/base/errors.ts";
import {
  entriesOf,
  type GitObject,
  gitBlob,
  gitCommit,
  gitTree,
  treeOf,
  treeOfCommit,
} from "../../src/git/git-object.ts";
import { idsInIndex, makePack } from "../../src/git/pack.ts";

const repository = mkdtempSync(join(tmpdir(), "coffer-git-object-"));
after(() => rmSync(repository, { recursive: true, force: true }));

function git(args: readonly string[], input?: Uint8Array | string): string {
  const run = spawnSync("git", ["-C", repository, ...args], { encoding: "utf8", input });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout.trim();
}
git(["init", "--quiet", "--bare", "."]);

const NAMES = ["a", "a.b", "a-b", "a0", "ab", "b", "B", "_", "~", "a b"];

test("blobs and trees have the ids that git gives them, whatever the names sort like", () => {
  const one = gitBlob("one");
  assert.equal(one.id, git(["hash-object", "-w", "--stdin"], "one"));
  for (const folders of [[], ["a"], ["a", "a0"], ["b", "~"]]) {
    const entries = NAMES.map((name) => ({
      name,
      kind: folders.includes(name) ? ("folder" as const) : ("file" as const),
      id: folders.includes(name) ? gitTree([{ name: "x", kind: "file", id: one.id }]).id : one.id,
    }));
    git(["mktree"], `100644 blob ${one.id}\tx\n`);
    const listed = entries.map(({ name, kind, id }) =>
      kind === "folder" ? `040000 tree ${id}\t${name}\n` : `100644 blob ${id}\t${name}\n`,
    );
    assert.equal(gitTree(entries.toReversed()).id, git(["mktree"], listed.join("")));
  }
});

test("property: a tree of files is what git makes of the same files", () => {
  const part = fc.constantFrom(...NAMES);
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  fc.assert(
    fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 8 }), (paths) => {
      const files = paths.filter((one) => !paths.some((other) => one.startsWith(`${other}/`)));
      const { root } = treeOf(new Map(files.map((one) => [one, gitBlob(one)])));
      const index = join(repository, "index");
      rmSync(index, { force: true });
      const lines = files.map((one) => `100644 ${gitBlob(one).id}\t${one}\n`).join("");
      for (const one of files) git(["hash-object", "-w", "--stdin"], one);
      git(["update-index", "--add", "--index-info"], lines);
      assert.equal(root, git(["write-tree"]));
    }),
    { numRuns: 15 },
  );
});

test("what was written is read again; what is no tree or no commit is not taken for one", () => {
  const { id } = gitBlob("one");
  const tree = gitTree([
    { name: "b c", kind: "folder", id },
    { name: "ä", kind: "file", id },
  ]);
  const entries = [
    { name: "b c", mode: "40000", id },
    { name: "ä", mode: "100644", id },
  ];
  assert.deepEqual([...entriesOf(tree.content)], entries);
  assert.deepEqual([...entriesOf(new Uint8Array())], []);
  const raw = Buffer.from(id, "hex");
  const entry = (text: string, bytes = raw): Buffer => Buffer.concat([Buffer.from(text), bytes]);
  for (const [what, bytes] of [
    ["cut in an id", tree.content.subarray(0, -1)],
    ["more behind it", Buffer.concat([tree.content, raw])],
    ["no name", entry("100644 \0")],
    ["no mode", entry("a\0")],
    ["a mode that is none", entry("9 a\0")],
    ["a path for a name", entry("100644 a/b\0")],
    ["no end of the name", Buffer.from("100644 a")],
  ] as const)
    assert.deepEqual([...entriesOf(bytes)].slice(-1), [undefined], what);
  const commit = gitCommit({ tree: tree.id, parents: [id], seconds: 1_600_000_000, message: "x" });
  assert.equal(treeOfCommit(commit.content), tree.id);
  for (const text of ["", `tree ${id}`, `tree ${id.slice(1)}\n`, `parent ${id}\ntree ${id}\n`])
    assert.equal(treeOfCommit(Buffer.from(text)), undefined, text);
});

test("git reads every object of a pack, and says that pack and index are right", () => {
  const big = Buffer.alloc(100_000, "x");
  const sizes = [0, 1, 15, 16, 127, 128, 2047, 2048, 262_143].map((size) => gitBlob(Buffer.alloc(size, "s")));
  const files = new Map<string, GitObject>([
    ["folder/big", gitBlob(big)],
    ...sizes.map((o, at) => [`s${at}`, o] as const),
  ]);
  const { root, objects } = treeOf(files);
  const first = gitCommit({ tree: root, parents: [], seconds: 1_600_000_000, message: "first" });
  const second = gitCommit({ tree: root, parents: [first.id], seconds: 1_600_000_001, message: "second\n\nlines" });
  const all = [...new Map([...objects, first, second].map((object) => [object.id, object])).values()];
  const { name, pack, index } = makePack(all);
  assert.deepEqual(makePack(all.toReversed()), { name, pack, index });
  const folder = join(repository, "objects/pack");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.pack`), pack);
  writeFileSync(join(folder, `${name}.idx`), index);
  git(["verify-pack", join(folder, `${name}.idx`)]);
  git(["update-ref", "refs/heads/main", second.id]);
  assert.equal(git(["fsck", "--strict", "--full", "--no-dangling"]), "");
  assert.equal(git(["cat-file", "blob", "main:folder/big"]), big.toString());
  assert.equal(
    git(["log", "--format=%an <%ae> %at %s", "main"]),
    ["coffer <coffer@invalid> 1600000001 second", "coffer <coffer@invalid> 1600000000 first"].join("\n"),
  );
  assert.deepEqual(new Set(idsInIndex(index)), new Set(all.map(({ id }) => id)));
});

test("an index that is cut, altered or of another version is refused", () => {
  const { index, pack } = makePack([gitBlob("one"), gitBlob("two")]);
  const flipped = Buffer.from(index);
  flipped[1040] = (flipped[1040] ?? 0) ^ 1;
  const old = Buffer.from(index);
  old[7] = 1;
  for (const bytes of [index.subarray(0, -1), index.subarray(0, 8), new Uint8Array(), flipped, old, pack])
    assert.throws(
      () => idsInIndex(bytes),
      (error) => isCofferError(error, "CORRUPT"),
    );
});
