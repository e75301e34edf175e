// SPDX-License-Identifier: Apache-2.0
/** Names and paths as git sees them: no two meet, and none is a setting of git or git-lfs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { gitBlob } from "../../src/git/git-object.ts";
import { branchOf, lfsPath, lfsPointer, packedRefs, treePath } from "../../src/git/projection.ts";

test("a namespace never stands where the branch of the metadata does", () => {
  assert.equal(branchOf(parseName("acme/tiny@prod")), "refs/heads/acme/tiny/prod");
  assert.equal(branchOf(parseName("coffer/tiny")), "refs/heads/coffer_/tiny/main");
  assert.throws(() => parseName("coffer_/tiny"), { code: "NAME_INVALID" });
});

test("parts that git or git-lfs would obey are renamed, and so are their answers", () => {
  for (const [path, shown] of [
    ["model.gguf", "model.gguf"],
    [".gitattributes", "_.gitattributes"],
    ["sub/.GitModules", "sub/_.GitModules"],
    ["_.gitignore", "__.gitignore"],
    [".lfsconfig", "_.lfsconfig"],
    [".lfsconfig.json", ".lfsconfig.json"],
    ["a.git/b", "a.git/b"],
  ] as const)
    assert.equal(treePath(path), shown);
});

test("a pointer is what git-lfs writes; an empty file is its own", () => {
  const blob = sha256(new TextEncoder().encode("x"));
  assert.equal(lfsPointer({ sha256: blob, size: 0 }), "");
  assert.equal(
    lfsPointer({ sha256: blob, size: 1 }),
    `version https://git-lfs.github.com/spec/v1\noid sha256:${blob}\nsize 1\n`,
  );
  assert.equal(lfsPath(blob), `lfs/objects/${blob.slice(0, 2)}/${blob.slice(2, 4)}/${blob}`);
});

test("branches are sorted, in whatever order they come", () => {
  const { id } = gitBlob("x");
  const refs = ["refs/heads/b", "refs/heads/a", "refs/heads/c"];
  for (const order of [refs, refs.toReversed()]) {
    const text = packedRefs(new Map(order.map((ref) => [ref, id])));
    assert.equal(
      text,
      `# pack-refs with: peeled fully-peeled sorted \n${id} refs/heads/a\n${id} refs/heads/b\n${id} refs/heads/c\n`,
    );
  }
});
