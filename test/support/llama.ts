// SPDX-License-Identifier: Apache-2.0
/**
 * llama.cpp for the end-to-end tests, in processes of its own (test/e2e/llama/generate.mjs): it may crash on what it is
 * given, which is one of the answers. Not here: installing it; .ci/run does that.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "..", "e2e", "llama");
const INSTALLED = existsSync(join(FOLDER, "node_modules", "node-llama-cpp", "package.json"));
/** COFFER_TEST_LLAMA=required, as .ci/run sets it, turns a missing installation into a failure. */
const REQUIRED = process.env["COFFER_TEST_LLAMA"] === "required";
/** One process looks at a hundred files and more; this ends what hangs, not what is slow. */
const TIMEOUT_MS = 1_200_000;

/** For `skip:` of tests that need it. */
export const skipWithoutLlama =
  !INSTALLED && !REQUIRED && "llama.cpp is not installed: npm ci --omit=optional --ignore-scripts in test/e2e/llama";

/** `load` hands the file to llama.cpp and makes a context; `generate` makes eight tokens as an application does. */
export type LlamaMode = "load" | "generate";
export type LlamaAnswer =
  | { readonly kind: "done"; readonly tokens: readonly number[] }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "crashed"; readonly signal: NodeJS.Signals | undefined };

interface Line {
  readonly llamaCpp?: string;
  readonly nodeLlamaCpp?: string;
  readonly loaded?: number;
  readonly end?: number;
  readonly tokens?: readonly number[];
  readonly error?: string;
}

export interface LlamaProcess {
  readonly child: ChildProcess;
  /** Resolves once a model is loaded; rejects if the process ends before. */
  readonly loaded: Promise<void>;
  readonly ended: Promise<{ readonly lines: readonly Line[]; readonly signal: NodeJS.Signals | null }>;
}

/** @param wait - a loaded model waits for a line on stdin before it generates */
export function startLlama(mode: LlamaMode, files: readonly string[], wait = false): LlamaProcess {
  const env = { PATH: process.env["PATH"], ...(wait ? { WAIT: "1" } : {}) };
  const args = [join(FOLDER, "generate.mjs"), mode, ...files];
  const options = { env, timeout: TIMEOUT_MS, killSignal: "SIGKILL" as const };
  const child = spawn(process.execPath, args, { ...options, stdio: ["pipe", "pipe", "ignore"] });
  const lines: Line[] = [];
  let onLoaded = (): void => undefined;
  const loaded = new Promise<void>((settle) => {
    onLoaded = settle;
  });
  createInterface({ input: child.stdout }).on("line", (text) => {
    const line = JSON.parse(text) as Line;
    lines.push(line);
    if (line.loaded !== undefined) onLoaded();
  });
  const ended = new Promise<{ lines: Line[]; signal: NodeJS.Signals | null }>((settle, fail) => {
    child.once("error", fail);
    child.once("close", (_, signal) => settle({ lines, signal }));
  });
  const early = ended.then(() => {
    if (!lines.some((line) => line.loaded !== undefined)) throw new Error(`llama.cpp loaded nothing of ${files}`);
  });
  // Whoever does not wait for a model to be loaded is told by the answers.
  early.catch(() => undefined);
  return { child, loaded: Promise.race([loaded, early]), ended };
}

/** One answer for each file, whatever happens to the process that looks at it. */
export async function askLlama(
  mode: LlamaMode,
  files: readonly string[],
): Promise<{ readonly version: string; readonly answers: readonly LlamaAnswer[] }> {
  const answers: LlamaAnswer[] = [];
  let version = "";
  while (answers.length < files.length) {
    const run = startLlama(mode, files.slice(answers.length));
    run.loaded.catch(() => undefined);
    const { lines, signal } = await run.ended;
    const [first] = lines;
    if (first?.llamaCpp === undefined) throw new Error("llama.cpp did not start");
    version = `llama.cpp ${first.llamaCpp} (node-llama-cpp ${first.nodeLlamaCpp})`;
    for (const line of lines) if (line.end !== undefined) answers.push(answerOf(line));
    if (answers.length < files.length) answers.push({ kind: "crashed", signal: signal ?? undefined });
  }
  return { version, answers };
}

function answerOf({ tokens, error }: Line): LlamaAnswer {
  return tokens === undefined ? { kind: "refused", why: error ?? "" } : { kind: "done", tokens };
}
