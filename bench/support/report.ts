// SPDX-License-Identifier: Apache-2.0
/**
 * What a bench says: a table for people, and its section of docs/performance.md between two markers. Everything else on
 * that page is written by hand.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bench, type Count, passes, type Ratio, type Result } from "./harness.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const PAGE = join(ROOT, "docs", "performance.md");

const number = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const gate = ({ atMost, atLeast }: Ratio | Count): string =>
  [atMost === undefined ? "" : `<= ${atMost}`, atLeast === undefined ? "" : `>= ${atLeast}`].filter(Boolean).join(", ");
const outcome = (row: Ratio | Count): string => (gate(row) === "" ? "" : passes(row) ? "holds" : "FAILS");

const RATIO_HEADS = ["of", "to", "ratio", "quartiles", "gate", "", "median of", "median to", "rounds"];
const ratioCells = (row: Ratio): string[] => [
  ...[row.of, row.to, number(row.ratio), `${number(row.low)} to ${number(row.high)}`, gate(row), outcome(row)],
  ...[`${number(row.ofMs)} ms`, `${number(row.toMs)} ms`, String(row.rounds)],
];
const COUNT_HEADS = ["count", "", "gate", ""];
const countCells = (row: Count): string[] => [row.what, String(row.count), gate(row), outcome(row)];

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

export function renderText({ ratios, counts = [] }: Result): string {
  const first = ratios.length > 0 ? aligned([RATIO_HEADS, ...ratios.map(ratioCells)]) : "";
  return first + (counts.length > 0 ? aligned([COUNT_HEADS, ...counts.map(countCells)]) : "");
}

function markdown(rows: readonly (readonly string[])[]): string {
  const [heads = [], ...body] = rows;
  const lines = [heads, heads.map(() => "---"), ...body].map((row) => `| ${row.join(" | ")} |`);
  return `${lines.join("\n")}\n`;
}

/** The machine and the programs; the commit that is measured. */
export function describeMachine(): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const commit = output("git", ["rev-parse", "--short=12", "HEAD"]);
  const changed =
    output("git", ["status", "--porcelain", "--", "src", "bench", "package.json"]) === "" ? "" : " and changes";
  const machine = `${cpus().length} x ${cpu?.model.trim() ?? "unknown"}, ${memory}, Linux ${release()}`;
  const versions = `Node ${process.versions.node}, OpenSSL ${process.versions.openssl}`;
  return `${new Date().toISOString().slice(0, 10)}, commit ${commit}${changed}; ${machine}; ${versions}`;
}

function output(command: string, args: readonly string[]): string {
  const run = spawnSync(command, args, { cwd: ROOT, encoding: "utf8" });
  return run.status === 0 ? run.stdout.trim() : "unknown";
}

/** Replaces the bench's section, or adds it at the end. */
export function writeSection(name: string, bench: Bench, result: Result, machine: string): void {
  const [begin, end] = [`<!-- bench ${name}: begin, written by npm run bench -->`, `<!-- bench ${name}: end -->`];
  const page = readFileSync(PAGE, "utf8");
  const { ratios, counts = [], notes = [], peers = [] } = result;
  const measured = `Measured ${machine}${peers.map((peer) => `; ${peer}`).join("")}.`;
  const parts = [
    `${begin}\n## ${bench.title}\n`,
    `\`npm run bench -- ${name}\`. ${measured}\n`,
    `${bench.about.trim()}\n`,
    ...(ratios.length > 0 ? [markdown([RATIO_HEADS, ...ratios.map(ratioCells)])] : []),
    ...(counts.length > 0 ? [markdown([COUNT_HEADS, ...counts.map(countCells)])] : []),
    ...notes.map((note) => `${note.trim()}\n`),
    `${end}\n`,
  ];
  const section = parts.join("\n");
  const [from, to] = [page.indexOf(begin), page.indexOf(`${end}\n`)];
  const next =
    from < 0 ? `${page.trimEnd()}\n\n${section}` : page.slice(0, from) + section + page.slice(to + end.length + 1);
  writeFileSync(PAGE, next);
}
