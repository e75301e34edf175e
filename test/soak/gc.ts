// SPDX-License-Identifier: Apache-2.0
/**
 * Four writers and four readers beside two collectors that take whatever nothing reaches, at age 0, without a pause; one
 * of the collectors is killed again and again. Every answer of a reader is right throughout, and the store is whole in
 * the end. Prints what was done. In runs of a minute and more the trash is emptied after 30 s instead of a day.
 */
import { randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseManifestPath, parseName } from "../../src/base/names.ts";
import { encodePrivateKey, generatePrivateKey } from "../../src/keys/private-key.ts";
import { nodeSigner } from "../../src/keys/signer.ts";
import { openRealFiles } from "../../src/objects/real-files.ts";
import { add } from "../../src/repo/add.ts";
import { fsck } from "../../src/repo/fsck.ts";
import { gc, TRASH_S } from "../../src/repo/gc.ts";
import { init } from "../../src/repo/init.ts";
import { policyFromFile } from "../../src/repo/policy-draft.ts";
import { promoteAlone } from "../../src/repo/promote.ts";
import { openStore } from "../../src/repo/store.ts";
import { type Ended, printed, type Running, startWorker } from "../support/cli-process.ts";
import type { SoakConfig } from "../support/gc-soak-process.ts";
import { fastFolder } from "../support/store-fixture.ts";

const SECONDS = Number(process.env["COFFER_TEST_SECONDS"] ?? "20");
const WRITERS = 4;
const READERS = 3;
const STABLE = 5;
const SHORT_TRASH_S = 30;

const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
const ports = {
  clock: () => Math.floor(Date.now() / 1000),
  random,
  sleep: async (ms: number) => void (await wait(ms)),
  openFolder: openRealFiles,
};
const folder = mkdtempSync(join(fastFolder(), "coffer-soak-gc-"));
const location = { root: join(folder, "my.coffer"), stateHome: join(folder, "state"), memory: true };

async function makeStore(): Promise<{ key: string; stable: Record<string, string> }> {
  const alice = generatePrivateKey(random, "alice");
  const key = join(folder, "alice");
  writeFileSync(key, encodePrivateKey(alice, random), { mode: 0o600 });
  const one = { principals: ["alice"], threshold: 1 };
  const rule = { names: "*/*@*", publishers: ["alice"], approvers: one, revokers: one };
  const draft = {
    principals: { alice: { keys: [{ key: alice.publicKey.text, status: "active" }] } },
    rootRole: one,
    rules: [{ ...rule, evidence: [{ kind: "inspection" }] }],
  };
  await init(location, policyFromFile(Buffer.from(JSON.stringify(draft)), random, ports.clock()), ports);
  const store = await openStore(location, ports);
  const stable: Record<string, string> = {};
  for (let number = 0; number < STABLE; number += 1) {
    const name = `stable/m${number}@v1`;
    stable[name] = `# stable ${number}\n`;
    writeFileSync(join(folder, "README.md"), stable[name]);
    const files = [{ path: parseManifestPath("README.md"), folder, file: "README.md" }];
    await add(store, { name: parseName(name), files, keep: false });
    await promoteAlone(store, { name: parseName(name), signer: nodeSigner(alice), replace: false });
  }
  return { key, stable };
}

function start(role: SoakConfig["role"], own: string, rest: Omit<SoakConfig, "role" | "own">): Running {
  return startWorker("gc-soak-process.ts", { role, own, ...rest }, { home: join(folder, "home") });
}

/** A collector that never ends by itself: killed wherever it happens to be, and started again. */
async function killAgainAndAgain(until: number, rest: Omit<SoakConfig, "role" | "own">): Promise<number> {
  let kills = 0;
  while (performance.now() < until) {
    const collector = start("collector", "", rest);
    await Promise.race([wait(Math.min(randomInt(600, 3000), Math.max(1, until - performance.now()))), collector.ended]);
    if (collector.child.exitCode !== null) throw new Error(`a collector ended: ${(await collector.ended).stderr}`);
    collector.child.kill("SIGKILL");
    await collector.ended;
    kills += 1;
  }
  return kills;
}

function sum(ended: readonly Ended[]): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const { stdout } of ended) {
    const counts: Record<string, number> = JSON.parse(stdout);
    for (const [what, number] of Object.entries(counts)) totals[what] = (totals[what] ?? 0) + number;
  }
  return totals;
}

/** Rejects with the first that fails; never resolves. */
function failureOf(running: readonly Running[]): Promise<never> {
  return new Promise((_, fail) => {
    for (const { child, ended } of running) {
      ended.then(({ status, signal, stderr }) => {
        if (status !== 0)
          fail(new Error(`${child.spawnargs.at(-1)?.slice(0, 60)} ended, ${status ?? signal}: ${stderr}`));
      }, fail);
    }
  });
}

async function soak(): Promise<void> {
  const rest = { location, folder, ...(await makeStore()), trashS: SECONDS >= 60 ? SHORT_TRASH_S : TRASH_S };
  const running = [
    ...Array.from({ length: WRITERS }, (_, number) => start("writer", `w${number}`, rest)),
    ...Array.from({ length: READERS }, () => start("reader", "", rest)),
    start("checker", "", rest),
    start("collector", "", rest),
  ];
  const failed = failureOf(running);
  try {
    await Promise.race([Promise.all(running.map((one) => printed(one, "stdout", /\n/))), failed]);
    const until = performance.now() + SECONDS * 1000;
    const [kills] = await Promise.race([Promise.all([killAgainAndAgain(until, rest), wait(SECONDS * 1000)]), failed]);
    for (const { child } of running) child.kill("SIGTERM");
    const ended = await Promise.race([Promise.all(running.map((one) => one.ended)), failed]);
    const last = await openStore(location, ports);
    const { restored } = await gc(last, { olderThanS: 0, dryRun: false });
    const { problems, checked } = await fsck(last);
    if (problems.length > 0) throw new Error(`the last fsck: ${JSON.stringify(problems.slice(0, 10))}`);
    process.stdout.write(
      `${JSON.stringify({ ...sum(ended), "killed gc": kills, "put back at last": restored, checked })}\n`,
    );
  } finally {
    for (const { child } of running) child.kill("SIGKILL");
    await Promise.allSettled(running.map((one) => one.ended));
  }
}

try {
  await soak();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
