// SPDX-License-Identifier: Apache-2.0
/**
 * Runs benches by name: measures, prints, writes their sections of docs/performance.md, and fails when a gate fails.
 * Every other file of this folder is a bench and exports `bench`; what they share is in bench/support. Started by
 * scripts/bench.mjs, which builds first.
 */
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Bench, MissingPeer, passes, type Result } from "./support/harness.ts";
import { describeMachine, renderText, writeSection } from "./support/report.ts";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const NAMES = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".ts") && file !== "main.ts")
  .map((file) => file.slice(0, -".ts".length))
  .sort();

function usage(fault: string): never {
  process.stderr.write(`${fault}\nusage: npm run bench -- <name…> [--quick]; there are: ${NAMES.join(", ")}\n`);
  process.exit(2);
}

async function load(name: string): Promise<Bench> {
  if (!NAMES.includes(name)) usage(`no bench ${name}`);
  const loaded: { readonly bench?: Bench } = await import(pathToFileURL(join(FOLDER, `${name}.ts`)).href);
  if (loaded.bench === undefined) throw new Error(`bench/${name}.ts: expected it to export bench`);
  return loaded.bench;
}

async function runOne(name: string, quick: boolean): Promise<boolean> {
  const bench = await load(name);
  const machine = describeMachine();
  process.stdout.write(`bench ${name}${quick ? ", quick" : ""}: ${bench.title}\n`);
  const say = (text: string): void => void process.stderr.write(`  ${text}\n`);
  const result: Result = await bench.run({ quick, rounds: quick ? 3 : 9, say });
  process.stdout.write(renderText(result));
  // A quick run is for looking: its few rounds are no record.
  if (!quick) writeSection(name, bench, result, machine);
  return [...result.ratios, ...(result.counts ?? [])].every(passes);
}

const args = process.argv.slice(2);
const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--quick");
if (unknown !== undefined) usage(`unknown option ${unknown}`);
const names = args.filter((arg) => !arg.startsWith("-"));
if (names.length === 0) usage("no bench named");
let good = true;
for (const name of names) {
  try {
    good = (await runOne(name, args.includes("--quick"))) && good;
  } catch (error) {
    if (!(error instanceof MissingPeer)) throw error;
    process.stderr.write(`bench ${name}: ${error.message}\n`);
    good = false;
  }
}
if (!good) process.stdout.write("not good: a gate failed, or a program to compare with is missing\n");
process.exitCode = good ? 0 : 1;
