// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes flipped, cut and inserted in good files: the answer is always findings, never an error, never a read out of
 * bounds (memory-reader.ts asserts that), and the work stays in proportion to the file.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeTinyGguf } from "../../scripts/fixtures/tiny-gguf.mjs";
import { makeTinyHfFiles } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { inspect, inspectTree } from "../../src/formats/inspect.ts";
import { CASES, type Case } from "./cases.ts";
import { memoryReader } from "./memory-reader.ts";

const good = CASES.filter((one) => one.fails.length === 0 && one.bytes.length > 0);
const KNOWN = ["gguf", "safetensors", "sentencepiece", "json", "markdown", "text"];

const damage = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(), value: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), value: fc.nat() }),
    fc.record({ kind: fc.constant("insert" as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant("huge" as const), at: fc.nat(), value: fc.constant(0xff) }),
  ),
  { minLength: 1, maxLength: 4 },
);

function apply(bytes: Uint8Array, steps: readonly { kind: string; at: number; value: number }[]): Uint8Array {
  let result = Buffer.from(bytes);
  for (const { kind, at, value } of steps) {
    if (result.length === 0) break;
    const index = at % result.length;
    if (kind === "flip") result.writeUInt8((result[index] ?? 0) ^ value, index);
    else if (kind === "huge") result.fill(value, index, Math.min(index + 8, result.length));
    else if (kind === "cut") result = result.subarray(0, index);
    else result = Buffer.concat([result.subarray(0, index), Buffer.from([value]), result.subarray(index)]);
  }
  return new Uint8Array(result);
}

async function survives(path: string, bytes: Uint8Array): Promise<void> {
  const reader = memoryReader(bytes);
  const inspection = await inspect(path, reader);
  assert.equal(
    inspection.ok,
    inspection.findings.every((finding) => finding.level !== "fail"),
  );
  if (inspection.ok) assert.ok(KNOWN.includes(inspection.format), inspection.format);
  assert.ok(reader.bytesRead() <= 4 * bytes.length + 2 ** 17, `${reader.bytesRead()} of ${bytes.length} bytes`);
  await inspectTree([{ path, reader, inspection }]);
}

test("fuzz: damaged small files give findings and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom<Case>(...good), damage, async (one, steps) =>
      survives(one.path, apply(one.bytes, steps)),
    ),
    { numRuns: 2000 },
  );
});

test("fuzz: the headers of real files", async () => {
  const tiny = makeTinyGguf();
  const files = [...makeTinyHfFiles()].filter(([path]) => path.endsWith(".safetensors") || path.endsWith(".json"));
  const all: [string, Uint8Array][] = [["tiny.gguf", tiny], ...files];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...all), damage, async ([path, bytes], steps) => {
      const inHeader = steps.map((step) => ({ ...step, at: step.at % Math.min(bytes.length, 9000) }));
      await survives(path, apply(bytes, inHeader));
    }),
    { numRuns: 400 },
  );
});

test("fuzz: random bytes", async () => {
  const heads = ["", "GGUF\x03\0\0\0", "\x20\0\0\0\0\0\0\0{", "\n\x0a\n\x01a\x15", "{", "\x80\x04"].map((head) =>
    Buffer.from(head, "latin1"),
  );
  const names = ["m.gguf", "m.safetensors", "config.json", "tokenizer.model", "a.txt", "blob"];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.constantFrom(...heads),
      fc.uint8Array({ maxLength: 600 }),
      (path, head, rest) => survives(path, new Uint8Array(Buffer.concat([head, rest]))),
    ),
    { numRuns: 1000 },
  );
});

test("fuzz: every truncation of a small gguf and a small safetensors file is refused", async () => {
  const cut = CASES.filter((one) =>
    ["gguf: whole tokenizer", "safetensors: metadata", "sentencepiece: small"].includes(one.name),
  );
  assert.equal(cut.length, 3);
  for (const one of cut) {
    for (let length = 0; length < one.bytes.length; length += 1) {
      const { ok } = await inspect(one.path, memoryReader(one.bytes.subarray(0, length)));
      // A SentencePiece model that ends between two fields is a shorter model; tokenizer.model may be plain text or empty.
      if (one.format !== "sentencepiece") assert.equal(ok, false, `${one.name} cut to ${length} bytes`);
    }
  }
});
