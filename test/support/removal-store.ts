// SPDX-License-Identifier: Apache-2.0
/**
 * The small store of test/slow/removal.test.ts, and the questions that are asked of it after each damage:
 *
 * - acme/good      trusted, promoted twice, so that its head has an ancestor
 * - acme/shares    trusted; one of its files is a file of acme/bad too
 * - acme/bad       trusted, then revoked with its bytes
 * - acme/fallen    refs/trusted stands, but it holds a blob that the revocation names
 * - acme/again     the very manifest of acme/bad, quarantined
 * - evil/again     the same, and a candidate with all signatures: only the revocation keeps it out
 * - evil/partly    a manifest of its own with a revoked blob, its candidate signed as well
 *
 * carol revokes acme/*; evil/* has the same rule. Memory is present.
 */
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { parseDigest } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseName } from "../../src/base/names.ts";
import { openManifestFile } from "../../src/repo/blobs.ts";
import { promote } from "../../src/repo/promote.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { Serving } from "../../src/repo/serving.ts";
import { openStore, type Store } from "../../src/repo/store.ts";
import { makeSafetensors, makeStoreFixture, type StoreFixture } from "./store-fixture.ts";

export const NAMES = [
  "acme/again@main",
  "acme/bad@main",
  "acme/fallen@main",
  "acme/good@main",
  "acme/shares@main",
  "evil/again@main",
  "evil/partly@main",
] as const;
export const TRUSTED: readonly string[] = ["acme/good@main", "acme/shares@main"];
/** Candidates that are fully signed; nothing but the revocation keeps them out. */
export const FORBIDDEN = ["evil/again@main", "evil/partly@main"] as const;

export interface RemovalStore {
  readonly fixture: StoreFixture;
  /** A blob that the revocation names, and one that acme/shares keeps in use. */
  readonly revokedBlob: string;
  readonly sharedBlob: string;
}

export async function makeRemovalStore(t: TestContext): Promise<RemovalStore> {
  const fixture = await makeStoreFixture(t);
  fixture.nowS = Math.floor(Date.now() / 1000); // the CLI asks the real clock
  const [poison, shared] = [makeSafetensors(300, 7), makeSafetensors(200, 8)];
  const bad = { "poison.safetensors": poison, "shared.safetensors": shared };
  await fixture.trust("acme/good", { "model.safetensors": makeSafetensors(100, 1) });
  await fixture.trust("acme/good", {
    "model.safetensors": makeSafetensors(100, 2),
    "README.md": Buffer.from("# two\n"),
  });
  await fixture.trust("acme/shares", { "shared.safetensors": shared, "README.md": Buffer.from("# shares\n") });
  await fixture.trust("acme/bad", bad);
  await fixture.trust("acme/fallen", { "poison.safetensors": poison, "README.md": Buffer.from("# fallen\n") });
  await fixture.add("acme/again", bad);
  await fixture.add("evil/again", bad);
  await fixture.add("evil/partly", { "poison.safetensors": poison });
  for (const name of FORBIDDEN) await fixture.approve(name, await fixture.propose(name), "alice", "bob");
  const revokedBlob = sha256Hex(poison);
  // acme/fallen holds the blob too, so it has to be named.
  const also = [parseDigest(revokedBlob)];
  await revoke(fixture.store, { name: parseName("acme/bad"), reason: "poisoned", also }, fixture.signers.carol);
  return { fixture, revokedBlob, sharedBlob: sha256Hex(shared) };
}

function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** One name, or one act, and what came of it: "yes …", or a code. */
export type Answers = ReadonlyMap<string, string>;

/** Runs `ask`; the code of the CofferError that it throws. Any other error goes on up: it is a crash, not an answer. */
async function codeOr(ask: () => Promise<string>): Promise<string> {
  try {
    return await ask();
  } catch (error) {
    if (!isCofferError(error)) throw error;
    return error.code;
  }
}

/** Everything that could be a wrong yes, asked of a store opened for the purpose. */
export async function askAll({ fixture, revokedBlob, sharedBlob }: RemovalStore, memory = true): Promise<Answers> {
  const answers = new Map<string, string>();
  let opened: Store | undefined;
  const open = await codeOr(async () => {
    opened = await openStore({ ...fixture.location, memory }, fixture.ports);
    return "yes";
  });
  answers.set("open", open);
  if (opened === undefined) return answers;
  const store = opened;
  for (const name of NAMES) answers.set(`resolve ${name}`, await codeOr(() => resolveAndRead(store, name)));
  const serving = new Serving(store);
  answers.set("page", await codeOr(() => page(serving)));
  for (const [what, blob] of [
    ["revoked", revokedBlob],
    ["shared", sharedBlob],
  ] as const) {
    answers.set(`serve the ${what} blob`, await codeOr(() => serveBlob(serving, blob)));
  }
  for (const name of FORBIDDEN) {
    answers.set(`promote ${name}`, await codeOr(async () => `yes ${(await promote(store, [parseName(name)])).length}`));
  }
  return answers;
}

/** The verdict of `resolve`, and the bytes as a download would have them. */
async function resolveAndRead(store: Store, name: string): Promise<string> {
  const { manifest } = await resolve(store, parseName(name));
  for (const file of manifest.value.files) {
    const reader = await openManifestFile(store, file);
    try {
      const hash = createHash("sha256");
      for await (const piece of reader.stream(0, reader.sizeBytes)) hash.update(piece);
      if (hash.digest("hex") !== file.sha256) return `yes, with wrong bytes in ${file.path}`;
    } finally {
      await reader.close();
    }
  }
  return `yes ${manifest.id}`;
}

/** What a server lists. */
async function page(serving: Serving): Promise<string> {
  const { models } = await serving.trustedPage(await serving.head(), undefined, 100);
  return `yes ${models.map(({ name }) => name).join(" ")}`;
}

/** What a server would send for a blob's URL. */
async function serveBlob(serving: Serving, blob: string): Promise<string> {
  const file = await serving.trustedFile(await serving.head(), parseDigest(blob));
  return file === undefined ? "no such file" : `yes ${file.sha256}`;
}

/** Holds nothing but room: 64 files that no answer depends on. */
const RESERVE = "local/reserve/";

/** Every file below a folder with its content, mode and time: to know it again, and to put it back. */
export class Snapshot {
  readonly root: string;
  readonly files = new Map<string, { readonly bytes: Buffer; readonly mode: number; readonly mtime: Date }>();

  constructor(root: string) {
    this.root = root;
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const absolute = join(entry.parentPath, entry.name);
      if (absolute.slice(root.length + 1).startsWith(RESERVE)) continue;
      const { mode, mtime } = lstatSync(absolute);
      this.files.set(absolute.slice(root.length + 1), { bytes: readFileSync(absolute), mode: mode & 0o777, mtime });
    }
  }

  /** Writes a file in place of what lies there. */
  write(path: string, bytes: Uint8Array): void {
    const absolute = join(this.root, path);
    const kept = this.files.get(path);
    mkdirSync(dirname(absolute), { recursive: true });
    rmSync(absolute, { force: true });
    writeFileSync(absolute, bytes);
    chmodSync(absolute, kept?.mode ?? 0o644);
  }

  remove(path: string): void {
    rmSync(join(this.root, path));
  }

  /** Puts back one file. */
  restoreFile(path: string): void {
    const kept = this.files.get(path);
    if (kept === undefined) {
      this.remove(path);
      return;
    }
    this.write(path, kept.bytes);
    utimesSync(join(this.root, path), kept.mtime, kept.mtime);
  }

  /** Puts back whatever differs; the paths, sorted. */
  restore(): string[] {
    const now = new Snapshot(this.root).files;
    const changed = [...this.files].filter(([path, { bytes }]) => now.get(path)?.bytes.equals(bytes) !== true);
    const paths = [...changed.map(([path]) => path), ...[...now.keys()].filter((path) => !this.files.has(path))].sort();
    for (const path of paths) this.restoreFile(path);
    return paths;
  }
}
