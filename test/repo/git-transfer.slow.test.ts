// SPDX-License-Identifier: Apache-2.0
/** Metadata over a real git host: pushed by one store, taken over by another; every other thing on the branch is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pushBranch } from "../../src/git/git-remote.ts";
import { fetchMetadata, pushMetadata } from "../../src/repo/git-transfer.ts";
import { itemPath } from "../../src/sync/source.ts";
import { startGitHost } from "../support/git-host.ts";
import { makeSafetensors, makeStoreFixture } from "../support/store-fixture.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

async function itemsOf(source: NonNullable<Awaited<ReturnType<typeof fetchMetadata>>>["source"]) {
  const files = new Map<string, Uint8Array>();
  for await (const { item, read } of source.parcels(() => true)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of read()) pieces.push(piece);
    files.set(itemPath(item), Buffer.concat(pieces));
  }
  return files;
}

test("what a store pushes is its metadata, whole, signed, and without one blob; pushing again moves nothing", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const remote = { url: `${host.url}/models.git` };
  const fixture = await makeStoreFixture(t);
  assert.equal(await fetchMetadata(remote), undefined);
  const empty = await pushMetadata(fixture.store, remote, undefined);
  await fixture.trust("acme/one", { "model.safetensors": makeSafetensors(1000, 1) });
  await fixture.trust("acme/two", { "README.md": utf8("two\n") });
  await fixture.revoke("acme/two");
  const pushed = await pushMetadata(fixture.store, remote, empty.commit);
  assert.deepEqual([empty.moved, pushed.moved], [true, true]);
  assert.deepEqual(await pushMetadata(fixture.store, remote, pushed.commit), { commit: pushed.commit, moved: false });
  const found = await fetchMetadata(remote);
  assert.ok(found !== undefined);
  assert.equal(found.commit, pushed.commit);
  const { value } = found.source.index;
  assert.deepEqual(
    value.names.map(({ name, state }) => [name, state]),
    [
      ["acme/one@main", "trusted"],
      ["acme/two@main", "revoked"],
    ],
  );
  assert.equal(value.revocations.length, 1);
  const items = await itemsOf(found.source);
  assert.deepEqual([...items.keys()], value.items.map(itemPath));
  assert.ok([...items.keys()].every((path) => !path.startsWith("blobs/")));
  assert.equal(host.git("models.git", "fsck", "--strict", "--full", "--no-dangling"), "");
  assert.equal(host.git("models.git", "log", "-1", "--format=%an|%s", "coffer"), `coffer|coffer ${fixture.store.id}`);
});

test("a branch with a file too many, too few, another size, or a false signature is refused", async (t) => {
  const host = await startGitHost(t, ["models.git"]);
  const remote = { url: `${host.url}/models.git` };
  const fixture = await makeStoreFixture(t);
  await fixture.trust("acme/two", { "README.md": utf8("two\n") });
  let { commit } = await pushMetadata(fixture.store, remote, undefined);
  const found = await fetchMetadata(remote);
  assert.ok(found !== undefined);
  const { index, signature } = found.source;
  const signaturePath = `bundle/index.json.${signature?.publicKey.keyId}.sig`;
  const good = new Map([
    ["bundle/index.json", index.bytes],
    [signaturePath, utf8(signature?.armored ?? "")],
    ...(await itemsOf(found.source)),
  ]);
  const [object = ""] = [...good.keys()].filter((path) => path.startsWith("objects/"));
  const altered = (path: string, bytes: Uint8Array | undefined): ReadonlyMap<string, Uint8Array> => {
    const files = new Map(good);
    if (bytes === undefined) files.delete(path);
    else files.set(path, bytes);
    return files;
  };
  const cases: readonly (readonly [string, ReadonlyMap<string, Uint8Array>, string])[] = [
    ["a file too many", altered("README.md", utf8("hello\n")), "BUNDLE_INVALID"],
    ["a file too few", altered(object, undefined), "BUNDLE_INVALID"],
    ["another size", altered(object, utf8("x")), "BUNDLE_INVALID"],
    ["no index", altered("bundle/index.json", undefined), "REMOTE_FAILED"],
    ["no signature", altered(signaturePath, undefined), "REMOTE_FAILED"],
    ["a false signature", altered(signaturePath, utf8("no signature\n")), "SIGNATURE_INVALID"],
    ["an index that is none", altered("bundle/index.json", utf8("{}\n")), "BUNDLE_INVALID"],
  ];
  for (const [what, files, code] of cases) {
    commit = (await pushBranch(remote, "coffer", commit, files, { seconds: 1_700_000_000, message: "x" })).commit;
    const taken = async (): Promise<unknown> => {
      const again = await fetchMetadata(remote);
      return again === undefined ? undefined : itemsOf(again.source);
    };
    await assert.rejects(taken(), { code }, what);
  }
});
