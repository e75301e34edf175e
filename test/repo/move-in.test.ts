// SPDX-License-Identifier: Apache-2.0
/** `add --move` on a real disk: the file becomes the blob, or goes back; what may not be moved; what changes meanwhile. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type Digest, sha256 } from "../../src/base/digest.ts";
import { CofferError, type ErrorCode, isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import type { Files } from "../../src/objects/files.ts";
import { blobPath } from "../../src/objects/layout.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { type Added, add } from "../../src/repo/add.ts";
import { fsck } from "../../src/repo/fsck.ts";
import type { Store } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "../support/store-fixture.ts";

const NAME = parseName("acme/moved@v1");
const text = (content: string): Uint8Array => new TextEncoder().encode(content);

function put(fixture: StoreFixture, path: string, bytes: Uint8Array, mode = 0o640): string {
  const absolute = join(fixture.folder, "given", path);
  mkdirSync(dirname(absolute), { recursive: true });
  writeFileSync(absolute, bytes);
  chmodSync(absolute, mode);
  return absolute;
}

function move(fixture: StoreFixture, paths: readonly string[], store: Store = fixture.store): Promise<Added> {
  const files = paths.map((path) => ({
    path: parseManifestPath(path),
    folder: dirname(join(fixture.folder, "given", path)),
    file: path.split("/").at(-1) ?? "",
  }));
  return add(store, { name: NAME, files, keep: false, move: true });
}

const incoming = (fixture: StoreFixture): string[] => {
  const folder = join(fixture.location.root, "local", "incoming");
  return existsSync(folder) ? readdirSync(folder) : [];
};
const blob = (fixture: StoreFixture, id: Digest): string => join(fixture.location.root, blobPath(id));
const refused =
  (code: ErrorCode, pattern = /./) =>
  (error: unknown): boolean =>
    isCofferError(error, code) && pattern.test([error.message, ...error.details].join("\n"));

/** A store whose ports do something at a call on an open or a renamed file. */
async function withTrick(fixture: StoreFixture, trick: (files: Files, root: string) => Files): Promise<Store> {
  const { openStore } = await import("../../src/repo/store.ts");
  return openStore(fixture.location, { ...fixture.ports, openFolder: (path) => trick(openRealFiles(path), path) });
}

test("the very file becomes the blob, read-only, with one name; a folder keeps its tree", async (t) => {
  const fixture = await makeStoreFixture(t);
  const model = makeSafetensors(9_000_000);
  const given = put(fixture, "model.safetensors", model);
  put(fixture, "docs/README.md", text("# moved\n"));
  const { ino } = statSync(given);
  const added = await move(fixture, ["model.safetensors", "docs/README.md"]);
  assert.deepEqual(
    added.files.map(({ path }) => path),
    ["docs/README.md", "model.safetensors"],
  );
  const stat = statSync(blob(fixture, sha256(model)));
  assert.deepEqual([stat.ino, stat.mode & 0o777, stat.nlink], [ino, 0o444, 1]);
  assert.equal(existsSync(given), false);
  assert.deepEqual(incoming(fixture), []);
  assert.deepEqual((await fsck(await fixture.open())).problems, []);
  // The same bytes once more: what is there is replaced by what was hashed just now.
  const again = statSync(put(fixture, "model.safetensors", model)).ino;
  put(fixture, "docs/README.md", text("# moved\n"));
  assert.equal((await move(fixture, ["model.safetensors", "docs/README.md"])).manifest, added.manifest);
  assert.equal(statSync(blob(fixture, sha256(model))).ino, again);
});

test("what is refused goes back: the same file, with its rights", async (t) => {
  const fixture = await makeStoreFixture(t);
  const good = put(fixture, "README.md", text("# good\n"));
  const bad = put(fixture, "model.gguf", text("no model at all, though it is called one\n"), 0o600);
  const before = [good, bad].map((path) => statSync(path).ino);
  await assert.rejects(move(fixture, ["README.md", "model.gguf"]), refused("ADMISSION_REFUSED"));
  assert.deepEqual(
    [good, bad].map((path) => statSync(path).ino),
    before,
  );
  assert.deepEqual(
    [good, bad].map((path) => statSync(path).mode & 0o777),
    [0o640, 0o600],
  );
  assert.deepEqual(
    [good, bad].map((path) => statSync(path).nlink),
    [1, 1],
  );
  assert.deepEqual(incoming(fixture), []);
  assert.deepEqual(readdirSync(join(fixture.location.root, "local", "tmp")), []);
});

test("files that cannot be moved stay where they are, and the error says why", async (t) => {
  const fixture = await makeStoreFixture(t);
  const path = put(fixture, "README.md", text("# linked\n"));
  linkSync(path, `${path}.second`);
  await assert.rejects(move(fixture, ["README.md"]), refused("USAGE", /2 hard links; leave out --move/));
  rmSync(path);
  symlinkSync(`${path}.second`, path);
  await assert.rejects(move(fixture, ["README.md"]), refused("USAGE", /regular file/));
  rmSync(path);
  execFileSync("mkfifo", [path]);
  await assert.rejects(move(fixture, ["README.md"]), refused("USAGE", /regular file/));
  rmSync(path);
  await assert.rejects(move(fixture, ["README.md"]), refused("FILE_NOT_FOUND"));
  const cached = { path: parseManifestPath("README.md"), folder: dirname(path), file: "README.md.second" };
  await assert.rejects(
    add(fixture.store, { name: NAME, files: [cached], keep: false, move: true }),
    refused("USAGE", /cache/),
  );
  const added = await fixture.add("acme/one@v1", { "README.md": text("# own\n") });
  const own = join(fixture.location.root, blobPath(added.files[0]?.sha256 ?? assert.fail()));
  const source = {
    path: parseManifestPath(own.split("/").at(-1) ?? ""),
    folder: dirname(own),
    file: own.split("/").at(-1) ?? "",
  };
  await assert.rejects(
    add(fixture.store, { name: NAME, files: [source], keep: false, move: true }),
    refused("USAGE", /outside/),
  );
  assert.ok(existsSync(own));
  const foreign = { bootId: () => undefined, nowNs: () => 0n, account: () => 4242 };
  put(fixture, "README.md", text("# theirs\n"));
  const { openStore } = await import("../../src/repo/store.ts");
  const other = await openStore(fixture.location, { ...fixture.ports, machine: foreign });
  await assert.rejects(move(fixture, ["README.md"], other), refused("USAGE", /another's/));
  assert.equal(readFileSync(path, "utf8"), "# theirs\n");
  assert.deepEqual(incoming(fixture), []);
});

test("a file on another file system is left there", async (t) => {
  const fixture = await makeStoreFixture(t);
  const path = put(fixture, "README.md", text("# far\n"));
  const cause = Object.assign(new Error("EXDEV"), { code: "EXDEV" });
  const store = await withTrick(fixture, (files, root) => {
    if (root === "/") files.rename = () => Promise.reject(new CofferError("IO_ERROR", "cannot rename", { cause }));
    return files;
  });
  await assert.rejects(move(fixture, ["README.md"], store), refused("USAGE", /another; leave out --move/));
  assert.equal(readFileSync(path, "utf8"), "# far\n");
  assert.deepEqual(incoming(fixture), []);
});

test("a file that is written, or replaced, while it is taken goes back as it is then", async (t) => {
  const fixture = await makeStoreFixture(t);
  const path = put(fixture, "README.md", text("# before\n"));
  const written = await withTrick(fixture, (files, root) => {
    if (root !== fixture.location.root) return files;
    const open = files.open.bind(files);
    files.open = async (one) => {
      const file = await open(one);
      if (file === undefined || !one.startsWith("local/incoming/")) return file;
      const fsync = file.fsync.bind(file);
      // A writer that had it open before it was sealed.
      file.fsync = async () => {
        await fsync();
        const read = file.read.bind(file);
        file.read = (buffer, position) => {
          if (position === 0) appendFileSync(join(root, one), "more\n");
          return read(buffer, position);
        };
      };
      return file;
    };
    return files;
  });
  await assert.rejects(move(fixture, ["README.md"], written), refused("SOURCE_CHANGED"));
  assert.match(readFileSync(path, "utf8"), /^# before\nmore\n/);

  const replaced = await withTrick(fixture, (files, root) => {
    if (root !== "/") return files;
    const rename = files.rename.bind(files);
    files.rename = (from, to) => {
      if (`/${from}` === path) {
        rmSync(path);
        symlinkSync("/etc/hostname", path);
      }
      return rename(from, to);
    };
    return files;
  });
  await assert.rejects(move(fixture, ["README.md"], replaced), (error) => isCofferError(error));
  assert.equal(readdirSync(dirname(path)).join(), "README.md", "the link is back where it was put");
  assert.deepEqual(incoming(fixture), []);
  assert.ok(statSync("/etc/hostname").size >= 0);
});

test("its place is taken meanwhile: the file stays in the store's local/incoming, and that is said", async (t) => {
  const fixture = await makeStoreFixture(t);
  const path = put(fixture, "model.gguf", text("no model\n"));
  const store = await withTrick(fixture, (files, root) => {
    if (root !== "/") return files;
    const rename = files.rename.bind(files);
    files.rename = async (from, to) => {
      await rename(from, to);
      writeFileSync(path, "newer\n");
    };
    return files;
  });
  await assert.rejects(move(fixture, ["model.gguf"], store), refused("ADMISSION_REFUSED", /lies in local\/incoming\//));
  assert.equal(readFileSync(path, "utf8"), "newer\n");
  const [file = "", note = ""] = incoming(fixture);
  assert.equal(readFileSync(join(fixture.location.root, "local/incoming", file), "utf8"), "no model\n");
  assert.equal(readFileSync(join(fixture.location.root, "local/incoming", note), "utf8"), `${path}\n`);
  assert.match((await fsck(await fixture.open())).notes.join("\n"), /1 files in local\/incoming/);
});

test("a commit that fails leaves the file whole in local/incoming, and that is said", async (t) => {
  const fixture = await makeStoreFixture(t);
  put(fixture, "README.md", text("# late\n"));
  const store = await withTrick(fixture, (files, root) => {
    if (root !== fixture.location.root) return files;
    const link = files.link.bind(files);
    files.link = (from, to) =>
      to.startsWith("log/") ? Promise.reject(new CofferError("NO_SPACE", "full")) : link(from, to);
    return files;
  });
  await assert.rejects(move(fixture, ["README.md"], store), refused("NO_SPACE", /lies whole in local\/incoming\//));
  const [file = ""] = incoming(fixture);
  const left = join(fixture.location.root, "local/incoming", file);
  assert.equal(readFileSync(left, "utf8"), "# late\n");
  renameSync(left, join(fixture.folder, "given", "README.md"));
  await assert.rejects(move(fixture, ["README.md"]), refused("USAGE", /hard links/), "the blob is the same file");
});
