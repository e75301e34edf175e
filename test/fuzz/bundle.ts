// SPDX-License-Identifier: Apache-2.0
/**
 * Throws bundles at the readers of volumes and at the import, and keeps what runs new code: `npm run fuzz -- bundle`. First the
 * kept ones, then mutants for COFFER_TEST_SECONDS. Prints the seed, executions and what was found; what breaks a rule of
 * judge.ts lies in .tmp/fuzz-bundle then. Layer: test support.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Chance } from "./bundle/chance.ts";
import { type Input, MEDIA, nameOf, pack, plainInputs, sealedInputs, unpack } from "./bundle/input.ts";
import { judge } from "./bundle/judge.ts";
import { putTogether, takeApart } from "./bundle/loose.ts";
import { mutateLoose, mutateRaw } from "./bundle/mutate.ts";
import { KEYS, mutateSealed, needWhole, sealAll, sealOddly } from "./bundle/sealed.ts";
import { type FuzzWorld, makeFuzzWorld } from "./bundle/world.ts";
import { Coverage } from "./coverage.ts";
import { startWatchdog } from "./watchdog.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const CORPUS = join(ROOT, "test", "vectors", "fuzz-bundle");
const FOUND = join(ROOT, ".tmp", "fuzz-bundle");
const SECONDS = Number(process.env["COFFER_TEST_SECONDS"] ?? "20");
const SEED = process.env["COFFER_TEST_SEED"] ?? String(Date.now() % 1_000_000);
const KEEP = process.env["COFFER_FUZZ_KEEP"] === "1";
/** Inputs of which one question is asked at a time whether any of them ran new code. */
const BATCH = 128;
const MOST_KEPT_BYTES = 40_000;
const MOST_MEMORY_BYTES = 1_500_000_000;

interface Tally {
  executions: number;
  readonly paths: Map<string, number>;
  readonly findings: Map<string, number>;
}

const isMeasured = (url: string): boolean => /\/src\/(?:sync\/|repo\/import)/.test(url);

/** What one is encrypted from, changed by somebody without a key, or made anew by somebody with one. */
async function sealedMutant(world: FuzzWorld, pool: readonly Input[], chance: Chance): Promise<Input> {
  const key = chance.below(12) === 0 ? chance.of(KEYS) : "right";
  const base = chance.of(pool.filter(({ sealed }) => sealed?.byOutsider === true));
  const receiver = chance.of(world.receivers).name;
  if (chance.below(2) === 0) {
    const volumes = base.volumes.map((volume) => Buffer.from(volume));
    for (let left = chance.below(3); left >= 0 && volumes.length > 0; left -= 1) {
      if (chance.below(5) === 0) mutateRaw(volumes, chance);
      else mutateSealed(volumes, chance);
    }
    return { ...base, receiver, volumes, sealed: { byOutsider: true, key } };
  }
  const clear = await mutant(
    world,
    pool.filter(({ sealed }) => sealed === undefined),
    chance,
  );
  const clears = clear.medium === "pipe" && chance.below(4) > 0 ? [Buffer.concat(clear.volumes)] : clear.volumes;
  const medium = clear.medium === "pipe" ? "pipe" : "files";
  const volumes = chance.below(2) === 0 ? sealOddly(clears, chance) : sealAll(clear.volumes, medium);
  return { ...clear, medium, receiver, volumes, sealed: { byOutsider: false, key } };
}

async function mutant(world: FuzzWorld, pool: readonly Input[], chance: Chance): Promise<Input> {
  const large = chance.below(120) === 0;
  const few = pool.filter(({ volumes }) => volumes.some(({ length }) => length > 1_000_000) === large);
  const base = chance.of(few.length > 0 ? few : pool);
  if (base.sealed !== undefined) return sealedMutant(world, pool, chance);
  let volumes: Buffer[] = base.volumes.map((volume) => Buffer.from(volume));
  let [insider, resigned] = [base.insider, base.resigned];
  const loose = chance.below(4) === 0 ? undefined : takeApart(volumes);
  if (loose !== undefined) {
    for (let left = chance.below(3); left >= 0; left -= 1) await mutateLoose(loose, chance, world);
    volumes = await putTogether(loose, world.storeKey, world.stranger);
    insider ||= loose.insider;
    resigned = true;
  }
  if (loose === undefined || chance.below(8) === 0) {
    for (let left = chance.below(2); left >= 0 && volumes.length > 0; left -= 1) mutateRaw(volumes, chance);
  }
  const medium = chance.below(3) === 0 ? chance.of(MEDIA) : base.medium;
  const receiver = chance.below(3) === 0 ? chance.of(world.receivers).name : base.receiver;
  return { receiver, medium, insider, resigned, volumes };
}

class Fuzzer {
  readonly #world: FuzzWorld;
  readonly #coverage = new Coverage(isMeasured);
  readonly #watchdog = startWatchdog(FOUND);
  readonly pool: Input[] = [];
  readonly tally: Tally = { executions: 0, paths: new Map(), findings: new Map() };
  #batch: Input[] = [];

  constructor(world: FuzzWorld) {
    this.#world = world;
  }

  async start(): Promise<void> {
    await this.#coverage.start();
  }

  async try(input: Input): Promise<void> {
    await this.#run(input);
    this.#batch.push(input);
    if (this.#batch.length >= BATCH) await this.endBatch();
  }

  async #run(input: Input): Promise<void> {
    const { tally } = this;
    this.#watchdog.begin(() => pack(input, 1));
    tally.executions += 1;
    const { path, broken } = await judge(
      this.#world,
      input,
      tally.executions % 8 === 0 ? "all" : tally.executions % 2 === 0 ? "some" : "few",
    );
    if (process.memoryUsage.rss() > MOST_MEMORY_BYTES)
      this.#found(input, "memory", `${process.memoryUsage.rss()} bytes`);
    const before = tally.paths.get(path) ?? 0;
    tally.paths.set(path, before + 1);
    if (before === 0) this.#keep(input);
    if (broken !== undefined) this.#found(input, path, broken);
  }

  #found(input: Input, path: string, broken: string): void {
    const title = broken
      .split("\n")
      .slice(0, 2)
      .join(" ")
      .replace(/[0-9a-f]{12,}/g, "…")
      .slice(0, 200);
    const before = this.tally.findings.get(title) ?? 0;
    this.tally.findings.set(title, before + 1);
    if (before > 0) return;
    writeFileSync(join(FOUND, nameOf(input)), pack(input));
    process.stdout.write(
      `found: ${path}: ${broken}\n  in .tmp/fuzz-bundle/${nameOf(input)}, execution ${this.tally.executions}\n`,
    );
  }

  async endBatch(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    if ((await this.#coverage.take()) > 0) await this.#narrow(batch, Math.ceil(batch.length / 8));
  }

  /** New code has run: once more, group by group, to see by which. */
  async #narrow(inputs: readonly Input[], size: number): Promise<void> {
    this.#coverage.forgetLast(); // it is new once more
    for (let at = 0; at < inputs.length; at += size) {
      const group = inputs.slice(at, at + size);
      for (const input of group) {
        this.#watchdog.begin(() => pack(input, 1));
        await judge(this.#world, input, "all");
      }
      if ((await this.#coverage.take()) === 0) continue;
      if (size > 1) await this.#narrow(group, 1);
      else for (const input of group) this.#keep(input, "coverage");
    }
  }

  #keep(input: Input, why = "path"): void {
    if (this.pool.includes(input)) return;
    this.pool.push(input);
    if (!KEEP || why === "path" || input.volumes.length === 0) return;
    const packed = pack(input);
    if (packed.length <= MOST_KEPT_BYTES) writeFileSync(join(CORPUS, nameOf(input)), packed);
  }

  end(): void {
    this.#watchdog.end();
    const folder = process.env["NODE_V8_COVERAGE"];
    if (folder !== undefined) this.#coverage.write(folder);
  }
}

Error.stackTraceLimit = 3; // most of what is thrown here is thrown on purpose
mkdirSync(FOUND, { recursive: true });
mkdirSync(CORPUS, { recursive: true });
const world = await makeFuzzWorld();
const fuzzer = new Fuzzer(world);
await fuzzer.start();
const began = performance.now();
const kept = readdirSync(CORPUS)
  .filter((name) => name.endsWith(".gz"))
  .sort();
const seeds = [...plainInputs(world.seeds, world.receivers), ...sealedInputs(world.seeds, world.receivers)];
for (const { sealed, volumes } of seeds) if (sealed) for (const one of volumes) await needWhole(one, world.clears);
for (const input of seeds) await fuzzer.try(input);
for (const name of kept) await fuzzer.try(unpack(readFileSync(join(CORPUS, name))));
await fuzzer.endBatch();
const replayed = fuzzer.tally.executions;
fuzzer.pool.push(...seeds);
process.stdout.write(
  `seed ${SEED}: ${kept.length} kept inputs, ${replayed} executions to replay them and the seeds (${((performance.now() - began) / 1000).toFixed(1)} s)\n`,
);
const from = performance.now();
let told = from;
for (let number = 0; performance.now() - from < SECONDS * 1000; number += 1) {
  await fuzzer.try(await mutant(world, fuzzer.pool, new Chance(world, `${SEED} ${number}`)));
  if (performance.now() - told < 60_000) continue;
  told = performance.now();
  const { executions, paths, findings } = fuzzer.tally;
  process.stdout.write(
    `${((told - from) / 1000).toFixed(0)} s: ${executions} executions, ${paths.size} outcomes, ${fuzzer.pool.length} in the pool, ${findings.size} findings\n`,
  );
}
await fuzzer.endBatch();
fuzzer.end();
world.machine.end();
const { executions, paths, findings } = fuzzer.tally;
const seconds = (performance.now() - began) / 1000;
process.stdout.write(
  `seed ${SEED}: ${executions} executions in ${seconds.toFixed(1)} s (${(executions / seconds).toFixed(0)} a second), ${paths.size} outcomes, ${findings.size} findings\n`,
);
for (const [title, count] of findings) process.stdout.write(`finding, ${count} times: ${title}\n`);
if (process.env["COFFER_FUZZ_PATHS"] === "1")
  for (const [path, count] of [...paths].sort((a, b) => b[1] - a[1])) process.stdout.write(`${count} ${path}\n`);
process.exitCode = findings.size > 0 ? 1 : 0;
