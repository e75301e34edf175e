// SPDX-License-Identifier: Apache-2.0
/**
 * One account of a shared machine, as a process: loads all it needs as root, becomes that account, does one thing and
 * prints a line of JSON. Layer: test support; started by test/repo/accounts.slow.test.ts.
 */
import { randomBytes } from "node:crypto";
import { isCofferError } from "../../src/base/errors.ts";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { parsePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { add } from "../../src/repo/add.ts";
import { approve, propose } from "../../src/repo/candidates.ts";
import { type Diagnosis, examineStore } from "../../src/repo/doctor.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { init } from "../../src/repo/init.ts";
import { realMachine } from "../../src/repo/machine.ts";
import { checkout, pathOf } from "../../src/repo/materialise.ts";
import { principalName, teamPolicy } from "../../src/repo/policy-draft.ts";
import type { Ports, StoreLocation } from "../../src/repo/ports.ts";
import { promote } from "../../src/repo/promote.ts";
import { resolve } from "../../src/repo/resolve.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { openStore } from "../../src/repo/store.ts";

export interface Job {
  readonly uid: number;
  readonly gid: number;
  readonly location: StoreLocation;
  readonly act: "init" | "trust" | "revoke" | "resolve" | "path" | "checkout" | "fsck" | "doctor";
  readonly name?: string;
  /** Where `path` and `checkout` lay files; of `path` in the store if left out. */
  readonly to?: string;
  /** The folder and file to add. */
  readonly source?: { readonly folder: string; readonly file: string };
  /** Private key of the one person of the policy. */
  readonly key: string;
}

const job = JSON.parse(process.argv[2] ?? "{}") as Job;
const key = parsePrivateKey(job.key);
const signer = nodeSigner(key);
const nowS = Math.floor(Date.now() / 1000);
const ports: Ports = {
  clock: () => nowS,
  random: (length) => randomBytes(length),
  sleep: async (ms) => new Promise((done) => setTimeout(done, ms)),
  openFolder: openRealFiles,
  machine: realMachine,
};

async function run(): Promise<unknown> {
  if (job.act === "init") {
    const policy = teamPolicy([{ name: principalName("alice"), keys: [key.publicKey] }], 1, false, ports.random, nowS);
    return (await init(job.location, policy, ports)).storeId;
  }
  if (job.act === "doctor") {
    const found: Diagnosis[] = [];
    await examineStore(job.location, ports, (one) => found.push(one));
    return found;
  }
  const store = await openStore(job.location, ports);
  const name = parseName(job.name ?? "acme/none");
  if (job.act === "fsck") return (await fsck(store)).exit;
  if (job.act === "resolve") return (await resolve(store, name)).verdict.trusted;
  if (job.act === "path") return (await pathOf(store, name, undefined, job.to)).path;
  if (job.act === "checkout") return (await checkout(store, name, job.to ?? "")).folder;
  if (job.act === "revoke") return (await revoke(store, { name, also: [] }, signer)) !== undefined;
  const { folder, file } = job.source ?? { folder: "", file: "" };
  await add(store, { name, files: [{ path: parseManifestPath(file), folder, file }], keep: false });
  const { statement } = await propose(store, { name, signer, replace: false });
  await approve(store, name, statement.id, signer);
  await promote(store, [name]);
  return store.warnings;
}

process.setgroups?.([job.gid]);
process.setgid?.(job.gid);
process.setuid?.(job.uid);
process.umask(0o022);
try {
  process.stdout.write(`${JSON.stringify({ ok: await run() })}\n`);
} catch (error) {
  if (!isCofferError(error)) throw error;
  process.stdout.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
}
