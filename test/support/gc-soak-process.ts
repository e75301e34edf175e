// SPDX-License-Identifier: Apache-2.0
/**
 * One process of test/soak/gc.ts: a writer, a reader or a collector, working until it is told to stop (SIGTERM). Takes
 * its config as JSON in the first argument; prints an empty line when it begins, one of JSON with what it did, and ends with 1 at the first answer
 * that is not right.
 */
import { randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parsePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { add } from "../../src/repo/add.ts";
import { openManifestFile } from "../../src/repo/blobs.ts";
import { propose } from "../../src/repo/candidates.ts";
import { deleteName, removeBytes } from "../../src/repo/delete.ts";
import { readManifest } from "../../src/repo/dossier.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc, TRASH_S } from "../../src/repo/gc.ts";
import { pathOf } from "../../src/repo/materialise.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promoteAlone } from "../../src/repo/promote.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { show } from "../../src/repo/show.ts";
import { openStore, type Store } from "../../src/repo/store.ts";

export interface SoakConfig {
  readonly role: "writer" | "reader" | "checker" | "collector";
  readonly location: StoreLocation;
  readonly folder: string;
  /** Private key of the one person. */
  readonly key: string;
  /** The namespace that this writer has for itself. */
  readonly own: string;
  /** Names that are trusted throughout, with what their README.md holds. */
  readonly stable: Readonly<Record<string, string>>;
  /** How long the trash keeps its files here, in seconds: the collector's clock is ahead accordingly. */
  readonly trashS: number;
}

const counts: Record<string, number> = {};
const count = (what: string, by = 1): void => {
  counts[what] = (counts[what] ?? 0) + by;
};
let stopped = false;
process.once("SIGTERM", () => {
  stopped = true;
});

function ports(aheadS: number): Ports {
  return {
    clock: () => Math.floor(Date.now() / 1000) + aheadS,
    random: (length) => randomBytes(length),
    sleep: async (ms) => void (await wait(ms)),
    openFolder: openRealFiles,
  };
}

/** Every byte of a manifest, hashed on the way out. */
async function readAll(store: Store, manifest: Awaited<ReturnType<typeof readManifest>>): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const file of manifest.value.files) {
    const reader = await openManifestFile(store, file);
    const pieces: Buffer[] = [];
    for await (const piece of reader.stream(0, reader.sizeBytes)) pieces.push(Buffer.from(piece));
    await reader.close();
    const bytes = Buffer.concat(pieces);
    if (sha256(bytes) !== file.sha256) throw new Error(`${file.path}: other bytes than its digest says`);
    found.set(file.path, bytes);
  }
  return found;
}

async function addTexts(store: Store, config: SoakConfig, name: string, texts: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(config.folder, "source-"));
  for (const [file, text] of Object.entries(texts)) writeFileSync(join(folder, file), text);
  const files = Object.keys(texts).map((file) => ({ path: parseManifestPath(file), folder, file }));
  const added = await add(store, { name: parseName(name), files, keep: false });
  rmSync(folder, { recursive: true });
  await readAll(store, await readManifest(store, added.manifest));
  count("add");
}

/** Drafts come round again, so that bytes are garbage at one time and wanted at the next. */
async function writeOnce(store: Store, config: SoakConfig, turn: number): Promise<void> {
  const signer = nodeSigner(parsePrivateKey(readFileSync(config.key, "utf8")));
  const drafts = `${config.own}/drafts@v${turn % 2}`;
  await addTexts(store, config, drafts, { "README.md": `# draft ${turn % 5}\n`, "NOTES.md": "# in all of them\n" });
  await propose(store, { name: parseName(drafts), signer, replace: true });
  count("propose");
  if (turn % 3 !== 0) return;
  const name = `${config.own}/kept@v${turn % 4}`;
  await addTexts(store, config, name, { "README.md": `# ${name} ${turn}\n`, "NOTES.md": "# in all of them\n" });
  await promoteAlone(store, { name: parseName(name), signer, replace: true });
  count("promote");
  const { manifest } = await resolve(store, parseName(name));
  await readAll(store, manifest);
  if (turn % 6 !== 0) return;
  await revoke(store, { name: parseName(name), also: [] }, signer);
  count("revoke");
  const deleted = await deleteName(store, { name: parseName(name) }, signer);
  count("deleted blobs", (await removeBytes(store, deleted)).blobs);
  count("delete");
}

async function readOnce(store: Store, config: SoakConfig): Promise<void> {
  const names = Object.keys(config.stable);
  const name = names[randomInt(names.length)] ?? "";
  const { verdict, manifest } = await resolve(store, parseName(name));
  const text = (await readAll(store, manifest)).get("README.md")?.toString();
  if (!verdict.trusted || text !== config.stable[name])
    throw new Error(`${name}: expected its own text, found ${text}`);
  count("resolve");
  await show(store, parseName(name));
  count("show");
  const { path } = await pathOf(store, parseName(name), "README.md", join(config.folder, `paths-${process.pid}`));
  if (readFileSync(path, "utf8") !== config.stable[name]) throw new Error(`${name}: path led to another text`);
  count("path");
  await readWritersNames(store);
}

/** What others trust right now is whole; what they revoked meanwhile says so. */
async function readWritersNames(store: Store): Promise<void> {
  const head = await store.head();
  for await (const [ref] of head.listRefs("refs/trusted/")) {
    const [, , namespace, model, version] = ref.split("/");
    if (stopped || randomInt(4) > 0) continue;
    try {
      const { manifest } = await resolve(store, parseName(`${namespace}/${model}@${version}`));
      await readAll(store, manifest);
      count("resolve");
    } catch (error) {
      if (!isCofferError(error, "REVOKED", "DELETED")) throw error;
      count("resolve: revoked");
    }
  }
}

/** A problem counts if it is there twice: the first look may span a whole life of some bytes, the short trash's included. */
async function checkOnce(store: Store): Promise<void> {
  const first = await fsck(store);
  count("fsck");
  if (first.problems.length === 0) return;
  const again = new Set((await fsck(store)).problems.map(({ where }) => where));
  const both = first.problems.filter(({ where }) => again.has(where));
  if (both.length > 0) throw new Error(`fsck: ${JSON.stringify(both)}`);
  count("fsck: passing problems");
}

async function collectOnce(store: Store): Promise<void> {
  const { moved, removed, restored } = await gc(store, { olderThanS: 0, dryRun: false });
  count("gc");
  for (const [folder, { files }] of Object.entries(moved)) count(`moved ${folder}`, files);
  count("put back", restored);
  count("removed", removed.files);
}

async function work(config: SoakConfig): Promise<void> {
  const aheadS = config.role === "collector" ? TRASH_S - config.trashS : 0;
  let store = await openStore(config.location, ports(aheadS));
  process.stdout.write("\n"); // from here on it can be told to stop
  for (let turn = 1; !stopped; turn += 1) {
    if (turn % 20 === 0) store = await openStore(config.location, ports(aheadS));
    if (config.role === "writer") await writeOnce(store, config, turn);
    else if (config.role === "reader") await readOnce(store, config);
    else if (config.role === "checker") await checkOnce(store);
    else await collectOnce(store);
    if (store.warnings.length > 0) throw new Error(`after a commit that stands: ${store.warnings.join("; ")}`);
  }
}

const [, script, text] = process.argv;
if (script?.endsWith("gc-soak-process.ts") && text !== undefined) {
  const config: SoakConfig = JSON.parse(text);
  await work(config);
  process.stdout.write(`${JSON.stringify(counts)}\n`);
}
