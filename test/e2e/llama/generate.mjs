// SPDX-License-Identifier: Apache-2.0
/**
 * llama.cpp on the CPU, for the end-to-end tests: `node generate.mjs load|generate FILE…`. JSON lines on stdout: the
 * versions, then for each file that it was begun and how it ended. A file that llama.cpp refuses is an answer; a crash
 * of llama.cpp ends the process, and the reader sees which file was begun.
 *
 *   load       hands the file to llama.cpp itself and asks for a context: node-llama-cpp's own reader of GGUF stands
 *              before `generate`, and hangs on counts of 2^60
 *   generate   tokens as an application does; with WAIT=1 a loaded model waits for a line on stdin first
 *
 * Runs where `npm ci` was run in this folder. Nothing of Coffer imports it.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { getLlama } from "node-llama-cpp";

const CONTEXT_TOKENS = 64;
const TOKENS = 8;
const PROMPT = "what is it";

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const [mode, ...files] = process.argv.slice(2);
const { version } = JSON.parse(
  readFileSync(new URL("node_modules/node-llama-cpp/package.json", import.meta.url), "utf8"),
);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: 1 });
tell({ nodeLlamaCpp: version, llamaCpp: llama.llamaCppRelease.release });

async function generate(modelPath, index) {
  const model = await llama.loadModel({ modelPath });
  try {
    tell({ loaded: index });
    if (process.env.WAIT === "1") await lineOnStdin();
    const context = await model.createContext({ contextSize: CONTEXT_TOKENS, threads: 1 });
    const tokens = [];
    for await (const token of context.getSequence().evaluate(model.tokenize(PROMPT), { temperature: 0 })) {
      tokens.push(token);
      if (tokens.length >= TOKENS) break;
    }
    await context.dispose();
    return { tokens };
  } finally {
    await model.dispose();
  }
}

/** By the bindings under node-llama-cpp's surface, which the pinned version has. */
async function load(modelPath) {
  const { _bindings: bindings } = llama;
  const model = new bindings.AddonModel(modelPath, { addonExports: bindings, gpuLayers: 0, checkTensors: true });
  try {
    if (!(await model.init())) throw new Error("llama.cpp did not load the model");
    const shape = { contextSize: CONTEXT_TOKENS, batchSize: CONTEXT_TOKENS, sequences: 1, threads: 1 };
    const context = new bindings.AddonContext(model, shape);
    const made = await context.init();
    await context.dispose();
    if (!made) throw new Error("llama.cpp did not make a context");
    return { tokens: [] };
  } finally {
    await model.dispose();
  }
}

function lineOnStdin() {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin });
    lines.once("line", () => lines.close()).once("close", resolve);
  });
}

const act = { load, generate }[mode];
for (const [index, modelPath] of files.entries()) {
  tell({ begin: index });
  try {
    tell({ end: index, ...(await act(modelPath, index)) });
  } catch (error) {
    tell({ end: index, error: error instanceof Error ? error.message : String(error) });
  }
}
await llama.dispose();
