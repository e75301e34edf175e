// SPDX-License-Identifier: Apache-2.0
/**
 * Checks across the files of one model: shards against their index, code that a config asks for, launch settings.
 * Layer: formats (imports base only). Single files: inspect.ts.
 */
import type { JsonObject, JsonValue } from "../base/json-reader.ts";
import { readCompanionJson } from "./companions.ts";
import { baseName, type Finding, type Inspection, Malformed, Notes, quote } from "./findings.ts";
import { type ByteReader, INSPECT_LIMITS, type InspectLimits } from "./reader.ts";
import { walkSafetensors } from "./safetensors.ts";

/** One file of a model, with what `inspect` said about it. `path` is relative to the model, POSIX. */
export interface InspectedFile {
  readonly path: string;
  readonly reader: ByteReader;
  readonly inspection: Inspection;
}

type Files = ReadonlyMap<string, InspectedFile>;

/** Keys that make loaders fetch or run code beside the weights (CVE-2025-66448, CVE-2026-4372). */
const CODE_KEYS = ["auto_map", "trust_remote_code", "_attn_implementation_internal"] as const;
const SHARD = /-(\d{5})-of-(\d{5})\.(?:gguf|safetensors)$/;
const MAX_SHARDS = 10_000;
/** Findings for one file; an index may name any number of shards that are not here. */
const MAX_FINDINGS = 64;
const SEVERITY = { info: 0, warn: 1, fail: 2 } as const;

/**
 * Checks the files of one model against each other.
 *
 * @returns findings in the order of `files`, at most 64 for each; each names its file in `path`. Files that did not pass `inspect` are not read
 * @throws only what a reader throws
 */
export async function inspectTree(
  files: readonly InspectedFile[],
  limits: InspectLimits = INSPECT_LIMITS,
): Promise<readonly Finding[]> {
  const byPath: Files = new Map(files.map((file) => [file.path, file]));
  const findings: Finding[] = [];
  for (const file of files) {
    const notes = new Notes(file.path);
    await notes.guard(() => inspectMember(file, byPath, limits, notes));
    for (const finding of capFindings(notes.findings, MAX_FINDINGS, file.path)) findings.push(finding);
  }
  return findings;
}

/**
 * At most `limit` findings, the gravest first to stay, in their order. The last then counts those left out and has the
 * level of the gravest of them: no verdict changes.
 */
export function capFindings(findings: readonly Finding[], limit: number, path?: string): readonly Finding[] {
  if (findings.length <= limit) return findings;
  const ranked = findings
    .map((finding, at) => ({ finding, at }))
    .sort((a, b) => SEVERITY[b.finding.level] - SEVERITY[a.finding.level] || a.at - b.at);
  const kept = ranked.slice(0, limit - 1).sort((a, b) => a.at - b.at);
  const more: Finding = {
    code: "more-findings",
    level: ranked[kept.length]?.finding.level ?? "info",
    text: `and ${findings.length - kept.length} more`,
  };
  return [...kept.map(({ finding }) => finding), path === undefined ? more : { ...more, path }];
}

async function inspectMember(file: InspectedFile, files: Files, limits: InspectLimits, notes: Notes): Promise<void> {
  const base = baseName(file.path).toLowerCase();
  if (base === "preset.ini") {
    notes.fail("preset-ini", "llama.cpp takes command-line settings from this file when it fetches a model");
  }
  noteMissingShards(file.path, files, notes);
  if (file.inspection.format !== "json" || !file.inspection.ok) return;
  if (base.endsWith("config.json")) noteCode(await readCompanionJson(file.reader, limits), notes);
  if (base.endsWith(".safetensors.index.json")) await checkIndex(file, files, limits, notes);
}

/** One warning for each set of shards, at its first file that is here. */
function noteMissingShards(path: string, files: Files, notes: Notes): void {
  const match = SHARD.exec(path);
  const [suffix = "", own = "", totalText = ""] = match ?? [];
  const total = Number(totalText);
  if (match === null || total > MAX_SHARDS) return;
  const name = (number: number): string =>
    path.slice(0, -suffix.length) + suffix.replace(own, String(number).padStart(5, "0"));
  const numbers = Array.from({ length: total }, (_, index) => index + 1);
  if (numbers.find((number) => files.has(name(number))) !== Number(own)) return;
  const missing = numbers.filter((number) => !files.has(name(number)));
  if (missing.length > 0) notes.warn("shard-missing", `expected ${total} shards, found ${total - missing.length}`);
}

function noteCode(value: JsonValue, notes: Notes): void {
  const found = new Set<string>();
  collectCodeKeys(value, found);
  if (found.size === 0) return;
  notes.warn("remote-code", `asks loaders to run code from a repository: ${[...found].join(", ")}`);
}

/** Depth is bounded by the JSON reader. */
function collectCodeKeys(value: JsonValue, found: Set<string>): void {
  if (Array.isArray(value)) {
    for (const item of value) collectCodeKeys(item, found);
  } else if (value instanceof Map) {
    for (const key of CODE_KEYS) if (value.has(key) && value.get(key) !== false) found.add(key);
    for (const item of value.values()) collectCodeKeys(item, found);
  }
}

async function checkIndex(index: InspectedFile, files: Files, limits: InspectLimits, notes: Notes): Promise<void> {
  const byShard = parseIndex(await readCompanionJson(index.reader, limits));
  const folder = index.path.slice(0, index.path.length - baseName(index.path).length);
  for (const [shard, expected] of byShard) {
    if (!isInside(shard)) {
      notes.fail("index-path", `expected shards inside the model, found ${quote(shard)}`);
      continue;
    }
    const file = files.get(folder + shard);
    if (file === undefined) notes.fail("index-shard-missing", `expected the shard ${quote(shard)}, found none`);
    else if (file.inspection.format !== "safetensors" || !file.inspection.ok) {
      notes.fail("index-shard-format", `expected ${quote(shard)} to be good safetensors, found otherwise`);
    } else compare(shard, expected, new Set(await walkSafetensors(file.reader, limits)), notes);
  }
}

/** Tensor names by shard. @throws Malformed index-shape */
function parseIndex(value: JsonValue): Map<string, Set<string>> {
  const map: JsonValue | undefined = value instanceof Map ? (value as JsonObject).get("weight_map") : undefined;
  if (!(map instanceof Map)) throw new Malformed("index-shape", "expected an object with weight_map, found none");
  const byShard = new Map<string, Set<string>>();
  for (const [tensor, shard] of map) {
    if (typeof shard !== "string") throw new Malformed("index-shape", `expected a file for tensor ${quote(tensor)}`);
    const tensors = byShard.get(shard) ?? new Set<string>();
    byShard.set(shard, tensors.add(tensor));
  }
  return byShard;
}

function isInside(shard: string): boolean {
  const parts = shard.split("/");
  return !/[\\:]/.test(shard) && parts.every((part) => part !== "" && part !== "." && part !== "..");
}

function compare(shard: string, expected: ReadonlySet<string>, found: ReadonlySet<string>, notes: Notes): void {
  const absent = [...expected].filter((name) => !found.has(name));
  const extra = [...found].filter((name) => !expected.has(name));
  if (absent.length > 0) {
    notes.fail(
      "index-tensor-missing",
      `expected ${quote(absent[0] ?? "")} in ${quote(shard)}, found no such tensor (${absent.length} in all)`,
    );
  }
  if (extra.length > 0) {
    notes.fail(
      "index-tensor-extra",
      `expected every tensor of ${quote(shard)} in the index, found ${quote(extra[0] ?? "")} beside it (${extra.length} in all)`,
    );
  }
}
