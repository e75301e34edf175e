// SPDX-License-Identifier: Apache-2.0
/**
 * The files beside the weights: JSON, Markdown and plain text, and the kinds of text that are code in truth.
 * Layer: formats. A name is admitted only together with a content that fits it; an unknown name is refused.
 */
import { passOthers } from "../base/errors.ts";
import { type JsonValue, readJson } from "../base/json-reader.ts";
import { noteTemplate, TEMPLATE_BYTES } from "./chat-template.ts";
import { baseName, extensionOf, Malformed, type Notes, quote } from "./findings.ts";
import { type ByteReader, countContainers, type InspectLimits } from "./reader.ts";

export type CompanionFormat = "json" | "markdown" | "text" | "python" | "script";

const MARKDOWN: ReadonlySet<string> = new Set(["md", "markdown"]);
const TEMPLATES: ReadonlySet<string> = new Set(["jinja", "jinja2", "j2"]);
const TEXT: ReadonlySet<string> = new Set(
  "txt text jinja jinja2 j2 jsonl ndjson csv tsv yaml yml toml cfg ini rst tiktoken model vocab bpe merges cff bib".split(
    " ",
  ),
);
const PYTHON: ReadonlySet<string> = new Set(["py", "pyw", "pyi", "pyx", "ipynb"]);
const SCRIPTS: ReadonlySet<string> = new Set(
  (
    "sh bash zsh fish csh ksh command js mjs cjs jsx ts mts cts tsx ps1 psm1 bat cmd vbs vbe wsf hta rb pl pm php lua tcl r jl " +
    "java kt scala groovy go rs c cc cpp cxx h hpp cu cuh m mm swift cs fs so dll dylib exe com msi app jar wasm " +
    "html htm xhtml svg xml desktop service reg lnk url makefile mk cmake awk sed sql el lisp clj ex exs erl hs ml nix"
  ).split(" "),
);
/** Names without a telling extension that repositories carry. */
const PLAIN_NAMES =
  /^(?:licen[cs]e|notice|readme|copying|authors|changelog|citation|use_policy|model_card|\.git(?:attributes|ignore)$)/i;
const CODE_NAMES = /^(?:makefile|dockerfile|jenkinsfile|rakefile|gemfile|procfile|vagrantfile|justfile)/i;

/** What the name of a text file claims; undefined when no companion has such a name. */
export function companionFormat(path: string): CompanionFormat | undefined {
  const base = baseName(path);
  const extension = extensionOf(path);
  if (PYTHON.has(extension)) return "python";
  if (SCRIPTS.has(extension) || CODE_NAMES.test(base)) return "script";
  if (extension === "json") return "json";
  if (MARKDOWN.has(extension)) return "markdown";
  if (TEXT.has(extension) || PLAIN_NAMES.test(base)) return "text";
  return undefined;
}

/** The name claims a weights format or an archive, so text under it is a lie. */
const BINARY_NAMES: ReadonlySet<string> = new Set(
  "gguf ggml safetensors bin pt pth ckpt pkl pickle joblib npy npz h5 hdf5 keras onnx pb tflite mlmodel msgpack zip gz bz2 xz zst tar tgz 7z rar".split(
    " ",
  ),
);

/** Formats that a name may hold; undefined when the name claims nothing. */
const CLAIMS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ["gguf", ["gguf"]],
  ["safetensors", ["safetensors"]],
  ["json", ["json"]],
  ["model", ["sentencepiece", "text"]],
  ["spm", ["sentencepiece"]],
  ["pkl", ["pickle"]],
  ["npy", ["numpy"]],
  ["onnx", ["onnx"]],
  ["zip", ["zip"]],
  ["h5", ["hdf5"]],
  ["keras", ["zip", "hdf5"]],
  ...["bin", "pt", "pth", "ckpt", "pickle", "joblib"].map((name): [string, string[]] => [name, ["pickle", "zip"]]),
]);

/** True when the extension of `path` promises something else than `format`. */
export function nameLies(path: string, format: string): boolean {
  const extension = extensionOf(path);
  const claimed = CLAIMS.get(extension);
  if (claimed !== undefined) return !claimed.includes(format);
  if (BINARY_NAMES.has(extension)) return format === "text" || format === "gguf" || format === "safetensors";
  const companion = companionFormat(path);
  return companion !== undefined && format !== companion && format !== "unknown";
}

/** True when the name promises weights, for which an empty file makes no sense. */
export function promisesWeights(path: string): boolean {
  return BINARY_NAMES.has(extensionOf(path));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const FORBIDDEN = /[\u0000-\u0008\u000b\u000e-\u001f\u007f-\u009f]/;
/** Characters that reorder what people see (CVE-2021-42574). */
const BIDI = /[\u202a-\u202e\u2066-\u2069]/;

/**
 * Reads the whole file in windows and checks that it is text.
 *
 * @throws Malformed not-text - not UTF-8, or a control character other than tab, line feed, form feed, carriage return;
 *   script - it starts with `#!`
 */
export async function scanText(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<void> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let bidi = false;
  for (let at = 0; at < reader.sizeBytes; at += limits.windowBytes) {
    const bytes = await reader.read(at, Math.min(limits.windowBytes, reader.sizeBytes - at));
    const text = decode(decoder, bytes, at + bytes.length < reader.sizeBytes, at);
    if (at === 0 && /^\ufeff?#!/.test(text)) throw new Malformed("script", "starts with #!, so it is a program");
    const found = FORBIDDEN.exec(text);
    if (found !== null) {
      const code = found[0].charCodeAt(0).toString(16).padStart(4, "0");
      throw new Malformed("not-text", `expected text, found the control character U+${code} after byte ${at}`);
    }
    bidi ||= BIDI.test(text);
  }
  if (bidi)
    notes.warn("bidi-control", "holds characters that change the direction of text: it may not read as it looks");
}

function decode(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array, stream: boolean, at: number): string {
  try {
    return decoder.decode(bytes, { stream });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Malformed("not-text", `expected utf-8, found other bytes after byte ${at}`);
  }
}

/**
 * Parses a JSON companion and notes the chat templates in it.
 *
 * @throws Malformed too-large, json-invalid
 */
export async function inspectJson(reader: ByteReader, limits: InspectLimits, notes: Notes): Promise<void> {
  const value = await readCompanionJson(reader, limits);
  if (!(value instanceof Map)) return;
  for (const [where, template] of templatesOf(value.get("chat_template"))) noteTemplate(notes, where, template);
}

/** The parsed content of a JSON file. @throws Malformed too-large, json-invalid */
export async function readCompanionJson(reader: ByteReader, limits: InspectLimits): Promise<JsonValue> {
  if (reader.sizeBytes > limits.jsonBytes) {
    throw new Malformed("too-large", `expected at most ${limits.jsonBytes} bytes of json, found ${reader.sizeBytes}`);
  }
  const bytes = reader.sizeBytes === 0 ? new Uint8Array(0) : await reader.read(0, reader.sizeBytes);
  const containers = countContainers(bytes);
  if (containers > limits.jsonContainers) {
    throw new Malformed(
      "too-large",
      `expected at most ${limits.jsonContainers} objects and lists, found ${containers}`,
    );
  }
  try {
    return readJson(bytes);
  } catch (error) {
    passOthers(error);
    throw new Malformed("json-invalid", `expected strict json: ${quote(error.message)}`);
  }
}

/** Hugging Face keeps one template as a string, several as `[{name, template}]`. */
function templatesOf(value: JsonValue | undefined): [string, string][] {
  if (typeof value === "string") return [["chat_template", value]];
  if (!Array.isArray(value)) return [];
  const found: [string, string][] = [];
  for (const item of value) {
    const template = item instanceof Map ? item.get("template") : undefined;
    if (typeof template === "string") found.push([`chat_template ${found.length + 1}`, template]);
  }
  return found;
}

/** Notes a template that is a file of its own. @throws Malformed too-large */
export async function inspectTemplateFile(path: string, reader: ByteReader, notes: Notes): Promise<void> {
  if (!TEMPLATES.has(extensionOf(path)) || reader.sizeBytes === 0) return;
  if (reader.sizeBytes > TEMPLATE_BYTES) {
    throw new Malformed(
      "too-large",
      `expected a template of at most ${TEMPLATE_BYTES} bytes, found ${reader.sizeBytes}`,
    );
  }
  noteTemplate(notes, baseName(path), new TextDecoder().decode(await reader.read(0, reader.sizeBytes)));
}
