// SPDX-License-Identifier: Apache-2.0
/**
 * The one door of this layer for a single file: what is it, and may it in? By content; the name must then fit.
 * Layer: formats (imports base only). Never executes, loads or renders what it looks at. Checks across files: tree.ts.
 */
import {
  companionFormat,
  inspectJson,
  inspectTemplateFile,
  nameLies,
  promisesWeights,
  scanText,
} from "./companions.ts";
import { extensionOf, type Inspection, Malformed, Notes, quote } from "./findings.ts";
import { walkGguf } from "./gguf.ts";
import { HEAD_BYTES, hasZipTail, type KnownFormat, type Recognised, recognise } from "./magic.ts";
import { type ByteReader, INSPECT_LIMITS, type InspectLimits } from "./reader.ts";
import { noteSafetensors } from "./safetensors.ts";
import { walkSentencePiece } from "./sentencepiece.ts";

export type { Finding, Inspection } from "./findings.ts";
export type { ByteReader, InspectLimits } from "./reader.ts";
export { inspectTree } from "./tree.ts";

/**
 * Inspects one file. Work is bounded by the size of its header (model formats) or of the file (text).
 *
 * @param path - path inside the model; only its last part counts, and only against the content
 * @param reader - the bytes; what it throws passes through, and nothing else is ever thrown
 * @returns the format (`gguf`, `safetensors`, `sentencepiece`, `json`, `markdown`, `text`; else a name of what was refused,
 *   or `unknown`), and findings; malformed content is a finding of level `fail`
 */
export async function inspect(
  path: string,
  reader: ByteReader,
  limits: InspectLimits = INSPECT_LIMITS,
): Promise<Inspection> {
  const notes = new Notes(path);
  const head = reader.sizeBytes === 0 ? undefined : await reader.read(0, Math.min(HEAD_BYTES, reader.sizeBytes));
  const format = await inspectContent(path, head === undefined ? undefined : recognise(head), reader, limits, notes);
  if (nameLies(path, format)) {
    notes.fail("extension-lies", `expected what ${quote(`.${extensionOf(path)}`)} promises, found ${describe(format)}`);
  }
  return notes.conclude(format);
}

function describe(format: string): string {
  return format === "unknown" ? "bytes of no known format" : format;
}

async function inspectContent(
  path: string,
  recognised: Recognised | undefined,
  reader: ByteReader,
  limits: InspectLimits,
  notes: Notes,
): Promise<string> {
  if (recognised?.kind === "refused") {
    notes.fail(`refused-${recognised.format}`, recognised.reason);
    return recognised.format;
  }
  if (recognised?.kind === "known") {
    await inspectKnown(recognised.format, reader, limits, notes);
    return recognised.format;
  }
  if (extensionOf(path) === "safetensors" && reader.sizeBytes > 0) {
    // No magic fits, so this says in the format's own words why: a bad first byte, a short file.
    await notes.guard(() => noteSafetensors(reader, limits, notes));
    return notes.conclude("safetensors").ok ? "safetensors" : "unknown";
  }
  return inspectText(path, reader, limits, notes);
}

async function inspectKnown(
  format: KnownFormat,
  reader: ByteReader,
  limits: InspectLimits,
  notes: Notes,
): Promise<void> {
  await notes.guard(async () => {
    if (format === "gguf") await walkGguf(reader, limits, notes);
    else if (format === "safetensors") await noteSafetensors(reader, limits, notes);
    else await walkSentencePiece(reader, limits, notes);
  });
  if (await hasZipTail(reader)) {
    notes.fail("zip-tail", `the end of this ${format} file is a zip archive: other readers see other content`);
  }
}

/** What is left is text or nothing that is admitted. */
async function inspectText(path: string, reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<string> {
  const claimed = companionFormat(path);
  if (reader.sizeBytes === 0 && promisesWeights(path)) {
    notes.fail("empty", "expected a model file, found an empty one");
    return "empty";
  }
  const problem = await textProblem(reader, limits, notes);
  if (problem?.code === "script") {
    notes.fail("refused-script", problem.message);
    return claimed === "python" ? claimed : "script";
  }
  if (problem !== undefined) {
    notes.fail("unknown-format", `no known format: ${problem.message}`);
    return "unknown";
  }
  if (claimed === "python" || claimed === "script") {
    notes.fail(`refused-${claimed}`, "code: a model needs none to be loaded, and coffer admits none");
    return claimed;
  }
  return inspectCompanion(path, claimed, reader, limits, notes);
}

async function inspectCompanion(
  path: string,
  claimed: "json" | "markdown" | "text" | undefined,
  reader: ByteReader,
  limits: InspectLimits,
  notes: Notes,
): Promise<string> {
  if (claimed === "json") {
    await notes.guard(() => inspectJson(reader, limits, notes));
    return notes.findings.some((finding) => finding.code === "json-invalid") ? "text" : "json";
  }
  if (claimed === undefined && !promisesWeights(path)) {
    notes.fail("name-unknown", "text under a name that no companion of a model has; rename it to .txt to keep it");
  }
  await notes.guard(() => inspectTemplateFile(path, reader, notes));
  return claimed ?? "text";
}

async function textProblem(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<Malformed | undefined> {
  try {
    await scanText(reader, limits, notes);
    return undefined;
  } catch (error) {
    if (error instanceof Malformed) return error;
    throw error;
  }
}
