// SPDX-License-Identifier: Apache-2.0
/**
 * The runtime at the end of the way: llama.cpp itself loads a model that was fetched from `coffer serve` by curl, and one
 * that `coffer path` printed, and generates tokens with both; after a revocation it gets neither. Then what inspection
 * passes and llama.cpp does not survive. Needs test/e2e/llama to be installed, which .ci/run does.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { randomSource } from "../../scripts/fixtures/random.mjs";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { inspect } from "../../src/formats/inspect.ts";
import { CASES } from "../formats/cases.ts";
import { memoryReader } from "../formats/memory-reader.ts";
import { type Ended, printed, runCli, startCli } from "../support/cli-process.ts";
import { askLlama, type LlamaAnswer, type LlamaMode, skipWithoutLlama, startLlama } from "../support/llama.ts";

const folder = mkdtempSync(join(tmpdir(), "coffer-llama-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (...parts: string[]): string => join(folder, ...parts);

function coffer(...args: string[]): Promise<Ended> {
  return runCli([...args, "--store", at("my.coffer")], { home: at("home"), cwd: folder });
}

async function must(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await coffer(...args);
  assert.equal(status, 0, `coffer ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** The status of the answer; its body goes to `file`. */
function curl(url: string, file: string): Promise<number> {
  const args = ["--silent", "--show-error", "--output", file, "--write-out", "%{http_code}", url];
  return new Promise((settle, fail) => {
    execFile("curl", args, (error, stdout) => (error === null ? settle(Number(stdout)) : fail(error)));
  });
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function tokensFrom(file: string): Promise<readonly number[]> {
  const { answers } = await askLlama("generate", [file]);
  assert.equal(answers[0]?.kind, "done", JSON.stringify(answers));
  return answers[0]?.kind === "done" ? answers[0].tokens : [];
}

describe("llama.cpp", { skip: skipWithoutLlama }, () => {
  test("generates from what curl fetched and from coffer path, and gets nothing after a revocation", async (t) => {
    const original = makeTinyGguf();
    writeFileSync(at("tiny.gguf"), original);
    await must("key", "new", "alice", "--no-passphrase");
    assert.equal((await runCli(["init", "my.coffer", "--me", "alice"], { home: at("home"), cwd: folder })).status, 0);
    await must("add", "tiny.gguf", "--name", "acme/tiny");
    assert.equal((await coffer("path", "acme/tiny")).status, 3, "nobody has approved it yet");
    await must("promote", "acme/tiny");

    const server = startCli(["serve", "--port", "0", "--store", at("my.coffer")], { home: at("home"), cwd: folder });
    const [url = ""] = await printed(server, "stdout", /http:\/\/\S+/u);
    const stop = async (): Promise<void> => {
      server.child.kill("SIGTERM");
      await server.ended;
    };
    t.after(stop);
    assert.equal(await curl(`${url}/v1/resolve/acme/tiny/main`, at("resolved.json")), 200);
    const { files } = JSON.parse(readFileSync(at("resolved.json"), "utf8"));
    const blobUrl = `${url}${files[0].url}`;
    assert.equal(await curl(blobUrl, at("fetched.gguf")), 200);
    assert.equal(sha256(readFileSync(at("fetched.gguf"))), sha256(original));
    const path = await must("path", "acme/tiny");
    assert.ok(path.startsWith(at("my.coffer", "local", "checkouts")));

    const { version, answers } = await askLlama("generate", [at("tiny.gguf"), at("fetched.gguf"), path]);
    t.diagnostic(version);
    const [first] = answers;
    assert.ok(first?.kind === "done" && first.tokens.length === 8, JSON.stringify(first));
    for (const answer of answers) assert.deepEqual(answer, first);

    const running = startLlama("generate", [path], true);
    await running.loaded;
    await must("revoke", "acme/tiny", "--reason", "training data withdrawn", "--yes");

    assert.equal(await curl(`${url}/v1/resolve/acme/tiny/main`, at("refused.json")), 410);
    assert.match(readFileSync(at("refused.json"), "utf8"), /REVOKED.*training data withdrawn/u);
    assert.equal(await curl(blobUrl, at("refused.gguf")), 404);
    assert.notEqual(sha256(readFileSync(at("refused.gguf"))), sha256(original));
    const refused = await coffer("path", "acme/tiny");
    assert.deepEqual([refused.status, refused.stdout], [3, ""]);
    assert.match(refused.stderr, /\[REVOKED\]/u);
    assert.ok(!existsSync(path), "the checkout is gone");
    const { answers: gone } = await askLlama("generate", [at("refused.gguf"), path]);
    for (const answer of gone) assert.equal(answer.kind, "refused");

    // docs/threat-model.md, "What is not covered": who had loaded it goes on until the operator ends it.
    running.child.stdin?.end("\n");
    const { lines } = await running.ended;
    assert.deepEqual(lines.at(-1)?.tokens, first.tokens);
    assert.deepEqual(await tokensFrom(at("tiny.gguf")), first.tokens);
  });

  test("none of the files that the rules of formats are tested with makes llama.cpp crash", async () => {
    const cases = CASES.filter(({ format }) => format === "gguf");
    const refused = cases.filter(({ fails }) => fails.length > 0);
    assert.ok(refused.length > 60 && cases.length - refused.length > 10);
    const { crashed, done } = await sortOut("load", cases);
    assert.deepEqual([crashed, done], [[], []]);
  });

  test("a real model with one hostile value or byte: what inspection passes, llama.cpp loads or refuses", async (t) => {
    const all = [...hostileValues(), ...flippedBytes(150)];
    const passed: Variant[] = [];
    for (const variant of all) {
      if ((await inspect("m.gguf", memoryReader(variant.bytes))).ok) passed.push(variant);
    }
    const { crashed, done, refused } = await sortOut("load", passed);
    t.diagnostic(
      `${all.length} variants: inspection refuses ${all.length - passed.length}, llama.cpp ${refused.length} more`,
    );
    assert.deepEqual(crashed, []);
    assert.ok(done.length > 50 && refused.length > 20, "the variants tell something");
  });

  test("a shape that inspection cannot judge may end the process that loads it, by llama.cpp's own assertion", async () => {
    const known = [
      ["llama.attention.head_count", 0],
      ["llama.feed_forward_length", 0],
    ] as const;
    for (const [key, value] of known) {
      const bytes = withValue(key, value);
      assert.equal((await inspect("m.gguf", memoryReader(bytes))).ok, true, "models without attention have it so");
      const { answers } = await ask("generate", [{ name: key, bytes }]);
      assert.deepEqual(answers, [{ kind: "crashed", signal: "SIGABRT" }], `${key}: no more than a refusal to go on`);
    }
  });
});

interface Variant {
  readonly name: string;
  readonly bytes: Uint8Array;
}

async function ask(mode: LlamaMode, variants: readonly Variant[]) {
  const files = variants.map((_, index) => at(`variant-${index}.gguf`));
  for (const [index, { bytes }] of variants.entries()) writeFileSync(files[index] ?? "", bytes);
  return askLlama(mode, files);
}

async function sortOut(mode: LlamaMode, variants: readonly Variant[]) {
  const { answers } = await ask(mode, variants);
  const having = (kind: LlamaAnswer["kind"]): string[] =>
    variants.filter((_, index) => answers[index]?.kind === kind).map(({ name }) => name);
  return { crashed: having("crashed"), done: having("done"), refused: having("refused") };
}

const TINY = Buffer.from(makeTinyGguf());

/** The tiny model with `value` for a key of 32 bits. */
function withValue(key: string, value: number): Uint8Array {
  const bytes = Buffer.from(TINY);
  bytes.writeUInt32LE(value, bytes.indexOf(key) + key.length + 4);
  return new Uint8Array(bytes);
}

function hostileValues(): Variant[] {
  const keys = [
    ...["context_length", "embedding_length", "block_count", "feed_forward_length", "rope.dimension_count"],
    ...["attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon", "vocab_size"],
  ].map((key) => `llama.${key}`);
  keys.push(...["bos", "eos", "unknown"].map((which) => `tokenizer.ggml.${which}_token_id`));
  const values = [0, 1, 7, 65, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fc0_0000];
  return keys.flatMap((key) => values.map((value) => ({ name: `${key}=${value}`, bytes: withValue(key, value) })));
}

/** One byte of the header changed; the same ones each time. */
function flippedBytes(count: number): Variant[] {
  const random = randomSource(7);
  const headerEnd = TINY.indexOf("output.weight") + 40;
  return Array.from({ length: count }, () => {
    const bytes = new Uint8Array(TINY);
    const position = 4 + Math.floor(random() * (headerEnd - 4));
    bytes[position] = Math.floor(random() * 256);
    return { name: `byte ${position} is ${bytes[position]}`, bytes };
  });
}
